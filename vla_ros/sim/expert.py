"""The expert that demonstrates: what to do now, from the truth, for many robots at once.

It sees only what the camera sees: a target out of view is searched for by turning. What it does
depends on the moment alone (and on how far the robot came since the instruction), so that any
moment can be labelled for any instruction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.projection import in_view
from vla_ros.tasks.objects import PASSING_CLEARANCE
from vla_ros.tasks.phrases import AMOUNTS, KINDS

Array = NDArray[np.float64]
# The fastest that it drives and turns, m/s and rad/s: within the robot file's limits, which would
# clamp a demonstration that asks for more.
SPEED = 0.45
TURN = 0.47
# m from base_link to the target's middle
STAND_OFF_M = 0.36  # where going to something ends
LINE_UP_M = 0.43  # where the robot faces squarely what it will grab or push
# m: nearer than this the target is at the fingers
CONTACT_AHEAD = 0.34
CONTACT_LEFT = 0.06
CARRY_M = 0.30  # that a push drives on from there
CREEP_AHEAD_M = 0.235  # of the target between the fingers: a creeping approach ends there
OPEN_ENOUGH = 0.85  # of the gripper, from which an object fits between the fingers
PALM_AHEAD_M = 0.20  # of a target that the palm pushes along
ID = dict(zip(KINDS, range(len(KINDS))))
TURNS = [ID["turn_left"], ID["turn_right"], ID["turn_around"]]
DRIVES = [ID["forward"], ID["back"]]
# rad or m, by kind's ID; left and ahead are positive
AMOUNT = np.array([AMOUNTS.get(kind, 0.0) for kind in KINDS])
AMOUNT[[ID["turn_right"], ID["back"]]] *= -1.0


@dataclass(frozen=True)
class Situation:
    """B moments; every attribute has B rows.

    Attributes:
        kind: What the instruction asks for, an ID.
        ahead: Where the target is from base_link, m.
        left: As `ahead`.
        others: Where the other objects are, B x K x 2, m; NaN: none.
        opening: Of the gripper, 0 … 1.
        command: What the gripper was last told, 0 … 1.
        turned: Since the instruction, rad.
        travelled: Since the instruction, along the heading, m.
        carried: Since the instruction, driven with the target at the fingers, m.
        side: Where to search for what is out of view, +1 left, -1 right.
    """

    kind: NDArray[np.int64]
    ahead: Array
    left: Array
    others: Array
    opening: Array
    command: Array
    turned: Array
    travelled: Array
    carried: Array
    side: Array

    def __getitem__(self, rows: object) -> Situation:
        columns = [getattr(self, column.name)[rows] for column in fields(self)]
        return Situation(*columns)


def at_fingers(ahead: Array, left: Array) -> NDArray[np.bool_]:
    """Whether the target is where a push begins."""
    return (ahead < CONTACT_AHEAD) & (ahead > 0.1) & (np.abs(left) < CONTACT_LEFT)


def decide(now: Situation) -> Array:
    """Linear (m/s), angular (rad/s) and gripper (0 … 1) for each moment: B x 3."""
    kind = now.kind
    action = np.zeros((len(kind), 3))
    action[:, 2] = now.command
    bearing = np.arctan2(now.left, now.ahead)
    distance = np.hypot(now.ahead, now.left)
    seen = in_view(now.ahead, now.left)
    for name, rule in (("go_to", _go_to), ("face", _face), ("grab", _grab), ("push", _push)):
        rows = kind == ID[name]
        if rows.any():
            action[rows] = rule(now[rows], distance[rows], bearing[rows])
            # What it does not see, it searches for by turning, with an open gripper for what it
            # will grab or push.
            lost = rows & ~seen
            if name == "push":
                lost &= now.carried < CARRY_M  # pushed far enough: where it rolled is all the same
            action[lost, 0] = 0.0
            action[lost, 1] = now.side[lost] * TURN
            if name in ("grab", "push"):
                action[lost, 2] = 1.0
    # Turns and drives have no target, only an amount; they end a little before it is reached.
    to_turn = AMOUNT[kind] - now.turned
    turning = np.isin(kind, TURNS) & (np.abs(to_turn) > 0.03)
    action[turning, 1] = _clip(2.0 * to_turn[turning], 0.08, TURN)
    to_drive = AMOUNT[kind] - now.travelled
    moving = np.isin(kind, DRIVES) & (np.abs(to_drive) > 0.015)
    action[moving, 0] = _clip(1.2 * to_drive[moving], 0.05, 0.35)
    action[moving, 1] = _clip(-1.5 * now.turned[moving], 0.0, 0.3)  # it keeps its heading
    action[kind == ID["open"], 2] = 1.0
    action[kind == ID["close"], 2] = 0.0
    return action


def _clip(value: Array, least: float, most: float) -> Array:
    """`value` with its size between `least`, so that it moves the robot at all, and `most`."""
    return np.copysign(np.clip(np.abs(value), least, most), value)


def _around(now: Situation, distance: Array, bearing: Array) -> Array:
    """The bearing to drive (rad): the target's, or past the first object seen in between."""
    cos = np.cos(bearing)[:, None]
    sin = np.sin(bearing)[:, None]
    x = now.others[..., 0]
    y = now.others[..., 1]
    with np.errstate(invalid="ignore"):  # NaN, where there is none, is never in the way
        # B x K, along the way to the target and beside it
        ahead = x * cos + y * sin
        left = y * cos - x * sin
        between = (ahead > 0.12) & (ahead < distance[:, None] - 0.15)
        blocking = in_view(x, y) & (np.abs(left) < PASSING_CLEARANCE) & between
    ahead = np.where(blocking, ahead, np.inf)
    first = ahead.argmin(1)
    rows = np.arange(len(first))
    near = ahead[rows, first]
    beside = left[rows, first]
    # past it on the side that is nearer, with a little more than the clearance
    aside = beside - np.copysign(PASSING_CLEARANCE + 0.06, beside)
    return np.where(blocking.any(1), bearing + np.arctan2(aside, np.maximum(near, 0.15)), bearing)


def _approach(now: Situation, distance: Array, bearing: Array, stop: float) -> Array:
    """Drive up to `stop` metres from the target, around what is in between; back, if too near."""
    bearing = _around(now, distance, bearing)
    action = np.zeros((len(distance), 3))
    short = distance - stop
    # The further it looks away, the slower it drives: first it turns.
    facing = np.maximum(0.0, 1.0 - np.abs(bearing) / 0.6)
    forward = np.clip(1.2 * short, 0.05, SPEED) * facing
    backward = np.clip(1.2 * short, -0.15, -0.05)
    action[:, 0] = np.where(short > 0, forward, backward)
    action[:, 1] = np.clip(1.8 * bearing, -TURN, TURN)
    return action


def _go_to(now: Situation, distance: Array, bearing: Array) -> Array:
    action = _approach(now, distance, bearing, STAND_OFF_M)
    near = np.abs(distance - STAND_OFF_M) < 0.035
    action[near, 0] = 0.0
    action[near, 1] = np.where(np.abs(bearing) < 0.06, 0.0, _clip(1.8 * bearing, 0.06, TURN))[near]
    action[:, 2] = now.command
    return action


def _face(now: Situation, distance: Array, bearing: Array) -> Array:
    action = np.zeros((len(distance), 3))
    action[:, 1] = np.where(np.abs(bearing) < 0.04, 0.0, _clip(1.8 * bearing, 0.06, TURN))
    action[:, 2] = now.command
    return action


def _line_up(now: Situation, distance: Array, bearing: Array) -> Array:
    """Up to the target with open fingers, squarely: shared by grab and push."""
    # Each later step overrules those before it.
    action = _approach(now, distance, bearing, LINE_UP_M - 0.04)
    close = distance < LINE_UP_M + 0.03
    creep = np.clip(1.5 * (now.ahead - CREEP_AHEAD_M), 0.05, 0.12)
    action[close, 0] = creep[close]
    action[close, 1] = np.clip(2.0 * bearing, -0.3, 0.3)[close]
    # not straight ahead: turn on the spot
    askew = close & (np.abs(bearing) > 0.07)
    action[askew, 0] = 0.0
    action[askew, 1] = _clip(1.8 * bearing, 0.06, 0.4)[askew]
    # nearly there, but a finger would hit it: back off
    beside = (now.ahead < 0.36) & (np.abs(now.left) > 0.03)
    action[beside, 0] = -0.12
    # nearly there with closed fingers: wait until they are open, behind where they would touch it
    unready = close & (now.opening < OPEN_ENOUGH)
    action[unready, 0] = np.where(now.ahead < LINE_UP_M - 0.03, -0.12, 0.0)[unready]
    action[unready, 1] = 0.0
    action[:, 2] = 1.0
    return action


def _grab(now: Situation, distance: Array, bearing: Array) -> Array:
    action = _line_up(now, distance, bearing)
    reach = np.where(
        now.opening < OPEN_ENOUGH, 0.29, 0.25
    )  # a grip is kept where it slipped a little
    between = (now.ahead < reach) & (now.ahead > 0.16) & (np.abs(now.left) < 0.03)
    action[between] = 0.0  # stand, and close
    return action


def _push(now: Situation, distance: Array, bearing: Array) -> Array:
    action = _line_up(now, distance, bearing)
    pushing = at_fingers(now.ahead, now.left) & (now.opening > 0.5)
    action[pushing, 0] = 0.2
    action[pushing, 1] = np.clip(1.5 * bearing, -0.3, 0.3)[pushing]
    action[now.carried >= CARRY_M, :2] = 0.0  # far enough
    return action


def finished(now: Situation, action: Array) -> NDArray[np.bool_]:
    """Whether the expert is done with its instruction, by what it does now."""
    still = ~action[:, :2].any(1)
    gripper = np.abs(now.opening - action[:, 2])
    settled = np.where(np.isin(now.kind, [ID["open"], ID["close"]]), gripper < 0.15, True)
    # a block across its corners: 0.87
    gripped = np.where(now.kind == ID["grab"], now.opening < 0.9, True)
    # it stands with open fingers, but has not come to the target yet
    handling = np.isin(now.kind, [ID["grab"], ID["push"]])
    waiting = handling & (action[:, 2] > 0.5) & (now.carried < CARRY_M)
    return still & settled & gripped & ~waiting


def rollout(now: Situation, steps: int, step: float) -> Array:
    """What the expert would do in the coming steps, if the world moved as planned.

    Args:
        now: B moments.
        steps: How many.
        step: Between two of them, s.

    Returns:
        B x steps x 3: linear (m/s), angular (rad/s), gripper (0 … 1).
    """
    chunk = np.zeros((len(now.kind), steps, 3))
    for index in range(steps):
        action = decide(now)
        chunk[:, index] = action
        now = _move(now, action, step)
    return chunk


def _move(now: Situation, action: Array, step: float) -> Situation:
    """One step later: the robot on its arc, the target pushed by the palm, the gripper moved."""
    drive = action[:, 0] * step
    turn = action[:, 1] * step
    contact = at_fingers(now.ahead, now.left)
    ahead, left = _seen_from(now.ahead, now.left, drive, turn)
    pushed = (ahead < PALM_AHEAD_M) & (np.abs(left) < 0.05) & (drive > 0)
    x = now.others[..., 0]
    y = now.others[..., 1]
    others = np.stack(_seen_from(x, y, drive[:, None], turn[:, None]), -1)  # B x K x 2
    # Fingers close on an object as far as it is wide, and on nothing all the way.
    width = np.where(contact & (np.abs(now.left) < 0.04) & (now.ahead < 0.26), 0.65, 0.0)
    # 1.5 of its opening a second: GRIPPER_RATE_M_S of OPENING_MAX
    moved = now.opening + np.clip(action[:, 2] - now.opening, -1.5 * step, 1.5 * step)
    return replace(
        now,
        ahead=np.where(pushed, PALM_AHEAD_M, ahead),
        left=left,
        others=others,
        command=action[:, 2],
        opening=np.clip(moved, np.minimum(width, now.opening), 1.0),
        turned=now.turned + turn,
        travelled=now.travelled + drive,
        carried=now.carried + np.where(contact, np.maximum(drive, 0), 0),
    )


def _seen_from(ahead: Array, left: Array, drive: Array, turn: Array) -> tuple[Array, Array]:
    """A point (m) as it lies once the robot drove `drive` metres on an arc of `turn` rad."""
    cos = np.cos(turn)
    sin = np.sin(turn)
    # the arc's chord points half of the turn aside
    x = ahead - drive * np.cos(turn / 2)
    y = left - drive * np.sin(turn / 2)
    return x * cos + y * sin, y * cos - x * sin
