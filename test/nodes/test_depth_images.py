"""Depth from the camera to the policy: with its own image or not at all, counted and told."""
import struct
import time
from array import array

import cv2
import numpy as np
import pytest
from robots import TWO, robot_file
from sensor_msgs.msg import CompressedImage, Image

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import IMAGES, LATCHED, LATEST, SENSOR
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec
from vla_ros_msgs.msg import ActionChunk, Instruction, Observation

MS = 1_000_000
DEEP = {"camera": {"topic": "image", "depth": "depth"}}
COLOUR = np.full((12, 16, 3), 90, np.uint8)
MM = np.where(np.arange(16) < 8, 500, 2000).astype(np.uint16) * np.ones((12, 1), np.uint16)  # near on the left


class Deep:
    """Looks at its camera's colour and depth."""

    name = "deep@test"
    seen: list = []

    @classmethod
    def spec(cls, options):
        return PolicySpec(("gripper",), 1, 100 * MS, {"camera": (24, 24)}, depths={"camera": (6, 8)})

    def __init__(self, options):
        Deep.seen = []

    def predict(self, observation):
        Deep.seen.append((observation.images["camera"], observation.depths["camera"]))
        return np.array([[0.2]], np.float32)

    def reset(self):
        pass


@pytest.fixture(autouse=True)
def deep(monkeypatch):
    monkeypatch.setitem(POLICIES, "deep", f"{__name__}:Deep")


def colour_message(stamp, colour=COLOUR):
    return convert.image_message(colour, stamp, "optical")


def depth_message(stamp, mm=MM, encoding="16UC1", big_endian=False):
    kind = (">" if big_endian else "<") + {"16UC1": "u2", "32FC1": "f4"}[encoding]
    values = mm.astype(kind) if encoding == "16UC1" else (mm / 1000).astype(kind)
    message = Image(height=len(mm), width=mm.shape[1], encoding=encoding, step=values.itemsize * mm.shape[1],
                    is_bigendian=big_endian, data=array("B", values.tobytes()))
    message.header.stamp = convert.time_message(stamp)
    return message


class Eye:
    """camera_ingest with a depth camera in front of it, and what it hands on."""

    def __init__(self, around, kind=Image, depth="depth", cameras=DEEP, **parameters):
        self.around = around
        self.node = around.start(CameraIngest, **{"policy": "deep", "robot_file": robot_file(cameras=cameras), **parameters})
        self.colour = around.speaker(Image, "image", SENSOR)
        self.depth = around.speaker(kind, depth, SENSOR)
        self.frames, self.depths = around.hear(Image, "frame", IMAGES), around.hear(Image, "depth_frame", IMAGES)
        around.wait(lambda: self.colour.get_subscription_count() and self.depth.get_subscription_count()
                    and self.node.count_subscribers("frame") and self.node.count_subscribers("depth_frame"))

    def got(self, count=1):
        self.around.wait(lambda: len(self.frames) == len(self.depths) == count)
        return convert.rgb_image(self.frames[-1]), convert.depth_image(self.depths[-1])


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_is_handed_on_in_metres_with_its_image(around, encoding, big_endian):
    eye = Eye(around)
    stamp = time.time_ns()
    eye.colour.publish(colour_message(stamp))
    eye.depth.publish(depth_message(stamp, encoding=encoding, big_endian=big_endian))
    image, depth = eye.got()
    assert image.shape == (24, 24, 3) and depth.shape == (6, 8)
    assert (depth[:, :4] == 0.5).all() and (depth[:, 4:] == 2.0).all()
    for frame, name in ((eye.frames[0], "camera+depth"), (eye.depths[0], "camera/depth")):
        assert convert.stamp_ns(frame.header.stamp) == stamp and frame.header.frame_id == name


def test_compressed_depth_is_the_same(around):
    eye = Eye(around, CompressedImage, "depth/compressedDepth",
              {"camera": {"topic": "image", "depth": "depth/compressedDepth", "depth_transport": "compressed"}})
    stamp = time.time_ns()
    data = struct.pack("<iff", 0, 0.0, 0.0) + cv2.imencode(".png", MM)[1].tobytes()
    message = CompressedImage(format="16UC1; compressedDepth png", data=array("B", data))
    message.header.stamp = convert.time_message(stamp)
    eye.depth.publish(message)
    eye.colour.publish(colour_message(stamp))
    depth = eye.got()[1]
    assert (depth[:, :4] == 0.5).all() and (depth[:, 4:] == 2.0).all()


def test_depth_is_cropped_turned_and_padded_as_its_colour(around):
    mounted = {"topic": "image", "depth": "depth", "rotate": 180, "crop": [0, 0, 12, 12]}
    eye = Eye(around, cameras={"camera": mounted})
    stamp = time.time_ns()
    eye.colour.publish(colour_message(stamp))
    eye.depth.publish(depth_message(stamp))
    depth = eye.got()[1]  # 12 x 12 in 6 x 8: a column of padding at each side
    assert np.isnan(depth[:, [0, -1]]).all()
    assert (depth[:, 1:3] == 2.0).all() and (depth[:, 3:7] == 0.5).all()


def test_a_policy_without_depth_has_none_and_waits_for_none(around):
    around.start(CameraIngest, policy="constant", robot_file=robot_file(cameras=DEEP))
    speaker, frames = around.speaker(Image, "image", SENSOR), around.hear(Image, "frame", IMAGES)
    around.wait(lambda: speaker.get_subscription_count())
    speaker.publish(colour_message(time.time_ns()))
    assert around.wait(lambda: frames)[0].header.frame_id == "camera"
    assert around.node.count_subscribers("depth") == around.node.count_publishers("depth_frame") == 0


def test_an_image_waits_for_its_own_depth_and_another_s_is_never_taken(around):
    eye = Eye(around)
    begin = time.time_ns()
    for i in range(8):
        eye.colour.publish(colour_message(begin + i * 4 * MS))
        around.wait(lambda least=i + 1: "image" in eye.node.stats.rates and eye.node.stats.rates["image"].total == least)
    eye.depth.publish(depth_message(begin - 20 * MS))
    around.wait(lambda: eye.node.stats.drops["image without depth"] == 4)
    assert not eye.frames and not eye.depths
    eye.depth.publish(depth_message(begin + 7 * 4 * MS))
    eye.got()
    assert convert.stamp_ns(eye.frames[0].header.stamp) == begin + 7 * 4 * MS


def test_a_camera_whose_depth_is_silent_is_a_fault_that_names_it(around):
    eye = Eye(around, fault_after=0.3)
    deadline = time.monotonic() + 10
    while "no depth image" not in eye.node.problem and time.monotonic() < deadline:
        eye.colour.publish(colour_message(time.time_ns()))
        time.sleep(0.03)
    assert "no depth image that belongs to the camera's images" in eye.node.problem and "on /depth" in eye.node.problem
    assert not eye.frames


@pytest.mark.parametrize("make, says", [
    (lambda stamp: depth_message(stamp, MM[:6, :8]), "the depth image is 6 x 8 and the colour image 12 x 16"),
    (lambda stamp: colour_message(stamp, COLOUR), "encoding 'rgb8' is no depth image; give a topic of 16UC1"),
    (lambda stamp: depth_message(stamp - 10**10), "s old"), (lambda stamp: depth_message(stamp + 10**10), "in the future"),
    (lambda stamp: depth_message(0), "the stamp is 0"),
], ids=["size", "colour", "old", "future", "no stamp"])
def test_a_bad_depth_image_costs_a_sentence_and_its_image_and_the_next_passes(around, make, says):
    eye = Eye(around)
    stamp = time.time_ns()
    eye.colour.publish(colour_message(stamp))
    eye.depth.publish(make(stamp))
    around.wait(lambda: eye.node.stats.drops["bad depth image"] == 1)
    assert says in eye.node._badness and not eye.frames
    later = time.time_ns()
    eye.colour.publish(colour_message(later))
    eye.depth.publish(depth_message(later))
    eye.got()


@pytest.mark.parametrize("node_class", [CameraIngest, Inference])
def test_a_policy_that_wants_depth_of_a_camera_without_it_is_refused_with_both_lists(around, node_class):
    node = around.make(node_class, policy="deep", robot_file=robot_file())
    node.trigger_configure()
    assert node.state == "unconfigured"
    assert "the policy wants the depth of camera, and the cameras with depth are none; give the topic" in node.problem


class Wires:
    """The synchronizer between two cameras, of which `front` has depth, and whoever hears it."""

    def __init__(self, around):
        cameras = {"front": {"topic": "/front/image", "depth": "/front/depth"}, "wrist": TWO["wrist"]}
        self.node = around.start(Synchronizer, robot_file=robot_file(cameras=cameras))
        self.observations = around.hear(Observation, "observation", IMAGES)
        self.frames = {name: around.speaker(Image, f"{name}/frame", IMAGES) for name in cameras}
        self.depth = around.speaker(Image, "front/depth_frame", IMAGES)
        instructions = around.speaker(Instruction, "instruction/accepted", LATCHED)
        around.wait(lambda: all(s.get_subscription_count() for s in (*self.frames.values(), self.depth, instructions)))
        instructions.publish(convert.instruction_message(CoreInstruction(time.time_ns(), 1, "go")))

    def show(self, stamp, camera="front", name="front+depth", value=0):
        self.frames[camera].publish(convert.image_message(np.full((4, 4, 3), value, np.uint8), stamp, name))

    def show_depth(self, stamp, metres=1.0, name="front/depth"):
        self.depth.publish(convert.depth_message(np.full((2, 3), metres, np.float32), stamp, name))


@pytest.mark.parametrize("depth_first", [False, True])
def test_an_observation_has_each_image_s_own_depth(around, depth_first):
    wires = Wires(around)
    stamp = time.time_ns()
    steps = [lambda: wires.show(stamp, value=7), lambda: wires.show_depth(stamp, 0.7)]
    for step in reversed(steps) if depth_first else steps:
        step()
        time.sleep(0.05)
    wires.show(stamp, "wrist", "wrist")
    seen = convert.observation(around.wait(lambda: wires.observations)[0])
    assert list(seen.images) == ["front", "wrist"] and list(seen.depths) == ["front"]
    assert (seen.images["front"] == 7).all() and seen.depths["front"] == pytest.approx(np.full((2, 3), 0.7))


def test_an_image_whose_depth_is_lost_on_the_way_makes_no_observation(around):
    wires = Wires(around)
    begin = time.time_ns()
    for i in range(4):  # so that their period is known
        wires.show(begin - (200 - 30 * i) * MS)
        wires.show_depth(begin - (200 - 30 * i) * MS)
        around.wait(lambda least=i + 1: "depth front" in wires.node.stats.rates
                    and wires.node.stats.rates["depth front"].total == least and not wires.node._joined["front"].waiting)
    wires.show(begin)
    wires.show(begin, "wrist", "wrist")
    wires.show_depth(begin + MS)
    around.wait(lambda: "the depth images that belong to the images of 'front'" in wires.node.diagnose()["waiting for"])
    time.sleep(0.2)
    assert not wires.observations
    wires.show(begin + MS)
    around.wait(lambda: wires.observations)
    assert wires.node.diagnose()["dropped: image without depth"] == "1"


def test_a_camera_that_hands_on_no_depth_is_paired_without(around):
    wires = Wires(around)
    stamp = time.time_ns()
    wires.show(stamp, name="front")
    wires.show(stamp, "wrist", "wrist")
    assert not convert.observation(around.wait(lambda: wires.observations)[0]).depths


@pytest.mark.parametrize("wrong, reason", [
    (lambda wires: wires.show_depth(time.time_ns(), name="wrist/depth"), "another camera's frame"),
    (lambda wires: wires.show(time.time_ns(), "wrist", "wrist+depth"), "another camera's frame"),
    (lambda wires: wires.depth.publish(convert.image_message(COLOUR, time.time_ns(), "front/depth")), "bad depth frame"),
], ids=["another's depth", "depth of one without", "colour"])
def test_a_frame_that_is_another_s_is_refused_and_counted(around, wrong, reason):
    wires = Wires(around)
    wrong(wires)
    around.wait(lambda: wires.node.stats.drops[reason] == 1)


def test_the_policy_gets_depth_under_its_own_name_and_is_warmed_up_on_it(around, tmp_path):
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", IMAGES)
    cameras = {"head": {"topic": "/head", "depth": "/head/depth"}, "hand": {"topic": "/hand"}}
    path = write_policy_file(tmp_path / "policy.yaml", "deep", images={"camera": {"camera": "head"}})
    node = around.start(Inference, policy_file=path, robot_file=robot_file(cameras=cameras), warm_up=1)
    around.wait(lambda: speaker.get_subscription_count())
    (image, depth), = Deep.seen
    assert image.shape == (24, 24, 3) and depth.shape == (6, 8) and depth.dtype == np.float32

    def show(**depths):
        speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), CoreInstruction(1, 1, "go"), {"head": np.zeros((24, 24, 3), np.uint8)}, depths=depths)))

    show()
    around.wait(lambda: around.said("the policy wants the depth of head of 6 x 8, and the observation has the depth of none"))
    assert not chunks and node.state == "active"
    metres = np.full((6, 8), 0.75, np.float32)
    metres[0, 0] = np.nan
    show(head=metres)
    around.wait(lambda: chunks)
    assert np.array_equal(Deep.seen[-1][1], metres, equal_nan=True)


def test_from_the_camera_to_the_policy_each_image_keeps_its_depth(around):
    """Depth 6 ms after its image; each pair shows its own number in both, also with every fifth depth image lost."""
    file = robot_file(cameras=DEEP)
    for node_class, parameters in ((CameraIngest, {"policy": "deep"}), (Synchronizer, {}), (Inference, {"policy": "deep"})):
        around.start(node_class, robot_file=file, **parameters)
    Deep.seen.clear()
    colour, depth = around.speaker(Image, "image", SENSOR), around.speaker(Image, "depth", SENSOR)
    words = around.speaker(Instruction, "instruction/accepted", LATCHED)
    around.wait(lambda: all(each.get_subscription_count() for each in (colour, depth, words)))
    words.publish(convert.instruction_message(CoreInstruction(time.time_ns(), 1, "go")))
    number = 0
    deadline = time.monotonic() + 20
    while len(Deep.seen) < 20 and time.monotonic() < deadline:
        number = number % 200 + 5
        stamp = time.time_ns()
        colour.publish(colour_message(stamp, np.full((12, 16, 3), number, np.uint8)))
        time.sleep(0.006)
        if number % 25:
            depth.publish(depth_message(stamp + 6 * MS, np.full((12, 16), 10 * number, np.uint16)))
        time.sleep(0.027)
    assert len(Deep.seen) >= 20
    for image, metres in Deep.seen:
        assert np.nanmax(metres) == pytest.approx(image.max() / 100) and image.max() % 25
