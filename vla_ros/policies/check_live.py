"""Holds a policy file against the robot as it is now, which runs and is not moved.

What its numbers and images are now is held against what training saw; how long the policy takes
here, against what the gate allows.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.check_finding import DOUBTFUL, FITS, UNKNOWN, WRONG, CheckFinding
from vla_ros.core.images import resize
from vla_ros.core.normalisation import StateRange
from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.robot import Robot
from vla_ros.core.types import NANOSECONDS, Image, Instruction, Observation, Size
from vla_ros.policies import file_options, file_spec, make_policy, policy_class
from vla_ros.policies.base import NotUnderstood, Policy, PolicySpec, size_text
from vla_ros.policies.check import TrainingRanges
from vla_ros.policies.check_data import ASPECT_SHARE
from vla_ros.policies.check_images import check_image
from vla_ros.policies.numbers import Numbers
from vla_ros.policies.training_data import TrainingData
from vla_ros.policies.views import Views

# A policy's first predictions make what later ones use: kernels, buffers, a server's compilation.
WARM_UP = 3
MOST_PREDICTIONS = 100
LONGEST_TRIAL_S = 10.0
# Of the range of training, and at least a joint's play: one that was not used stands where it did.
OUTSIDE_SHARE = 0.02
PLAY_SI = 0.01  # rad, m, and of a gripper's way
# Of the dataset's frames a second. A camera of 15 does where 30 were recorded; one of 14 was set so
# by mistake, or its cable is too slow.
RARE_SHARE = 0.5


@dataclass(frozen=True)
class GateLimits:
    """What the gate and the policy's node allow.

    Attributes:
        max_age: of the image behind an action, s.
        predict_timeout: of a prediction, s.
        where: whose values these are, for a sentence.
    """

    max_age: float
    predict_timeout: float
    where: str


@dataclass(frozen=True)
class LiveRobot:
    """What a robot said while it was listened to.

    Attributes:
        images: camera -> its newest image as it is mounted, height x width x 3, rgb8.
        problems: camera -> why it has none.
        rates: camera -> images a second.
        ages: camera -> how old its images are when they come, s.
        state: the robot file's name of a number -> the number, SI units.
    """

    images: Mapping[str, Image] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    ages: Mapping[str, float] = field(default_factory=dict)
    state: Mapping[str, float] = field(default_factory=dict)


def check_live(
    robot: Robot,
    file: PolicyFile,
    live: LiveRobot,
    seen: TrainingRanges,
    data: TrainingData | None,
) -> list[CheckFinding]:
    """What it sees and measures now against training; `seen` may be empty, `data` None."""
    spec = file_spec(file)
    findings: list[CheckFinding] = []
    try:
        numbers = Numbers(spec, file, robot)
        views = Views(spec, file.images)
    except ValueError:
        return findings  # check_policy says why
    findings += _state(spec, numbers, live, seen)
    for key, camera in _cameras(spec, file).items():
        findings += _camera(key, camera, views, live, data)
    return findings


def _cameras(spec: PolicySpec, file: PolicyFile) -> dict[str, str]:
    """The policy's key of an image -> the robot's camera."""
    cameras: dict[str, str] = {}
    for key in spec.images:
        cameras[key] = file.images[key].camera if key in file.images else key
    return cameras


# -- state -------------------------------------------------------------------------------
def _state(
    spec: PolicySpec, numbers: Numbers, live: LiveRobot, seen: TrainingRanges
) -> Iterator[CheckFinding]:
    inside: list[str] = []
    unknown: list[str] = []
    for name in spec.state:
        robots, scale = numbers.sources[name]
        if robots not in live.state:
            text = f"'{robots}' of the robot is not heard"
            yield CheckFinding(WRONG, f"state {name} now", text, "start what publishes it")
        elif name not in seen.state:
            unknown.append(name)
        else:
            value = scale.to_policy(live.state[robots])
            play = PLAY_SI * abs(scale.factor)
            outside = _outside(name, value, seen.state[name], play)
            if outside is None:
                inside.append(name)
            else:
                yield outside
    if inside:
        text = f"{', '.join(inside)}: within what training saw"
        yield CheckFinding(FITS, "state now", text)
    if unknown:
        text = f"{', '.join(unknown)}: what training saw is not known"
        yield CheckFinding(UNKNOWN, "state now", text, "give --data")


def _outside(name: str, value: float, seen: StateRange, play: float) -> CheckFinding | None:
    """`value` and `play`: in the policy's unit."""
    width = seen.high - seen.low
    over = max(seen.low - value, value - seen.high)
    if over <= max(OUTSIDE_SHARE * width, play):
        return None
    return CheckFinding(
        DOUBTFUL,
        f"state {name} now",
        f"it is {value:.4g}, by {over:.3g} outside of what training ever saw, {seen.low:.4g} to "
        f"{seen.high:.4g}",
        "bring it there, or see that unit and joint are right",
    )


# -- images ------------------------------------------------------------------------------
def _camera(
    key: str, camera: str, views: Views, live: LiveRobot, data: TrainingData | None
) -> Iterator[CheckFinding]:
    subject = f"camera {camera} now"
    if camera not in live.images:
        text = live.problems.get(camera, "nothing came from it")
        yield CheckFinding(WRONG, subject, text, "vla robot check says what there is")
        return
    recorded = data.images.get(key) if data else None
    yield _stream(camera, live, recorded.size if recorded else None, data.fps if data else 0.0)
    if recorded is None:
        there = "no dataset is given" if data is None else f"the dataset has no image '{key}'"
        text = f"{there}, so its images are held against none"
        yield CheckFinding(UNKNOWN, subject, text, "give --data")
        return
    now = resize(live.images[camera], recorded.size, views.of(camera).resize)
    yield from check_image(camera, now, recorded)


def _stream(camera: str, live: LiveRobot, recorded: Size | None, fps: float) -> CheckFinding:
    """How large and how often its images are, beside those of the dataset."""
    subject = f"images of {camera}"
    height, width = live.images[camera].shape[:2]
    rate = live.rates.get(camera, 0.0)
    age = live.ages.get(camera, 0.0)
    text = f"{height} x {width}, {rate:.3g} a second, {1000 * age:.0f} ms old when they come"
    if recorded and abs((height / width) / (recorded[0] / recorded[1]) - 1.0) > ASPECT_SHARE:
        text += f"; recorded as {size_text(recorded)}: another shape"
        remedy = "which part did it learn from? see crop of the camera in the robot file"
        return CheckFinding(DOUBTFUL, subject, text, remedy)
    if recorded and rate < RARE_SHARE * fps:
        text += f"; recorded at {fps:g} a second"
        remedy = "raise the driver's rate: the policy acts on what it saw that long ago"
        return CheckFinding(DOUBTFUL, subject, text, remedy)
    return CheckFinding(FITS, subject, text)


# -- how long it takes -------------------------------------------------------------------
def live_observation(
    spec: PolicySpec, file: PolicyFile, robot: Robot, live: LiveRobot, words: str
) -> Observation:
    """What the policy would be given now; where something is missing, of the right shape.

    Raises:
        ValueError: policy and robot do not fit.
    """
    numbers = Numbers(spec, file, robot)
    views = Views(spec, file.images)
    blank = views.spec.blank()
    images = dict(blank.images)
    for key, camera in _cameras(spec, file).items():
        if camera in live.images:
            view = views.of(camera)
            images[key] = resize(live.images[camera], view.size, view.resize)
    state = dict(blank.state)
    for name in spec.state:
        robots, scale = numbers.sources[name]
        if robots in live.state:
            state[name] = scale.to_policy(live.state[robots])
    instruction = Instruction(0, 1, file.prompted(words or blank.instruction.text))
    return replace(blank, instruction=instruction, images=images, state=state)


def check_latency(
    robot: Robot, file: PolicyFile, live: LiveRobot, limits: GateLimits, words: str
) -> Iterator[CheckFinding]:
    """How long the policy takes here, and whether the gate will wait for it. It is loaded for it.

    Args:
        robot: the robot's file.
        file: the policy's.
        live: what it is shown.
        limits: what the gate allows.
        words: an instruction that it knows; empty: any.
    """
    if hasattr(policy_class(file.policy), "connect"):
        yield CheckFinding(
            UNKNOWN,
            "latency",
            "only the node inference can ask it",
            "run it there, disarmed: each message of action_chunk says its latency",
        )
        return
    spec = file_spec(file)
    engine = {"engine": file.engine, "precision": file.precision}
    try:
        observation = live_observation(spec, file, robot, live, words)
    except ValueError:
        return  # check_policy says why
    policy = None
    try:
        policy = make_policy(file.policy, file_options(file), engine)
        times = time_predictions(policy, observation)
    except NotUnderstood as refusal:
        yield CheckFinding(
            UNKNOWN,
            "latency",
            f"it does not know the words '{observation.instruction.text}': {refusal}",
            "give words that it knows: --instruction TEXT",
        )
        return
    # A policy may be anybody's, and raise anything.
    except Exception as error:
        text = f"it cannot be asked: {type(error).__name__}: {str(error)[:300]}"
        yield CheckFinding(WRONG, "latency", text, "it would fail on the robot, too")
        return
    finally:
        # One with a process or a connection of its own ends it.
        if close := getattr(policy, "close", None):
            close()
    yield from judge_latency(spec, times, live, _cameras(spec, file).values(), limits)


def time_predictions(policy: Policy, observation: Observation) -> NDArray[np.floating]:
    """s, of each prediction, without the first ones. Raises what the policy raises."""
    policy.reset()
    times: list[float] = []
    refused = False
    begin = time.perf_counter()
    while len(times) < WARM_UP + MOST_PREDICTIONS:
        # However slow it is: one that was warm.
        if len(times) > WARM_UP and time.perf_counter() > begin + LONGEST_TRIAL_S:
            break
        start = time.perf_counter()
        try:
            policy.predict(observation)
        except NotUnderstood:
            # One that gives up after some images, as the thing is not there, begins anew.
            if refused or not times:
                raise
            refused = True
            policy.reset()
            continue
        refused = False
        times.append(time.perf_counter() - start)
    policy.reset()
    return np.array(times[WARM_UP:])


def judge_latency(
    spec: PolicySpec,
    times: NDArray[np.floating],
    live: LiveRobot,
    cameras: Collection[str],
    limits: GateLimits,
) -> Iterator[CheckFinding]:
    """Against the gate's age, the node's patience and the chunk's length.

    Args:
        spec: the policy's.
        times: of predictions, s.
        live: the robot's.
        cameras: the names of those that the policy looks through.
        limits: what is allowed.
    """
    middle, slow = np.quantile(times, [0.5, 0.99])
    sent = 0.0
    period = 0.0
    for camera in cameras:
        sent = max(sent, live.ages.get(camera, 0.0))
        if rate := live.rates.get(camera):
            period = max(period, 1.0 / rate)
    text = (
        f"p50 {1000 * middle:.1f} ms, p99 {1000 * slow:.1f} ms of {len(times)} predictions here, "
        f"after {WARM_UP} to warm up"
    )
    if slow > limits.predict_timeout:
        yield CheckFinding(
            WRONG,
            "latency",
            f"{text}: inference gives up after {limits.predict_timeout:g} s",
            f"raise predict_timeout of inference above {slow:.2g} s, or take a faster engine",
        )
    else:
        yield CheckFinding(FITS, "latency", text)
    # A chunk is used until the next one comes: that one's image is taken up to a period after this
    # one's prediction began, and takes as long again.
    oldest = sent + 2.0 * slow + period
    parts = (
        f"image {1000 * sent:.0f} ms old when it comes, twice {1000 * slow:.0f} ms, "
        f"{1000 * period:.0f} ms until the next image: {oldest:.2f} s"
    )
    if oldest > limits.max_age:
        yield CheckFinding(
            WRONG if sent + slow > limits.max_age else DOUBTFUL,
            "observation_age",
            f"{parts}; max_age is {limits.max_age:g} s ({limits.where}), so the gate holds "
            + ("always" if sent + slow > limits.max_age else "between chunks"),
            f"a faster engine, smaller images, or max_age {_rounded(oldest)} of safety_validator: "
            "the robot then acts on what it saw that long ago",
        )
    else:
        text = f"{parts}; max_age is {limits.max_age:g} s ({limits.where})"
        yield CheckFinding(FITS, "observation_age", text)
    ahead = spec.steps * spec.step / NANOSECONDS
    # One row is held until the next chunk by policies that give just one.
    if spec.steps > 1 and ahead < oldest:
        yield CheckFinding(
            DOUBTFUL,
            "horizon",
            f"a chunk is {ahead:.2g} s long, and the next one comes after up to {oldest:.2g} s: "
            "the robot waits at its last row",
            "a longer horizon, or a faster engine",
        )


def _rounded(seconds: float) -> str:
    """Up, to tenths: what is given as a parameter."""
    return f"{np.ceil(seconds * 10.0) / 10.0:g}"
