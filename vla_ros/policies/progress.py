"""How far the robot has come since it was told.

What a policy without memory needs to know beside the image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from vla_ros.policies.amounts import AmountLeft
from vla_ros.tasks.objects import OPENING_MAX

POSE = ("odom.x", "odom.y", "odom.yaw")  # what it must be told, m and rad
# of the fingers' way: from here on the gripper counts as open; less, and it may hold something
OPEN_SHARE = 0.85
REST_SHARE = 0.01  # of it from one image to the next: the fingers stand
# Name -> what one unit of the model's input is: rad, m, or nothing. The shipped weights learned
# with these.
SCALES = {
    "gripper": 0.5,
    "gripper_command": 0.5,
    "turned": 0.5,
    "travelled": 0.2,
    "carried": 0.15,
    "side": 1.0,
}
FEATURE_LIMIT = 8.0  # units, either way
# images in a row must show the target until its side counts: a wrong glimpse would turn a search
# around
SURE_IMAGES = 3


class Progress:
    """Follows odometry from one instruction to the next: `move` has to see every image's pose.

    Attributes:
        turned: rad, full turns counted.
        travelled: m along the heading.
        carried: m driven with the target at the fingers.
        side: +1: the target was last seen left, or never; -1: right.
        seen: Images in a row that showed the target.
        contact: Whether the last image showed it at the fingers.
        command: Of the gripper, 0 … 1; None: not known yet.
        opening: Of the gripper, 0 … 1; None: nobody measures it.
        rests: Whether the fingers stood between the last two images.
        amount: How far it is to come; None: as far as the model learned.
    """

    def __init__(self) -> None:
        self.command: float | None = None  # kept over instructions, or a grip would be lost
        self.opening: float | None = None
        self.rests = False
        self.start()

    def start(self) -> None:
        """A new instruction."""
        self.turned = 0.0
        self.travelled = 0.0
        self.carried = 0.0
        self.side = 1.0
        self.seen = 0
        self.contact = False
        self.amount: AmountLeft | None = None
        self._pose: tuple[float, float, float] | None = None

    def move(self, state: Mapping[str, float]) -> None:
        """Take in odometry (POSE) and, where it is measured, `gripper_joint` (m).

        Raises ValueError where odometry is missing.
        """
        try:
            pose = state[POSE[0]], state[POSE[1]], state[POSE[2]]
        except KeyError as missing:
            raise ValueError(
                f"the observation has no {missing}; this policy needs odometry: publish /odom"
            ) from None
        if self._pose is not None:
            self.turned += math.remainder(pose[2] - self._pose[2], 2 * math.pi)
            dx = pose[0] - self._pose[0]
            dy = pose[1] - self._pose[1]
            # on a curve the way goes along the heading halfway; their mean is none across ±pi
            heading = (pose[2] + self._pose[2]) / 2
            if abs(pose[2] - self._pose[2]) >= math.pi:
                heading = pose[2]
            ahead = dx * math.cos(heading) + dy * math.sin(heading)
            self.travelled += ahead
            if self.contact:  # backwards, what is not gripped stays where it is
                self.carried += max(ahead, 0.0)
        self._pose = pose
        if "gripper_joint" in state:
            opening = min(max(state["gripper_joint"] / OPENING_MAX, 0.0), 1.0)
            self.rests = self.opening is not None and abs(opening - self.opening) < REST_SHARE
            self.opening = opening
            if self.command is None:
                self.command = float(opening > OPEN_SHARE)

    def found(self, left: float, contact: bool) -> None:
        """The image showed the target, so far to the left (m), and whether at the fingers."""
        self.seen += 1
        if self.seen >= SURE_IMAGES:
            self.side = 1.0 if left >= 0 else -1.0
        self.contact = contact

    def lost(self) -> None:
        """The image did not show the target."""
        self.seen = 0
        self.contact = False

    def features(self) -> dict[str, float]:
        """What the model is told, by name, each over its scale and within FEATURE_LIMIT."""
        values = {
            "gripper": 1.0 if self.opening is None else self.opening,
            "gripper_command": self.command or 0.0,
            "turned": self.turned,
            "travelled": self.travelled,
            "carried": self.carried,
            "side": self.side,
        }
        if self.amount is not None:
            feature = self.amount.feature
            values[feature] = self.amount.told(values[feature])
        for name, value in values.items():
            values[name] = min(max(value / SCALES[name], -FEATURE_LIMIT), FEATURE_LIMIT)
        return values
