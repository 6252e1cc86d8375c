"""camera_ingest and synchronizer: what goes wrong on the way from the camera reaches the supervisor, as long as it lasts."""
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from robots import robot_file
from sensor_msgs.msg import Image

from vla_ros.core.pairing import REPORT_DELAY_NS, PairingWatch
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATCHED, SENSOR
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros_msgs.msg import Fault, Instruction

RANDOM = np.random.default_rng(7)
SECOND = to_nanoseconds(1.0)


def make_image(mean=90):
    return np.clip(RANDOM.integers(mean - 20, mean + 20, (48, 64, 3)), 0, 255).astype(np.uint8)


class Camera:
    def __init__(self, around, **parameters):
        self.around = around
        self.faults = around.hear(Fault, "fault", EVENTS)
        self.speaker = around.speaker(Image, "image", SENSOR)
        self.node = around.start(CameraIngest, **{"policy": "constant", "fault_after": 0.5, **parameters})
        around.wait(lambda: self.speaker.get_subscription_count())

    def film(self, seconds, make, stamp=time.time_ns):
        """20 Hz, until a fault is reported; what it says, or an empty string."""
        del self.faults[:]
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.faults:
            self.speaker.publish(convert.image_message(make(), stamp(), "optical"))
            time.sleep(0.05)
        assert {(fault.source, fault.kind) for fault in self.faults} <= {("camera_ingest", "vision")}
        return self.faults[0].text if self.faults else ""


def test_a_camera_that_never_spoke_or_falls_silent_is_reported_and_reports_end_when_it_speaks(around):
    camera = Camera(around)
    around.wait(lambda: camera.faults and "no image for 0." in camera.faults[0].text)
    assert "on /image; is the camera's driver running?" in camera.faults[0].text
    assert camera.film(1.2, make_image) == ""
    around.wait(lambda: camera.faults, 2.0)
    around.wait(lambda: len(camera.faults) == 2, 2.0)  # as long as it lasts


def test_a_good_camera_is_not_reported(around):
    camera = Camera(around, frozen_after=0.5)
    assert camera.film(1.5, make_image) == ""


def test_a_frozen_camera_is_reported_and_at_once_after_its_node_was_cycled(around):
    camera = Camera(around, frozen_after=0.6, fault_after=5.0)
    still = make_image()
    assert "has not changed for 0." in camera.film(3.0, lambda: still)
    node = camera.node
    for transition in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure, node.trigger_activate):
        transition()
    node._reported.clear()
    started = time.monotonic()
    assert "has not changed" in camera.film(3.0, lambda: still)
    assert time.monotonic() - started < 0.5 + around.late(started)
    del camera.faults[:]
    time.sleep(0.1)
    assert camera.film(1.2, make_image) == ""


def test_a_black_image_is_reported_where_it_lasts(around):
    camera = Camera(around, frozen_after=60.0)
    assert camera.film(0.3, lambda: np.zeros((48, 64, 3), np.uint8)) == ""
    assert camera.film(0.3, make_image) == ""
    assert "black" in camera.film(2.0, lambda: np.zeros((48, 64, 3), np.uint8))


@pytest.mark.parametrize("still", [make_image(), np.zeros((48, 64, 3), np.uint8)], ids=["frozen", "black"])
def test_a_frozen_or_lasting_black_image_is_not_handed_on(around, still):
    """With a new stamp it would be a new make_image to everybody after; without it, the gate holds by its age."""
    camera = Camera(around, frozen_after=0.6)
    frames = around.hear(Image, "frame", IMAGES)
    assert camera.film(3.0, lambda: still)
    time.sleep(0.2)
    del frames[:]
    for _ in range(5):
        camera.speaker.publish(convert.image_message(still, time.time_ns(), "optical"))
        time.sleep(0.05)
    assert not frames
    camera.speaker.publish(convert.image_message(make_image(), time.time_ns(), "optical"))
    around.wait(lambda: frames)


def test_only_bad_images_are_reported_with_the_reason(around):
    camera = Camera(around)
    said = camera.film(2.0, make_image, stamp=lambda: time.time_ns() - 10 * SECOND)
    assert "only bad images for 0." in said and "10." in said and "s old" in said
    assert camera.film(1.5, make_image) == ""


def test_an_inactive_camera_node_reports_nothing(around):
    camera = Camera(around)
    camera.node.trigger_deactivate()
    del camera.faults[:]
    time.sleep(1.2)
    assert not camera.faults


# -- synchronizer -------------------------------------------------------------------------------------------
class Wires:
    def __init__(self, around, cameras=1, **parameters):
        names = ["front", "wrist"][:cameras]
        self.around = around
        self.faults = around.hear(Fault, "fault", EVENTS)
        self.names = names
        topics = [f"{name}/frame" for name in names] if cameras > 1 else ["frame"]
        self.frames = [around.speaker(Image, topic, IMAGES) for topic in topics]
        self.instructions = around.speaker(Instruction, "instruction/accepted", LATCHED)
        self.diagnostics = around.speaker(DiagnosticArray, "/diagnostics", EVENTS)
        robot = robot_file(cameras={name: {"topic": f"{name}/image"} for name in names})
        around.start(Synchronizer, robot_file=robot, **{"fault_after": 0.4, **parameters})
        around.wait(lambda: all(frame.get_subscription_count() for frame in self.frames))
        self.total = 0

    def say(self, text="go"):
        self.instructions.publish(convert.instruction_message(CoreInstruction(time.time_ns(), 1, text)))

    def run(self, seconds, shifts=(0,), report=False):
        """Frames at 20 Hz, each camera's stamps shifted by its `shifts` (ns); `report`: what camera_ingest would."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.faults:
            for speaker, name, shift in zip(self.frames, self.names, shifts):
                speaker.publish(convert.image_message(np.zeros((4, 4, 3), np.uint8), time.time_ns() + shift, name))
            if report:
                self.total += 2
                status = DiagnosticStatus(name="/around: frame", values=[
                    KeyValue(key="Events since startup", value=str(self.total))])
                self.diagnostics.publish(DiagnosticArray(status=[status]))
            time.sleep(0.05)
        reports = {(fault.source, fault.kind) for fault in self.faults}
        assert reports <= {("synchronizer", "communication")}
        return self.faults[0].text if self.faults else ""


def test_frames_and_words_that_give_no_pair_are_a_communication_fault(around):
    wires = Wires(around, cameras=2)
    assert wires.run(0.8, (0, -SECOND)) == ""  # no instruction: nothing is due
    wires.say()
    said = wires.run(3.0, (0, -SECOND))
    assert "frames and an instruction, but no pair for 0." in said and "the cameras' stamps are" in said


def test_pairs_that_come_are_no_fault_nor_is_a_silent_camera_or_an_old_instruction(around):
    wires = Wires(around, instruction_ttl=0.5)
    wires.say()
    assert wires.run(1.2) == ""
    time.sleep(0.8)
    assert not wires.faults


def test_in_strict_mode_an_instruction_is_soon_over_and_no_fault(around):
    wires = Wires(around, mode="strict")
    wires.say()
    assert wires.run(1.2) == ""


def test_frames_that_are_handed_on_but_do_not_arrive_are_a_communication_fault(around):
    wires = Wires(around)
    assert wires.run(0.5, report=True) == ""
    said = wires.run(5.0, shifts=(), report=True)
    assert "no frame of 'front' has come for" in said and "camera_ingest hands them on" in said


# -- the same, pure -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("later, faulty", [(0, False), (1, True)])
def test_no_pair_for_longer_than_the_patience(later, faulty):
    watch = PairingWatch(["front"])
    watch.begin(SECOND)
    watch.frame("front", 2 * SECOND)
    assert bool(watch.look(2 * SECOND + later, SECOND, "the cameras are apart")) is faulty


def test_a_report_about_frames_from_before_the_silence_is_no_fault():
    watch = PairingWatch(["front"])
    watch.begin(0)
    watch.handed_on("front", 10, 0)
    watch.handed_on("front", 20, REPORT_DELAY_NS)
    assert watch.look(REPORT_DELAY_NS + 1, SECOND, "") == ""
    watch.handed_on("front", 20, REPORT_DELAY_NS + SECOND)  # it hands nothing on: the camera's business
    assert watch.look(REPORT_DELAY_NS + SECOND, SECOND, "") == ""
    watch.handed_on("front", 30, REPORT_DELAY_NS + 2 * SECOND)
    assert "no frame of 'front'" in watch.look(REPORT_DELAY_NS + 2 * SECOND, SECOND, "")


def test_a_camera_node_that_was_started_again_counts_from_zero():
    watch = PairingWatch(["front"])
    watch.begin(0)
    watch.handed_on("front", 1000, 0)
    watch.handed_on("front", 3, 3 * SECOND)
    assert watch.look(3 * SECOND, SECOND, "") == ""
