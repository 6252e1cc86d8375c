"""`color_servo`: finds the colour that the words name in the image, and drives by it. Not learned.

Words become an intent (intent.py), images a map of coloured objects (blobs.py, tracks.py); this
file turns both into speeds: search by turning, turn to the target, drive up, close or open the
gripper.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.step_words import all_done
from vla_ros.core.types import NANOSECONDS, Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.color_servo.blobs import CameraPose, find_blobs
from vla_ros.policies.color_servo.tracks import ObjectTrack, Pose, Tracks, to_odom, to_robot
from vla_ros.policies.options import check_options
from vla_ros.policies.steps import spoken
from vla_ros.tasks import intent
from vla_ros.tasks.intent import Intent, parse
from vla_ros.tasks.objects import OPENING_MAX, PASSING_CLEARANCE

CHANNELS = ("linear.x", "angular.z", "gripper")
CAMERA = "camera"  # the only one that it looks through
# rows of a chunk and the time between them, s
STEPS = 5
STEP = 0.1
SPEED_MAX = 0.45  # m/s
TURN_MAX = 0.5  # rad/s
SEARCH_TURN = 0.45  # rad/s
SHOVE = 0.45  # m that a push drives on from where it lined up
DEFAULTS: dict[str, Any] = {
    "image_size": (240, 320),  # height, width in pixels
    "camera_forward": -0.05,  # m ahead of base_link
    "camera_height": 0.40,  # m above the floor
    "camera_tilt": 30.0,  # degrees below the horizon
    "camera_hfov": 75.0,  # degrees
    "stop_distance": 0.35,  # m from base_link to the object's middle
    "grab_distance": 0.24,  # m from base_link to the middle of the fingers
}


def _content_hash() -> str:
    """Changes whenever this policy's code does."""
    digest = hashlib.sha256(Path(intent.__file__).read_bytes())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options over their defaults. Raises ValueError for what is none, or of a bad value."""
    check_options("color_servo", options, DEFAULTS)
    values = {**DEFAULTS, **options}
    for name, value in values.items():
        numbers = value if name == "image_size" and isinstance(value, (list, tuple)) else [value]
        for number in numbers:
            # true and false are numbers to Python, and a slip here
            plain = isinstance(number, (int, float)) and not isinstance(number, bool)
            if not plain or not math.isfinite(number):
                raise ValueError(f"policy 'color_servo': {name} is {value!r}; give finite numbers")
    size = values["image_size"]
    if not isinstance(size, (list, tuple)) or len(size) != 2 or min(size) < 48:
        raise ValueError(
            f"policy 'color_servo': image_size is {size!r}; give [height, width], 48 or more"
        )
    if not 10 <= values["camera_hfov"] <= 150:
        raise ValueError(
            f"policy 'color_servo': camera_hfov is {values['camera_hfov']!r}; "
            "give 10 to 150 degrees"
        )
    return values


class ColorServo:
    """The policy. Without odometry in the observation it reckons its pose from its own commands."""

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """One image, and no state: odometry is used where it is measured."""
        height, width = _checked(options)["image_size"]
        images = {CAMERA: (int(height), int(width))}
        return PolicySpec(CHANNELS, STEPS, to_nanoseconds(STEP), images, "pad")

    def __init__(self, options: Mapping[str, Any]) -> None:
        values = _checked(options)
        height, width = map(int, values["image_size"])
        self._camera = CameraPose(
            width,
            height,
            values["camera_forward"],
            values["camera_height"],
            math.radians(values["camera_tilt"]),
            math.radians(values["camera_hfov"]),
        )
        self._stop_distance = float(values["stop_distance"])
        self._grab_distance = float(values["grab_distance"])
        self._spec = self.spec(options)
        self.name = f"color_servo@{_content_hash()}"
        # last commanded; kept over instructions, or a grip would be lost
        self._gripper: float | None = None
        self._reckoned: Pose = (0.0, 0.0, 0.0)
        self._last_row = (0.0, 0.0)
        self._last_stamp: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the instruction and the map; the gripper's command and the pose stay."""
        self._instruction_id: int | None = None
        self._intent = Intent("stop")
        self._phase = "start"
        self._tracks = Tracks()
        self._target: ObjectTrack | None = None
        self._obstacles: list[ObjectTrack] = []
        self._turned = 0.0  # rad, since the instruction or the search began
        self._travelled = 0.0  # m along the heading, likewise
        self._heading = 0.0  # rad, to hold while driving straight
        self._since = 0  # ns, when the phase began
        self._tries = 0
        self._looked = False  # all around, for this instruction
        self._last_pose: Pose | None = None
        self._side = 1.0  # which way to search: +1 left

    @property
    def announcements(self) -> tuple[str, ...]:
        """That what was asked for is done."""
        if self._phase != "done" or self._intent.kind == "stop":
            return ()
        return (all_done(1, spoken(self._intent)),)

    def predict(self, observation: Observation) -> Rows:
        """Rows STEPS x CHANNELS.

        Raises NotUnderstood for words that it does not know, and once a search was in vain.
        """
        pose = self._pose(observation)
        self._opening = observation.state.get("gripper_joint")
        if self._gripper is None and self._opening is not None:
            self._gripper = min(max(self._opening / OPENING_MAX, 0.0), 1.0)
        if observation.instruction.instruction_id != self._instruction_id:
            self.reset()
            text = observation.instruction.text
            self._intent = parse(text) if text else Intent("stop")
            # only now: bad words are refused every time
            self._instruction_id = observation.instruction.instruction_id
            self._enter(_FIRST_PHASE[self._intent.kind], observation.stamp, pose)
        self._measure(pose)
        if self._phase != "done" and self._intent.colour is not None:
            blobs = find_blobs(self._spec.only(observation.images), self._camera)
            self._tracks.update(pose, blobs, self._camera, self._intent.colour)
        self._advance(observation.stamp, pose)
        self._obstacles = []
        for track in self._tracks.tracks:
            if track is not self._target and not self._carried(pose, track):
                self._obstacles.append(track)
        rows = self._rollout(pose)
        self._last_row = (float(rows[0, 0]), float(rows[0, 1]))
        return rows

    # Where the robot is

    def _pose(self, observation: Observation) -> Pose:
        """As odometry has it, or reckoned from what was commanded last."""
        state = observation.state
        elapsed = (
            0.0  # s; after a gap nobody knows how far the robot went, so half a second at most
        )
        if self._last_stamp is not None:
            elapsed = min(max((observation.stamp - self._last_stamp) / NANOSECONDS, 0.0), 0.5)
        self._last_stamp = observation.stamp
        if state.keys() >= {"odom.x", "odom.y", "odom.yaw"}:
            self._reckoned = state["odom.x"], state["odom.y"], state["odom.yaw"]
            return self._reckoned
        self._reckoned = _moved(self._reckoned, *self._last_row, elapsed)
        return self._reckoned

    def _measure(self, pose: Pose) -> None:
        """Sums up how far the robot has turned and driven since the phase began, image by image."""
        if self._last_pose is not None:
            self._turned += math.remainder(pose[2] - self._last_pose[2], 2 * math.pi)
            ahead, _ = to_robot(self._last_pose, pose[0], pose[1])
            self._travelled += ahead
        self._last_pose = pose

    def _enter(self, phase: str, stamp: int, pose: Pose) -> None:
        self._phase = phase
        self._since = stamp
        self._heading = pose[2]
        self._turned = 0.0
        self._travelled = 0.0

    # What to do next: phases change here, once an image

    def _advance(self, stamp: int, pose: Pose) -> None:
        if self._phase in ("search", "approach", "align", "reach"):
            self._choose_target(stamp, pose)
        waited = (stamp - self._since) / NANOSECONDS
        if self._moved_enough() or (self._phase in ("opening", "shutting") and waited > 0.8):
            self._enter("done", stamp, pose)
        elif self._phase == "approach" and self._arrived(pose):
            self._enter("align" if self._intent.kind in ("grab", "push") else "done", stamp, pose)
        elif self._phase == "align" and self._aligned(pose):
            self._enter("reach" if self._intent.kind == "grab" else "shove", stamp, pose)
        elif self._phase == "reach" and self._between_fingers(pose):
            self._enter("closing", stamp, pose)
        elif self._phase == "closing" and waited > 1.2:
            self._check_grip(stamp, pose)
        elif self._phase == "retreat" and self._travelled < -0.2:
            self._enter("search", stamp, pose)
        if self._phase in ("closing", "shutting"):
            self._gripper = 0.0
        elif self._phase != "done" and self._intent.kind in ("grab", "push", "open"):
            self._gripper = 1.0

    def _moved_enough(self) -> bool:
        """Whether a phase that only counts radians or metres is over."""
        if self._phase == "turn":
            return abs(self._turn_left_to_do()) < 0.025
        if self._phase == "drive":
            return abs(self._drive_left_to_do()) < 0.015
        return self._phase == "shove" and self._travelled > SHOVE

    def _choose_target(self, stamp: int, pose: Pose) -> None:
        """The likeliest track; a doubtful shape is only taken once the whole room was looked at."""
        if self._phase == "search" and abs(self._turned) > 2 * math.pi:
            self._looked = True
        # how likely it has the wanted shape; less is asked of one that the robot follows already
        if self._looked:
            least = 0.02
        else:
            least = 0.5 if self._phase == "search" else 0.15
        best = self._likeliest(least)
        if best is not None:
            if self._phase == "search":
                self._enter("approach", stamp, pose)
            self._target = best
        elif self._phase != "search":
            if self._target is not None:
                self._side = 1.0 if to_robot(pose, self._target.x, self._target.y)[1] >= 0 else -1.0
            self._target = None
            self._enter("search", stamp, pose)
        elif abs(self._turned) > 2 * math.pi + 0.3:
            raise NotUnderstood(
                "color_servo turned a full circle and saw no "
                f"{self._intent.target}; bring one into view or name another object"
            )

    def _likeliest(self, least: float) -> ObjectTrack | None:
        """The track that most likely has the wanted shape, more than `least`."""
        best = None
        for track in self._tracks.tracks:
            # what was seen once alone may be nothing
            if track.colour == self._intent.colour and track.seen > 1:
                chance = track.chance(self._intent.shape)
                if chance > least:
                    best = track
                    least = chance
        return best

    def _polar(self, pose: Pose) -> tuple[float, float]:
        """Distance (m) and bearing (rad) of the target."""
        assert self._target is not None
        ahead, left = to_robot(pose, self._target.x, self._target.y)
        return math.hypot(ahead, left), math.atan2(left, ahead)

    def _arrived(self, pose: Pose) -> bool:
        distance, bearing = self._polar(pose)
        if self._intent.kind == "face":
            return abs(bearing) < 0.05
        return abs(distance - self._standoff()) < 0.035 and abs(bearing) < 0.08

    def _standoff(self) -> float:
        return self._stop_distance + (0.07 if self._intent.kind in ("grab", "push") else 0.0)

    def _aligned(self, pose: Pose) -> bool:
        return abs(self._polar(pose)[1]) < 0.025

    def _between_fingers(self, pose: Pose) -> bool:
        # it slides along in front, and does not come nearer
        pressed = self._travelled > self._standoff() - self._grab_distance + 0.08
        return self._polar(pose)[0] < self._grab_distance + 0.01 or pressed

    def _carried(self, pose: Pose, track: ObjectTrack) -> bool:
        """Between the fingers: no obstacle, for it comes along."""
        ahead, left = to_robot(pose, track.x, track.y)
        return abs(left) < 0.07 and 0.1 < ahead < self._grab_distance + 0.08

    def _check_grip(self, stamp: int, pose: Pose) -> None:
        """An empty gripper closes all the way: back up and try again, three times at most."""
        self._tries += 1
        if self._opening is not None and self._opening < 0.02 and self._tries < 3:
            self._target = None
            self._tracks = Tracks()
            self._enter("retreat", stamp, pose)
        else:
            self._enter("done", stamp, pose)

    def _turn_left_to_do(self) -> float:
        sign = -1.0 if self._intent.kind == "turn_right" else 1.0
        return sign * self._intent.amount - self._turned

    def _drive_left_to_do(self) -> float:
        sign = -1.0 if self._intent.kind == "back" else 1.0
        return sign * self._intent.amount - self._travelled

    # Speeds: what this phase wants at a pose, asked for every row along the way it would drive

    def _rollout(self, pose: Pose) -> NDArray[np.float32]:
        """Rows STEPS x CHANNELS, as if the robot drove each of them."""
        rows = np.zeros((STEPS, len(CHANNELS)), np.float32)
        here = pose
        for row in rows:
            turned = math.remainder(here[2] - pose[2], 2 * math.pi)
            travelled = to_robot(pose, here[0], here[1])[0]
            linear, angular = self._speeds(here, turned, travelled)
            row[:] = linear, angular, self._gripper or 0.0
            here = _moved(here, linear, angular, STEP)
        return rows

    def _speeds(self, pose: Pose, turned: float, travelled: float) -> tuple[float, float]:
        """(m/s, rad/s) for `pose`, which lies `turned` and `travelled` ahead of the measured."""
        hold = _limit(1.5 * math.remainder(self._heading - pose[2], 2 * math.pi), 0.0, 0.3)
        if self._phase == "turn":
            return 0.0, _limit(2.0 * (self._turn_left_to_do() - turned), 0.08, TURN_MAX)
        if self._phase == "drive":
            return _limit(1.2 * (self._drive_left_to_do() - travelled), 0.05, 0.35), hold
        if self._phase == "search":
            return 0.0, self._side * SEARCH_TURN
        if self._phase == "shove":
            return 0.2, hold
        if self._phase == "retreat":
            return -0.2, hold
        if self._phase in ("approach", "align", "reach"):
            return self._towards_target(pose)
        return 0.0, 0.0

    def _towards_target(self, pose: Pose) -> tuple[float, float]:
        distance, bearing = self._polar(pose)
        if self._phase == "reach":
            slow = _limit(1.5 * (distance - self._grab_distance), 0.05, 0.12)
            return slow, _limit(2.0 * bearing, 0.0, 0.3)
        if self._phase == "approach" and self._intent.kind != "face":
            bearing = self._around_obstacles(pose, distance, bearing)
        steer = _limit(1.8 * bearing, 0.06, TURN_MAX) if abs(bearing) > 0.015 else 0.0
        if self._phase == "align" or self._intent.kind == "face":
            return 0.0, steer
        short = distance - self._standoff()
        facing = max(0.0, 1.0 - abs(bearing) / 0.6)
        if abs(short) < 0.02:
            return 0.0, steer
        return _limit(short, 0.05, SPEED_MAX if short > 0 else 0.15) * facing, steer

    def _around_obstacles(self, pose: Pose, distance: float, bearing: float) -> float:
        """The bearing to drive (rad): the target's, or past the first object in between."""
        blocking = []
        for track in self._obstacles:
            ahead, left = to_robot((pose[0], pose[1], pose[2] + bearing), track.x, track.y)
            if abs(left) < PASSING_CLEARANCE and -0.1 < ahead < distance - 0.15:
                blocking.append((ahead, left))
        if not blocking:
            return bearing
        ahead, left = min(blocking)
        aside = left - math.copysign(PASSING_CLEARANCE + 0.06, left)
        return bearing + math.atan2(aside, max(ahead, 0.15))


_FIRST_PHASE = {
    "go_to": "search",
    "face": "search",
    "grab": "search",
    "push": "search",
    "turn_left": "turn",
    "turn_right": "turn",
    "turn_around": "turn",
    "forward": "drive",
    "back": "drive",
    "open": "opening",
    "close": "shutting",
    "stop": "done",
}


def _limit(value: float, least: float, most: float) -> float:
    """The value, its size between `least` (so that it moves the robot at all) and `most`."""
    return math.copysign(min(max(abs(value), least), most), value)


def _moved(pose: Pose, linear: float, angular: float, seconds: float) -> Pose:
    """Where a robot gets at such speeds (m/s, rad/s)."""
    # along the heading halfway, as on a chord of its arc
    middle = pose[2] + angular * seconds / 2
    x, y = to_odom((pose[0], pose[1], middle), linear * seconds, 0.0)
    return x, y, pose[2] + angular * seconds
