"""The bench's summary and command line, without processes."""
from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="the bench's variants need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="needs the messages: colcon build, then source install/setup.bash")
pytest.importorskip("cv_bridge", reason="the plain pipeline needs cv_bridge")

from vla_ros.bench.bench_pipeline import arguments_of, ratios, soak_growth, summary
from vla_ros.bench.pipeline_measure import LatencySample
from vla_ros.bench.pipeline_table import show
from vla_ros.bench.pipeline_trial import PipelineTrial, Usage
from vla_ros.bench.source import make_images
from vla_ros.bench.variants import BY_NAME, TRACE, VARIANTS
from vla_ros.core.composed import split
from vla_ros.core.fastdds import PROFILES
from vla_ros.operator.processes import THRIFT

MS = 1_000_000


def trial(latency: int) -> PipelineTrial:
    return PipelineTrial(sent=4, sent_in_window=3, samples=[LatencySample(i, latency * MS, MS) for i in range(3)],
                 commands=[0, 20 * MS, 45 * MS], inferred=4, stops=["slow"],
                 diagnostics={
                     "camera_ingest: state": {
                         "dropped: bad image": "1", "p50 (ms)": "0.5", "p99 (ms)": "2"},
                     "camera_ingest: image": {"Events since startup": "4"}},
                 usage={"gate": Usage(90.0, 60.0, 50.0, 7.0)})


def test_rounds_are_put_together() -> None:
    out = summary("ours", [trial(6), trial(8)])
    assert out["sent"] == 8 and out["received"] == 8 and out["commanded_in_window"] == 6
    assert out["latency_ms"]["p50"] == 7.0 and out["latency_less_policy_ms"]["p50"] == 6.0
    assert out["rounds_p50_ms"] == [6.0, 8.0] and out["gate_late_ms"]["max"] == 5.0
    assert out["drops"] == {"camera_ingest: bad image": 2} and out["stops"] == ["slow", "slow"]
    assert out["stages_ms"] == {"camera_ingest": {"p50": 0.5, "p99": 2.0}}
    assert "paired" not in out  # nobody said, so nobody claims


def test_without_samples_there_are_no_figures(capsys: pytest.CaptureFixture[str]) -> None:
    results = {"ours": summary("ours", [trial(5)]), "floor": summary("floor", [PipelineTrial(problem="it did not start")])}
    assert results["floor"]["latency_ms"] == {} and ratios(results)["ours/floor p50"] is None
    show({"variants": results, "ratios": ratios(results)})
    said = capsys.readouterr().out
    assert "it did not start" in said and "ours/floor" not in said and "the gate stopped, and was armed anew: slow" in said


def test_ratios() -> None:
    results = {"ours": summary("ours", [trial(5)]), "plain": summary("plain", [trial(20)])}
    assert ratios(results)["ours/plain p50"] == 0.25
    results["ours_composed"] = summary("ours_composed", [trial(4)])
    assert ratios(results)["ours_composed/plain p50"] == 0.2 and ratios(results)["ours_composed/ours p50"] == 0.8
    assert "ours/ours_composed p50" not in ratios(results)  # the same once more


def test_the_suite_s_processor_time_is_without_whoever_only_listens_and_without_rounds_that_failed() -> None:
    heard = trial(5)
    heard.usage = {"gate": Usage(90.0, 60.0, 50.0, 8.0), TRACE: Usage(80.0, 60.0, 50.0, 2.0)}
    results = {"ours": summary("ours", [trial(5)]), "ours_traced": summary("ours_traced", [heard, PipelineTrial(problem="it died")])}
    assert results["ours_traced"]["cpu_percent"] == 8.0
    assert ratios(results)["ours_traced/ours cpu"] == pytest.approx(8 / 7, abs=1e-3)


def test_variants_that_are_disturbed_are_run_only_by_name() -> None:
    assert not set(BY_NAME) & set(arguments_of([]).names)
    assert arguments_of(["--only", "ours,ours_traced"]).names == ["ours", "ours_traced"]


def test_growth_needs_two_looks() -> None:
    assert soak_growth([{"gate": 50.0}]) == {}
    assert soak_growth([{"gate": 50.0}, {"gate": 70.0}, {"gate": 51.0}])["gate"]["percent"] == 2.0


@pytest.mark.parametrize(("words", "sentence"), [
    (["--only", "ours,mine"], "unknown variant 'mine'; known are: ours"), (["--seconds", "0"], "--seconds is 0"),
    (["--rate", "-1"], "--rate is -1"), (["--soak", "0"], "--soak is 0"), (["--rounds", "0"], "--rounds is 0"),
    (["--seconds", "nan"], "--seconds is nan"), (["--size", "640"], "--size is '640'; give WIDTHxHEIGHT"),
    (["--size", "7x8"], "--size is '7x8'"), (["--cameras", "2", "--only", "floor"], "--cameras is 2, and the floor has one"), (["--size", "axb"], "--size is 'axb'"), (["--size", "8x8193"], "from 8 to 8192")])
def test_bad_arguments_are_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        arguments_of(words)


def test_the_variants_differ_in_what_they_claim() -> None:
    plain, profile = VARIANTS["plain"].environment(), VARIANTS["plain_profile"].environment()
    assert not any(name in plain for name in (*PROFILES, *THRIFT))
    assert any(name in profile for name in PROFILES) and not any(name in profile for name in THRIFT)
    ours = VARIANTS["ours"].environment()
    assert VARIANTS["plain_tuned"].environment() == VARIANTS["floor"].environment() == ours
    assert len(VARIANTS["plain"].commands(1)) == 5 and len(VARIANTS["ours"].commands(1)) == 6
    assert len(VARIANTS["floor"].commands(1)) == 4 and len(VARIANTS["ours_composed"].commands(1)) == 4
    assert len(VARIANTS["plain"].commands(2)) == 6 and len(VARIANTS["ours"].commands(2)) == 7
    assert len(VARIANTS["ours_composed"].commands(2)) == 4  # the second camera is in the process, too
    nodes, _ = split(VARIANTS["ours_composed"].commands(2)["composed"][3:])
    assert [kind for kind, _ in nodes] == ["camera_ingest", "camera_ingest", "synchronizer", "inference"]
    assert "floor" not in arguments_of(["--cameras", "2"]).names
    assert arguments_of(["--size", "1280x720"]).size == (1280, 720) and arguments_of([]).size == (640, 480)


def test_images_differ_and_fit() -> None:
    messages = make_images(480, 640)
    assert len({bytes(message.data) for message in messages}) == len(messages)
    assert all(len(message.data) == 640 * 480 * 3 == message.step * message.height for message in messages)
