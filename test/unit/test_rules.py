"""Each rule of the gate: below, at and above its threshold, and with values that are not numbers."""
import inspect
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gate_world import changed, rule_inputs

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_outputs import Output
from vla_ros.core.types import ActionChunk, Instruction
from vla_ros.safety.rule import Arming, Behind, Spent, Verdict
from vla_ros.safety.rules import RULES
from vla_ros.safety.rules.chunk_continuity import chunk_continuity
from vla_ros.safety.rules.chunk_end import chunk_end
from vla_ros.safety.rules.chunk_order import Arrival, chunk_order
from vla_ros.safety.rules.chunk_shape import chunk_shape
from vla_ros.safety.rules.chunk_source import chunk_source
from vla_ros.safety.rules.deadband import deadband
from vla_ros.safety.rules.exclusive_publisher import exclusive_publisher
from vla_ros.safety.rules.finite_values import finite_values
from vla_ros.safety.rules.hard_bounds import hard_bounds
from vla_ros.safety.rules.instruction_match import instruction_match
from vla_ros.safety.rules.joint_limits import joint_limits
from vla_ros.safety.rules.limits import limits
from vla_ros.safety.rules.listeners import listeners
from vla_ros.safety.rules.observation_age import observation_age
from vla_ros.safety.rules.persistent_clamping import persistent_clamping
from vla_ros.safety.rules.rate_limit import rate_limit, towards
from vla_ros.safety.rules.source_timeout import source_timeout
from vla_ros.safety.rules.stuck_policy import stuck_policy
from vla_ros.safety.rules.tracking import tracking
from vla_ros.safety.settings import Limit, Settings

MS = 1_000_000
SPEED = Channel("linear.x", "m/s", (-1.0, 1.0), (-0.5, 0.5), acceleration=1.0, deceleration=3.0, deadband=0.01)
GRIPPER = Channel("gripper", "1", (0.0, 1.0), (0.0, 1.0), max_speed=2.0, on_stop="hold_commanded", joint="finger")
BOTH = (SPEED, GRIPPER)
ROBOT = Robot("r", "base_link", BOTH, (Output("/v", "t", ("linear.x",)), Output("/g", "t", ("gripper",))))
EVIL = [math.nan, math.inf, -math.inf, 1e308, -1e308]


def chunk(values=((0.1, 1.0),), channels=("linear.x", "gripper"), step=100 * MS, instruction_id=5, stamp=0):
    return ActionChunk(stamp, instruction_id, channels, np.array(values, np.float32), step)


@pytest.mark.parametrize("quiet, held", [(0, False), (299 * MS, False), (300 * MS, False), (300 * MS + 1, True), (None, True)])
def test_sources(quiet, held):
    finding = source_timeout(rule_inputs(silence={"odom": quiet}, settings=Settings(sources={"odom": 300 * MS})))
    assert (finding is not None) == held
    if held:
        assert "odom" in finding.reason


@pytest.mark.parametrize("instruction, armed, answered, says", [
    (None, 0, 5, "no instruction"),
    (Instruction(0, 5, ""), 0, 5, "no instruction"),
    (Instruction(0, 5, "go"), 5, 5, "'go' was given before the arming; give the instruction again"),
    (Instruction(0, 5, "go"), 6, 5, "'go' was given before the arming"),
    (Instruction(0, 5, "go"), 4, 4, "another instruction than 'go'"),
    (Instruction(0, 5, "go"), 4, 6, "another instruction than 'go'"),
    (Instruction(0, 5, "go"), 4, 5, None),
])
def test_generation(instruction, armed, answered, says):
    finding = instruction_match(rule_inputs(chunk=chunk(instruction_id=answered), instruction=instruction, armed=Arming(armed, -1), newest_instruction_id=5, spent=Spent(0, "")))
    assert (finding.reason if finding else "").count(says or "\0") == (1 if says else 0)
    assert (finding is None) == (says is None)


@pytest.mark.parametrize("stamp, armed, newest, says", [
    (100, 99, 5, None), (100, 100, 5, None), (100, 101, 5, "given before the arming"),
    (100, 0, 6, "'go' came again after a newer")])
def test_an_instruction_from_before_the_arming_or_before_another_does_not_move_it(stamp, armed, newest, says):
    finding = instruction_match(rule_inputs(chunk=chunk(), instruction=Instruction(stamp, 5, "go"), armed=Arming(4, armed), newest_instruction_id=newest, spent=Spent(0, "")))
    assert (finding is None) == (says is None)
    assert finding is None or says in finding.reason


def test_braking_takes_no_longer_for_a_late_gate():
    assert towards(0.5, 0.0, SPEED, 40 * MS, 100 * MS) == pytest.approx(0.2)
    assert towards(0.5, -0.5, SPEED, 40 * MS, 400 * MS) == 0.0  # and never through zero
    assert towards(0.1, 0.5, SPEED, 40 * MS, 400 * MS) == pytest.approx(0.14)  # speeding up is


def test_generation_without_a_chunk():
    assert "no action yet for 'go'" in instruction_match(rule_inputs(chunk=None, instruction=Instruction(0, 5, "go"), armed=Arming(4, -1), newest_instruction_id=5, spent=Spent(0, ""))).reason


@pytest.mark.parametrize("bad, says", [
    (chunk(values=[[0.1]]), "shape"), (chunk(values=np.zeros((0, 2))), "shape"), (chunk(values=[0.1, 0.2]), "shape"),
    (chunk(values=[[[0.1, 0.1]]]), "shape"), *((chunk(values=rows, step=step), f"step is {says} s; it must be from 0.001 to 10 s")
      for step, says in ((0, "0"), (-1, "-1e-09"), (999_999, "0.000999999"), (10_000_000_001, "10"))
      for rows in ([[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])),
    (chunk(channels=("linear.x", "wings")), "no channel 'wings'; it has gripper, linear.x"),
    (chunk(channels=("linear.x", "linear.x")), "twice"), (chunk(values=np.zeros((1, 0)), channels=("gripper",)), "shape"),
])
def test_a_bad_shape_is_held(bad, says):
    finding = chunk_shape(rule_inputs(chunk=bad, robot=ROBOT))
    assert finding.verdict is Verdict.HELD and says in finding.reason


def test_a_good_shape_passes():
    assert chunk_shape(rule_inputs(chunk=chunk(), robot=ROBOT)) is None
    assert chunk_shape(rule_inputs(chunk=chunk(values=[[0.0]], channels=("gripper",)), robot=ROBOT)) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [0, 1])
def test_one_value_that_is_not_finite_holds_the_whole_chunk(value, row):
    values = [[0.1, 1.0], [0.1, 1.0]]
    values[row][1] = value
    finding = finite_values(rule_inputs(chunk=chunk(values=values)))
    assert finding.verdict is Verdict.HELD and f"in row {row}" in finding.reason


@pytest.mark.parametrize("age, held", [(399 * MS, False), (400 * MS, False), (400 * MS + 1, True),
                                       (-50 * MS, False), (-50 * MS - 1, True)])
def test_age(age, held):
    assert (observation_age(rule_inputs(observation_age=age, settings=changed(Settings(), max_age=400 * MS, max_future=50 * MS))) is not None) == held


@pytest.mark.parametrize("value, held", [(0.999, False), (1.0, False), (1.001, True), (-1.0, False), (-1.001, True),
                                         (-0.0, False), (5e-324, False), *((evil, True) for evil in EVIL)])
def test_outside_a_bound_the_whole_row_is_refused(value, held):
    finding = hard_bounds(rule_inputs(row=(value, 0.5), channels=BOTH))
    assert (finding is not None) == held
    if held:
        assert finding.verdict is Verdict.HELD and "-1 to 1 m/s" in finding.reason


@pytest.mark.parametrize("value, limited", [(0.499, None), (0.5, None), (0.501, 0.5), (-0.5, None), (-0.9, -0.5)])
def test_over_a_limit_a_value_is_clamped(value, limited):
    finding = limits(rule_inputs(row=(value, 0.5), channels=BOTH))
    assert (finding.row if finding else None) == (None if limited is None else (limited, 0.5))


@pytest.mark.parametrize("value, zeroed", [(0.0099, True), (0.01, False), (0.011, False), (-0.0099, True), (0.0, False)])
def test_a_velocity_inside_the_deadband_is_zero(value, zeroed):
    finding = deadband(rule_inputs(row=(value, 0.001), channels=BOTH))
    assert (finding is not None) == zeroed
    if zeroed:
        assert finding.row == (0.0, 0.001)  # a position has no deadband


@pytest.mark.parametrize("before, target, after", [
    (0.0, 0.5, 0.02),       # speeds up with rate 1.0 for 20 ms
    (0.0, 0.02, 0.02),
    (0.3, 0.0, 0.24),       # slows down with brake 3.0
    (0.3, 0.2, 0.24),
    (0.05, -0.5, 0.0),      # turns round only through zero
    (0.3, -0.5, 0.24),
    (-0.3, 0.0, -0.24),
    (-0.3, -0.5, -0.32),
])
def test_a_velocity_changes_no_faster_than_it_may(before, target, after):
    assert towards(before, target, SPEED, 20 * MS, 20 * MS) == pytest.approx(after)


@pytest.mark.parametrize("before, target, after", [(1.0, 0.0, 0.96), (0.0, 1.0, 0.04), (0.5, 0.53, 0.53)])
def test_a_position_moves_no_faster_than_it_may(before, target, after):
    assert towards(before, target, GRIPPER, 20 * MS, 20 * MS) == pytest.approx(after)


def test_a_position_that_nobody_measures_is_not_moved():
    finding = rate_limit(rule_inputs(row=(0.1, 0.5), last=(0.0, None), channels=BOTH, elapsed=20 * MS, pause=20 * MS))
    assert finding.verdict is Verdict.HELD and "gripper" in finding.reason


@pytest.mark.parametrize("instruction_id, stamp, late", [(5, 100, False), (5, 99, True), (5, 101, False), (4, 200, True), (6, 50, False)])
def test_order(instruction_id, stamp, late):
    finding = chunk_order(Arrival(chunk=chunk(instruction_id=instruction_id, stamp=stamp), previous=chunk(stamp=100),
                          instruction=Instruction(0, 5, "go"), numbered=True))
    assert (finding is not None) == late


def test_every_rule_names_itself():
    for rule in RULES:
        assert f'"{rule.name}"' in inspect.getsource(rule.check)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.sources], ids=lambda rule: rule.name)
def test_every_type_that_a_rule_listens_to_is_there(rule):
    pytest.importorskip("rclpy")
    from vla_ros.nodes.gate.rule_sources import message_class
    for source in rule.sources:
        assert message_class(rule, source)


def test_every_rule_is_a_file_of_its_name_and_every_file_is_asked():
    files = {path.stem for path in Path(inspect.getfile(chunk_order)).parent.glob("*.py")} - {"__init__"}
    assert files == {rule.name for rule in RULES} | {"chunk_order"}


@pytest.mark.parametrize("name, field, limit", [
    ("clock", "clock_still", 300 * MS), ("instruction_age", "instruction_age", 120_000 * MS),
    ("persistent_clamping", "clamped", 10_000 * MS)])
@pytest.mark.parametrize("past, held", [(-1, False), (0, False), (1, True)])
def test_a_time_that_must_not_pass(name, field, limit, past, held):
    rule, = (rule for rule in RULES if rule.name == name)
    finding = rule(rule_inputs(**{field: limit + past}))
    assert (finding is not None) == held
    assert finding is None or finding.verdict is Verdict.HELD


@pytest.mark.parametrize("repeated, row, limit, held", [
    (9999 * MS, (0.1, 1.0), 10_000, False), (10_000 * MS, (0.1, 1.0), 10_000, False),
    (10_000 * MS + 1, (0.1, 1.0), 10_000, True), (10_000 * MS + 1, (0.1, 1.0), 0, False),
    (10_000 * MS + 1, (0.0, 1.0), 10_000, False), (10_000 * MS + 1, (0.0, 0.5), 10_000, False)])
def test_repeat(repeated, row, limit, held):
    """A robot that stands may be told so for ever, and a position that is not reached yet may be asked for as long."""
    finding = stuck_policy(rule_inputs(repeated=repeated, row=row, channels=BOTH, settings=changed(Settings(), stuck_policy_limit=limit * MS)))
    assert (finding is not None) == held


def test_saturation_is_off_at_zero():
    assert persistent_clamping(rule_inputs(clamped=10**15, settings=changed(Settings(), clamping_limit=0))) is None


def test_seam_and_rivals_say_what_they_were_told():
    assert chunk_continuity(rule_inputs(discontinuity="")) is None
    assert chunk_continuity(rule_inputs(discontinuity="it jumps")).reason == "it jumps"
    assert exclusive_publisher(rule_inputs(other_publishers=())) is None
    assert "/cmd_vel from /teleop" in exclusive_publisher(rule_inputs(other_publishers=("/cmd_vel from /teleop",))).reason


JOINT = Channel("elbow", "rad", (-2.0, 2.0), (-1.9, 1.9), max_speed=0.5, on_stop="hold_measured", joint="elbow_joint",
                soft_limits=(-1.8, 1.8))


@pytest.mark.parametrize("stands, wanted, allowed", [
    (0.0, 1.8, 1.8), (0.0, 1.81, 1.8), (1.8, 1.81, 1.8), (1.85, 1.9, 1.85), (1.85, 1.84, 1.84), (1.85, -1.9, -1.8),
    (-1.85, -1.9, -1.85), (-1.85, 0.0, 0.0), (2.0, 1.9, 1.9)])
def test_beyond_a_soft_limit_a_joint_moves_inward_only(stands, wanted, allowed):
    finding = joint_limits(rule_inputs(row=(wanted,), measured=(stands,), last=(stands,), channels=(JOINT,)))
    assert (finding.row if finding else (wanted,)) == (allowed,)


@pytest.mark.parametrize("stands", [2.001, -2.001, None, math.nan])
def test_a_joint_outside_its_bounds_or_unmeasured_is_not_moved(stands):
    finding = joint_limits(rule_inputs(row=(0.0,), measured=(stands,), last=(0.0,), channels=(JOINT,)))
    assert finding.verdict is Verdict.HELD and "elbow" in finding.reason


def test_a_position_that_no_joint_measures_is_taken_from_what_was_emitted():
    free = Channel("gripper", "1", (0.0, 1.0), (0.0, 1.0), max_speed=2.0, on_stop="hold_commanded", soft_limits=(0.0, 1.0))
    assert joint_limits(rule_inputs(row=(0.5,), measured=(None,), last=(0.4,), channels=(free,))) is None
    assert "unknown" in joint_limits(rule_inputs(row=(0.5,), measured=(None,), last=(None,), channels=(free,))).reason


@pytest.mark.parametrize("sequence, process, late", [
    (7, "a", True), (6, "a", True), (8, "a", False), (0, "a", False), (3, "b", False), (7, "b", False)])
@pytest.mark.parametrize("numbered", [True, False])
def test_a_chunk_that_was_numbered_before_another_of_its_process_is_late(sequence, process, late, numbered):
    finding = chunk_order(Arrival(chunk=replace(chunk(stamp=200), sequence=sequence, process=process), instruction=Instruction(0, 5, "go"),
                          previous=replace(chunk(stamp=100), sequence=7, process="a"), numbered=numbered))
    assert (finding is not None) == (late and numbered)


def test_a_process_without_a_name_may_number_as_it_likes():
    assert chunk_order(Arrival(chunk=replace(chunk(stamp=200), sequence=1), instruction=Instruction(0, 5, "go"), numbered=True,
                       previous=replace(chunk(stamp=100), sequence=7))) is None


def test_one_process_says_what_the_robot_does():
    assert chunk_source(rule_inputs(chunk_sources=())) is None
    assert chunk_source(rule_inputs(chunk_sources=("12.a.b",))) is None
    reason = chunk_source(rule_inputs(chunk_sources=("12.a.b", ""))).reason
    assert reason == "actions come from 2 processes: 12.a.b, one without a name; end all but one"


@pytest.mark.parametrize("ended, held", [(-1, False), (0, False), (1, True)])
def test_a_chunk_ends(ended, held):
    assert (chunk_end(rule_inputs(ended=ended)) is not None) == held


def test_where_nobody_listens_says_so():
    assert listeners(rule_inputs(missing_listeners=())) is None
    assert listeners(rule_inputs(missing_listeners=("nobody listens to /a", "nobody listens to /b"))).reason.count("nobody") == 2


@pytest.mark.parametrize("spent, held", [(4, False), (5, True), (6, True)])
def test_an_instruction_that_is_spent_is_given_again(spent, held):
    finding = instruction_match(rule_inputs(chunk=chunk(), instruction=Instruction(0, 5, "go"), armed=Arming(4, -1), newest_instruction_id=5,
                               spent=Spent(spent, "node inference was lost")))
    assert (finding.reason if finding else "") == (
        "node inference was lost; give the instruction again" if held else "")


@pytest.mark.parametrize("channels", [("linear.x",), ("angular.z",), ("linear.x", "gripper")])
def test_half_a_base_is_no_action_and_a_whole_one_or_none_is(channels):
    turn = replace(SPEED, name="angular.z")
    base = Robot("r", "base_link", (SPEED, turn, GRIPPER), (
        Output("/v", "t", ("linear.x", "angular.z")), Output("/g", "t", ("gripper",))))
    finding = chunk_shape(rule_inputs(chunk=chunk(values=[[0.1] * len(channels)], channels=channels), robot=base))
    assert "takes all of its channels or none" in finding.reason
    assert chunk_shape(rule_inputs(chunk=chunk(values=[[1.0]], channels=("gripper",)), robot=base)) is None


TRACKED = replace(JOINT, max_tracking_error=0.2, tracking_time=0.5)


@pytest.mark.parametrize("late, held", [(0, False), (500 * MS, False), (500 * MS + 1, True)])
def test_tracking(late, held):
    arm = Robot("r", "base_link", (SPEED, TRACKED), ())
    finding = tracking(rule_inputs(behind={"elbow": Behind(late, 0.2, 0.5)} if late else {}, robot=arm))
    assert (finding is not None) == held
    assert finding is None or "elbow stands at 0.2 rad and was sent 0.5" in finding.reason


def test_a_soft_limit_is_measured_from_what_was_sent():
    finding = joint_limits(rule_inputs(row=(1.9,), measured=(1.85,), last=(1.8,), channels=(JOINT,)))
    assert finding.row == (1.8,)



@pytest.mark.parametrize("values, says", [
    ({"default": 111.0}, "parameter 'voltage' is 111.0; give a number from 0 to 100 V"),
    ({"default": math.nan}, "parameter 'voltage' is nan; give a number from 0 to 100 V"),
    ({"stricter": "higher"}, "parameter 'voltage': stricter is 'higher'; use less or more"), ({"default": 100.0}, None)])
def test_a_limit_that_contradicts_itself_is_refused(values, says):
    given = {"name": "voltage", "default": 11.0, "description": "", "unit": "V", "low": 0.0, "high": 100.0, **values}
    if says is None:
        assert Limit(**given).default == 100.0
        return
    with pytest.raises(ValueError, match=says):
        Limit(**given)


@pytest.mark.parametrize("unit, said", [("m/s", "0.9 m/s was limited to 0.5 m/s"), ("1", "0.9 was limited to 0.5")])
def test_a_sentence_names_a_unit_only_where_there_is_one(unit, said):
    finding = limits(rule_inputs(channels=(replace(SPEED, unit=unit),), row=(0.9,)))
    assert finding.reason.endswith(said)
