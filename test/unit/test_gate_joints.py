"""Joints behind the gate: held where they were measured, moved no faster than they may, and inward beyond a limit."""
import pytest
from gate_world import JOINTS, reaching

from vla_ros.safety.gate import State
from vla_ros.safety.situation import Verdict


def test_a_joint_holds_where_it_was_measured():
    world = reaching({})
    world.tick(20)
    assert 0.5 < world.action["joint_1"] < 1.5
    assert "gripper" not in world.action  # nobody commanded it
    world.positions["joint_1"] = world.action["joint_1"] + 0.002
    world.say("")
    world.tick()
    held = world.positions["joint_1"]
    assert world.action["joint_1"] == pytest.approx(held)
    world.positions["joint_1"] = held - 0.1
    world.tick(5)
    assert world.action["joint_1"] == pytest.approx(held)  # it does not sag along


def test_a_measurement_that_has_grown_old_does_not_move_a_joint_when_it_holds():
    world = reaching({})
    world.tick(5)
    del world.positions["joint_1"]  # its driver died; the others go on
    world.tick(30)
    before = world.action["joint_1"]
    world.say("")
    world.tick(5)
    assert world.action["joint_1"] == before


def test_a_hold_moves_a_joint_no_faster_than_its_rate():
    world = reaching({})
    world.tick(30)
    before = world.action["joint_1"]
    world.positions["joint_1"] = -1.0  # slipped, or a lie
    world.say("")
    world.tick()
    assert abs(world.action["joint_1"] - before) <= 0.5 * 0.02 + 1e-9


def test_a_joint_that_stands_outside_its_limits_is_not_moved():
    world = reaching({"joint_4": -2.36})
    assert world.tick(5).verdict is Verdict.HELD
    assert "joint_4 stands at -2.36 rad, outside its bounds" in world.report.reason
    assert not set(JOINTS) & set(world.action)


def test_an_action_for_half_an_arm_is_refused():
    world = reaching({})
    del world.values["joint_6"]
    assert world.tick(5).rule == "shape"
    assert "lacks 'joint_6'" in world.report.reason


def test_a_joint_a_little_outside_its_bounds_by_its_encoder_is_at_them():
    world = reaching({"joint_4": -2.03})  # bounds -2 to 2, 1 % of which is 0.04
    assert world.tick(3).state is State.ACTIVE
    assert world.action["joint_4"] == pytest.approx(-2.0 + 3 * 0.5 * 0.02)


def test_a_joint_outside_its_limits_moves_inward_only():
    world = reaching({"joint_4": -1.95})  # limits -1.9 to 1.9
    world.values["joint_4"] = -1.99
    assert world.tick().state is State.ACTIVE
    assert -1.95 < world.action["joint_4"] <= -1.93


def test_a_joint_beyond_its_soft_limit_is_not_sent_farther_out():
    world = reaching({"joint_4": 1.84})  # soft limits -1.8 to 1.8
    world.values["joint_4"] = 1.88
    world.tick(5)
    assert world.action["joint_4"] == pytest.approx(1.84)
    world.values["joint_4"] = 1.5
    world.tick()
    assert world.action["joint_4"] < 1.84
