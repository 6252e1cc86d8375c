"""What the robot does now and what a person does next, as sentences: no ROS, and no clock."""

from __future__ import annotations

import re

from vla_ros.core.shown import shown
from vla_ros.operator.console.sentences import DONE, OPEN, Sentence
from vla_ros.safety.gate import STOP_PRESSED
from vla_ros.safety.rules import RULES
from vla_ros.safety.rules.instruction_match import GIVE_AGAIN, NONE

STATES = ("DISARMED", "HOLDING", "ACTIVE", "STOPPED")
DISARMED = "disarmed: the robot cannot move. Press ARM twice, then tell it what to do."
BY_A_PERSON = "a person drives the robot; the policy waits until it is given back"
WITH_A_PERSON = "holding: a person has the robot; press the deadman to drive, or give it back"
STANDING_BY = "standing by"
# So long the robot was sent nothing that moves it, until it is said to stand by.
STILL_S = 2.0
DONE_STILL_S = 0.3  # where the policy says that it is done
NEXT = "RESET, then ARM twice, then say what it is to do"


def activity(state: str, by_person: bool, sentence: str) -> str:
    """In a few words, beside the state; `sentence` is doing's."""
    if state == "ACTIVE":
        if by_person:
            return "a person drives"
        return STANDING_BY if sentence.startswith(STANDING_BY) else "the policy drives"
    return "a person has the robot" if by_person else ""


def doing(
    state: str, by_person: bool, reason: str, current: Sentence | None, still_s: float
) -> str:
    """Whether something is being done now; `stopped` says it in the state STOPPED.

    Args:
        state: one of STATES; of another there is nothing to say.
        by_person: whether a person has the robot.
        reason: the gate's.
        current: the instruction that holds, and what came of it; None: none was heard.
        still_s: for how long the robot was sent nothing that moves it.
    """
    if state == "DISARMED":
        return DISARMED
    if state == "HOLDING":
        return WITH_A_PERSON if by_person else f"holding: {_why_held(reason, current)}"
    if state != "ACTIVE":
        return ""
    if by_person:
        return BY_A_PERSON
    words = shown(current.text) if current else "what it was told"
    if current and current.outcome == DONE and still_s > DONE_STILL_S:
        return f"{STANDING_BY}: the last instruction is done ({words})"
    if still_s > STILL_S:
        return f"{STANDING_BY}: the policy asks for no motion ({words})"
    step = current.step if current else ""
    return f"doing {step or words}"


def _why_held(reason: str, current: Sentence | None) -> str:
    if reason == NONE:
        return "there is no instruction; tell the robot what to do"
    if reason.endswith(GIVE_AGAIN):
        return reason
    if current and current.outcome not in (*OPEN, DONE) and current.remarks:
        # the gate only knows that no action comes
        return f"{shown(current.text)} was {current.outcome}: {current.remarks[-1]}"
    return reason


def stopped(reason: str, pressed: bool | None, here: bool) -> str:
    """What state the stop is in and what comes next, in the state STOPPED.

    Args:
        reason: the gate's.
        pressed: what was heard last of the stop; None: nothing.
        here: whether this console pressed it, and has not let go.
    """
    if not reason.startswith(STOP_PRESSED):
        too = ", and let go of the stop" if pressed and not here else ""
        return f"stopped: {reason}. Next: see to that{too}; then {NEXT}."
    if here:
        return f"stopped: the stop is pressed at this page. Next: {NEXT}; RESET lets go of it too."
    if pressed is False:
        return f"stopped: the stop is let go, and the robot stays stopped. Next: {NEXT}."
    return (
        "stopped: the stop is pressed, and not by this page. Next: let go of it where it was "
        f"pressed, or here; then {NEXT}."
    )


def rule_words(name: str) -> dict[str, str]:
    """When a rule holds and how it goes on, as the pages on the gate have it."""
    for rule in RULES:
        if rule.name == name:
            return {
                "holds_when": re.sub(r"[*`]", "", rule.holds_when),
                "goes_on_when": re.sub(r"[*`]", "", rule.goes_on_when),
            }
    return {"holds_when": "", "goes_on_when": ""}
