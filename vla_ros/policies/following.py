"""How an instruction is followed: step after step, each with the thing that its words mean here.

A model does the moving, in words that its training knows. What it cannot know from those is
decided here: which of the things in sight is meant, how far, and when the next step begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Image
from vla_ros.policies.amounts import AmountLeft, has_stood
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.headway import Headway
from vla_ros.policies.progress import OPEN_SHARE, SURE_IMAGES, Progress
from vla_ros.policies.sightings import OneOfAlike, Seen, Sightings, paint_over, with_edges
from vla_ros.policies.steps import Steps, canonical, must_look, named, needs_object, spoken
from vla_ros.tasks.choice import Sighting, chosen, fitting
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.phrases import AMOUNTS

# turned without seeing the target until it gives up: a full circle and some more
SEARCH_LIMIT_RAD = 2 * math.pi + 0.6
LOOK_IMAGES = 4  # that it looks at, standing, before it chooses or turns
TURN_RAD_S = 0.45  # while it looks around: about as fast as the model searches
# of the model's completion, from which on a step is done once it stands; it is less sure of what
# ends as it pleases, a little nearer or farther
DONE_PROBABILITY = {"go_to": 0.3, "face": 0.3, "stop": 0.0}
USUAL_DONE_PROBABILITY = 0.5
# m from base_link: what a closed gripper holds is seen there, and is no thing to go to
HELD_AHEAD_M = 0.34
HELD_ASIDE_M = 0.06
GRIPPER_KINDS = ("grab", "open", "close")
# images in a row: 3 s at 12.5 a second, until the model's claim to be done is no longer waited for
MOST_CLAIMED_IMAGES = 38
HELD_OPENING = 0.2  # of the fingers' way: closed on nothing, they are nearer to each other
# "the nearest" is known only once all around was seen, where the first view shows one or none
ALL_AROUND = ("nearest", "farthest")

# Words for the model, an image and what the robot measures -> rows T x C, and how likely the model
# is done (0 ... 1).
Drive = Callable[[str, Image, Mapping[str, float]], tuple[NDArray[np.float32], float]]


class Following:
    """One instruction on its way.

    Attributes:
        last: Name of the thing that was meant last: "the other one" is not that.
    """

    def __init__(
        self,
        intents: Sequence[Intent],
        progress: Progress,
        drive: Drive,
        look: Callable[[Image], Sequence[Seen]],
        rows: int,
        last: str | None = None,
    ) -> None:
        self._steps = Steps(intents)
        self._progress = progress
        self._drive = drive
        self._look = look
        self._rows = rows
        self._failure = ""
        self.last = last
        self._begin_step()

    def _begin_step(self) -> None:
        self._progress.start()
        intent = self._steps.current
        if intent.kind in AMOUNTS:
            self._progress.amount = AmountLeft(intent)
        self._sightings = Sightings()
        self._looked = 0  # images
        self._claimed = 0  # images in a row: done by the model, and not by what is measured
        self._thing: Sighting | None = None
        self._one_of_alike: OneOfAlike | None = None
        self._headway = Headway()
        self._lost = 0.0  # rad turned since the target was last seen
        self._turned = 0.0  # by the image before
        self._travelled = 0.0

    @property
    def announced(self) -> tuple[str, ...]:
        """Sentences for the operator, in their order."""
        return tuple(self._steps.announced)

    @property
    def title(self) -> str:
        """Which step it is, for people."""
        return self._steps.title

    @property
    def words(self) -> str:
        """What the model is told now."""
        return canonical(self._steps.current, self._thing)

    def interrupt(self) -> bool:
        """The policy was reset: what was half done must not begin again from its start.

        Returns:
            Whether something was half done, so that it is refused from now on.
        """
        amount = self._progress.amount
        covered = amount is not None and amount.begun(getattr(self._progress, amount.feature))
        half_done = covered or not self._steps.first
        if half_done:
            self._failure = self._steps.cut_off
            self._steps.announced.clear()
        return half_done

    def predict(self, image: Image, measured: Mapping[str, float]) -> NDArray[np.float32]:
        """Rows T x C for an image; `progress` knows its odometry already.

        Raises:
            NotUnderstood: What is meant is not there, or not clear; and for every image after it.
        """
        if self._failure:
            raise NotUnderstood(self._failure)
        turned = self._progress.turned - self._turned
        travelled = self._progress.travelled - self._travelled
        self._turned = self._progress.turned
        self._travelled = self._progress.travelled
        intent = self._steps.current
        if needs_object(intent) and not self._clear(intent, image, measured):
            return self._turn(TURN_RAD_S if self._looked >= LOOK_IMAGES else 0.0)
        rows, completion = self._drive(self.words, self._shown(intent, image, measured), measured)
        self._search(intent, turned, rows)
        stands = not rows[:, :2].any() or self._stays(rows, turned, travelled)
        if needs_object(intent) and self._headway.lost(not stands, self._progress):
            self._fail(
                f"the robot gets no nearer to the {named(intent)}; clear its way and say it again"
            )
        claimed = stands and self._claims(intent, completion)
        done = claimed and self._measured_done(intent)
        self._claimed = self._claimed + 1 if claimed and not done else 0
        if self._claimed > MOST_CLAIMED_IMAGES and not self._steps.over:
            self._fail(self._unproven(intent))
        if self._steps.note(done):
            self._begin_step()
        return rows

    def _turn(self, angular: float) -> NDArray[np.float32]:
        """Rows of its own, rad/s; the gripper stays as it is."""
        row = np.array([0.0, angular, self._progress.command or 0.0], np.float32)
        return np.tile(row, (self._rows, 1))

    def _shown(self, intent: Intent, image: Image, measured: Mapping[str, float]) -> Image:
        """What the model sees: not what the gripper holds, as it would drive around that."""
        if self._one_of_alike:
            return self._one_of_alike.shown(image, self._look(image), measured)
        if not needs_object(intent) or not self._holds:
            return image
        for seen in self._look(image):
            if at_fingers(seen.thing) and seen.thing.name != self.last:
                image = paint_over(image, with_edges(seen.cells))
        return image

    def _stays(self, rows: NDArray[np.float32], turned: float, travelled: float) -> bool:
        """Does it stand near its amount's end, though a later row asks for a little more?

        A robot goes by the first row until there are newer ones: if those ask for the same, it
        would stand there for ever.
        """
        amount = self._progress.amount
        if amount is None or rows[0, :2].any() or not has_stood(turned, travelled):
            return False
        return amount.reached(getattr(self._progress, amount.feature))

    def _claims(self, intent: Intent, completion: float) -> bool:
        """Does the model, which stands, take the step for done?"""
        if self._progress.amount is not None:
            return True
        if intent.kind == "face" and self._progress.seen >= SURE_IMAGES:
            return True  # it sees its target and does not turn: it faces it
        return completion > DONE_PROBABILITY.get(intent.kind, USUAL_DONE_PROBABILITY)

    def _measured_done(self, intent: Intent) -> bool:
        """Is the step done by what is measured, which is surer than the model?"""
        amount = self._progress.amount
        if amount is not None:
            covered = getattr(self._progress, amount.feature)
            amount.stand(covered)
            return amount.reached(covered)
        opening = self._progress.opening
        if intent.kind not in GRIPPER_KINDS or opening is None:
            return True
        if intent.kind == "grab":  # while they close, the fingers are as wide as something held
            return self._holds and self._progress.rests
        is_open = opening > OPEN_SHARE
        return is_open if intent.kind == "open" else not is_open and self._progress.rests

    def _unproven(self, intent: Intent) -> str:
        """Why the model's claim to be done is not believed."""
        amount = self._progress.amount
        if amount is not None:
            left = amount.left(getattr(self._progress, amount.feature))
            missing = f"{left:.2f} m"
            if amount.feature == "turned":
                missing = f"{math.degrees(left):.0f} degrees"
            return f"the robot stands with {missing} of {spoken(intent)!r} left; say what is left"
        share = 100 * (self._progress.opening or 0.0)
        return (
            f"the policy takes {spoken(intent)!r} for done, and the gripper is open to {share:.0f} "
            "percent; look at what it holds, and say it again"
        )

    def _clear(self, intent: Intent, image: Image, measured: Mapping[str, float]) -> bool:
        """Is it known which thing is meant, so that the model can drive?"""
        told = not must_look(intent)
        if self._thing is not None or (told and self._looked >= LOOK_IMAGES):
            return True
        relation = intent.which.relation if intent.which else ""
        if relation == "other" and self.last is None:
            self._fail(f"no thing was meant before the {named(intent)}; say which one you mean")
        self._sightings.note(self._look(image), measured)
        self._looked += 1
        if self._looked < LOOK_IMAGES:
            return False
        things = self._free(self._sightings.things(measured))
        if told:  # where it is not in view, the model looks for it
            self._choose(intent, fitting(intent, things), measured)
            self.last = f"{intent.colour} {intent.shape}"
            return True
        meant = chosen(intent, things, self._before(things))
        around = abs(self._progress.turned) >= 2 * math.pi
        if not meant and around:
            self._fail(_not_seen(intent, things))
        unsure = self._looked > LOOK_IMAGES or len(fitting(intent, things)) < 2
        if not meant or (relation in ALL_AROUND and unsure and not around):
            return False
        thing = self._choose(intent, meant, measured)
        assert thing is not None
        self._thing = thing
        if len(fitting(Intent(intent.kind, thing.colour, thing.shape), things)) > 1:
            self._one_of_alike = OneOfAlike(thing, measured)
        self.last = thing.name
        self._steps.announced.append(f"the {named(intent)}: it is the {thing.name}")
        # if it is out of view again, it is searched for where it was
        self._progress.side = 1.0 if thing.bearing >= 0 else -1.0
        return True

    @property
    def _holds(self) -> bool:
        """Did the gripper close on something?"""
        opening = self._progress.opening
        return self._progress.command == 0.0 and opening is not None and opening > HELD_OPENING

    def _free(self, things: Sequence[Sighting]) -> list[Sighting]:
        """Those that the gripper does not hold."""
        free = []
        for thing in things:
            if not (self._holds and at_fingers(thing)):
                free.append(thing)
        return free

    def _before(self, things: Sequence[Sighting]) -> Sighting | None:
        """The thing that was meant last: of several alike the nearest, where the robot went."""
        for thing in sorted(things, key=attrgetter("distance")):
            if thing.name == self.last:
                return thing
        return None

    def _choose(
        self, intent: Intent, meant: Sequence[Sighting], measured: Mapping[str, float]
    ) -> Sighting | None:
        if len(meant) > 1:
            self._fail(_which_one(intent, meant))
        if meant and self._sightings.is_fused(meant[0], measured):
            self._fail(
                f"what looks like the {meant[0].name} may be two of them, too close to tell apart; "
                "move one away, or name another object"
            )
        return meant[0] if meant else None

    def _search(self, intent: Intent, turned: float, rows: NDArray[np.float32]) -> None:
        """Counts how far it turned without seeing what it looks for; a glimpse is not seeing."""
        if self._progress.seen >= SURE_IMAGES or rows[0, 0]:
            self._lost = 0.0
        elif needs_object(intent) and rows[0, 1]:
            self._lost += abs(turned)
        if self._lost > SEARCH_LIMIT_RAD:
            self._fail(
                "the policy turned a full circle and did not see what the words name; "
                "bring it into view and say it again, or name another object"
            )

    def _fail(self, sentence: str) -> NoReturn:
        """Ends the instruction, with what was left of its steps."""
        self._failure = self._steps.blamed(sentence)
        raise NotUnderstood(self._failure)


def at_fingers(thing: Sighting) -> bool:
    """Does it stand where the gripper would hold it?"""
    return 0.0 < thing.ahead < HELD_AHEAD_M and abs(thing.left) < HELD_ASIDE_M


def _not_seen(intent: Intent, things: Sequence[Sighting]) -> str:
    names = ", ".join(f"the {thing.name}" for thing in things)
    return (
        f"the policy turned a full circle and did not see the {named(intent)}; it saw "
        f"{names or 'nothing that it knows'}; bring it into view, or name another object"
    )


def _which_one(intent: Intent, meant: Sequence[Sighting]) -> str:
    """Asks, from left to right as the robot sees them."""
    things = sorted(meant, key=lambda thing: -thing.bearing)
    names = [f"the {thing.name}" for thing in things]
    if names == [names[0]] * 2:
        names = [f"{names[0]} on the left", f"{names[0]} on the right"]
    return f"the {named(intent)} may be {', '.join(names[:-1])} or {names[-1]}; say which"
