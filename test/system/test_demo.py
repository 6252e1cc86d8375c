"""`vla demo` and the operator's verbs as processes: against a robot without physics, and for real."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock, patch

import psutil
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("vla_ros_msgs")
cv2 = pytest.importorskip("cv2")

from std_msgs.msg import Bool

from vla_ros.cli.main import main
from vla_ros.demo.scenario import Demo
from vla_ros.demo.stack import REFUSED_S, Failed
from vla_ros.nodes.node_parameters import NODES
from vla_ros.operator.client import spinning
from vla_ros.operator.session import own_domain

FAKE = Path(__file__).with_name("fake_suite.py")
# The demo with one process that plays all of the others, which sleep. Film and plots cost more than all of them: only where
# somebody looks at them.
WITH_FAKE = f"""
import sys
from vla_ros.cli import main
from vla_ros.demo import film, run
run.node_command = lambda *words, **more: [sys.executable, {str(FAKE)!r}, sys.argv[1]]
run.suite_nodes = lambda *words, **more: dict.fromkeys({NODES[:-1]!r}, ["sleep", "600"])
if sys.argv[2] == "unfilmed":
    film.FPS = 1.0
    run.draw_path = run.draw_latency = lambda *seen: None
sys.exit(main.main(sys.argv[3:]))
"""


def environment(**more: str) -> dict[str, str]:
    """As a newcomer has it: no domain chosen."""
    environ = {name: value for name, value in os.environ.items()
               if name not in ("ROS_DOMAIN_ID", "ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE")}
    return {**environ, "PYTHONUNBUFFERED": "1", **more}


def start(*argv: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *argv], env=environment(**more), text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, start_new_session=True)


def start_fake(mode: str, *words: str, film: str = "unfilmed", **more: str) -> subprocess.Popen[str]:
    # No page: its port is one for all tests at a time, and its start a second of a core.
    return start("-c", WITH_FAKE, mode, film, "demo", "--no-view", "--no-console", *words, **more)


def start_real(*words: str) -> subprocess.Popen[str]:
    pytest.importorskip("mujoco")
    return start("-m", "vla_ros.cli.main", "demo", "--no-view", *words)


def finish(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Exit code and what was said; kills its own when it takes too long."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        pytest.fail(f"the demo took more than {seconds} s: {process.communicate()[0]}")
    return process.returncode, said


def family(process: subprocess.Popen[str], least: int, seconds: float = 30.0) -> list[psutil.Process]:
    """The processes that the demo started, once there are `least` of them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= least:
            return found
        time.sleep(0.05)
    pytest.fail(f"fewer than {least} processes were started: {process.communicate()[0]}")


def until_said(process: subprocess.Popen[str], words: str) -> None:
    """Reads as far as the line with `words`."""
    while words:
        line = process.stdout.readline()
        assert line, f"the demo ended before it said '{words}'"
        if words in line:
            return


def assert_gone(processes: list[psutil.Process]) -> None:
    left = [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not left, f"still running: {left}"


def assert_images(out: Path) -> None:
    for name in ("path.png", "latency.png", "still.png"):
        image = cv2.imread(str(out / name))
        assert image is not None and image.std() > 5, f"{name} is missing or blank"
    video = cv2.VideoCapture(str(out / "demo.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) > 30
    assert video.read()[0]


def test_three_instructions_and_two_stops_with_a_good_robot(tmp_path):
    code, said = finish(start_fake("good", "--out", str(tmp_path), film="filmed"), 60)
    assert code == 0, said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ok"] and [result["done"] for result in summary["instructions"]] == [True] * 3
    assert [stop["kind"] for stop in summary["stops"]] == ["the word", "the button"]
    assert "chosen at random" in said and "no process is left" in said and said.count("done    ") == 3
    assert summary["latency_camera_to_command"]["p50_ms"] == 7.0
    assert_images(tmp_path)


def test_a_policy_s_own_words_are_judged_by_its_own_function(tmp_path):
    (tmp_path / "dance.py").write_text("def swung(instruction, start, now):\n    return abs(now.yaw - start.yaw) > 1.0\n")
    demo = start_fake("good", "--out", str(tmp_path), "--success", "dance:swung", "swing left",
                      PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    code, said = finish(demo, 60)
    assert code == 0, said
    assert "1. “swing left”" in said and "success function 'dance:swung' says yes" in said


def test_a_robot_that_does_not_stop_fails_the_demo(tmp_path):
    code, said = finish(start_fake("deaf", "--out", str(tmp_path), "go to the red block", film="filmed"), 60)
    assert code == 1, said
    assert ": it still moved after " in said and "NOT STOPPED" in said
    assert not json.loads((tmp_path / "summary.json").read_text())["ok"]


def test_words_that_are_refused_and_a_robot_that_does_nothing_fail_the_demo_and_it_says_why(tmp_path):
    demo = start_fake("lazy", "--seconds-per-instruction", "2", "--out", str(tmp_path), "nonsense", "turn left")
    code, said = finish(demo, 60)
    assert code == 1, said
    assert [result["done"] for result in json.loads((tmp_path / "summary.json").read_text())["instructions"]] == [False] * 2
    assert "the instruction was not accepted: 'nonsense' is not understood" in said
    assert "NOT DONE  2. “turn left”" in said and "never given" in said


def test_a_sentence_that_the_policy_refuses_ends_with_its_sentence_and_not_with_the_time(tmp_path):
    began = time.monotonic()
    code, said = finish(start_fake("good", "--seconds-per-instruction", "300", "--out", str(tmp_path),
                                   "fetch the red ball and then face the wall"), 60)
    assert code == 1 and time.monotonic() - began < 60, said
    assert "not understood: nothing of it is done: 'the wall' is no thing" in said and "never given" not in said
    result, = json.loads((tmp_path / "summary.json").read_text())["instructions"]
    assert result["refused"] and not result["done"]


@pytest.mark.parametrize("number, moment", [
    (signal.SIGINT, ""), (signal.SIGINT, "instruction 1"), (signal.SIGTERM, "unexpected stop")])
def test_a_signal_leaves_nothing_behind(tmp_path, number, moment):
    demo = start_fake("good", "--out", str(tmp_path))
    until_said(demo, moment)
    processes = family(demo, 1)
    demo.send_signal(number)
    code, said = finish(demo, 20)
    assert code == 130, said
    assert number.name in said and "no process is left" in said
    assert_gone(processes)


@pytest.mark.parametrize("words, until, kept", [(["--stay"], "now it is yours", True), ([], "instruction 1 of", False)])
def test_what_an_earlier_run_left_is_kept_until_this_one_has_its_own(tmp_path, words, until, kept):
    earlier = tmp_path / "path.png"
    earlier.write_bytes(b"of before")
    demo = start_fake("good", "--out", str(tmp_path), *words)
    until_said(demo, until)
    demo.send_signal(signal.SIGINT)
    code, said = finish(demo, 20)
    assert code == 130, said
    assert earlier.exists() is kept


def test_a_killed_demo_leaves_nothing_behind(tmp_path):
    demo = start_fake("good", "--out", str(tmp_path))
    until_said(demo, "instruction 1")
    processes = family(demo, 1)
    demo.kill()
    demo.communicate()
    psutil.wait_procs(processes, timeout=5.0)
    assert_gone(processes)


def test_a_simulator_that_dies_ends_the_demo_with_a_sentence(tmp_path):
    demo = start_fake("good", "--out", str(tmp_path))
    family(demo, 1)[0].kill()
    code, said = finish(demo, 30)
    assert code == 1 and "ended early: the simulator was ended by SIGKILL" in said, said


def test_the_operators_verbs(capsys):
    domain: dict[str, str] = {}
    own_domain(domain)

    def process(*words: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-m", "vla_ros.cli.main", *words], text=True, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(**domain))
        return done.returncode, done.stdout

    def vla(*words: str) -> tuple[int, str]:
        """The same, without a process to start."""
        with patch.dict(os.environ, environment(**domain), clear=True):
            code = main(words)
        return code, "".join(capsys.readouterr())

    suite = subprocess.Popen([sys.executable, str(FAKE), "good"], env=environment(**domain))
    try:
        code, said = process("say", "go to the red block")
        assert code == 0 and "accepted: 'go to the red block'" in said and "DISARMED" in said
        code, said = vla("say", "nonsense")
        assert code == 1 and "not understood" in said
        assert vla("arm") == (0, "armed\n")
        code, said = vla("stop")
        assert code == 0 and "stopped" in said
        assert vla("arm")[0] == 1
        code, said = vla("reset")
        assert code == 1 and "still pressed" in said
        assert [vla(*words)[0] for words in (["stop", "--release"], ["reset"], ["disarm"])] == [0] * 3
    finally:
        suite.kill()
        suite.wait()
    for run, *words in ((process, "say", "--wait", "0.5", "hello"), (vla, "stop", "--wait", "0.5"), (vla, "arm", "--wait", "0.5")):
        code, said = run(*words)
        assert code == 1 and "domain" in said


def test_a_stop_is_pressed_until_the_gate_confirms_it_whoever_else_listens(capsys):
    domain: dict[str, str] = {}
    own_domain(domain)
    suites = []
    late = threading.Timer(2.0, lambda: suites.append(
        subprocess.Popen([sys.executable, str(FAKE), "good"], env=environment(**domain))))
    try:
        with patch.dict(os.environ, environment(**domain), clear=True), spinning("somebody_else") as node:
            node.create_subscription(Bool, "/vla/stop", lambda message: None, 10)
            late.start()
            assert main(["stop", "--wait", "20"]) == 0
            assert capsys.readouterr().out.startswith("stopped: ")
    finally:
        late.join()
        for suite in suites:
            suite.kill()
            suite.wait()


def test_a_stop_that_nobody_confirms_says_so_in_capitals(capsys):
    domain: dict[str, str] = {}
    own_domain(domain)
    with patch.dict(os.environ, environment(**domain), clear=True), spinning("somebody_else") as node:
        node.create_subscription(Bool, "/vla/stop", lambda message: None, 10)
        assert main(["stop", "--wait", "1"]) == 1
    assert capsys.readouterr().out.startswith("NOT STOPPED: the gate did not confirm it within 1 s")


@pytest.mark.parametrize("verb, answers, state, gives", [
    ("arm", [(False, "no /odom"), (True, "armed")], "DISARMED", "armed"),
    ("reset", [(False, "no answer")], "DISARMED", "no answer"),  # it was heard, but the answer was lost
    ("reset", [(False, "the stop is pressed")] * 99, "STOPPED", None),
])
def test_the_demo_asks_the_gate_again_until_it_is_done(verb, answers, state, gives):
    demo = Demo.__new__(Demo)
    demo.operator = Mock(call=Mock(side_effect=answers))
    demo.watch = Mock(moment=lambda: Mock(state=state))
    demo.wait = lambda condition, seconds: any(condition() for _ in range(3))
    there = {"arm": ("HOLDING", "ACTIVE"), "reset": ("DISARMED",)}[verb]
    if gives:
        assert demo._ask(verb, 1.0, there) == gives
    else:
        with pytest.raises(Failed, match="the gate does not reset: the stop is pressed"):
            demo._ask(verb, 1.0, there)


def test_a_node_that_refuses_to_be_configured_is_quoted_once_and_waited_for_a_while_only(monkeypatch):
    refusal = "inference could not be configured: policy 'sway:Sway' commands angular.z, but not 'linear.x'"
    demo = Demo.__new__(Demo)
    demo.watch = Mock(feedback=["gate: disarmed", refusal, refusal])
    demo.states = Mock(labels={"inference": "unconfigured"})
    demo._view = Mock()
    times = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: times[-1])
    told: dict[str, float] = {}
    for seconds in (100.0, 101.0, 100.0 + REFUSED_S):
        times.append(seconds)
        demo._heed_refusals(told)
    demo._view.say.assert_called_once_with(f"  {refusal}", "yellow")
    times.append(100.1 + REFUSED_S)
    demo.states.labels["inference"] = "active"  # what it waited for came
    demo._heed_refusals(told)
    demo.states.labels["inference"] = "unconfigured"
    with pytest.raises(Failed, match="commands angular.z, but not 'linear.x'"):
        demo._heed_refusals(told)


def test_the_whole_demo_for_real(tmp_path):
    demo = start_real("--seed", "449", "--out", str(tmp_path))  # a room with short ways
    processes = family(demo, 7)
    code, said = finish(demo, 180)
    logs = {path.name: path.read_text()[-2000:] for path in (tmp_path / "logs").glob("*.log")}
    assert code == 0, f"{said}\n{logs}"
    assert_gone(processes)
    assert_images(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ok"] and len(summary["instructions"]) == 3 and len(summary["stops"]) == 2
    assert "drives, on " + summary["engine"][:5] in said
    assert not summary["deaths"]
    assert summary["rates_hz"]["camera"] > 5 and summary["rates_hz"]["command"] > 20  # on a busy machine too


# At instruction 1 the fake suite is interrupted too, and what ends the real one there ends the whole demo above.
@pytest.mark.parametrize("least, moment", [
    (2, ""), pytest.param(7, "instruction 1", marks=pytest.mark.full)])
def test_ctrl_c_of_the_real_demo_leaves_nothing_behind(tmp_path, least, moment):
    demo = start_real("--out", str(tmp_path))
    until_said(demo, moment)
    processes = {*family(demo, least), *psutil.Process(demo.pid).children(recursive=True)}
    demo.send_signal(signal.SIGINT)
    code, said = finish(demo, 30)
    assert code == 130, said
    assert "no process is left" in said
    assert_gone(list(processes))
