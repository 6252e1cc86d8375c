"""camera_ingest: real photographs arrive as they are; a bad image costs a sentence and nothing else."""
import time
from array import array

import cv2
import numpy as np
import pytest
from robots import EYE, JPEG, TWO, robot_file
from sensor_msgs.msg import CompressedImage, Image

from vla_ros.core.images import as_mounted
from vla_ros.core.policy_file import write_policy_file
from vla_ros.nodes import camera_ingest
from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.common.convert import byte_array, rgb_image, time_message
from vla_ros.nodes.common.qos import IMAGES, SENSOR
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec

data = pytest.importorskip("skimage.data", reason="real photographs come with scikit-image")
PHOTOGRAPHS = {"astronaut": data.astronaut, "coffee": data.coffee, "chelsea": data.chelsea}


def planes(photograph):
    """Y, U and V; four pixels share a U and a V."""
    height, width = photograph.shape[:2]
    whole = cv2.cvtColor(photograph, cv2.COLOR_RGB2YUV_I420)
    u, v = whole[height:].reshape(2, height // 2, width // 2)
    return whole[:height], u, v


def packed(photograph, order):
    """YUV 4:2:2, two bytes a pixel."""
    y, u, v = planes(photograph)
    parts = {"y": [y[:, 1::2], y[:, 0::2]], "u": [u.repeat(2, 0)], "v": [v.repeat(2, 0)]}
    return np.stack([parts[name].pop() for name in order], -1).reshape(*y.shape, 2)


def planar(photograph, order):
    y, u, v = planes(photograph)
    pairs = np.stack([{"u": u, "v": v}[name] for name in order], -1)
    return np.vstack([y, pairs.reshape(-1, y.shape[1])])


def mosaic(photograph, pattern):
    out = np.empty(photograph.shape[:2], photograph.dtype)
    for place, colour in enumerate(pattern):
        row, column = divmod(place, 2)
        out[row::2, column::2] = photograph[row::2, column::2, "rgb".index(colour)]
    return out


TO = {
    "rgb8": lambda p: p, "bgr8": lambda p: p[..., ::-1],
    "rgba8": lambda p: cv2.cvtColor(p, cv2.COLOR_RGB2RGBA), "bgra8": lambda p: cv2.cvtColor(p, cv2.COLOR_RGB2BGRA),
    "mono8": lambda p: cv2.cvtColor(p, cv2.COLOR_RGB2GRAY),
    "rgb16": lambda p: p * np.uint16(257), "bgra16": lambda p: TO["bgra8"](p) * np.uint16(257),
    "mono16": lambda p: TO["mono8"](p) * np.uint16(257),
    "uyvy": lambda p: packed(p, "uyvy"), "yuv422": lambda p: packed(p, "uyvy"),
    "yuyv": lambda p: packed(p, "yuyv"), "yuv422_yuy2": lambda p: packed(p, "yuyv"),
    "nv12": lambda p: planar(p, "uv"), "nv21": lambda p: planar(p, "vu"),
}


def message(pixels, encoding="rgb8", padding=0, stamp=None, big_endian=False):
    """Pixels of 16 bits are sent in the order asked for; those of 8 bits are the same either way."""
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(">u2" if big_endian else "<u2")
    width = pixels.shape[1]
    rows = pixels.view(np.uint8).reshape(len(pixels), -1)
    if padding:
        rows = np.hstack([rows, np.full((len(rows), padding), 123, np.uint8)])
    height = len(rows) * 2 // 3 if encoding.startswith("nv") else len(rows)
    image = Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=byte_array(rows),
                  is_bigendian=big_endian)
    image.header.stamp = time_message(time.time_ns() if stamp is None else stamp)
    image.header.frame_id = "camera_optical_frame"
    return image


def compressed(data_bytes, kind="jpeg"):
    image = CompressedImage(format=kind, data=array("B", data_bytes))
    image.header.stamp = time_message(time.time_ns())
    return image


def camera(around, transport="raw", **parameters):
    """A publisher that sends until it was taken, and what comes out of the node."""
    cameras = EYE if transport == "raw" else JPEG
    node = around.start(CameraIngest, policy="constant", robot_file=robot_file(cameras=cameras), **parameters)
    kind, topic = (Image, "image") if transport == "raw" else (CompressedImage, "image/compressed")
    return node, around.speaker(kind, topic, SENSOR), around.hear(Image, "frame", IMAGES)


def expected(photograph):
    """224 x 224, letterboxed, as a policy asks for it; each pixel the exact average of what it covers."""
    height, width = photograph.shape[:2]
    scale = 224 / max(height, width)
    inner = cv2.resize(photograph, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    out = np.zeros((224, 224, 3), np.uint8)
    top, left = (224 - inner.shape[0]) // 2, (224 - inner.shape[1]) // 2
    out[top:top + inner.shape[0], left:left + inner.shape[1]] = inner
    return out


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", TO)
def test_photographs_reach_the_policy_in_every_encoding(around, encoding, big_endian):
    _, speaker, frames = camera(around)
    around.wait(lambda: speaker.get_subscription_count())
    for photograph in (load() for load in PHOTOGRAPHS.values()):
        if encoding.startswith(("yu", "uy", "nv")):
            photograph = np.ascontiguousarray(photograph[:, :photograph.shape[1] // 2 * 2])
        for padding in (0, 7):
            frames.clear()
            sent = message(TO[encoding](photograph), encoding, padding, big_endian=big_endian)
            speaker.publish(sent)
            frame = around.wait(lambda: frames and frames[-1])
            seen = rgb_image(frame).astype(int)
            grey = encoding.startswith("mono")
            want = cv2.cvtColor(TO["mono8"](photograph), cv2.COLOR_GRAY2RGB) if grey else photograph
            difference = np.abs(seen - expected(want))
            assert difference.mean() < 2.0 and difference.max() < 60  # the node averages by halves
            assert frame.header.stamp == sent.header.stamp
            assert frame.header.frame_id == "camera"  # not the driver's


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_photographs_reach_the_policy_as_a_raw_sensor_sees_them(around, pattern, bits):
    _, speaker, frames = camera(around)
    around.wait(lambda: speaker.get_subscription_count())
    photograph = data.astronaut()
    raw = mosaic(photograph, pattern) if bits == 8 else mosaic(photograph, pattern) * np.uint16(257)
    speaker.publish(message(raw, f"bayer_{pattern}{bits}"))
    frame = around.wait(lambda: frames and frames[-1])
    assert np.abs(rgb_image(frame).astype(int) - expected(photograph)).mean() < 4.0


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_photographs_reach_the_policy_compressed(around, kind):
    _, speaker, frames = camera(around, "compressed")
    around.wait(lambda: speaker.get_subscription_count())
    for photograph in (load() for load in PHOTOGRAPHS.values()):
        frames.clear()
        encoded = cv2.imencode(f".{kind}", cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))[1]
        speaker.publish(compressed(encoded.tobytes(), f"rgb8; {kind} compressed bgr8"))
        frame = around.wait(lambda: frames and frames[-1])
        difference = np.abs(rgb_image(frame).astype(int) - expected(photograph))
        assert difference.mean() < (4.0 if kind == "jpeg" else 2.0)


@pytest.mark.parametrize("more, whole", [({}, False), ({"rotate": 90}, False), ({"size": [480, 640], "crop": [0, 0, 320, 480]}, True),
                                         ({"size": [480, 640]}, True)])
def test_a_jpeg_is_decoded_at_the_policy_s_scale_unless_its_own_pixels_are_counted(around, monkeypatch, more, whole):
    seen = []
    monkeypatch.setattr(camera_ingest, "as_mounted", lambda image, camera: seen.append(image.shape[:2]) or as_mounted(image, camera))
    cameras = {name: {**known, **more} for name, known in JPEG.items()}
    around.start(CameraIngest, policy="constant", robot_file=robot_file(cameras=cameras))
    speaker = around.speaker(CompressedImage, "image/compressed", SENSOR)
    around.wait(lambda: speaker.get_subscription_count())
    speaker.publish(compressed(cv2.imencode(".jpg", np.full((480, 640, 3), 90, np.uint8))[1].tobytes()))
    around.wait(lambda: seen)
    assert seen[0] == ((480, 640) if whole else (240, 320))


GOOD = np.full((48, 64, 3), 90, np.uint8)


def broken(**changes):
    image = message(GOOD)
    for name, value in changes.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize("make", [
    pytest.param(lambda: broken(encoding="jpeg-xl"), id="unknown encoding"),
    pytest.param(lambda: message(GOOD[..., 0].astype(np.uint16), "16UC1"), id="depth"),
    pytest.param(lambda: message(GOOD[:-1, :, 0], "nv12"), id="planes that do not fit"),
    pytest.param(lambda: broken(width=0), id="zero width"),
    pytest.param(lambda: broken(height=0), id="zero height"),
    pytest.param(lambda: broken(step=10), id="step too small"),
    pytest.param(lambda: broken(step=193), id="step that does not fit"),
    pytest.param(lambda: broken(data=array("B", bytes(100))), id="data too short"),
    pytest.param(lambda: broken(data=array("B")), id="no data"),
    pytest.param(lambda: message(GOOD, stamp=0), id="stamp zero"),
    pytest.param(lambda: message(GOOD, stamp=time.time_ns() + 10**9), id="stamp in the future"),
    pytest.param(lambda: message(GOOD, stamp=time.time_ns() - 10 * 10**9), id="stamp too old"),
    pytest.param(lambda: broken(encoding="rgb8", height=5774, width=5774, step=17322,
                                data=byte_array(np.zeros(5774 * 17322, np.uint8))), id="100 MB"),
])
def test_a_bad_image_costs_a_sentence_and_the_next_good_one_passes(around, make):
    node, speaker, frames = camera(around)
    around.wait(lambda: speaker.get_subscription_count())
    speaker.publish(make())
    around.wait(lambda: node.stats.drops["bad image"] == 1, 10.0)
    assert not frames
    speaker.publish(message(GOOD))
    around.wait(lambda: frames)


def test_a_stamp_that_goes_back_is_dropped(around):
    node, speaker, frames = camera(around)
    around.wait(lambda: speaker.get_subscription_count())
    now = time.time_ns()
    speaker.publish(message(GOOD, stamp=now))
    around.wait(lambda: frames)
    speaker.publish(message(GOOD, stamp=now - 10**7))
    around.wait(lambda: node.stats.drops["bad image"] == 1)
    assert len(frames) == 1


DEPTH = cv2.imencode(".png", GOOD[..., 0].astype(np.uint16))[1].tobytes()


@pytest.mark.parametrize("bad", [b"", b"\xff\xd8\xff\xe0not a jpeg", b"\x89PNG\r\n\x1a\n", bytes(1000), DEPTH])
def test_a_corrupt_compressed_image_costs_a_sentence(around, bad):
    node, speaker, frames = camera(around, "compressed")
    around.wait(lambda: speaker.get_subscription_count())
    speaker.publish(compressed(bad))
    around.wait(lambda: node.stats.drops["bad image"] == 1)
    assert not frames
    speaker.publish(compressed(cv2.imencode(".jpg", GOOD)[1].tobytes()))
    around.wait(lambda: frames)


def test_half_a_jpeg_is_refused_or_shown_but_never_fatal(around):
    node, speaker, frames = camera(around, "compressed")
    around.wait(lambda: speaker.get_subscription_count())
    whole = cv2.imencode(".jpg", cv2.cvtColor(data.coffee(), cv2.COLOR_RGB2BGR))[1].tobytes()
    speaker.publish(compressed(whole[:len(whole) // 2]))
    around.wait(lambda: frames or node.stats.drops["bad image"])
    speaker.publish(compressed(whole))
    around.wait(lambda: node.stats.rates["image"].total == 2)


def test_a_black_camera_is_reported(around):
    node, speaker, _frames = camera(around)
    around.wait(lambda: speaker.get_subscription_count())
    speaker.publish(message(np.zeros_like(GOOD)))
    around.wait(lambda: "black" in node.problem)


@pytest.mark.parametrize("parameters, says", [
    ({"policy": "rt2"}, "unknown policy 'rt2'; known are: builtin, builtin_arm, color_servo, constant"),
    ({"robot_file": "/nowhere.yaml"}, "robot file '/nowhere.yaml' does not exist; set robot_file to"),
    ({"robot_file": robot_file(cameras=TWO)}, "has no camera ''; its file's cameras are front, wrist"),
    ({"max_age": float("nan")}, "parameter 'max_age' is nan; give a number from 0.01 to 60 s"),
    ({"max_age": -1.0}, "parameter 'max_age' is -1.0"),
    ({"max_bytes": "many"}, "parameter 'max_bytes' is 'many'; give a whole number"),
    ({"policy_file": "x.yaml"}, "parameters 'policy' ('constant') and 'policy_file' ('x.yaml') are both given"),
    ({"policy": "", "policy_file": "/nowhere.yaml"}, "policy file '/nowhere.yaml' does not exist; set policy_file to"),
    ({"camera": "front"}, "robot 'sim' has no camera 'front'; its file's cameras are camera"),
    ({"camera": "front", "robot_file": robot_file(cameras=TWO)},
     "looks through camera of 224 x 224 (pad), and this camera is 'front'; name the camera as"),
    ({"max_agee": 1.0}, "parameter 'max_agee' is not known"),
])
def test_a_bad_parameter_fails_configure_with_a_sentence(around, parameters, says):
    node = around.make(CameraIngest, **{"policy": "constant", **parameters})
    around.spin()
    time.sleep(0.2)
    node.trigger_configure()
    assert node.state == "unconfigured"
    assert says in node.problem
    around.wait(lambda: around.said(says))


def test_a_live_parameter_changes_at_once_and_a_bad_one_is_refused(around):
    from rclpy.parameter import Parameter
    node = around.start(CameraIngest, policy="constant")
    good, bad, fixed = Parameter("max_age", value=2.0), Parameter("max_age", value=-2.0), Parameter("camera", value="c")
    assert node.set_parameters_atomically([good]).successful and node.params["max_age"] == 2.0
    answer = node.set_parameters_atomically([Parameter("max_future", value=0.2), bad])
    assert not answer.successful and "'max_age' is -2.0" in answer.reason
    assert node.params["max_future"] == 0.1 and node.params["max_age"] == 2.0
    assert "cannot change while the node is active" in node.set_parameters_atomically([fixed]).reason


class TwoEyed:
    @classmethod
    def spec(cls, options):
        return PolicySpec(("linear.x",), 1, 100_000_000, {"front": (8, 12), "wrist": (4, 6)})

    def predict(self, observation): ...

    def reset(self): ...


def test_each_camera_gets_its_own_size_and_a_stranger_is_refused_with_the_list(around, monkeypatch):
    from rclpy.parameter import Parameter
    monkeypatch.setitem(POLICIES, "two_eyed", f"{__name__}:TwoEyed")
    three = robot_file(cameras={**TWO, "rear": {"topic": "rear/image"}})
    node = around.make(CameraIngest, policy="two_eyed", robot_file=three, camera="rear")
    node.trigger_configure()
    assert node.state == "unconfigured" and (
        "looks through front of 8 x 12 (pad), wrist of 4 x 6 (pad), and this camera is 'rear'; name" in node.problem)
    node.set_parameters([Parameter("camera", value="wrist")])
    node.trigger_configure()
    assert node.state == "inactive" and node._view.size == (4, 6)


def test_a_camera_that_is_mounted_upside_down_hands_on_upright_images_without_its_border(around):
    mounted = {"camera": {"topic": "image", "size": [12, 16], "rotate": 180, "crop": [4, 4, 8, 8]}}
    node = around.start(CameraIngest, policy="constant", robot_file=robot_file(cameras=mounted))
    frames, speaker = around.hear(Image, "frame", IMAGES), around.speaker(Image, "image", SENSOR)
    around.wait(lambda: speaker.get_subscription_count())
    seen = np.full((12, 16, 3), 9, np.uint8)
    seen[4:8, 4:12], seen[8:12, 4:12] = 50, 200  # dark above bright
    speaker.publish(message(seen))
    frame = rgb_image(around.wait(lambda: frames and frames[0]))
    assert frame.shape == (224, 224, 3) and (frame[:90] == 200).all() and (frame[134:] == 50).all()
    speaker.publish(message(np.full((10, 16, 3), 9, np.uint8)))
    around.wait(lambda: node.stats.drops["bad image"] == 1)
    assert len(frames) == 1


def test_of_several_cameras_each_hands_on_under_its_own_name(around, tmp_path):
    path = write_policy_file(tmp_path / "policy.yaml", "constant", images={"camera": {"camera": "wrist"}})
    around.start(CameraIngest, policy_file=path, camera="wrist", robot_file=robot_file(cameras=TWO))
    frames, speaker = around.hear(Image, "wrist/frame", IMAGES), around.speaker(Image, "wrist/image", SENSOR)
    around.wait(lambda: speaker.get_subscription_count())
    speaker.publish(message(GOOD))
    assert around.wait(lambda: frames)[0].header.frame_id == "wrist"


def test_the_policy_file_says_which_camera_how_large_and_how_it_is_fitted_in(around, tmp_path):
    path = write_policy_file(tmp_path / "policy.yaml", "constant",
                             images={"camera": {"camera": "eye", "size": [4, 6], "resize": "crop"}})
    node = around.start(CameraIngest, policy_file=path, robot_file=robot_file(cameras={"eye": {"topic": "image"}}))
    frames = around.hear(Image, "frame", IMAGES)
    speaker = around.speaker(Image, "image", SENSOR)
    around.wait(lambda: speaker.get_subscription_count())
    speaker.publish(message(np.dstack([np.full((8, 24), 200, np.uint8)] * 3)))
    frame = rgb_image(around.wait(lambda: frames and frames[0]))
    assert frame.shape == (4, 6, 3) and (frame == 200).all()  # cropped: no black bars
    assert node.problem == ""
