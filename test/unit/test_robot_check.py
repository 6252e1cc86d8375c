"""`vla robot check`: a robot file against a graph, by hand: what fits, what is doubtful, what is wrong."""
from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from robot_graphs import (
    JOINT_STATE,
    NUMBERS,
    TRAJECTORY,
    TWIST,
    arm_graph,
    image,
    joints,
    said,
    taken,
    with_topic,
    without,
)
from tool_world import NAMES, robot_data, urdf_text

from vla_ros.core.check_finding import DOUBTFUL, FITS, WRONG
from vla_ros.core.robot import parse_robot
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.operator import robot_check
from vla_ros.operator.robot_check import check_robot, heard_topics
from vla_ros.operator.robot_graph import (
    COMPRESSED,
    IMAGE,
    GraphEndpoint,
    GraphSnapshot,
    GraphTopic,
    HeardTopic,
)

CAMERAS = {"scene": {"topic": "/scene_camera/image_raw"}, "wrist": {"topic": "/wrist_camera/image_raw"}}
STATE = [{"topic": "/joint_states", "type": JOINT_STATE, "names": NAMES, "unit": "rad"}]
SCENE = "/scene_camera/image_raw"
LIDAR = "sensor_msgs/msg/LaserScan"
CLOUD = "sensor_msgs/msg/PointCloud2"
ODOMETRY = "nav_msgs/msg/Odometry"


def robot(**keys):
    data = {**robot_data(), "cameras": CAMERAS, "state": STATE, **keys}
    del data["urdf"]
    return parse_robot(data)


def base(**keys):
    channel = {"unit": "m/s", "bounds": [-1.0, 1.0], "limits": [-0.5, 0.5], "acceleration": 1.0, "on_stop": "zero"}
    return parse_robot({"name": "base", "channels": {"linear.x": channel},
                        "outputs": [{"topic": "/cmd_vel", "type": TWIST, "channels": ["linear.x"]}], **keys})


def marks(robot, graph, mark):
    return [finding for finding in check_robot(robot, graph) if finding.mark == mark]


def only(robot, graph, mark=WRONG):
    """The one that there is of this mark."""
    findings = marks(robot, graph, mark)
    assert len(findings) == 1, findings
    assert findings[0].remedy
    return findings[0]


def described(graph, text=None):
    return replace(graph, description=text or urdf_text())


# -- all is well -------------------------------------------------------------------------------------------------------
def test_a_robot_that_is_as_its_file_says_has_nothing_wrong_or_doubtful():
    findings = check_robot(robot(), described(arm_graph()))
    assert {finding.mark for finding in findings} == {FITS}
    subjects = {finding.subject for finding in findings}
    assert {f"camera 'scene' {SCENE}", "state /joint_states", "output /arm", "limits", "clock"} <= subjects


def test_with_nothing_there_every_topic_is_named_as_wrong():
    wrong = marks(robot(), GraphSnapshot(3.0), WRONG)
    assert [finding.subject for finding in wrong] == [
        f"camera 'scene' {SCENE}", "camera 'wrist' /wrist_camera/image_raw", "state /joint_states", "output /arm"]


def test_all_that_the_file_wants_to_hear_is_listened_to():
    cameras = {"eye": {"topic": "/eye/compressed", "transport": "compressed", "depth": "/eye/depth"},
               "hand": {"topic": "/hand", "depth": "/hand/depth", "depth_transport": "compressed"}}
    assert heard_topics(robot(cameras=cameras)) == {
        "/eye/compressed": COMPRESSED, "/eye/depth": IMAGE, "/hand": IMAGE, "/hand/depth": COMPRESSED,
        "/joint_states": JOINT_STATE}


def test_its_bounds_on_times_are_the_defaults_of_the_nodes():
    gate = {parameter.name: parameter.default for parameter in NODE_PARAMETERS["safety_validator"]}
    camera = {parameter.name: parameter.default for parameter in NODE_PARAMETERS["camera_ingest"]}
    assert gate["topic_timeout"] == robot_check.TOPIC_TIMEOUT_S
    assert (gate["max_age"], gate["max_future"]) == (robot_check.MAX_IMAGE_AGE_S, robot_check.MAX_FUTURE_S)
    assert camera["max_bytes"] == robot_check.MAX_IMAGE_BYTES


# -- topics ------------------------------------------------------------------------------------------------------------
def test_a_topic_of_another_type_is_wrong():
    finding = only(robot(), with_topic(described(arm_graph()), SCENE, said(COMPRESSED)))
    assert finding.text == f"/driver publishes {COMPRESSED} there, not {IMAGE}"


def test_a_publisher_that_says_nothing_is_wrong():
    silent = GraphTopic((GraphEndpoint("/driver", IMAGE),), (), HeardTopic())
    assert "nothing came within 3 s" in only(robot(), with_topic(described(arm_graph()), SCENE, silent)).text


@pytest.mark.parametrize(("rate", "gap", "mark"), [
    (3.0, 0.33, WRONG), (3.34, 0.3, FITS), (3.34, 0.31, DOUBTFUL), (50.0, 0.3, FITS), (50.0, 0.301, DOUBTFUL)])
def test_joint_states_come_as_often_as_the_gate_wants(rate, gap, mark):
    graph = with_topic(described(arm_graph()), "/joint_states", said(JOINT_STATE, joints(), rate=rate, longest_gap=gap))
    first = next(finding for finding in check_robot(robot(), graph) if finding.subject == "state /joint_states")
    assert first.mark == mark


def test_who_publishes_and_how_is_shown():
    best_effort = replace(said(IMAGE, image()), publishers=(GraphEndpoint("/eye", IMAGE, reliable=False, latched=True),))
    findings = marks(robot(), with_topic(arm_graph(), SCENE, best_effort), FITS)
    assert findings[0].text == f"30 messages/s of {IMAGE} from /eye, best effort, latched"


def test_a_state_that_is_not_required_is_doubtful_where_it_is_missing():
    state = [*STATE, {"topic": "/odom", "type": ODOMETRY, "required": False}]
    assert only(robot(state=state), described(arm_graph()), DOUBTFUL).subject == "state /odom"
    required = [*STATE, {"topic": "/odom", "type": ODOMETRY}]
    assert only(robot(state=required), described(arm_graph())).subject == "state /odom"


def test_two_publishers_of_images_are_wrong_and_of_odometry_doubtful():
    two = replace(said(IMAGE, image()), publishers=(GraphEndpoint("/one", IMAGE), GraphEndpoint("/two", IMAGE)))
    assert "/one, /two" in only(robot(), with_topic(described(arm_graph()), SCENE, two)).text
    odometry = replace(said(ODOMETRY, object()), publishers=(GraphEndpoint("/one", ODOMETRY), GraphEndpoint("/two", ODOMETRY)))
    graph = arm_graph(__cmd_vel=taken(TWIST), __odom=odometry)
    assert only(base(state=[{"topic": "/odom", "type": ODOMETRY}]), graph, DOUBTFUL).text.startswith("2 publishers")


# -- images ------------------------------------------------------------------------------------------------------------
def camera(**fields):
    return robot(cameras={"scene": {"topic": SCENE, **fields}})


def test_an_image_of_another_size_is_wrong_with_what_to_write():
    assert not marks(camera(size=[480, 640]), described(arm_graph()), WRONG)
    finding = only(camera(size=[640, 480]), described(arm_graph()))
    assert finding.text == "its images are 480 x 640 (height x width), not 640 x 480"
    assert finding.remedy.startswith("write size: [480, 640]")


@pytest.mark.parametrize(("crop", "fits"), [
    ([0, 0, 640, 480], True), ([160, 0, 480, 480], True), ([161, 0, 480, 480], False), ([0, 1, 640, 480], False)])
def test_the_crop_is_inside_the_image(crop, fits):
    assert bool(marks(camera(crop=crop), described(arm_graph()), WRONG)) is not fits


def test_an_image_that_would_be_refused_is_wrong_with_the_sentence_of_its_refusal():
    for message, sentence in ((image(encoding="16UC1", sample_bytes=2), "is a depth image"),
                              (image(encoding="jpeg2000"), "is not known"),
                              (image(sample_bytes=2), "need 1920 bytes a row")):
        assert sentence in only(camera(), with_topic(described(arm_graph()), SCENE, said(IMAGE, message))).text


def png(height, width):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_a_compressed_image_is_read_as_far_as_its_size():
    graph = described(arm_graph())
    file = {"topic": "/eye/compressed", "transport": "compressed", "size": [48, 64]}
    for data, sentence in ((png(48, 64), ""), (png(64, 48), "its images are 64 x 48"), (b"GIF89a", "neither JPEG nor PNG")):
        there = with_topic(graph, "/eye/compressed", said(COMPRESSED, SimpleNamespace(data=data, format="png")))
        wrong = marks(robot(cameras={"eye": file}), there, WRONG)
        assert [sentence in finding.text for finding in wrong] == ([True] if sentence else [])


def test_a_depth_image_has_the_encoding_of_one_and_the_size_of_its_colour():
    for message, sentence in ((image(encoding="16UC1", sample_bytes=2), ""),
                              (image(240, 320, "32FC1", 4), "is 240 x 320 and the colour image 480 x 640"),
                              (image(), "encoding 'rgb8' is no depth image")):
        wrong = marks(camera(depth="/depth"), with_topic(described(arm_graph()), "/depth", said(IMAGE, message)), WRONG)
        assert [sentence in finding.text for finding in wrong] == ([True] if sentence else [])


def test_a_compressed_depth_image_is_read_as_camera_ingest_reads_it():
    samples = np.full((480, 640), 1000, np.uint16)
    data = struct.pack("<iff", 0, 0.0, 0.0) + cv2.imencode(".png", samples)[1].tobytes()
    for name, sentence in (("16UC1; compressedDepth png", ""), ("jpeg", "give the topic that ends in compressedDepth")):
        said_by_it = said(COMPRESSED, SimpleNamespace(data=data, format=name))
        there = with_topic(described(arm_graph()), "/depth", said_by_it)
        wrong = marks(camera(depth="/depth", depth_transport="compressed"), there, WRONG)
        assert [sentence in finding.text for finding in wrong] == ([True] if sentence else [])


# -- joints ------------------------------------------------------------------------------------------------------------
def with_joints(*messages):
    return with_topic(described(arm_graph()), "/joint_states", said(JOINT_STATE, *messages))


def test_joints_that_no_message_names_are_wrong_and_those_that_are_there_are_said():
    finding = only(robot(), with_joints(joints(["shoulder", *NAMES[1:]])))
    assert finding.text == f"no message names joint_1; they name shoulder, {', '.join(NAMES[1:])}"


def test_joints_of_two_publishers_are_taken_together_and_in_any_order():
    assert not marks(robot(), with_joints(joints(NAMES[:4]), joints(NAMES[4:])), WRONG)
    other = marks(robot(), with_joints(joints(NAMES[::-1])), FITS)
    assert any(finding.text.endswith("in another order than the file: they go by name") for finding in other)


@pytest.mark.parametrize(("message", "sentence"), [
    (joints(positions=[0.1] * 5), "6 names and 5 positions"),
    (joints(positions=[]), "no positions"),
    (joints(positions=[float("nan")] * 6), "says nan"),
    (joints([NAMES[0], *NAMES]), "has joint 'joint_1' twice")])
def test_a_message_that_would_be_refused_is_wrong(message, sentence):
    assert sentence in only(robot(), with_joints(joints(), message)).text


@pytest.mark.parametrize(("angle", "fits"), [(2.0, True), (-2.0, True), (2.01, False), (57.3, False)])
def test_a_joint_that_stands_outside_its_bounds_is_wrong(angle, fits):
    graph = with_joints(joints(positions=[angle, *[0.0] * 5]))
    assert [finding.subject for finding in marks(robot(), graph, WRONG)] == ([] if fits else ["channel 'joint_1'"])


def test_an_array_has_as_many_numbers_as_the_file_names():
    state = [*STATE, {"topic": "/forces", "type": NUMBERS, "names": ["left", "right"], "unit": "N"}]
    for data, sentence in (([1.0, 2.0], ""), ([1.0], "have 1 numbers, the file names 2"), ([1.0] * 3, "have 3 numbers"),
                           ([1.0, float("inf")], "it says [1.0, inf]")):
        graph = with_topic(described(arm_graph()), "/forces", said(NUMBERS, SimpleNamespace(data=data), age=None))
        wrong = marks(robot(state=state), graph, WRONG)
        assert [sentence in finding.text for finding in wrong] == ([True] if sentence else [])


# -- range sensors -----------------------------------------------------------------------------------------------------
def lidar(**fields):
    obstacles = {"max_age": 0.2, "sensors": [{"topic": "/scan", "type": LIDAR, **fields}]}
    return base(obstacles=obstacles, footprint=dict.fromkeys(("front", "back", "left", "right"), 0.2))


def test_a_range_sensor_comes_within_the_age_that_the_file_allows():
    for rate, mark in ((5.0, FITS), (4.9, WRONG)):
        graph = arm_graph(__cmd_vel=taken(TWIST), __scan=said(LIDAR, object(), rate=rate, longest_gap=0.2))
        first = next(finding for finding in check_robot(lidar(), graph) if finding.subject == "sensor /scan")
        assert first.mark == mark


def test_a_point_cloud_without_coordinates_is_wrong():
    cloud = lidar(type=CLOUD, height=[0.1, 1.0], max_range=3.0)
    for names, wrong in (("xyz", 0), ("xyr", 1)):
        fields = [SimpleNamespace(name=name) for name in names]
        graph = arm_graph(__cmd_vel=taken(TWIST), __scan=said(CLOUD, SimpleNamespace(fields=fields)))
        assert len(marks(cloud, graph, WRONG)) == wrong

    policy_s = base(clouds={"scene": {"topic": "/scan"}})
    graph = arm_graph(__cmd_vel=taken(TWIST), __scan=said(CLOUD, SimpleNamespace(fields=fields)))
    assert [finding.subject for finding in marks(policy_s, graph, WRONG)] == ["cloud 'scene' /scan"]
    assert heard_topics(policy_s)["/scan"] == CLOUD


# -- outputs -----------------------------------------------------------------------------------------------------------
def test_an_output_that_nobody_takes_is_wrong():
    assert only(robot(), without(described(arm_graph()), "/arm")).text == "nobody listens there"


def test_a_listener_for_another_type_is_wrong_with_the_type_to_write():
    finding = only(robot(), with_topic(described(arm_graph()), "/arm", taken(NUMBERS)))
    assert finding.text == f"/controller listens for {NUMBERS}, not {TRAJECTORY}"
    assert finding.remedy.startswith(f"write type: {NUMBERS}")


def test_a_listener_that_asks_for_what_was_said_before_would_hear_nothing():
    graph = with_topic(described(arm_graph()), "/arm", taken(TRAJECTORY, latched=True))
    assert "transient local" in only(robot(), graph).text


def test_who_else_publishes_commands_is_wrong_and_the_gate_is_not():
    for node, wrong in (("/teleop", 1), ("/vla/safety_validator", 0), ("/other/safety_validator", 0)):
        topic = replace(taken(TRAJECTORY), publishers=(GraphEndpoint(node, TRAJECTORY),))
        findings = marks(robot(), with_topic(described(arm_graph()), "/arm", topic), WRONG)
        assert [finding.text for finding in findings] == [f"{node} also publishes commands there"] * wrong


@pytest.mark.parametrize(("kind", "joints_there", "mark"), [
    (TRAJECTORY, NAMES[::-1], FITS), (TRAJECTORY, NAMES[:5], WRONG), (TRAJECTORY, (), FITS),
    (NUMBERS, NAMES, FITS), (NUMBERS, NAMES[::-1], WRONG), (NUMBERS, (), DOUBTFUL)])
def test_a_controller_takes_the_joints_that_are_sent_an_array_in_their_order(kind, joints_there, mark):
    graph = with_topic(described(arm_graph()), "/arm", taken(kind))
    if joints_there:
        graph = replace(graph, controller_joints={"/controller": tuple(joints_there)})
    outputs = [{"topic": "/arm", "type": kind, "channels": NAMES}]
    findings = [finding for finding in check_robot(robot(outputs=outputs), graph) if finding.subject == "output /arm"]
    assert [finding.mark for finding in findings] == [mark]


# -- limits ------------------------------------------------------------------------------------------------------------
def test_limits_that_are_wider_than_the_description_are_wrong():
    assert not marks(robot(), described(arm_graph()), WRONG)
    narrow = described(arm_graph(), urdf_text().replace("lower='-2.5'", "lower='-1.99'", 1))
    assert "allows joint 'joint_1' -1.99 to 2.5" in only(robot(), narrow).text


def test_without_a_description_or_with_one_of_another_robot_limits_are_doubtful():
    assert "nobody publishes /robot_description" in only(robot(), arm_graph(), DOUBTFUL).text
    assert "begins with <sdf>" in only(robot(), described(arm_graph(), "<sdf/>"), DOUBTFUL).text
    other = described(arm_graph(), urdf_text().replace("joint_6", "roll"))
    assert only(robot(), other, DOUBTFUL).text == "/robot_description has no joint 'joint_6'"


# -- clocks ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("age", "fits"), [(0.4, True), (0.41, False), (-0.05, True), (-0.051, False), (1e9, False)])
def test_an_image_that_comes_too_old_or_from_the_future_is_wrong(age, fits):
    graph = with_topic(described(arm_graph()), SCENE, said(IMAGE, image(), age=age))
    assert [finding.subject for finding in marks(robot(), graph, WRONG)] == ([] if fits else [f"clock of {SCENE}"])


def test_the_same_of_joint_states_is_doubtful():
    graph = with_topic(described(arm_graph()), "/joint_states", said(JOINT_STATE, joints(), age=-1.0))
    assert only(robot(), graph, DOUBTFUL).text == "its stamps are 1.00 s in the future when they come"


def test_an_image_without_a_stamp_is_wrong():
    graph = with_topic(described(arm_graph()), SCENE, said(IMAGE, image(), age=None, unstamped=90))
    assert only(robot(), graph).text == "90 of 90 messages have the stamp 0"


def test_simulated_time_is_doubtful_and_its_stamps_are_held_against_it():
    graph = described(arm_graph())
    topics = {}
    for name, topic in graph.topics.items():
        topics[name] = replace(topic, heard=replace(topic.heard, age=1e9, sim_age=0.02)) if topic.heard else topic
    graph = with_topic(replace(graph, topics=topics), "/clock", said("rosgraph_msgs/msg/Clock", by="/simulator"))
    assert only(robot(), graph, DOUBTFUL).text == "/simulator publishes /clock: simulated time"
    assert not marks(robot(), graph, WRONG)
