"""What is left of the machine, from what Linux says."""
from __future__ import annotations

import math
from pathlib import Path

import pytest

from vla_ros.core import machine
from vla_ros.core.machine import free_memory, room


@pytest.mark.parametrize("text, free", [
    ("MemTotal:  100 kB\nMemAvailable:    40 kB\n", 40 * 1024.0), ("MemTotal: 100 kB\n", math.inf),
    ("MemAvailable: many kB\n", math.inf), ("no colon", math.inf)])
def test_free_memory_is_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, free: float) -> None:
    (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    assert free_memory() == free


def test_a_system_that_says_nothing_has_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "nothing")
    room("anything", 1e15, free_memory())


@pytest.mark.parametrize("needed, fits", [(3.99e9, True), (4e9, True), (4.01e9, False)])
def test_what_needs_more_than_is_free_is_refused_with_both_numbers(needed: float, fits: bool) -> None:
    if fits:
        room("the model", needed, 4e9)
    else:
        with pytest.raises(ValueError, match="the model needs 4.01 GB of memory, and 4.00 GB are free; end what else"):
            room("the model", needed, 4e9)
