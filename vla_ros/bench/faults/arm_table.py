"""The faults of an arm: what each does, how soon it must stand, and what must hold afterwards.

It stands when its fastest joint does.
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

from vla_ros.bench.faults.arm_workspace import EDGE_RAD
from vla_ros.bench.faults.fault_table import (
    GATE_GONE,
    GATE_PERIOD_S,
    GOOD_WORK_S,
    NODE_LOST,
    OBSERVATION_AGE_S,
    TOPIC_TIMEOUT_S,
    TRANSPORT_S,
    Fault,
    break_policy,
    cancel,
    nothing,
    press_stop,
    release_stop,
    replace_policy,
    rules,
    send_signal,
    set_fault,
    utter,
)
from vla_ros.bench.faults.faulty_arm import STATE_PERIOD_S
from vla_ros.bench.faults.faulty_joints import LAG_S, MAX_SPEED_RAD_S
from vla_ros.bench.faults.stack import GATE, LIMIT_RAD_S, STILL_SPEED, Suite

# the robot file's max_tracking_error and tracking_time
TRACKING_ERROR_RAD = 0.25
TRACKING_TIME_S = 0.5
INTERPOLATION_S = 2 * GATE_PERIOD_S  # the time_from_start that the gate gives each command
# until a drive at full speed has caught up with a set point that stands
CATCHING_UP_S = LAG_S * math.log(LIMIT_RAD_S / STILL_SPEED)
UNCOMMANDED_S = INTERPOLATION_S + CATCHING_UP_S + TRANSPORT_S  # where no command comes any more
HOLDING_S = GATE_PERIOD_S + UNCOMMANDED_S  # from a cause that the gate learns at once
# stopped, an arm goes back to where it was measured, by what the drive lags behind and a joint
# state is old
ARM_STOPPING_S = HOLDING_S + INTERPOLATION_S + LAG_S + STATE_PERIOD_S
# The gate does not follow what comes to rest as far beside its place as it was before, to a
# quarter: a drive that lets a joint sink would sink for ever (safety/positions.py)
UNFOLLOWED_RAD = 1.25 * TRACKING_ERROR_RAD
# of a joint that is let go
SPRING_BACK_S = (
    UNFOLLOWED_RAD / MAX_SPEED_RAD_S + LAG_S * math.log(MAX_SPEED_RAD_S / STILL_SPEED) + TRANSPORT_S
)
NEAR_EDGE_RAD = (
    0.05  # so far before it the fault begins: two steps of the gate, and the drive's lag
)
LOGGED_RAD = 1e-4  # the log's last digit
mend_arm = partial(set_fault, "arm", "well")


def block_joint(suite: Suite) -> float:
    """One joint, at full speed, with more than a radian before it."""
    suite.say("spin")
    suite.wait(suite.spinning, 3.0, "the arm moves")
    suite.watch(0.5)
    return suite.fault("arm", "block joint_2")


def block_then_stop(suite: Suite) -> float:
    """When the command is far ahead, and before `tracking` finds it."""
    block_joint(suite)
    suite.watch(0.6)
    return press_stop(suite)


def free_and_release(suite: Suite) -> None:
    """The joint is freed while the stop is still pressed."""
    mend_arm(suite)
    release_stop(suite)


def wrong_then(verb: str, stop: Callable[[Suite], float], suite: Suite) -> float:
    """A wrong joint state, far from where the joints stand, is the last one before the stop."""

    def far_out() -> bool:
        return suite.spinning() and max(map(abs, suite.motion[-1].positions)) > 0.8

    suite.wait(far_out, 6.0, "the arm is far out")
    suite.fault("arm", verb)
    time.sleep(0.015)  # the gate has it by now, and no other joint state has come (each 20 ms)
    return stop(suite)


def mend_later(mend: Callable[[Suite], object], suite: Suite) -> None:
    """The fault goes on for a while after the stop, as several wrong joint states need."""
    suite.watch(0.5)
    mend(suite)


def reach_out(suite: Suite) -> float:
    """The policy takes the arm to the edge of its workspace, at full speed, and on."""

    def near() -> bool:
        moves = suite.reports[-1].state == "active"
        return moves and suite.motion[-1].positions[0] > EDGE_RAD - NEAR_EDGE_RAD

    suite.say("reach out")
    suite.wait(near, 10.0, "the arm is near the edge of its workspace")
    return suite.motion[-1].when


def look_back(suite: Suite) -> None:
    """How far it came, and whether that was too far; then other words."""
    farthest = max(sample.positions[0] for sample in suite.since(time.monotonic() - 10.0))
    sentence = f"joint_1 came to {farthest:.3f} rad; the workspace ends at {EDGE_RAD:.3f} rad"
    (suite.problems if farthest > EDGE_RAD + LOGGED_RAD else suite.notes).append(sentence)
    cancel(suite)


def push_joint(pressed: bool, suite: Suite) -> float:
    """A hand moves a joint of the arm that stands, and lets it go: that is the fault's moment.

    Args:
        pressed: the stop; else the arm was told to stand.
        suite: the arm's.
    """
    if pressed:
        press_stop(suite)
    else:
        utter("stop", suite)
    suite.standstill(time.monotonic())
    suite.fault("arm", "push joint_3")
    suite.watch(1.0)
    suite.standstill(time.monotonic())
    return suite.fault("arm", "well")


def arms() -> list[Fault]:
    """All of an arm's."""
    arm = partial(Fault, world="arm")
    broken = partial(arm, mend=cancel, after=rules("holding", "stopped"))
    stands = rules("stood", "stop", "instruction_match")
    return [
        arm(
            "arm: the stop is pressed",
            inject=press_stop,
            limit=ARM_STOPPING_S,
            rules=rules("stop"),
            mend=release_stop,
            after=rules("stopped"),
        ),
        arm(
            "arm: the word stop is said",
            inject=partial(utter, "stop"),
            limit=HOLDING_S,
            rules=rules("instruction_match"),
            mend=nothing,
        ),
        broken(
            f"arm: the policy gives NaN after {GOOD_WORK_S:g} s of good work",
            inject=partial(break_policy, "nan", GOOD_WORK_S),
            limit=HOLDING_S,
            rules=rules("finite_values"),
        ),
        broken(
            "arm: the policy hangs",
            inject=partial(break_policy, "hang", GOOD_WORK_S),
            limit=OBSERVATION_AGE_S + HOLDING_S,
            rules=NODE_LOST | rules("stop"),
            mend=replace_policy,
        ),
        arm(
            "arm: the camera falls silent",
            inject=partial(set_fault, "arm", "camera silent"),
            limit=OBSERVATION_AGE_S + HOLDING_S,
            rules=rules("observation_age"),
            mend=mend_arm,
            may_resume=True,
        ),
        arm(
            "arm: /joint_states falls silent",
            inject=partial(set_fault, "arm", "joints silent"),
            limit=TOPIC_TIMEOUT_S + HOLDING_S,
            rules=rules("source_timeout"),
            mend=mend_arm,
            may_resume=True,
        ),
        arm(
            "arm: the policy reaches out of its workspace",
            inject=reach_out,
            limit=NEAR_EDGE_RAD / LIMIT_RAD_S + HOLDING_S,
            rules=rules("workspace"),
            mend=look_back,
            after=rules("holding"),
        ),
        arm(
            "arm: a joint is blocked, and later freed",
            inject=block_joint,
            mend=mend_arm,
            springs=TRACKING_ERROR_RAD,
            limit=TRACKING_ERROR_RAD / LIMIT_RAD_S + TRACKING_TIME_S + HOLDING_S,
            rules=rules("tracking"),
        ),
        arm(
            "arm: a joint is blocked, then the stop; then it is freed",
            inject=block_then_stop,
            mend=free_and_release,
            lasts=0.0,
            springs=0.05,
            limit=ARM_STOPPING_S,
            rules=rules("stop"),
            after=rules("stopped"),
        ),
        arm(
            "arm: the stop is pressed, and every fifth joint state says zero",
            limit=ARM_STOPPING_S + 2 * STATE_PERIOD_S,
            rules=rules("stop"),
            inject=partial(wrong_then, "flicker", press_stop),
            mend=partial(mend_later, free_and_release),
            after=rules("stopped"),
        ),
        arm(
            "arm: the word stop is said, and one joint state says zero",
            limit=HOLDING_S,
            rules=rules("instruction_match"),
            inject=partial(wrong_then, "zeros", partial(utter, "stop")),
            mend=mend_arm,
        ),
        arm(
            "arm: it is stopped, and a joint is moved by hand and let go",
            inject=partial(push_joint, True),
            limit=SPRING_BACK_S,
            springs=UNFOLLOWED_RAD,
            rules=stands,
            mend=release_stop,
            after=rules("stopped"),
        ),
        arm(
            "arm: it holds, and a joint is moved by hand and let go",
            inject=partial(push_joint, False),
            limit=SPRING_BACK_S,
            springs=UNFOLLOWED_RAD,
            rules=stands,
            mend=nothing,
        ),
        arm(
            "arm: SIGKILL of inference",
            inject=partial(send_signal, "inference", signal.SIGKILL),
            limit=OBSERVATION_AGE_S + HOLDING_S,
            rules=NODE_LOST,
            mend=nothing,
            patience=15.0,
            tells="inference was lost",
        ),
        arm(
            "arm: SIGKILL of the gate",
            inject=partial(send_signal, GATE, signal.SIGKILL),
            limit=UNCOMMANDED_S,
            rules=rules("driver"),
            mend=nothing,
            after=GATE_GONE,
            tells=f"{GATE} was lost",
        ),
        arm(
            "arm: SIGTERM of the gate",
            inject=partial(send_signal, GATE, signal.SIGTERM),
            limit=UNCOMMANDED_S,
            rules=rules("driver"),
            mend=nothing,
            after=GATE_GONE,
        ),
    ]
