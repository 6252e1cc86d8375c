"""Limits change as a whole: tighter at once, looser only while nothing may move."""
from dataclasses import replace

import pytest
from gate_world import ARM, MS, ROBOT, S, World, changed, reaching

from vla_ros.safety.gate import State
from vla_ros.safety.rules import PARAMETERS


def looser(robot, **fields):
    channel = replace(robot.channel("linear.x"), **fields)
    return replace(robot, channels=(channel, *robot.channels[1:]))


@pytest.mark.parametrize("fields, allowed", [
    ({"limits": (-0.5, 0.5)}, True), ({"limits": (-0.4, 0.5)}, True), ({"limits": (-0.5, 0.51)}, False),
    ({"bounds": (-1.1, 1.0)}, False), ({"acceleration": 0.9}, True), ({"acceleration": 1.1}, False), ({"deceleration": 2.9}, False),
    ({"deceleration": 3.1}, True), ({"max_step": 1.0}, False), ({"max_step": 0.5}, True),
])
def test_while_armed_limits_may_only_be_tightened(fields, allowed):
    world = World().moving()
    if allowed:
        world.gate.change(looser(world.gate.robot, **fields), world.gate.settings)
        return
    with pytest.raises(ValueError, match="looser than now; disarm first"):
        world.gate.change(looser(world.gate.robot, **fields), world.gate.settings)
    world.gate.disarm()
    world.gate.change(looser(world.gate.robot, **fields), world.gate.settings)


@pytest.mark.parametrize("fields, allowed", [
    ({"max_age": 399 * MS}, True), ({"max_age": 401 * MS}, False), ({"stuck_policy_limit": 0}, False),
    ({"clamping_limit": 1 * S}, True), ({"discontinuity_hold": 1}, False), ({"sources": {}}, False),
    ({"sources": {"odom": 301 * MS}}, False), ({"sources": {"odom": 299 * MS, "scan": S}}, True),
])
def test_the_same_holds_for_the_gate_s_own_limits(fields, allowed):
    world = World().moving()
    settings = changed(world.gate.settings, **fields)
    if allowed:
        world.gate.change(world.gate.robot, settings)
    else:
        with pytest.raises(ValueError, match="looser than now"):
            world.gate.change(world.gate.robot, settings)


@pytest.mark.parametrize("name", ["max_age", "max_future", "clock_jump", "clock_stall", "topic_timeout",
                                  "instruction_limit", "stuck_policy_limit", "clamping_limit"])
def test_each_of_its_times_is_looser_when_it_is_longer(name):
    world = World().moving()
    settings = world.gate.settings
    limit, = (limit for limit in PARAMETERS if limit.name == name)
    with pytest.raises(ValueError, match=f"{name} .* looser than now"):
        world.gate.change(world.gate.robot, changed(settings, **{name: settings.ns(limit) + 1}))
    world.gate.change(world.gate.robot, changed(settings, **{name: settings.ns(limit) - 1}))


@pytest.mark.parametrize("fields, allowed", [
    ({"max_tracking_error": 0.3}, False), ({"max_tracking_error": 0.1}, True), ({"tracking_time": 0.6}, False),
    ({"tracking_time": 0.4}, True)])
def test_a_joint_that_may_lag_further_behind_is_looser(fields, allowed):
    world = reaching({})
    wider = replace(ARM, channels=tuple(replace(channel, **fields) if channel.name == "joint_1" else channel
                                        for channel in ARM.channels))
    if allowed:
        world.gate.change(wider, world.gate.settings)
    else:
        with pytest.raises(ValueError, match="joint_1 .* looser than now"):
            world.gate.change(wider, world.gate.settings)


@pytest.mark.parametrize("lost, allowed", [({"odom": S}, True), ({"odom": S - 1}, True), ({"odom": S + 1}, False), ({}, False)])
def test_what_is_lost_later_or_never_is_looser(lost, allowed):
    world = World().moving()
    world.gate.settings = replace(world.gate.settings, lost={"odom": S})
    if allowed:
        world.gate.change(ROBOT, replace(world.gate.settings, lost=lost))
    else:
        with pytest.raises(ValueError, match="after which odom is lost .* looser than now"):
            world.gate.change(ROBOT, replace(world.gate.settings, lost=lost))


@pytest.mark.parametrize("side", ["front", "back", "left", "right"])
def test_a_smaller_footprint_is_looser(side):
    world = World().moving()
    robot = world.gate.robot
    with pytest.raises(ValueError, match=f"footprint {side} .* looser than now"):
        world.gate.change(replace(robot, footprint=replace(robot.footprint, **{side: 0.01})), world.gate.settings)
    world.gate.change(replace(robot, footprint=replace(robot.footprint, **{side: 1.0})), world.gate.settings)


def test_wider_soft_limits_are_looser():
    world = reaching({})
    joint = replace(ARM.channel("joint_1"), soft_limits=(-1.81, 1.8))
    robot = replace(ARM, channels=tuple(joint if channel.name == "joint_1" else channel for channel in ARM.channels))
    with pytest.raises(ValueError, match="joint_1 soft_limits, low, .* looser than now"):
        world.gate.change(robot, world.gate.settings)


@pytest.mark.parametrize("change", [
    lambda robot: replace(robot, channels=(replace(robot.channels[0], scale=2.0), *robot.channels[1:])),
    lambda robot: replace(robot, outputs=robot.outputs[:1]),
    lambda robot: replace(robot, obstacles=replace(robot.obstacles, sensors=())),
    lambda robot: replace(robot, obstacles=None), lambda robot: replace(robot, simulated=False),
    lambda robot: replace(robot, state=()), lambda robot: replace(robot, cameras=()),
    *(lambda robot, field=field: replace(robot, channels=(replace(robot.channels[0], **field), *robot.channels[1:]))
      for field in ({"joint_topic": "/other"}, {"offset": 0.1}, {"sent_unit": "deg"}, {"wraps": True})),
])
def test_what_is_no_limit_does_not_change_without_a_cleanup(change):
    with pytest.raises(ValueError, match="in more than its limits; clean the gate up"):
        World().gate.change(change(ROBOT), World().gate.settings)


@pytest.mark.parametrize("fields", [{"side_clearance": 0.05}, {"stop_distance": 0.2}, {"slow_distance": 0.5}, {"hysteresis": 0.0}, {"time_to_collision": 0.5},
                                    {"max_speed_unobserved": 0.1}, {"max_age": 1.0}])
def test_and_for_obstacles(fields):
    world = World().moving()
    robot = replace(world.gate.robot, obstacles=replace(world.gate.robot.obstacles, **fields))
    with pytest.raises(ValueError, match=f"obstacles {next(iter(fields))} .* looser than now"):
        world.gate.change(robot, world.gate.settings)


def test_a_tightened_limit_applies_at_once_and_brakes():
    world = World().moving()
    world.gate.change(looser(world.gate.robot, limits=(-0.1, 0.1)), world.gate.settings)
    world.tick()
    assert world.action["linear.x"] == pytest.approx(0.24)
    world.tick(5)
    assert world.action["linear.x"] == pytest.approx(0.1)


def test_bounds_that_are_tightened_below_the_speed_brake_as_well():
    world = World().moving()
    tight = looser(world.gate.robot, bounds=(-0.1, 0.1), limits=(-0.1, 0.1))
    world.gate.change(tight, world.gate.settings)
    world.values["linear.x"] = 0.05
    world.tick()
    assert world.action["linear.x"] == pytest.approx(0.24)
    assert world.tick(5).state is State.ACTIVE
    assert world.action["linear.x"] == pytest.approx(0.05)


def test_another_robot_is_no_change_of_limits():
    world = World()
    with pytest.raises(ValueError, match="differs from 'sim' in more than its limits"):
        world.gate.change(ARM, world.gate.settings)
