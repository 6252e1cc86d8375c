"""`vla bench` for real, in short: every figure comes from samples, and no process is left."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("rclpy", reason="the bench needs ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="needs the messages: colcon build, then source install/setup.bash")
pytest.importorskip("cv_bridge", reason="the plain pipeline needs cv_bridge")

pytestmark = pytest.mark.alone  # with busy processes of its own beside others of the tests, the gate got no time to move

IN_SHORT = """
import sys
from vla_ros.cli import main
from vla_ros.bench import bench_gate, pipeline_trial
pipeline_trial.WARM_UP_S = 0.5
bench_gate.LOADS["busy"] = 1
sys.exit(main.main(sys.argv[1:]))
"""


def test_ours_and_the_floor_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = subprocess.run([sys.executable, "-c", IN_SHORT, "bench", "pipeline", "--seconds", "1.5", "--rounds", "1", "--size",
                           "320x240", "--only", "ours,floor", "--json", str(file), "--logs", str(tmp_path / "logs")],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report == json.loads(file.read_text())
    for name in ("ours", "floor"):
        result = report["variants"][name]
        assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]
        assert 0 < result["commanded_in_window"] <= result["sent_in_window"]
    ours = report["variants"]["ours"]
    assert len(ours["processes"]) == 6 and all(usage["pss"] > 0 for usage in ours["processes"].values())
    assert ours["sent"] >= ours["received"] >= ours["handed_on"] > 0 and ours["inferred"] > 0
    assert report["ratios"]["ours/floor p50"] > 0
    mine = [process for process in psutil.process_iter(["cmdline", "pid"])
            if str(tmp_path) in " ".join(process.info["cmdline"] or ())]
    assert not mine


def test_the_gate_is_measured_beside_a_plain_one(tmp_path: Path) -> None:
    """All figures are there and positive; how good they are says a long run on a quiet machine."""
    file, page = tmp_path / "result.json", tmp_path / "page.md"
    done = subprocess.run([sys.executable, "-c", IN_SHORT, "bench", "gate", "--quick", "--json", str(file),
                           "--out", str(page), "--logs", str(tmp_path / "logs")],
                          capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(file.read_text())
    step, busy = report["figures"][""]["step"], report["figures"]["busy"]
    for figure in (step, busy["late_written"], busy["late_received"], busy["stop"]):
        for name in ("ours", "plain"):
            assert 0 <= figure[name]["p50"] <= figure[name]["p99"] <= figure[name]["max"] < 2000
    for name in ("ours", "plain"):
        assert busy["stop"][name]["count"] == 3 and busy["stop"][name]["p50"] > 0
        assert busy["late_written"][name]["count"] >= 60  # 1.5 s at 50 Hz, less the edges
    assert report["ratios"]["busy stop p50"] > 0 and len(report["aims"]) >= 3
    assert page.read_text().count("\n| ") == 12
    mine = [process for process in psutil.process_iter(["cmdline", "pid"])
            if str(tmp_path) in " ".join(process.info["cmdline"] or ())]
    assert not mine
