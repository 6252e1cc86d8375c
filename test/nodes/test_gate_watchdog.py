"""safety_validator: whatever hangs, fails or floods, the gate speaks at its rate and the stop gets through."""
import os
import resource
import threading
import time
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
import rclpy
from gate_robot import Robot, standing_after
from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool

from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.nodes import safety_validator
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATCHED, PULSE, SENSOR
from vla_ros.nodes.gate.stop_buttons import StopButtons
from vla_ros.safety.gate import State
from vla_ros_msgs.msg import ActionChunk, Halt, Heartbeat, Instruction, SafetyReport


def test_when_everything_falls_silent_it_stands_within_half_a_second(around):
    robot = Robot(around).moving()
    robot.alive, start = False, time.monotonic()
    assert standing_after(robot, start) < 0.7 + around.late(start)
    assert robot.reports[-1].rule in ("source_timeout", "observation_age")


def test_a_blocked_executor_does_not_block_the_stop(around):
    """Callbacks hang; the gate's own thread goes on and sees its sources grow old."""
    robot = Robot(around).moving()
    sent = []
    send = robot.node._outputs.send
    robot.node._outputs.send = lambda action, now: (sent.append((time.monotonic(), action["linear.x"])), send(action, now))
    start = time.monotonic()
    around.node.create_timer(0.01, lambda: time.sleep(2.0))
    time.sleep(1.5)
    stands = next(when for when, speed in sent if when > start + 0.1 and speed == 0.0)
    assert stands - start < 0.7 + around.late(start)
    assert len([when for when, _ in sent if start < when < start + 1.0]) > 35 - 50 * around.machine.lost(start)


def test_a_tick_as_slow_as_its_period_does_not_lock_out_the_stop(around):
    robot = Robot(around).moving()
    send = robot.node._outputs.send
    robot.node._outputs.send = lambda action, now: (time.sleep(0.025), send(action, now))
    robot.stops.publish(Bool(data=True))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED, 2.0)
    start = time.monotonic()
    robot.node.leave()
    assert time.monotonic() - start < 1.5 + around.late(start)


def test_a_tick_that_stood_still_does_not_send_what_was_right_before(around):
    robot = Robot(around).moving()
    sent, send, step = [], robot.node._outputs.send, robot.node._gate.step
    robot.node._outputs.send = lambda action, now: (sent.append((time.monotonic(), action["linear.x"])), send(action, now))

    def slow(*arguments):
        robot.node._gate.step = step
        judged = step(*arguments)
        time.sleep(1.0)
        return judged
    robot.node._gate.step, start = slow, time.monotonic()
    around.wait(lambda: sent and sent[-1][0] > start + 1.1)
    assert not any(speed for when, speed in sent if when > start + 0.9)
    assert robot.reports[-1].state == SafetyReport.STOPPED and "stood still" in robot.reports[-1].reason


def test_deactivating_says_zero_first(around):
    robot = Robot(around).moving()
    robot.twists.clear()
    sent, send, thread = [], robot.node._outputs.send, robot.node._thread
    robot.node._outputs.send = lambda action, now: (sent.append((time.monotonic(), action["linear.x"])), send(action, now))
    robot.node._thread = Mock(join=lambda timeout: time.sleep(0.5))  # whatever else takes long
    start = time.monotonic()
    robot.node.trigger_deactivate()
    assert next(when for when, speed in sent if speed == 0.0) - start < 0.3 + around.late(start)
    around.wait(lambda: robot.twists and robot.twists[-1].linear.x == 0.0)
    around.wait(lambda: not thread.is_alive())
    robot.node.trigger_activate()
    around.wait(lambda: robot.reports[-1].state == SafetyReport.DISARMED)


def test_a_callback_that_raises_stops_the_robot(around, monkeypatch):
    robot = Robot(around).moving()
    monkeypatch.setattr(convert, "chunk", lambda message: 1 / 0)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert "ZeroDivisionError" in robot.reports[-1].reason
    assert robot.twists[-1].linear.x == 0.0


def test_a_wire_that_fails_does_not_end_the_watchdog(around, monkeypatch):
    robot = Robot(around).moving()
    send = robot.node._outputs.send
    monkeypatch.setattr(robot.node._outputs, "send", lambda *arguments: 1 / 0)
    time.sleep(0.2)
    monkeypatch.setattr(robot.node._outputs, "send", send)
    robot.reports.clear()
    around.wait(lambda: robot.reports and robot.reports[-1].state == SafetyReport.STOPPED)
    assert robot.twists[-1].linear.x == 0.0
    assert robot.node._thread.is_alive()


def test_actions_that_come_faster_than_the_shortest_interval_wait_for_the_next_tick(around, monkeypatch):
    robot = Robot(around).moving()
    # Ten seconds instead of 2 ms: none of a thousand calls may tick, however slow the machine is.
    monkeypatch.setattr(safety_validator, "MIN_TICK_INTERVAL_NS", 10**10)
    chunk = convert.chunk_message(CoreChunk(time.time_ns(), robot.instruction_id, ("linear.x", "gripper"),
                                            np.array([[0.3, 0.5]], np.float32), 100_000_000))
    before, start = robot.node.stats.rates["command"].total, time.monotonic()
    for _ in range(1000):
        robot.node._on_chunk(chunk)
    assert robot.node.stats.rates["command"].total - before < (time.monotonic() - start) * 50 + 60


def test_a_stop_that_is_released_at_once_is_not_missed(around, monkeypatch):
    robot = Robot(around).moving()
    monkeypatch.setattr(safety_validator, "MIN_TICK_INTERVAL_NS", 10**10)  # no tick in between
    with robot.node._lock:
        for pressed in (True, False):
            robot.node._buttons.on_message(Bool(data=pressed), time.time_ns())
    monkeypatch.undo()
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)


def test_a_press_is_not_pushed_out_by_900_releases_while_nobody_reads(around):
    node = LifecycleNode("held_up")  # nothing spins it
    try:
        buttons = StopButtons(node, lambda presses: None)
        button = node.create_publisher(Bool, "stop", QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE))
        deadline = time.monotonic() + 10.0
        while button.get_subscription_count() < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        for pressed in (True, *[False] * 900):
            button.publish(Bool(data=pressed))
        time.sleep(0.5)  # all are there
        assert any(pressed for _, pressed in buttons.take())
    finally:
        node.destroy_node()


def test_a_flood_of_actions_does_not_make_it_run_faster_than_500_hz(around):
    robot = Robot(around).moving()
    before = robot.node.stats.rates["command"].total
    chunk = convert.chunk_message(CoreChunk(time.time_ns(), robot.instruction_id, ("linear.x", "gripper"),
                                            np.array([[0.3, 0.5]], np.float32), 100_000_000))
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        robot.chunks.publish(chunk)
    assert robot.node.stats.rates["command"].total - before < 560
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_a_tick_that_hangs_through_a_deactivation_does_not_have_the_last_word(around):
    robot = Robot(around).moving()
    send, started, once = robot.node._outputs.send, threading.Event(), iter([True])

    def slow(action, now):
        if action["linear.x"] > 0.2 and next(once, False):
            started.set()
            time.sleep(1.6)  # longer than the deactivation waits for it
            send(action, now)
            sent.set()
            return
        send(action, now)
    sent = threading.Event()
    robot.node._outputs.send = slow
    assert started.wait(5.0)
    robot.node.leave()
    assert sent.wait(5.0)
    time.sleep(0.3)
    assert robot.twists[-1].linear.x == 0.0


def test_a_log_that_blocks_does_not_block_the_watchdog(around, monkeypatch):
    robot = Robot(around).moving()
    monkeypatch.setattr(robot.node, "get_logger", lambda: time.sleep(3.0))
    robot.ranges = [1.0] * 20_001  # refused in the watchdog's thread
    sent = []
    send = robot.node._outputs.send
    robot.node._outputs.send = lambda action, now: (sent.append(time.monotonic()), send(action, now))
    start = time.monotonic()
    time.sleep(1.0)
    assert len(sent) > 35 - 50 * around.machine.lost(start)
    monkeypatch.undo()


def test_a_huge_action_is_refused(around):
    robot = Robot(around).moving()
    robot.values = {f"channel_{i}": 0.0 for i in range(65)}
    around.wait(lambda: robot.node.stats.drops["huge action"])
    around.wait(lambda: robot.reports[-1].rule == "observation_age")


def test_a_long_reason_is_cut(around):
    robot = Robot(around).moving()
    robot.values = {"x" * 50_000: 0.0}
    around.wait(lambda: robot.reports[-1].rule == "chunk_shape")
    assert len(robot.reports[-1].reason) == 300


def test_a_flood_on_a_topic_that_is_read_does_not_hold_the_watchdog(around):
    robot = Robot(around).moving()
    reader = next(iter(robot.node._readers))
    beat = serialize_message(Heartbeat(node="inference"))
    endless = MagicMock(take_message=lambda kind, raw: (beat, None))
    reader.subscription = Mock(handle=endless)
    assert len([*reader.take()]) == PULSE.depth


def test_a_halt_that_is_taken_back_at_once_latches(around, monkeypatch):
    robot = Robot(around).moving()
    monkeypatch.setattr(robot.node, "_wake", lambda: None)  # no tick in between
    halts = around.speaker(Halt, "halt", LATCHED)
    around.wait(halts.get_subscription_count)
    for attempt in range(5):
        with robot.node._lock:
            halts.publish(Halt(halted=True, reason=f"camera fault {attempt}"))
            halts.publish(Halt())
            time.sleep(0.05)  # both have arrived when the first is read
        around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
        assert f"camera fault {attempt}" in robot.reports[-1].reason
        around.wait(lambda: robot.call("reset").success)
        robot.moving()


def test_a_halt_whose_reason_is_too_long_to_be_read_latches_all_the_same(around):
    robot = Robot(around).moving()
    around.speaker(Halt, "halt", LATCHED).publish(Halt(halted=True, reason="x" * 1_000_000))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert "too long" in robot.reports[-1].reason


def test_an_executor_that_is_busy_does_not_keep_a_stop_from_the_gate(around):
    """The button is read by the watchdog's own thread as well."""
    robot = Robot(around).moving()
    busy, over = threading.Event(), threading.Event()
    robot.node.create_timer(0.001, lambda: (busy.set(), over.wait(2.0)))
    around.wait(busy.is_set)
    start = time.monotonic()
    presser = rclpy.create_node("presser")
    button = presser.create_publisher(Bool, "stop", EVENTS)
    around.wait(lambda: button.get_subscription_count() >= 2)
    pressed = time.monotonic()
    button.publish(Bool(data=True))
    around.wait(lambda: robot.node._gate.state is State.STOPPED)
    took = time.monotonic() - pressed
    assert took < 0.3 + around.late(pressed) and time.monotonic() - start < 1.9
    over.set()
    presser.destroy_node()


HUGE = "x" * 10_000_000


@pytest.mark.parametrize("kind, topic, message", [
    (Heartbeat, "heartbeat", Heartbeat(node=HUGE)),
    (JointState, "/joint_states", JointState(name=[HUGE], position=[0.0])),
    (LaserScan, "/scan", LaserScan(ranges=[1.0] * 2_000_000)), (Odometry, "/odom", Odometry(child_frame_id=HUGE)),
    (ActionChunk, "action_chunk", ActionChunk(channels=[HUGE])), (Instruction, "instruction/accepted", Instruction(text=HUGE))],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "")
def test_ten_megabytes_on_any_topic_are_not_made_into_a_message(around, kind, topic, message):
    robot = Robot(around).moving()
    robot.values = {} if topic == "action_chunk" else robot.values  # a newer one would take its place in the queue
    robot.alive = topic not in ("/scan", "/odom")  # and so would theirs
    speaker = around.speaker(kind, topic, SENSOR if topic == "/scan" else LATCHED if topic == "instruction/accepted" else EVENTS)
    around.wait(speaker.get_subscription_count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    published = [0.0]

    def refused():
        if time.monotonic() > published[0] + 2.0:  # again: of a scan, which is not reliable, a part may be lost
            published[0] = time.monotonic()
            speaker.publish(message)
        return any("large" in reason or "huge" in reason for reason in robot.node.stats.drops)
    around.wait(refused, 10.0)
    assert robot.node._gate.state is not State.STOPPED
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KiB; ours is the publisher, too


def test_of_what_a_button_says_the_newest_counts_whoever_took_it(around):
    """The watchdog took a press while the executor still held a release from before it."""
    robot = Robot(around)
    robot.node._press([(2, True)])
    robot.node._buttons.on_message(Bool(data=False), 1)
    assert robot.node._inputs.stop_pressed
    robot.node._buttons.on_message(Bool(data=False), 3)
    assert not robot.node._inputs.stop_pressed


def test_a_button_that_is_not_reliable_is_heard_though_it_is_released_at_once(around):
    robot = Robot(around).moving()
    button = around.speaker(Bool, "stop", SENSOR)
    around.wait(lambda: button.get_subscription_count())
    for _ in range(5):
        button.publish(Bool(data=True))
        button.publish(Bool(data=False))
        around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
        around.wait(lambda: robot.call("reset").success)
        robot.moving()


def test_a_flood_of_joint_states_costs_a_tick_half_a_period_at_most(around):
    robot = Robot(around).moving()
    reader = next(reader for reader in robot.node._readers if reader.topic == "/joint_states")
    took = []

    def slow(message, now):
        time.sleep(0.004)
        took.append(time.monotonic())
    with robot.node._lock:
        robot.node._readers[reader] = slow
        endless = MagicMock(take_message=lambda kind, raw: (serialize_message(JointState()), None))
        reader.subscription = Mock(handle=endless)
        start = time.monotonic_ns()
        robot.node._read(start)
    assert len(took) <= 4


def test_what_comes_while_it_is_inactive_is_not_kept(around):
    robot = Robot(around)
    robot.node.trigger_deactivate()
    taken = []
    for reader in robot.node._readers:
        reader.discard = lambda reader=reader: taken.append(reader)
    around.wait(lambda: len(taken) >= len(robot.node._readers))


@pytest.mark.parametrize("kind", ["ten thousand values", "aliases", "endless", "a pipe", "a number of 120,000 digits"])
def test_no_robot_file_keeps_a_stop_from_the_wire(around, tmp_path, kind):
    robot, path = Robot(around).moving(), tmp_path / "robot.yaml"
    if kind == "ten thousand values":
        path.write_text("name: x\nchannels: [" + ", ".join(f"{{a{i}: {i}}}" for i in range(3300)) + "]\n")
    elif kind == "aliases":
        path.write_text("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)))
    elif kind == "endless":
        path = "/dev/zero"
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.write_text("name: " + "1:" * 60_000 + "1\n")
    results, over = [], threading.Event()

    def ask():
        while not over.is_set():
            results.append(robot.node.set_parameters([Parameter("robot_file", value=str(path))])[0])
    asking = threading.Thread(target=ask)
    asking.start()
    around.wait(lambda: results, 20.0)
    pressed = time.monotonic()
    robot.node._press([(time.time_ns(), True)])  # as the watchdog takes it from its button
    around.wait(lambda: robot.twists[-1].linear.x == 0.0)
    took = time.monotonic() - pressed
    over.set()
    asking.join()
    assert took < 0.25 + around.late(pressed)  # this process is also the robot, and its threads share one interpreter
    assert not any(result.successful for result in results) and "robot file" in results[0].reason

