"""How a node's process ends."""
from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the node tests need the messages: colcon build, then source install/setup.bash")

# A library's thread is older than run(), so it blocks no signal. It is "here" when it waits for signals, and looks for its
# parent ten times a second.
SLOW = """
import signal, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
from vla_ros.nodes.common import run_node
from vla_ros.nodes.synchronizer import Synchronizer

wait = signal.sigwait

def noted(signals):
    threading.Timer(0.2, print, ["here"], {{"flush": True}}).start()
    return wait(signals)

signal.sigwait = noted
run_node.PARENT_CHECK_PERIOD_S = 0.1

class Slow(Synchronizer):
    def leave(self):
        print("leaving", flush=True)
        time.sleep({seconds})
        print("left", flush=True)

run_node.run(Slow)
"""


def ended_in_order(process: subprocess.Popen[str], said: str, machine: Any) -> bool:
    """Whether it said the rest of `said` and ended with 0; or, where the machine kept from it much of the 2 s that it
    has after leave(), by its own alarm."""
    began = time.monotonic()
    output = process.communicate(timeout=10)[0]
    starved = process.returncode == -signal.SIGALRM and machine.lost(began) > 0.5
    return output == said and (process.returncode == 0 or starved)


def start(seconds: float, parent: str = "") -> subprocess.Popen[str]:
    from vla_ros.core import process_identity

    process = subprocess.Popen([sys.executable, "-c", SLOW.format(seconds=seconds)], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, process_identity.PARENT: parent})
    if parent:
        return process
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "leaving\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_cut_the_end_short(number: int, machine: Any) -> None:
    process = start(0.5)
    process.send_signal(number)
    assert ended_in_order(process, "left\n", machine)


def test_an_end_that_hangs_ends_all_the_same() -> None:
    process = start(60)
    assert process.communicate(timeout=10)[0] == "" and process.returncode == -signal.SIGALRM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_node_ends_in_order_when_the_process_that_looks_after_it_is_gone(number: int, machine: Any) -> None:
    """As `ros2 launch` does on SIGTERM: it tells its nodes nothing."""
    from vla_ros.core import process_identity

    if not process_identity.host():
        pytest.skip("/proc is needed to know of processes")
    parent = subprocess.Popen(["sleep", "60"])
    its = f"{parent.pid}.{process_identity._stat(parent.pid)[1]:x}.{process_identity.host()}"
    process = start(0.1, its)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    for one in (parent, process):  # stopped is not gone
        one.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        one.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    assert process.poll() is None
    parent.send_signal(number)  # and nobody waits for it: a zombie is gone, too
    assert ended_in_order(process, "leaving\nleft\n", machine)
    parent.wait()


@pytest.mark.parametrize("its", ["", "1.1f.elsewhere", "nonsense"])
def test_a_node_that_nobody_looks_after_goes_on(its: str, machine: Any) -> None:
    """By hand, with nohup, by systemd; or started in another container."""
    process = start(0.1, its or "none")
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    time.sleep(0.4)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended_in_order(process, "leaving\nleft\n", machine)


@pytest.mark.parametrize("name", ["fastrtps_", "fastdds_"])  # Fast DDS 2's, and 3's
def test_what_killed_processes_left_in_shared_memory_is_removed_and_nothing_else(name: str, tmp_path: Path) -> None:
    from vla_ros.nodes.common.run_node import _clear_left_segments

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
