"""How an instruction to the arm is followed: step after step, and when the next one begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from vla_ros.policies.steps import Steps
from vla_ros.tasks.arm.intent import PUT_KINDS, ArmIntent

OPEN_SHARE = 0.85  # from here on the gripper counts as open; less, and it may hold something
DONE_IMAGES = 6  # in a row that must show a step done: 0.6 s at 10 a second
STANDS_RAD = 0.008  # that no joint may have turned since the last image
STILL_SHARE = 0.02  # of the fingers' way, likewise
# in a row that show an arm that stands, and its step not done: 5 s at 20 a second
STUCK_IMAGES = 100


@dataclass(frozen=True)
class ArmMoment:
    """What an image shows, and what the model answers to it.

    Attributes:
        moves: The model moves a joint.
        turned: rad, by the joint that turned furthest since the last image.
        opening: Of the gripper, 0 to 1.
        opened: By how much since the last image.
        command: Of the gripper, 0 closed or 1 open.
        gripped: The model takes the thing for held.
    """

    moves: bool
    turned: float
    opening: float
    opened: float
    command: float
    gripped: bool


def is_done(intent: ArmIntent, moment: ArmMoment) -> bool:
    """Whether the step looks done: the arm stands, and the gripper is as it has to be."""
    if moment.moves or moment.turned > STANDS_RAD:
        return False
    opens = moment.command > 0.5
    if intent.kind in ("pick", "hand_over"):
        return moment.gripped and not opens
    if intent.kind in PUT_KINDS:
        return opens and moment.opening > OPEN_SHARE and not moment.gripped
    if intent.kind == "open":
        return moment.opening > OPEN_SHARE
    if intent.kind == "close":
        return not opens and abs(moment.opened) < STILL_SHARE
    return True


class ArmFollowing:
    """One instruction on its way."""

    def __init__(self, intents: Sequence[ArmIntent]) -> None:
        self._steps: Steps[ArmIntent] = Steps(intents, attrgetter("text"), DONE_IMAGES)
        self._standing = 0  # images in a row

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
        return self._standing >= STUCK_IMAGES

    def note(self, moment: ArmMoment) -> bool:
        """An image of the current step. Returns whether the next one begins."""
        done = is_done(self.current, moment)
        stands = moment.turned <= STANDS_RAD and abs(moment.opened) < STILL_SHARE
        waits = stands and not done and not self._steps.over
        self._standing = self._standing + 1 if waits else 0
        return self._steps.note(done)
