"""Real processes at full speed, and every fault of the table: the robot stands in time, and moves again only as it may."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

rclpy = pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")
pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")

from vla_ros.tools.faults.bench import behind_a_cable  # noqa: E402
from vla_ros.tools.faults.suite import Suite  # noqa: E402
from vla_ros.tools.faults.table import Fault, all_faults  # noqa: E402
from vla_ros.tools.faults.trial import Result, run  # noqa: E402
from vla_ros.tools.faults.worlds import suite_in  # noqa: E402
from vla_ros.tools.processes import NODES  # noqa: E402

FAULTS = all_faults()
HERE = [fault for fault in FAULTS if fault.world != "network"]
WIRED = [fault.name for fault in FAULTS if fault.world == "network"]


class Worlds:
    """One suite at a time, up for as long as the faults are of its world and it gets up again after each."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._world = ""
        self._suite: Suite | None = None

    def suite(self, world: str) -> Suite:
        if self._suite is None or world != self._world:
            self.end()
            self._suite, self._world = self._stack.enter_context(suite_in(world)), world
        return self._suite

    def end(self) -> None:
        self._suite = None
        self._stack.close()


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    running = Worlds()
    yield running
    running.end()


def judge(result: Result) -> None:
    print(f"\n{result.sentence()}")
    if result.not_run:
        pytest.skip(result.not_run)
    assert not result.problems


@pytest.mark.timeout(150)
@pytest.mark.parametrize("fault", HERE, ids=lambda fault: fault.name)
def test_the_robot_stands_in_time(worlds: Worlds, fault: Fault) -> None:
    try:
        result = run(worlds.suite(fault.world), fault)
    except TimeoutError:
        worlds.end()  # the next one gets a fresh suite
        raise
    judge(result)


@pytest.fixture(scope="module")
def wired(worlds: Worlds) -> dict[str, Result]:
    worlds.end()
    return {result.fault: result for result in behind_a_cable(WIRED)}


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", WIRED)
def test_the_robot_stands_in_time_behind_a_bad_network(wired: dict[str, Result], name: str) -> None:
    judge(wired[name])


def test_the_table_holds_each_node_and_each_name_once() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    for node in NODES:
        for number in ("SIGKILL", "SIGSTOP"):
            assert any(f"{number} of {'the gate' if node == 'safety_validator' else node}" in name for name in names)
