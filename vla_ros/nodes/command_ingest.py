"""command_ingest: turns what an operator says into an Instruction, or says why not.

Words change nothing else.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from std_msgs.msg import String

from vla_ros.core.instructions import Echoes, RateLimit, check_stop_words, clean, is_stop
from vla_ros.core.types import Instruction
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.convert import instruction_message
from vla_ros.nodes.common.qos import LATCHED, WORDS, WORDS_LOOSE
from vla_ros.nodes.common.run_node import run
from vla_ros_msgs.msg import Instruction as InstructionMessage


class CommandIngest(ManagedNode):
    """Turns what an operator says into an Instruction, or says why not.

    Subscribed topics:
        instruction (std_msgs/String): the operator's words, reliable or best effort.

    Published topics:
        instruction/accepted (vla_ros_msgs/Instruction): the instruction that holds; empty where
        none does. Latched.

    Parameters:
        `command_ingest` in nodes/node_parameters.py.

    Faults:
        none.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("command_ingest", **options)
        # From the wall clock in ms, so that a respawned node never repeats an instruction_id.
        self._instruction_id = time.time_ns() // 1_000_000
        self._text = ""

    def configure(self) -> None:
        self._stop_words = check_stop_words(self.params["stop_words"])
        self._limit = RateLimit(self.params["max_rate"])
        self._answers = RateLimit(1.0)
        self._instruction = self.add_publisher(InstructionMessage, "instruction/accepted", LATCHED)
        self._echoes = Echoes()
        for number, qos in enumerate((WORDS, WORDS_LOOSE)):
            self.add_subscription(String, "instruction", partial(self._on_instruction, number), qos)

    def activate(self) -> None:
        self._accept("")  # late joiners learn that nothing holds

    def deactivate(self) -> None:
        self._accept("")  # nobody would hear a stop word from now on

    def _on_instruction(self, subscription: int, message: String) -> None:
        start = time.monotonic_ns()
        if self._echoes.is_one(message.data, subscription, start):
            return
        self.stats.tick("instruction", start)
        text = message.data
        stops = len(text) <= 20 * self.params["max_length"] and is_stop(text, self._stop_words)
        if stops:
            self._cancel(start)
        else:
            self._consider(text, start)
        self.stats.latency(time.monotonic_ns() - start)

    def _cancel(self, now: int) -> None:
        """At once, whatever the rate; but once, however often it is said."""
        if self._text:
            self._accept("")
            self.notify_operator("stopped: the instruction is cancelled")
        elif self._answers.allow(now):
            self.notify_operator("stopped: there was no instruction to cancel")

    def _consider(self, text: str, now: int) -> None:
        if not self._limit.allow(now):
            self.stats.drop("too many instructions")
            if self._answers.allow(now):
                self.notify_operator(
                    f"not accepted: more than {self.params['max_rate']:g} instructions a second"
                )
            return
        try:
            self._accept(clean(text, self.params["max_length"]))
        except ValueError as error:
            self.reject("bad instruction", error)
            self.notify_operator(f"not accepted: {error}")
            return
        self.notify_operator(f"accepted: {self._text}")

    def _accept(self, text: str) -> None:
        self._text = text
        self._instruction_id += 1
        self._instruction.publish(
            instruction_message(Instruction(self.now(), self._instruction_id, text))
        )

    def diagnose(self) -> dict[str, str]:
        return {"instruction": self._text, "instruction_id": str(self._instruction_id)}


def main() -> None:
    run(CommandIngest)


if __name__ == "__main__":
    main()
