"""vla record on a suite that is played here: what is published becomes a dataset."""
import argparse
import threading
import time

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="datasets need pyarrow")
pytest.importorskip("av", reason="datasets need PyAV")

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
                                 "wait": 3.0, **given})


class Suite:
    """Observations and reports at 50 Hz, as long as it is `with`."""

    def __init__(self, around):
        self.images = around.speaker(ObservationMessage, "observation", IMAGES)
        self.reports = around.speaker(SafetyReport, "safety_report", EVENTS)
        self.instruction_id, self.text, self.state = 1, "turn left", SafetyReport.ACTIVE
        around.node.create_timer(0.02, self.live)
        around.spin()

    def live(self):
        now = time.time_ns()
        report = SafetyReport(state=self.state, instruction_id=self.instruction_id, channels=["linear.x", "gripper"])
        report.header.stamp = convert.time_message(now)
        report.emitted = convert.float_array([0.1 * self.instruction_id, float("nan")])
        self.reports.publish(report)
        image = np.full((32, 32, 3), 60 * self.instruction_id, np.uint8)
        self.images.publish(convert.observation_message(Observation(
            now, Instruction(now, self.instruction_id, self.text), {"front": image}, {"arm": 0.5, "odom.x": 2.0})))


def test_two_instructions_are_two_episodes(around, tmp_path, capsys):
    suite, interrupt, codes = Suite(around), Interrupt(), []
    thread = threading.Thread(target=lambda: codes.append(live(arguments(tmp_path / "set"), interrupt)))
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
        assert 0.7 * 20 <= episode.end - episode.start <= 1.7 * 20
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
