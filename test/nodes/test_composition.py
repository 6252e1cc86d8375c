"""Nodes of one process: messages go from one to the other in memory, and whoever listens outside hears them too."""
from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.common import heart
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.composition import RESUMING_TIME_S, Composition
from vla_ros.nodes.common.convert import image_message, rgb_image
from vla_ros.nodes.common.qos import EVENTS, FEEDBACK, IMAGES, PULSE, SENSOR
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros_msgs.msg import ActionChunk, Fault, Heartbeat, Instruction, Observation


class Talker(ManagedNode):
    qos = EVENTS

    def __init__(self, **options):
        super().__init__("camera_ingest", **options)

    def configure(self):
        self.out = self.add_publisher(String, "talk", self.qos)

    def say(self, *words):
        for word in words:
            self.out.publish(String(data=word))


class Listener(ManagedNode):
    qos = EVENTS

    def __init__(self, **options):
        super().__init__("inference", **options)
        self.heard = []

    def configure(self):
        self.add_subscription(String, "talk", lambda message: self.heard.append(message.data), self.qos)


@pytest.fixture
def composed(around):
    """Makes nodes of one process, active; the executor does not turn yet."""
    composition = Composition()

    def make(node_class, **parameters):
        node = around.make(partial(node_class, composition=composition), **parameters)
        node.trigger_configure()
        assert node.state == "inactive", node.problem
        node.trigger_activate()
        return node
    return make


def by_dds(talker):
    """What goes out by DDS, noted on its way."""
    sent, publisher = [], talker.out.publisher
    publish, publisher.publish = publisher.publish, lambda message: (sent.append(message.data), publish(message))
    return sent


@pytest.mark.parametrize("depth, kept", [(1, ["e"]), (3, ["c", "d", "e"]), (10, ["a", "b", "c", "d", "e"]), (0, ["a", "b", "c", "d", "e"])])
def test_as_many_wait_as_the_subscription_keeps_and_they_come_in_order(around, composed, monkeypatch, depth, kept):
    history = HistoryPolicy.KEEP_LAST if depth else HistoryPolicy.KEEP_ALL
    monkeypatch.setattr(Listener, "qos", QoSProfile(depth=depth, history=history))
    talker, listener = composed(Talker), composed(Listener)
    talker.say("a", "b", "c", "d", "e")
    assert listener.heard == []  # by the executor, whoever publishes
    around.spin()
    around.wait(lambda: listener.heard == kept)
    talker.say("f")
    around.wait(lambda: listener.heard == [*kept, "f"])


def test_the_order_of_starting_does_not_matter_and_nothing_is_serialised(around, composed):
    listener, talker = composed(Listener), composed(Talker)
    sent = by_dds(talker)
    around.spin()
    for count in range(20):
        talker.say(str(count))
        time.sleep(0.002)
    around.wait(lambda: listener.heard == [str(count) for count in range(20)])
    assert sent == []


def test_what_a_callback_publishes_is_delivered_when_it_has_returned_in_the_same_turn(around, composed):
    talker, listener = composed(Talker), composed(Listener)
    order = []

    def answer(message):
        talker.say(message.data)
        order.append("returned")
    talker.add_subscription(String, "ask", answer, EVENTS)
    listener.add_subscription(String, "talk", lambda message: order.append(threading.current_thread()), EVENTS)
    ask = around.speaker(String, "ask", EVENTS)
    around.spin()
    around.wait(lambda: ask.get_subscription_count())
    ask.publish(String(data="yes"))
    around.wait(lambda: len(order) == 2 and listener.heard == ["yes"])
    assert order == ["returned", around._thread]


def test_a_subscription_that_is_not_active_hears_nothing_and_what_waited_is_not_kept_for_later(around, composed):
    talker, listener = composed(Talker), composed(Listener)
    listener.trigger_deactivate()
    around.spin()
    talker.say("a")
    time.sleep(0.2)
    listener.trigger_activate()
    talker.say("b")
    around.wait(lambda: listener.heard == ["b"])


def test_a_subscriber_comes_and_goes(around, composed):
    talker, listener = composed(Talker), composed(Listener)
    sent = by_dds(talker)
    around.spin()
    for _ in range(3):
        del listener.heard[:]
        talker.say("here")
        around.wait(lambda: listener.heard == ["here"])
        listener.trigger_deactivate()
        listener.trigger_cleanup()
        del sent[:]
        talker.say("gone")
        assert sent == ["gone"]  # as any publisher: who listens to it is DDS' business
        listener.trigger_configure()
        listener.trigger_activate()
    assert listener.heard == ["here"]


def test_another_process_is_heard_as_long_as_no_node_of_this_one_publishes_there(around, composed):
    listener, outside = composed(Listener), around.speaker(String, "talk", EVENTS)
    around.spin()
    for _ in range(2):
        del listener.heard[:]
        around.wait(lambda: outside.get_subscription_count() == 1)
        outside.publish(String(data="from outside"))
        around.wait(lambda: listener.heard == ["from outside"])
        talker = composed(Talker)
        around.wait(lambda: outside.get_subscription_count() == 0)
        outside.publish(String(data="from outside"))
        talker.say("from inside")
        around.wait(lambda: len(listener.heard) == 2)
        time.sleep(0.2)
        assert listener.heard == ["from outside", "from inside"]
        talker.trigger_deactivate()
        talker.trigger_cleanup()


def test_who_listens_outside_hears_it_too_and_each_hears_it_once(around, composed):
    talker, listener = composed(Talker), composed(Listener)
    sent, outside = by_dds(talker), around.hear(String, "talk", EVENTS)
    around.spin()
    around.wait(lambda: talker.out.publisher.get_subscription_count() == 1)
    talker.say("a", "b")
    around.wait(lambda: len(outside) == 2 and len(listener.heard) == 2)
    time.sleep(0.2)
    assert [message.data for message in outside] == listener.heard == sent == ["a", "b"]


def test_two_subscriptions_of_one_process_hear_the_same_object(around, composed):
    talker, listener = composed(Talker), composed(Listener)
    objects = []
    for _ in range(2):
        listener.add_subscription(String, "talk", objects.append, EVENTS)
    around.spin()
    message = String(data="a")
    talker.out.publish(message)
    around.wait(lambda: len(objects) == 2)
    assert all(found is message for found in objects)


def test_topics_are_told_apart(around, composed):
    talker, listener = composed(Talker), composed(Listener)
    others = []
    listener.add_subscription(String, "other", others.append, EVENTS)
    around.spin()
    talker.say("a")
    around.wait(lambda: listener.heard == ["a"])
    assert others == []


def test_what_is_kept_for_late_joiners_goes_by_dds(around, composed, monkeypatch):
    monkeypatch.setattr(Talker, "qos", FEEDBACK)
    monkeypatch.setattr(Listener, "qos", QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    talker = composed(Talker)
    talker.say("before")
    listener = composed(Listener)
    around.spin()
    around.wait(lambda: listener.heard == ["before"])


def test_a_callback_that_raises_keeps_nothing_from_the_others(around, composed):
    talker, listener = composed(Talker), composed(Listener)
    listener.heard = None
    second = composed(Listener)
    around.spin()
    talker.say("a", "b")
    around.wait(lambda: second.heard == ["a", "b"])
    assert listener.stats.drops == {"exception AttributeError": 2}


def test_a_frame_that_was_handed_over_never_changes(around, composed):
    camera, listener = composed(CameraIngest, policy="constant"), composed(Listener)
    frames = []
    listener.add_subscription(Image, "frame", lambda message: frames.append((message, bytes(message.data))), IMAGES)
    driver = around.speaker(Image, "image", SENSOR)
    around.spin()
    around.wait(lambda: driver.get_subscription_count())
    rng = np.random.default_rng(1)
    for count in range(5):
        driver.publish(image_message(rng.integers(0, 255, (48, 64, 3), np.uint8), time.time_ns(), "eye"))
        around.wait(lambda count=count: len(frames) == count + 1)
    assert all(bytes(message.data) == before for message, before in frames)
    assert len({before for _, before in frames}) == 5
    camera.trigger_deactivate()
    driver.publish(image_message(np.full((48, 64, 3), 99, np.uint8), time.time_ns(), "eye"))
    time.sleep(0.3)
    assert len(frames) == 5  # a camera that is not active says nothing, here neither


def test_an_image_becomes_an_action_chunk_and_only_that_is_serialised(around, composed):
    camera, synchronizer = composed(CameraIngest, policy="constant"), composed(Synchronizer)
    inference = composed(Inference, policy="constant", robot_file="config/robots/sim.yaml")
    published = []
    for outlet in (camera._frame, synchronizer._observation):
        outlet.publisher.publish = lambda message: published.append(message)
    chunks = around.hear(ActionChunk, "action_chunk", EVENTS)
    driver = around.speaker(Image, "image", SENSOR)
    words = around.speaker(Instruction, "instruction/accepted", FEEDBACK)
    around.spin()
    around.wait(lambda: driver.get_subscription_count() and inference._chunks.publisher.get_subscription_count())
    stamp = time.time_ns()
    spoken = Instruction(instruction_id=7, text="go")
    spoken.header.stamp.sec, spoken.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    words.publish(spoken)
    around.wait(lambda: synchronizer._pairing.instructed(time.time_ns()))
    message = image_message(np.full((48, 64, 3), 9, np.uint8), time.time_ns(), "eye")
    driver.publish(message)
    around.wait(lambda: chunks)
    assert chunks[-1].header.stamp == message.header.stamp and chunks[-1].instruction_id == 7
    assert published == []
    assert camera.stats.rates["frame"].total == inference.stats.rates["observation"].total == 1
    observations = around.hear(Observation, "observation", IMAGES)  # the recorder comes
    del synchronizer._observation.publisher.publish
    around.wait(synchronizer._observation.publisher.get_subscription_count)
    driver.publish(image_message(np.full((48, 64, 3), 200, np.uint8), time.time_ns(), "eye"))
    around.wait(lambda: observations and len(chunks) == 2)
    assert rgb_image(observations[-1].images[0]).max() == 200


class Slow(Listener):
    def configure(self):
        super().configure()
        with self.announcing():
            time.sleep(heart.STALL_TIMEOUT_S + 0.8)


def test_while_one_node_configures_the_others_are_not_taken_for_lost(around, composed):
    talker = composed(Talker)
    slow = around.make(partial(Slow, composition=talker._composition))
    beats = around.hear(Heartbeat, "heartbeat", PULSE)
    faults = around.hear(Fault, "fault", EVENTS)
    around.spin()
    around.wait(lambda: len({beat.node for beat in beats}) == 2)
    del beats[:]
    began = time.monotonic()
    around.executor.create_task(slow.trigger_configure)
    around.wait(lambda: slow.state == "inactive")
    talker.report_fault("vision", "no image for a while")  # nobody could have heard one
    time.sleep(0.2)
    times = [beat.stamp.sec + beat.stamp.nanosec * 1e-9 for beat in beats if beat.node == "camera_ingest"]
    assert max(after - before for before, after in zip(times, times[1:])) < 0.3 + around.late(began)
    assert faults == []
    time.sleep(RESUMING_TIME_S)
    talker.report_fault("vision", "no image for a while")
    around.wait(lambda: faults)


def test_a_node_alone_in_its_process_speaks_by_dds_and_nothing_else(around):
    talker = around.start(Talker)
    assert not hasattr(talker.out, "publisher")
