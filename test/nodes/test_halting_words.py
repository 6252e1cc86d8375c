"""command_ingest stops at words that the reader takes for halting, and at the stop words whatever the reader does."""
import threading
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from vla_ros.core.instructions import HALTING_THRESHOLD, NotUnderstood
from vla_ros.nodes import command_ingest
from vla_ros.nodes.command_ingest import READINGS_ABOVE_RATE_HZ, CommandIngest
from vla_ros.nodes.common.halting import HaltingWords
from vla_ros.nodes.common.qos import EVENTS, LATCHED
from vla_ros_msgs.msg import Instruction


class FakeReader:
    """"whoa" halts; others are as sure as they say; keeps what it was given."""

    def __init__(self, takes=0.0):
        self.asked = []
        self.takes = takes  # s

    def read(self, text):
        return ()

    def halting(self, text):
        self.asked.append(text)
        time.sleep(self.takes)
        if text.startswith("raise"):
            raise RuntimeError("the reader is broken")
        if text.startswith("sure "):
            return float(text.split()[1])
        return 1.0 if "whoa" in text else 0.0


@pytest.fixture
def talk(around, monkeypatch):
    """Starts the node with a reader; gives it, what it accepted, and how to speak."""

    def start(reader, loads_in=0.0, **parameters):
        def load():
            time.sleep(loads_in)
            if isinstance(reader, Exception):
                raise reader
            return reader

        monkeypatch.setattr(command_ingest.InstructionReader, "load", staticmethod(load))
        node = around.start(CommandIngest, **parameters)
        accepted = around.hear(Instruction, "instruction/accepted", LATCHED)
        speaker = around.speaker(String, "instruction", EVENTS)
        around.wait(lambda: speaker.get_subscription_count())
        around.wait(lambda: accepted)
        return node, accepted, lambda text: speaker.publish(String(data=text))

    return start


def texts(accepted):
    return [instruction.text for instruction in accepted]


def test_words_that_the_reader_takes_for_halting_stop_and_are_never_accepted(around, talk):
    _, accepted, say = talk(FakeReader())
    say("go")
    around.wait(lambda: len(accepted) == 2)
    say("whoa there")
    around.wait(lambda: around.said("stopped: 'whoa there' asks to halt, the instruction is cancelled"))
    assert texts(accepted) == ["", "go", ""] and not around.said("accepted: whoa")


@pytest.mark.parametrize("sure, stops", [(HALTING_THRESHOLD - 0.01, False), (HALTING_THRESHOLD, True), (HALTING_THRESHOLD + 0.01, True)])
def test_below_the_threshold_words_are_an_instruction(around, talk, sure, stops):
    _, accepted, say = talk(FakeReader())
    say("go")
    around.wait(lambda: len(accepted) == 2)
    say(f"sure {sure}")
    around.wait(lambda: len(accepted) == 3)
    assert texts(accepted)[2] == ("" if stops else f"sure {sure}")


def test_without_read_halting_only_the_stop_words_stop(around, talk):
    reader = FakeReader()
    _, accepted, say = talk(reader, read_halting=False)
    say("whoa")
    around.wait(lambda: len(accepted) == 2)
    say("stop")
    around.wait(lambda: len(accepted) == 3)
    assert texts(accepted) == ["", "whoa", ""] and not reader.asked


def test_a_stop_word_does_not_ask_the_reader(around, talk):
    reader = FakeReader()
    _, _, say = talk(reader)
    say("please stop")
    around.wait(lambda: around.said("there was no instruction to cancel"))
    assert not reader.asked


def test_a_reader_that_raises_stops_nothing_and_keeps_nothing_from_stopping(around, talk):
    _, accepted, say = talk(FakeReader())
    for words in ("raise", "raise again"):
        say(words)
        around.wait(lambda words=words: texts(accepted)[-1] == words)
    say("stop")
    around.wait(lambda: texts(accepted)[-1] == "")
    say("go")
    around.wait(lambda: texts(accepted)[-1] == "go")
    say("whoa")  # it goes on being asked
    around.wait(lambda: texts(accepted)[-1] == "")


def test_a_reader_that_is_not_there_stops_nothing_and_keeps_nothing_from_stopping(around, talk):
    _, accepted, say = talk(FileNotFoundError("no such file: reader.npz"))
    say("whoa")
    around.wait(lambda: texts(accepted)[-1] == "whoa")
    say("halt")
    around.wait(lambda: texts(accepted)[-1] == "")


def test_a_reader_that_is_not_there_is_said_to_the_operator_and_in_diagnostics(around, talk):
    diagnostics = around.hear(DiagnosticArray, "/diagnostics", EVENTS)
    node, _, _ = talk(FileNotFoundError("no such file: reader.npz"))
    sentence = "words that halt are not read: no such file: reader.npz; only the stop words stop"
    around.wait(lambda: around.said(sentence))
    assert node.diagnose()["words_that_halt"] == sentence
    around.wait(lambda: any(value.value == sentence for array in diagnostics for status in array.status for value in status.values))


@pytest.mark.parametrize("read_halting, state", [(True, "read"), (False, "not read: read_halting is false")])
def test_diagnostics_say_whether_words_that_halt_are_read(talk, read_halting, state):
    node, _, _ = talk(FakeReader(), read_halting=read_halting)
    assert node.diagnose()["words_that_halt"] == state


def test_a_reader_that_loads_slowly_reads_the_first_words_all_the_same(around, talk):
    _, accepted, say = talk(FakeReader(), loads_in=1.2)
    say("whoa")
    around.wait(lambda: around.said("'whoa' asks to halt"))
    assert texts(accepted) == [""]


@pytest.mark.parametrize("takes", [0.0, 0.2, 0.5])  # s
def test_words_that_halt_never_cancel_an_instruction_that_came_after_them(around, talk, takes):
    node, accepted, say = talk(FakeReader(takes=takes))
    say("go")
    around.wait(lambda: texts(accepted)[-1] == "go")
    say("whoa")
    say("go to the red block")
    around.wait(lambda: texts(accepted)[-1] == "go to the red block", 10.0)
    time.sleep(0.2)  # an answer that came late would come now
    assert node.diagnose()["instruction"] == "go to the red block"
    sentences = [message.data for message in around.feedback]
    halted = sentences.index("stopped: 'whoa' asks to halt, the instruction is cancelled")
    assert halted < sentences.index("accepted: go to the red block")


@pytest.mark.parametrize("takes", [0.0, 0.2])  # s
def test_what_asks_to_halt_is_never_accepted_however_slowly_it_is_read(around, talk, takes):
    _, accepted, say = talk(FakeReader(takes=takes))
    say("whoa")
    around.wait(lambda: around.said("'whoa' asks to halt"))
    assert texts(accepted) == [""] and not around.said("accepted: whoa")


def test_a_stop_word_waits_for_one_reading_at_most(around, talk):
    _, accepted, say = talk(FakeReader(takes=0.3))
    say("go")
    around.wait(lambda: texts(accepted)[-1] == "go")
    began = time.monotonic()
    say("move on")
    say("stop")
    around.wait(lambda: texts(accepted)[-1] == "")
    assert time.monotonic() - began < 0.3 + 0.15 + around.late(began)


def test_halting_words_stop_above_the_rate_too(around, talk):
    _, accepted, say = talk(FakeReader(), max_rate=1.0)
    say("go")
    around.wait(lambda: texts(accepted)[-1] == "go")
    say("whoa")
    around.wait(lambda: texts(accepted)[-1] == "")
    assert texts(accepted) == ["", "go", ""]


@pytest.mark.parametrize("text", ["", "  ", "whoa" * 250_000, "whoa\x07", "whoa\u202e", "whoa " * 41])
def test_what_is_no_clean_sentence_does_not_reach_the_reader(around, talk, text):
    reader = FakeReader()
    _, accepted, say = talk(reader)
    say(text)
    around.wait(lambda: around.said("not accepted"))
    assert not reader.asked and texts(accepted) == [""]


def test_above_the_rate_no_more_is_read_than_is_allowed(around, talk):
    reader = FakeReader()
    *_, say = talk(reader)
    began = time.monotonic()
    for i in range(200):
        say(f"go {i}")
        time.sleep(0.005)
    around.wait(lambda: around.said("more than 5 instructions a second"))
    took = time.monotonic() - began
    assert len(reader.asked) <= (5.0 + READINGS_ABOVE_RATE_HZ) * (took + 1.0)


def test_a_flood_of_words_that_are_read_delays_no_stop_word(around, talk):
    reader = FakeReader(takes=0.005)
    _, accepted, say = talk(reader)
    deep = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
    flood = around.speaker(String, "instruction", deep)
    around.wait(lambda: flood.get_subscription_count())
    for i in range(300):
        flood.publish(String(data=f"go {i}"))
    began = time.monotonic()
    say("stop")
    around.wait(lambda: "" in texts(accepted)[1:])
    took = time.monotonic() - began
    assert took < 1.0 + around.machine.lost(began)
    # max_rate and READINGS_ABOVE_RATE_HZ at once, and as many in each second after it
    assert len(reader.asked) <= (5.0 + READINGS_ABOVE_RATE_HZ) * (took + 1.5)


def test_a_goal_whose_prompt_asks_to_halt_is_refused_and_stops(around, talk):
    node, accepted, say = talk(FakeReader())
    say("go")
    around.wait(lambda: texts(accepted)[-1] == "go")
    with pytest.raises(ValueError, match="'whoa' asks to halt, which stops the robot"):
        node.check_words("whoa")
    around.wait(lambda: texts(accepted)[-1] == "")


@pytest.mark.parametrize("goals, refused", [(READINGS_ABOVE_RATE_HZ - 1, False), (READINGS_ABOVE_RATE_HZ, False), (READINGS_ABOVE_RATE_HZ + 5, True)])
def test_more_goals_than_can_be_read_are_refused_unread(around, talk, goals, refused):
    reader = FakeReader()
    node, _, _ = talk(reader)
    sentences = []
    for number in range(int(goals)):
        try:
            node.check_words(f"go {number}")
        except ValueError as error:
            sentences.append(str(error))
    assert bool(sentences) is refused and set(sentences) <= {"more than 10 goals a second"}
    assert len(reader.asked) == goals - len(sentences)


def test_a_stop_word_among_too_many_goals_stops(around, talk):
    node, accepted, say = talk(FakeReader())
    say("go")
    around.wait(lambda: texts(accepted)[-1] == "go")
    for number in range(int(READINGS_ABOVE_RATE_HZ)):
        node.check_words(f"go {number}")
    with pytest.raises(ValueError, match="holds a stop word"):
        node.check_words("stop")
    around.wait(lambda: texts(accepted)[-1] == "")


# -- the reading alone -----------------------------------------------------------------


def reading(reader, threshold=0.5):
    said = []
    return HaltingWords(lambda: reader, threshold, said.append), said


def test_each_cause_is_said_once_and_the_last_one_is_kept():
    words, said = reading(FakeReader())
    for number in range(3):
        assert not words.halts(f"raise {number}")
    assert said == ["the reader failed at 'raise 0': RuntimeError('the reader is broken'); only the stop words stop"]
    assert "'raise 2'" in words.problem
    assert not words.halts("sure x") and not words.halts("sure y")  # float("x") raises ValueError
    assert len(said) == 2 and "ValueError" in said[1] and "ValueError" in words.problem
    assert words.halts("whoa")  # it goes on being asked


def test_words_that_it_cannot_read_are_no_fault_of_the_reader():
    reader = FakeReader()

    def halting(text):
        raise NotUnderstood("the instruction has more than 60 words")

    reader.halting = halting
    words, said = reading(reader)
    assert not words.halts("whoa " * 61) and not said and not words.problem


def test_a_missing_reader_is_said_and_stops_nothing():
    def load():
        raise FileNotFoundError("no such file: reader.npz")

    said = []
    words = HaltingWords(load, 0.5, said.append)
    sentence = "words that halt are not read: no such file: reader.npz; only the stop words stop"
    assert said == [sentence] and words.problem == sentence
    assert not words.halts("whoa") and len(said) == 1


def test_an_answer_that_is_not_a_number_halts_nothing_and_is_said_once():
    words, said = reading(FakeReader())
    assert not words.halts("sure nan") and not words.halts("sure nan")
    assert said == ["the reader gave no number for 'sure nan'; only the stop words stop"]


def test_no_thread_is_left_behind():
    before = threading.active_count()
    words, _ = reading(FakeReader())
    words.halts("whoa")
    assert threading.active_count() == before
