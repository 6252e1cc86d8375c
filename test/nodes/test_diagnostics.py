"""/diagnostics, in diagnostic_updater's form: "node: task", a level, a sentence, keys, values."""
import os

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from std_msgs.msg import String

from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.qos import EVENTS


@pytest.fixture
def newest(around):
    """The newest status of a task; a stale one without a name where there is none."""
    arrays = around.hear(DiagnosticArray, "/diagnostics", EVENTS)

    def of(name):
        statuses = [status for array in arrays for status in array.status if status.name == name]
        return statuses[-1] if statuses else DiagnosticStatus(level=DiagnosticStatus.STALE)
    return of


def test_a_node_has_a_status_for_its_state_and_one_for_each_rate(around, newest):
    words = around.speaker(String, "instruction", EVENTS)
    around.start(CommandIngest, diagnostics_period=0.1)
    around.wait(words.get_subscription_count)
    words.publish(String(data="go to the red block"))
    around.wait(lambda: newest("/command_ingest: instruction").name)
    rate = newest("/command_ingest: instruction")
    values = {pair.key: pair.value for pair in rate.values}
    assert values["Events since startup"] == "1" and "Actual frequency (Hz)" in values
    assert (rate.level, rate.message, rate.hardware_id) == (DiagnosticStatus.OK, "0.0 Hz", "none")
    state = newest("/command_ingest: state")
    assert (state.level, state.message) == (DiagnosticStatus.OK, "active")
    assert {"instruction", "p50 (ms)"} <= {pair.key for pair in state.values}


def test_trouble_is_a_warning_with_its_sentence(around, newest):
    node = around.start(CommandIngest, diagnostics_period=0.1)
    node.problem = "the operator mumbles"
    around.wait(lambda: newest("/command_ingest: state").message == "the operator mumbles")
    assert newest("/command_ingest: state").level == DiagnosticStatus.WARN
    node.problem = ""
    around.wait(lambda: newest("/command_ingest: state").level == DiagnosticStatus.OK)


def test_a_node_that_cannot_be_configured_is_an_error(around, newest):
    node = around.make(CameraIngest, policy="rt2")
    around.spin()
    around.wait(lambda: node._diagnostics.get_subscription_count())
    node.trigger_configure()
    around.wait(lambda: newest("/camera_ingest: state").level == DiagnosticStatus.ERROR)
    assert "unknown policy 'rt2'" in newest("/camera_ingest: state").message


def test_a_priority_that_the_system_refuses_stands_there_and_the_node_runs(around, newest, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    around.start(CommandIngest, diagnostics_period=0.1, realtime_priority=20)
    around.wait(lambda: newest("/command_ingest: state").name)
    state = newest("/command_ingest: state")
    values = {pair.key: pair.value for pair in state.values}
    assert state.message == "active"
    assert values["priority"].startswith("refused: parameter 'realtime_priority' is 20, which this system does not grant")


def test_without_a_wish_nothing_is_said_of_priorities(around, newest):
    around.start(CommandIngest, diagnostics_period=0.1)
    around.wait(lambda: newest("/command_ingest: state").name)
    assert "priority" not in {pair.key for pair in newest("/command_ingest: state").values}


def test_a_report_that_cannot_be_sent_is_no_end_of_the_process(around, monkeypatch):
    node = around.make(CommandIngest)

    def broken(message):
        raise RuntimeError("the publisher is gone")

    monkeypatch.setattr(node._diagnostics, "publish", broken)
    node._report_timer.callback()
    assert node.stats.drops["exception RuntimeError"] == 1
