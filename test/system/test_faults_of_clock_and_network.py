"""Real processes at full speed, a clock that fails and a network that does: a row of their own beside the other faults."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

rclpy = pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")

pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")

from fault_worlds import FAULTS, Worlds, of_worlds, try_out

from vla_ros.bench.bench_faults import behind_a_cable
from vla_ros.bench.faults.fault_table import Fault
from vla_ros.bench.faults.fault_trial import Result

pytestmark = pytest.mark.alone
WIRED = [fault.name for fault in FAULTS if fault.world == "network"]


class Wired:
    """The faults of the world `network`: all of them in one go, and a second time the one that is asked for again."""

    def __init__(self) -> None:
        self._results: dict[str, Result] | None = None

    def take(self, name: str) -> Result:
        if self._results is None or name not in self._results:
            names = WIRED if self._results is None else [name]
            self._results = {**(self._results or {}), **{found.fault: found for found in behind_a_cable(names)}}
        return self._results.pop(name)


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    running = Worlds()
    yield running
    running.end()


@pytest.fixture(scope="module")
def wired(worlds: Worlds) -> Wired:
    worlds.end()
    return Wired()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("fault", of_worlds("clock"))
def test_the_robot_stands_in_time(worlds: Worlds, fault: Fault) -> None:
    try_out(worlds, fault)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", WIRED)
def test_the_robot_stands_in_time_behind_a_bad_network(wired: Wired, name: str) -> None:
    result = wired.take(name)
    print(f"\n{result.sentence()}")
    assert not result.problems
    if result.not_run:
        pytest.skip(result.not_run)
