"""By which meaning words are judged that nobody brought one for: a policy's own reading cannot show that it is wrong."""
from __future__ import annotations

import pytest

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.judged_meaning import judged_meaning
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.sequence import meant_by


class ByHand:
    """Reads one sentence as one meaning, whatever it is."""

    def __init__(self, notation: str) -> None:
        self.notation = notation

    def read(self, text: str) -> tuple[Intent, ...]:
        if not self.notation:
            raise NotUnderstood(f"the words {text!r} are not understood")
        return meaning_of(self.notation)


@pytest.mark.parametrize("text, read, meant, as_read", [
    ("go to the red block", "go_to:red block", "go_to:red block", False),
    ("go to the red block", "go_to:blue ball", "go_to:red block", False),  # misread: the grammar's meaning shows it
    ("go to the red block", "back", "go_to:red block", False),
    ("go to the red block", "", "go_to:red block", False),
    ("mosey up to the crimson brick", "go_to:red block", "go_to:red block", True),  # the grammar does not know it
    ("face the object behind the red ball", "face:object behind red ball", "face:object behind red ball", True),  # passes over it
    ("go forward ten centimetres", "forward:0.1m", "forward:0.1m", True),
    ("turn left 30 degrees", "turn_left:30deg", "turn_left:30deg", False),  # both say so
    ("turn left", "turn_left ; back", "turn_left ; back", True),
])
def test_the_grammar_s_meaning_counts_where_it_can_say_what_was_read(text: str, read: str, meant: str, as_read: bool) -> None:
    found, only_read = judged_meaning(text, ByHand(read))  # type: ignore[arg-type]
    assert (found, only_read) == (meant_by(meaning_of(meant)), as_read)


def test_what_neither_understands_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="'fly'"):
        judged_meaning("fly", ByHand(""))  # type: ignore[arg-type]


def test_plain_commands_are_judged_without_the_reader_s_word() -> None:
    reader = InstructionReader.load()
    for text in ("go to the red block", "turn left", "grab the green ball", "open the gripper", "back up", "turn right 45 degrees"):
        assert not judged_meaning(text, reader)[1], text
    for text in ("kindly mosey up to the crimson cube", "go to the ball left of the red block", "turn left, then back up"):
        assert judged_meaning(text, reader)[1], text
