"""Rows are counted by what the gate reports; nothing is estimated that is known."""

from __future__ import annotations

import numpy as np
import pytest
from gate_world import EPOCH, MS, ROBOT, S
from gate_world import World as GateWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.cadence import LONGEST_PERIOD_NS, MOST_CHUNKS, Cadence, SentChunk
from vla_ros.core.types import ActionChunk
from vla_ros.safety.rules import RULES

STEP = 100 * MS
CHANNELS = ("linear.x", "angular.z")


def sent(sequence: int, stamp: int, rows: int = 8, speed: float = 0.1, instruction_id: int = 1) -> SentChunk:
    """`stamp`: ms."""
    values = np.full((rows, 2), speed, np.float32)
    return SentChunk(ActionChunk(EPOCH + stamp * MS, instruction_id, CHANNELS, values, STEP, sequence), rows, STEP)


class Run:
    """A cadence, and a gate that reports every 20 ms."""

    def __init__(self) -> None:
        self.cadence = Cadence(ROBOT.channels)
        self.now = EPOCH  # of the last thing that happened

    def send(self, chunk: SentChunk, took: int | None = 50 * MS, delay: int = 60 * MS) -> None:
        self.cadence.sent(chunk, took, delay)
        self.now = chunk.chunk.stamp + delay

    def play(self, sequence: int, first: int, last: int, moves: bool = True, rule: str = "") -> None:
        """Reports from `first` to before `last`, ms."""
        for moment in range(first, last, 20):
            self.now = EPOCH + moment * MS
            self.cadence.report(sequence, self.now, moves, rule)


def test_each_row_counts_once_however_often_it_is_played() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 300)
    assert (run.cadence.rows, run.cadence.chunks, run.cadence.late, run.cadence.starved) == (3, 1, 0, 0)
    executing = run.cadence.executing(run.now)
    assert executing is not None and executing.row == 2


def test_what_a_person_drives_are_no_rows_of_the_policy_s() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 100)
    run.play(0, 100, 5000)  # the gate reports sequence 0 while a person has the robot
    assert (run.cadence.rows, run.cadence.chunks, run.cadence.starved, run.cadence.too_old_time) == (1, 1, 0, 0)
    assert run.cadence.executing(run.now) is None


@pytest.mark.parametrize(("begin", "late"), [(0, 0), (80, 0), (100, 1), (250, 2), (799, 7), (800, 8), (900, 8)])
def test_rows_that_were_over_when_the_chunk_came_are_late(begin: int, late: int) -> None:
    run = Run()
    run.send(sent(1, 0))
    run.cadence.report(1, EPOCH + begin * MS, True, "")
    assert (run.cadence.late, run.cadence.rows) == (late, 1)


def test_nothing_counts_while_the_gate_lets_nothing_pass() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 300, moves=False, rule="disarmed")
    assert run.cadence.rows == 0 and run.cadence.executing(run.now) is None
    assert run.cadence.summary() == run.cadence.verdict() == "" and run.cadence.values() == {}


def test_a_chunk_of_somebody_else_is_not_ours_to_count() -> None:
    run = Run()
    run.play(7, 0, 300)
    assert run.cadence.rows == 0 and run.cadence.executing(run.now) is None


@pytest.mark.parametrize(("until", "starved", "time"), [(780, 0, 0), (800, 0, 0), (820, 1, 20), (920, 1, 120)])
def test_a_chunk_that_is_over_leaves_the_robot_waiting(until: int, starved: int, time: int) -> None:
    """Also while the gate holds on to its last row."""
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, until)
    assert (run.cadence.starved, run.cadence.starved_time) == (starved, time * MS)


@pytest.mark.parametrize(("rule", "starved", "too_old"), [
    ("chunk_end", 1, 0), ("observation_age", 1, 200), ("instruction_match", 0, 0), ("obstacle", 0, 0), ("stop", 0, 0)])
def test_a_gate_that_holds_for_want_of_a_row_counts_and_for_anything_else_not(rule: str, starved: int, too_old: int) -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 200)
    run.play(1, 200, 400, moves=False, rule=rule)
    assert (run.cadence.starved, run.cadence.too_old_time) == (starved, too_old * MS)
    assert run.cadence.starved_time == 200 * MS * starved


def test_a_policy_that_refuses_is_not_waited_for_until_it_gives_a_chunk_again() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 200)
    run.cadence.refused()
    run.play(1, 200, 400, moves=False, rule="observation_age")
    assert run.cadence.starved_time == 0
    run.send(sent(2, 380))
    run.play(2, 400, 500)
    run.play(2, 500, 600, moves=False, rule="observation_age")
    assert run.cadence.starved == 1


def test_the_rules_that_are_waited_for_are_the_gates() -> None:
    assert {"chunk_end", "observation_age"} <= {rule.name for rule in RULES}


def test_two_gaps_are_two_and_a_robot_that_has_not_moved_waits_for_nothing() -> None:
    run = Run()
    run.play(1, 0, 200, moves=False, rule="observation_age")
    assert run.cadence.starved == 0
    for sequence, begin in ((1, 200), (2, 1200)):
        run.send(sent(sequence, begin))
        run.play(sequence, begin, begin + 900)
        run.play(sequence, begin + 900, begin + 1000, moves=False, rule="chunk_end")
    assert run.cadence.starved == 2 and run.cadence.starved_time == 2 * 200 * MS


def test_a_single_row_is_no_plan_and_waits_only_where_the_gate_holds() -> None:
    run = Run()
    run.send(sent(1, 0, rows=1))
    run.play(1, 0, 380)
    assert run.cadence.starved == 0
    run.play(1, 380, 480, moves=False, rule="observation_age")
    assert run.cadence.starved == 1


def test_a_boundary_is_as_large_as_what_both_chunks_want_then() -> None:
    run = Run()
    run.send(sent(1, 0, speed=0.1))
    run.play(1, 0, 200)
    run.send(sent(2, 100, speed=0.3))
    run.play(2, 200, 400)
    run.send(sent(3, 300, speed=0.2))
    run.play(3, 400, 500)
    assert run.cadence.boundaries == 2
    assert run.cadence.jumps == {"linear.x": pytest.approx(0.2), "angular.z": pytest.approx(0.2)}
    assert "2 boundaries, largest jump: linear.x 0.2 m/s, angular.z 0.2 rad/s;" in run.cadence.summary()


def test_a_gripper_has_no_unit() -> None:
    run = Run()
    for sequence, grip in ((1, 0.0), (2, 1.0)):
        made = sent(sequence, 0)
        values = np.full((8, 1), grip, np.float32)
        chunk = ActionChunk(made.chunk.stamp, 1, ("gripper",), values, STEP, sequence)
        run.send(SentChunk(chunk, 8, STEP))
        run.play(sequence, 100 * sequence, 100 * sequence + 100)
    assert "largest jump: gripper 1;" in run.cadence.summary()


def test_other_words_and_a_pause_are_no_boundary() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 200)
    run.send(sent(2, 100, instruction_id=2))
    run.play(2, 200, 300)
    run.play(2, 300, 400, moves=False, rule="obstacle")
    run.send(sent(3, 300, instruction_id=2))
    run.play(3, 400, 500)
    assert run.cadence.boundaries == 0


@pytest.mark.parametrize("gap", [-1, LONGEST_PERIOD_NS // MS + 1])
def test_a_gate_that_was_away_or_a_clock_that_jumped_leaves_no_time_behind(gap: int) -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 900)
    waited = run.cadence.starved_time
    now = EPOCH + (880 + gap) * MS
    run.cadence.report(1, now, False, "chunk_end")
    assert run.cadence.starved_time == waited and run.cadence.executing(now) is None


# -- when the next chunk is wanted
def wanted(run: Run, horizon: int = 5, instruction_id: int = 1, at: int = 0, period: int = 40) -> bool:
    """For an observation of `at` ms, with the next one `period` ms later."""
    return run.cadence.wanted(horizon, instruction_id, EPOCH + at * MS, period * MS, run.now)


def test_without_a_horizon_each_observation_is_answered() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 100)
    assert wanted(run, horizon=0) and not wanted(run, horizon=8)


@pytest.mark.parametrize(
    ("at", "period", "is_wanted"), [(399, 40, False), (400, 40, True), (400, 39, False), (401, 39, True), (900, 0, True)]
)
def test_the_next_chunk_is_computed_so_that_it_is_there_when_the_horizon_is_over(
    at: int, period: int, is_wanted: bool
) -> None:
    """The fifth row is over at 500 ms; a chunk takes 60 ms, and an image later would be too late."""
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 200)
    assert wanted(run, at=at, period=period) is is_wanted


def test_a_horizon_that_is_longer_than_the_chunk_ends_with_it() -> None:
    run = Run()
    run.send(sent(1, 0, rows=3))
    run.play(1, 0, 100)
    assert not wanted(run, at=199) and wanted(run, at=200)


def test_other_words_are_answered_at_once_and_so_is_a_robot_that_holds() -> None:
    run = Run()
    assert wanted(run)
    run.send(sent(1, 0))
    assert wanted(run)  # nobody reports: no gate, or it holds
    run.play(1, 0, 100)
    assert not wanted(run) and wanted(run, instruction_id=2)
    run.play(1, 100, 200, moves=False, rule="obstacle")
    assert wanted(run)


def test_a_chunk_on_its_way_lasts_as_long_as_one_that_is_executed() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 480)
    assert wanted(run, at=460)
    run.send(sent(2, 400))
    assert not wanted(run, at=460) and not wanted(run, at=799) and wanted(run, at=800)
    run.play(2, 480, 500)
    assert not wanted(run, at=500) and not wanted(run, at=799) and wanted(run, at=800)


@pytest.mark.parametrize(("moves", "rule"), [(True, ""), (False, "disarmed")])
def test_the_first_chunk_is_on_its_way_while_the_gate_reports_none(moves: bool, rule: str) -> None:
    run = Run()
    run.play(0, 0, 100, moves, rule)
    run.send(sent(1, 40))
    assert not wanted(run, at=100)
    run.play(1, 100, 120, moves, rule)
    assert wanted(run, at=120) is not moves


@pytest.mark.parametrize(("since", "is_wanted"), [(LONGEST_PERIOD_NS, False), (LONGEST_PERIOD_NS + 1, True)])
def test_a_chunk_that_ten_reports_do_not_name_was_refused_and_another_is_wanted(since: int, is_wanted: bool) -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 440)
    run.send(sent(2, 400))
    sent_at = run.now
    run.play(1, 460, 660)
    run.now = sent_at + since
    assert wanted(run, at=620) is is_wanted
    planned = run.cadence.planned(run.now)
    assert planned is not None and planned.chunk.sequence == (1 if is_wanted else 2)


@pytest.mark.parametrize("way", [-1, 1])
def test_reports_that_are_not_of_now_say_nothing(way: int) -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 100)
    newest = run.now
    run.now = newest + way * LONGEST_PERIOD_NS
    assert not wanted(run) and run.cadence.executing(run.now) is not None
    run.now += way
    assert wanted(run) and run.cadence.executing(run.now) is run.cadence.planned(run.now) is None


def test_who_starts_over_wants_a_chunk_until_it_is_sent() -> None:
    run = Run()
    run.send(sent(1, 0))
    run.play(1, 0, 100)
    run.cadence.start_over()
    assert wanted(run, at=100)
    run.play(1, 100, 200)
    assert wanted(run, at=200)
    run.send(sent(2, 100))
    assert not wanted(run, at=200)


def test_a_prediction_that_warmed_the_policy_up_is_in_no_estimate() -> None:
    run = Run()
    run.send(sent(1, 0), took=None, delay=30 * S)
    assert run.cadence.expected_delay() == 0
    run.send(sent(2, 100), took=40 * MS, delay=70 * MS)
    run.play(2, 100, 200)
    assert run.cadence.expected_delay() == 70 * MS
    assert "inference p50 40 ms, p99 40 ms, a chunk lasts 0.80 s" in run.cadence.summary()


def test_the_next_prediction_is_expected_to_take_as_long_as_the_slowest_of_the_last_ten() -> None:
    run = Run()
    for sequence, delay in enumerate((900, *[50] * 9), 1):
        run.send(sent(sequence, 100 * sequence), delay=delay * MS)
    assert run.cadence.expected_delay() == 900 * MS
    run.send(sent(11, 1100), delay=60 * MS)
    assert run.cadence.expected_delay() == 60 * MS


# -- what is told
def slow(takes: int, waits: int) -> Run:
    """Chunks of 0.8 s that take so long (ms), and a robot that waits so much of a second."""
    run = Run()
    run.send(sent(1, 0), took=takes * MS)
    run.play(1, 0, 820 - waits if waits else 800)
    run.play(1, 820 - waits, 820, moves=False, rule="chunk_end")
    return run


def test_a_policy_that_is_too_slow_for_its_horizon_is_told_so_in_plain_words() -> None:
    run = slow(950, 200)
    assert run.cadence.verdict() == (
        "one chunk lasts 0.80 s and takes 0.95 s to compute: 25 % of the time the robot waits; use a longer horizon, "
        "a faster engine, or a smaller model")
    assert run.cadence.values()["cadence"] == run.cadence.verdict()


@pytest.mark.parametrize(("takes", "waits", "told"), [
    (400, 200, False), (401, 200, True), (950, 0, False), (950, 20, True), (100, 400, False)])
def test_who_keeps_up_or_waits_for_something_else_is_not_told(takes: int, waits: int, told: bool) -> None:
    assert bool(slow(takes, waits).cadence.verdict()) is told


def test_the_report_of_a_run_is_a_line() -> None:
    run = slow(100, 200)
    assert run.cadence.summary() == (
        "7 rows of 1 chunks executed, 0 dropped late; starved 1 times (0.20 s, 25 % of the time); 0 boundaries, largest "
        "jump: none; inference p50 100 ms, p99 100 ms, a chunk lasts 0.80 s")
    assert run.cadence.values()["rows executed"] == "7 of 1 chunks"


def test_old_chunks_are_forgotten() -> None:
    run = Run()
    for sequence in range(1, 3 * MOST_CHUNKS):
        run.send(sent(sequence, sequence))
    assert len(run.cadence._sent) == MOST_CHUNKS


# -- with the gate itself
@settings(max_examples=30, deadline=None)
@given(lates=st.lists(st.integers(0, 350), min_size=1, max_size=8), pauses=st.lists(st.integers(1, 20), min_size=8, max_size=8))
def test_the_row_that_is_counted_is_the_row_that_the_gate_took(lates: list[int], pauses: list[int]) -> None:
    """Each row of each chunk has a value of its own, so what was requested says which it was."""
    world, cadence = GateWorld().moving(), Cadence(ROBOT.channels)
    world.speaks = False
    names = ("linear.x", "angular.z", "gripper")
    executed: list[tuple[int, int]] = []
    newest = 0
    for sequence, (late, pause) in enumerate(zip(lates, pauses), 1):
        stamp = max(newest + 1, world.now + world.offset - late * MS)
        newest = stamp
        rows = np.array([[0.3 + 0.001 * sequence + 0.01 * row, 0.0, 1.0] for row in range(8)], np.float32)
        chunk = ActionChunk(stamp, world.inputs.instruction.instruction_id, names, rows, STEP, 100_000 + sequence)
        cadence.sent(SentChunk(chunk, 8, STEP), 1, 1)
        world.inputs.chunk = chunk
        for _ in range(pause):
            report = world.tick()
            moves = report.state.name == "ACTIVE" and report.verdict.name in ("PASSED", "LIMITED")
            cadence.report(report.sequence, world.now + world.offset, moves, report.rule)
            if moves and report.sequence > 100_000:
                row = round((report.requested[0] - 0.3 - 0.001 * (report.sequence - 100_000)) / 0.01)
                now = cadence.executing(world.now + world.offset)
                assert now is not None and (now.sent.chunk.sequence, now.row) == (report.sequence, row)
                executed.append((report.sequence, row))
    assert cadence.rows == len(set(executed))
    assert executed == sorted(executed), "never two rows out of order"
