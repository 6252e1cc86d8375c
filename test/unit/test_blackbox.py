"""The flight recorder: what it keeps, when it writes, and that its files are what others read."""
from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the flight recorder needs mcap")
pytest.importorskip("rosbags", reason="its files are read by rosbags")
from blackbox_bags import ACTIVE, HOLDING, OURS, SECOND, START, STOPPED, Bag, store

from vla_ros.core.robot import load_robot
from vla_ros.core.whole_file import write_whole
from vla_ros.datasets.bag_stream import BagStream, bag_head, reader_by
from vla_ros.operator.blackbox import bag_file
from vla_ros.operator.blackbox.bag_file import BagFacts, bag_files, profile_text
from vla_ros.operator.blackbox.ring import MESSAGE_BYTES, MessageRing, RecordedMessage
from vla_ros.operator.blackbox.topics import recorded_topics
from vla_ros.operator.blackbox.triggers import (
    AFTERMATH_NS,
    FAULT_OVER_NS,
    CauseWatch,
    WriteTriggers,
)

ROBOTS = Path(__file__).parents[2] / "config" / "robots"


# -- which topics ----------------------------------------------------------------------
@pytest.mark.parametrize("path", sorted(ROBOTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_topic_that_a_robot_file_names_is_recorded(path: Path) -> None:
    robot = load_robot(path)
    there = {topic.name: topic for topic in recorded_topics(robot, list(robot.camera_nodes))}
    assert set(robot.required_topics) | {sensor.topic for sensor in robot.sensors} <= set(there)
    assert {output.topic for output in robot.outputs if not output.is_action} <= set(there)
    assert {robot.frame_topic(camera) for camera in robot.camera_nodes} <= set(there)
    assert not {camera.topic for camera in robot.cameras} & set(there), "raw images are not heard"


@pytest.mark.parametrize("robot, twist", [("sim", "geometry_msgs/msg/Twist"), ("sim_arm", None)])
def test_what_a_persons_stick_says_is_recorded_as_the_node_teleop_hears_it(robot: str, twist: str | None) -> None:
    there = {topic.name: topic.type for topic in recorded_topics(load_robot(ROBOTS / f"{robot}.yaml"), [])}
    assert there["joy"] == "sensor_msgs/msg/Joy" and there["teleop_joints"] == "sensor_msgs/msg/JointState"
    assert there.get("teleop_twist") == twist


def test_a_frame_is_kept_as_jpeg_under_the_name_that_image_transport_gives_it() -> None:
    robot = load_robot(ROBOTS / "sim.yaml")
    frame = next(topic for topic in recorded_topics(robot, ["camera"]) if topic.is_image)
    assert (frame.kept_name, frame.kept_type, frame.depth) == ("frame/compressed", "sensor_msgs/msg/CompressedImage", 1)


def test_what_was_said_last_holds_and_is_kept_for_good() -> None:
    robot = load_robot(ROBOTS / "sim.yaml")
    assert {topic.name for topic in recorded_topics(robot, []) if topic.latched} == {"instruction/accepted", "halt"}


# -- the ring --------------------------------------------------------------------------
def message(seconds: float, topic: str = "/a", size: int = 100) -> RecordedMessage:
    at = round(seconds * SECOND)
    return RecordedMessage(topic, b"x" * size, at, at, at)


def kept(ring: MessageRing) -> list[float]:
    return [each.arrived / SECOND for each in ring.messages()]


def test_the_ring_keeps_what_is_exactly_as_old_as_it_may_be_and_nothing_older() -> None:
    ring = MessageRing(2.0, 1.0)
    for seconds in (0.0, 1.0, 2.0):
        ring.add(message(seconds))
    assert kept(ring) == [0.0, 1.0, 2.0]
    ring.add(message(2.001))
    assert kept(ring) == [1.0, 2.0, 2.001]
    ring.forget(round(4.5 * SECOND))
    assert kept(ring) == [] and ring.size == 0


def test_beyond_its_megabytes_the_oldest_goes_first() -> None:
    size = 1000
    ring = MessageRing(100.0, 3 * (size + MESSAGE_BYTES) / 1e6)
    for seconds in range(3):
        ring.add(message(seconds, size=size))
    assert kept(ring) == [0, 1, 2]
    ring.add(message(3, size=size))
    assert kept(ring) == [1, 2, 3] and ring.size == 3 * (size + MESSAGE_BYTES)


def test_one_message_larger_than_the_ring_is_still_kept_until_the_next() -> None:
    ring = MessageRing(100.0, 0.001)
    ring.add(message(0.0, size=5000))
    ring.add(message(1.0, size=5000))
    assert kept(ring) == [1.0]


def test_the_last_message_of_a_latched_topic_is_there_however_old() -> None:
    ring = MessageRing(2.0, 1.0, ["/halt"])
    for seconds, topic in ((0.0, "/halt"), (1.0, "/halt"), (2.0, "/a"), (50.0, "/a")):
        ring.add(message(seconds, topic))
    assert kept(ring) == [1.0, 50.0]
    ring.add(message(51.0, "/halt"))
    assert kept(ring) == [50.0, 51.0]


# -- when it writes --------------------------------------------------------------------
def test_what_follows_a_cause_belongs_to_its_file() -> None:
    triggers = WriteTriggers(30.0)
    triggers.note("stopped", 0)
    assert triggers.take_due(AFTERMATH_NS - 1) == []
    assert triggers.take_due(AFTERMATH_NS) == ["stopped"]
    assert triggers.take_due(AFTERMATH_NS + 1) == []


def test_a_storm_of_causes_writes_once_per_settle_time() -> None:
    triggers = WriteTriggers(30.0)
    written = []
    for tenth in range(1000):  # 100 s
        now = tenth * SECOND // 10
        triggers.note("again", now)
        if triggers.take_due(now):
            written.append(now / SECOND)
    assert written == [2.0, 32.0, 62.0, 92.0]


def test_an_operator_does_not_wait() -> None:
    triggers = WriteTriggers(30.0)
    triggers.note("stopped", 0)
    assert triggers.take_due(2 * SECOND)
    triggers.note("asked", 3 * SECOND, at_once=True)
    assert triggers.take_due(3 * SECOND) == ["asked"]


def test_a_storm_does_not_fill_the_memory_with_reasons() -> None:
    triggers = WriteTriggers(30.0)
    for _ in range(10_000):
        triggers.note("again", 0)
    assert len(triggers.take_all(0)) <= 20


def test_the_begin_of_a_stop_is_a_cause_and_its_reports_are_none() -> None:
    causes = CauseWatch()
    assert causes.on_report(HOLDING, "") == ""
    assert causes.on_report(STOPPED, "the stop is pressed") == "the gate stopped: the stop is pressed"
    assert causes.on_report(STOPPED, "the stop is pressed") == ""
    assert causes.on_report(ACTIVE, "") == ""
    assert causes.on_report(STOPPED, "tilt") == "the gate stopped: tilt"


def test_a_gate_that_had_stopped_before_the_recorder_came_is_no_cause() -> None:
    causes = CauseWatch()
    assert causes.on_report(STOPPED, "long ago") == ""


def test_a_halt_is_a_cause_each_time_that_its_reason_is_new() -> None:
    causes = CauseWatch()
    assert causes.on_halt(False, "") == ""
    assert "no reason" in causes.on_halt(True, "")
    assert causes.on_halt(True, "") == ""
    assert "camera" in causes.on_halt(False, "the camera is lost")
    assert causes.on_halt(False, "") == ""
    assert "camera" in causes.on_halt(True, "the camera is lost")


def test_a_fault_that_lasts_is_one_cause_until_it_was_over() -> None:
    causes = CauseWatch()
    assert causes.on_fault("vision", "camera_ingest", "black", 0) == "vision fault of camera_ingest: black"
    assert causes.on_fault("vision", "camera_ingest", "black", FAULT_OVER_NS - 1) == ""
    assert causes.on_fault("action", "inference", "hangs", FAULT_OVER_NS) != ""
    assert causes.on_fault("vision", "camera_ingest", "black", 2 * FAULT_OVER_NS - 1) != ""


# -- its files -------------------------------------------------------------------------
def drive() -> Bag:
    bag = Bag()
    for tick in range(100):
        bag.report(tick * 0.02).heartbeat(tick * 0.02, "inference")
    return bag.instruction(2.0, 7, "go to the red block").image(2.0, b"\xff\xd8picture")


def test_the_file_is_read_by_mcaps_own_reader_with_ros_2_schemas(tmp_path: Path) -> None:
    from mcap.reader import make_reader
    path = drive().write(tmp_path)
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary and summary.statistics and summary.statistics.message_count == 202
        assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
        assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}
        times = [found.log_time for _, _, found in reader.iter_messages()]
    assert times == sorted(times) and times[0] == START


def test_the_file_is_read_by_mcaps_ros_2_decoder_our_own_types_too(tmp_path: Path) -> None:
    ros2 = pytest.importorskip("mcap_ros2.reader", reason="mcap-ros2-support is not installed")
    path = drive().write(tmp_path)
    found = {each.channel.topic: each.ros_msg for each in ros2.read_ros2_messages(str(path))}
    report = found["/vla/safety_report"]
    assert report.channels == ["linear.x", "angular.z"] and list(report.emitted) == pytest.approx([0.2, 0.0])
    assert report.control_source == "policy" and report.header.stamp.sec == (START + 198 * SECOND // 100) // SECOND
    assert found["/vla/instruction/accepted"].text == "go to the red block"


def test_the_file_is_read_by_rosbags_reader_with_the_types_it_holds(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader
    profile = profile_text([(1, 10, 1, 2)])
    path = drive().write(tmp_path, profiles={"/vla/safety_report": profile})
    with AnyReader([path]) as reader:
        counts = {each.topic: each.msgcount for each in reader.connections}
        report = next(each for each in reader.connections if each.topic == "/vla/safety_report")
        assert [(qos.depth, qos.reliability.value, qos.durability.value) for qos in report.ext.offered_qos_profiles] == [
            (10, 1, 2)]
        _, _, data = next(reader.messages([report]))
        assert reader.deserialize(data, report.msgtype).instruction_id == 7
    assert counts == {"/vla/safety_report": 100, "/vla/heartbeat": 100, "/vla/instruction/accepted": 1,
                      "/vla/frame/compressed": 1}


def test_a_file_says_why_it_was_written_and_for_which_robot(tmp_path: Path) -> None:
    path = drive().write(tmp_path, reasons=("the gate stopped: tilt",), robot_file="name: cart\n", parameters={"a": 1.5})
    stream, first = bag_head(path)
    assert first is not None and first.received == START
    assert stream.metadata["reasons"] == '["the gate stopped: tilt"]'
    assert stream.attachments["robot.yaml"] == b"name: cart\n" and stream.parameters() == {"a": 1.5}


def test_files_are_kept_and_the_oldest_is_removed(tmp_path: Path) -> None:
    paths = [drive().write(tmp_path, most_files=3) for _ in range(4)]
    (tmp_path / "mine.mcap").touch()
    assert bag_files(tmp_path) == paths[1:]
    assert (tmp_path / "mine.mcap").exists()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "blackbox_2026-01-01T00-00-00Z_incident_vla.mcap.part").write_bytes(b"half")
    drive().write(tmp_path)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", ["blackbox_incident_for_the_lawyer.mcap", "blackbox_2025-01-01_other_robot.mcap", "blackbox_x.mcap.part"])
def test_files_whose_names_only_resemble_its_own_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    os.utime(tmp_path / name, (1, 1))
    for _ in range(2):
        drive().write(tmp_path, most_files=1)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_two_recorders_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second writes while the first does, in the same second, and both keep their own number of files."""
    write_now = bag_file._write
    seen = []

    def interrupted(stream: object, messages: object, facts: BagFacts) -> None:
        if facts.reasons == ("the first",):
            seen.append(drive().write(tmp_path, most_files=1, namespace="/b"))
            seen.append(drive().write(tmp_path, most_files=1, namespace="/a"))
        write_now(stream, messages, facts)  # type: ignore[arg-type]
    monkeypatch.setattr(time, "strftime", lambda *_: "2026-01-01T00-00-00Z")
    monkeypatch.setattr(bag_file, "_write", interrupted)
    first = drive().write(tmp_path, most_files=1, reasons=("the first",), namespace="/a")
    assert set(bag_files(tmp_path)) == {first, seen[0]} and not list(tmp_path.glob("*.part"))
    assert sum(1 for _ in BagStream(first)) == 202
    assert seen[0].name == "blackbox_2026-01-01T00-00-00Z_incident_b.mcap"


def test_ten_restarts_push_out_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(11))
    monkeypatch.setattr(time, "strftime", lambda *_: f"2026-01-01T00-00-{next(seconds):02}Z")
    stop = drive().write(tmp_path, most_files=2)
    ends = [drive().write(tmp_path, most_files=2, incident=False) for _ in range(10)]
    assert set(bag_files(tmp_path)) == {stop, *ends[-2:]}


def test_the_newest_file_stays_though_the_clock_was_set_back(tmp_path: Path) -> None:
    later = tmp_path / "blackbox_2999-01-01T00-00-00Z_incident.mcap"
    later.touch()
    newest = drive().write(tmp_path, most_files=1)
    assert bag_files(tmp_path) == [newest]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def noted(held: int) -> None:
        steps.append(Path(os.readlink(f"/proc/self/fd/{held}")).suffix or "folder")
        sync(held)

    def renamed(part: Path, path: Path) -> None:
        steps.append(f"{Path(part).stat().st_size > 0}")
        replace(part, path)
    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    drive().write(tmp_path)
    write_whole(tmp_path / "text", "whole")
    assert steps == [".part", "True", "folder"] * 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_full_disk_or_a_read_only_one_costs_a_sentence_and_leaves_nothing(tmp_path: Path, number: int,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(bag_file, "_write", refuse)
    with pytest.raises(ValueError, match=f"wrote nothing to .*: {os.strerror(number)}; free the disk"):
        drive().write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spare, fits", [(-1, False), (0, True), (1, True)])
def test_it_does_not_take_the_robots_last_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int,
                                                    fits: bool) -> None:
    bag = drive()
    size = sum(each.size for each in bag.messages)
    usage = shutil.disk_usage(tmp_path)._replace(free=size + bag_file.SPARE_BYTES + spare)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    if fits:
        assert bag.write(tmp_path).exists()
        return
    with pytest.raises(ValueError, match="wrote nothing: .* has 64 MB left, and the file may take 1 MB"):
        bag.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_costs_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="wrote nothing to .*; free the disk, or give it another folder"):
        drive().write(tmp_path / "file" / "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_costs_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"):
        drive().write(tmp_path)


def test_without_mcap_it_says_what_to_install() -> None:
    code = ("import sys; sys.modules['mcap'] = None; sys.modules['mcap.writer'] = None\n"
            "from vla_ros.operator.blackbox.bag_file import missing_library; print(missing_library())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "the flight recorder needs the Python module mcap: pip install mcap; nothing is recorded\n"


# -- reading them ----------------------------------------------------------------------
def test_a_recording_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    bag = Bag()
    for tick in range(20_000):
        bag.report(tick * 0.02, reason=f"{tick * 7919 % 10007:x}" * 20)
    path = bag.write(tmp_path)
    whole = path.read_bytes()
    cut = tmp_path / "cut.mcap"
    for share in (0.5, 0.9):
        cut.write_bytes(whole[: int(len(whole) * share)])
        stream = BagStream(cut)
        count = sum(1 for _ in stream)
        assert 0 < count <= 20_000 * (share + 0.1)
        assert "cut.mcap is cut off or damaged after" in stream.problem
    stream = BagStream(path)
    assert sum(1 for _ in stream) == 20_000 and stream.problem == ""


@pytest.mark.parametrize("content, says", [
    (b"", "is no MCAP file: it does not begin as one"), (b"no bag", "is no MCAP file"), (b"\x89PNG\r\n\x1a\n" * 20, "is no MCAP file")])
def test_what_is_no_bag_is_refused_with_a_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        list(BagStream(path))
    with pytest.raises(ValueError, match="is no bag: give a rosbag2 folder"):
        list(BagStream(tmp_path / "nothing"))


def test_damage_in_the_middle_is_a_sentence(tmp_path: Path) -> None:
    path = drive().write(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    stream = BagStream(path)
    list(stream)
    assert "cut off or damaged" in stream.problem


def test_a_long_recording_is_read_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc
    bag = Bag()
    for tick in range(3000):
        bag.image(tick * 0.1, os.urandom(20_000))
    path = bag.write(tmp_path)
    bag.messages.clear()
    assert path.stat().st_size > 55_000_000
    tracemalloc.start()
    assert sum(1 for _ in BagStream(path)) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


def test_a_message_is_read_by_the_definition_of_its_own_file(tmp_path: Path) -> None:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    old = get_typestore(Stores.ROS2_HUMBLE)
    kind = OURS + "Fault"
    old.register(get_types_from_msg("string source\nfloat64 severity\n", kind))
    bag = Bag()
    bag.types["/vla/fault"] = kind
    data = bytes(old.serialize_cdr(old.types[kind](source="lidar", severity=0.5), kind))
    bag.messages.append(RecordedMessage("/vla/fault", data, START, START, START))
    facts = bag.facts()
    facts.schemas[kind] = "string source\nfloat64 severity\n"  # type: ignore[index]
    path = bag_file.write_bag(tmp_path, bag.messages, facts, 10)
    (found,) = BagStream(path)
    assert (found.message.source, found.message.severity) == ("lidar", 0.5)
    assert "Fault" in str(store().types[kind])


def test_a_message_is_read_by_its_bag_s_definition_whatever_a_release_means_by_its_type() -> None:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    kind, definition = "std_msgs/msg/String", "string data\nint32 priority\n"  # ROS' own has no priority
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition, kind))
    data = bytes(store.serialize_cdr(store.types[kind](data="stop", priority=7), kind))
    message = reader_by(kind, definition)(data)
    assert (message.data, message.priority) == ("stop", 7)
