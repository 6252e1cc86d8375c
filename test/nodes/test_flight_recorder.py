"""The flight recorder as a node: what the suite says is in its files, and nobody waits for it."""
import os
import threading
import time

import numpy as np
import pytest

pytest.importorskip("mcap", reason="the flight recorder needs mcap")
pytest.importorskip("rosbags", reason="its files are read by rosbags")
from entities import subscriptions_of
from rclpy.serialization import serialize_message
from robots import robot_file
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String

from vla_ros.cli.main import main
from vla_ros.datasets.bag_stream import BagStream, bag_head
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, HALTS, IMAGES, JOINTS, LATCHED, WORDS
from vla_ros.nodes.gate.outputs import ONLOOKERS
from vla_ros.operator.blackbox import node as node_module
from vla_ros.operator.blackbox.bag_file import bag_files
from vla_ros.operator.blackbox.node import Blackbox
from vla_ros_msgs.msg import Fault, Halt, Instruction, SafetyReport

ROBOT = robot_file()


class Suite:
    """Reports at 50 Hz, images at 30 Hz and joint states, and a recorder that hears them."""

    def __init__(self, around, folder, **parameters):
        self.around, self.folder = around, folder
        self.state, self.reason, self.count = SafetyReport.ACTIVE, "", 0
        self.reports = around.speaker(SafetyReport, "safety_report", EVENTS)
        self.images = around.speaker(Image, "frame", IMAGES)
        self.joints = around.speaker(JointState, "/joint_states", JOINTS)
        self.faults = around.speaker(Fault, "fault", EVENTS)
        self.words = around.speaker(String, "instruction", WORDS)
        self.stops = around.speaker(Bool, "stop", EVENTS)
        self.halts = around.speaker(Halt, "halt", HALTS)
        self.accepted = around.speaker(Instruction, "instruction/accepted", LATCHED)
        self.accepted.publish(Instruction(instruction_id=7, text="go to the red block"))
        self.halts.publish(Halt())
        around.node.create_timer(0.02, self.live)
        self.node = around.start(Blackbox, robot_file=ROBOT, blackbox_folder=str(folder), **parameters)
        around.wait(lambda: len(self.node._ring) > 20)

    def live(self):
        self.count += 1
        verdict = SafetyReport.STOPPED if self.state == SafetyReport.STOPPED else SafetyReport.PASSED
        report = SafetyReport(state=self.state, verdict=verdict, reason=self.reason, channels=["linear.x"], instruction_id=7)
        report.header.stamp = convert.time_message(time.time_ns())
        report.emitted = report.requested = convert.float_array([0.1])
        self.reports.publish(report)
        self.joints.publish(JointState(name=["gripper_joint"], position=[0.01]))
        image = np.full((24, 32, 3), (200, 100, 50), np.uint8)
        self.images.publish(convert.image_message(image, time.time_ns(), "camera"))

    def file(self, seconds=8.0):
        """The newest file, as soon as there is one."""
        return self.around.wait(lambda: bag_files(self.folder) if self.folder.exists() else [], seconds)[-1]


def test_what_the_suite_says_is_in_the_file_that_an_operator_asks_for(around, tmp_path):
    suite = Suite(around, tmp_path / "new" / "folder")
    time.sleep(0.5)
    answer = around.call("/blackbox/write")
    assert answer.success and "messages of the last" in answer.message
    found = {}
    for message in BagStream(suite.file()):
        found.setdefault(message.topic, []).append(message)
    assert found["/instruction/accepted"][0].message.text == "go to the red block", "said before it began"
    assert len(found["/safety_report"]) > 20 and len(found["/joint_states"]) > 20
    assert any(message.message.node == "blackbox" for message in found["/heartbeat"])
    images = [message.message for message in found["/frame/compressed"]]
    assert 2 <= len(images) <= len(found["/safety_report"]) / 3, "images are kept ten times a second"
    import cv2
    pixels = cv2.imdecode(np.asarray(images[0].data), cv2.IMREAD_COLOR)[..., ::-1]
    assert pixels.shape == (24, 32, 3) and np.abs(pixels.reshape(-1, 3).mean(axis=0) - (200, 100, 50)).max() < 4
    received = [message.received for message in found["/safety_report"]]
    assert received == sorted(received)
    gaps = [message.received - message.published for message in found["/safety_report"]]
    assert 0 <= np.median(gaps) < 50_000_000


def test_the_qos_that_a_topic_is_published_with_is_kept(around, tmp_path):
    from rosbags.highlevel import AnyReader
    suite = Suite(around, tmp_path)
    around.call("/blackbox/write")
    with AnyReader([suite.file()]) as reader:
        profiles = {each.topic: each.ext.offered_qos_profiles for each in reader.connections}
    (accepted,) = profiles["/instruction/accepted"]
    assert (accepted.reliability.value, accepted.durability.value) == (1, 1)
    (frame,) = profiles["/frame/compressed"]
    assert (frame.reliability.value, frame.durability.value) == (2, 2)


def test_what_people_publish_by_hand_is_not_listened_to(around, tmp_path):
    """`ros2 topic pub --once` publishes as soon as it knows one listener: the gate's, and not the recorder's."""
    suite = Suite(around, tmp_path)
    time.sleep(0.3)
    assert not suite.words.get_subscription_count() and not suite.stops.get_subscription_count()


def test_a_stop_is_written_with_what_came_after_it(around, tmp_path, capsys):
    suite = Suite(around, tmp_path)
    time.sleep(0.5)
    suite.state, suite.reason = SafetyReport.STOPPED, "the stop is pressed"
    path = suite.file()
    stream, _ = bag_head(path)
    assert stream.metadata["reasons"] == '["the gate stopped: the stop is pressed"]'
    reports = [message.message for message in BagStream(path, lambda topic, kind: kind.endswith("SafetyReport"))]
    assert reports[0].state == SafetyReport.ACTIVE and reports[-1].state == SafetyReport.STOPPED
    stamps = [convert.stamp_ns(report.header.stamp) for report in reports if report.state == SafetyReport.STOPPED]
    assert stamps[-1] - stamps[0] > 1_500_000_000, "two seconds of it"
    assert main(["blackbox", str(path)]) == 0
    assert "STOPPED by" in capsys.readouterr().out


def test_faults_and_halts_are_written_once_for_a_storm_of_them(around, tmp_path):
    suite = Suite(around, tmp_path, blackbox_settle=30.0)
    for number in range(30):
        suite.faults.publish(Fault(kind="vision", source=f"camera_{number % 5}", text="black"))
        suite.halts.publish(Halt(halted=True, reason=f"number {number}"))
        time.sleep(0.1)
    stream, _ = bag_head(suite.file())
    assert "vision fault of camera_0: black" in stream.metadata["reasons"]
    assert "the supervisor halted the robot: number 0" in stream.metadata["reasons"]
    time.sleep(0.5)
    assert len(bag_files(tmp_path)) == 1


def test_the_end_of_the_process_is_written(around, tmp_path):
    suite = Suite(around, tmp_path)
    suite.node.leave()
    stream, _ = bag_head(suite.file(0.1))
    assert stream.metadata["reasons"] == '["the process was told to end"]'


def test_it_does_not_stand_still_while_a_file_is_written(around, tmp_path, monkeypatch):
    began, go_on = threading.Event(), threading.Event()

    def slow(folder, messages, facts, most_files):
        began.set()
        assert go_on.wait(5.0)
        return folder / "x.mcap"
    monkeypatch.setattr(node_module, "write_bag", slow)
    suite = Suite(around, tmp_path)
    around.call("/blackbox/write")
    assert began.wait(5.0)
    before = len(suite.node._ring)
    around.wait(lambda: len(suite.node._ring) > before + 50)
    go_on.set()
    around.wait(lambda: suite.node._last_file.endswith("x.mcap"))


def test_an_end_while_a_file_is_written_writes_no_second_one_beside_it(around, tmp_path, monkeypatch):
    began, go_on, calls = threading.Event(), threading.Event(), []

    def slow(folder, messages, facts, most_files):
        calls.append(facts.incident)
        began.set()
        assert go_on.wait(10.0)
        return folder / "x.mcap"
    monkeypatch.setattr(node_module, "write_bag", slow)
    suite = Suite(around, tmp_path)
    around.call("/blackbox/write")
    assert began.wait(5.0)
    suite.node.leave()
    assert calls == [False], "asked for: no incident"
    go_on.set()


def test_a_truncated_report_and_a_truncated_frame_cost_nothing_but_themselves(around, tmp_path):
    suite = Suite(around, tmp_path)

    def count():
        return sum(message.topic == "/joint_states" for message in suite.node._ring.messages())
    before, sent = count(), suite.count
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        suite.reports.publish(serialize_message(SafetyReport())[:9])
        suite.images.publish(serialize_message(Image())[:9])
        time.sleep(0.02)
    around.wait(lambda: count() - before >= 0.9 * (suite.count - sent))


@pytest.mark.skipif(not os.path.exists("/proc"), reason="a folder that nobody can write to")
def test_a_folder_that_nobody_can_write_to_is_a_sentence_and_it_goes_on(around, tmp_path):
    (tmp_path / "file").touch()
    suite = Suite(around, tmp_path / "file" / "folder")
    around.call("/blackbox/write")
    around.wait(lambda: "the flight recorder wrote nothing to" in suite.node.problem)
    before = len(suite.node._ring)
    around.wait(lambda: len(suite.node._ring) > before + 20)
    assert suite.node.active


def test_its_memory_stays_within_its_bounds(around, tmp_path):
    suite = Suite(around, tmp_path, blackbox_seconds=1.0, blackbox_megabytes=1.0)
    time.sleep(2.5)
    assert 0.5 < suite.node._ring.seconds() <= 1.2 and suite.node._ring.size <= 1_000_000
    values = suite.node.diagnose()
    assert float(values["seconds"]) <= 1.2 and float(values["megabytes"]) <= 1.0
    assert {"seconds", "megabytes", "files", "last_file"} <= set(values)


def test_what_is_kept_and_what_is_being_written_are_together_within_its_megabytes(around, tmp_path, monkeypatch):
    began, go_on, written = threading.Event(), threading.Event(), []

    def slow(folder, messages, facts, most_files):
        written.extend(messages)
        began.set()
        assert go_on.wait(20.0)
        return folder / "x.mcap"
    monkeypatch.setattr(node_module, "write_bag", slow)
    suite = Suite(around, tmp_path, blackbox_megabytes=1.0)
    texts = around.speaker(String, "feedback", EVENTS)

    def fill():
        for _ in range(80):
            texts.publish(String(data="x" * 20_000))
            time.sleep(0.01)
    fill()
    around.call("/blackbox/write")
    assert began.wait(5.0)
    fill()
    around.wait(lambda: written[-1] not in suite.node._ring.messages())
    held = {id(message): message.size for message in [*written, *suite.node._ring.messages()]}
    assert 700_000 < sum(held.values()) <= 1_000_000
    go_on.set()


def test_without_mcap_it_says_what_to_install_and_hears_nothing(around, tmp_path, monkeypatch):
    sentence = "the flight recorder needs the Python module mcap: pip install mcap; nothing is recorded"
    monkeypatch.setattr(node_module, "missing_library", lambda: sentence)
    node = around.start(Blackbox, robot_file=ROBOT, blackbox_folder=str(tmp_path))
    assert node.active and not node._readers
    answer = around.call("/blackbox/write")
    assert (answer.success, answer.message) == (False, sentence)
    assert node.diagnose()["not recording"] == sentence
    node.leave()
    assert not list(tmp_path.iterdir())


def test_a_frame_that_is_none_costs_nothing_but_itself(around, tmp_path):
    suite = Suite(around, tmp_path)
    bad = Image(height=24, width=32, encoding="bgr8")
    for _ in range(30):
        suite.images.publish(bad)
        time.sleep(0.01)
    before = len(suite.node._ring)
    around.wait(lambda: len(suite.node._ring) > before + 20)


def test_no_publisher_waits_for_it(around, tmp_path):
    """Reliable are only the readers of what is latched: a word now and then."""
    suite = Suite(around, tmp_path)
    reliable = {each.topic_name for each in subscriptions_of(suite.node) if int(each.qos_profile.reliability) == 1
                and not each.topic_name.endswith("parameter_events")}
    assert reliable == {"/instruction/accepted", "/halt"}


def test_the_gate_does_not_take_it_for_a_robot_that_listens():
    assert "blackbox".startswith(ONLOOKERS)
