"""A node behaves the same on each of the executors that its parameter `executor` names."""
from __future__ import annotations

import builtins
import signal
import subprocess
import sys
import threading
import time

import pytest
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.qos import EVENTS
from vla_ros.nodes.common.run_node import make_executor, spin
from vla_ros.nodes.gate.stop_buttons import StopButtons
from vla_ros.nodes.node_parameters import EXECUTORS


class Probe(CommandIngest):
    """Counts what each kind of entity brings, and keeps a reader that nobody reads."""

    def configure(self):
        super().configure()
        self.texts, self.turns = [], 0
        self.add_subscription(String, "probe/text", lambda message: self.texts.append(message.data), EVENTS)
        self.add_subscription(String, "probe/bad", lambda message: 1 / 0, EVENTS)
        self.add_timer(0.02, self.turn)
        self.add_service(Trigger, "~/probe", self.answer)
        self.unread = self.add_reader(String, "probe/unread", EVENTS)

    def turn(self):
        self.turns += 1

    def answer(self, request, response):
        response.success = True
        return response


@pytest.fixture(params=EXECUTORS)
def world(request, machine):
    """A probe that spins as a process spins it, and a node around it."""
    rclpy.init()
    node, around = Probe(), rclpy.create_node("around")
    executor = make_executor(request.param)
    executor.add_node(node)
    node.trigger_configure()
    node.trigger_activate()
    ended = threading.Event()

    def run():
        try:
            spin(executor)
        except ExternalShutdownException:
            pass
        ended.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield machine, node, around, ended
    rclpy.try_shutdown()
    assert ended.wait(5.0), "the executor did not end with the context"
    thread.join()
    node.destroy_node()
    around.destroy_node()


def until(machine, condition, seconds=5.0):
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds + machine.lost(began):
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.01)


def test_messages_timers_and_requests_are_answered(world):
    machine, node, around, _ = world
    talker = around.create_publisher(String, "probe/text", EVENTS)
    client = around.create_client(Trigger, f"{node.get_name()}/probe")
    until(machine, lambda: talker.get_subscription_count() == 1 and client.service_is_ready())
    for number in range(20):
        talker.publish(String(data=str(number)))
        time.sleep(0.002)
    future = client.call_async(Trigger.Request())
    other = SingleThreadedExecutor()
    other.add_node(around)
    other.spin_until_future_complete(future, timeout_sec=5.0)
    assert future.result().success
    until(machine, lambda: len(node.texts) == 20 and node.turns > 3)
    assert node.texts == [str(number) for number in range(20)]


def test_a_readers_messages_are_left_to_the_reader(world):
    machine, node, around, _ = world
    talker = around.create_publisher(String, "probe/unread", EVENTS)
    until(machine, lambda: talker.get_subscription_count() == 1)
    talker.publish(String(data="for later"))
    time.sleep(0.2)
    assert [message.data for message in node.unread.take()] == ["for later"]


def test_the_stop_button_is_told_when_a_press_was_received(world):
    machine, node, around, ended = world
    heard = []
    buttons = StopButtons(node, heard.extend)
    press = around.create_publisher(Bool, "stop", EVENTS)
    until(machine, lambda: press.get_subscription_count() == 2)  # reliable, and best effort
    began = time.time_ns()
    press.publish(Bool(data=True))
    until(machine, lambda: len(heard) == 2)
    assert all(pressed and began <= received <= time.time_ns() for received, pressed in heard)
    assert buttons.note(heard) and buttons.pressed and not ended.is_set()


def test_a_callback_that_raises_ends_nothing(world):
    machine, node, around, ended = world
    talker = around.create_publisher(String, "probe/bad", EVENTS)
    until(machine, lambda: talker.get_subscription_count() == 1)
    talker.publish(String(data=""))
    turns = node.turns
    until(machine, lambda: node.stats.drops.get("exception ZeroDivisionError") and node.turns > turns + 3)
    assert not ended.is_set()


def test_entities_that_a_transition_destroys_and_makes_again_are_heard(world):
    machine, node, around, _ = world
    talker = around.create_publisher(String, "probe/text", EVENTS)
    for _ in range(5):
        node.trigger_deactivate()
        node.trigger_cleanup()
        node.trigger_configure()
        node.trigger_activate()
        until(machine, lambda: talker.get_subscription_count() == 1)
        talker.publish(String(data="again"))
        until(machine, lambda: node.texts == ["again"])


def test_other_threads_run_while_it_waits(world):
    machine, _, _, _ = world
    began = time.monotonic()
    time.sleep(0.05)
    assert time.monotonic() - began < 0.5 + machine.late(began)


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
def test_a_process_that_is_told_which_ends_on_sigint(kind, machine):
    command = [sys.executable, "-m", "vla_ros.nodes.command_ingest", "--ros-args", "-p", f"executor:={kind}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    rclpy.init()
    try:
        around = rclpy.create_node("around")
        until(machine, lambda: "command_ingest" in around.get_node_names(), 30.0)
        until(machine, lambda: around.count_publishers("heartbeat") == 1)
        around.destroy_node()
    finally:
        rclpy.try_shutdown()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20.0 + machine.lost(began))
    assert process.returncode == 0, errors
