"""The nodes beside the bare simulator: counted on records made by hand."""
from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("mujoco", reason="the records hold the simulator's states")
pytest.importorskip("scipy", reason="the intervals are scipy's")
pytest.importorskip("jinja2", reason="the page is a Jinja2 template")

from vla_ros.evaluation import advice, page, report, through_nodes
from vla_ros.evaluation.plan import PlannedEpisode
from vla_ros.evaluation.runner import Record
from vla_ros.evaluation.through_nodes import Driven
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.world_state import WorldState

STATE = WorldState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.10, ())


def fields(number: int, done: bool, kind: str = "turn_left", seconds: float = 4.0) -> dict[str, Any]:
    return {"episode": PlannedEpisode(number, "success", "known", 1_000_000 + number, Intent(kind), "the <words>", 15.0), "done": done,
            "distance": 0.0 if done else 0.5, "seconds": seconds, "sentence": "as it was", "reached": [], "refused": False,
            "gave_up": False, "chunks": (10, 10, 8), "predict": [0.002], "path": [(0.0, 0.0, 0.0)], "start": STATE, "end": STATE}


def driven(number: int, done: bool, kind: str = "turn_left", *, stopped: str = "", **answers: int) -> Driven:
    counted = Counter({name.replace("_", " ", 1): count for name, count in answers.items()})
    return Driven(**fields(number, done, kind, 5.0), answers=counted, latency=[0.01, 0.03], stopped=stopped)


def test_both_are_paired_and_the_gate_s_answers_are_shares() -> None:
    bare = [Record(**fields(0, True)), Record(**fields(1, True)), Record(**fields(2, False, "stop")), Record(**fields(9, True))]
    through = [driven(0, True, PASSED=60, LIMITED_rate_limit=20), driven(1, False, stopped="the stop is pressed", PASSED=10),
               driven(2, True, "stop", HELD_instruction_match=10)]
    found = through_nodes.summarise(bare, through)
    assert (found["all"]["trials"], found["all"]["only_ours"], found["all"]["only_theirs"]) == (3, 1, 1)  # not the ninth
    assert found["all"]["difference"] == 0.0 and found["all"]["low"] < -0.3 < 0.3 < found["all"]["high"]
    assert found["by_kind"]["turn_left"]["difference"] == -0.5 and found["by_kind"]["stop"]["bare"]["rate"] == 0.0
    assert found["gate"] == {"PASSED": 0.7, "LIMITED rate_limit": 0.2, "HELD instruction_match": 0.1}
    assert found["gate_by_kind"]["stop"] == {"HELD instruction_match": 1.0} and found["stopped"] == 1
    assert found["latency"]["p50_ms"] == pytest.approx(20.0) and found["seconds_longer"]["mean"] == 1.0
    assert [(one["number"], one["done"], one["bare"]["done"]) for one in found["differ"]] == [(1, False, True), (2, True, False)]
    json.dumps(report.clean(found), allow_nan=False)
    shown = page.environment().get_template("sections.html").module.nodes(
        {**found, "problem": "the <simulator> ended", "rates_hz": {"camera": 29.96}})
    assert "the &lt;words&gt;" in shown and "the &lt;simulator&gt; ended" in shown and "LIMITED rate_limit 0.20" in shown and "camera 30." in shown
    assert "0.667 against 0.667 bare; +0.000" in advice.beside_bare(found)


@pytest.mark.parametrize("lost, met", [(0, True), (2, True), (3, False)])
def test_the_aim_is_what_may_be_lost(lost: int, met: bool) -> None:
    bare = [Record(**fields(number, True)) for number in range(100)]
    through = [driven(number, number >= lost) for number in range(100)]
    aim = next(one for one in advice.aims({"nodes": through_nodes.summarise(bare, through)}) if "nodes" in one.what)
    assert aim.met is met and f"{1 - lost / 100:.3f} against 1.000 bare" in aim.measured


@pytest.mark.parametrize("trials, tells", [(99, False), (100, True)])
def test_of_fewer_than_a_hundred_it_is_not_said(trials: int, tells: bool) -> None:
    bare = [Record(**fields(number, True)) for number in range(trials)]
    found = through_nodes.summarise(bare, [driven(number, True) for number in range(trials)])
    aim = next(one for one in advice.aims({"nodes": found}) if "nodes" in one.what)
    assert (aim.met is True) == tells and ("too few to tell" in aim.measured) != tells


def test_nothing_driven_is_nothing_measured() -> None:
    found = through_nodes.summarise([Record(**fields(0, True))], [])
    assert found["gate"] == {} and found["episodes"] == [] and advice.beside_bare(found) == "not measured"
