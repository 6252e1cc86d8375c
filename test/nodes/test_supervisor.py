"""supervisor: brings nodes up in order, says who was lost, and never arms."""
import re
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.task import Future
from robots import TWO, robot_file

from vla_ros.core import faults
from vla_ros.nodes import supervisor
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.qos import EVENTS, PULSE
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.supervision import recovery
from vla_ros.nodes.supervisor import Supervisor
from vla_ros_msgs.msg import Heartbeat, SafetyReport

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")


def test_it_brings_nodes_up_in_order_and_says_when_all_are_ready(around):
    words, policy = around.make(CommandIngest), around.make(Inference, policy="constant", robot_file=SIM)
    order = []
    for node in (words, policy):
        node.activate = lambda node=node, activate=node.activate: (order.append(node.get_name()), activate())
    around.start(Supervisor, nodes=["command_ingest", "inference"])
    around.wait(lambda: words.active and policy.active, 10.0)
    assert order == ["command_ingest", "inference"]
    around.wait(lambda: around.said("ready: all nodes are active"))


def test_it_looks_after_the_node_of_each_camera_that_the_robot_file_names(around):
    everyone = around.start(Supervisor, robot_file=robot_file(cameras=TWO))
    cameras = [node for node in everyone._managed.values() if node.kind == "vision"]
    assert [node.name for node in cameras] == ["camera_ingest_front", "camera_ingest_wrist"]
    assert len(everyone._managed) == 6
    one = around.make(Supervisor, robot_file=robot_file(cameras=TWO), cameras=["ear"])
    one.trigger_configure()
    assert "parameter 'cameras' holds 'ear'; robot 'sim' has front, wrist" in one.problem


def test_a_node_that_cannot_be_configured_is_told_of_and_tried_again(around):
    policy = around.make(Inference, policy="constant", robot_file="/nowhere.yaml")
    around.start(Supervisor, nodes=["inference"], retry_period=0.2)
    around.wait(lambda: around.said("inference: configure was refused"))
    around.wait(lambda: around.said("'/nowhere.yaml' does not exist"))
    policy.set_parameters([Parameter("robot_file", value=SIM)])
    around.wait(lambda: policy.active, 10.0)


def test_a_node_that_falls_silent_is_lost_and_one_that_returns_is_walked_back(around):
    words = around.make(CommandIngest)
    watcher = around.start(Supervisor, nodes=["command_ingest"])
    around.wait(lambda: around.said("ready"), 10.0)
    turn, words._turn_timer.callback = words._turn_timer.callback, lambda: None  # as where a callback hangs
    around.wait(lambda: around.said("language fault: command_ingest was lost"))
    assert watcher.diagnose()["command_ingest"] == "lost"
    words.trigger_deactivate()
    words._life = "another process"
    words._turn_timer.callback = turn
    around.wait(lambda: words.active, 10.0)


def test_a_node_that_a_person_took_down_is_left_there_until_it_is_activated(around):
    words = around.make(CommandIngest)
    around.start(Supervisor, nodes=["command_ingest"])
    around.wait(lambda: around.said("ready"), 10.0)
    time.sleep(0.5)
    words.trigger_deactivate()
    words.trigger_cleanup()
    around.wait(lambda: around.said("was taken to unconfigured by hand"))
    time.sleep(0.5)
    assert words.state == "unconfigured"
    words.trigger_configure()
    words.trigger_activate()
    around.wait(lambda: around.said("ready again: command_ingest came back; "))


class Suite:
    """The hearts of a gate and of two nodes whose faults are of no kind, and the gate's reports."""

    def __init__(self, around):
        self.around, self.stages = around, dict.fromkeys(("safety_validator", "left", "right"), "active")
        self.state = SafetyReport.DISARMED
        self.beats = around.speaker(Heartbeat, "heartbeat", PULSE)
        self.reports = around.speaker(SafetyReport, "safety_report", EVENTS)
        self.watcher = around.start(Supervisor, nodes=list(self.stages), hung_after=0.0)
        around.wait(lambda: self.beats.get_subscription_count() and self.reports.get_subscription_count())

    def live(self, seconds, until=lambda: False):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            for name, stage in self.stages.items():
                if stage:
                    self.beats.publish(Heartbeat(node=name, state=stage, process="1.1.here"))
            if self.state is not None:
                self.reports.publish(SafetyReport(state=self.state))
            time.sleep(0.02)

    def lose(self, *names):
        self.stages.update(dict.fromkeys(names, ""))
        self.live(10.0, lambda: all(self.watcher._managed[name].state == "lost" for name in names))

    def ready(self, count):
        """What it said, once that is `count` sentences."""
        def said():
            return [message.data for message in self.around.feedback if message.data.startswith("ready")]
        self.live(10.0, lambda: len(said()) >= count)
        self.live(0.2)
        return said()


FIRST = "ready: all nodes are active; arm the gate, then give an instruction"


@pytest.mark.parametrize("state, says", [
    (SafetyReport.DISARMED, "arm the gate, then give an instruction"),
    (SafetyReport.HOLDING, "the gate is armed and HOLDING; give the instruction again"),
    (SafetyReport.ACTIVE, "the gate is ACTIVE, the robot may move"),
    (SafetyReport.STOPPED, "the gate is STOPPED; reset it, arm it, then give an instruction"),
    (None, "arm the gate where it is disarmed, then give an instruction"),
])
def test_what_it_says_of_the_gate_when_nodes_came_back_is_true(around, state, says):
    suite = Suite(around)
    assert suite.ready(1) == [FIRST]
    suite.state = SafetyReport.ACTIVE
    suite.lose("left", "right")
    suite.stages["left"] = "active"
    suite.state = state
    suite.live(0.3)
    assert suite.ready(1) == [FIRST]
    suite.stages["right"] = "active"
    (sentence,) = suite.ready(2)[1:]
    assert sentence.startswith("ready again: ") and sentence.endswith(f"left, right came back; {says}")


def test_a_report_from_before_the_gate_was_lost_is_not_believed(around):
    suite = Suite(around)
    assert suite.ready(1) == [FIRST]
    suite.state = SafetyReport.ACTIVE
    suite.live(0.2)
    suite.state = None
    suite.lose("safety_validator")
    around.wait(lambda: around.said("; the driver's own time-out stops the robot"))  # nobody is left who holds it
    suite.stages["safety_validator"] = "active"
    suite.live(0.3)
    suite.state = SafetyReport.DISARMED
    (sentence,) = suite.ready(2)[1:]
    assert "safety_validator" in sentence and sentence.endswith(" came back; arm the gate, then give an instruction")


def test_a_bad_heartbeat_is_counted_and_no_sign_of_life(around):
    suite = Suite(around)
    assert suite.ready(1) == [FIRST]
    suite.stages["left"] = "walking"
    suite.live(10.0, lambda: suite.watcher._managed["left"].state == "lost")
    assert suite.watcher._managed["left"].state == "lost"
    assert suite.watcher.stats.drops["bad heartbeat"]


def test_a_node_that_was_never_started_is_told_of_and_does_not_block_the_others(around, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_HEARTBEAT_TIMEOUT_NS", 500_000_000)
    words = around.make(CommandIngest)
    around.start(Supervisor, nodes=["synchronizer", "command_ingest"])
    around.wait(lambda: around.said("synchronizer has not been heard from; is its process started?"))
    around.wait(lambda: words.active, 10.0)


def test_a_process_that_ends_during_a_transition_is_tried_again_with_a_sentence(around):
    watcher = around.start(Supervisor, nodes=["inference"], retry_period=0.2)
    beats = around.speaker(Heartbeat, "heartbeat", EVENTS)
    watcher._managed["inference"].client = Mock(service_is_ready=lambda: True, call_async=lambda _: Future())
    around.wait(lambda: beats.get_subscription_count())

    def beat(life):
        beats.publish(Heartbeat(node="inference", state="unconfigured", process=str(life)))
        return watcher._managed["inference"].asked
    around.wait(lambda: beat(1))
    beat(2)
    around.wait(lambda: around.said("inference: configure ended with the process"))
    assert watcher._managed["inference"].failures == 1


@pytest.mark.parametrize(("stage", "failures"), [("building", 0), ("configuring", 1), ("unconfigured", 1)])
def test_a_node_that_builds_an_engine_is_waited_for_and_no_other(around, stage, failures):
    watcher = around.start(Supervisor, nodes=["inference"], transition_timeout=0.6, retry_period=60.0)
    beats = around.speaker(Heartbeat, "heartbeat", EVENTS)
    node = watcher._managed["inference"]
    node.client = Mock(service_is_ready=lambda: True, call_async=lambda _: Future())
    around.wait(lambda: beats.get_subscription_count())

    def beat(stage):
        beats.publish(Heartbeat(node="inference", state=stage, process="1"))
        time.sleep(0.05)
        return node.asked
    around.wait(lambda: beat("unconfigured"))
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        beat(stage)
    assert node.failures == failures and bool(node.asked) == (failures == 0)


def test_a_transition_that_does_not_fit_is_refused_and_the_node_lives(around):
    words = around.start(CommandIngest)
    client = around.node.create_client(ChangeState, "command_ingest/change_state")
    assert client.wait_for_service(5.0)
    future = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE)))
    around.wait(future.done)
    assert not future.result().success
    assert words.active


def test_it_has_no_way_to_arm(around):
    """Not even a client of the gate's services, nor of any parameter: only these."""
    watcher = around.start(Supervisor)
    called = {client.srv_name.split("/", 2)[-1] for client in watcher.clients}
    assert called == {"change_state", "reset_policy", "switch_to_fallback"}
    for module in (supervisor, recovery, faults):
        source = Path(module.__file__).read_text()
        assert not re.search(r"/(dis)?arm|/reset\b|set_parameters|\"(dis)?arm", source)
