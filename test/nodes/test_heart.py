"""A node's heart: it beats while the executor turns, however busy the machine, and not for one that hangs."""
import sys
import threading
import time

import pytest
from std_msgs.msg import String

from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common import heart
from vla_ros.nodes.common.heart import STALL_TIMEOUT_S, Heart
from vla_ros.nodes.common.qos import EVENTS, FEEDBACK, PULSE
from vla_ros_msgs.msg import Heartbeat


class Clocked:
    """A heart alone, and when it beat (steady s)."""

    def __init__(self):
        self.beats, self.reports = [], []
        self.heart = Heart(lambda: self.beats.append(time.monotonic()), lambda: self.reports.append(time.monotonic()))

    def longest(self, since):
        times = [since, *(beat for beat in self.beats if beat > since), time.monotonic()]
        return max(after - before for before, after in zip(times, times[1:]))


@pytest.fixture
def alone():
    clocked = Clocked()
    yield clocked
    clocked.heart.stop()


def test_it_does_not_beat_before_the_executor_turns(alone, machine):
    time.sleep(0.3)
    assert not alone.beats
    alone.heart.turn()
    began = time.monotonic()
    time.sleep(0.3)
    time.sleep(machine.late(began))
    assert alone.beats


def test_a_pause_of_the_executor_is_no_loss_and_a_long_one_is(alone, machine):
    alone.heart.turn()
    began = time.monotonic()
    time.sleep(STALL_TIMEOUT_S + 0.5)
    late = machine.late(began)
    assert STALL_TIMEOUT_S - 0.3 - late < alone.beats[-1] - began < STALL_TIMEOUT_S + 0.1 + late
    alone.heart.turn()
    time.sleep(0.3)
    assert alone.beats[-1] - began > STALL_TIMEOUT_S + 0.4


def test_excused_it_beats_and_reports_for_as_long_as_that_lasts(alone):
    with alone.heart.excused():
        time.sleep(STALL_TIMEOUT_S + 1.0)
        assert len(alone.beats) > 8 and 1 <= len(alone.reports) <= 2
    time.sleep(STALL_TIMEOUT_S + 0.3)
    assert time.monotonic() - alone.beats[-1] > 0.2


def test_it_ends_and_its_thread_with_it(alone):
    alone.heart.turn()
    alone.heart.stop()
    count = len(alone.beats)
    time.sleep(0.3)
    assert len(alone.beats) == count and not alone.heart._thread.is_alive()


def test_code_that_keeps_the_gil_silences_it_too(alone):
    alone.heart.turn()
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.8)  # a thread that computes is not asked for the GIL before that
    try:
        began = time.monotonic()
        while time.monotonic() - began < 0.4:
            pass
        assert alone.longest(began) > 0.25
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("state", heart.STATES)
def test_a_heartbeat_with_a_node_a_process_and_a_known_state_is_one(state):
    heart.check_heartbeat(Heartbeat(node="inference", state=state, process="1.1.here"))


@pytest.mark.parametrize("beat, says", [
    (Heartbeat(node="inference", process="1"),
     "a heartbeat of 'inference' has state ''; use one of unconfigured, "),
    (Heartbeat(node="inference", state="Active", process="1"), "has state 'Active'; use one of "),
    (Heartbeat(state="active", process="1"), "a heartbeat has node '' and process '1'; give both"),
    (Heartbeat(node="inference", state="active"),
     "a heartbeat has node 'inference' and process ''; give both"),
    (Heartbeat(node="x" * 9999, state="y" * 9999), "x' has state 'yyy")])
def test_another_heartbeat_is_refused_with_a_short_sentence(beat, says):
    with pytest.raises(ValueError, match=says) as refused:
        heart.check_heartbeat(beat)
    assert len(str(refused.value)) < 250


def test_a_nodes_heart_beats_while_its_executor_is_busy_for_a_while(around):
    """The executor of this test is kept busy; what the node said meanwhile shows in the stamps."""
    node = around.start(CommandIngest)
    beats = around.hear(Heartbeat, "heartbeat", PULSE)
    around.wait(lambda: len(beats) > 3)
    del beats[:-1]
    began = time.monotonic()
    blocked = around.node.create_timer(0.01, lambda: (blocked.cancel(), time.sleep(0.4)))
    around.wait(lambda: len(beats) > 5)
    times = [beat.stamp.sec + beat.stamp.nanosec * 1e-9 for beat in beats]
    assert max(after - before for before, after in zip(times, times[1:])) < 0.25 + around.late(began)
    assert node.stats.drops == {}


def test_a_callback_that_hangs_is_a_lost_node(around, monkeypatch):
    monkeypatch.setattr(heart, "STALL_TIMEOUT_S", 0.3)
    node = around.start(CommandIngest)
    hangs, beats = threading.Event(), []
    monkeypatch.setattr(node, "_beat", lambda: beats.append(time.monotonic()))
    words = around.speaker(String, "instruction", EVENTS)
    monkeypatch.setattr(node._echoes, "is_one", lambda *_: hangs.wait(5.0))
    around.wait(lambda: words.get_subscription_count() and beats)
    words.publish(String(data="go"))
    began = time.monotonic()
    time.sleep(1.0)
    assert beats[-1] - began < 0.5 + around.late(began)
    hangs.set()
    around.wait(lambda: beats[-1] - began > 1.0)


def test_a_node_that_is_destroyed_is_silent_and_a_shutdown_is_no_error(around, capfd):
    import rclpy
    node = around.start(CommandIngest)
    time.sleep(0.3)
    rclpy.shutdown()
    time.sleep(0.3)
    node.destroy_node()
    assert not node._heart._thread.is_alive()
    assert "a callback failed" not in capfd.readouterr().err


def test_who_joins_late_hears_what_was_said_last(around):
    node = around.start(CommandIngest)
    for number in range(12):
        node.notify_operator(f"sentence {number}")
    time.sleep(0.2)
    latched, now = around.hear(String, "feedback", FEEDBACK), around.hear(String, "feedback", EVENTS)
    around.wait(lambda: latched and latched[-1].data == "sentence 11")
    assert len(latched) == 10 and not now
