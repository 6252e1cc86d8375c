"""How a node's process ends."""
from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the node tests need the messages: colcon build, then source install/setup.bash")

# A library's thread is older than run(), so it blocks no signal.
SLOW = """
import threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
from vla_ros.nodes.run import run
from vla_ros.nodes.synchronizer import Synchronizer

class Slow(Synchronizer):
    def __init__(self):
        super().__init__()
        threading.Timer(1.0, print, ["here"], {{"flush": True}}).start()  # when run() waits for signals

    def leave(self):
        print("leaving", flush=True)
        time.sleep({seconds})
        print("left", flush=True)

run(Slow)
"""


def start(seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", SLOW.format(seconds=seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "leaving\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_cut_the_end_short(number: int) -> None:
    process = start(0.5)
    process.send_signal(number)
    assert process.communicate(timeout=10)[0] == "left\n" and process.returncode == 0


def test_an_end_that_hangs_ends_all_the_same() -> None:
    process = start(60)
    assert process.communicate(timeout=10)[0] == "" and process.returncode == -signal.SIGALRM


@pytest.mark.parametrize("name", ["fastrtps_", "fastdds_"])  # Fast DDS 2's, and 3's
def test_what_killed_processes_left_in_shared_memory_is_removed_and_nothing_else(name: str, tmp_path: Path) -> None:
    from vla_ros.nodes.run import _clear_left_segments

    left, used, young, port = (tmp_path / f"{name}{end}" for end in ("0123456789abcdef", "1" * 16, "2" * 16, "port7411"))
    for segment in (left, used, young, port):
        segment.write_bytes(b"32 MB")
        lock = segment.with_name(f"{segment.name}_el")
        lock.write_bytes(b"")
        if segment != young:
            os.utime(lock, (0, 0))
    with open(f"{used}_el", "rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        _clear_left_segments(str(tmp_path))
    there = {path.name.removesuffix("_el") for path in tmp_path.iterdir()}
    assert there == {used.name, young.name, port.name} and len(list(tmp_path.iterdir())) == 6
