"""`vla bench policy`: what it makes of its figures, by hand; and one real way, from image to figures."""
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from vla_ros.bench import bench_policy, policy_table, policy_trial


def trial(whole: float, start: float, first: float | None = None, **stages: float) -> dict[str, Any]:
    figures = {name: {"p50": value, "p95": 2 * value, "p99": 3 * value} for name, value in {"whole": whole, **stages}.items()}
    more = {} if first is None else {"first": first, "difference": 1e-6}
    return {"stages": figures, "start": start, "peak": 100e6, **more}


def report(**ways: list[dict[str, Any]]) -> dict[str, Any]:
    found = {name.replace("_", " "): bench_policy._together(rounds) for name, rounds in ways.items()}
    bench_policy._compare(found)
    return {"configs": {"clip": found}, "problems": []}


def test_medians_shares_and_starts_by_hand() -> None:
    ways = report(plain_fp32=[trial(9.0, 3.0), trial(100.0, 1.0), trial(120.0, 2.0), trial(110.0, 1.5)],
                  onnxruntime_fp32=[trial(1.0, 40.0, 5.0), *(trial(33.0, 1.0, 44.0) for _ in range(3))])["configs"]["clip"]
    plain, engine = ways.values()
    assert plain["stages"]["whole"]["p50"] == 110.0 and plain["cold"] == 3.0 and plain["warm"] == 1.5
    assert engine["of eager"] == pytest.approx(0.3) and engine["warm of cold"] == pytest.approx(1 / 40)
    assert engine["first of median"] == pytest.approx(44 / 33) and "first of median" not in plain


@pytest.mark.parametrize("whole, verdict", [(39.9, "met"), (40.0, "met"), (40.1, "missed")])
def test_an_aim_is_met_up_to_its_number(whole: float, verdict: str) -> None:
    lines = policy_table.verdicts(report(plain_fp32=[trial(100.0, 1.0)] * 2, eager_fp32=[trial(99.0, 1.0, 1.0)] * 2,
                                         onnxruntime_fp32=[trial(whole, 9.0, whole)] * 2))
    assert lines[0].startswith("clip at fp32: onnxruntime fp32 takes") and lines[0].endswith(verdict)


@pytest.mark.parametrize("warm, first, hit, verdicts", [
    (0.05, 20.0, 0.04, ["met", "met", "met"]), (0.051, 20.1, 0.06, ["missed", "missed", "missed"])])
def test_starts_first_images_and_known_words_have_aims(warm: float, first: float, hit: float, verdicts: list[str]) -> None:
    found = report(plain_fp32=[trial(10.0, 1.0)] * 2, onnxruntime_fp32=[trial(10.0, 1.0, 1.0), trial(10.0, warm, first, **{"language, hit": hit})],
                   eager_fp32=[trial(10.0, 1.0, 1.0), trial(10.0, 1.0, 1.0)])  # which builds nothing
    assert [line.rsplit(": ", 1)[1] for line in policy_table.verdicts(found)[1:]] == verdicts


def test_a_row_has_a_cell_for_each_column() -> None:
    found = report(plain_fp32=[trial(2.0, 1.0)] * 2, onnxruntime_fp32=[trial(1.0, 1.0, 1.0, vision=0.5)] * 2)
    rows = policy_table.rows_of(found["configs"]["clip"])
    assert [len(row) for row in rows] == [len(policy_table.COLUMNS)] * 2
    cells = dict(zip(policy_table.COLUMNS, rows[1]))
    assert cells["vision"] == "0.5" and cells["of plain"] == "0.50" and cells["copy in and out"] == "–"


def test_a_policy_file_is_measured_as_it_is_where_no_engine_runs_it(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("policy: constant\n")
    assert bench_policy.ways_of(str(file), None) == [policy_trial.AS_IT_IS] and bench_policy.title(str(file)) == str(file)
    figures = policy_trial.of_file(str(file), policy_trial.AS_IT_IS, 2, "none", 1)
    assert figures["stages"]["whole"]["p50"] > 0.0
    file.write_text("policy: lerobot\n")
    assert bench_policy.ways_of(str(file), ["eager"])[0] == ("eager", "fp32")


def test_the_box_is_measured_stage_by_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        for way in ("plain", "eager"):
            policy_trial.main(["builtin", way, "fp32", "2", str(tmp_path), "1", "2"])
    finally:
        torch.set_num_threads(before)
    plain, eager = map(json.loads, capsys.readouterr().out.splitlines())
    assert set(plain["stages"]) == {"whole"} and eager["difference"] == 0.0
    assert set(eager["stages"]) >= {"preprocess", "vision", "fusion and action", "language, miss", "language, hit", "whole"}
    for one in (plain, eager):
        assert all(math.isfinite(value) and value >= 0 for stage in one["stages"].values() for value in stage.values())
