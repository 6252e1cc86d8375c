"""The gate: its states, what it lets through, and that nothing but `arm` ever arms it."""
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk, Command
from vla_ros.safety import gate as gate_module
from vla_ros.safety.gate import Gate, Inputs, State
from vla_ros.safety.obstacles import Reading
from vla_ros.safety.situation import Finding, Settings, Verdict

MS = 1_000_000
S = 1000 * MS
EPOCH = 1_700_000_000 * S
ROBOT = load_robot(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
JOINTS = [f"joint_{i}" for i in range(1, 7)]
ARM = load_robot(Path(__file__).parents[2] / "config" / "robots" / "diffdrive_arm.yaml")


def scan(stamp, points=(), valid=True):
    """All around, with something at `points` (m)."""
    angles = np.linspace(-math.pi, math.pi, 36)
    return Reading(stamp, np.array(points, float).reshape(-1, 2), angles, np.full(36, valid))


class World:
    """A gate with a steady and a ROS clock, 20 ms a tick, a fresh source and a policy that says `values`."""

    def __init__(self, robot=ROBOT):
        self.gate = Gate(robot, Settings(sources={"odom": 300 * MS}))
        self.inputs = Inputs(seen={}, command=Command(0, 1, ""))
        self.positions = {"gripper": 1.0}
        self.now, self.offset = 10 * S, EPOCH
        self.values = {"linear.x": 0.3, "gripper": 1.0}
        self.speaks, self.alive, self.points = True, True, []

    def tick(self, n=1):
        for _ in range(n):
            self.now += 20 * MS
            stamp = self.now + self.offset
            if self.alive:
                self.inputs.seen["odom"] = self.now
                self.inputs.readings["/scan"] = (scan(stamp, self.points), self.now)
                self.inputs.measured.update({name: (value, self.now) for name, value in self.positions.items()})
            if self.speaks:
                self.inputs.chunk = ActionChunk(stamp - 30 * MS, self.inputs.command.generation, tuple(self.values),
                                                np.array([list(self.values.values())], np.float32), 100 * MS)
            self.action, self.report = self.gate.step(self.now, stamp, self.inputs)
        return self.report

    def arm(self):
        return self.gate.arm(self.now, self.now + self.offset, self.inputs)

    def say(self, text):
        self.inputs.command = Command(self.now + self.offset, self.inputs.command.generation + 1, text)

    def moving(self):
        self.tick()
        assert self.arm() == (True, "armed; give an instruction")
        self.say("go")
        self.tick(25)
        assert self.action["linear.x"] == pytest.approx(0.3)
        return self


def test_it_starts_disarmed_and_stands():
    world = World()
    world.say("go")
    assert world.tick(10).state is State.DISARMED
    assert world.action == {"linear.x": 0.0, "angular.z": 0.0}


def test_armed_and_told_it_moves():
    world = World().moving()
    assert world.report.state is State.ACTIVE
    assert world.report.verdict is Verdict.PASSED
    assert world.action == {"linear.x": pytest.approx(0.3), "angular.z": 0.0, "gripper": 1.0}


def test_an_instruction_from_before_the_arming_does_not_move_it():
    world = World()
    world.say("go")
    world.tick()
    world.arm()
    assert world.tick(10).rule == "generation"
    assert world.report.state is State.HOLDING
    world.say("go")
    assert world.tick(10).state is State.ACTIVE


def test_arming_needs_fresh_sources():
    world = World()
    allowed, why = world.arm()
    assert not allowed and "odom" in why
    world.tick()
    world.now += 301 * MS
    allowed, why = world.arm()
    assert not allowed and "0.30 s" in why


def test_arming_needs_a_released_stop():
    world = World()
    world.tick()
    world.inputs.stop_pressed = True
    assert world.arm() == (False, "the stop is pressed; release it first")


def test_an_empty_command_brakes_through_the_limit():
    world = World().moving()
    world.say("")
    world.tick()
    assert world.report.verdict is Verdict.HELD
    assert world.action["linear.x"] == pytest.approx(0.3 - 3.0 * 0.02)
    world.tick(5)
    assert world.action["linear.x"] == 0.0
    assert world.report.state is State.HOLDING


def test_the_stop_is_at_once_latched_and_reset_ends_disarmed():
    world = World().moving()
    world.inputs.stop_pressed = True
    assert world.tick().state is State.STOPPED
    assert world.action["linear.x"] == 0.0
    assert world.gate.reset(world.now, world.inputs) == (False, "the stop is pressed; release it first")
    world.inputs.stop_pressed = False
    assert world.tick(5).state is State.STOPPED
    assert not world.arm()[0]
    assert world.gate.reset(world.now, world.inputs)[0]
    world.say("go")
    assert world.tick(5).state is State.DISARMED
    assert world.action["linear.x"] == 0.0


def test_a_lost_source_holds_and_it_goes_on_when_it_is_back():
    world = World().moving()
    world.alive = False
    world.tick(15)
    assert world.report.state is State.ACTIVE
    assert world.tick().rule == "sources"
    world.tick(10)
    assert world.action["linear.x"] == 0.0
    world.alive = True
    assert world.tick(2).state is State.ACTIVE


def test_a_silent_policy_is_held_by_the_age_of_its_picture():
    world = World().moving()
    world.speaks = False
    world.tick(18)  # the picture was 30 ms old when its action came: 390 ms
    assert world.report.state is State.ACTIVE
    assert world.tick().rule == "age"
    world.tick(10)
    assert world.action["linear.x"] == 0.0


def test_a_stalled_ros_clock_ages_actions_as_well():
    world = World().moving()
    world.speaks = False
    for _ in range(30):
        world.offset -= 19 * MS  # the ROS clock hardly moves
        world.tick()
    assert world.report.rule == "age"
    assert world.action["linear.x"] == 0.0


@pytest.mark.parametrize("jump, stops", [(499 * MS, False), (500 * MS, False), (501 * MS, True), (-501 * MS, True), (-3600 * S, True)])
def test_a_clock_that_jumps_stops(jump, stops):
    world = World().moving()
    world.offset += jump
    world.tick()
    assert (world.report.state is State.STOPPED) == stops
    if stops:
        assert "clock jumped" in world.report.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30, 1.01])
@pytest.mark.parametrize("channel", ["linear.x", "gripper"])
def test_one_bad_value_drops_the_whole_action(value, channel):
    world = World().moving()
    world.values = {**world.values, channel: value}
    assert world.tick().verdict is Verdict.HELD
    assert world.action["linear.x"] == pytest.approx(0.3 - 0.06)
    assert world.action["gripper"] == 1.0


def test_an_older_action_never_answers_a_newer_instruction():
    world = World().moving()
    late = world.inputs.chunk
    world.speaks = False
    world.say("turn left")
    world.tick()
    assert world.report.rule == "generation"
    world.inputs.chunk = ActionChunk(late.stamp + 5 * MS, late.generation, late.channels, late.values, late.step)
    assert world.tick().rule == "generation"
    assert world.gate.counters["order"] == 1


def test_a_late_action_does_not_replace_a_newer_one():
    world = World().moving()
    newest = world.inputs.chunk
    world.speaks = False
    world.inputs.chunk = ActionChunk(newest.stamp - 1, newest.generation, newest.channels,
                                     np.array([[-0.3, 0.0]], np.float32), newest.step)
    world.tick(5)
    assert world.action["linear.x"] == pytest.approx(0.3)


def test_a_gripper_keeps_its_grip_when_it_stops():
    world = World().moving()
    world.values = {"linear.x": 0.0, "gripper": 0.0}
    world.tick(30)
    world.positions["gripper"] = 0.6  # something is between the fingers
    world.inputs.stop_pressed = True
    world.tick(5)
    assert world.action["gripper"] == 0.0


def reaching(positions):
    world = World(ARM)
    world.positions = {**dict.fromkeys(JOINTS, 0.5), **positions}
    world.values = dict.fromkeys(JOINTS, 1.5)
    world.tick()
    world.arm()
    world.say("reach")
    return world


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


def test_disarmed_it_leaves_the_arm_to_others_and_forgets_where_it_was():
    world = reaching({})
    world.tick(20)
    world.gate.disarm()
    world.tick()
    assert world.action == {"linear.x": 0.0, "angular.z": 0.0}
    world.positions = dict.fromkeys(JOINTS, -0.5)  # someone moved it by hand
    world.tick()
    world.arm()
    world.say("reach")
    world.tick()
    assert world.action["joint_1"] == pytest.approx(-0.5 + 0.5 * 0.02)


def test_arming_needs_to_have_heard_from_the_operator_s_node():
    world = World()
    world.inputs.command = None
    world.speaks = False
    world.tick()
    assert world.arm() == (False, "nothing was heard from command_ingest yet")


def test_the_same_picture_again_is_no_younger():
    world = World().moving()
    chunk, world.speaks = world.inputs.chunk, False
    for _ in range(30):
        world.offset -= 19 * MS  # the ROS clock hardly moves, and someone repeats the last action
        world.inputs.chunk = ActionChunk(chunk.stamp, chunk.generation, chunk.channels, chunk.values, chunk.step)
        world.tick()
    assert world.report.rule == "age"
    assert world.action["linear.x"] == 0.0


def test_a_gate_that_stood_still_stops():
    world = World().moving()
    world.now += 490 * MS
    assert world.tick().state is State.STOPPED
    assert "stood still" in world.report.reason


@pytest.mark.parametrize("evil", [math.nan, math.inf])
def test_a_measurement_that_is_not_finite_is_never_sent(evil):
    world = reaching({})
    world.tick(5)
    world.positions["joint_1"] = evil
    world.say("")
    world.tick()
    assert math.isfinite(world.action["joint_1"])


def test_a_rule_that_stops_latches(monkeypatch):
    def tilt(*, age):
        return Finding("tilt", Verdict.STOPPED, "the base tilts by 0.40 rad")
    world = World().moving()
    monkeypatch.setattr(gate_module, "RULES", (tilt, *gate_module.RULES))
    monkeypatch.setitem(gate_module.NEEDS, tilt, ("age",))
    assert (world.tick().state, world.report.rule) == (State.STOPPED, "tilt")
    monkeypatch.undo()
    assert (world.tick().state, world.report.reason) == (State.STOPPED, "the base tilts by 0.40 rad")
    assert world.action["linear.x"] == 0.0


def test_an_exception_in_a_rule_is_a_stop(monkeypatch):
    world = World().moving()
    monkeypatch.setattr(gate_module, "row_at", lambda *arguments: 1 / 0)
    assert world.tick().state is State.STOPPED
    assert "ZeroDivisionError" in world.report.reason
    assert world.action["linear.x"] == 0.0


def test_a_long_pause_of_the_gate_does_not_allow_a_jump():
    world = World().moving()
    world.values["linear.x"] = 0.5
    world.now += 200 * MS
    world.tick()
    assert world.action["linear.x"] <= 0.3 + 1.0 * 0.04 + 1e-6


def test_disarming_stops_at_once():
    world = World().moving()
    assert world.gate.disarm()[0]
    world.tick()
    assert world.action["linear.x"] == 0.0
    assert world.report.state is State.DISARMED


VALUES = st.floats(width=32) | st.sampled_from([0.0, -0.0, 0.3, -0.5, 0.5, 1.0])
EVENTS = st.one_of(
    st.tuples(st.just("values"), VALUES, VALUES), st.tuples(st.just("say"), st.sampled_from(["go", "", "turn"])),
    st.tuples(st.just("arm")), st.tuples(st.just("disarm")), st.tuples(st.just("reset")),
    st.tuples(st.just("stop"), st.booleans()), st.tuples(st.just("alive"), st.booleans()),
    st.tuples(st.just("speaks"), st.booleans()), st.tuples(st.just("jump"), st.integers(-2 * S, 2 * S)),
    st.tuples(st.just("pause"), st.integers(0, 500 * MS)), st.tuples(st.just("measure"), VALUES),
    st.tuples(st.just("tick"), st.integers(1, 20)))


def play(world, event):
    """Applies one event; whether it was an arming that was allowed."""
    kind, *values = event
    if kind == "values":
        world.values = {"linear.x": values[0], "gripper": values[1]}
    elif kind == "say":
        world.say(values[0])
    elif kind == "arm":
        return world.arm()[0]
    elif kind == "disarm":
        world.gate.disarm()
    elif kind == "reset":
        world.gate.reset(world.now, world.inputs)
    elif kind == "stop":
        world.inputs.stop_pressed = values[0]
    elif kind in ("alive", "speaks"):
        setattr(world, kind, values[0])
    elif kind == "jump":
        world.offset += values[0]
    elif kind == "pause":
        world.now += values[0]
    elif kind == "measure":
        world.positions["gripper"] = values[0]
    return False


@settings(max_examples=2000)
@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_what_it_emits_is_safe_and_explained(events):
    world, armed = World(), False
    for event in events:
        armed = play(world, event) or armed
        before = dict(world.action) if hasattr(world, "action") else {}
        for _ in range(event[1] if event[0] == "tick" else 1):
            report = world.tick()
            assert report.state in (State.DISARMED, State.STOPPED) or armed  # nothing arms but arm
            for name, value in world.action.items():
                channel = ROBOT.channel(name)
                assert math.isfinite(value)
                assert channel.limits[0] <= value <= channel.limits[1]
                if name in before and report.state in (State.HOLDING, State.ACTIVE):
                    fastest = max(channel.rate, channel.brake) * 0.04 + 1e-9
                    assert abs(value - before[name]) <= fastest
            if report.state in (State.DISARMED, State.STOPPED):
                assert world.action["linear.x"] == 0.0 and world.action["angular.z"] == 0.0
            if report.state is State.ACTIVE:
                assert report.generation == world.inputs.command.generation
            assert (report.verdict is Verdict.PASSED) == (report.reason == "")
            before = dict(world.action)
        armed = armed and world.gate.state in (State.HOLDING, State.ACTIVE)
