"""The boundary between two chunks: what every blend keeps, and where each mode begins and ends."""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from gate_world import ARM, EPOCH, MS, ROBOT, S
from gate_world import World as GateWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.blending import BLENDINGS, TEMPORAL_ENSEMBLE_COEFF, ChunkBlender
from vla_ros.core.chunks import GRID_NS, MOST_VALUES, row_at
from vla_ros.core.resampling import AT, HOLD, Column, resampled
from vla_ros.core.types import ActionChunk
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.safety.rule import Verdict

CHANNELS = ("linear.x", "angular.z", "gripper")
SEAM = 200 * MS
BLENDED = ("linear", "temporal_ensemble")


def chunk(stamp: int, rows: object, step: int = 100 * MS, instruction_id: int = 1, channels=CHANNELS) -> ActionChunk:
    return ActionChunk(EPOCH + stamp, instruction_id, channels, np.array(rows, np.float32), step)


def flat(stamp: int, *row: float, rows: int = 8, **more) -> ActionChunk:
    return chunk(stamp, [row] * rows, **more)


def at(one: ActionChunk, moment: int) -> list[float]:
    """What the gate would take from it then."""
    return one.values[row_at(one, EPOCH + moment)].tolist()


def due(one: ActionChunk, moment: int) -> list[list[float]]:
    """The same; a step that is no multiple of the finer one begins a few ns early."""
    return [at(one, moment + early) for early in (0, len(one.values))]


def blender(blending: str = "linear", blend_time: int = SEAM, robot=ROBOT) -> ChunkBlender:
    return ChunkBlender(blending, blend_time, robot.channels)


# -- what holds whatever came before
speeds = st.one_of(st.just(0.0), st.floats(-0.4375, 0.4375, width=32))  # two never jump apart
plans = st.lists(st.tuples(speeds, speeds, st.sampled_from([0.0, 1.0])), min_size=1, max_size=6)


@st.composite
def drives(draw):
    """Chunks as they come, and when each takes over (ns)."""
    now, out = 0, []
    for _ in range(draw(st.integers(2, 6))):
        now += draw(st.integers(1, 150)) * MS + draw(st.integers(0, MS))
        late = draw(st.integers(0, 250 * MS))
        stamp = max(now - late, out[-1][0].stamp - EPOCH if out else 0)
        step = draw(st.sampled_from([20 * MS, 33_333_333, 50 * MS, 100 * MS]))
        out.append((chunk(stamp, draw(plans), step), max(now, stamp)))
    return out


@settings(max_examples=60, deadline=None)
@given(drive=drives(), blending=st.sampled_from(BLENDED), time=st.integers(0, 500))
def test_a_blend_lies_between_what_it_is_blended_from(drive, blending, time):
    one = blender(blending, time * MS)
    seen: list[np.ndarray] = []
    for newest, now in drive:
        told = one.blend(newest, EPOCH + now)
        seen.append(newest.values)
        everything = np.concatenate(seen)
        assert told.values.dtype == np.float32 and np.isfinite(told.values).all()
        assert (told.values >= everything.min(0)).all() and (told.values <= everything.max(0)).all()
        assert (told.stamp, told.instruction_id, told.channels) == (newest.stamp, newest.instruction_id, newest.channels)


@settings(max_examples=60, deadline=None)
@given(drive=drives(), blending=st.sampled_from(BLENDED), time=st.integers(0, 500))
def test_a_switched_channel_is_the_newest_chunks(drive, blending, time):
    one = blender(blending, time * MS)
    for newest, now in drive:
        told = one.blend(newest, EPOCH + now)
        for moment in range(now, now + 900 * MS, 7 * MS):
            assert at(told, moment)[2] in [row[2] for row in due(newest, moment)]


@settings(max_examples=60, deadline=None)
@given(drive=drives(), blending=st.sampled_from(BLENDED), time=st.integers(0, 500), quiet=st.integers(1, 6),
       period=st.integers(10, 120), late=st.integers(0, 60))
def test_a_stop_by_the_policy_is_never_delayed_by_more_than_the_ramp(drive, blending, time, quiet, period, late):
    """From the first all-zero chunk on, as long as zeros follow, however often."""
    one = blender(blending, time * MS)
    for newest, now in drive:
        one.blend(newest, EPOCH + now)
    stopped = now = now + period * MS
    for _ in range(quiet):
        told = one.blend(flat(max(now - late * MS, newest.stamp - EPOCH), 0.0, 0.0, 1.0), EPOCH + now)
        for moment in range(max(now, stopped + time * MS), now + 2 * S, 5 * MS):
            assert at(told, moment)[:2] == [0.0, 0.0]
        now += period * MS + 12_345


@settings(max_examples=60, deadline=None)
@given(drive=drives(), time=st.integers(0, 500))
def test_after_the_ramp_all_is_as_the_newest_chunk_wants_it(drive, time):
    one = blender("linear", time * MS)
    for newest, now in drive:
        told = one.blend(newest, EPOCH + now)
    for moment in range(now + time * MS, now + 2 * S, 20 * MS):
        assert at(told, moment) in due(newest, moment)


@given(row=st.tuples(speeds, speeds, st.sampled_from([0.0, 1.0])), blending=st.sampled_from(BLENDINGS),
       rows=st.integers(1, 8), times=st.integers(2, 8))
def test_chunks_that_agree_stay_what_they_are(row, blending, rows, times):
    one = blender(blending)
    for number in range(times):
        told = one.blend(flat(80 * MS * number, *row, rows=rows), EPOCH + 80 * MS * number + 60 * MS)
        assert (told.values == np.float32(row)).all()


# -- resampled first, as the node does it
ARM_CHANNELS = (*(channel.name for channel in ARM.channels if channel.on_stop == "hold_measured"), "gripper")
ARM_COLUMNS = (*(Column(AT),) * (len(ARM_CHANNELS) - 1), Column(HOLD))
angles = st.floats(-0.5, 0.5, width=32)
arm_plans = st.lists(st.tuples(angles, st.sampled_from([0.0, 1.0])), min_size=2, max_size=8)


def arm_chunk(stamp: int, plan, step: int) -> ActionChunk:
    rows = [[angle] * (len(ARM_CHANNELS) - 1) + [grip] for angle, grip in plan]
    coarse = chunk(stamp, rows, step, channels=ARM_CHANNELS)
    return resampled(coarse, ARM_COLUMNS, (0.0,) * len(ARM_CHANNELS))


@settings(max_examples=80, deadline=None)
@given(first=arm_plans, second=arm_plans, step=st.sampled_from([33_333_333, 50 * MS, 100 * MS]), late=st.integers(0, 150),
       time=st.integers(40, 500), blending=st.sampled_from(BLENDED))
def test_an_arm_passes_from_plan_to_plan_in_small_steps_and_its_gripper_by_none(first, second, step, late, time, blending):
    """No step is larger than the ways from row to row and from chunk to chunk, each spread over its time."""
    one = blender(blending, time * MS, robot=ARM)
    before = one.blend(arm_chunk(0, first, step), EPOCH)
    newest = arm_chunk(30 * MS, second, step)
    now = (30 + late) * MS
    told = one.blend(newest, EPOCH + now)
    moments = range(0, 2 * S, 5 * MS)
    values = [at(before if moment < now else told, moment) for moment in moments]
    grips = [value[-1] for value in values]
    assert set(grips) <= {grip for _, grip in (*first, *second)}
    if len(told.values) == len(newest.values) and (told.values == newest.values).all():
        return  # begun afresh: the chunk before was over
    planned = [angle for angle, _ in (*first, *second)]
    span = max(planned) - min(planned)
    if blending == "linear":
        allowed = span * (GRID_NS / (time * MS) + 2 * GRID_NS / step) + 1e-6
        steps = np.abs(np.diff([value[0] for value in values]))
        assert steps.max() <= allowed
    assert all(min(planned) - 1e-6 <= value[0] <= max(planned) + 1e-6 for value in values)


# -- the ramp
def ramp(before: float, after: float, now: int = 160 * MS, blending: str = "linear") -> ActionChunk:
    one = blender(blending)
    one.blend(flat(0, before, 0.0, 1.0), EPOCH + 80 * MS)
    return one.blend(flat(80 * MS, after, 0.0, 0.0), EPOCH + now)


@pytest.mark.parametrize("moment, value", [(160, 0.42), (179, 0.42), (180, 0.44), (259, 0.5), (260, 0.52), (339, 0.58),
                                           (340, 0.6), (360, 0.6), (2000, 0.6)])
def test_a_ramp_begins_where_the_chunk_takes_over_and_ends_after_the_seam_time(moment, value):
    told = ramp(0.4, 0.6)  # rows of 20 ms on from the image at 80 ms; it takes over at 160 ms
    assert at(told, moment * MS)[0] == pytest.approx(value)
    assert at(told, moment * MS)[2] == 0.0, "the gripper switches at once"


@pytest.mark.parametrize("late", [80, 130, 400])
def test_a_late_chunk_ramps_from_when_it_takes_over_and_not_from_its_image(late):
    told = ramp(0.4, 0.0, (80 + late) * MS)
    values = [at(told, (80 + late + after) * MS)[0] for after in (0, 100, 200)]
    assert values[0] >= 0.36 and 0.15 <= values[1] <= 0.2 + 1e-6 and values[2] == 0.0


def test_a_ramp_is_blended_from_what_the_robot_was_told_and_not_from_what_the_policy_said():
    one = blender()
    one.blend(flat(0, 0.4, 0.0, 1.0), EPOCH)
    one.blend(flat(100 * MS, 0.0, 0.0, 1.0), EPOCH + 100 * MS)
    told = one.blend(flat(200 * MS, 0.4, 0.0, 1.0), EPOCH + 200 * MS)
    assert at(told, 200 * MS)[0] == pytest.approx(0.4 * 0.4 + 0.1 * 0.24)  # it was on its way down, by now at 0.16


@pytest.mark.parametrize("rows", [1, 2])
def test_a_chunk_that_ends_before_its_ramp_is_longer_for_it(rows):
    one = blender()
    one.blend(flat(0, 0.4, 0.0, 1.0), EPOCH)
    told = one.blend(flat(100 * MS, 0.0, 0.0, 1.0, rows=rows), EPOCH + 120 * MS)
    assert at(told, 299 * MS)[0] > 0.0 and at(told, 320 * MS)[0] == 0.0 and at(told, 9 * S)[0] == 0.0


def test_no_seam_time_is_no_ramp():
    one = blender(blend_time=0)
    one.blend(flat(0, 0.4, 0.0, 1.0), EPOCH)
    assert at(one.blend(flat(0, 0.1, 0.0, 1.0), EPOCH + 50 * MS), 50 * MS)[0] == pytest.approx(0.1)


def test_positions_are_blended_like_speeds():
    joints = tuple(channel.name for channel in ARM.channels if channel.on_stop == "hold_measured")
    one = blender(robot=ARM)
    one.blend(flat(0, *[0.2] * 6, channels=joints), EPOCH)
    told = one.blend(flat(0, *[0.6] * 6, channels=joints), EPOCH)
    assert at(told, 99 * MS) == pytest.approx([0.4] * 6) and at(told, 200 * MS) == pytest.approx([0.6] * 6)


# -- the ensemble
def test_an_ensemble_weighs_the_oldest_most_and_forgets_those_that_have_ended():
    one = blender("temporal_ensemble")
    for number, value in enumerate((0.1, 0.2, 0.4)):
        told = one.blend(flat(number * 100 * MS, value, 0.0, 1.0, rows=5), EPOCH + number * 100 * MS)
    first, second, third = (math.exp(-TEMPORAL_ENSEMBLE_COEFF * age) for age in range(3))
    three = (0.1 * first + 0.2 * second + 0.4 * third) / (first + second + third)
    assert at(told, 499 * MS)[0] == pytest.approx(three)  # the first ends at 500 ms, the second at 600 ms
    assert at(told, 500 * MS)[0] == pytest.approx((0.2 * second + 0.4 * third) / (second + third))
    assert at(told, 599 * MS)[0] == at(told, 500 * MS)[0]
    assert at(told, 600 * MS)[0] == at(told, 5 * S)[0] == pytest.approx(0.4)


def test_a_chunk_that_is_over_holds_its_own_last_row_whatever_older_ones_had_planned():
    one = blender("temporal_ensemble")
    one.blend(flat(0, 0.4, 0.0, 1.0), EPOCH)
    told = one.blend(flat(0, 0.2, 0.0, 1.0, rows=3), EPOCH)
    assert at(told, 299 * MS)[0] > 0.29 and at(told, 300 * MS)[0] == at(told, 2 * S)[0] == pytest.approx(0.2)


def test_in_an_ensemble_older_chunks_have_no_say_where_the_newest_stops():
    one = blender("temporal_ensemble")
    for number in range(5):
        one.blend(flat(number * 80 * MS, 0.4, 0.3, 1.0), EPOCH + number * 80 * MS)
    told = one.blend(chunk(400 * MS, [[0.4, 0.3, 1.0]] * 2 + [[0.4, 0.0, 1.0]] * 6), EPOCH + 400 * MS)
    assert at(told, 599 * MS)[1] == pytest.approx(0.3) and at(told, 600 * MS)[1] == 0.0
    assert at(told, 600 * MS)[0] == pytest.approx(0.4)


# -- afresh, and untouched
@pytest.mark.parametrize("blending", BLENDED)
@pytest.mark.parametrize("newest, now", [
    (flat(80 * MS, 0.1, 0.0, 0.0, instruction_id=2), 160),
    (chunk(80 * MS, [[0.1, 0.0]] * 8, channels=("linear.x", "angular.z")), 160),
    (flat(750 * MS, 0.1, 0.0, 0.0), 800),  # the chunk before is over
    (flat(600 * MS, 0.1, 0.0, 0.0, rows=1), 750),  # it is over itself
    (flat(-1, 0.1, 0.0, 0.0), 160),  # an older image: the clock went back
    (flat(200 * MS, 0.1, 0.0, 0.0), 199),  # an image from the future
    (flat(80 * MS, 0.1, -0.96, 0.0), 160),  # jumps by 1.91 rad/s
])
def test_what_does_not_go_on_from_the_chunk_before_begins_afresh(blending, newest, now):
    one = blender(blending)
    one.blend(flat(0, 0.4, 0.95, 1.0), EPOCH + 80 * MS)
    assert one.blend(newest, EPOCH + now * MS).values.tolist() == newest.values.tolist()
    after = replace(newest, stamp=newest.stamp + MS)
    assert (one.blend(after, EPOCH + (now + 1) * MS).values[:, 0] == np.float32(0.1)).all(), "and leaves nothing behind"


@pytest.mark.parametrize("blending", BLENDED)
@pytest.mark.parametrize("stamp, now, fresh", [(80, 799, False), (80, 800, True), (80, 801, True)])
def test_a_chunk_overlaps_until_the_one_before_is_over(blending, stamp, now, fresh):
    one = blender(blending)
    one.blend(flat(0, 0.4, 0.0, 1.0), EPOCH + 80 * MS)
    told = one.blend(flat(stamp * MS, 0.2, 0.0, 1.0), EPOCH + now * MS)
    assert (len(told.values) == 8) == fresh


@pytest.mark.parametrize("jump, fresh", [(0.89, False), (0.9, False), (0.91, True)])
def test_two_chunks_that_the_gate_would_find_too_far_apart_are_not_blended(jump, fresh):
    told = ramp(-0.4, float(np.float32(-0.4)) + jump - (1e-6 if not fresh else 0.0))
    assert (len(told.values) == 8) == fresh


@pytest.mark.parametrize("blending", BLENDED)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300, 1.001, -1.001])
def test_a_bad_value_reaches_the_gate_and_spreads_no_further(blending, bad):
    one = blender(blending)
    one.blend(flat(0, 0.4, 0.0, 1.0), EPOCH)
    wrong = flat(80 * MS, 0.1, 0.0, 1.0)
    wrong = replace(wrong, values=wrong.values.astype(np.float64))
    wrong.values[5, 1] = bad
    assert one.blend(wrong, EPOCH + 80 * MS) is wrong
    good = flat(160 * MS, 0.2, 0.0, 1.0)
    assert one.blend(good, EPOCH + 160 * MS).values.tolist() == good.values.tolist()


@pytest.mark.parametrize("wrong", [
    chunk(0, [[0.1]], channels=("wings",)), chunk(0, [[0.1, 0.1]], channels=("linear.x", "linear.x")),
    chunk(0, [[0.1, 0.0, 1.0]], step=0), chunk(0, [[0.1, 0.0, 1.0]], step=-MS), chunk(0, [[0.1, 0.0, 1.0]], step=2**62),
])
def test_a_chunk_that_makes_no_sense_is_left_to_the_gate(wrong):
    one = blender()
    for _ in range(2):
        assert one.blend(wrong, EPOCH) is wrong


def test_a_reset_forgets():
    one = blender()
    one.blend(flat(0, 0.4, 0.0, 1.0), EPOCH)
    one.reset()
    assert (one.blend(flat(80 * MS, 0.1, 0.0, 1.0), EPOCH + 80 * MS).values[:, 0] == np.float32(0.1)).all()


def test_the_newest_is_handed_on_untouched():
    one = blender("latest")
    for newest in (flat(0, 0.4, 0.0, 1.0), flat(80 * MS, math.nan, 0.0, 1.0)):
        assert one.blend(newest, EPOCH + 100 * MS) is newest


def test_a_policy_that_changes_its_array_afterwards_changes_no_blend():
    one, other = blender(), blender()
    values = np.full((8, 3), 0.4, np.float32)
    one.blend(ActionChunk(EPOCH, 1, CHANNELS, values, 100 * MS), EPOCH)
    other.blend(ActionChunk(EPOCH, 1, CHANNELS, values.copy(), 100 * MS), EPOCH)
    values[:] = 0.0
    newest = flat(80 * MS, 0.1, 0.0, 1.0)
    assert one.blend(newest, EPOCH + 80 * MS).values.tolist() == other.blend(newest, EPOCH + 80 * MS).values.tolist()


@pytest.mark.parametrize("blending", BLENDED)
def test_a_policy_that_repeats_itself_looks_so_to_the_gate_a_second_later(blending):
    """Its rule `stuck_policy` compares the chunks as they come."""
    one = blender(blending)
    rows = np.linspace(0.1, 0.4, 24).reshape(8, 3)
    told = [one.blend(chunk(number * 83 * MS, rows), EPOCH + number * 83 * MS + (30 + number % 5) * MS)
            for number in range(20)]
    assert not np.array_equal(told[3].values[:8], told[4].values[:8])
    for late in told[14:]:  # 13 x 83 ms after the first is over a second
        assert late.values.tolist() == rows.astype(np.float32).tolist()


@pytest.mark.parametrize("blending, time, words", [("soft", 0, "unknown chunk_blending 'soft'; use one of latest, linear, temporal_ensemble"),
                                               ("linear", -1, "blend_time is -1 ns")])
def test_a_bad_seam_is_named(blending, time, words):
    with pytest.raises(ValueError, match=words):
        blender(blending, time)


# -- with the gate
@pytest.mark.parametrize("late, speed", [(0, 0.1), (99, 0.1), (100, 0.2), (250, 0.3), (399, 0.4)])
def test_the_gate_begins_a_late_chunk_at_the_row_that_is_due(late, speed):
    world = GateWorld().moving()
    world.speaks = False
    stamp = world.now + 20 * MS + world.offset - late * MS
    rows = np.array([[speed, 0.0, 1.0] for speed in (0.1, 0.2, 0.3, 0.4)], np.float32)
    world.gate._chunks.chunk = None  # or its image would be older than that of the chunk before
    world.inputs.chunk = ActionChunk(stamp, world.inputs.instruction.instruction_id, CHANNELS, rows, 100 * MS)
    requested = dict(zip((channel.name for channel in ROBOT.channels), world.tick().requested))
    assert requested["linear.x"] == pytest.approx(speed)


@pytest.mark.parametrize("blending", BLENDINGS)
def test_the_gate_sees_a_policy_that_jumps_whatever_the_blending(blending):
    world, one = GateWorld().moving(), blender(blending)
    world.speaks = False
    rules = []
    for number in range(12):
        stamp, speed = world.now + world.offset, 0.47 if number % 2 else -0.47
        world.inputs.chunk = one.blend(ActionChunk(stamp, world.inputs.instruction.instruction_id, CHANNELS, np.array(
            [[speed, 0.0, 1.0]] * 8, np.float32), 100 * MS), stamp + 20 * MS)
        rules.append(world.tick().rule)
    assert set(rules[1:]) == {"chunk_continuity"} and world.report.verdict is Verdict.HELD


def test_a_blended_chunk_is_as_fine_as_the_gate():
    rate = next(one.default for one in NODE_PARAMETERS["safety_validator"] if one.name == "rate")
    assert ramp(0.4, 0.5).step == GRID_NS == S / rate


def test_an_ensemble_weighs_as_the_paper_does():
    """Zhao et al. 2023: the i-th oldest chunk has the weight exp(-m i), with m = 0.01."""
    one = blender("temporal_ensemble")
    one.blend(flat(0, 0.1, 0.0, 1.0), EPOCH)
    told = one.blend(flat(100 * MS, 0.4, 0.0, 1.0), EPOCH + 100 * MS)
    weight = math.exp(-0.01)
    assert at(told, 500 * MS)[0] == pytest.approx((0.1 + weight * 0.4) / (1.0 + weight), abs=1e-6)


# -- a joint that wraps
TURN = 2 * math.pi
WRAPPING = replace(ROBOT, channels=(replace(
    ARM.channel("joint_6"), name="joint_6", wraps=True, scale=1.0, bounds=(-3.2, 3.2), max_step=1.0),))


@pytest.mark.parametrize("blending", BLENDED)
def test_a_joint_that_wraps_is_blended_over_the_shorter_way(blending: str) -> None:
    """Two plans turn slowly on across pi, and one of them a little later: nothing leads through zero."""
    ramp = np.linspace(3.0, 3.28, 8)
    wrapped = np.where(ramp > math.pi, ramp - TURN, ramp)[:, None]
    later = ramp - 0.03
    later = np.where(later > math.pi, later - TURN, later)[:, None]
    made = blender(blending, 2 * SEAM, WRAPPING)
    made.blend(chunk(0, wrapped, channels=("joint_6",)), EPOCH + 10 * MS)
    planned = made.blend(chunk(50 * MS, later, channels=("joint_6",)), EPOCH + 60 * MS)
    away = np.abs(np.remainder(planned.values[:, 0].astype(float) - math.pi + math.pi, TURN) - math.pi)
    assert len(planned.values) > 8 and away.max() < 0.2, "all of it is near pi, from either side"
    assert np.abs(planned.values).max() <= 3.2


def test_a_blended_chunk_is_no_larger_than_the_gate_takes() -> None:
    names = tuple(f"joint_{index}" for index in range(33))
    joint = replace(ARM.channel("joint_6"), bounds=(-3.0, 3.0), max_step=1.0)
    wide = replace(ROBOT, channels=tuple(replace(joint, name=name) for name in names))
    made = blender("linear", SEAM, wide)
    made.blend(chunk(0, np.zeros((400, 33)), 25 * MS, channels=names), EPOCH + 10 * MS)
    planned = made.blend(chunk(50 * MS, np.full((400, 33), 0.01), 25 * MS, channels=names), EPOCH + 60 * MS)
    assert planned.values.size <= MOST_VALUES and not np.array_equal(planned.values[0], planned.values[-1])
    longest = chunk(100 * MS, np.full((496, 33), 0.02), 25 * MS, channels=names)
    assert made.blend(longest, EPOCH + 160 * MS).values.size <= MOST_VALUES
