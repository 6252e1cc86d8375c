"""A suite's words become episodes: where they begin and end, which action goes with which image, what was lost."""
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

    def __init__(self, folder, fps=10, hz=30):
        self.folder, self.hz, self.lines = folder / "set", hz, []
        self.recorder = LiveRecorder(self.folder, fps, "fake", self.lines.append)
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
    assert suite.recorder.episodes == 0 and suite.recorder.dropped == 1
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
