"""command_ingest: turns what an operator says into an Instruction, or says why not.

Words change nothing else, whether a person speaks or a goal of RunPolicy holds them.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

from std_msgs.msg import String

from vla_ros.core.instructions import Echoes, RateLimit, check_stop_words, clean, stop_word_in
from vla_ros.core.shown import shown
from vla_ros.core.types import TELEOP, Instruction
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.convert import instruction_message
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.halting import HaltingWords
from vla_ros.nodes.common.qos import LATCHED, WATCHED, WORDS, WORDS_LOOSE
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.run_policy import RunPolicyServer
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros_msgs.msg import Instruction as InstructionMessage
from vla_ros_msgs.msg import SafetyReport

REPORT_BYTES = 1 << 14  # a larger message is no report
# Of words that are refused, for they came too fast: they may ask to halt all the same, so they are
# read, up to this. More than that no person says, and reading it would delay the stop words.
READINGS_ABOVE_RATE_HZ = 10.0
FEW_WORDS = 3  # "please stop now" needs no explanation
PERSON_DRIVES = (
    "a person has the robot and may drive on (let the deadman go, or press the stop, to stop it)"
)


class CommandIngest(ManagedNode):
    """Turns what an operator says into an Instruction, or says why not.

    A stop word cancels at once. Other words that ask to halt ("whoa") do too, where the reader says
    so (`read_halting`).

    Subscribed topics:
        instruction (std_msgs/String): the operator's words, reliable or best effort.
        safety_report (vla_ros_msgs/SafetyReport): what a goal is told of the gate, and who has the
            robot that a stop word does not stop.
        action_chunk (vla_ros_msgs/ActionChunk): how long its rows last, for their count.

    Published topics:
        instruction/accepted (vla_ros_msgs/Instruction): the instruction that holds; empty where
        none does. Latched.

    Actions:
        run_policy (vla_ros_msgs/RunPolicy): follows an instruction until something ends it.

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
        self._halting: HaltingWords | None = None
        # A process that ends deactivates in its main thread, beside the executor's.
        self._accepting = threading.Lock()

    def configure(self) -> None:
        self._stop_words = check_stop_words(self.params["stop_words"])
        self._limit = RateLimit(self.params["max_rate"])
        self._readings = RateLimit(READINGS_ABOVE_RATE_HZ)
        self._answers = RateLimit(1.0)
        self._instruction = self.add_publisher(InstructionMessage, "instruction/accepted", LATCHED)
        self._echoes = Echoes()
        for number, qos in enumerate((WORDS, WORDS_LOOSE)):
            self.add_subscription(String, "instruction", partial(self._on_instruction, number), qos)
        self._reports = self.add_reader(
            SafetyReport,
            "safety_report",
            WATCHED,
            most_bytes=REPORT_BYTES,
            read=reader_of(SafetyReport),
        )
        self._goals = RunPolicyServer(self, self)
        self._halting = None
        if self.params["read_halting"]:
            self._halting = HaltingWords(
                InstructionReader.load, self.params["halting_threshold"], self._complain
            )

    def activate(self) -> None:
        self._accept("")  # late joiners learn that nothing holds

    def deactivate(self) -> None:
        try:
            self._goals.stop(f"{self.get_name()} is deactivated")
        finally:
            self._accept("")  # nobody would hear a stop word from now on

    def _on_instruction(self, subscription: int, message: String) -> None:
        start = time.monotonic_ns()
        if self._echoes.is_one(message.data, subscription, start):
            return
        self.stats.tick("instruction", start)
        text = message.data
        if word := self._stop_word(text):
            self._cancel(start, _because(text, word))
        else:
            self._consider(text, start)
        self.stats.latency(time.monotonic_ns() - start)

    def _stop_word(self, text: str) -> str:
        """The first stop word in it; "": none, or nobody says so much."""
        long = len(text) > 20 * self.params["max_length"]
        return "" if long else stop_word_in(text, self._stop_words)

    def _halts(self, text: str) -> bool:
        """Whether the reader says so; bad words do not reach it."""
        if self._halting is None:
            return False
        try:
            words = clean(text, self.params["max_length"])
        except ValueError:
            return False
        return self._halting.halts(words)

    def _complain(self, sentence: str) -> None:
        self.get_logger().warning(sentence)
        self.notify_operator(sentence)

    def _cancel(self, now: int, because: str = "") -> None:
        """At once, whatever the rate; but once, however often it is said.

        `because`: why, as the begin of a sentence; empty where that is plain.
        """
        if self._text:
            self._accept("")
            self.notify_operator(f"{self._stopped()}: {because}the instruction is cancelled")
        elif self._answers.allow(now):
            self.notify_operator(f"{self._stopped()}: {because}there was no instruction to cancel")
        self._goals.note_operator("")  # also one that waits for the gate's word still

    def _halt(self, now: int, text: str) -> None:
        """As a stop word does; the reader took the words for halting."""
        self._cancel(now, f"{shown(text)} asks to halt, ")

    def _stopped(self) -> str:
        """What a stop word did: it ends what the policy does, and nothing that a person does."""
        source = ""
        for report in self._reports.take():
            source = report.control_source
        return PERSON_DRIVES if source == TELEOP else "stopped"

    def _consider(self, text: str, now: int) -> None:
        allowed = self._limit.allow(now)
        # Read before it is accepted: what asks to halt never becomes an instruction. A stop word
        # that comes meanwhile waits for this one reading.
        if (allowed or self._readings.allow(now)) and self._halts(text):
            self._halt(now, text)
            return
        if not allowed:
            self.stats.drop("too many instructions")
            if self._answers.allow(now):
                self.notify_operator(
                    f"not accepted: more than {self.params['max_rate']:g} instructions a second"
                )
            return
        try:
            text = clean(text, self.params["max_length"])
            self._accept(text)
        except ValueError as error:
            self.reject("bad instruction", error)
            self.notify_operator(f"not accepted: {error}")
            return
        self.notify_operator(f"accepted: {text}")
        self._goals.note_operator(text)

    def _accept(self, text: str) -> int:
        """Publishes it; returns its id. Raises ValueError for words where the node is not active.

        Empty text is published in every state.
        """
        with self._accepting:
            if text and not self.active:
                raise ValueError(f"{self.get_name()} is {self.state}, not active")
            self._text = text
            self._instruction_id += 1
            number = self._instruction_id
            self._instruction.publish(instruction_message(Instruction(self.now(), number, text)))
        return number

    # -- what a goal of RunPolicy asks for ---------------------------------------------
    def check_words(self, text: str) -> None:
        """Raises ValueError for words that are not accepted; a stop word among them stops."""
        if self._stop_word(text):
            self._cancel(time.monotonic_ns())
            raise ValueError(f"the prompt {shown(text)} holds a stop word, which stops the robot")
        clean(text, self.params["max_length"])
        now = time.monotonic_ns()
        if not self._readings.allow(now):
            self.stats.drop("too many instructions")
            raise ValueError(f"more than {READINGS_ABOVE_RATE_HZ:g} goals a second")
        if self._halts(text):
            self._halt(now, text)
            raise ValueError(f"the prompt {shown(text)} asks to halt, which stops the robot")

    def give_instruction(self, text: str) -> int:
        """Accepts the words as if they were said; returns the instruction's id.

        Raises:
            ValueError: they are not accepted, or the node is not active.
        """
        if not self._limit.allow(time.monotonic_ns()):
            self.stats.drop("too many instructions")
            raise ValueError(f"more than {self.params['max_rate']:g} instructions a second")
        text = clean(text, self.params["max_length"])
        number = self._accept(text)
        self.notify_operator(f"accepted: {text}")
        return number

    def take_back(self, instruction_id: int) -> None:
        """As a stop word does, where that instruction still holds."""
        if self._text and self._instruction_id == instruction_id:
            self._accept("")

    def diagnose(self) -> dict[str, str]:
        halting = "read" if self._halting is not None else "not read: read_halting is false"
        if self._halting is not None and self._halting.problem:
            halting = self._halting.problem
        return {
            "instruction": self._text,
            "instruction_id": str(self._instruction_id),
            "words_that_halt": halting,
        }


def _because(text: str, word: str) -> str:
    """Why words that say more than a stop word stop: "drive to the box and stop there"."""
    if len(text.split()) <= FEW_WORDS:
        return ""
    return f"{shown(text)} has the stop word {word!r}, which always stops the robot; "


def main() -> None:
    run(CommandIngest)


if __name__ == "__main__":
    main()
