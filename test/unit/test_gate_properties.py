"""What holds for any sequence of actions, stamps, clocks, sensor readings and requests.

Each property is asked after every tick of thousands of made-up stories, once for the simulated robot (velocities, a
gripper, a lidar) and once for one with an arm.
"""
import math

import numpy as np
import pytest
from gate_world import ARM, EXAMPLES, JOINTS, MS, ROBOT, SAME, S, World, scan
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vla_ros.core.types import ActionChunk, Instruction
from vla_ros.safety.gate import State
from vla_ros.safety.obstacles import approach
from vla_ros.safety.rule import Verdict

EVIL = [math.nan, math.inf, -math.inf, 1e308, -1e308, -0.0, 5e-324, 1e-40]
VALUES = st.sampled_from([0.0, 0.3, -0.5, 0.5, 0.51, 1.0, -1.0, 1.9, *EVIL]) | st.floats(width=32)
ROUNDING = 2e-7  # a chunk's values are float32: 1.9 is asked for as 1.89999998, and what is measured as 1.9 is held as that
STAMPS = st.sampled_from([0, -30 * MS, -399 * MS, -2 * S, 49 * MS, 2 * S, -(2**62)])
PLACES = st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
# What a policy may send that is no action at all: shapes, types and names.
WILD = st.tuples(
    st.sampled_from([(), (0,), (1,), (3,), (0, 3), (1, 3), (2, 3), (1, 0), (1, 2, 2), (3, 1)]), VALUES,
    st.sampled_from([(), ("linear.x",), ("linear.x", "linear.x", "gripper"), ("linear.x", "angular.z", "gripper"),
                     ("wings", "linear.x", "gripper"), ("joint_1", "joint_2", "joint_3")]),
    STAMPS, st.sampled_from([0, 100 * MS, -1, 2**62]), st.integers(-2, 2))
EVENTS = st.one_of(
    st.tuples(st.just("values"), VALUES, VALUES, VALUES),
    st.tuples(st.just("say"), st.sampled_from(["go", "", "turn"]), STAMPS),
    st.tuples(st.just("arm")), st.tuples(st.just("disarm")), st.tuples(st.just("reset")),
    st.tuples(st.just("stop"), st.booleans()), st.tuples(st.just("halt"), st.sampled_from(["", "it burns"])),
    st.tuples(st.just("other_publishers"), st.sampled_from([(), ("/cmd_vel from /teleop",)])),
    st.tuples(st.just("alive"), st.booleans()), st.tuples(st.just("speaks"), st.booleans()),
    st.tuples(st.just("jump"), st.integers(-2 * S, 2 * S)), st.tuples(st.just("pause"), st.integers(-S, 600 * MS)),
    st.tuples(st.just("measure"), VALUES), st.tuples(st.just("points"), st.lists(PLACES, max_size=4)),
    st.tuples(st.just("scan"), STAMPS, st.booleans()), st.tuples(st.just("wild"), WILD),
    st.tuples(st.just("begin")), st.tuples(st.just("tick"), st.integers(1, 8)))


class Story:
    """A world, and what was seen of it: one event after another."""

    def __init__(self, robot):
        self.world = World(robot)
        self.names = ("linear.x", "angular.z", "gripper") if robot is ROBOT else JOINTS
        self.world.positions = {"gripper": 1.0, **dict.fromkeys(JOINTS, 0.5)}
        self.world.values = dict.fromkeys(self.names, 0.3)
        self.armed = False
        self.before = {}
        self.pause = 0  # of the steady clock

    def play(self, kind, *values):
        world = self.world
        if kind == "values":
            world.values = {name: values[i % 3] for i, name in enumerate(self.names)}
        elif kind == "say":
            world.inputs.instruction = Instruction(world.now + world.offset + values[1],
                                           world.inputs.instruction.instruction_id + 1, values[0])
        elif kind in ("arm", "begin"):
            self.armed = world.arm()[0] or self.armed
            if kind == "begin":  # the usual way to move, so that stories often do
                self.tick()
                world.say("go")
        elif kind == "disarm":
            world.gate.disarm()
        elif kind == "reset":
            world.gate.reset(world.now, world.inputs)
        elif kind == "stop":
            world.inputs.stop_pressed = values[0]
        elif kind in ("halt", "other_publishers"):
            setattr(world.inputs, kind, values[0])
        elif kind in ("alive", "speaks", "points"):
            setattr(world, kind, values[0])
        elif kind == "jump":
            world.offset += values[0]
        elif kind == "pause":
            world.now, self.pause = world.now + values[0], self.pause + values[0]
        elif kind == "measure":
            world.positions = dict.fromkeys(world.positions, values[0])
        elif kind == "scan":
            stamp = world.now + world.offset + values[0]
            world.inputs.readings["/scan"] = (scan(stamp, world.points, values[1]), world.now)
        elif kind == "wild":
            self.send_wild(*values[0])

    def send_wild(self, shape, value, channels, stamp, step, instruction_id):
        world = self.world
        with np.errstate(over="ignore"):
            values = np.full(shape, value, np.float64).astype(np.float32)
        world.inputs.chunk = ActionChunk(world.now + world.offset + stamp, world.inputs.instruction.instruction_id + instruction_id,
                                         channels, values, step)
        world.speaks = False

    def tick(self):
        self.before = dict(getattr(self.world, "action", {}))
        with np.errstate(over="ignore"):
            self.world.tick()
        self.elapsed = 20 * MS + self.pause
        self.pause = 0
        if self.world.report.state in (State.DISARMED, State.STOPPED):
            self.armed = False


def every_value_is_finite_and_within_its_bounds(story):
    for name, value in story.world.action.items():
        low, high = story.world.gate.robot.channel(name).bounds
        assert math.isfinite(value) and low <= value <= high


def outside_its_limits_a_value_only_moves_inward(story):
    for name, value in story.world.action.items():
        channel = story.world.gate.robot.channel(name)
        outside = max(channel.limits[0] - value, value - channel.limits[1], 0.0)
        if outside and channel.on_stop == "zero":
            raise AssertionError(f"{name} {value}")
        if outside and name in story.before:
            before = story.before[name]
            assert outside <= max(channel.limits[0] - before, before - channel.limits[1], 0.0) + ROUNDING


def no_value_changes_faster_than_it_may(story):
    """From what was emitted before; a stop and a disarming are at once."""
    if story.world.report.state in (State.DISARMED, State.STOPPED):
        return
    for name, value in story.world.action.items():
        channel = story.world.gate.robot.channel(name)
        if name in story.before:
            before, elapsed = story.before[name], max(0, story.elapsed)
            speeding_up = (channel.acceleration if channel.is_velocity else channel.max_speed) * min(elapsed, 40 * MS) / S + ROUNDING
            if channel.on_stop != "zero":
                assert abs(value - before) <= speeding_up
            else:
                assert value * before >= 0.0  # it turns round only through zero
                assert abs(value) - abs(before) <= speeding_up
                assert abs(before) - abs(value) <= channel.deceleration * elapsed / S + ROUNDING


def stopped_or_disarmed_it_stands(story):
    if story.world.report.state in (State.DISARMED, State.STOPPED):
        for name, value in story.world.action.items():
            channel = story.world.gate.robot.channel(name)
            assert value == 0.0 if channel.on_stop == "zero" else story.world.report.state is State.STOPPED


def held_it_only_brakes(story):
    if story.world.report.state is State.HOLDING:
        for name, value in story.world.action.items():
            if story.world.gate.robot.channel(name).on_stop == "zero":
                before = story.before.get(name, 0.0)
                assert abs(value) <= abs(before) and value * before >= 0.0


def every_change_has_a_reason(story):
    report = story.world.report
    assert (report.verdict is Verdict.PASSED) == (report.reason == "") == (report.rule == "")
    assert (report.state is State.ACTIVE) == (report.verdict in (Verdict.PASSED, Verdict.LIMITED))
    if report.verdict is Verdict.PASSED:
        wanted = [(r, e) for r, e in zip(report.requested, report.emitted) if not math.isnan(r)]
        assert all(r == e for r, e in wanted)


def an_older_action_never_answers_a_newer_instruction(story):
    if story.world.report.state is State.ACTIVE:
        assert story.world.report.instruction_id == story.world.inputs.instruction.instruction_id
        assert story.world.inputs.instruction.text


def an_action_is_never_older_than_its_limit(story):
    if story.world.report.state is State.ACTIVE:
        assert -50 * MS <= story.world.report.age <= 400 * MS


def nothing_arms_but_arm(story):
    if story.world.report.state in (State.HOLDING, State.ACTIVE):
        assert story.armed


def nothing_moves_against_a_pressed_stop_a_halt_or_a_rival(story):
    inputs = story.world.inputs
    if inputs.stop_pressed or inputs.halt:
        assert story.world.report.state is State.STOPPED
    if inputs.other_publishers:
        assert story.world.report.state is not State.ACTIVE


def nothing_is_approached_by_a_sensor_that_is_stale_or_too_near(story):
    world = story.world
    if world.report.state is not State.ACTIVE or world.gate.robot.obstacles is None:
        return
    reading, arrived = world.inputs.readings["/scan"]
    age = world.now + world.offset - reading.stamp
    assert reading.valid.any() and world.now - arrived <= 300 * MS and -50 * MS <= age <= 300 * MS
    wanted = dict(zip((channel.name for channel in world.gate.robot.channels), world.report.requested))
    twist = [0.0 if math.isnan(value) else min(max(value, -0.5), 0.5)
             for value in (wanted.get("linear.x", 0.0), 0.0, wanted.get("angular.z", 0.0))]
    gap, _, _, _ = approach(reading.points, world.gate.robot.footprint, tuple(twist), world.gate.robot.obstacles)
    assert gap > 0.3 or not any(twist)


def nothing_straight_ahead_is_driven_at(story):
    """By hand, not by the gate's own geometry: something within 0.3 m in the robot's own width, and straight at it."""
    robot, report = story.world.gate.robot, story.world.report
    if report.state is not State.ACTIVE or robot is not ROBOT:
        return
    wanted = dict(zip((channel.name for channel in robot.channels), report.requested))
    if not math.isnan(wanted["angular.z"]) and wanted["angular.z"] != 0.0:
        return
    foot = robot.footprint
    for x, y in story.world.inputs.readings["/scan"][0].points:
        if -foot.right < y < foot.left:
            assert not (wanted["linear.x"] > 0.0 and foot.front < x < foot.front + 0.299)
            assert not (wanted["linear.x"] < 0.0 and -foot.back - 0.299 < x < -foot.back)


PROPERTIES = [value for value in list(globals().values())
              if callable(value) and getattr(value, "__code__", None) and value.__code__.co_varnames[:1] == ("story",)]


@pytest.mark.parametrize("robot", [ROBOT, ARM], ids=lambda robot: robot.name)
def test_whatever_happens(robot):
    assert len(PROPERTIES) == 12  # the list is made from this file's functions
    moved = []

    @settings(max_examples=EXAMPLES, deadline=None, print_blob=True, database=None, derandomize=SAME,
              suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(EVENTS, min_size=6, max_size=25))
    @example([("begin",), ("tick", 30)])  # whatever is drawn by chance, not every story is of a robot that stands
    def tell(events):
        story = Story(robot)
        for event in [("tick", 1), *events]:
            if event[0] != "tick":
                story.play(*event)
            for _ in range(event[1] if event[0] == "tick" else 1):
                story.tick()
                for holds in PROPERTIES:
                    holds(story)
                moved.append(story.world.report.state is State.ACTIVE)

    tell()
    assert sum(moved) >= 20
