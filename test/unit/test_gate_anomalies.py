"""What the gate makes of obstacles, and of a policy that has gone odd."""
import pytest
from gate_world import MS, S, World

from vla_ros.safety.gate import State
from vla_ros.safety.situation import Verdict


def test_it_stops_before_an_obstacle_and_goes_on_with_hysteresis():
    world = World().moving()
    world.points = [[0.31 + 0.29, 0.0]]
    assert world.tick().rule == "obstacle"
    world.tick(10)
    assert world.action["linear.x"] == 0.0
    world.points = [[0.31 + 0.34, 0.0]]
    assert world.tick().rule == "obstacle"  # 0.3 m is enough to go on, but not to go on again
    world.points = [[0.31 + 0.36, 0.0]]
    assert world.tick().state is State.ACTIVE


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
    assert world.tick().rule == "sight"


def wiggle(world, n, names=("linear.x",)):
    """So many ticks of a policy that looks: each action differs a little."""
    for i in range(n):
        world.values = {name: value + (0.001 if i % 2 else -0.001) * (name in names)
                        for name, value in world.values.items()}
        world.tick()


def test_the_same_action_over_changing_pictures_is_held_and_a_changed_one_goes_on():
    world = World().moving()
    world.tick(470)
    assert world.report.state is State.ACTIVE
    world.tick(20)
    assert world.report.rule == "repeat"
    wiggle(world, 2)
    assert world.report.state is State.ACTIVE


def test_standing_still_is_no_anomaly():
    world = World().moving()
    world.values = {"linear.x": 0.0, "gripper": 1.0}
    world.tick(600)
    assert world.report.verdict is Verdict.PASSED


def test_a_policy_that_is_clamped_for_long_is_held():
    world = World().moving()
    world.values["linear.x"] = 0.8
    wiggle(world, 500)
    assert world.report.state is State.ACTIVE
    wiggle(world, 3)
    assert world.report.rule == "saturation"
    world.values["linear.x"] = 0.3
    wiggle(world, 2)
    assert world.report.state is State.ACTIVE


def test_a_jump_between_two_chunks_holds_for_a_moment():
    world = World().moving()
    world.values["linear.x"] = 0.49
    world.tick(20)
    world.values["linear.x"] = -0.42  # 0.91 apart, 0.9 is allowed
    assert world.tick().rule == "seam"
    assert "linear.x jumps by -0.91 m/s" in world.report.reason
    world.tick(14)
    assert world.report.rule == "seam"
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
    command = world.inputs.command
    world.inputs.command = type(command)(command.stamp - 119 * S, command.generation, command.text)
    world.tick(20)
    assert world.report.state is State.ACTIVE
    wiggle(world, 20)
    assert world.report.rule == "instruction"
