"""A rule that declares a topic holds until that was heard, and whenever what it says is in doubt: whatever the rule's own
function does."""
import math

import numpy as np
import pytest
from gate_world import EPOCH, MS, S, World, changed, rule_inputs

from vla_ros.safety import gate as gate_module
from vla_ros.safety import rules
from vla_ros.safety.gate import State
from vla_ros.safety.rule import Heard, Source, Verdict, held, rule
from vla_ros.safety.settings import Limit, Settings

TIMEOUT = Limit("imu_timeout", 0.3, "an IMU silent for longer holds", "s", 0.02, 10.0)
IMU = Source("/imu/data", "sensor_msgs/msg/Imu", lambda message: message.tilt, TIMEOUT)
OTHER = Source("/other", "sensor_msgs/msg/Imu", lambda message: message.tilt, TIMEOUT)
NOW = 10 * S


@rule(holds_when="never", sources=(IMU,), arming=True)
def careless(inputs):
    return None


def finds(value=0.1, age=0, stamp_age=None, fault="", asked=careless):
    stamp = None if stamp_age is None else EPOCH - stamp_age
    return asked(rule_inputs(now=NOW, stamp=EPOCH, messages={IMU: Heard(value, NOW - age, stamp, fault)}))


def test_before_its_topic_was_heard_it_holds():
    finding = careless(rule_inputs(messages={}))
    assert (finding.rule, finding.verdict) == ("careless", Verdict.HELD)
    assert finding.reason == "nothing was heard from /imu/data yet"


@pytest.mark.parametrize("age, stamp_age, says", [
    (0, None, None), (300 * MS, None, None), (300 * MS + 1, None, "0.30 s old; at most 0.3 s"), (0, 0, None),
    (0, 300 * MS, None), (0, 300 * MS + 1, "0.30 s old"), (300 * MS + 1, 0, "0.30 s old"),
    (0, -50 * MS, None), (0, -50 * MS - 1, "0.05 s in the future"), (0, EPOCH, "s old")])
def test_a_message_counts_while_it_is_fresh_by_its_arrival_and_by_its_stamp(age, stamp_age, says):
    finding = finds(age=age, stamp_age=stamp_age)
    assert (finding is None) == (says is None)
    assert finding is None or says in finding.reason


@pytest.mark.parametrize("value", [0.0, -1.0, 1e308, 7, True, (0.0,), (1.0, -2.0), np.float32(0.5)])
def test_a_finite_number_or_several_count(value):
    assert finds(value) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, (0.0, math.nan), (), None, "0.1", [0.1], np.float32("nan"),
                                   np.array([math.nan])])
def test_whatever_is_no_finite_number_holds(value):
    assert "/imu/data says" in finds(value).reason


def test_a_message_that_could_not_be_converted_holds_and_says_why():
    assert finds(None, fault="it has no orientation").reason == "/imu/data says nothing: it has no orientation"


def test_the_timeout_is_a_parameter():
    settings = changed(Settings(), imu_timeout=1 * S)
    for age, verdict in ((1 * S, None), (1 * S + 1, Verdict.HELD)):
        finding = careless(rule_inputs(now=NOW, settings=settings, messages={IMU: Heard(0.1, NOW - age)}))
        assert (finding.verdict if finding else None) == verdict
    assert TIMEOUT in careless.limits


def test_a_timeout_is_in_seconds():
    with pytest.raises(ValueError, match="the timeout of /imu/data, 'imu_timeout', is in 'ms'; give it in s"):
        Source("/imu/data", "sensor_msgs/msg/Imu", float, Limit("imu_timeout", 300.0, "an IMU silent for longer", "ms"))


def with_rule(monkeypatch, added):
    monkeypatch.setattr(gate_module, "RULES", (added, *gate_module.RULES))
    world = World()
    world.gate.settings = changed(world.gate.settings, lost={"/imu/data": S})
    return world


def says(world, value=0.1):
    world.inputs.messages[IMU] = Heard(value, world.now + 20 * MS)


def test_the_gate_neither_arms_nor_moves_before_it_was_heard(monkeypatch):
    world = with_rule(monkeypatch, careless)
    world.tick(3)
    assert world.arm() == (False, "nothing was heard from /imu/data yet")
    says(world)
    world.tick()
    assert world.arm()[0]
    world.say("go")
    world.inputs.messages.clear()
    assert (world.tick(5).state, world.report.rule) == (State.HOLDING, "careless")
    assert world.action["linear.x"] == 0.0
    says(world)
    assert world.tick().state is State.ACTIVE
    says(world, math.nan)
    assert world.tick().rule == "careless"


def test_after_a_loss_the_instruction_is_given_again(monkeypatch):
    world = with_rule(monkeypatch, careless)
    world.tick(3)
    says(world)
    world.tick()
    world.arm()
    world.say("go")
    assert world.tick(5).state is State.ACTIVE
    world.tick(60)
    assert world.report.rule == "careless"
    says(world)
    assert world.tick().reason == "/imu/data was lost; give the instruction again"
    world.say("go")
    says(world)
    assert world.tick().state is State.ACTIVE


def test_what_a_rule_looks_at_without_declaring_it_stops_the_robot(monkeypatch):
    @rule(holds_when="it looks elsewhere")
    def undeclared(inputs):
        return held("undeclared", "it is large") if inputs.value(OTHER) > 1.0 else None
    world = World().moving()
    monkeypatch.setattr(gate_module, "RULES", (undeclared, *gate_module.RULES))
    assert world.tick().state is State.STOPPED
    assert "nothing was heard from /other yet" in world.report.reason


def test_a_rule_that_limits_without_a_row_stops_the_robot(monkeypatch):
    @rule(holds_when="it forgets the row")
    def forgetful(inputs):
        return gate_module.Finding("forgetful", Verdict.LIMITED, "slower")
    world = World().moving()
    monkeypatch.setattr(gate_module, "RULES", (*gate_module.RULES, forgetful))
    assert world.tick().state is State.STOPPED
    assert "rule 'forgetful' limits, and gives no row" in world.report.reason


def test_two_rules_do_not_declare_one_parameter_differently():
    @rule(holds_when="-", parameters=(TIMEOUT, Limit("imu_timeout", 0.5, "another", "s")))
    def twice(inputs):
        return None
    for first in ("careless", "twice"):
        declared = (careless, twice) if first == "careless" else (twice,)
        with pytest.raises(ValueError, match=f"'imu_timeout' is declared by rule '{first}' and, differently, by rule 'twice'"):
            rules._parameters(declared)
    assert rules._parameters((careless, careless)) == (TIMEOUT,)


def test_a_file_without_a_rule_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(rules, "import_module", lambda name: type("module", (), {"tilt": lambda inputs: None}))
    with pytest.raises(TypeError, match=r"rules/tilt.py has no rule 'tilt'; put '@rule\(...\)' above a function"):
        rules._load("tilt")


def test_a_function_that_is_not_named_as_its_file_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(rules, "import_module", lambda name: type("module", (), {"tilted": careless}))
    with pytest.raises(TypeError, match=r"rules/tilt.py has no rule 'tilt'"):
        rules._load("tilt")


@pytest.mark.parametrize("limit, loose, tight", [
    (Limit("most", 1.0, "less is stricter", "m"), 1.1, 0.9),
    (Limit("least", 1.0, "more is stricter", "m", stricter="more"), 0.9, 1.1),
    (Limit("off", 1.0, "0 is never", "m", zero_is_off=True), 0.0, 0.9)])
def test_a_declaration_says_which_way_is_looser(limit, loose, tight):
    assert limit.looseness(loose) > limit.looseness(1.0) > limit.looseness(tight)
