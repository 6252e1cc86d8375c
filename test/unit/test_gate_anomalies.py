"""What the gate makes of obstacles, and of a policy that has gone odd."""
from dataclasses import replace

import numpy as np
import pytest
from gate_world import MS, ROBOT, S, World, changed, reaching, scan

from vla_ros.core.robot_obstacles import Sensor
from vla_ros.safety.gate import State
from vla_ros.safety.rule import Verdict


def test_it_stops_before_an_obstacle_and_goes_on_with_hysteresis():
    world = World().moving()
    world.points = [[0.31 + 0.29, 0.0]]
    assert world.tick().rule == "obstacle"
    world.tick(10)
    assert world.action["linear.x"] == 0.0
    world.points = [[0.31 + 0.34, 0.0]]
    assert world.tick(60).rule == "obstacle"  # 0.3 m is enough to go on, but not to go on again
    world.points = [[0.31 + 0.36, 0.0]]
    assert world.tick(60).state is State.ACTIVE


def test_away_from_an_obstacle_it_moves():
    world = World().moving()
    world.points = [[0.4, 0.0]]
    world.values["linear.x"] = -0.2
    world.tick(20)
    assert world.action["linear.x"] == pytest.approx(-0.2)


def test_a_scan_that_goes_stale_holds():
    world = World().moving()
    reading, _ = world.inputs.readings["/scan"]
    for _ in range(16):
        world.tick()
        world.inputs.readings["/scan"] = (reading, world.now - 20 * MS)  # it comes, and says the same moment
    assert world.tick().state is State.ACTIVE  # a fresh one
    world.inputs.readings["/scan"] = (reading, world.now)
    world.alive = False
    assert world.tick().rule == "range_sensors"


def wiggle(world, n, names=("linear.x",)):
    """So many ticks of a policy that looks: each action differs a little."""
    for i in range(n):
        world.values = {name: value + (0.001 if i % 2 else -0.001) * (name in names)
                        for name, value in world.values.items()}
        world.tick()


def test_the_same_action_over_changing_images_is_held_and_a_changed_one_goes_on():
    world = World().moving()
    world.tick(970)  # of 20 ms; for a while it has been moving
    assert world.report.state is State.ACTIVE
    world.tick(20)
    assert world.report.rule == "stuck_policy"
    wiggle(world, 2)
    assert world.report.state is State.ACTIVE


def test_standing_still_is_no_anomaly():
    world = World().moving()
    world.values["linear.x"] = 0.0
    world.tick(600)
    assert world.report.verdict is Verdict.PASSED


def test_a_policy_that_is_clamped_for_long_is_held():
    world = World().moving()
    world.values["linear.x"] = 0.8
    wiggle(world, 500)
    assert world.report.state is State.ACTIVE
    wiggle(world, 3)
    assert world.report.rule == "persistent_clamping"
    world.values["linear.x"] = 0.3
    wiggle(world, 2)
    assert world.report.state is State.ACTIVE


@pytest.mark.parametrize("opening", [1.05, -0.05])
def test_a_gripper_may_be_asked_for_more_than_its_ends_for_ever(opening):
    world = World().moving()
    world.values["gripper"] = opening
    wiggle(world, 1000)
    assert world.report.rule == "limits" and world.report.state is State.ACTIVE
    world.values["linear.x"] = 0.8  # from now on it is more than the gripper
    wiggle(world, 500)
    assert world.report.state is State.ACTIVE
    wiggle(world, 3)
    assert world.report.rule == "persistent_clamping"


def test_a_jump_between_two_chunks_holds_for_a_moment():
    world = World().moving()
    world.values["linear.x"] = 0.49
    world.tick(20)
    world.values["linear.x"] = -0.42  # 0.91 apart, 0.9 is allowed
    assert world.tick().rule == "chunk_continuity"
    assert "linear.x jumps by -0.91 m/s" in world.report.reason
    world.tick(14)
    assert world.report.rule == "chunk_continuity"
    assert world.action["linear.x"] == 0.0
    assert world.tick().state is State.ACTIVE
    assert world.action["linear.x"] < 0.0


def test_a_new_instruction_may_jump():
    world = World().moving()
    world.values["linear.x"] = 0.49
    world.tick(20)
    world.say("back up")
    world.values["linear.x"] = -0.49
    assert world.tick().state is State.ACTIVE


def test_an_instruction_that_everybody_has_forgotten_holds():
    world = World().moving()
    world.gate.change(world.gate.robot, changed(world.gate.settings, instruction_limit=1 * S))
    wiggle(world, 24)  # after the 25 ticks until it moved: 0.98 s
    assert world.report.state is State.ACTIVE
    wiggle(world, 3)
    assert world.report.rule == "instruction_age"


def test_an_older_instruction_that_comes_again_does_not_move_it():
    world = World().moving()
    old = world.inputs.instruction
    world.say("")
    world.tick(10)
    world.inputs.instruction = old  # a process that hung comes back, and its latched word is delivered again
    assert world.tick(5).rule == "instruction_match"
    assert "came again after" in world.report.reason
    assert world.action["linear.x"] == 0.0


def test_an_instruction_said_before_the_arming_and_heard_after_it_does_not_move_it():
    world = World()
    world.tick(10)
    said = world.now + world.offset - 100 * MS
    world.arm()
    world.inputs.instruction = type(world.inputs.instruction)(said, world.inputs.instruction.instruction_id + 1, "go")
    assert world.tick(5).rule == "instruction_match"
    assert "before the arming" in world.report.reason


def test_a_new_instruction_starts_the_count_of_repeated_actions_again():
    world = World().moving()
    world.tick(960)  # of 20 s that are allowed
    world.say("go on")
    world.tick(100)
    assert world.report.state is State.ACTIVE


def test_an_image_from_the_future_does_not_lock_out_those_that_follow():
    world = World().moving()
    chunk = world.inputs.chunk
    world.speaks = False
    world.inputs.chunk = replace(chunk, stamp=chunk.stamp + 3600 * S, sequence=chunk.sequence + 1)
    assert world.tick().rule == "observation_age"
    world.sequence += 1
    world.speaks = True
    assert world.tick().state is State.ACTIVE


def test_saturation_counts_only_while_nothing_else_holds():
    world = World().moving()
    world.values["linear.x"] = 0.8
    wiggle(world, 20)
    world.inputs.other_publishers = ("/cmd_vel from /teleop",)
    wiggle(world, 600)
    world.inputs.other_publishers = ()
    wiggle(world, 2)
    assert world.report.state is State.ACTIVE


def test_a_clock_that_jumps_before_the_arming_only_delays_it():
    world = World()
    world.offset = 0  # before /clock is heard
    world.tick(2)
    world.offset = 1_700_000_000 * S
    assert world.tick().state is State.DISARMED
    assert world.arm() == (False, "the ROS clock jumped just now; try again in a second")
    world.tick(51)
    assert world.arm()[0]


def test_a_robot_that_is_too_near_to_a_wall_may_drive_along_it_and_away():
    wall = [[x / 10.0, 0.16 + 0.05] for x in range(-20, 21)]
    for speed, turn, state in ((0.3, 0.0, State.ACTIVE), (-0.3, 0.0, State.ACTIVE), (0.3, 0.3, State.HOLDING)):
        world = World().moving()
        world.points = wall
        world.values.update({"linear.x": speed, "angular.z": turn})
        world.tick(30)
        assert world.report.state is state, (speed, turn)


def test_the_second_sensor_counts_as_much_as_the_first():
    two = replace(ROBOT, obstacles=replace(ROBOT.obstacles, sensors=(
        *ROBOT.obstacles.sensors, Sensor("/sonar", "sensor_msgs/msg/Range"))))
    for spoil, rule in ((lambda stamp: scan(stamp, [[0.4, 0.0]]), "obstacle"), (lambda stamp: scan(stamp, valid=False), "range_sensors")):
        world = World(two)
        world.also = {"/sonar": scan}
        world.moving()
        world.also = {"/sonar": spoil}
        assert world.tick().rule == rule
        world.also = {}
        del world.inputs.readings["/sonar"]
        assert world.tick().rule == "range_sensors"


@pytest.mark.parametrize("silent, rule, state", [
    (200 * MS, "", State.ACTIVE), (400 * MS, "source_timeout", State.ACTIVE), (900 * MS, "source_timeout", State.ACTIVE),
    (1600 * MS, "instruction_match", State.HOLDING)])
def test_after_a_node_was_lost_a_person_speaks_again(silent, rule, state, monkeypatch):
    """A late heartbeat is no loss; a process that ended is: what it did meanwhile nobody knows."""
    real = World.tick

    def beating(world, n=1):
        for _ in range(n):
            if not getattr(world, "quiet", False):
                world.inputs.seen["node inference"] = world.now + 20 * MS
            real(world)
        return world.report
    monkeypatch.setattr(World, "tick", beating)
    world = World()
    world.gate.settings = replace(world.gate.settings, sources={"node inference": 250 * MS},
                                  lost={"node inference": 1000 * MS})
    world.moving()
    world.quiet = True
    world.tick(silent // (20 * MS))
    assert world.report.rule in ("source_timeout", "instruction_match") if rule else world.report.state is State.ACTIVE
    world.quiet = False
    world.tick(5)
    assert world.report.state is state
    if state is State.HOLDING:
        assert world.report.reason == "node inference was lost; give the instruction again"
        world.say("go on")
        assert world.tick(2).state is State.ACTIVE


def test_a_driver_that_no_longer_listens_holds_and_a_person_speaks_again():
    world = World().moving()
    world.inputs.missing_listeners = ("nobody listens to /cmd_vel",)
    assert world.tick().rule == "listeners"
    world.gate.disarm()
    assert world.arm() == (False, "nobody listens to /cmd_vel")
    world.inputs.missing_listeners = ()
    assert world.arm()[0]
    world.say("go")
    assert world.tick(2).state is State.ACTIVE
    world.inputs.missing_listeners = ("nobody listens to /cmd_vel",)
    world.tick(10)
    world.inputs.missing_listeners = ()
    assert world.tick(5).rule == "instruction_match"


def test_two_processes_that_send_actions_hold_the_robot():
    world = World().moving()
    world.inputs.chunk_sources = ("1.a.h", "2.b.h")
    assert world.tick().rule == "chunk_source"
    world.inputs.chunk_sources = ("2.b.h",)
    assert world.tick().state is State.ACTIVE


def test_a_plan_that_is_over_does_not_go_on():
    """Where images may be seconds old (a slow policy), the last row does not hold as long."""
    world = World().moving()
    world.gate.settings = changed(world.gate.settings, max_age=10 * S)
    world.speaks = False
    world.tick(18)  # 390 ms after the image, whose one row holds for 0.4 s
    assert world.report.state is State.ACTIVE
    assert world.tick().rule == "chunk_end"
    chunk = world.inputs.chunk
    world.inputs.chunk = replace(chunk, stamp=world.now + world.offset, sequence=chunk.sequence + 1, step=100 * MS,
                                 values=np.repeat(chunk.values, 20, axis=0))
    world.tick(100)  # 1.9 s to the last row, and 0.4 s of that
    assert world.report.state is State.ACTIVE
    world.tick(20)
    assert world.report.rule == "chunk_end"


def test_a_velocity_that_is_repeated_is_held_and_a_position_that_is_not_reached_yet_is_not():
    world = reaching({}, lag=0)
    world.gate.settings = changed(world.gate.settings, stuck_policy_limit=1 * S)
    world.tick(90)
    assert world.report.state is State.ACTIVE and world.action["joint_1"] < 1.5


def test_an_arming_forgets_losses_and_numbers_from_before_it():
    """Nodes that were started anew count anew: what a large number said before must not hold the robot for ever."""
    world = World().moving()
    world.sequence = 2**31
    world.inputs.instruction = replace(world.inputs.instruction, instruction_id=2**32)
    world.inputs.missing_listeners = ("nobody listens to /cmd_vel",)
    world.tick(2)
    world.inputs.missing_listeners = ()
    world.inputs.instruction = replace(world.inputs.instruction, instruction_id=5)
    world.gate.disarm()
    world.tick()
    world.sequence = 0
    assert world.arm()[0]
    world.say("go")
    assert world.tick(3).state is State.ACTIVE


def test_a_process_that_numbers_anew_is_heard_after_a_second():
    world = World().moving()
    world.sequence = 2**31
    world.tick()
    world.sequence = 0
    world.tick(50)
    assert world.report.rule == "observation_age"
    world.tick(2)
    assert world.report.state is State.ACTIVE

