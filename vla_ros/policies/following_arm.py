"""How an instruction to the arm is followed: step after step, and when the next one begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from vla_ros.policies.steps import Steps
from vla_ros.tasks.arm.intent import PUT_KINDS, ArmIntent

OPEN_SHARE = 0.85  # from here on the gripper counts as open; less, and it may hold something
STANDS_RAD_S = 0.08  # that no joint may turn faster than
STILL_SHARE_S = 0.2  # of the fingers' way in a second, likewise
# Times, not images: how many of these come in a second is the cameras' matter.
DONE_S = 0.5  # that all images must show a step done
STUCK_S = 5.0  # that all images show an arm that stands, and its step not done


@dataclass(frozen=True)
class ArmMoment:
    """What an image shows, and what the model answers to it.

    Attributes:
        stamp: Of the image, s.
        moves: The model moves a joint.
        speed: Of the joint that turned fastest since the last image, rad/s.
        opening: Of the gripper, 0 to 1.
        opening_speed: Its change since the last image, in a second.
        command: Of the gripper, 0 closed or 1 open.
        gripped: The model takes the thing for held.
    """

    stamp: float
    moves: bool
    speed: float
    opening: float
    opening_speed: float
    command: float
    gripped: bool


def is_done(intent: ArmIntent, moment: ArmMoment) -> bool:
    """Whether the step looks done: the arm stands, and the gripper is as it has to be."""
    if moment.moves or moment.speed > STANDS_RAD_S:
        return False
    opens = moment.command > 0.5
    if intent.kind in ("pick", "hand_over"):
        return moment.gripped and not opens
    if intent.kind in PUT_KINDS:
        return opens and moment.opening > OPEN_SHARE and not moment.gripped
    if intent.kind == "open":
        return moment.opening > OPEN_SHARE
    if intent.kind == "close":
        return not opens and abs(moment.opening_speed) < STILL_SHARE_S
    return True


class Lasting:
    """For how long something has been so in all images."""

    def __init__(self) -> None:
        self._since: float | None = None  # s, of the first of these images

    def note(self, holds: bool, stamp: float) -> float:
        """An image of `stamp` (s). Returns for how long, s; 0 where it does not hold."""
        if not holds:
            self._since = None
            return 0.0
        if self._since is None:
            self._since = stamp
        return stamp - self._since


class ArmFollowing:
    """One instruction on its way."""

    def __init__(self, intents: Sequence[ArmIntent]) -> None:
        self._steps: Steps[ArmIntent] = Steps(intents, attrgetter("text"), images=1)
        self._done = Lasting()
        self._standing = Lasting()
        self._stands_for = 0.0  # s, its step not done

    @property
    def current(self) -> ArmIntent:
        """The step under way."""
        return self._steps.current

    @property
    def announced(self) -> tuple[str, ...]:
        """Sentences for the operator, in their order."""
        return tuple(self._steps.announced)

    @property
    def title(self) -> str:
        """Which step it is, for people."""
        return self._steps.title

    @property
    def half_done(self) -> bool:
        """Whether a step is done, so that it must not begin again from its start."""
        return not self._steps.first

    @property
    def cut_off(self) -> str:
        """Why it ends where the policy is reset while it is half done."""
        return self._steps.cut_off

    def blamed(self, sentence: str) -> str:
        """Why the instruction ended here: which step it was, where there are several."""
        return self._steps.blamed(sentence)

    @property
    def stuck(self) -> bool:
        """Whether the arm has stood for so long, its step not done, that nothing will come."""
        return self._stands_for >= STUCK_S

    def note(self, moment: ArmMoment) -> bool:
        """An image of the current step. Returns whether the next one begins."""
        done = is_done(self.current, moment)
        still = abs(moment.opening_speed) < STILL_SHARE_S
        stands = moment.speed <= STANDS_RAD_S and still
        waits = stands and not done and not self._steps.over
        self._stands_for = self._standing.note(waits, moment.stamp)
        begins = self._steps.note(self._done.note(done, moment.stamp) >= DONE_S)
        if begins:
            self._done = Lasting()
        return begins
