"""`vla bench builds`: every part in full size, really built; what could not be is on the page, with its reason."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from tiny_models import OPTIONS, SAME_GRAPH

from vla_ros.bench import bench_builds
from vla_ros.bench.bench_builds import (
    COLUMNS,
    MORE_CONFIGS,
    PartBuilt,
    arguments_of,
    build,
    row_of,
    run,
)
from vla_ros.bench.policy_models import CONFIGS
from vla_ros.engines.base import lacking
from vla_ros.models.config import VLAConfig

BUILT = PartBuilt("language", 2_500_000, 1.25, 3.0, 5_000_000, 2_000_000_000, [], 1)
builds = pytest.mark.skipif(bool(lacking("tensorrt_rtx_bindings", "onnx", "onnxscript")), reason="TensorRT for RTX is not installed")


def test_every_part_is_in_one_of_the_configurations() -> None:
    configs = [VLAConfig(**(values or {})) for _, values in (*CONFIGS.values(), *MORE_CONFIGS.values())]
    for kind, names in OPTIONS.items():
        assert {getattr(config, kind) for config in configs} == set(names) - SAME_GRAPH, kind


def test_a_row_has_a_cell_for_each_column() -> None:
    cells = dict(zip(COLUMNS, row_of("CLIP", "fp8", BUILT)))
    assert len(cells) == len(COLUMNS) and cells["engine, MB"] == "5.0" and cells["peak, GB"] == "2.0" and cells["warnings"] == "1"


@builds
def test_what_was_not_built_and_what_was_warned_of_stand_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(config: str, precision: str, target: str) -> list[PartBuilt]:
        if config == "clip":
            raise ValueError("building clip needs 9.00 GB of memory, and 1.00 GB are free")
        return [BUILT, PartBuilt("vision and action", 1, 1.0, 1.0, 1, 1, ["odd weights"], 0)]

    monkeypatch.setattr(bench_builds, "_in_a_process", answer)
    page = tmp_path / "page.md"
    assert run(["--configs", "builtin", "clip", "--precisions", "fp16", "--out", str(page)]) == 1
    text = page.read_text()
    assert "for sm_89" in text and "needs 9.00 GB of memory" in text and "1 not explained" in text
    assert "* the built-in policy, vision and action at fp16: odd weights" in text
    assert run(["--configs", "clip", "--precisions", "fp16"]) == 1


def test_a_model_that_does_not_fit_into_memory_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_builds, "free_memory", lambda: 10e9)
    with pytest.raises(ValueError, match="building clip_l_llama needs .* GB of memory, and 10.00 GB are free"):
        build("clip_l_llama", "fp16", "sm_89")


@builds
def test_a_real_build_gives_both_parts() -> None:
    parts = build("builtin", "fp16", "sm_120")
    assert [part.part for part in parts] == ["language", "vision and action"]
    for part in parts:
        assert part.size_bytes > 100_000 and part.build_s > 0.01 and part.export_s > 0.01 and part.warned == []
        assert part.peak_bytes > 100e6


@pytest.mark.parametrize("words", [["--configs", "giant"], ["--precisions", "fp4"]])
def test_what_it_does_not_know_is_refused(words: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        arguments_of(words)
