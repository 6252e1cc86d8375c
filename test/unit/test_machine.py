"""What is left of the machine, from what Linux says."""
from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vla_ros.core import machine
from vla_ros.core.machine import free_memory, processors, room, take_priority


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


@pytest.mark.parametrize("text, numbers", [("0", {0}), ("0,2-3", {0, 2, 3}), ("1, 1", {1}), ("4-4", {4})])
def test_processors_are_named_as_for_taskset(text: str, numbers: set[int]) -> None:
    assert processors(text) == numbers


@pytest.mark.parametrize("text", ["one", "0,", "3-2", "-1", "0-", "1.5", "4096"])
def test_what_names_no_processor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parameter 'cpus' is '.*'; give numbers of processors like 0,2-3"):
        processors(text)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux")
def test_every_thread_of_the_process_keeps_to_them_and_what_is_not_there_is_refused() -> None:
    mine = max(os.sched_getaffinity(0))
    code = f"""
import os, threading, time
from vla_ros.core.machine import keep_to
before = threading.Thread(target=time.sleep, args=(60,), daemon=True)
before.start()
keep_to("{mine}")
after = threading.Thread(target=time.sleep, args=(60,), daemon=True)
after.start()
for thread in (threading.main_thread(), before, after):
    assert os.sched_getaffinity(thread.native_id) == {{{mine}}}
try:
    keep_to("4095")
except ValueError as error:
    assert "'4095', which this system does not grant" in str(error)
else:
    raise SystemExit("granted")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_thread_of_the_process_gets_its_niceness() -> None:
    code = """
import os, threading, time
from vla_ros.core.machine import take_priority
before = threading.Thread(target=time.sleep, args=(60,), daemon=True)
before.start()
began = os.getpriority(os.PRIO_PROCESS, 0)
take_priority(0, 0)
assert os.getpriority(os.PRIO_PROCESS, 0) == began
take_priority(19, 0)
after = threading.Thread(target=time.sleep, args=(60,), daemon=True)
after.start()
for thread in (threading.main_thread(), before, after):
    assert os.getpriority(os.PRIO_PROCESS, thread.native_id) == 19
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("nice", "realtime", "name"), [(-20, 0, "'nice' is -20"), (0, 99, "'realtime_priority' is 99")])
def test_a_priority_that_the_system_refuses_is_a_sentence(monkeypatch: pytest.MonkeyPatch, nice: int, realtime: int, name: str) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(ValueError, match=f"{name}, which this system does not grant: .*not permitted.*limits.conf"):
        take_priority(nice, realtime)
