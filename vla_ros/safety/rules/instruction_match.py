"""There is an instruction, newer than the arming and than any other, and the action answers it.

After what a person should look at (a node that was lost, a joint that was blocked) it is given
again.
"""

from __future__ import annotations

from vla_ros.core.shown import shown
from vla_ros.core.types import POLICY
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

NONE = "no instruction"
GIVE_AGAIN = "give the instruction again"
LOST_AFTER = Limit(
    "lost_after",
    1.0,
    "a node, a topic or a range sensor silent for longer, and for longer than its own time-out, "
    "was lost: the robot goes on when the instruction is given again",
    "s",
    0.15,
    60.0,
)


@rule(
    holds_when="there is no instruction, it is older than the arming or than the loss of a node, a "
    "topic or a sensor, or the action answers another one",
    goes_on_when="an action for it",
    parameters=(LOST_AFTER,),
    asked_of=POLICY,
)
def instruction_match(inputs: RuleInputs) -> Finding | None:
    instruction = inputs.instruction
    chunk = inputs.chunk
    if instruction is None or not instruction.text:
        return held("instruction_match", NONE)
    number = instruction.instruction_id
    # An older one that comes again is not what a person said last.
    if number < inputs.newest_instruction_id:
        return held(
            "instruction_match",
            f"{shown(instruction.text)} came again after a newer instruction; give a new one, or "
            "where that was no real one, disarm and arm again",
        )
    # Doubt in either, its number or its time, is enough.
    if number <= inputs.armed.instruction_id or instruction.stamp < inputs.armed.stamp:
        return held(
            "instruction_match",
            f"{shown(instruction.text)} was given before the arming; {GIVE_AGAIN}",
        )
    if number <= inputs.spent.instruction_id:
        return held("instruction_match", f"{inputs.spent.why}; {GIVE_AGAIN}")
    if chunk is None:
        return held("instruction_match", f"no action yet for {shown(instruction.text)}")
    if chunk.instruction_id != number:
        return held(
            "instruction_match",
            f"the action answers another instruction than {shown(instruction.text)}",
        )
    return None
