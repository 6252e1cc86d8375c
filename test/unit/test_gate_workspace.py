"""An arm's tool stays where it may be, is no faster than it may be, and starts from where the arm is."""
import math
from dataclasses import replace

import numpy as np
import pytest
from gate_world import EXAMPLES, MS, SAME, S, rule_inputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_world import NAMES, arm, armed, box, planar, tool_at

from vla_ros.safety.gate import State
from vla_ros.safety.rule import Verdict
from vla_ros.safety.rules.workspace import workspace
from vla_ros.safety.tool import Tool

STILL = {"joint_1": 0.0, "joint_2": 0.1}  # the tool is at x 0.4 m
ROOM = box((-1, -1, -1), (0.5, 1, 1), name="room")  # up to x 0.5 m: joint_2 up to 0.2
POST = box((0.5, -0.1, -1), (0.6, 0.1, 1), name="post")


def asked(robot, row, sent=None, stands=None, **inputs):
    """What the rule finds where the joints stand at `stands` and were sent to `sent` last."""
    sent = STILL if sent is None else sent
    channels = tuple(robot.channel(name) for name in row)
    return workspace(rule_inputs(robot=robot, tool=Tool(robot), row=tuple(row.values()), channels=channels, sent=sent,
                                 stands=sent or STILL if stands is None else stands, **inputs))


# -- the boxes ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("out, held", [(0.199, False), (0.2, False), (0.2001, True), (0.21, True)])
def test_the_tool_does_not_leave_its_box(out, held, tmp_path):
    finding = asked(planar(tmp_path, inside=[ROOM]), {"joint_1": 0.0, "joint_2": out})
    assert (finding is not None) == held
    if held:
        assert finding.verdict is Verdict.HELD
        place = finding.reason.partition("x ")[2][:5]
        assert float(place) >= 0.5
        assert finding.reason == f"the tool would come to x {place} m; it stays inside 'room', x -1 to 0.5 m"


@pytest.mark.parametrize("out, held", [(0.199, False), (0.2, False), (0.2001, True), (0.21, True), (0.4, True)])
def test_the_tool_does_not_enter_a_box_that_it_stays_out_of(out, held, tmp_path):
    """At 0.4 it would be behind the post: it does not go through."""
    finding = asked(planar(tmp_path, outside=[POST]), {"joint_1": 0.0, "joint_2": out})
    assert (finding is not None) == held
    if held:
        assert "it stays out of 'post', x 0.5 to 0.6 m" in finding.reason


def test_it_may_be_in_any_of_several_boxes_and_none_of_those_that_it_stays_out_of(tmp_path):
    second = box((0.45, -1, -1), (0.6, 1, 1), name="second")
    robot = planar(tmp_path, inside=[ROOM, second], outside=[box((0.55, -1, -1), (0.58, 1, 1), name="bar")])
    assert asked(robot, {"joint_1": 0.0, "joint_2": 0.22}) is None  # from the one into the other
    assert "'bar'" in asked(robot, {"joint_1": 0.0, "joint_2": 0.3}).reason
    assert "'second', x 0.45 to 0.6 m" in asked(robot, {"joint_1": 0.0, "joint_2": 0.31}, {"joint_1": 0.0, "joint_2": 0.29}).reason


def test_a_thin_box_is_not_jumped_over(tmp_path):
    sheet = box((0.449, -1, -1), (0.455, 1, 1), name="sheet")
    assert "'sheet'" in asked(planar(tmp_path, outside=[sheet]), {"joint_1": 0.0, "joint_2": 0.2}).reason


def test_a_step_so_long_that_nobody_makes_it_is_looked_at_too(tmp_path):
    data = planar(tmp_path, outside=[POST])
    assert asked(data, {"joint_1": math.pi, "joint_2": 0.1}) is None  # round behind the base
    assert asked(data, {"joint_1": 0.0, "joint_2": 0.4}) is not None


@pytest.mark.parametrize("sent, row, held", [
    (0.3, 0.29, False), (0.3, 0.3, True), (0.3, 0.31, True), (0.3, 0.19, False), (0.2000001, 0.21, True)])
def test_a_tool_that_is_already_outside_may_only_move_inward(sent, row, held, tmp_path):
    finding = asked(planar(tmp_path, inside=[ROOM]), {"joint_1": 0.0, "joint_2": row}, {"joint_1": 0.0, "joint_2": sent})
    assert (finding is not None) == held


@pytest.mark.parametrize("row, held", [(0.22, False), (0.19, False), (0.23, True), (0.24, True), (0.35, True)])
def test_out_of_a_box_it_goes_by_the_way_that_is_nearest(row, held, tmp_path):
    """It stands 3 cm inside the post: not farther in, not through, only back."""
    finding = asked(planar(tmp_path, outside=[POST]), {"joint_1": 0.0, "joint_2": row}, {"joint_1": 0.0, "joint_2": 0.23})
    assert (finding is not None) == held


def test_the_way_out_of_one_box_does_not_lead_into_another(tmp_path):
    robot = planar(tmp_path, inside=[ROOM], outside=[box((0.52, -1, -1), (0.55, 1, 1), name="bar")])
    finding = asked(robot, {"joint_1": 0.0, "joint_2": 0.24}, {"joint_1": 0.0, "joint_2": 0.3})  # x 0.6 to 0.54
    assert "'bar'" in finding.reason


# -- what is measured ---------------------------------------------------------------------------------------
def test_a_motion_that_nothing_was_sent_of_starts_from_where_the_arm_is(tmp_path):
    robot = planar(tmp_path, inside=[ROOM])
    assert asked(robot, {"joint_1": 0.0, "joint_2": 0.3}, {}, {"joint_1": 0.0, "joint_2": 0.31}) is None  # inward
    assert asked(robot, {"joint_1": 0.0, "joint_2": 0.32}, {}, {"joint_1": 0.0, "joint_2": 0.31}) is not None


@pytest.mark.parametrize("stands, row, held", [
    (0.2, 0.16, False), (0.2001, 0.16, True), (0.25, 0.16, True), (0.25, 0.15, False), (0.25, 0.14, False)])
def test_a_tool_that_is_measured_outside_is_not_sent_farther_out_within(stands, row, held, tmp_path):
    """It was sent to 0.15, and sags, or was pushed, beyond 0.2."""
    finding = asked(planar(tmp_path, inside=[ROOM]), {"joint_1": 0.0, "joint_2": row}, {"joint_1": 0.0, "joint_2": 0.15},
                    {"joint_1": 0.0, "joint_2": stands})
    assert (finding is not None) == held
    if held:
        assert finding.reason.startswith("the tool stands at x 0.5") and finding.reason.endswith("it may only move inward")


@pytest.mark.parametrize("name", STILL)
def test_a_joint_that_is_not_measured_holds(name, tmp_path):
    finding = asked(planar(tmp_path, inside=[ROOM]), STILL, STILL, {**STILL, name: None})
    assert finding.verdict is Verdict.HELD
    assert finding.reason == f"where {name} stands is unknown, and so where the tool is"


def test_a_joint_that_the_action_does_not_move_stays_where_it_was_sent(tmp_path):
    robot = planar(tmp_path, inside=[ROOM])
    turned = {"joint_1": 1.5, "joint_2": 0.1}  # the tool is at y 0.4: outward is along y
    assert asked(robot, {"joint_2": 0.4}, turned, turned) is None
    assert asked(robot, {"joint_2": 0.4}, turned, STILL) is None  # it lags behind
    assert asked(robot, {"joint_2": 0.4}, STILL, STILL) is not None


def test_an_action_that_does_not_move_the_tool_is_none_of_its_business(tmp_path):
    robot = planar(tmp_path, inside=[ROOM])
    assert workspace(rule_inputs(robot=robot, tool=Tool(robot), stands=dict.fromkeys(STILL))) is None
    assert workspace(rule_inputs()) is None  # a robot without a tool


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("keys", [{"inside": [ROOM]}, {"outside": [POST]}, {"max_tool_speed": 0.5}])
def test_what_is_no_number_holds(keys, bad, tmp_path):
    with np.errstate(invalid="ignore"):
        finding = asked(planar(tmp_path, **keys), {"joint_1": 0.0, "joint_2": bad})
    assert finding.verdict is Verdict.HELD


# -- speed --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("step, share", [(0.009, 1.0), (0.01, 1.0), (0.0101, 0.01 / 0.0101), (0.02, 0.5)])
def test_the_tool_is_no_faster_than_it_may_be(step, share, tmp_path):
    finding = asked(planar(tmp_path, max_tool_speed=0.5), {"joint_1": 0.0, "joint_2": 0.1 + step})  # 0.01 m in 20 ms
    if share == 1.0:
        assert finding is None
        return
    assert finding.verdict is Verdict.LIMITED
    assert finding.row == pytest.approx((0.0, 0.1 + step * share), abs=1e-4) and finding.row[1] <= 0.11
    assert f"the tool would move at {step / 0.02:.3g} m/s; at most 0.5 m/s" in finding.reason


def test_all_joints_slow_down_by_the_same_share(tmp_path):
    finding = asked(planar(tmp_path, max_tool_speed=0.5), {"joint_1": 0.06, "joint_2": 0.13})
    turned, slid = finding.row[0], finding.row[1] - 0.1
    assert turned / 0.06 == pytest.approx(slid / 0.03) and 0.0 < slid < 0.03
    assert tool_at_moved(turned, slid) <= 0.5 * 0.02


def tool_at_moved(turned, slid):
    return math.hypot((0.4 + slid) * math.cos(turned) - 0.4, (0.4 + slid) * math.sin(turned))


@pytest.mark.parametrize("elapsed, moves", [(0, False), (20 * MS, True)])
def test_without_time_there_is_no_way(elapsed, moves, tmp_path):
    finding = asked(planar(tmp_path, max_tool_speed=0.5), {"joint_1": 0.0, "joint_2": 0.2}, elapsed=elapsed)
    assert (finding.row[1] > 0.1) == moves


def test_a_step_that_would_leave_is_held_and_a_slower_one_that_would_not_goes(tmp_path):
    robot = planar(tmp_path, inside=[ROOM], max_tool_speed=0.5)
    assert asked(robot, {"joint_1": 0.0, "joint_2": 0.3}).verdict is Verdict.LIMITED
    assert asked(robot, {"joint_1": 0.0, "joint_2": 0.3}, {"joint_1": 0.0, "joint_2": 0.195}).verdict is Verdict.HELD


def test_what_is_looked_at_is_the_slower_step(tmp_path):
    robot = planar(tmp_path, inside=[ROOM], max_tool_speed=0.1)  # 2 mm in 20 ms
    finding = asked(robot, {"joint_1": 0.0, "joint_2": 0.201}, {"joint_1": 0.0, "joint_2": 0.197})
    assert finding.verdict is Verdict.LIMITED and 0.1989 < finding.row[1] <= 0.199


# -- in the gate --------------------------------------------------------------------------------------------
def test_the_gate_holds_at_the_edge_says_why_and_goes_back(tmp_path):
    world = armed(planar(tmp_path, inside=[ROOM]), STILL)
    world.values = {"joint_1": 0.0, "joint_2": 0.35}
    world.tick(30)
    assert world.report.state is State.HOLDING and world.report.rule == "workspace"
    assert "the tool would come to x 0.5" in world.report.reason
    assert 0.18 < world.action["joint_2"] <= 0.2
    world.values["joint_2"] = 0.1
    world.tick(20)
    assert world.report.state is State.ACTIVE and world.action["joint_2"] == pytest.approx(0.1)


@pytest.mark.parametrize("row, held", [(0.187, False), (0.1875, False), (0.1876, True), (0.2, True), (0.1, False), (0.18, False)])
def test_after_a_hold_a_step_leaves_a_little_room(row, held, tmp_path):
    """From 0.18 outward as much again, and 5 mm more; standing still, or inward, is free."""
    robot = planar(tmp_path, inside=[ROOM])
    sent = {"joint_1": 0.0, "joint_2": 0.18}
    assert (asked(robot, {"joint_1": 0.0, "joint_2": row}, sent, was_at_edge=True) is not None) == held
    assert asked(robot, {"joint_1": 0.0, "joint_2": row}, sent) is None


def test_at_the_edge_it_does_not_creep_on_by_ever_shorter_steps(tmp_path):
    """A chunk that arrives is a tick of its own, 2 ms after another: so short a step may still end inside."""
    world = armed(planar(tmp_path, inside=[ROOM]), {"joint_1": 0.0, "joint_2": 0.109})  # 2 cm a step: to 0.189
    world.values = {"joint_1": 0.0, "joint_2": 0.35}
    world.tick(10)
    assert world.report.rule == "workspace"
    before, states = world.action["joint_2"], []
    for _ in range(40):
        world.now -= 18 * MS
        world.tick()
        states.append(world.report.state)
    assert world.action["joint_2"] == before and set(states) == {State.HOLDING}


def test_the_gate_reports_the_tool_s_speed(tmp_path):
    world = armed(planar(tmp_path, max_tool_speed=0.25), STILL)
    world.values = {"joint_1": 0.0, "joint_2": 0.35}
    world.tick()
    before = world.action["joint_2"]
    world.tick()
    assert world.report.rule == "workspace" and "at most 0.25 m/s" in world.report.reason
    assert 0.99 * 0.005 <= world.action["joint_2"] - before <= 0.005


@pytest.mark.parametrize("silent", [300 * MS, 320 * MS])
def test_a_joint_state_that_is_stale_holds(silent, tmp_path):
    world = armed(planar(tmp_path, inside=[ROOM]), STILL)
    world.lag = None
    world.tick(3)
    stands = world.positions.pop("joint_1")  # its publisher died; the others go on
    world.inputs.measured["joint_1"] = (stands, world.now)
    world.tick(silent // (20 * MS))
    assert (world.report.state is State.HOLDING) == (silent > 300 * MS)
    if silent > 300 * MS:
        assert "where joint_1 stands is unknown" in world.report.reason


def test_after_the_arming_a_motion_starts_from_where_the_arm_is(tmp_path):
    """Disarmed, it is led elsewhere by hand: what it was sent before is no place to start from."""
    world = armed(planar(tmp_path, inside=[ROOM]), STILL)
    world.tick(5)
    world.gate.disarm()
    world.lag = None
    world.tick(2)
    for _ in range(50):
        world.positions = {"joint_1": world.positions["joint_1"] + 0.02, "joint_2": 0.1}
        world.tick()
    world.tick(3)
    world.arm()
    world.values = {"joint_1": 2.0, "joint_2": 0.1}
    world.say("go")
    world.tick()
    assert world.action["joint_1"] == pytest.approx(1.0 + 0.02, abs=1e-6)  # a step of its max_speed from there


# -- gradual enabling ---------------------------------------------------------------------------------------
def test_after_an_arming_rates_grow_from_nothing(tmp_path):
    robot = replace(planar(tmp_path, max_tool_speed=10.0), enable_time=1.0)
    world = armed(robot, STILL)
    world.values = {"joint_1": 1.8, "joint_2": 0.1}
    steps = []
    for _ in range(70):
        before = world.action.get("joint_1", 0.0)
        world.tick()
        steps.append(world.action["joint_1"] - before)
    for i, step in enumerate(steps):
        assert step == pytest.approx(0.02 * min(1.0, i / 50), abs=1e-9)
    world.say("")
    world.tick(10)
    world.say("go")
    world.tick(2)
    before = world.action["joint_1"]
    world.tick()
    assert world.action["joint_1"] - before == pytest.approx(0.02)  # a hold is no arming
    world.gate.disarm()
    world.tick(3)
    world.arm()
    world.say("go")
    world.tick()
    before = world.action["joint_1"]
    world.tick()
    assert world.action["joint_1"] - before == pytest.approx(0.02 / 50)


def test_and_so_does_the_tool_s_speed(tmp_path):
    world = armed(replace(planar(tmp_path, max_tool_speed=0.2), enable_time=1.0), STILL)
    world.values = {"joint_1": 1.8, "joint_2": 0.1}
    for i in range(60):
        before = world.positions["joint_1"]
        world.tick()
        moved = 0.8 * math.sin((world.action["joint_1"] - before) / 2.0)  # the chord at 0.4 m
        assert 0.99 * 0.2 * 0.02 * min(1.0, i / 50) <= moved <= 0.2 * 0.02 * min(1.0, i / 50) + 1e-12


def test_braking_is_not_taken_away_while_it_is_enabled():
    from gate_world import ROBOT, World

    world = World(replace(ROBOT, enable_time=1.0))
    world.tick(3)
    world.arm()
    world.say("go")
    world.tick(20)
    speed = world.action["linear.x"]
    assert 0.0 < speed < 0.15
    world.values["linear.x"] = 0.0
    world.tick()
    assert world.action["linear.x"] == pytest.approx(max(0.0, speed - 3.0 * 0.02))


# -- while the robot may move -------------------------------------------------------------------------------
@pytest.mark.parametrize("key, low, high, allowed", [
    ("inside", (-1, -1, -1), (0.5, 1, 1), True), ("inside", (-0.9, -1, -1), (0.5, 1, 0.9), True),
    ("inside", (-1.1, -1, -1), (0.5, 1, 1), False), ("inside", (-1, -1, -1), (0.5, 1, 1.1), False),
    ("outside", (0.5, -0.1, -1), (0.6, 0.1, 1.1), True), ("outside", (0.51, -0.1, -1), (0.6, 0.1, 1), False),
    ("outside", (0.5, -0.1, -1), (0.6, 0.09, 1), False)])
def test_boxes_may_be_tightened_while_armed(key, low, high, allowed, tmp_path):
    robot = planar(tmp_path, inside=[ROOM], outside=[POST])
    world = armed(robot, STILL)
    other = planar(tmp_path, **{"inside": [ROOM], "outside": [POST], key: [box(low, high)]})
    assert_change(world, other, allowed, f"workspace {key}, box 1")


@pytest.mark.parametrize("keys, allowed, says", [
    ({"max_tool_speed": 0.4}, True, ""), ({"max_tool_speed": 0.6}, False, "max_tool_speed"),
    ({"inside": [ROOM, ROOM]}, False, r"inside \(boxes\)"), ({"inside": []}, False, r"inside \(boxes\)"),
    ({"outside": [POST, POST]}, True, ""), ({"outside": []}, False, r"outside \(boxes\)")])
def test_and_so_may_their_number_and_the_speed(keys, allowed, says, tmp_path):
    before = {"inside": [ROOM], "outside": [POST], "max_tool_speed": 0.5}
    world = armed(planar(tmp_path, **before), STILL)
    assert_change(world, planar(tmp_path, **{**before, **keys}), allowed, says)


@pytest.mark.parametrize("time, allowed", [(1.0, True), (1.1, True), (0.9, False)])
def test_a_shorter_enabling_is_looser(time, allowed, tmp_path):
    robot = replace(planar(tmp_path, inside=[ROOM]), enable_time=1.0)
    assert_change(armed(robot, STILL), replace(robot, enable_time=time), allowed, "enable_time")


def assert_change(world, robot, allowed, says):
    if allowed:
        world.gate.change(robot, world.gate.settings)
        return
    with pytest.raises(ValueError, match=f"{says}.* looser than now"):
        world.gate.change(robot, world.gate.settings)


def test_a_tightened_workspace_applies_at_once(tmp_path):
    world = armed(planar(tmp_path, inside=[ROOM]), STILL)
    world.tick(2)
    world.gate.change(planar(tmp_path, inside=[box((-1, -1, -1), (0.45, 1, 1))]), world.gate.settings)
    world.values = {"joint_1": 0.0, "joint_2": 0.19}
    world.tick(20)
    assert world.report.rule == "workspace" and world.action["joint_2"] <= 0.15


@pytest.mark.parametrize("other", ["tool", "none"])
def test_another_tool_or_none_takes_a_cleanup(other, tmp_path):
    robot = planar(tmp_path, inside=[ROOM])
    changed = replace(robot, workspace=replace(robot.workspace, tool="one") if other == "tool" else None)
    with pytest.raises(ValueError, match="in more than its limits; clean the gate up"):
        armed(robot, STILL).gate.change(changed, armed(robot, STILL).gate.settings)


# -- whatever is asked --------------------------------------------------------------------------------------
TABLE = box((-2, -2, -2), (2, 2, 0.1), name="table")
BASKET = box((0.2, -0.15, 0.1), (0.35, 0.15, 0.3), name="basket")
SPACE = {"tool": "tool", "inside": [box((-0.6, -0.5, 0.0), (0.5, 0.5, 0.7)), box((-0.3, -0.3, 0.5), (0.3, 0.3, 0.9))],
         "outside": [TABLE, BASKET], "max_tool_speed": 0.4}
ANGLES = st.floats(-1.9, 1.9)
GOALS = st.fixed_dictionaries(dict.fromkeys(NAMES, ANGLES))
EVENTS = st.one_of(
    st.tuples(st.just("go"), GOALS), st.tuples(st.just("go"), GOALS), st.tuples(st.just("go"), GOALS),
    st.tuples(st.just("bad"), st.sampled_from(NAMES), st.sampled_from([math.nan, math.inf, -math.inf, 9.0])),
    st.tuples(st.just("say"), st.sampled_from(["", "go"])), st.tuples(st.just("lag"), st.sampled_from([0, 20, 60, 100])),
    st.tuples(st.just("late"), st.integers(1, 80)), st.tuples(st.just("arm")), st.tuples(st.just("silent"), st.booleans()),
    st.tuples(st.just("tick"), st.integers(1, 40)))


def depth(robot, point):
    """How far beyond its boxes a point is, m; 0: it is where it may be. By plain arithmetic."""
    def inside(one):
        return min(min(p - low, high - p) for p, low, high in zip(point, one.min, one.max))
    ins, outs = robot.workspace.inside, robot.workspace.outside
    return max(0.0, -max(map(inside, ins)) if ins else 0.0, *(inside(one) for one in outs))


def test_whatever_is_asked_the_tool_stays_where_it_may_be_and_is_no_faster(tmp_path):
    robot = arm(tmp_path, SPACE)
    start = dict.fromkeys(NAMES, 0.0)
    assert depth(robot, tool_at(robot, start)) == 0.0
    states, rules = [], []

    @settings(max_examples=EXAMPLES, deadline=None, print_blob=True, database=None, derandomize=SAME,
              suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(EVENTS, min_size=1, max_size=8), st.sampled_from([0.0, 0.5]))
    def tell(events, enable_time):
        world = armed(replace(robot, enable_time=enable_time), start)
        elapsed = 20 * MS
        point = tool_at(robot, start)
        for event in (*events, ("tick", 5)):
            count = 1
            if event[0] == "go":
                world.values = dict(event[1])
                count = 10
            elif event[0] == "bad":
                world.values = {**world.values, event[1]: event[2]}
            elif event[0] == "say":
                world.say(event[1])
            elif event[0] == "lag":
                world.lag = event[1] * MS
            elif event[0] == "late":
                world.now += event[1] * MS
                elapsed = min(20 + event[1], 40) * MS
            elif event[0] == "arm":
                world.arm()
            elif event[0] == "silent":
                world.alive = not event[1]
            else:
                count = event[1]
            for _ in range(count):
                world.tick()
                states.append(world.report.state)
                rules.append(world.report.rule)
                if set(NAMES) <= set(world.action):
                    assert all(map(math.isfinite, world.action.values()))
                    now = tool_at(robot, world.action)
                    assert depth(robot, now) <= max(2e-6, depth(robot, point)), f"the tool left: {now}"
                    if world.report.state is State.ACTIVE:
                        speed = np.linalg.norm(now - point) / (elapsed / S)
                        assert speed <= 0.4 + 1e-6, f"the tool moves at {speed} m/s"
                    point = now
                elapsed = 20 * MS

    tell()
    assert SAME or (states.count(State.ACTIVE) > len(states) * 0.1 and rules.count("workspace") > len(rules) * 0.1)
