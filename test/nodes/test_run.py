"""How a node's process ends."""
from __future__ import annotations

import signal
import subprocess
import sys

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
