"""What `vla blackbox` tells of a recording: said, seen, wanted, limited, refused and done."""
from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the flight recorder needs mcap")
pytest.importorskip("rosbags", reason="its files are read by rosbags")
import numpy as np
from blackbox_bags import (
    ACTIVE,
    DIAGNOSTICS,
    DISARMED,
    HELD,
    HOLDING,
    LATCHED,
    LIMITED,
    OURS,
    SECOND,
    STOPPED,
    TEXT,
    Bag,
    header,
    make,
)

from vla_ros.cli.main import main
from vla_ros.datasets.bag_stream import BagStream
from vla_ros.operator.blackbox.ring import RecordedMessage
from vla_ros.operator.blackbox.story import Story
from vla_ros.operator.blackbox.story_page import MOST_IMAGES


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def story_of(bag: Bag, folder: Path) -> tuple[list[str], Story]:
    story = Story()
    lines = list(story.lines(BagStream(bag.write(folder), Story.wanted)))
    return [str(line) for line in lines], story


def lines_of(bag: Bag, folder: Path) -> list[str]:
    return story_of(bag, folder)[0]


def test_reports_that_say_the_same_are_one_line_with_their_duration(tmp_path: Path) -> None:
    bag = Bag()
    for tick in range(51):
        bag.report(tick * 0.02, emitted=(0.1 + tick * 0.002, 0.0))
    assert lines_of(bag, tmp_path) == [
        "14:13:20.00  the policy drives, instruction 7: wanted linear.x 0.20, angular.z 0.00; sent linear.x 0.10 to 0.20, "
        "angular.z 0.00 (1.00 s, 51 reports)"]


def test_a_drive_is_told_second_by_second_and_what_holds_as_one(tmp_path: Path) -> None:
    bag = Bag()
    for tick in range(126):
        bag.report(tick * 0.02)
    for tick in range(126, 300):
        bag.report(tick * 0.02, HOLDING, HELD, "observation_age", "old")
    lines = lines_of(bag, tmp_path)
    assert [line[:11] for line in lines] == ["14:13:20.00", "14:13:21.02", "14:13:22.04", "14:13:22.52"]
    assert lines[-1].endswith("held by observation_age: old (3.46 s, 174 reports)")


def test_words_are_told_in_their_place_with_what_came_of_them(tmp_path: Path) -> None:
    bag = Bag().instruction(0.01, 7, "go to the red block")
    bag.chunk(0.09, 7, [[0.2, 0.0]]).text(0.1, "feedback", "on my way").report(0.2).report(0.3)
    bag.instruction(0.41, 8, "")
    assert [line[13:] for line in lines_of(bag, tmp_path)] == [
        "accepted: “go to the red block”",
        "constant@1 decides what the robot does", "the first action for “go to the red block”, 0.08 s after it",
        "the operator is told: on my way",
        "the policy drives, “go to the red block”: wanted linear.x 0.20, angular.z 0.00; sent linear.x 0.20, "
        "angular.z 0.00 (0.10 s, 2 reports)", "no instruction holds"]


def test_what_limited_a_command_stands_beside_what_was_wanted_and_sent(tmp_path: Path) -> None:
    bag = Bag().report(0.0)
    for tick in range(1, 4):
        bag.report(tick * 0.02, verdict=LIMITED, rule="limits", reason="linear.x 0.80 m/s; at most 0.30", requested=(0.8, 0.0),
                   emitted=(0.3, 0.0))
    (line,) = lines_of(bag, tmp_path)
    assert "wanted linear.x 0.20 to 0.80" in line and "sent linear.x 0.20 to 0.30" in line
    assert "limited by limits 3 times (linear.x 0.80 m/s; at most 0.30)" in line


def test_a_hold_for_an_old_image_says_when_the_last_one_came_and_what_had_happened_to_its_node(tmp_path: Path) -> None:
    bag = Bag()
    for tick in range(30):
        bag.heartbeat(tick * 0.1, "inference").report(tick * 0.1)
        if tick < 10:
            bag.heartbeat(tick * 0.1, "camera_ingest", "7.1.here").image(tick * 0.1)
    bag.heartbeat(2.95, "camera_ingest", "8.1.here")
    for tick in range(5):
        bag.report(3.0 + tick * 0.1, HOLDING, HELD, "observation_age", "the image is 0.52 s old; at most 0.40 s")
    lines = lines_of(bag, tmp_path)
    assert lines[0].startswith("14:13:20.00  the policy drives")
    lines = lines[:1] + [line for line in lines[1:] if "the policy drives" not in line]
    assert lines[1] == "14:13:20.90  camera_ingest fell silent"
    assert lines[2] == "14:13:22.95  camera_ingest had restarted, after 2.0 s"
    assert lines[3] == (
        "14:13:23.00  held by observation_age: the image is 0.52 s old; at most 0.40 s; the last image of /vla/frame/compressed "
        "had come 2.10 s before; camera_ingest had restarted, after 2.0 s at 14:13:22.95 (0.40 s, 5 reports)")


def test_stops_halts_and_faults_are_told(tmp_path: Path) -> None:
    bag = Bag().report(0.0).halt(0.0, "")
    bag.fault(0.1, "vision", "camera_ingest", "black for 3 s").fault(1.1, "vision", "camera_ingest", "black for 4 s")
    bag.halt(1.2, "the camera is lost").halt(1.2, "the camera is lost")
    bag.report(1.3, STOPPED, LATCHED, "stop", "the stop is pressed").report(1.4, STOPPED, LATCHED, "stop", "the stop is pressed")
    bag.halt(2.1, "").report(2.2, DISARMED, HELD, "disarmed", "the gate is disarmed; arm it")
    assert [line[13:] for line in lines_of(bag, tmp_path)][1:] == [
        "vision fault of camera_ingest: black for 3 s", "the supervisor halts the robot: the camera is lost",
        "STOPPED by stop: the stop is pressed (0.10 s, 2 reports)",
        "the supervisor halts the robot no more", "disarmed (0.00 s, 1 reports)"]


def test_a_person_who_drives_is_named(tmp_path: Path) -> None:
    (line,) = lines_of(Bag().report(0.0, source="teleop"), tmp_path)
    assert line[13:].startswith("teleop drives: wanted")


def test_a_level_of_diagnostics_is_told_when_it_changes(tmp_path: Path) -> None:
    def status(level: int, sentence: str) -> object:
        entry = make("diagnostic_msgs/msg/DiagnosticStatus", level=level, name="/vla/inference: state", message=sentence,
                     hardware_id="none", values=[])
        return make(DIAGNOSTICS, header=header(0), status=[entry])
    bag = Bag()
    for seconds, level in ((0.0, 0), (1.0, 1), (2.0, 1), (3.0, 0)):
        bag.add(seconds, "/diagnostics", DIAGNOSTICS, status(level, "slow"))
    assert [line[13:] for line in lines_of(bag, tmp_path)] == [
        "/vla/inference: state is WARN: slow", "/vla/inference: state is OK: slow"]


@pytest.mark.parametrize("jump", [-3600.0, 86_400.0])
def test_a_clock_that_jumps_is_told_and_nothing_is_out_of_order(tmp_path: Path, jump: float) -> None:
    bag = Bag().image(0.0)
    for tick in range(10):
        bag.report(tick * 0.1).heartbeat(tick * 0.1, "inference")
    for tick in range(10, 20):
        bag.report(tick * 0.1 + jump, HOLDING, HELD, "observation_age", "old").heartbeat(tick * 0.1 + jump, "inference")
    lines = lines_of(bag, tmp_path)
    assert [line[13:30] for line in lines] == ["the policy drives", "the clock jumps b", "held by observati"]
    assert f"the clock jumps by {jump + 0.1:+.2f} s" in lines[1]
    assert "had come" not in lines[2] and "silent" not in "".join(lines)


def test_an_instruction_from_long_before_is_no_jump_of_the_clock(tmp_path: Path) -> None:
    bag = Bag().instruction(-4000.0, 7, "go").report(0.0).report(0.1)
    assert len(lines_of(bag, tmp_path)) == 2


def test_messages_of_another_version_are_counted_and_the_rest_is_told(tmp_path: Path) -> None:
    bag = Bag().text(0.0, "record/note", "go")
    old = Bag().fault(0.1, "a", "b", "c")
    bag.types["/vla/fault"] = OURS + "Fault"
    facts_of_old = "string sentence\n"
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    known = get_typestore(Stores.EMPTY)
    known.register(get_types_from_msg(facts_of_old, OURS + "Fault"))
    data = bytes(known.serialize_cdr(known.types[OURS + "Fault"](sentence="hm"), OURS + "Fault"))
    first = old.messages[0]
    bag.messages.append(RecordedMessage(first.topic, data, first.arrived, first.received, first.published))
    facts = bag.facts()
    facts.schemas[OURS + "Fault"] = facts_of_old  # type: ignore[index]
    from vla_ros.operator.blackbox.bag_file import write_bag
    story = Story()
    lines = list(story.lines(BagStream(write_bag(tmp_path, bag.messages, facts, 10), Story.wanted)))
    assert [line.text for line in lines] == ["noted: “go”"]
    ((sentence, count),) = story.refused.items()
    assert count == 1 and sentence.startswith("/vla/fault is of another version: ")


def test_the_page_is_one_file_with_what_the_camera_saw_and_nothing_from_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = Bag().image(0.0, b"\xff\xd8one").text(0.1, "record/note", "<script>alert(1)</script>").report(0.2)
    path = bag.image(0.3, b"\xff\xd8two").report(0.4, STOPPED, LATCHED, "stop", "pressed").write(tmp_path)
    page = tmp_path / "story.html"
    assert main(["blackbox", str(path), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "written because: an operator asked" in text and "STOPPED by stop: pressed" in text


def test_a_page_of_a_long_recording_has_few_images(tmp_path: Path) -> None:
    bag = Bag()
    for number in range(MOST_IMAGES + 20):
        bag.image(number * 0.1, f"picture {number}".encode()).instruction(number * 0.1, number + 1, f"word {number}")
    page = tmp_path / "story.html"
    assert main(["blackbox", str(bag.write(tmp_path)), "--html", str(page)]) == 0
    assert page.read_text(encoding="utf-8").count("<img ") == MOST_IMAGES


def test_of_a_folder_the_newest_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os
    os.utime(Bag().text(0.0, "record/note", "old").write(tmp_path), (1, 1))
    Bag().text(0.0, "record/note", "new").write(tmp_path)
    assert main(["blackbox", str(tmp_path)]) == 0
    assert "noted: “new”" in capsys.readouterr().out


def test_a_file_that_is_cut_off_is_told_as_far_as_it_goes_and_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Bag().text(0.0, "record/note", "go").report(0.1).write(tmp_path)
    path.write_bytes(path.read_bytes()[:-60])
    assert main(["blackbox", str(path)]) == 1
    printed = capsys.readouterr()
    assert "noted: “go”" in printed.out and "cut off or damaged" in printed.err


def test_what_is_no_bag_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.mcap").write_text("no bag")
    assert main(["blackbox", str(tmp_path / "x.mcap")]) == 2
    assert "is no MCAP file: it does not begin as one" in capsys.readouterr().err


def test_a_long_recording_is_told_line_by_line(tmp_path: Path) -> None:
    """A run that never ends must not keep all other lines waiting."""
    bag = Bag()
    for number in range(6000):
        bag.report(number * 0.1).text(number * 0.1, "record/note", f"word {number}")
    story = Story()
    stream = iter(BagStream(bag.write(tmp_path), Story.wanted))
    taken = 0

    def counted() -> Iterator[object]:
        nonlocal taken
        for message in stream:
            taken += 1
            yield message

    next(iter(story.lines(counted())))  # type: ignore[arg-type]
    assert taken < 6000


def test_the_same_recording_is_told_in_the_same_words(tmp_path: Path) -> None:
    bag = Bag()
    random = np.random.default_rng(1)
    for tick in range(500):
        state, verdict = ((ACTIVE, 0), (HOLDING, HELD))[int(random.integers(2))]
        bag.report(tick * 0.02, state, verdict, "" if verdict == 0 else "observation_age", emitted=random.normal(size=2))
    first = lines_of(bag, tmp_path)
    assert first == lines_of(bag, tmp_path) and SECOND


HOSTILE = "go”\n12:00:00.00  the stop is pressed\x1b[2J\u202e"


def test_what_people_and_nodes_say_forges_no_line_and_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = Bag().text(0.0, "record/note", HOSTILE).instruction(0.1, 7, HOSTILE).fault(0.2, HOSTILE, "a", "b").halt(0.3, HOSTILE)
    bag.report(0.4, HOLDING, HELD, HOSTILE, HOSTILE).heartbeat(0.5, HOSTILE).text(0.6, "a\x1b[1m/note", HOSTILE)
    path = bag.write(tmp_path, reasons=(HOSTILE,))
    assert main(["blackbox", str(path)]) == 0
    said = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in said.split("\n")) and "\\n12:00:00.00  the stop is pressed\\x1b[2J" in said
    assert not [line for line in said.split("\n") if line.startswith("12:00")]


@pytest.mark.parametrize("name", ["reasons", "gate_parameters"])
def test_metadata_that_is_nested_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from vla_ros.datasets.bag_stream import bag_head
    dumps = json.dumps
    monkeypatch.setattr(json, "dumps", lambda value: "[" * 200_000 if isinstance(value, list) == (name == "reasons") else dumps(value))
    path = Bag().report(0.0).write(tmp_path)
    monkeypatch.undo()
    assert main(["blackbox", str(path)]) == 0
    stream, _ = bag_head(path)
    assert stream.parameters() == {}


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("says", [True, False])
def test_a_small_file_that_unpacks_to_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str,
                                                           says: bool) -> None:
    from mcap.records import Chunk
    from mcap.writer import CompressionType, Writer

    from vla_ros.datasets import bag_stream
    monkeypatch.setattr(bag_stream, "MOST_CHUNK_BYTES", 1_000_000)
    path = tmp_path / "bomb.mcap"
    with open(path, "wb") as stream:
        writer = Writer(stream, chunk_size=1 << 30, compression=CompressionType[compression.upper()], use_summary_offsets=False)
        writer.start("ros2", "x")
        schema = writer.register_schema(TEXT, "ros2msg", b"string data")
        channel = writer.register_channel("/vla/instruction", "cdr", schema)
        writer.add_message(channel, 1, b"a" * 1_000_000, 1)
        if not says:
            chunk = Chunk.write
            monkeypatch.setattr(Chunk, "write", lambda self, to: chunk(replace(self, uncompressed_size=10), to))
        writer.finish()
    bag = bag_stream.BagStream(path)
    assert list(bag) == [] and "unpacks to more than 0 MiB" in bag.problem
    monkeypatch.setattr(bag_stream, "MOST_CHUNK_BYTES", 1_001_000)
    bag = bag_stream.BagStream(path)
    list(bag)
    assert "unpacks" not in bag.problem
