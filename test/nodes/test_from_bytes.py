"""Messages read from their bytes hold what rclpy's own do, and their arrays are the bytes themselves."""
from __future__ import annotations

from array import array

import numpy as np
import pytest
from geometry_msgs.msg import WrenchStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, Imu, JointState, LaserScan, PointCloud2, PointField, Range
from std_msgs.msg import Float64MultiArray, Header

from vla_ros.core.types import Instruction, Observation
from vla_ros.nodes.common import convert, from_bytes
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros_msgs.msg import ActionChunk, Heartbeat
from vla_ros_msgs.msg import Observation as ObservationMessage

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), np.uint8)
DEPTH = RNG.random((5, 7), np.float32)


def header(frame):
    return Header(stamp=convert.time_message(1_700_000_000_123_456_789), frame_id=frame)


def seen(text="go to the büro", **more):
    return convert.observation_message(Observation(9, Instruction(5, 7, text), {"camera": PIXELS}, **more))


MESSAGES = {
    "an image": convert.image_message(PIXELS, 12, "camera"),
    "an image of an odd name": convert.image_message(PIXELS, 12, "cam"),
    "an empty image": Image(),
    "an observation": seen(state={"a": 1.0, "bb": 2.5}, ages={"a": 0.5}, skew=-3),
    "an observation with depth": seen(text="", state={}, depths={"camera": DEPTH}),
    "an empty observation": ObservationMessage(),
    "joints": JointState(header=header("x"), name=["one", "", "three"], position=[1.0, float("inf"), -2.0], velocity=[0.5],
                         effort=[3.0]),
    "a scan": LaserScan(header=header("abc"), angle_min=-1.5, ranges=[1.0, 2.0], intensities=[]),
    "a cloud": PointCloud2(header=header("lidar"), height=1, width=2, fields=[PointField(name="x", datatype=7, count=1)] * 2,
                           is_bigendian=True, data=array("B", range(16)), is_dense=True),
    "odometry": Odometry(header=header("odom"), child_frame_id="base"),
    "an IMU": Imu(header=header("i"), orientation_covariance=[-1.0, *range(8)]),
    "numbers": Float64MultiArray(data=[1.5, 2.5]),
    "a beam": Range(header=header("sonar"), range=1.5),
    "a wrench": WrenchStamped(header=header("w")),
    "a heartbeat": Heartbeat(node="gaté", state="active", process="1-2"),
    "a chunk": ActionChunk(header=header("base"), channels=["linear.x"], values=[0.5, 0.25]),
}


def same(got, want):
    """Field by field; numbers bit by bit."""
    if hasattr(want, "get_fields_and_field_types"):
        assert set(vars(got)) == set(want.get_fields_and_field_types())
        for name in want.get_fields_and_field_types():
            same(getattr(got, name), getattr(want, name))
    elif isinstance(want, list):
        assert len(got) == len(want)
        for one, other in zip(got, want):
            same(one, other)
    elif isinstance(want, (array, np.ndarray)):
        assert got.tolist() == want.tolist() and got.nbytes == len(want.tobytes())
    else:
        assert got == want and type(got) is type(want)


@pytest.mark.parametrize("message", MESSAGES.values(), ids=list(MESSAGES))
def test_it_is_what_rclpy_makes_of_it(message):
    data = serialize_message(message)
    same(reader_of(type(message))(data), deserialize_message(data, type(message)))


def test_an_observation_from_bytes_is_an_observation():
    message = MESSAGES["an observation with depth"]
    got = convert.observation(reader_of(ObservationMessage, writable=True)(serialize_message(message)))
    assert (got.images["camera"] == PIXELS).all() and (got.depths["camera"] == DEPTH).all()
    assert got.depths["camera"].flags.aligned  # wherever it lay in the message
    got.images["camera"][:] = 0  # a policy may draw into it


def test_pixels_are_not_copied_and_cannot_be_written_unless_asked_for():
    data = serialize_message(MESSAGES["an image"])
    pixels = convert.rgb_image(reader_of(Image)(data))
    assert np.shares_memory(pixels, np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        pixels[:] = 0
    convert.rgb_image(reader_of(Image, writable=True)(data))[:] = 0
    assert (convert.rgb_image(reader_of(Image)(data)) == PIXELS).all()


@pytest.mark.parametrize("name", ["an image", "an observation", "joints"])
def test_bytes_that_are_missing_are_noticed_wherever_they_are(name):
    message = MESSAGES[name]
    data = serialize_message(message)
    read = reader_of(type(message))
    whole = len(data) - 3  # up to three bytes fill it up to a multiple of four
    for length in range(4, whole):
        with pytest.raises(ValueError, match=f"of {length} bytes is not whole"):
            read(data[:length])


def test_another_encoding_is_left_to_rclpy(monkeypatch):
    monkeypatch.setattr(from_bytes, "LITTLE_ENDIAN", b"\x00\x09")
    message = reader_of(Image)(serialize_message(MESSAGES["an image"]))
    assert isinstance(message, Image) and (convert.rgb_image(message) == PIXELS).all()


def test_a_text_that_is_no_text_is_mended_as_by_rclpy():
    data = serialize_message(Heartbeat(node="node")).replace(b"node", b"no\xff\xfe")
    assert reader_of(Heartbeat)(data).node == deserialize_message(data, Heartbeat).node == "no\ufffd\ufffd"


def test_a_field_that_it_does_not_know_is_named():
    class Odd:
        @staticmethod
        def get_fields_and_field_types():
            return {"title": "wstring"}

    with pytest.raises(ValueError, match="a field of type wstring is not read from bytes"):
        reader_of(Odd)
