"""`vla report`: a day's recordings and datasets as numbers and as a page."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcap", reason="the flight recorder needs mcap")
pytest.importorskip("rosbags", reason="its files are read by rosbags")
from blackbox_bags import HELD, HOLDING, LATCHED, STOPPED, Bag

from vla_ros.cli.main import main
from vla_ros.operator.blackbox.day import MOST_WORST, DayReport, DayTally


def reports(bag: Bag, begin: float, end: float, *arguments: Any, **fields: Any) -> Bag:
    for tick in range(round(begin * 50), round(end * 50)):
        bag.report(tick * 0.02, *arguments, sequence=tick, **fields)
    return bag


def day_of(*paths: Path) -> DayReport:
    tally = DayTally()
    for path in paths:
        tally.add(path)
    return tally.finish()


def shift() -> Bag:
    """10 s: driven for 4 s, a person for 2 s, driven for 2 s, held for 1 s, stopped for 1 s."""
    bag = Bag().instruction(0.0, 7, "go to the red block")
    reports(bag, 0.0, 4.0, age=0.05)
    reports(bag, 4.0, 6.0, source="teleop")
    reports(bag, 6.0, 8.0, age=0.05)
    reports(bag, 8.0, 9.0, HOLDING, HELD, "observation_age", "old").image(8.0, b"\xff\xd8eye")
    return reports(bag, 9.0, 10.0, STOPPED, LATCHED, "stop", "the stop is pressed")


def test_who_drove_what_held_and_what_stopped_is_added_up(tmp_path: Path) -> None:
    day = day_of(shift().write(tmp_path))
    assert (day.driving_s, day.person_s) == (pytest.approx(6.0, abs=0.05), pytest.approx(2.0, abs=0.05))
    assert day.held_s == {"observation_age": pytest.approx(1.0, abs=0.05)}
    assert day.stops == {"the stop is pressed": 1} and day.interventions == 1
    assert day.interventions_a_minute == pytest.approx(60.0 / 8.0, abs=0.1)
    tally = day.instructions["go to the red block"]
    assert (tally.given, tally.interventions, tally.stops) == (1, 1, 1)
    assert day.latency_ms["image to command"] == {"p50": 50.0, "p95": 50.0, "p99": 50.0}


def test_what_two_files_both_hold_counts_once(tmp_path: Path) -> None:
    first = shift().write(tmp_path / "a")
    both = shift()
    reports(both, 10.0, 12.0, STOPPED, LATCHED, "stop", "the stop is pressed")
    second = both.write(tmp_path / "b")
    assert day_of(first, second).driving_s == pytest.approx(day_of(first).driving_s)
    assert day_of(first, second).stops == {"the stop is pressed": 1}
    assert len(day_of(first, second).worst) < 2 * len(day_of(first).worst) + 2


def test_nobody_drove_has_no_interventions_a_minute(tmp_path: Path) -> None:
    bag = reports(Bag(), 0.0, 1.0, HOLDING, HELD, "instruction_match", "no instruction")
    assert day_of(bag.write(tmp_path)).interventions_a_minute is None


def test_a_pause_between_reports_is_no_driving(tmp_path: Path) -> None:
    bag = reports(Bag(), 0.0, 1.0)
    reports(bag, 100.0, 101.0)
    assert day_of(bag.write(tmp_path)).driving_s == pytest.approx(2.0, abs=0.05)


def test_the_worst_moments_are_stops_then_faults_then_the_longest_holds(tmp_path: Path) -> None:
    bag = Bag()
    for number in range(2 * MOST_WORST):
        begin = 10.0 * number
        reports(bag, begin, begin + 1.0)
        reports(bag, begin + 1.0, begin + 1.2 + 0.1 * number, HOLDING, HELD, "observation_age", f"hold {number}")
    reports(bag, 500.0, 500.1, STOPPED, LATCHED, "stop", "the one stop")
    bag.fault(501.0, "vision", "camera_ingest", "the one fault")
    day = day_of(bag.write(tmp_path))
    told = [line.text for line in day.worst]
    assert len(told) == MOST_WORST
    assert any("the one stop" in text for text in told) and any("the one fault" in text for text in told)
    assert any(f"hold {2 * MOST_WORST - 1}" in text for text in told) and not any("hold 0" in text for text in told)


def test_a_file_that_is_none_or_cut_off_is_a_sentence_and_the_others_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shift().write(tmp_path)
    (tmp_path / "none.mcap").write_text("no bag")
    cut = shift().write(tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:-60])
    os.utime(cut, (1, 1))
    out = tmp_path / "out" / "day"
    assert main(["report", str(tmp_path), "--out", str(out)]) == 0
    told = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(told["problems"]) == 2 and told["driving_s"] == pytest.approx(6.0, abs=0.05)


def test_the_page_holds_the_numbers_and_what_was_seen(tmp_path: Path) -> None:
    shift().write(tmp_path)
    out = tmp_path / "day"
    assert main(["report", str(tmp_path), "--out", str(out)]) == 0
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    assert "go to the red block" in page and "the stop is pressed" in page and "data:image/jpeg;base64," in page
    assert "<script" not in page and "7.5" in page


def test_marked_episodes_of_datasets_are_success_by_instruction() -> None:
    tally = DayTally()
    tally.add_episodes([("go", True), ("go", False), ("go", None), ("turn", True)])
    day = tally.finish()
    assert day.episodes == 4
    assert (day.instructions["go"].succeeded, day.instructions["go"].failed) == (1, 1)
    assert day.instructions["turn"].succeeded == 1


def test_a_folder_without_anything_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "holds no recording (.mcap) and no dataset" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err
