"""Keys come one by one from a terminal; where there is none, recording goes on without."""
import io
import os
import sys
import time

import pytest

termios = pytest.importorskip("termios", reason="a POSIX terminal")
pytest.importorskip("rclpy", reason="the folder's other modules need ROS 2")

from vla_ros.operator.terminal_keys import TerminalKeys


@pytest.fixture
def keyboard(monkeypatch):
    """What types into this process's terminal."""
    typing, terminal = os.openpty()
    with open(terminal, closefd=False) as file:
        monkeypatch.setattr(sys, "stdin", file)
        yield typing
    os.close(typing)
    os.close(terminal)


def test_a_key_comes_without_enter_and_the_terminal_is_left_as_it_was(keyboard):
    before = termios.tcgetattr(sys.stdin)
    with TerminalKeys() as keys:
        assert keys.there and keys.wait(0.0) == ""
        os.write(keyboard, b"rs")
        assert [keys.wait(1.0), keys.wait(1.0), keys.wait(0.0)] == ["r", "s", ""]
    assert termios.tcgetattr(sys.stdin)[3] == before[3]  # lines and their echo are back


def test_a_note_is_a_whole_line(keyboard, monkeypatch):
    with TerminalKeys() as keys:
        os.write(keyboard, b"it slipped\n")
        assert keys.line("note: ") == "it slipped"
        assert keys.there
        os.write(keyboard, b"k")
        assert keys.wait(1.0) == "k"


@pytest.mark.parametrize("stdin", [io.StringIO("rrr"), None])
def test_without_a_terminal_no_key_ever_comes(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    with TerminalKeys() as keys:
        assert not keys.there
        began = time.monotonic()
        assert keys.wait(0.1) == "" and time.monotonic() - began >= 0.09
