"""From records to numbers, aims and recommendations: on records made by hand."""
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the records hold the simulator's states")
pytest.importorskip("scipy", reason="the intervals are scipy's")
pytest.importorskip("jinja2", reason="the page is a Jinja2 template")

from vla_ros.evaluation import advice, plots, report, summary
from vla_ros.evaluation.plan import PlannedEpisode
from vla_ros.evaluation.runner import PolicyChoice, Record
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.world_state import ObjectState, WorldState
from vla_ros.training.plots import draw

RED = ObjectState("red block", "red", "block", 1.0, 0.0, 0.03, 0.2, 0.06, 0.06)
BALL = ObjectState("blue ball", "blue", "ball", 0.0, 1.0, 0.035, 0.0, 0.07, 0.07)
STATE = WorldState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.10, (RED, BALL))


def record(number: int, done: bool, kind: str = "go_to", part: str = "success", split: str = "known", **more: Any) -> Record:
    meant = Intent(kind, "red", "block") if kind in ("go_to", "face", "grab", "push") else Intent(kind)
    fields: dict[str, Any] = {"distance": 0.0 if done else 0.5, "seconds": 4.0, "sentence": "as it was", "reached": [], "refused": False, "gave_up": False,
                              "chunks": (10, 10, 8), "predict": [0.1, 0.001, 0.002], "path": [(0.0, 0.0, 0.0), (0.5, 0.0, 0.1)],
                              "start": STATE, "end": STATE, "policy": "hand@1"}
    told = {name: more.pop(name) for name in ("group", "scenario") if name in more}
    text = more.pop("text", f"{kind} the <red> block")
    return Record(PlannedEpisode(number, part, split, 1_000_000 + number, meant, text, 30.0, **told), done, **{**fields, **more})


def test_success_by_split_and_kind() -> None:
    found = summary.summarise([record(0, True), record(1, False), record(2, True, "stop"), record(3, True, split="unseen_words"),
                               record(4, True, part="swapped", group=0)])
    done = found["task_completion"]
    assert (done["all"]["successes"], done["all"]["trials"]) == (3, 4)  # the counterfactual is no success
    assert done["by_split"]["known"]["rate"] == pytest.approx(2 / 3) and done["by_split"]["unseen_words"]["rate"] == 1.0
    assert done["by_kind"]["go_to"]["trials"] == 3 and done["by_split_and_kind"]["known"]["go_to"]["rate"] == 0.5
    assert done["all"]["distance"]["mean"] == pytest.approx(0.125) and done["all"]["distance"]["near"]["successes"] == 3
    assert found["actions"] == {"chunks": 50, "valid": 1.0, "within_limits": 0.8}
    assert found["timing"]["count"] == 10 and found["timing"]["max_ms"] == pytest.approx(2.0)  # without each first call
    assert found["timing"]["first"]["p50_ms"] == pytest.approx(100.0)


def test_counterfactuals_stand_beside_the_same_episodes_with_the_right_words() -> None:
    found = summary.counterfactuals([record(0, True), record(1, True), record(2, False),
                                     record(10, True, part="swapped", group=0), record(11, False, part="swapped", group=2),
                                     record(12, False, part="blank", group=1)])
    assert found["swapped"]["rate"] == 0.5 and found["swapped"]["with_the_words"]["rate"] == 0.5
    assert found["blank"]["rate"] == 0.0 and found["blank"]["with_the_words"]["rate"] == 1.0


def test_language() -> None:
    found = summary.language([
        record(0, True, reached=["red block"]), record(1, False, reached=["blue ball"]), record(2, False),
        record(3, True, "stop"), record(4, False, refused=True),
        record(5, True, part="paraphrases", group=9, reached=["red block"]), record(6, False, part="paraphrases", group=9)])
    assert found["right_object"]["rate"] == pytest.approx(2 / 3)  # of the three that acted on some object
    assert found["coverage"]["given"] == 2 and found["coverage"]["done"] == 2 and found["coverage"]["commands"] == 80
    assert found["paraphrases"]["accuracy"] == 0.5 and found["refused"]["successes"] == 1


def test_robustness_counts_scenarios_and_not_episodes() -> None:
    records = [record(0, True), record(1, True)]
    records += [record(10 + index, index < 1, part="scenarios", scenario="noise", group=index % 2) for index in range(2)]
    records += [record(20 + index, True, part="scenarios", scenario="blur", group=index % 2) for index in range(8)]
    found = summary.robustness(records)
    assert found["mean"] == 0.75 and found["spread"] == 0.25 and found["passed"] == 0.5 and found["failed"] == ["noise"]
    assert found["scenarios"]["noise"]["against_plain"]["difference"] == -0.5


def test_comparison_is_paired_and_says_what_was_understood() -> None:
    ours = [record(0, True), record(1, True), record(2, False, "stop")]
    theirs = [record(0, True), record(1, False, refused=True), record(2, True, "stop")]
    found = summary.comparison(ours, theirs)
    assert found["all_words"]["by_kind"]["go_to"]["difference"] == 0.5 and found["all_words"]["by_kind"]["stop"]["difference"] == -1.0
    assert found["understood"]["by_kind"]["go_to"]["difference"] == 0.0 and found["understood"]["all"]["trials"] == 2
    aim = advice.aims({"comparison": found})[-1]
    assert aim.met is False and "ahead on 1 of 2 (not: stop -1.00)" in aim.measured


def nested(path: str, value: float) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}  # type: ignore[assignment]
    return value  # type: ignore[return-value]


@pytest.mark.parametrize("rule", advice.RULES, ids=lambda rule: f"{rule.path} {rule.least}")
def test_a_recommendation_below_its_threshold_and_not_at_or_above(rule: advice.AdviceRule) -> None:
    below = advice.recommendations(nested(rule.path, rule.least - 0.001))
    assert len(below) == 1 and below[0].startswith(rule.say) and f"{rule.least - 0.001:.2f}" in below[0]
    for value in (rule.least, rule.least + 0.001):
        assert not any(one.startswith(rule.say) for one in advice.recommendations(nested(rule.path, value)))
    assert advice.recommendations({}) == []  # not measured is not low


def test_thresholds_are_the_agreed_ones() -> None:
    assert {rule.least for rule in advice.RULES} == {0.8, 0.5, 0.7}
    assert advice.recommendations(nested("task_completion.all.rate", 0.49))[0].startswith("The policy fails more often")
    assert advice.recommendations(nested("task_completion.all.rate", 0.5))[0].startswith("Success is low")


@pytest.mark.parametrize("value, expected", [(0.05, 0), (0.051, 1)])
@pytest.mark.parametrize("name", ["swapped", "blank"])
def test_success_without_the_words_is_told(name: str, value: float, expected: int) -> None:
    found = advice.recommendations(nested(f"counterfactuals.{name}.rate", value))
    assert len(found) == expected and all("does not need the words" in one for one in found)


@pytest.mark.parametrize("successes, met", [(96, False), (97, True), (100, True)])
def test_an_aim_is_met_at_its_threshold(successes: int, met: bool) -> None:
    records = [record(index, index < successes) for index in range(100)]
    known, *rest = advice.aims(summary.summarise(records))
    assert known.met is met and f"{successes / 100:.3f}" in known.measured and "n = 100" in known.measured
    refused = [one for one in rest if one.what == "refused wrongly, known words"]
    assert [one.met for one in refused] == [True]  # of the same episodes: none was refused
    assert all(one.met is None and one.measured == "not measured" for one in rest if one not in refused)


def test_the_report_is_json_without_nan_and_html_that_is_escaped(tmp_path: Path) -> None:
    lost = record(1, False, distance=math.inf, text="go to <b>it</b>", sentence="a & b", image=np.full((12, 16, 3), 90, np.uint8),
                  explained={"attention": np.eye(3, 4) / 4, "nowhere": 0.25})
    records = [record(0, True), lost, record(2, False, part="blank", group=0, text="")]
    facts = report.facts(PolicyChoice("hand", {"checkpoint": "here"}), records, "vla evaluate", 2, 1.0)
    whole = report.write(tmp_path, facts, summary.summarise(records, [record(0, False), record(1, False)]), records)
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert numbers["episodes"][1]["distance"] is None and numbers["policy"]["options"] == {"checkpoint": "here"}
    assert numbers["seeds"] == {"first": 1_000_000, "last": 1_000_002} and numbers["recommendations"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "go to &lt;b&gt;it&lt;/b&gt;" in page and "<b>" not in page and "a &amp; b" in page and "<script" not in page
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert table.count("\n| ") == 15 and "written by `vla evaluate`" in table
    assert any(line.startswith("policy hand@1: 3 episodes") for line in report.lines(whole))


def test_an_image_that_cannot_be_drawn_is_a_sentence_and_the_report_is_whole(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    def fail(*_: Any) -> str:
        raise ValueError("no loc <outside>")

    monkeypatch.setattr(plots, "shares", fail)
    records = [record(0, True), record(1, False)]
    report.write(tmp_path, report.facts(PolicyChoice("hand", {}), records, "vla evaluate", 2, 1.0), summary.summarise(records), records)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "success by split: the image could not be drawn (ValueError: no loc &lt;outside&gt;)." in page
    assert page.count("data:image/png") == 2 and (tmp_path / "table.md").exists()  # the times, and how the failed one went
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'} says of 2 image(s) why they could not be drawn\n"


def test_trainings_curves_are_drawn(tmp_path: Path) -> None:
    rows = [{"step": float(step), "loss": 1.0 / (step + 1), "vision": 0.2, "learning_rate": 1e-3, "gradient": 2.0,
             "success": 0.1 * step, "without_noise": 0.2} for step in range(4)]
    draw(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
