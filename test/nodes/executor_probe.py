"""A node on one of the executors, as a process: `python executor_probe.py events`. `test_executors.py` runs this.

A process of its own, because what an executor in C++ leaves behind must not reach other tests.
"""
from __future__ import annotations

import contextlib
import sys
import threading
import time

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.composition import Composition
from vla_ros.nodes.common.qos import EVENTS
from vla_ros.nodes.common.run_node import make_executor, spin
from vla_ros.nodes.gate.stop_buttons import StopButtons


class Probe(CommandIngest):
    """Counts what each kind of entity brings, and keeps a reader that nobody reads."""

    def __init__(self):
        super().__init__()
        self.presses = []
        self.buttons = StopButtons(self, self.presses.extend)

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


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


def messages_timers_and_requests_are_answered(node, around):
    talker = around.create_publisher(String, "probe/text", EVENTS)
    client = around.create_client(Trigger, f"{node.get_name()}/probe")
    until(lambda: talker.get_subscription_count() == 1 and client.service_is_ready())
    for number in range(20):
        talker.publish(String(data=str(number)))
        time.sleep(0.005)
    future = client.call_async(Trigger.Request())
    other = SingleThreadedExecutor()
    other.add_node(around)
    other.spin_until_future_complete(future, timeout_sec=30.0)
    other.remove_node(around)
    assert future.result().success
    until(lambda: len(node.texts) == 20 and node.turns > 3)
    assert node.texts == [str(number) for number in range(20)]


def a_readers_messages_are_left_to_the_reader(node, around):
    talker = around.create_publisher(String, "probe/unread", EVENTS)
    until(lambda: talker.get_subscription_count() == 1)
    talker.publish(String(data="for later"))
    time.sleep(0.3)
    assert [message.data for message in node.unread.take()] == ["for later"]


def the_stop_button_is_told_when_a_press_was_received(node, around):
    press = around.create_publisher(Bool, "stop", EVENTS)
    until(lambda: press.get_subscription_count() == 2)  # reliable, and best effort
    began = time.time_ns()
    press.publish(Bool(data=True))
    until(lambda: len(node.presses) == 2)
    assert all(pressed and began <= received <= time.time_ns() for received, pressed in node.presses)
    assert node.buttons.note(node.presses) and node.buttons.pressed


def a_callback_that_raises_ends_nothing(node, around):
    talker = around.create_publisher(String, "probe/bad", EVENTS)
    until(lambda: talker.get_subscription_count() == 1)
    talker.publish(String(data=""))
    turns = node.turns
    until(lambda: node.stats.drops.get("exception ZeroDivisionError") and node.turns > turns + 3)


def entities_that_a_transition_makes_again_are_heard(node, around):
    talker = around.create_publisher(String, "probe/text", EVENTS)
    for _ in range(5):
        node.trigger_deactivate()
        node.trigger_cleanup()
        node.trigger_configure()
        node.trigger_activate()
        until(lambda: talker.get_subscription_count() == 1)
        talker.publish(String(data="again"))
        until(lambda: node.texts == ["again"])


def nodes_of_one_process_hand_over_in_memory(kind):
    composition = Composition()
    nodes = [CommandIngest(composition=composition) for _ in range(2)]
    executor = make_executor(kind)
    for node in nodes:
        executor.add_node(node)
    heard, said = [], []
    nodes[1].add_subscription(String, "probe/told", lambda message: heard.append(message.data), EVENTS, always=True)
    teller = nodes[0].add_publisher(String, "probe/told", EVENTS)
    teller.publisher.publish = said.append
    nodes[0].add_timer(0.01, lambda: said or teller.publish(String(data="timer")))

    def run():
        with contextlib.suppress(ExternalShutdownException):
            spin(executor)

    spinner = threading.Thread(target=run, daemon=True)
    spinner.start()
    until(lambda: heard.count("timer") > 3)
    for number in range(20):
        teller.publish(String(data=str(number)))
        time.sleep(0.005)
    until(lambda: "19" in heard)
    assert [word for word in heard if word != "timer"] == [str(number) for number in range(20)] and not said
    outside = nodes[0].create_publisher(String, "probe/told", EVENTS)
    for word in "abc":  # the publisher goes, as in a cleanup, and comes again
        executor.create_task(composition.close_outlet, teller)
        until(lambda: outside.get_subscription_count() == 1)
        outside.publish(String(data=word))
        until(lambda word=word: word in heard)
        executor.create_task(composition.open_outlet, teller.topic, teller.publisher)
        until(lambda: outside.get_subscription_count() == 0)
        teller = composition._outlets[teller.topic][-1]
        teller.publish(String(data=word + word))
        until(lambda word=word: word + word in heard)
    rclpy.try_shutdown()
    spinner.join(30.0)
    for node in nodes:
        node.destroy_node()
    rclpy.init()


def main(kind):
    rclpy.init()
    nodes_of_one_process_hand_over_in_memory(kind)
    node, around = Probe(), rclpy.create_node("around")
    executor = make_executor(kind)
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

    threading.Thread(target=run, daemon=True).start()
    for case in (messages_timers_and_requests_are_answered, a_readers_messages_are_left_to_the_reader,
                 the_stop_button_is_told_when_a_press_was_received, a_callback_that_raises_ends_nothing,
                 entities_that_a_transition_makes_again_are_heard):
        case(node, around)
        assert not ended.is_set(), f"the executor ended in {case.__name__}"
        print(case.__name__, flush=True)
    rclpy.try_shutdown()
    assert ended.wait(30.0), "the executor did not end with the context"
    node.destroy_node()
    around.destroy_node()
    print("all")


if __name__ == "__main__":
    main(sys.argv[1])
