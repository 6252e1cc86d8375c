"""The chunk-blending bench: what counts as a jerk and where, and one small run of it."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
pytest.importorskip("cv2", reason="color_servo needs OpenCV")

from vla_ros.bench.bench_chunk_blending import BlendingTrial, arguments_of, jerks, summary
from vla_ros.cli.main import main
from vla_ros.sim.world import World


def test_a_step_is_a_jerk_of_its_seam_or_of_the_chunk_within() -> None:
    speeds = [0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 0.3, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0]
    told = [(0.02 * k, speed, 0.0) for k, speed in enumerate(speeds)]
    found = jerks(told, [0.0, 0.06])  # the second chunk takes over with the fourth command
    assert found["linear.x", True].tolist() == pytest.approx([10.0, 10.0])  # 0.2 m/s in 20 ms, begun and ended
    assert sorted(found["linear.x", False].tolist()) == pytest.approx([0.0] * 4 + [5.0] * 2 + [10.0] * 2)
    assert not found["angular.z", True].any()
    assert len(found["linear.x", False]) == 8, "standing at the end does not count"


def test_a_steady_acceleration_is_no_jerk() -> None:
    found = jerks([(0.02 * k, 0.01 * k, -0.02 * k) for k in range(9)], [0.0])
    assert max(found["linear.x", False]) == pytest.approx(0.0) and not len(found["linear.x", True])


def test_times_are_compared_over_what_was_done_with_every_blending() -> None:
    nothing = jerks([(0.0, 0.1, 0.0), (0.02, 0.1, 0.0), (0.04, 0.1, 0.0)], [0.0])
    said = summary({"latest": [BlendingTrial(True, 5.0, nothing), BlendingTrial(True, 9.0, nothing)],
                    "linear": [BlendingTrial(True, 6.0, nothing), BlendingTrial(False, 30.0, nothing)]})
    assert [(one["done"], one["seconds"], one["timed"]) for one in said.values()] == [(2, 5.0, 1), (1, 6.0, 1)]


@pytest.mark.parametrize("words, says", [(["--rate", "0"], "--rate is 0"), (["--blend-time", "nan"], "--blend-time is nan"),
                                         (["--policies", "rt2"], "unknown policy 'rt2'")])
def test_a_bad_argument_is_named(words: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        arguments_of(words)


def test_the_bench_runs_and_says_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        World(0, width=32, height=32).render()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    words = ["bench", "chunk-blending", "--episodes", "1", "--policies", "color_servo", "--kinds", "forward", "--json"]
    for name in ("a.json", "b.json"):
        assert main([*words, str(tmp_path / name)]) == 0
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    blendings = json.loads((tmp_path / "a.json").read_text())["policies"]["color_servo"]
    assert [one["done"] for one in blendings.values()] == [1, 1, 1]
    assert blendings["linear"]["linear.x"]["mean"] < blendings["latest"]["linear.x"]["mean"]
    assert "| color_servo | temporal_ensemble | 1 of 1 |" in capsys.readouterr().out
