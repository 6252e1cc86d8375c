"""A node behaves the same on each of the executors that its parameter `executor` names."""
from __future__ import annotations

import builtins
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor

from vla_ros.nodes.common.qos import EVENTS
from vla_ros.nodes.common.run_node import make_executor
from vla_ros.nodes.node_parameters import EXECUTORS
from vla_ros_msgs.msg import Heartbeat

PROBE = Path(__file__).with_name("executor_probe.py")


@pytest.mark.parametrize("kind", EXECUTORS)
def test_messages_timers_requests_readers_buttons_and_transitions_work(kind):
    done = subprocess.run([sys.executable, str(PROBE), kind], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout.endswith("all\n"), done.stdout + done.stderr


def test_where_rclpy_has_no_events_executor_the_other_one_is_used(monkeypatch):
    find = builtins.__import__

    def missing(name, *rest):
        if name.startswith("rclpy.experimental"):
            raise ImportError(name)
        return find(name, *rest)

    rclpy.init()
    try:
        monkeypatch.setattr(builtins, "__import__", missing)
        assert isinstance(make_executor("events"), SingleThreadedExecutor)
    finally:
        rclpy.try_shutdown()


@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_process_that_is_told_which_ends_on_sigint(kind, around):
    beats = around.hear(Heartbeat, "heartbeat", EVENTS)
    around.spin()
    command = [sys.executable, "-m", "vla_ros.nodes.command_ingest", "--ros-args", "-p", f"executor:={kind}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    # Its heartbeats say that it spins; before that a signal ends it as it ends any process.
    around.wait(lambda: len(beats) > 2, 60.0)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60.0)
    starved = process.returncode == -signal.SIGALRM and around.machine.lost(began) > 0.5  # of the 2 s that it has to end
    assert process.returncode == 0 or starved, errors
