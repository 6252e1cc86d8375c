"""The faults of an arm: what each does, how soon its fastest joint must stand, and what must hold
afterwards.

A limit is what the design promises: how long the rule that catches the fault waits, one period of
the gate, the controller's interpolation (which ends by itself where the commands cease), and the
way to the joints. Besides the time, each joint must then stay where it stands: `springs` says how
far one may go that something held.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from functools import partial

from vla_ros.bench.faults.fault_table import (
    AGE,
    GATE_GONE,
    MAY,
    PERIOD,
    QUIET,
    TOPIC,
    WAY,
    WORK,
    Fault,
    cancel,
    nothing,
    press,
    release,
    replace_policy,
    rules,
    send,
    set_fault,
    spoil,
    words,
)
from vla_ros.bench.faults.faulty_arm import STATES
from vla_ros.bench.faults.faulty_joints import FASTEST, LAG
from vla_ros.bench.faults.stack import GATE, LIMIT, STILL, Suite

# rad, s: the robot file's
TRACKING_ERROR = 0.25
TRACKING_TIME = 0.5
CONTROL = 2 * PERIOD  # s, the time_from_start that the gate gives each command
# s, until a drive at full speed has caught up with a set point that stands
SETTLE = LAG * math.log(LIMIT / STILL)
ALONE = CONTROL + SETTLE + WAY  # s, where no command comes any more
HOLD = PERIOD + ALONE  # s, from a cause that the gate learns at once
# s: stopped, an arm goes back to where it was measured, by what the drive lags behind and a joint
# state is old
STOP = HOLD + CONTROL + LAG + STATES
# rad: the gate does not follow what comes to rest as far beside its place as it was before, to a
# quarter: a drive that lets a joint sink would sink for ever (safety/positions.py)
UNFOLLOWED = 1.25 * TRACKING_ERROR
# s, of a joint that is let go
SPRING = UNFOLLOWED / FASTEST + LAG * math.log(FASTEST / STILL) + WAY
WELL = partial(set_fault, "arm", "well")


def block(suite: Suite) -> float:
    """One joint, at full speed, with more than a radian before it."""
    suite.say("spin")
    suite.wait(suite.spinning, 3.0, "the arm moves")
    suite.watch(0.5)
    return suite.fault("arm", "block joint_2")


def block_then_stop(suite: Suite) -> float:
    """When the command is far ahead, and before `tracking` finds it."""
    block(suite)
    suite.watch(0.6)
    return press(suite)


def free_and_release(suite: Suite) -> None:
    WELL(suite)
    release(suite)


def wrong_then(what: str, stop: Callable[[Suite], float], suite: Suite) -> float:
    """A wrong joint state, far from where the joints stand, is the last one before the stop."""
    suite.wait(
        lambda: suite.spinning() and max(map(abs, suite.motion[-1].positions)) > 0.8,
        6.0,
        "the arm is far out",
    )
    suite.fault("arm", what)
    time.sleep(0.015)
    return stop(suite)


def later(mend: Callable[[Suite], object], suite: Suite) -> None:
    suite.watch(0.5)
    mend(suite)


def push(pressed: bool, suite: Suite) -> float:
    """A hand moves a joint of the arm that stands, and lets it go: that is the fault's moment."""
    if pressed:
        press(suite)
    else:
        words("stop", suite)
    suite.standstill(time.monotonic())
    suite.fault("arm", "push joint_3")
    suite.watch(1.0)
    suite.standstill(time.monotonic())
    return suite.fault("arm", "well")


def arms() -> list[Fault]:
    arm = partial(Fault, world="arm")
    broken = partial(arm, mend=cancel, after=rules("holding", "stopped"))
    stands = rules("stood", "stop", "instruction_match")
    return [
        arm(
            "arm: the stop is pressed",
            inject=press,
            limit=STOP,
            rules=rules("stop"),
            mend=release,
            after=rules("stopped"),
        ),
        arm(
            "arm: the word stop is said",
            inject=partial(words, "stop"),
            limit=HOLD,
            rules=rules("instruction_match"),
            mend=nothing,
        ),
        broken(
            f"arm: the policy gives NaN after {WORK:g} s of good work",
            inject=partial(spoil, "nan", WORK),
            limit=HOLD,
            rules=rules("finite_values"),
        ),
        broken(
            "arm: the policy hangs",
            inject=partial(spoil, "hang", WORK),
            limit=AGE + HOLD,
            rules=QUIET | rules("stop"),
            mend=replace_policy,
        ),
        arm(
            "arm: the camera falls silent",
            inject=partial(set_fault, "arm", "camera silent"),
            limit=AGE + HOLD,
            rules=rules("observation_age"),
            mend=WELL,
            itself=MAY,
        ),
        arm(
            "arm: /joint_states falls silent",
            inject=partial(set_fault, "arm", "joints silent"),
            limit=TOPIC + HOLD,
            rules=rules("source_timeout"),
            mend=WELL,
            itself=MAY,
        ),
        arm(
            "arm: a joint is blocked, and later freed",
            inject=block,
            mend=WELL,
            springs=TRACKING_ERROR,
            limit=TRACKING_ERROR / LIMIT + TRACKING_TIME + HOLD,
            rules=rules("tracking"),
        ),
        arm(
            "arm: a joint is blocked, then the stop; then it is freed",
            inject=block_then_stop,
            mend=free_and_release,
            lasts=0.0,
            springs=0.05,
            limit=STOP,
            rules=rules("stop"),
            after=rules("stopped"),
        ),
        arm(
            "arm: the stop is pressed, and every fifth joint state says zero",
            limit=STOP + 2 * STATES,
            rules=rules("stop"),
            inject=partial(wrong_then, "flicker", press),
            mend=partial(later, free_and_release),
            after=rules("stopped"),
        ),
        arm(
            "arm: the word stop is said, and one joint state says zero",
            limit=HOLD,
            rules=rules("instruction_match"),
            inject=partial(wrong_then, "zeros", partial(words, "stop")),
            mend=WELL,
        ),
        arm(
            "arm: it is stopped, and a joint is moved by hand and let go",
            inject=partial(push, True),
            limit=SPRING,
            springs=UNFOLLOWED,
            rules=stands,
            mend=release,
            after=rules("stopped"),
        ),
        arm(
            "arm: it holds, and a joint is moved by hand and let go",
            inject=partial(push, False),
            limit=SPRING,
            springs=UNFOLLOWED,
            rules=stands,
            mend=nothing,
        ),
        arm(
            "arm: SIGKILL of inference",
            inject=partial(send, "inference", signal.SIGKILL),
            limit=AGE + HOLD,
            rules=QUIET,
            mend=nothing,
            patience=15.0,
            tells="inference was lost",
        ),
        arm(
            "arm: SIGKILL of the gate",
            inject=partial(send, GATE, signal.SIGKILL),
            limit=ALONE,
            rules=rules("driver"),
            mend=nothing,
            after=GATE_GONE,
            tells=f"{GATE} was lost",
        ),
        arm(
            "arm: SIGTERM of the gate",
            inject=partial(send, GATE, signal.SIGTERM),
            limit=ALONE,
            rules=rules("driver"),
            mend=nothing,
            after=GATE_GONE,
        ),
    ]
