"""A robot file's cameras: where their images are, and how they are mounted."""
import numpy as np
import pytest
from test_robot import GOOD

from vla_ros.core.images import as_mounted
from vla_ros.core.robot import load_robot, parse_robot
from vla_ros.core.robot_cameras import MAX_CAMERAS, Camera


def robot(**cameras):
    return parse_robot({**GOOD, "cameras": cameras})


def test_a_camera_is_its_topic_and_how_it_is_mounted():
    both = robot(front={"topic": "/front/image_raw"},
                 wrist={"topic": "/wrist/compressed", "transport": "compressed", "depth": "/wrist/depth",
                        "size": [480, 640], "rotate": 90, "crop": [10, 20, 620, 400]})
    assert both.camera("front") == Camera("front", "/front/image_raw")
    assert both.camera("wrist") == Camera("wrist", "/wrist/compressed", "compressed", "/wrist/depth", (480, 640), 90,
                                          (10, 20, 620, 400))


def test_an_only_camera_has_the_plain_node_and_several_have_one_each():
    assert robot(eye={"topic": "/eye"}).camera_nodes == {"eye": "camera_ingest"}
    assert robot(eye={"topic": "/eye"}).frame_topic("eye") == "frame"
    both = robot(left={"topic": "/l"}, right={"topic": "/r"})
    assert both.camera_nodes == {"left": "camera_ingest_left", "right": "camera_ingest_right"}
    assert both.frame_topic("left") == "left/frame"


def test_which_cameras_give_depth_and_where_it_is_handed_on():
    both = robot(left={"topic": "/l", "depth": "/d/compressedDepth", "depth_transport": "compressed"}, right={"topic": "/r"})
    assert both.depth_cameras == ["left"] and both.depth_frame_topic("left") == "left/depth_frame"
    assert both.camera("left").depth_transport == "compressed"
    only = robot(eye={"topic": "/eye", "depth": "/d"})
    assert only.depth_frame_topic("eye") == "depth_frame" and only.camera("eye").depth_transport == "raw"


def test_a_file_without_cameras_names_none():
    assert parse_robot(GOOD).cameras == () and parse_robot(GOOD).camera_nodes == {}


@pytest.mark.parametrize("name, found", [("", "eye"), ("eye", "eye"), ("ear", None)])
def test_an_only_camera_need_not_be_named(name, found):
    if found:
        assert robot(eye={"topic": "/eye"}).camera(name).name == found
        return
    with pytest.raises(ValueError, match="robot 'r' has no camera 'ear'; its file's cameras are eye"):
        robot(eye={"topic": "/eye"}).camera(name)


def test_of_several_cameras_one_must_be_named():
    with pytest.raises(ValueError, match="no camera ''; its file's cameras are left, right"):
        robot(left={"topic": "/l"}, right={"topic": "/r"}).camera("")


@pytest.mark.parametrize("cameras, says", [
    ("front", "cameras is 'front'; give a mapping"),
    ({"eye": {}}, "camera 'eye' lacks topic"),
    ({"eye": {"topic": "/eye", "fps": 30}}, "camera 'eye' has unknown fps"),
    ({"eye": {"topic": "eye image"}}, "camera 'eye': topic is 'eye image'; give the name of a ROS topic"),
    ({"eye": {"topic": 7}}, "topic is 7"),
    ({"eye": {"topic": "/eye", "transport": "theora"}}, "transport is 'theora'; use one of raw, compressed"),
    ({"eye": {"topic": "/eye", "depth": "/d", "depth_transport": "rvl"}}, "depth_transport is 'rvl'; use one of raw, compressed"),
    ({"eye": {"topic": "/eye", "depth_transport": "raw"}}, "depth_transport is given without depth; give depth's topic too"),
    ({"eye": {"topic": "/eye", "rotate": 45}}, "rotate is 45; use one of 0, 90, 180, 270"),
    ({"eye": {"topic": "/eye", "rotate": False}}, "rotate is False"),
    ({"eye": {"topic": "/eye", "size": [480]}}, r"size is \[480\]; give \[height, width\]"),
    ({"eye": {"topic": "/eye", "size": [0, 640]}}, "each from 1 to 4096"),
    ({"eye": {"topic": "/eye", "crop": [0, 0, 640]}}, r"crop is \[0, 0, 640\]; give \[x, y, width, height\]"),
    ({"eye": {"topic": "/eye", "crop": [0, 0, True, 1]}}, "crop is"),
    ({"eye": {"topic": "/eye", "crop": [-1, 0, 640, 480]}}, "x and y are 0 or more"),
    ({"eye": {"topic": "/eye", "crop": [0, 0, 0, 480]}}, "width and height from 1 to 4096"),
    ({"eye": {"topic": "/eye", "size": [480, 640], "crop": [1, 0, 640, 480]}}, "reaches outside size"),
    ({"eye": {"topic": "/eye", "size": [480, 640], "crop": [0, 1, 640, 480]}}, "reaches outside size"),
    ({"eye": {"topic": "/eye", "depth": "/eye"}}, "depth is '/eye', as its topic"),
    ({"2nd": {"topic": "/eye"}}, "cameras has the name '2nd'; give a letter"),
    ({7: {"topic": "/eye"}}, "cameras has the name 7"), ({"a/b": {"topic": "/eye"}}, "cameras has the name 'a/b'"),
    ({f"c{i}": {"topic": "/eye"} for i in range(MAX_CAMERAS + 1)}, "cameras has 17 entries; at most 16"),
])
def test_a_camera_that_cannot_be_gets_a_sentence(cameras, says):
    with pytest.raises(ValueError, match=says):
        parse_robot({**GOOD, "cameras": cameras})


def test_as_many_cameras_as_are_allowed_pass():
    assert len(robot(**{f"c{i}": {"topic": "/eye"} for i in range(MAX_CAMERAS)}).cameras) == MAX_CAMERAS


def test_a_camera_named_twice_is_refused(tmp_path):
    (tmp_path / "robot.yaml").write_text("name: r\ncameras:\n  eye: {topic: /a}\n  eye: {topic: /b}\n")
    with pytest.raises(ValueError, match="line 4: 'eye' is given twice; once is right"):
        load_robot(tmp_path / "robot.yaml")


# -- what is done with an image ----------------------------------------------------------------
PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)  # 4 high, 6 wide


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_an_image_is_turned_clockwise(rotate):
    camera = Camera("eye", "/eye", rotate=rotate)
    assert np.array_equal(as_mounted(PIXELS, camera), np.rot90(PIXELS, -rotate // 90))


def test_it_is_cropped_before_it_is_turned():
    camera = Camera("eye", "/eye", rotate=90, crop=(1, 2, 3, 2))
    assert np.array_equal(as_mounted(PIXELS, camera), np.rot90(PIXELS[2:4, 1:4], -1))


@pytest.mark.parametrize("crop, fits", [((0, 0, 6, 4), True), ((0, 0, 7, 4), False), ((0, 1, 6, 4), False)])
def test_a_crop_outside_the_image_is_refused(crop, fits):
    camera = Camera("eye", "/eye", crop=crop)
    if fits:
        assert as_mounted(PIXELS, camera).shape == (4, 6, 3)
        return
    with pytest.raises(ValueError, match="the image is 4 x 6 and crop"):
        as_mounted(PIXELS, camera)


def test_an_image_of_another_size_is_refused():
    assert as_mounted(PIXELS, Camera("eye", "/eye", size=(4, 6))).shape == (4, 6, 3)
    with pytest.raises(ValueError, match="the image is 4 x 6, and the robot file says 6 x 4"):
        as_mounted(PIXELS, Camera("eye", "/eye", size=(6, 4)))
