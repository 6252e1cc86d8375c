"""vla record on a suite that is played here: what is published becomes a dataset."""
import argparse
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="datasets need pyarrow")
pytest.importorskip("av", reason="datasets need PyAV")

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_ros.core.types import Instruction, Observation
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES
from vla_ros.operator.record_live import live
from vla_ros_msgs.msg import Observation as ObservationMessage
from vla_ros_msgs.msg import SafetyReport


class Interrupt:
    """Ctrl-C, when told to."""

    pressed = False

    def check(self):
        if self.pressed:
            raise KeyboardInterrupt("SIGINT")


def arguments(folder, **given):
    return argparse.Namespace(**{"out": str(folder), "namespace": "", "fps": 20, "robot": "fake", "episodes": 0,
                                 "wait": 20.0, "append": False, "by_hand": False, **given})


class Suite:
    """Observations and reports at 50 Hz, as long as it is `with`."""

    def __init__(self, around):
        self.images = around.speaker(ObservationMessage, "observation", IMAGES)
        self.reports = around.speaker(SafetyReport, "safety_report", EVENTS)
        self.instruction_id, self.text, self.state, self.source = 1, "turn left", SafetyReport.ACTIVE, "policy"
        around.node.create_timer(0.02, self.live)
        around.spin()

    def live(self):
        now = time.time_ns()
        report = SafetyReport(state=self.state, instruction_id=self.instruction_id, channels=["linear.x", "gripper"],
                              control_source=self.source)
        report.header.stamp = convert.time_message(now)
        report.requested = convert.float_array([0.2 * self.instruction_id, float("nan")])
        report.emitted = convert.float_array([0.1 * self.instruction_id, float("nan")])
        self.reports.publish(report)
        image = np.full((32, 32, 3), 60 * self.instruction_id, np.uint8)
        self.images.publish(convert.observation_message(Observation(
            now, Instruction(now, self.instruction_id, self.text), {"front": image}, {"arm": 0.5, "odom.x": 2.0})))


def test_two_instructions_are_two_episodes(around, tmp_path, capsys):
    suite, interrupt, codes = Suite(around), Interrupt(), []
    thread = threading.Thread(target=lambda: codes.append(live(arguments(tmp_path / "set", fps=10), interrupt)))
    thread.start()
    time.sleep(1.6)
    suite.instruction_id, suite.text = 2, "go forward"
    time.sleep(1.2)
    suite.state = SafetyReport.HOLDING
    time.sleep(0.2)
    interrupt.pressed = True
    thread.join(timeout=5.0)
    assert codes == [0]
    dataset = Dataset(tmp_path / "set")
    assert [(one.task, one.instruction_id) for one in dataset.episodes] == [("turn left", 1), ("go forward", 2)]
    assert dataset.names["action"] == ("linear.x",)  # nobody commanded the gripper
    for episode in dataset.episodes:
        assert 0.7 * 10 <= episode.end - episode.start <= 1.7 * 10
        assert dataset.action[episode.start] == pytest.approx([0.1 * episode.instruction_id])
        assert dataset.image(episode.start, "front").mean() == pytest.approx(60 * episode.instruction_id, abs=2)
        assert dataset.frame(episode.start).state == pytest.approx({"arm": 0.5, "odom.x": 2.0})
    assert "2 episodes" in capsys.readouterr().out


def test_nobody_there_is_a_sentence(around, tmp_path, capsys):
    assert live(arguments(tmp_path / "set", wait=0.3), Interrupt()) == 1
    assert "nobody publishes /safety_report" in capsys.readouterr().out


def test_what_cannot_be_recorded_ends_it_with_a_sentence(around, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter").write_text("dear")
    with pytest.raises(ValueError, match="is not empty"):
        live(arguments(tmp_path / "used"), Interrupt())
    Suite(around).text = "turn left"
    with pytest.raises(ValueError, match="fps is 500"):  # found at the first image, in the thread that spins
        live(arguments(tmp_path / "set", fps=500), Interrupt())


class Person:
    """Calls the recorder's services, and hears its diagnostics."""

    def __init__(self, around):
        self.around, self.heard = around, around.hear(DiagnosticArray, "/diagnostics", EVENTS)
        self.answers = around.hear(String, "feedback", EVENTS)
        self.notes = around.speaker(String, "record/note", EVENTS)
        words = ("start", "stop", "discard", "again", "success", "failure")
        self.clients = {word: around.node.create_client(Trigger, f"record/{word}") for word in words}

    def call(self, word):
        client = self.clients[word]
        assert client.wait_for_service(15.0), word
        future = client.call_async(Trigger.Request())
        end = time.monotonic() + 10.0
        while not future.done() and time.monotonic() < end:
            time.sleep(0.01)
        answer = future.result()
        return answer.success, answer.message

    def status(self):
        """The newest that the recorder said, as a dict."""
        time.sleep(1.5)
        for array in reversed(self.heard):
            for status in array.status:
                if status.name.endswith("recorder"):
                    return {pair.key: pair.value for pair in status.values}
        return None


def test_a_person_says_where_episodes_begin_and_how_they_ended(around, tmp_path):
    suite, person, interrupt, codes = Suite(around), Person(around), Interrupt(), []
    options = arguments(tmp_path / "set", by_hand=True, fps=10)  # a fifth of the images: a busy machine loses some
    thread = threading.Thread(target=lambda: codes.append(live(options, interrupt)))
    thread.start()
    try:
        assert person.call("success") == (False, "no episode is being recorded")
        time.sleep(0.3)
        assert person.call("start") == (True, "recording: 'turn left'")
        status = person.status()
        assert status["recording"] == "yes" and status["episode"] == "0" and int(status["frames"]) > 2
        assert float(status["seconds"]) > 0.2 and status["control_source"] == "policy" and status["dataset"] == options.out
        suite.source = "teleop"
        time.sleep(0.6)
        person.notes.publish(String(data="it went around the chair"))
        around.wait(lambda: person.answers)
        assert person.answers[0].data == "noted with episode 0: it went around the chair"
        done, line = person.call("success")
        assert done and line.startswith("episode 0: 'turn left'") and line.endswith("a success")
        assert person.status()["recording"] == "no"
        person.call("start")
        time.sleep(0.8)
        assert person.call("again")[0] and person.call("discard")[0]
    finally:
        interrupt.pressed = True
        thread.join(timeout=10.0)
    assert codes == [0]
    dataset = Dataset(tmp_path / "set")
    episode, = dataset.episodes
    by = dataset.marked("intervention")
    assert episode.success and not by[0] and by[-1] and 0.4 * 10 <= by.sum() <= 1.6 * 10
    assert dataset.control_source[0] == "policy" and dataset.control_source[-1] == "teleop"
    assert dataset.vector("gate.requested")[3] == pytest.approx([0.2])
    assert "around the chair" in (tmp_path / "set/meta/notes.jsonl").read_text()
    contract, = json.loads((tmp_path / "set/meta/contract.json").read_text())
    assert contract["robot"] == {"missing": "no node said which"} and contract["resampling"]["fps"] == 10


def test_a_full_disk_is_a_sentence_and_what_was_saved_stays(around, tmp_path, monkeypatch):
    from vla_ros.datasets.lerobot.write import DatasetWriter
    whole = DatasetWriter.add_frame

    def add_frame(writer, *given, **more):
        if writer.episodes == 1 and writer.length == 3:
            raise OSError(28, "No space left on device")
        whole(writer, *given, **more)

    monkeypatch.setattr(DatasetWriter, "add_frame", add_frame)
    suite, problems = Suite(around), []

    def record():
        try:
            live(arguments(tmp_path / "set"), Interrupt())
        except ValueError as problem:
            problems.append(str(problem))

    thread = threading.Thread(target=record)
    thread.start()
    time.sleep(1.6)
    suite.instruction_id = 2
    thread.join(timeout=10.0)
    assert "No space left on device; the 1 episodes before are whole; make room" in problems[0]
    assert len(Dataset(tmp_path / "set").episodes) == 1


def test_a_recorder_that_is_killed_loses_the_episode_under_way_and_says_so(around, tmp_path):
    Suite(around)
    person = Person(around)
    command = [sys.executable, "-m", "vla_ros.cli.main", "record", "--out", str(tmp_path / "set"), "--by-hand", "--fps", "5",
               "--namespace", "/", "--wait", "20"]

    def wait_for(condition):
        end = time.monotonic() + 40.0
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.1)

    def kept():
        """An episode was saved: not the first one, perhaps, while modules are still being loaded."""
        if not person.clients["start"].service_is_ready():
            return False
        person.call("start")
        time.sleep(1.5)
        return person.call("success")[0]

    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        wait_for(kept)
        assert person.call("start")[0]
        wait_for((tmp_path / "set/meta/under_way.json").exists)
    finally:
        process.kill()
        process.communicate()
    assert len(Dataset(tmp_path / "set").episodes) == 1
    again = subprocess.Popen([*command, "--append"], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        # the one that was killed still stands in the graph for a while, and answers nothing
        wait_for(lambda: not (tmp_path / "set/meta/under_way.json").exists())
    finally:
        again.send_signal(signal.SIGINT)
        said, _ = again.communicate(timeout=40.0)
    assert "was cut off in episode 1 ('turn left', begun " in said and "the 1 before it are whole" in said
    assert len(Dataset(tmp_path / "set").episodes) == 1
