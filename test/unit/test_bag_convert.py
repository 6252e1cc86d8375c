"""`vla dataset convert BAG OUT --robot FILE`: frames by the stamps of what was recorded, and on record how."""
import json
import re

import numpy as np
import pytest

for module in ("pyarrow", "av", "rosbags"):
    pytest.importorskip(module, reason=f"bags need {module}")
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vla_ros.cli.main import main
from vla_ros.core.robot import parse_robot
from vla_ros.datasets.bag_episodes import RECORD, Resampling, convert_bags
from vla_ros.datasets.bags import INSTRUCTION, INSTRUCTION_FIELDS
from vla_ros.datasets.lerobot.read import Dataset

STORE = get_typestore(Stores.ROS2_HUMBLE)
STORE.register(get_types_from_msg(INSTRUCTION_FIELDS, INSTRUCTION))
T = STORE.types
NS = 1_000_000_000
START = 1_700_000_000 * NS
SIZE = (32, 48)

ARM = {
    "name": "toy",
    "cameras": {"front": {"topic": "/front", "transport": "raw"}},
    "state": [{"topic": "/joint_states", "type": "sensor_msgs/msg/JointState", "names": ["shoulder", "elbow"], "unit": "deg"}],
    "channels": {
        "shoulder": {"unit": "rad", "bounds": [-4, 4], "limits": [-4, 4], "max_speed": 9, "on_stop": "hold_measured",
                     "joint": "shoulder", "sent_unit": "deg"},
        "elbow": {"unit": "rad", "bounds": [-4, 4], "limits": [-4, 4], "max_speed": 9, "on_stop": "hold_measured",
                  "joint": "elbow", "sent_unit": "deg"},
        "linear.x": {"unit": "m/s", "bounds": [-1, 1], "limits": [-1, 1], "acceleration": 9, "on_stop": "zero"},
    },
    "outputs": [
        {"topic": "/arm", "type": "trajectory_msgs/msg/JointTrajectory", "channels": ["shoulder", "elbow"]},
        {"topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "channels": ["linear.x"]},
    ],
}


def header(at, frame=""):
    stamp = START + round(at * NS)
    return T["std_msgs/msg/Header"](T["builtin_interfaces/msg/Time"](stamp // NS, stamp % NS), frame)


def image(at, level):
    height, width = SIZE
    data = np.full(height * width * 3, level, np.uint8)
    return T["sensor_msgs/msg/Image"](header(at), height, width, "bgr8", 0, 3 * width, data)


def joints(at, shoulder, elbow):
    empty = np.zeros(0)
    return T["sensor_msgs/msg/JointState"](header(at), ["elbow", "shoulder"], np.array([elbow, shoulder], float), empty, empty)


def trajectory(at, *rows, ahead=(0.1,)):
    point, duration = T["trajectory_msgs/msg/JointTrajectoryPoint"], T["builtin_interfaces/msg/Duration"]
    empty = np.zeros(0)
    points = [point(np.array(row, float), empty, empty, empty, duration(0, round(due * NS))) for row, due in zip(rows, ahead)]
    return T["trajectory_msgs/msg/JointTrajectory"](header(at), ["shoulder", "elbow"], points)


def twist(speed):
    vector = T["geometry_msgs/msg/Vector3"]
    return T["geometry_msgs/msg/Twist"](vector(speed, 0.0, 0.0), vector(0.0, 0.0, 0.0))


def said(at, number, text):
    return T[INSTRUCTION](header(at), number, text)


def messages(seconds=2.0, words=True):
    """(recorded at, topic, message): images at 20 Hz, joints at 50, a trajectory and a speed at 10; 7 ms on the way."""
    made = [(-0.5, "/words", said(-0.5, 4, "lift it"))] if words else []
    for index in range(round(20 * seconds) + 1):
        at = index / 20
        made.append((at, "/front", image(at, 5 * index)))
    for index in range(round(50 * seconds) + 1):
        at = index / 50
        made.append((at, "/joint_states", joints(at, index, 2 * index)))  # degrees
    for index in range(round(10 * seconds) + 1):
        at = index / 10
        made += [(at, "/arm", trajectory(at, (index, -index))), (at, "/cmd_vel", twist(index / 100))]
    return [(at + 0.007, topic, message) for at, topic, message in made]


def bag(path, made, plugin=StoragePlugin.MCAP):
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for at, topic, message in sorted(made, key=lambda each: each[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            data = STORE.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], START + round(at * NS), data)
    return path


def converted(path, out, robot=ARM, **options):
    said = []
    options = {"task_topic": "/words", **options}
    counts = convert_bags(path, out, parse_robot(robot), Resampling(**options), codec="h264", say=said.append)
    return Dataset(out), counts, said, json.loads((out / RECORD).read_text())


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_frames_hold_the_last_that_was_known_and_the_action_that_came_by_the_next(tmp_path, plugin):
    dataset, counts, said, record = converted(bag(tmp_path / "bag", messages(), plugin), tmp_path / "out")
    assert (len(dataset), counts.episodes, counts.dropped, said) == (21, 1, 0, [])
    assert (dataset.tasks, dataset.fps, dataset.robot_type) == (["lift it"], 10.0, "toy")
    assert dataset.episodes[0].instruction_id == 4
    degree = np.pi / 180
    np.testing.assert_allclose(dataset.state, [[5 * k * degree, 10 * k * degree] for k in range(21)], rtol=1e-5)
    assert dataset.names == {"observation.state": ("shoulder", "elbow"), "action": ("shoulder", "elbow", "linear.x")}
    for k in range(20):  # the command of 0.1 s later; a Twist has no stamp, so it counts from when it was recorded
        assert dataset.action[k] == pytest.approx([(k + 1) * degree, -(k + 1) * degree, k / 100], rel=1e-5)
        level = dataset.image(k, "front").mean()
        assert abs(level - 10 * k) < 3.0
    assert record["features"]["observation.images.front"]["largest_age_s"] == 0.0
    assert record["frames"] == {"written": 21, "dropped": {}} and record["fps"] == 10


def test_a_camera_that_comes_late_or_goes_early_costs_counted_frames(tmp_path):
    kept = [each for each in messages() if each[1] != "/front" or each[0] > 0.4]
    late, _, _, record = converted(bag(tmp_path / "late", kept), tmp_path / "late_out")
    assert len(late) == 17 and record["frames"]["dropped"] == {"before all had been heard of": 4}
    two = {**ARM, "cameras": {**ARM["cameras"], "side": {"topic": "/side"}}}
    made = messages() + [(index / 20, "/side", image(index / 20, 9)) for index in range(21)]
    early, _, _, record = converted(bag(tmp_path / "early", made), tmp_path / "early_out", two)
    assert len(early) == 13 and record["frames"]["dropped"] == {"camera 'side': no image within max_age_s": 8}


def test_how_frames_were_made_is_on_record(tmp_path):
    *_, record = converted(bag(tmp_path / "bag", messages()), tmp_path / "out", max_age_s=0.3)
    assert record["max_age_s"] == 0.3 and record["clock"] == "the messages' own stamps" and record["bags"] == ["bag"]
    assert record["features"]["observation.images.front"]["method"] == "the last message at or before the frame"
    methods = record["features"]["action"]["methods"]
    assert methods["shoulder"] == "the last command at or before the next frame"
    assert methods["linear.x"].endswith("0 where the last command is older than max_age_s")


@pytest.mark.parametrize(("silence", "frames"), [(0.30, 21), (0.35, 20), (0.45, 19)])
def test_an_image_that_is_too_old_makes_no_frame_and_ends_the_episode(tmp_path, silence, frames):
    """Images stop after 0.8 s for a while: frames at 0.9, 1.0, 1.1, … s see an older and older one."""
    kept = [each for each in messages() if each[1] != "/front" or not 0.8 < each[0] - 0.007 < 0.8 + silence - 1e-6]
    dataset, counts, said, record = converted(bag(tmp_path / "bag", kept), tmp_path / "out")
    assert len(dataset) == frames and counts.dropped == 21 - frames
    assert len(dataset.episodes) == (1 if frames == 21 else 2)
    reason = "camera 'front': no image within max_age_s"
    assert record["frames"]["dropped"] == ({} if frames == 21 else {reason: 21 - frames})
    assert said == ([] if frames == 21 else [f"{21 - frames} frames dropped: {reason}"])


def test_a_speed_that_nobody_repeats_is_zero_and_a_position_holds(tmp_path):
    kept = [each for each in messages() if each[1] not in ("/arm", "/cmd_vel") or each[0] < 1.05]
    dataset, *_ = converted(bag(tmp_path / "bag", kept), tmp_path / "out")
    degree = np.pi / 180
    assert dataset.action[10] == pytest.approx([10 * degree, -10 * degree, 0.1])  # 0.093 s old at 1.1 s
    assert dataset.action[11, 2] == pytest.approx(0.1) and dataset.action[12, 2] == 0.0  # 0.193 s, 0.293 s
    assert dataset.action[19, 0] == pytest.approx(10 * degree)


def test_an_instruction_is_an_episode_and_silence_is_none(tmp_path):
    made = messages() + [(0.8, "/words", said(0.8, 5, "lower it")), (1.5, "/words", said(1.5, 6, ""))]
    dataset, _, lines, _ = converted(bag(tmp_path / "bag", made), tmp_path / "out")
    assert [(one.start, one.end, one.task, one.instruction_id) for one in dataset.episodes] == [
        (0, 8, "lift it", 4), (8, 15, "lower it", 5)]
    assert lines == ["6 frames dropped: no instruction"]


def test_what_is_shorter_than_half_a_second_is_no_episode(tmp_path):
    made = messages() + [(0.5, "/words", said(0.5, 5, "lower it")), (0.9, "/words", said(0.9, 6, "lift it"))]
    dataset, _, lines, _ = converted(bag(tmp_path / "bag", made), tmp_path / "out")
    assert [len(range(one.start, one.end)) for one in dataset.episodes] == [5, 12]
    assert lines == ["4 frames dropped: an episode of less than 0.5 s"]


def test_a_folder_of_bags_and_words_from_the_command_line(tmp_path):
    bag(tmp_path / "bags/one", messages(words=False))
    two = bag(tmp_path / "bags/two", messages(1.0, words=False))
    (two / "two.mcap").rename(tmp_path / "bags/three.mcap")  # a file alone, as other recorders leave it
    (two / "metadata.yaml").unlink()
    two.rmdir()
    dataset, _, _, record = converted(tmp_path / "bags", tmp_path / "out", task="wave")
    assert [one.end - one.start for one in dataset.episodes] == [21, 11] and dataset.tasks == ["wave"]
    assert record["bags"] == ["one", "three.mcap"]


def test_a_trajectory_of_several_points_is_followed_point_by_point(tmp_path):
    kept = [each for each in messages() if each[1] != "/arm"]
    kept.append((0.0, "/arm", trajectory(0.0, (1, 0), (2, 0), (3, 0), ahead=(0.1, 0.5, 1.0))))
    kept.append((0.7, "/arm", trajectory(0.7, (9, 0))))
    dataset, *_ = converted(bag(tmp_path / "bag", kept), tmp_path / "out", measured=True)
    shoulder = np.round(dataset.action[:, 0] * 180 / np.pi)
    assert shoulder[[0, 3, 4, 5]].tolist() == [1, 1, 2, 2] and set(shoulder[6:]) == {9}


def test_channels_without_commands_are_refused_or_measured(tmp_path):
    made = [each for each in messages() if each[1] != "/arm"]
    path = bag(tmp_path / "bag", made)
    with pytest.raises(ValueError, match="no commands of channel 'shoulder' .*; --measured takes where it was measured"):
        converted(path, tmp_path / "out")
    dataset, _, said, record = converted(path, tmp_path / "out", measured=True)
    assert dataset.action[3, 0] == pytest.approx(20 * np.pi / 180)  # where it was 0.1 s later
    assert "the action of 'shoulder' is where it was measured at the next frame: its commands are not in the bag" in said
    assert record["features"]["action"]["methods"]["elbow"] == "where it was measured at the next frame"


def test_commands_beyond_the_robot_s_bounds_are_said(tmp_path):
    """Degrees that the robot file takes for radians."""
    channels = {name: {**fields, "sent_unit": "rad"} if name == "elbow" else fields for name, fields in ARM["channels"].items()}
    state = [{**ARM["state"][0], "names": ["shoulder"]}]
    channels["elbow"].pop("joint")
    robot = {**ARM, "state": state, "channels": {**channels, "elbow": {**channels["elbow"], "on_stop": "hold_commanded"}}}
    _, _, said, _ = converted(bag(tmp_path / "bag", messages()), tmp_path / "out", robot)
    assert said == ["'elbow' was sent to -20 to -1 rad, beyond its bounds -4 to 4; are its scale and sent_unit right?"]


def test_messages_that_cannot_be_true_are_passed_over_and_counted(tmp_path):
    made = messages()
    made.append((1.011, "/joint_states", joints(1.01, np.nan, 0.0)))
    bad = image(1.05, 99)
    bad.encoding = "16UC1"
    made = [each for each in made if each[1] != "/front" or abs(each[0] - 1.007) > 1e-6] + [(1.007, "/front", bad)]
    bad.header = header(1.0)
    dataset, _, said, record = converted(bag(tmp_path / "bag", made), tmp_path / "out")
    assert len(dataset) == 21 and len(record["messages_passed_over"]) == 2
    assert dataset.episodes[0].lost_frames == 1  # filled with the image before
    assert abs(dataset.image(10, "front").mean() - 90) < 3.0
    assert any(re.match("1 messages passed over: /joint_states: .*nan", line) for line in said)


def test_clocks_that_differ_are_refused_unless_the_bag_s_is_meant(tmp_path):
    path = bag(tmp_path / "bag", [(at + 60.0, topic, message) for at, topic, message in messages()])
    with pytest.raises(ValueError, match="is stamped -60.0 s off .*--bag-times"):
        converted(path, tmp_path / "out")
    dataset, *_, record = converted(path, tmp_path / "out", bag_times=True)
    assert len(dataset) == 21 and record["clock"] == "when recorded"


def test_an_instruction_of_long_ago_that_is_latched_is_no_second_clock(tmp_path):
    made = [each for each in messages() if each[1] != "/words"] + [(-0.5, "/words", said(-600.0, 4, "lift it"))]
    dataset, *_ = converted(bag(tmp_path / "bag", made), tmp_path / "out")
    assert len(dataset) == 21 and dataset.tasks == ["lift it"]


@pytest.mark.parametrize(("ahead", "refused"), [(4.9, False), (5.0, False), (5.1, True)])
def test_an_instruction_of_the_future_is_a_second_clock(tmp_path, ahead, refused):
    made = messages() + [(-1.0, "/words", said(ahead - 1.0, 5, "lower it"))]
    path = bag(tmp_path / "bag", made)
    if refused:
        with pytest.raises(ValueError, match="first message on /words is stamped 5.1 s off"):
            converted(path, tmp_path / "out")
    else:
        assert len(converted(path, tmp_path / "out")[0]) == 21


def late_by(seconds, topics=("/front", "/joint_states", "/arm", "/cmd_vel")):
    """From the middle on, stamps and all of `topics` are as much later."""
    made = []
    for at, topic, message in messages():
        if at > 1.02 and topic in topics:
            at += seconds
            if hasattr(message, "header"):
                message.header = header(at - 0.007)
        made.append((at, topic, message))
    return made


def test_a_clock_that_jumps_is_refused_before_frames_are_made_for_it(tmp_path, monkeypatch):
    path = bag(tmp_path / "bag", late_by(14 * 365 * 86400))
    monkeypatch.setattr("vla_ros.datasets.bag_episodes.np.arange", lambda *_: pytest.fail("an array of 14 years"))
    for bag_times in (False, True):
        with pytest.raises(ValueError, match=r"/joint_states jumps by 122640.00 h, from 2023-11-14 22:13:21 UTC to 2037-11-10 22:13:21 UTC"):
            converted(path, tmp_path / "out", bag_times=bag_times)


@pytest.mark.parametrize(("hours", "refused"), [(0.99, False), (1.0, False), (1.01, True)])
def test_a_gap_of_more_than_an_hour_is_a_clock_that_was_set(tmp_path, hours, refused):
    path = bag(tmp_path / "bag", late_by(3600 * hours - 0.05, ["/front"]))  # 0.05 s pass anyhow
    if refused:
        with pytest.raises(ValueError, match="/front"):
            converted(path, tmp_path / "out", fps=2)
    else:
        assert converted(path, tmp_path / "out", fps=2)[1].episodes == 1


def test_a_state_whose_clock_jumps_is_named(tmp_path):
    path = bag(tmp_path / "bag", late_by(7200, ["/joint_states"]))
    with pytest.raises(ValueError, match="/joint_states jumps by 2.00 h"):
        converted(path, tmp_path / "out")


def test_images_that_no_episode_shows_are_not_kept(tmp_path, monkeypatch):
    """One joint is silent from 0.6 to 1.4 s: no frames, though there are images."""
    from vla_ros.datasets import bag_episodes
    made = [each for each in messages() if each[1] != "/joint_states" or not 0.6 < each[0] < 1.4]
    decoded = []
    most = []
    plain = bag_episodes._Images._read_on

    def read_on(images):
        plain(images)
        most.append(len(images._kept["front"]))

    monkeypatch.setattr(bag_episodes._Images, "_read_on", read_on)
    made_rgb = bag_episodes.rgb_of_message
    monkeypatch.setattr(bag_episodes, "rgb_of_message", lambda *args: decoded.append(0) or made_rgb(*args))
    dataset, counts, *_ = converted(bag(tmp_path / "bag", made), tmp_path / "out")
    assert counts.episodes == 2 and len(decoded) == len(dataset) < 21
    assert max(most) == 1


def test_images_that_overtook_each_other_are_all_shown(tmp_path):
    made = []
    for at, topic, message in messages():  # the image of 0.4 s comes behind that of 0.5 s
        late = topic == "/front" and abs(at - 0.407) < 1e-6
        made.append((0.512 if late else at, topic, message))
    dataset, *_ = converted(bag(tmp_path / "bag", made), tmp_path / "out")
    assert dataset.episodes[0].lost_frames == 0
    assert abs(dataset.image(4, "front").mean() - 40) < 3.0 and abs(dataset.image(5, "front").mean() - 50) < 3.0


def test_a_bag_of_humble_says_no_message_s_definition(tmp_path):
    import sqlite3
    path = bag(tmp_path / "bag", messages(), StoragePlugin.SQLITE3)
    with sqlite3.connect(next(path.glob("*.db3"))) as held:
        held.execute("DELETE FROM message_definitions")
    dataset, *_ = converted(path, tmp_path / "out")
    assert len(dataset) == 21 and dataset.tasks == ["lift it"]


def test_compressed_images_are_decoded_cropped_and_turned(tmp_path):
    import cv2
    shown = np.zeros((40, 60, 3), np.uint8)
    shown[8:40, :48, 2] = 200  # red, as OpenCV has it, in what is kept
    data = cv2.imencode(".png", shown)[1].ravel()
    made = [each for each in messages() if each[1] != "/front"]
    for index in range(41):
        made.append((index / 20, "/front", T["sensor_msgs/msg/CompressedImage"](header(index / 20), "png", data)))
    camera = {"topic": "/front", "transport": "compressed", "crop": [0, 8, 48, 32], "rotate": 90}
    dataset, *_ = converted(bag(tmp_path / "bag", made), tmp_path / "out", {**ARM, "cameras": {"front": camera}})
    assert dataset.cameras == {"front": (48, 32)}
    assert np.abs(dataset.image(5, "front").reshape(-1, 3).mean(0) - [200, 0, 0]).max() < 8


def robot_file(tmp_path):
    import yaml
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(ARM))
    return str(path)


def cut_off(tmp_path, plugin, suffix):
    path = bag(tmp_path / "bag", messages(), plugin)
    file = next(path.glob(f"*.{suffix}"))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    return path


BAD = {
    "an mcap that is cut off": (lambda f: cut_off(f, StoragePlugin.MCAP, "mcap"), "cannot be read as a bag: .*cut off"),
    "an sqlite3 that is cut off": (lambda f: cut_off(f, StoragePlugin.SQLITE3, "db3"), "cannot be read as a bag: .*cut off"),
    "no camera in it": (lambda f: bag(f / "bag", [each for each in messages() if each[1] != "/front"]),
                        "has no message on /front, camera 'front' in robot 'toy'; it has /arm, /cmd_vel"),
    "no joints in it": (lambda f: bag(f / "bag", [each for each in messages() if each[1] != "/joint_states"]),
                        "has no message on /joint_states, the robot's state"),
    "no words": (lambda f: bag(f / "bag", messages(words=False)), "has no instruction on /words; .*--task"),
    "too short": (lambda f: bag(f / "bag", messages(0.3)), "no episode of at least 0.5 s can be made"),
    "nothing there": (lambda f: f / "bag", "is no bag: give a rosbag2 folder"),
    "a file gone": (lambda f: next(bag(f / "bag", messages()).glob("*.mcap")).unlink() or f / "bag", "files are missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bag_that_cannot_be_is_one_sentence(tmp_path, capsys, name):
    make, sentence = BAD[name]
    path = make(tmp_path)
    argv = ["dataset", "convert", str(path), str(tmp_path / "out"), "--robot", robot_file(tmp_path), "--task-topic", "/words"]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(sentence, said), said


def test_one_bad_bag_among_several_is_found_before_any_is_converted(tmp_path):
    bag(tmp_path / "bags/one", messages())
    bag(tmp_path / "bags/two", [each for each in messages() if each[1] != "/front"])
    with pytest.raises(ValueError, match="two has no message on /front"):
        converted(tmp_path / "bags", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bag_without_commands_among_several_is_found_before_any_image_is_written(tmp_path):
    bag(tmp_path / "bags/one", messages())
    bag(tmp_path / "bags/two", [each for each in messages() if each[1] != "/arm"])
    with pytest.raises(ValueError, match="two has no commands of channel 'shoulder'"):
        converted(tmp_path / "bags", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    dataset, *_ = converted(tmp_path / "bags", tmp_path / "out", measured=True)  # so the folder may be used again
    assert len(dataset) == 42


def test_what_is_whole_is_kept_where_a_later_bag_s_images_do_not_fit(tmp_path, monkeypatch):
    bag(tmp_path / "bags/one", messages())
    monkeypatch.setitem(globals(), "SIZE", (48, 48))
    bag(tmp_path / "bags/two", messages())
    with pytest.raises(ValueError, match=r"bags/two: .*\(48, 48, 3\) .*; the 1 episodes before it are whole in .*out"):
        converted(tmp_path / "bags", tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    assert len(dataset) == 21 and abs(dataset.image(20, "front").mean() - 200) < 3.0
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["bags"] == ["one", "two"] and record["frames"] == {"written": 21, "dropped": {}}


@pytest.mark.parametrize(("transport", "other"), [("compressed", "Image"), ("raw", "CompressedImage")])
def test_a_camera_of_another_transport_than_the_robot_file_s_is_refused(tmp_path, transport, other):
    made = [each for each in messages() if each[1] != "/front"]
    for index in range(41):
        at = index / 20
        compressed = T["sensor_msgs/msg/CompressedImage"](header(at), "png", np.zeros(9, np.uint8))
        made.append((at, "/front", image(at, 9) if other == "Image" else compressed))
    robot = {**ARM, "cameras": {"front": {"topic": "/front", "transport": transport}}}
    with pytest.raises(ValueError, match=f"/front is of type sensor_msgs/msg/{other}; camera 'front' in robot 'toy' is of .*; correct its transport"):
        converted(bag(tmp_path / "bag", made), tmp_path / "out", robot)
    assert not (tmp_path / "out").exists()


def test_a_state_of_another_type_than_the_robot_file_s_is_refused(tmp_path):
    made = [each for each in messages() if each[1] != "/joint_states"] + [(1.0, "/joint_states", twist(1.0))]
    with pytest.raises(ValueError, match="/joint_states is of type geometry_msgs/msg/Twist; .* sensor_msgs/msg/JointState"):
        converted(bag(tmp_path / "bag", made), tmp_path / "out")


def test_the_verb_says_what_it_made(tmp_path, capsys):
    path = bag(tmp_path / "bag", messages(words=False))
    argv = ["dataset", "convert", str(path), str(tmp_path / "out"), "--robot", robot_file(tmp_path), "--task", "lift it"]
    assert main([*argv, "--codec", "h264"]) == 0
    assert "1 episodes, 21 frames in" in capsys.readouterr().out
