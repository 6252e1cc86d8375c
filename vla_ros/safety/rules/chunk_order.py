"""A late chunk does not take the place of a newer one.

Asked once, when a chunk arrives, and not at every tick: it is no row of RULES.
"""

from __future__ import annotations

from dataclasses import dataclass

from vla_ros.core.types import ActionChunk, Instruction, to_seconds
from vla_ros.safety.rule import Finding, held


@dataclass(frozen=True)
class Arrival:
    """A chunk that arrived, and what it is compared with.

    Attributes:
        previous: the newest that was not late; None: there is none to compare with.
        instruction: the newest; None: none was heard.
        numbered: `previous` came just now, so that its number counts where its process says who it
            is.
        not_before: when a person gave the robot back, ROS time in ns; 0: nobody did.
    """

    chunk: ActionChunk
    previous: ActionChunk | None
    instruction: Instruction | None
    numbered: bool
    not_before: int = 0


def chunk_order(arrival: Arrival) -> Finding | None:
    """A finding where the chunk that arrived is late, and is to be dropped."""
    chunk = arrival.chunk
    previous = arrival.previous
    instruction = arrival.instruction
    if chunk.stamp < arrival.not_before:
        return held(
            "chunk_order", "an action of an image from before the robot was given back was dropped"
        )
    # Numbers first: of two chunks for one image, only they say which is newer.
    if previous is not None and arrival.numbered and _numbered_before(chunk, previous):
        return held(
            "chunk_order",
            f"action {chunk.sequence} came after {previous.sequence} of the same process; dropped",
        )
    if instruction is not None and chunk.instruction_id < instruction.instruction_id:
        return held(
            "chunk_order",
            f"a late action for instruction {chunk.instruction_id} was dropped; "
            f"{instruction.instruction_id} holds now",
        )
    if previous is not None and chunk.instruction_id == previous.instruction_id:
        older = to_seconds(previous.stamp - chunk.stamp)
        if older > 0.0:
            return held("chunk_order", f"an action for an older image ({older:.3f} s) was dropped")
    return None


def _numbered_before(chunk: ActionChunk, previous: ActionChunk) -> bool:
    """Whether one process made both, `chunk` first."""
    if not chunk.process or chunk.process != previous.process:
        return False
    return 0 < chunk.sequence <= previous.sequence
