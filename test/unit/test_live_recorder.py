"""A suite's words become episodes: where they begin and end, which action goes with which image, what was lost."""
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="datasets need pyarrow")
pytest.importorskip("av", reason="datasets need PyAV")

from vla_ros.core.types import Instruction, Observation
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.datasets.recorder import LiveRecorder, SentCommand

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


class Suite:
    """Images at `hz`, whose grey is their number, and the gate's reports at 50 Hz, which say when they were sent."""

    def __init__(self, folder, fps=10, hz=30, **options):
        self.folder, self.hz, self.lines = folder / "set", hz, []
        self.recorder = LiveRecorder(self.folder, fps, "fake", self.lines.append, **options)
        self.now, self.next_image, self.images = 0.0, 0.0, 0  # s
        self.instruction_id, self.text, self.active, self.names = 1, "turn left", True, ("linear.x", "gripper")
        self.speed, self.joint, self.more = 0.2, "gripper_joint", {}

    def run(self, seconds, camera=True, gate=True):
        """Until `seconds` more have passed. linear.x is `speed` plus a millionth of the milliseconds."""
        for _ in range(round(seconds * 50)):
            if gate:
                values = {"linear.x": self.speed + self.now * 1e-3 if self.speed else 0.0, "gripper": 1.0}
                self.recorder.on_report(SentCommand(T0 + round(self.now * SECOND), self.active, self.instruction_id,
                                             {name: values[name] for name in self.names}))
            if self.now >= self.next_image - 1e-9:
                self.next_image += 1 / self.hz
                if camera:
                    self.make_image()
            self.now += 0.02
        return self

    def make_image(self):
        self.recorder.on_observation(Observation(
            T0 + round(self.now * SECOND), Instruction(0, self.instruction_id, self.text),
            {"front": np.full((32, 32, 3), 40 + round(self.now * 20) % 200, np.uint8)},
            {self.joint: self.now, "odom.x": 0.0, **self.more}))

    def dataset(self):
        self.recorder.close()
        return Dataset(self.folder)


def test_frames_are_even_and_have_the_action_that_followed_their_image(tmp_path):
    dataset = Suite(tmp_path).run(3.0).dataset()
    assert [(one.task, one.instruction_id, one.lost_frames, one.success) for one in dataset.episodes] == [("turn left", 1, 0, None)]
    assert len(dataset) == 31 or len(dataset) == 30
    times = dataset.state[:, 0]  # when the image was taken
    np.testing.assert_allclose(times, np.arange(len(times)) / 10, atol=0.05)
    assert np.abs(np.diff(times) - 0.1).max() <= 0.041
    sent = (dataset.action[:, 0] - 0.2) * 1e3  # when the action was
    assert np.all(sent[:-1] > times[:-1]) and np.all(sent[:-1] <= times[1:] + 1e-4)
    assert dataset.names["action"] == ("linear.x", "gripper") and dataset.names["odom"] == ("odom.x",)
    assert [int(dataset.image(index, "front").mean().round()) for index in (0, 9)] == pytest.approx(
        [40, 40 + round(times[9] * 20)], abs=2)


def test_an_episode_ends_with_its_instruction(tmp_path):
    suite = Suite(tmp_path).run(1.0)
    suite.instruction_id, suite.text = 2, "go forward"
    suite.run(1.5)
    suite.instruction_id, suite.text = 3, " "  # cancelled
    dataset = suite.run(1.0).dataset()
    assert [(one.task, one.instruction_id) for one in dataset.episodes] == [("turn left", 1), ("go forward", 2)]
    assert [one.end - one.start for one in dataset.episodes] == pytest.approx([10, 15], abs=1)


def test_only_what_the_gate_let_through_is_recorded(tmp_path):
    suite = Suite(tmp_path)
    suite.active = False
    suite.run(1.0)
    suite.active = True
    suite.run(1.0)
    suite.active = False  # held: the robot brakes, and that is no answer to the words
    suite.run(0.5)
    suite.active = True
    dataset = suite.run(1.0).dataset()
    assert [one.task for one in dataset.episodes] == ["turn left"] * 2
    assert dataset.state[0, 0] == pytest.approx(1.0, abs=0.05) and dataset.frame(dataset.episodes[1].start).state[
        "gripper_joint"] == pytest.approx(2.5, abs=0.05)


def test_rest_ends_an_episode_and_moving_on_begins_another(tmp_path):
    suite = Suite(tmp_path).run(1.0)
    suite.speed = 0.0
    suite.run(10.0)
    suite.speed = 0.3
    dataset = suite.run(1.0).dataset()
    assert [one.end - one.start for one in dataset.episodes] == pytest.approx([31, 10], abs=2)


def test_lost_frames_are_filled_counted_and_told(tmp_path):
    suite = Suite(tmp_path).run(2.0).run(0.3, camera=False)
    dataset = suite.run(2.0).dataset()
    lost = dataset.episodes[0].lost_frames
    assert lost in (2, 3) and suite.recorder.lost == lost and f"{lost} lost" in suite.lines[0]
    assert len(dataset) == pytest.approx(43, abs=1)
    same = np.flatnonzero(np.diff(dataset.state[:, 0]) == 0)
    assert len(same) == lost and np.abs(same - 20).max() <= 3


@pytest.mark.parametrize("options, gate", [({"camera": False}, 0.0), ({"gate": False}, 0.5)])
def test_a_silent_camera_or_gate_ends_an_episode(tmp_path, options, gate):
    dataset = Suite(tmp_path).run(1.0).run(1.5, **options).run(1.0).dataset()
    assert [one.end - one.start for one in dataset.episodes] == pytest.approx([10 + 10 * gate, 10], abs=1)
    assert not any(one.lost_frames for one in dataset.episodes)


def test_a_camera_slower_than_the_rate_gives_nothing_and_says_why(tmp_path):
    suite = Suite(tmp_path, fps=20, hz=10).run(2.0)
    suite.recorder.close()
    assert suite.recorder.saved == 0 and suite.recorder.dropped == 1
    assert "do not come 20 times a second; ask for fewer" in suite.lines[0]
    assert not (suite.folder / "meta").exists()


def test_what_is_too_short_or_does_not_fit_is_dropped_and_the_next_is_not(tmp_path):
    suite = Suite(tmp_path).run(0.2)
    suite.active = False
    suite.run(0.1)
    assert "too short" in suite.lines[0]
    suite.active = True
    suite.run(0.6)
    suite.joint = "elbow"
    suite.run(1.0)
    suite.joint = "gripper_joint"
    dataset = suite.run(1.0).dataset()
    assert "observation.state lacks 'gripper_joint'" in suite.lines[1]
    assert len(suite.lines) == 4 and suite.recorder.dropped == 2  # once a reason, not once an image
    assert [one.end - one.start for one in dataset.episodes] == pytest.approx([10], abs=1)


def test_names_come_from_what_all_publishers_said(tmp_path):
    """The arm's publisher is there before the gripper's, and a third one comes when an episode is saved."""
    suite = Suite(tmp_path).run(0.3)
    suite.more = {"elbow": 0.5}
    suite.run(1.0)
    suite.active = False
    suite.run(0.1)
    suite.active, suite.more = True, {"elbow": 0.5, "wheel": 1.0}
    dataset = suite.run(1.0).dataset()
    assert dataset.names["observation.state"] == ("gripper_joint", "elbow")
    assert [one.end - one.start for one in dataset.episodes] == pytest.approx([10, 10], abs=1)
    assert suite.lines[0] == "'elbow': heard of only now; what was recorded without it is dropped"
    assert [line for line in suite.lines if "'wheel': not recorded" in line] == [suite.lines[2]]
    assert suite.recorder.dropped == 1


def test_a_clock_that_goes_back_ends_an_episode(tmp_path):
    suite = Suite(tmp_path).run(2.0)
    suite.now, suite.next_image = 0.5, 0.5
    dataset = suite.run(1.0).dataset()
    assert [one.end - one.start for one in dataset.episodes] == pytest.approx([20, 10], abs=1)


def test_an_image_that_no_video_takes_is_a_sentence(tmp_path):
    recorder = LiveRecorder(tmp_path / "set", 10)
    recorder.on_report(SentCommand(T0, True, 1, {"linear.x": 0.1}))
    with pytest.raises(ValueError, match="camera 'front' has 31x32 pixels"):
        recorder.on_observation(Observation(T0, Instruction(0, 1, "go"), {"front": np.zeros((31, 32, 3), np.uint8)}, {"a": 0.0}))


# -- by hand ---------------------------------------------------------------------------------------------------
class ByHand(Suite):
    """As `Suite`, and whoever has the robot; requests are twice what is sent."""

    def __init__(self, folder, **options):
        super().__init__(folder, by_hand=True, **options)
        self.source = "policy"
        report = self.recorder.on_report
        self.recorder.on_report = lambda sent: report(replace(
            sent, source=self.source, requested={name: 2 * value for name, value in sent.values.items()}))


def test_an_episode_by_hand_goes_on_through_holds_and_other_words(tmp_path):
    suite = ByHand(tmp_path).run(1.0)
    assert not suite.recorder.recording
    assert suite.recorder.start() == (True, "recording: 'turn left'")
    suite.run(1.0)
    suite.source = "teleop"
    suite.run(1.0)
    suite.active = False  # the deadman was let go: the gate holds
    suite.run(3.0)
    suite.active, suite.source, suite.instruction_id, suite.text = True, "policy", 2, "go forward"
    suite.run(1.0)
    assert suite.recorder.recording and suite.recorder.control_source == "policy"
    done, line = suite.recorder.mark(True)
    assert done and line.startswith("episode 0: 'turn left' and 1 more: 6") and line.endswith("a success")
    suite.run(1.0)
    dataset = suite.dataset()
    episode, = dataset.episodes
    assert (episode.success, episode.instruction_id) == (True, 1)
    assert episode.end == pytest.approx(60, abs=1)
    by, source = dataset.marked("intervention"), dataset.control_source
    held = dataset.marked("gate.held")
    assert [source[10 * second + 5] for second in range(6)] == ["policy"] + ["teleop"] * 4 + ["policy"]
    # who had let go does not drive: nobody's command was carried out
    assert [bool(by[10 * second + 5]) for second in range(6)] == [False, True, False, False, False, False]
    assert [bool(held[10 * second + 5]) for second in range(6)] == [False, False, True, True, True, False]
    assert dataset.task(5) == "turn left" and dataset.task(episode.end - 1) == "go forward"
    last = dataset.marked("next.success")
    assert last[-1] and not last[:-1].any()
    np.testing.assert_allclose(dataset.vector("gate.requested"), 2 * dataset.action, rtol=1e-6)


def test_channels_that_the_gate_leaves_alone_while_it_holds_stay_where_they_were(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(1.0)
    suite.active, suite.names = False, ()  # nothing is sent at all
    suite.run(1.0)
    suite.recorder.stop()
    dataset = suite.dataset()
    assert dataset.action[-3:].tolist() == [[0.0, 1.0]] * 3  # no velocity, and the grip is kept
    assert dataset.episodes[0].success is None


@pytest.mark.parametrize("word", ["stop", "discard"])
def test_what_did_not_begin_cannot_end(tmp_path, word):
    recorder = LiveRecorder(tmp_path / "set", 10)
    assert getattr(recorder, word)() == (False, "no episode is being recorded")
    assert recorder.mark(False)[0] is False
    assert recorder.start() == (False, "nothing was seen yet; does the suite run, and is it active?")


def test_nothing_begins_without_words_or_twice(tmp_path):
    suite = ByHand(tmp_path)
    suite.text = " "
    suite.run(0.2)
    assert suite.recorder.start() == (False, "no instruction holds; say what the robot is to do first (vla say)")
    suite.text = "turn left"
    suite.run(0.2)
    assert suite.recorder.start()[0]
    suite.run(1.0)
    assert suite.recorder.start() == (False, "episode 0 is being recorded; stop or discard it first")


def test_it_begins_when_the_gate_lets_the_robot_move(tmp_path):
    suite = ByHand(tmp_path)
    suite.active = False
    suite.run(0.5)
    assert suite.recorder.start() == (True, "recording: 'turn left', from when the gate lets the robot move")
    suite.run(1.0)
    assert not suite.recorder.recording
    suite.active = True
    suite.run(1.0)
    suite.recorder.stop()
    assert len(suite.dataset()) == pytest.approx(10, abs=1)


def test_again_forgets_the_episode_and_begins_it_anew(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(3.0)
    assert suite.recorder.again() == (True, "episode 0: discarded, 30 frames; recording: 'turn left'")
    suite.run(1.0)
    suite.recorder.mark(False)
    dataset = suite.dataset()
    assert [(each.success, each.end) for each in dataset.episodes] == [(False, pytest.approx(10, abs=1))]
    assert dataset.state[0, 0] == pytest.approx(3.2, abs=0.1)
    assert suite.recorder.dropped == 1 and "discarded" in suite.lines[0]


def test_calling_start_ends_the_habit_of_an_episode_an_instruction(tmp_path):
    suite = Suite(tmp_path).run(1.0)
    suite.recorder.discard()
    suite.recorder.start()
    suite.run(1.0)
    suite.recorder.stop()
    suite.run(2.0)
    assert len(suite.dataset()) == pytest.approx(10, abs=1)


def test_a_person_who_takes_over_does_not_end_an_instruction_s_episode(tmp_path):
    suite = ByHand(tmp_path)
    suite.recorder.by_hand = False
    suite.run(1.0)
    suite.source = "teleop"
    report = suite.recorder.on_report  # a person's command answers no instruction
    suite.recorder.on_report = lambda sent: report(replace(sent, instruction_id=0))
    dataset = suite.run(1.0).dataset()
    episode, = dataset.episodes
    assert dataset.marked("intervention").tolist() == [False] * 10 + [True] * (episode.end - 10) and episode.end >= 19


def test_notes_and_the_contract_lie_beside_the_frames(tmp_path):
    suite = ByHand(tmp_path)
    suite.recorder.contract = {"robot": {"text": "name: fake"}}
    suite.run(0.2)
    assert suite.recorder.note("  ") == "an empty note is not kept"
    assert suite.recorder.note("before all") == "noted with episode 0: before all"
    suite.recorder.start()
    suite.run(1.0)
    suite.recorder.note("it\nslipped")
    suite.recorder.stop()
    suite.recorder.note("x" * 600)
    suite.recorder.start()
    suite.run(1.0)
    suite.recorder.note("forgotten with its episode")
    suite.recorder.discard()
    suite.dataset()
    notes = [json.loads(line) for line in (suite.folder / "meta/notes.jsonl").read_text().splitlines()]
    assert [(note["episode"], note["text"]) for note in notes] == [(0, "before all"), (0, "it slipped"), (0, "x" * 500)]
    assert notes[1]["frame"] == pytest.approx(10, abs=1) and notes[2]["frame"] is None
    assert json.loads((suite.folder / "meta/contract.json").read_text()) == [{"from_episode": 0, "robot": {"text": "name: fake"}}]


def test_killed_while_it_records_the_next_start_says_what_was_lost(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.contract = {"policy": "first"}
    suite.recorder.start()
    suite.run(1.0)
    suite.recorder.stop()
    suite.recorder.start()
    suite.run(1.0)  # and then it is killed
    suite.recorder._lock.release()
    with pytest.raises(ValueError, match="is not empty"):
        LiveRecorder(suite.folder, 10)
    assert len(Dataset(suite.folder).episodes) == 1  # without any mending
    again = ByHand(tmp_path, append=True)
    assert len(again.lines) == 1 and "was cut off in episode 1 ('turn left', begun " in again.lines[0]
    assert "the 1 before it are whole" in again.lines[0] and again.recorder.episode == 1
    again.recorder.contract = {"policy": "second"}
    again.run(0.2)
    again.recorder.start()
    again.run(1.0)
    again.recorder.mark(True)
    assert [each.success for each in again.dataset().episodes] == [None, True]
    assert not (again.folder / "meta/under_way.json").exists()
    assert [entry["from_episode"] for entry in json.loads((again.folder / "meta/contract.json").read_text())] == [0, 1]
    assert ByHand(tmp_path, append=True).lines == []


def test_a_second_recording_of_the_same_folder_is_refused_and_the_first_goes_on(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(1.0)
    with pytest.raises(ValueError, match="another recording is going on in .*set; end it first, or give another folder"):
        ByHand(tmp_path, append=True)
    assert suite.recorder.mark(True)[0]
    assert [each.success for each in suite.dataset().episodes] == [True]
    assert ByHand(tmp_path, append=True).lines == []  # it has ended


def test_again_says_what_is_lost_where_nothing_can_begin(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(1.0)
    suite.active, suite.text = False, " "
    suite.run(0.2)
    done, line = suite.recorder.again()
    assert not done and line.startswith("episode 0: discarded, 1") and "frames; no instruction holds; say" in line
    assert not suite.recorder.recording


@pytest.mark.parametrize("seconds, options, gap", [
    (1.3, {"camera": False}, "no image for 1."), (0.7, {"camera": False, "gate": False}, ""), (0.7, {"gate": False}, "the gate fell silent")])
def test_half_a_try_by_hand_is_dropped_and_no_success(tmp_path, seconds, options, gap):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(6.0).run(seconds, **options).run(1.0)
    assert suite.recorder.recording != bool(gap)
    done, line = suite.recorder.mark(True)
    suite.recorder.close()
    if gap:
        assert not done and suite.recorder.saved == 0 and suite.recorder.dropped == 1
        assert line.startswith("no episode is being recorded; the last one: episode 0: dropped after ") and gap in line
        assert [said for said in suite.lines if said in line] != []
    else:
        assert done and suite.recorder.saved == 1


def test_a_clock_that_goes_back_drops_an_episode_by_hand(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(2.0)
    suite.now, suite.next_image = 0.5, 0.5
    suite.run(1.0)
    assert "the clock stood still or was set back" in suite.recorder.mark(True)[1] and suite.recorder.saved == 0


@pytest.mark.parametrize("silent, kept", [(1.0, True), (1.3, False)])
def test_a_camera_that_is_silent_to_the_end_leaves_no_success(tmp_path, silent, kept):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(3.0).run(silent, camera=False)
    done, line = suite.recorder.mark(True)
    assert done == kept and ("dropped after" in line and "no image for 1.3 s; record anew" in line) != kept
    assert suite.recorder.saved == kept and not suite.recorder.recording


def test_who_judges_too_late_is_told_what_was_saved(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(1.0)
    saved = suite.recorder.stop()[1]
    assert suite.recorder.mark(False) == (False, f"no episode is being recorded; the last one: {saved}")


def test_a_frame_that_is_filled_has_what_was_sent_at_its_own_time_and_who_drove_then(tmp_path):
    suite = ByHand(tmp_path).run(0.2)
    suite.recorder.start()
    suite.run(3.0)
    suite.run(0.7, camera=False)
    suite.source = "teleop"
    suite.run(0.1, camera=False).run(4.0)  # a person takes over when the last of the images is lost
    suite.recorder.mark(True)
    dataset = suite.dataset()
    images = dataset.state[:, 0]
    lost = np.flatnonzero(np.diff(images) == 0)
    assert len(lost) >= 6
    sent = (dataset.action[:, 0] - 0.2) * 1e3  # when
    ticks = images[0] + np.arange(len(images)) / 10
    np.testing.assert_allclose(sent[:-1], ticks[:-1] + 0.1, atol=0.06)
    by = dataset.marked("intervention")
    assert not by[sent < 3.88].any() and by[sent > 3.92].all()
