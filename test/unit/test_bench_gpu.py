"""`vla bench gpu`, rehearsed on the CPU: the whole command, what it leaves for the next time, and ways that crash or
hang."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from vla_ros.bench import bench_gpu, gpu_floors, gpu_table, gpu_trial, gpu_ways
from vla_ros.bench.policy_models import CONFIGS

FAULTY = '''
import os, time
from vla_ros.engines.eager import Eager

class Crashes(Eager):  # at fp32
    @staticmethod
    def build(part, device, precision, folder):
        if precision == "fp32":
            os.write(2, b"out of registers")
            os.abort()

class Hangs(Eager):
    @staticmethod
    def missing(device, precision):
        return "" if precision == "fp32" else "it hangs at fp32 alone"

    @staticmethod
    def build(part, device, precision, folder):
        time.sleep(1000.0)
'''


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return ["--out", str(tmp_path / "page.md"), "--cache", str(tmp_path / "cache"), "--device", "cpu", "--quick",
            "--configs", "builtin", "--precisions", "fp32", "bf16", "--ways", "plain", "faulty:Crashes",
            "faulty:Hangs", "--compile-limit-s", "6"]


@pytest.mark.computes
def test_a_day_on_the_cpu_goes_on_where_it_was_left_and_a_crash_or_a_hang_costs_only_itself(
        command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_gpu, "SMALLEST_S", 1e9)  # no stage fits into what is left
    assert bench_gpu.run(command) == 1
    page = (tmp_path / "page.md").read_text()
    assert "product of matrices 256 × 256, bf16" in page
    assert "* builtin by torch: builtin plain fp32, builtin plain bf16" in page.split("## What the time")[1]
    first = json.loads((tmp_path / "page.json").read_text())
    assert first["floors"] and not first["items"]

    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    capsys.readouterr()
    assert bench_gpu.run(command) == 1
    page = (tmp_path / "page.md").read_text()
    second = json.loads((tmp_path / "page.json").read_text())
    assert second["floors"] == first["floors"], "what was measured is not measured again"
    assert capsys.readouterr().out.strip() == page.replace("\n![the same as an image](page.png)\n", "").strip()
    items = second["items"]
    whole = items["builtin plain fp32 1 whole"]
    assert set(whole["figures"]) == {"whole", "from the camera"} and whole["difference"] == 0.0
    assert {"batch 8", "batch 16"} == set(items["builtin plain bf16 16 whole"]["figures"])
    assert items["builtin plain bf16 1 vision"]["figures"]["vision"]["p99"] > 0.0
    wrong, left = page.split("## What went wrong")[1].split("## What the time did not suffice for")
    assert "builtin faulty:Crashes fp32 1 whole: its process ended with signal SIGABRT" in wrong
    assert "out of registers" in wrong
    assert "builtin faulty:Hangs fp32 1 whole: it was making for more than 6 s" in wrong
    assert left.strip() == "* nothing"
    assert items["builtin faulty:Crashes bf16 1 whole"]["figures"]["whole"]["p50"] > 0.0, "the next after the crash"
    assert items["builtin faulty:Crashes bf16 1 whole"]["warm"] > 0.0
    assert "* faulty:Hangs (bf16): it hangs at fp32 alone" in page

    before = time.monotonic()
    assert bench_gpu.run(command) == 1, "what went wrong stays told of"
    assert json.loads((tmp_path / "page.json").read_text())["items"] == items
    assert time.monotonic() - before < 60.0


def test_an_earlier_run_on_another_device_is_not_mixed_with_this_one(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text(json.dumps({"settings": {"device": "cuda", "quick": False}}))
    with pytest.raises(ValueError, match="give --fresh, or another --out"):
        bench_gpu.run(command)
    (tmp_path / "page.json").write_text("{")
    with pytest.raises(ValueError, match=r"is no JSON .* give --fresh"):
        bench_gpu.run(command)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_a_budget_of_nothing_is_refused(seconds: str) -> None:
    with pytest.raises(ValueError, match=r"--budget-s is .*; give seconds, more than 0"):
        bench_gpu.arguments_of(["--out", "page.md", "--budget-s", seconds])


def test_the_models_are_those_of_the_policy_s_bench() -> None:
    assert tuple(CONFIGS) == bench_gpu.CONFIGS


def test_it_is_there_without_ros_opencv_rich_and_matplotlib() -> None:
    blocked = ("rclpy", "vla_ros_msgs", "cv2", "rich", "matplotlib", "transformers", "yaml")
    code = (f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
            "import vla_ros.bench.bench_gpu, vla_ros.bench.gpu_trial, vla_ros.bench.policy_models")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = f"import sys\nfor name in ('torch', 'safetensors'): sys.modules[name] = None\nimport {bench_gpu.__name__}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_floor_is_a_copy_a_launch_and_the_longer_of_arithmetic_and_reading() -> None:
    floors = {"image to pinned": {"p50": 0.1, "bytes": 9e5}, "launch and wait": {"p50": 0.01},
              "product fp32": {"p50": 10.0, "operations": 1e12}, "product fp16": {"p50": 1.0, "operations": 1e12},
              "memory": {"p50": 1.0, "bytes": 1e9}}
    state = {"floors": floors, "models": {"clip": {"operations": 1e10, "numbers": 1e8}}}
    assert gpu_table.floor_ms(state, "clip", "fp32") == pytest.approx(0.1 + 0.01 + 0.4)  # 4e8 bytes of weights
    state["models"]["clip"]["numbers"] = 1e7
    assert gpu_table.floor_ms(state, "clip", "fp32") == pytest.approx(0.1 + 0.01 + 0.1)
    assert gpu_table.floor_ms(state, "clip", "fp16") == pytest.approx(0.1 + 0.01 + 0.02)
    assert gpu_table.floor_ms(state, "clip", "bf16") is None, "its product was not measured"
    assert gpu_table.floor_ms(state, "resnet50", "fp32") is None


def test_a_row_has_a_cell_for_each_column_and_ratios_by_hand() -> None:
    def item(whole: float, **more: Any) -> dict[str, Any]:
        return {"figures": {"whole": {"p50": whole, "p95": 2 * whole, "p99": 3 * whole}}, "done": True, **more}

    state = {"floors": {}, "models": {}, "items": {
        "clip plain fp16 1 whole": item(4.0, cold=0.5, graph=item(1.0, difference=1e-4)),
        "clip plain fp16 16 whole": {"figures": {"batch 8": {"p50": 8.0}, "batch 16": {"p50": 8.0}}},
        "clip torch.compile fp16 1 whole": item(2.0, memory=5e6)}}
    rows = [dict(zip(gpu_table.COLUMNS, row)) for row in gpu_table._rows(state, "clip")]
    assert [len(row) for row in gpu_table._rows(state, "clip")] == [len(gpu_table.COLUMNS)] * 3
    assert [row["way"] for row in rows] == ["plain", "plain, one CUDA graph", "torch.compile"]
    assert [row["of plain"] for row in rows] == ["1.00", "0.25", "0.50"]
    assert [row["of torch.compile"] for row in rows] == ["2.00", "0.50", "1.00"]
    assert rows[0]["whole"] == "4 / 8 / 12" and (rows[0]["of 8, each"], rows[0]["of 16, each"]) == ("1", "0.5")
    assert (rows[0]["cold start"], rows[1]["cold start"]) == ("0.5", "–") and rows[1]["difference"] == "1.0e-04"
    assert rows[2]["memory"] == "5" and rows[2]["of the floor"] == "–"


def test_a_difference_is_of_the_largest_value_and_one_that_is_not_finite_is_infinite() -> None:
    wanted = [torch.tensor([0.0, -4.0]), torch.tensor([1.0])]
    assert gpu_ways.difference([torch.tensor([0.5, -4.0]), torch.tensor([1.0])], wanted) == pytest.approx(0.125)
    assert gpu_ways.difference([torch.tensor([0.0, -4.0]), torch.tensor([float("nan")])], wanted) == float("inf")


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> str:
    """A device on which the code goes a GPU's way, and the CPU computes. A graph that is replayed computes nothing."""
    empty = torch.empty
    cuda = {"Stream": MagicMock(), "current_stream": MagicMock(), "stream": lambda stream: nullcontext(),
            "CUDAGraph": MagicMock(), "graph": lambda graph, **more: nullcontext(), "synchronize": lambda: None,
            "empty_cache": lambda: None, "mem_get_info": lambda: (1e9, 2e9), "get_device_properties": lambda device:
            SimpleNamespace(name="pretended", major=9, minor=0, total_memory=2**31)}
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    def once(run: Callable[[], object], *amount: float, **more: float) -> dict[str, float]:
        run()
        return {"p50": 1.0, "p95": 1.0, "p99": 1.0}

    monkeypatch.setattr(gpu_floors, "timed", once)
    monkeypatch.setattr(gpu_trial, "timed", once)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **more: empty(*shape, **more))
    return "cpu:0"


def test_a_gpu_s_way_through_the_code(pretended_gpu: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    names = [name for name, _ in gpu_floors.floors(pretended_gpu, quick=True)]
    assert {"image to pinned", "large from pinned", "kernel in a graph", "product tf32"} <= set(names)
    assert gpu_floors.facts(pretended_gpu)["chip"] == "pretended"
    items = [["plain", "bf16", 1, "whole"], ["plain", "bf16", 1, "vision"], ["plain", "bf16", 16, "whole"],
             ["eager", "bf16", 1, "whole"]]
    spec = {"config": "clip", "items": items, "device": pretended_gpu, "quick": True, "cache": str(tmp_path),
            "threads": 1, "wait": False, "start_only": False, "facts": True}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            gpu_trial.GpuTrial(spec).run()
    finally:
        torch.set_num_threads(threads)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert not [line for line in lines if "problem" in line]
    recorded = [line["name"] for line in lines if line.get("graph") and "name" in line]
    assert recorded == ["whole", "from the camera", "vision", "batch 8", "batch 16"]
    done = [line for line in lines if line.get("phase") == "done"]
    assert [line["memory"] for line in done] == [0.0] * len(items)
    assert lines[0]["model"]["operations"] > 1e6 and lines[0]["model"]["title"].startswith("CLIP ViT-B/32")
