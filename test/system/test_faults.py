"""Real processes at full speed, and every fault of the table: the robot stands in time, and moves again only as it may."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

rclpy = pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")

from fault_worlds import FAULTS, STANDS_FOR, Worlds, of_worlds, try_out

from vla_ros.bench.faults.fault_table import Fault
from vla_ros.operator.processes import NODES

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    running = Worlds()
    yield running
    running.end()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("fault", of_worlds("robot", "arm", "person"))
def test_the_robot_stands_in_time(worlds: Worlds, fault: Fault) -> None:
    if fault.world != "arm":
        pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")
    try_out(worlds, fault)


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
