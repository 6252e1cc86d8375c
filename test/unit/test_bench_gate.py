"""The gate bench's pure part: the grid, the stops, the robot, and the table."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the bench's plain gate needs ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="needs the messages: colcon build, then source install/setup.bash")

from vla_ros.bench.bench_gate import arguments_of, report_of
from vla_ros.bench.gate_measure import (
    TimedCommand,
    grid_start,
    late_on_grid,
    split,
    stop_times,
    undisturbed,
)
from vla_ros.bench.gate_naive import HIGH, clamp
from vla_ros.bench.gate_robot import CHANNELS, FULL_SPEED_M_S, ROBOT, chunk, robot_file
from vla_ros.bench.gate_step import measure
from vla_ros.bench.gate_table import cells, markdown
from vla_ros.bench.gate_trial import GateTrial, judged
from vla_ros.core.robot import load_robot

MS = 1_000_000
PERIOD = 20 * MS
BEGIN = 7 * PERIOD + 3 * MS  # no multiple of the period


def grid(late: dict[int, float], count: int = 200) -> list[int]:
    """A timer's times, on the grid but for `late`: index -> ms."""
    return [BEGIN + i * PERIOD + round(late.get(i, 0.0) * MS) for i in range(count)]


def waits(times: list[int], caused: list[int] | None = None) -> list[float]:
    return [took / MS for _, took in late_on_grid(times, caused or [], PERIOD)]


def test_a_timer_on_the_grid_is_not_late() -> None:
    assert waits(grid({})) == [0.0] * 200


@pytest.mark.parametrize("by", [0.5, 3.0, 11.0, 17.5])
def test_one_late_command_is_late_by_that_and_moves_nothing(by: float) -> None:
    late = waits(grid({50: by}))
    assert late[50] == pytest.approx(by) and sum(late) == pytest.approx(by)


def test_the_grid_lies_through_the_punctual_ones_where_most_are_late() -> None:
    late = waits(grid({i: 2.0 for i in range(200) if i % 4}))
    assert np.median(late) == pytest.approx(2.0) and min(late) == 0.0


def test_the_grid_is_found_across_the_turn_of_the_period() -> None:
    times = [PERIOD * i + (PERIOD - MS // 10 if i % 2 else MS // 10) - (PERIOD if i % 2 else 0) for i in range(1, 100)]
    assert grid_start(times, PERIOD) % PERIOD == pytest.approx(PERIOD - MS // 10, abs=MS // 100)


def test_a_command_that_never_came_is_late_until_the_next() -> None:
    times = grid({})
    del times[80:83]
    late = waits(times)
    assert late[80:84] == [60.0, 40.0, 20.0, 0.0] and len(late) == 200


def test_a_new_action_stands_in_for_the_timer_only_where_that_was_silent() -> None:
    times = grid({50: 6.0})
    assert waits(times, [times[50] - 5 * MS])[50] == pytest.approx(6.0)  # the timer was late, whoever spoke before
    gone = times.pop(80)
    assert waits(times, [gone + 7 * MS])[80] == pytest.approx(7.0)


def test_the_first_with_a_new_speed_is_not_the_timers() -> None:
    commands = [TimedCommand(i, i, speed, False) for i, speed in enumerate((0.4, 0.4, 0.41, 0.41, 0.41, 0.42))]
    timed, caused = split(commands)
    assert [command.written for command in timed] == [1, 3, 4] and [command.written for command in caused] == [2, 5]


def test_a_stop_lasts_until_the_first_zero_after_it() -> None:
    commands = [TimedCommand(0, t * MS, 0.4 * (not still), still) for t, still in ((0, True), (20, False), (31, True), (40, True))]
    assert stop_times(commands, [25 * MS]) == ([(25 * MS, 6 * MS)], 0)
    assert stop_times(commands, [41 * MS, 2 * MS]) == ([(2 * MS, 29 * MS)], 1)  # after the last command: none


def test_only_what_overlaps_a_stall_is_left_out() -> None:
    given = [(0, 5), (100, 5), (200, 50), (300, 0)]
    assert undisturbed(given, [(104, 10), (240, 3), (20, 60), (295, 4)]) == [(0, 5), (300, 0)]
    assert undisturbed(given, [(90, 10)]) == [(0, 5), (200, 50), (300, 0)]
    assert undisturbed(given, []) == given


def test_the_robot_is_one_that_the_gate_reads(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(json.dumps(robot_file()))
    assert load_robot(file) == ROBOT and len(CHANNELS) == 10


def test_each_action_has_a_speed_of_its_own_within_the_limits() -> None:
    speeds = [float(chunk(i, 0, 1, 1 / 30).values[0, 0]) for i in range(2000)]
    assert len(set(speeds)) == 2000 and min(speeds) > FULL_SPEED_M_S and max(speeds) < ROBOT.channel("linear.x").limits[1]
    rows = np.concatenate([chunk(i, 0, 1, 0.1).values for i in range(100)])
    assert (np.abs(rows[:, 1]) > 0.5).any()  # or no limit would be at work in the step


def test_the_plain_gate_clamps_the_first_row() -> None:
    rows = np.array([[9.0] * 10, [0.0] * 10], np.float32)
    assert clamp(rows.ravel(), 10).tolist() == HIGH.tolist()


def test_the_step_is_measured_with_the_gate_active() -> None:
    out = measure(300)
    for figure in (out["step"]["ours"], out["step"]["plain"], out["look"]["ours"],
                   out["narrow_calm"]["ours"]):
        assert 0.0 < figure["p50"] <= figure["p99"] <= figure["max"]
    assert 0.0 < out["step"]["ours"]["limited"] < 1.0  # some rows pass, some are limited


def test_what_the_player_saw_becomes_figures(tmp_path: Path) -> None:
    times = grid({50: 4.0})
    commands = [[time, time + MS, 0.4, False] for time in times] + [[times[-1] + 15 * MS, times[-1] + 16 * MS, 0.0, True]]
    seen = {"commands": commands, "presses": [times[-1] + 10 * MS], "window": [0, times[-1]], "problem": ""}
    (tmp_path / "seen.json").write_text(json.dumps(seen))
    (tmp_path / "floor.json").write_text(json.dumps([[times[0], 100], [times[-1] + 1, 900]]))
    trial = judged(tmp_path)
    assert max(took for _, took in trial.figures["late_received"]) == 4 * MS
    assert trial.figures["stop"] == [(times[-1] + 10 * MS, 6 * MS)] and trial.figures["floor"] == [(times[0], 100)]
    assert "stop_calm" not in trial.figures  # no witness, no such claim
    (tmp_path / "witness_0.json").write_text(json.dumps([[times[50] - 2 * MS, MS]]))
    assert max(took for _, took in judged(tmp_path).figures["late_written_calm"]) == 0
    assert judged(tmp_path / "nowhere").problem.startswith("nothing was written")


def test_the_page_holds_ratios_aims_and_problems() -> None:
    arguments = arguments_of(["--note", "Others worked beside it."])
    arguments.loads = ["busy"]
    good = GateTrial({"late_written": [(0, 2 * MS)], "stop": [(0, 5 * MS)]})
    plain = GateTrial({"late_written": [(0, 8 * MS)], "stop": [(0, 10 * MS)]}, missed=2)
    step = {"ours": {"p50": 0.1, "p99": 0.6, "max": 0.7, "limited": 0.5}, "plain": {"p50": 0.01, "p99": 0.02, "max": 1.0}}
    report = report_of(arguments, {"step": step}, {"busy": {"ours": [good], "plain": [plain]}})
    assert report["ratios"]["busy late_written p99"] == 0.25 and report["ratios"]["step p50"] == 10.0
    assert report["problems"] == ["plain, busy: 2 stops without a zero"]
    report |= {"machine": {"cpu": "a machine", "cores": 2, "python": "3.10", "ros": "jazzy"}, "load_before": [0.1, 0.2, 0.3], "load_after": [0.4],
               "stolen": 0.25}
    rows = {row[0]: row for row in cells(report)[1]}
    assert rows["a step"][-1] == "0.5, missed"
    assert rows["command later than the grid, two busy processes"][1:] == ["2 / 2 / 2", "8 / 8 / 8", "-", "0.25 / 0.25",
                                                                           "3, met"]
    assert rows["the same, in the robot's process"][1:] == ["-", "-", "-", "- / -", ""]  # not measured, not claimed
    page = markdown(report)
    assert "Others worked beside it." in page and "Cut short: plain, busy: 2 stops" in page and "25.0%" in page


def test_a_round_that_wrote_nothing_takes_no_figure_from_the_others() -> None:
    arguments = arguments_of([])
    good = GateTrial({"stop": [(0, 5 * MS)], "stop_calm": [(0, 4 * MS)]})
    report = report_of(arguments, {}, {"busy": {"ours": [good, GateTrial(problem="nothing was written")]}})
    figures = report["figures"]["busy"]
    assert figures["stop"]["ours"]["count"] == figures["stop_calm"]["ours"]["count"] == 1
    assert figures["late_written"]["ours"] == {} and report["problems"] == ["ours, busy: nothing was written"]


@pytest.mark.parametrize(("words", "sentence"), [
    (["--seconds", "0"], "--seconds is 0"), (["--stops", "-1"], "--stops is -1"), (["--steps", "0"], "--steps is 0"),
    (["--rounds", "0"], "--rounds is 0"), (["--seconds", "nan"], "--seconds is nan")])
def test_bad_arguments_are_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        arguments_of(words)
