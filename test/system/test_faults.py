"""Real processes at full speed, and every fault of the table: the robot stands in time, and moves again only as it may."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

rclpy = pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")

from vla_ros.bench.bench_faults import all_faults, behind_a_cable
from vla_ros.bench.faults.fault_table import Fault
from vla_ros.bench.faults.fault_trial import Result, run
from vla_ros.bench.faults.stack import Suite
from vla_ros.bench.faults.worlds import suite_in
from vla_ros.operator.processes import NODES

pytestmark = pytest.mark.alone
# What is alone runs in two rows of the same length, side by side: the faults of these worlds, and all the rest.
FIRST_ROW = ("robot", "arm")
FAULTS = all_faults()
HERE = [fault for fault in FAULTS if fault.world != "network"]
WIRED = [fault.name for fault in FAULTS if fault.world == "network"]
# A fault that differs from another by a node, a signal or a value only -> the one that is tried for it, where pytest
# is not told --full (`make check-safety` tells it). `vla bench faults` always tries all.
STANDS_FOR = {
    "the policy gives nothing": "the policy raises an exception",
    "the policy gives flat values": "the policy gives no rows",
    "the policy gives a column too many": "the policy gives no rows",
    "the policy gives infinity": "the policy gives NaN after 0.7 s of good work",
    "SIGKILL of camera_ingest": "SIGKILL of inference",
    "SIGKILL of synchronizer": "SIGKILL of inference",
    "SIGKILL of command_ingest": "SIGKILL of inference",
    "SIGSTOP of camera_ingest, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "SIGSTOP of command_ingest, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "SIGSTOP of inference, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "SIGSTOP of supervisor, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "/odom falls silent": "/joint_states falls silent",
    "the camera repeats its last message": "the camera falls silent",
    "SIGINT of the gate": "SIGTERM of the gate",
    "shutdown of the gate": "deactivate and cleanup of the gate",
    "deactivate of the gate": "deactivate and cleanup of the gate",
    "a flood of garbage on the same topics, then the stop":
        "a flood of repeated words, actions and stop(false), then the stop",
    "/clock jumps ahead by a minute": "/clock jumps back by a minute",
    # an arm's: what the gate finds is the same on wheels, or at another arm's fault
    "arm: the stop is pressed": "arm: the stop is pressed, and every fifth joint state says zero",
    "arm: the word stop is said": "the word stop is said",
    "arm: the policy gives NaN after 0.7 s of good work": "the policy gives NaN after 0.7 s of good work",
    "arm: the policy hangs": "the policy hangs",
    "arm: the camera falls silent": "the camera falls silent",
    "arm: a joint is blocked, then the stop; then it is freed":
        "arm: the stop is pressed, and every fifth joint state says zero",
    "arm: the word stop is said, and one joint state says zero": "the word stop is said",
    "arm: it holds, and a joint is moved by hand and let go":
        "arm: it is stopped, and a joint is moved by hand and let go",
    "arm: SIGKILL of inference": "SIGKILL of inference",
    "arm: SIGKILL of the gate": "SIGKILL of the gate",
    "arm: SIGTERM of the gate": "SIGKILL of the gate",
}


def once(fault: Fault) -> object:
    row = [pytest.mark.xdist_group("first")] if fault.world in FIRST_ROW else []
    left_out = [pytest.mark.full] if fault.name in STANDS_FOR else []
    return pytest.param(fault, id=fault.name, marks=row + left_out)


class Worlds:
    """One suite at a time, up as long as the faults are of its world and each is over without a problem."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._world = ""
        self._suite: Suite | None = None

    @contextmanager
    def suite(self, world: str) -> Iterator[Suite]:
        """Where the test fails, the next one, or the same once more, gets a fresh suite."""
        if self._suite is None or world != self._world:
            self.end()
            self._suite, self._world = self._stack.enter_context(suite_in(world)), world
        try:
            yield self._suite
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        self._suite = None
        self._stack.close()


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
@pytest.mark.parametrize("fault", [once(fault) for fault in HERE])
def test_the_robot_stands_in_time(worlds: Worlds, fault: Fault) -> None:
    if fault.world != "arm":
        pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")
    with worlds.suite(fault.world) as suite:
        result = run(suite, fault)
        print(f"\n{result.sentence()}")
        assert not result.problems
    if result.not_run:
        pytest.skip(result.not_run)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", WIRED)
def test_the_robot_stands_in_time_behind_a_bad_network(wired: Wired, name: str) -> None:
    pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")
    result = wired.take(name)
    print(f"\n{result.sentence()}")
    assert not result.problems
    if result.not_run:
        pytest.skip(result.not_run)


def test_a_fault_that_is_left_out_has_one_of_its_kind_that_is_not() -> None:
    by_name = {fault.name: fault for fault in FAULTS}
    for name, other in STANDS_FOR.items():
        left, tried = by_name[name], by_name[other]
        assert other not in STANDS_FOR and left.rules & tried.rules
        if left.world != "arm":
            assert left.world == tried.world and left.limit == tried.limit


def test_the_table_holds_each_node_and_each_name_once() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    for node in NODES:
        for number in ("SIGKILL", "SIGSTOP"):
            assert any(f"{number} of {'the gate' if node == 'safety_validator' else node}" in name for name in names)
