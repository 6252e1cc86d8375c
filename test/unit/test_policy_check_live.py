"""`vla policy check --live`: images and state of now against training, and the policy's latency against what the gate allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import policy_data
import pytest
from policy_data import ARM, NAMES, dataset, numbers, policy, so101, spec_of

from vla_ros.core.check_finding import DOUBTFUL, FITS, UNKNOWN, WRONG, CheckFinding
from vla_ros.core.normalisation import StateRange
from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.check import TrainingRanges
from vla_ros.policies.check_images import check_image
from vla_ros.policies.check_live import (
    MOST_PREDICTIONS,
    WARM_UP,
    GateLimits,
    LiveRobot,
    check_latency,
    check_live,
    judge_latency,
    live_observation,
)
from vla_ros.policies.check_verdict import not_looked_at, verdict
from vla_ros.policies.training_data import RecordedImages, data_ranges, policy_columns

LIMITS = GateLimits(0.4, 3.0, "the default; no gate runs")
Change = Callable[[np.ndarray], np.ndarray]


def seen_now(change: Change, seed: int = 9) -> dict[str, CheckFinding]:
    """Of an image of another day, changed; by what it is about, the worst first."""
    image = np.ascontiguousarray(change(policy_data.images(1, seed).images[1]))
    said: dict[str, CheckFinding] = {}
    for finding in sorted(check_image("front", image, policy_data.images()), key=lambda f: "✗!?✓".index(f.mark)):
        said.setdefault(finding.subject, finding)
    return said


# -- images --------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
def test_an_image_like_the_recorded_ones_fits(seed: int) -> None:
    assert {finding.mark for finding in seen_now(lambda image: image, seed).values()} == {FITS}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image[::-1, ::-1], "turned by 180 degrees"),
        (lambda image: image[:, ::-1], "mirrored left to right"),
        (lambda image: image[::-1], "mirrored top to bottom"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_turned_or_mirrored_image_is_found(change: Change, words: str, seed: int) -> None:
    finding = seen_now(change, seed)["camera front now"]
    assert finding.mark == WRONG and words in finding.text


@pytest.mark.parametrize("seed", range(3))
def test_red_and_blue_that_are_exchanged_are_found(seed: int) -> None:
    said = seen_now(lambda image: image[..., ::-1], seed)
    assert said["colours of camera front"].mark == WRONG and "red and blue are exchanged" in said["colours of camera front"].text
    assert said["camera front now"].mark == FITS


def test_an_image_that_is_turned_and_of_exchanged_colours_is_found_to_be_both() -> None:
    said = seen_now(lambda image: image[::-1, ::-1, ::-1])
    assert {finding.mark for finding in said.values()} == {WRONG}


@pytest.mark.parametrize("colour", [(1.15, 1.0, 0.85), (0.9, 1.0, 1.1)])
def test_a_lamp_of_another_colour_exchanges_nothing(colour: tuple[float, float, float]) -> None:
    said = seen_now(lambda image: np.clip(image * np.array(colour), 0, 255).astype(np.uint8))
    assert WRONG not in {finding.mark for finding in said.values()}


def test_light_from_the_other_side_mirrors_nothing() -> None:
    shade = np.linspace(1.0, 0.4, policy_data.SIZE[1])[None, :, None]
    recorded = policy_data.images()
    lit = [(image * shade).astype(np.uint8) for image in recorded.images]
    now = (policy_data.images(1, 9).images[1] * shade[:, ::-1]).astype(np.uint8)
    said = check_image("front", now, RecordedImages(lit, recorded.episodes, recorded.size))
    assert WRONG not in {finding.mark for finding in said}


@pytest.mark.parametrize(("light", "mark"), [(0.85, FITS), (0.5, DOUBTFUL)])
def test_an_image_darker_than_any_recorded_one_is_doubtful(light: float, mark: str) -> None:
    finding = seen_now(lambda image: (image * light).astype(np.uint8))["camera front now"]
    assert finding.mark == mark and (mark == FITS or "darker than anything recorded" in finding.text)


def test_another_view_is_doubtful() -> None:
    random = np.random.default_rng(1)
    patches = random.integers(0, 255, (6, 8, 3), np.uint8)
    finding = seen_now(lambda image: np.kron(patches, np.ones((8, 8, 1), np.uint8)))["camera front now"]
    assert finding.mark == DOUBTFUL and "is it the right camera" in finding.remedy


def test_episodes_that_are_not_like_each_other_make_no_view_another_one() -> None:
    random = np.random.default_rng(2)
    rooms = [np.kron(random.integers(0, 255, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in range(3)]
    images = RecordedImages([rooms[0]] * 3 + [rooms[1]] * 3, np.repeat([0, 1], 3), policy_data.SIZE)
    finding = check_image("front", rooms[2], images)[0]
    assert finding.mark == UNKNOWN and "too little in common" in finding.text


def test_one_episode_alone_says_how_much_its_images_differ() -> None:
    """Each is like itself, which says nothing."""
    random = np.random.default_rng(2)
    blocks = random.integers(60, 190, (4, 6, 8, 3))
    shown = [np.kron((blocks[0] + 2 * (blocks[k] - 125)).clip(0, 255).astype(np.uint8), np.ones((8, 8, 1), np.uint8)) for k in (1, 2, 3)]
    images = RecordedImages(shown[:2], np.zeros(2, np.int64), policy_data.SIZE)
    assert check_image("front", shown[2], images)[0].mark in (FITS, UNKNOWN)


def test_the_colours_of_a_yellow_table_are_judged_by_red_and_blue() -> None:
    yellow = np.array([1.0, 150.0 / 110.0, 1.0])  # wood whose red and green are alike
    recorded = policy_data.images()
    painted = [np.clip(image * yellow, 0, 255).astype(np.uint8) for image in recorded.images]
    images = RecordedImages(painted, recorded.episodes, recorded.size)
    said = {finding.subject: finding for finding in check_image("front", painted[0][..., ::-1], images)}
    assert said["colours of camera front"].mark == WRONG


def test_a_covered_lens_is_wrong() -> None:
    assert "one colour" in seen_now(np.zeros_like)["camera front now"].text


def test_a_scene_that_is_the_same_upside_down_shows_nothing() -> None:
    even = np.full((*policy_data.SIZE, 3), 90, np.uint8)
    even[20:28, 28:36] = 200
    images = RecordedImages([even] * 4, np.arange(4), policy_data.SIZE)
    said = {finding.subject: finding for finding in check_image("front", even, images)}
    assert said["camera front now"].mark == UNKNOWN and "much the same upside down" in said["camera front now"].text
    assert said["colours of camera front"].mark == UNKNOWN  # grey is as red as blue


# -- state ---------------------------------------------------------------------------------
def pose(**changes: float) -> dict[str, float]:
    """Of now, rad and 0 to 1, as the robot says it."""
    return {**dict.fromkeys(ARM, 0.1), "gripper": 0.5, **changes}


def ranges() -> TrainingRanges:
    data = dataset(*numbers())
    return data_ranges(data, policy_columns(policy(), spec_of(policy()), data), TrainingRanges())


def live(**changes: Any) -> LiveRobot:
    image = policy_data.images(1, 9).images[0]
    return replace(LiveRobot({"front": image}, {}, {"front": 30.0}, {"front": 0.03}, pose()), **changes)


def said_of(robot_now: LiveRobot, file: PolicyFile | None = None) -> dict[str, CheckFinding]:
    file = file or policy()
    return {finding.subject: finding for finding in check_live(so101(), file, robot_now, ranges(), dataset(*numbers()))}


def test_a_robot_as_in_training_fits() -> None:
    said = said_of(live())
    assert {finding.mark for finding in said.values()} == {FITS}
    assert all(name in said["state now"].text for name in NAMES)


@pytest.mark.parametrize(("share", "inside"), [(0.0, True), (0.019, True), (0.021, False)])
@pytest.mark.parametrize("end", ["low", "high"])
def test_a_number_outside_of_what_training_saw_is_doubtful_with_by_how_much(share: float, inside: bool, end: str) -> None:
    seen = ranges().state["elbow_flex"]
    over = share * (seen.high - seen.low)
    angle = np.radians(seen.high + over if end == "high" else seen.low - over)
    said = said_of(live(state=pose(elbow_flex=float(angle))))
    assert ("state elbow_flex now" not in said) == inside
    if not inside:
        assert said["state elbow_flex now"].mark == DOUBTFUL and "outside of what training ever saw" in said["state elbow_flex now"].text


@pytest.mark.parametrize(("angle", "inside"), [(0.0099, True), (0.0101, False)])
def test_a_joint_that_was_not_used_may_stand_beside_by_its_play(angle: float, inside: bool) -> None:
    unused = TrainingRanges({"wrist_roll": StateRange("wrist_roll", 0.0, 0.0, 0.0, 0.0)})  # deg
    said = check_live(so101(), policy(), live(state=pose(wrist_roll=angle)), unused, None)
    assert ("state wrist_roll now" not in {finding.subject for finding in said}) == inside


def test_a_number_that_is_not_heard_is_wrong() -> None:
    state = pose()
    del state["gripper"]
    assert said_of(live(state=state))["state gripper now"].mark == WRONG


def test_a_camera_that_says_nothing_is_wrong_and_its_reason_is_told() -> None:
    said = said_of(live(images={}, problems={"front": "nothing came on /front"}))
    assert said["camera front now"].mark == WRONG and said["camera front now"].text == "nothing came on /front"


@pytest.mark.parametrize(("rate", "mark"), [(30.0, FITS), (15.0, FITS), (14.9, DOUBTFUL)])
def test_images_that_come_half_as_often_as_they_were_recorded_are_doubtful(rate: float, mark: str) -> None:
    finding = said_of(live(rates={"front": rate}))["images of front"]
    assert finding.mark == mark and finding.text.startswith(f"48 x 64, {rate:.3g} a second, 30 ms old when they come")


@pytest.mark.parametrize(("width", "mark"), [(64, FITS), (65, DOUBTFUL), (85, DOUBTFUL)])
def test_images_of_another_shape_than_the_recorded_ones_are_doubtful(width: int, mark: str) -> None:
    wide = np.zeros((48, width, 3), np.uint8)
    finding = said_of(live(images={"front": wide}))["images of front"]
    assert finding.mark == mark and ("another shape" in finding.text) == (mark == DOUBTFUL)


def test_without_a_dataset_images_and_state_cannot_be_judged() -> None:
    said = check_live(so101(), policy(), live(), TrainingRanges(), None)
    assert (said[1].subject, said[1].mark) == ("images of front", FITS)  # how large and how often, at least
    del said[1]
    assert {finding.mark for finding in said} == {UNKNOWN} and {finding.remedy for finding in said} == {"give --data"}


def test_the_policy_is_shown_what_the_robot_sees_and_measures_in_its_own_units() -> None:
    spec = spec_of(policy())
    observation = live_observation(spec, policy(), so101(), live(state=pose(elbow_flex=1.0)), "pick it up")
    assert observation.images["front"].shape == (*policy_data.SIZE, 3) and observation.images["front"].any()
    assert observation.state["elbow_flex"] == pytest.approx(np.degrees(1.0)) and observation.state["gripper"] == 50.0
    assert observation.instruction.text == "pick it up"
    assert not live_observation(spec, policy(), so101(), live(images={}), "").images["front"].any()


# -- latency -------------------------------------------------------------------------------
def latency(seconds: float, horizon: int = 15, **limits: Any) -> dict[str, CheckFinding]:
    spec = spec_of(policy(horizon=horizon))
    times = np.full(50, seconds)
    return {f.subject: f for f in judge_latency(spec, times, live(), ["front"], replace(LIMITS, **limits))}


@pytest.mark.parametrize(
    ("seconds", "mark"),
    [
        (0.01, FITS),
        (0.167, FITS),  # 0.03 s old, twice 0.167 s and 0.033 s until the next image: 0.397 s of 0.4 s
        (0.17, DOUBTFUL),
        (0.36, DOUBTFUL),  # the first row still comes in time
        (0.38, WRONG),
    ],
)
def test_a_policy_is_fast_enough_for_the_gates_age(seconds: float, mark: str) -> None:
    finding = latency(seconds, horizon=100)["observation_age"]
    assert finding.mark == mark
    if mark != FITS:
        assert "max_age is 0.4 s (the default; no gate runs)" in finding.text and "max_age" in finding.remedy


def test_the_age_that_would_do_is_said() -> None:
    assert "max_age 0.9 of safety_validator" in latency(0.4)["observation_age"].remedy


@pytest.mark.parametrize(("seconds", "mark"), [(3.0, FITS), (3.01, WRONG)])
def test_a_policy_slower_than_inference_waits_is_wrong(seconds: float, mark: str) -> None:
    assert latency(seconds)["latency"].mark == mark


@pytest.mark.parametrize(("horizon", "doubtful"), [(13, False), (11, True)])
def test_a_chunk_that_ends_before_the_next_one_comes_is_doubtful(horizon: int, doubtful: bool) -> None:
    """0.03 s, twice 0.17 s and 0.033 s: 0.403 s, twelve rows of a thirtieth."""
    assert ("horizon" in latency(0.17, horizon)) == doubtful


class Trial:
    """A policy that counts how often it is asked, and may refuse or fail."""

    name = "trial@1"
    asked = 0
    closed = 0
    problem: Exception | None = None
    patience = 0  # predictions after which it raises; 0: at once

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        return PolicySpec(NAMES, 15, to_nanoseconds(1 / 30), {"front": (48, 64)}, state=NAMES)

    def __init__(self, options: Mapping[str, Any]) -> None:
        Trial.asked = 0

    def predict(self, observation: Observation) -> Rows:
        Trial.asked += 1
        self.since += 1
        if Trial.problem and self.since > Trial.patience:
            raise Trial.problem
        return np.zeros((15, 6))

    def reset(self) -> None:
        self.since = 0

    def close(self) -> None:
        Trial.closed += 1


def tried(problem: Exception | None = None, patience: int = 0) -> dict[str, CheckFinding]:
    Trial.problem = problem
    Trial.patience = patience
    Trial.closed = 0
    file = PolicyFile(f"{__name__}:Trial")
    said = {finding.subject: finding for finding in check_latency(so101(), file, live(), LIMITS, "")}
    assert Trial.closed == 1
    return said


def test_the_latency_is_measured_after_a_warm_up() -> None:
    finding = tried()["latency"]
    assert Trial.asked == WARM_UP + MOST_PREDICTIONS
    assert finding.mark == FITS and f"of {MOST_PREDICTIONS} predictions here, after 3 to warm up" in finding.text


def test_words_that_it_does_not_know_leave_the_latency_open() -> None:
    finding = tried(NotUnderstood("say pick"))["latency"]
    assert finding.mark == UNKNOWN and "--instruction" in finding.remedy


def test_a_policy_that_gives_up_after_some_images_begins_anew() -> None:
    finding = tried(NotUnderstood("it is not there"), patience=5)["latency"]
    assert finding.mark == FITS and f"of {MOST_PREDICTIONS} predictions here" in finding.text


def test_how_long_a_policy_takes_that_only_inference_can_ask_is_left_open() -> None:
    options = {"service": "/act", "images": {"front": [48, 64]}, "state": list(NAMES), "actions": list(NAMES)}
    file = PolicyFile("ros_service", options, rate=30.0, horizon=15)
    (finding,) = check_latency(so101(), file, live(), LIMITS, "pick it up")
    assert (finding.mark, finding.subject) == (UNKNOWN, "latency") and "action_chunk says" in finding.remedy


def test_a_policy_that_fails_is_wrong() -> None:
    finding = tried(ConnectionError("nobody answers"))["latency"]
    assert finding.mark == WRONG and "ConnectionError: nobody answers" in finding.text


# -- verdict -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ([FITS, UNKNOWN, DOUBTFUL, WRONG], "do not run it like this"),
        ([FITS, UNKNOWN, DOUBTFUL], "look at each !"),
        ([FITS, UNKNOWN], "could not be judged"),
        ([FITS], "it fits"),
    ],
)
def test_the_verdict_goes_by_the_worst(marks: list[str], words: str) -> None:
    assert words in verdict([CheckFinding(mark, "", "") for mark in marks])


def test_what_was_not_looked_at_is_said() -> None:
    said = list(not_looked_at(TrainingRanges(), data=False, live=False))
    assert [finding.remedy for finding in said] == ["give --data DATASET", "start its drivers, and give --live"]
    assert "nothing is known" in said[0].text
    assert not list(not_looked_at(TrainingRanges(), data=True, live=True))
    (known,) = not_looked_at(ranges(), data=False, live=True)
    assert "only the ranges of its numbers are known" in known.text
