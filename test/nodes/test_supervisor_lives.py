"""supervisor: the processes behind the nodes: one that died, one that hangs, one that is started again too often."""
import os
import signal
import subprocess
import sys
import time
from unittest.mock import Mock

import pytest
from rclpy.task import Future

from vla_ros.core import process_identity
from vla_ros.nodes.common.qos import LATCHED, PULSE
from vla_ros.nodes.supervisor import Supervisor
from vla_ros_msgs.msg import Halt, Heartbeat

SHORT = {f"{kind}_recovery": 1.0 for kind in ("vision", "language", "action", "communication")}


class Heart:
    """Beats for a node that is not there, and whose services no other test has."""

    def __init__(self, around, name="camera_left", **parameters):
        self.around, self.name, self.life, self.state = around, name, "1.1.here", "active"
        self.beats = around.speaker(Heartbeat, "heartbeat", PULSE)
        self.halts = around.hear(Halt, "halt", LATCHED)
        self.watcher = around.start(Supervisor, **{"nodes": [name], **SHORT, **parameters})
        around.wait(lambda: self.beats.get_subscription_count())
        self.node = self.watcher._managed[name]

    def beat(self, seconds=0.3):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.beats.publish(Heartbeat(node=self.name, state=self.state, process=self.life))
            time.sleep(0.05)


@pytest.fixture
def child(tmp_path):
    """A process that looks like the camera's node."""
    script = tmp_path / "lib" / "vla_ros" / "camera_ingest"
    script.parent.mkdir(parents=True)
    script.write_text("import time; print('up', flush=True); time.sleep(60)")
    command = [sys.executable, str(script), "--ros-args", "-r", "__node:=camera_left"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    process.life = f"{process.pid}.{process_identity._stat(process.pid)[1]:x}.{process_identity.host()}"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def be_away(around, seconds):
    """The supervisor: its executor runs nothing."""
    blocked = around.node.create_timer(0.01, lambda: (blocked.cancel(), time.sleep(seconds)))
    time.sleep(seconds - 0.1)


HANGS = {"heartbeat_timeout": 0.3, "hung_after": 1.0, "transition_timeout": 2.0}


@pytest.mark.skipif(not process_identity.host(), reason="/proc is needed to know of processes")
class TestHung:
    def test_a_process_that_lives_and_is_silent_is_ended_and_the_operator_hears_it(self, around, child):
        heart = Heart(around, **HANGS)
        heart.life = child.life
        heart.beat()
        around.wait(lambda: around.said("camera_left was lost, silent for 0."), 1.0)
        assert around.said("its process lives, but hangs")
        assert child.poll() is None
        assert child.wait(2.0) == -9
        around.wait(lambda: around.said("it was ended (SIGKILL), to be started again"))

    def test_a_dead_one_is_told_apart(self, around, child):
        heart = Heart(around, **HANGS)
        heart.life = child.life
        heart.beat()
        child.kill()
        child.wait()
        around.wait(lambda: around.said("its process has ended"), 2.0)
        time.sleep(1.2)
        assert not around.said("SIGKILL")

    @pytest.mark.parametrize("changes, stage", [({"hung_after": 0.0}, "active"), ({}, "unconfigured")])
    def test_it_is_not_ended_where_that_is_off_or_while_someone_may_be_configuring_it(self, around, child, changes, stage):
        heart = Heart(around, **{**HANGS, **changes})
        heart.life, heart.state = child.life, stage
        heart.beat()
        time.sleep(1.5)
        assert child.poll() is None and heart.node.state == "lost"

    def test_silent_in_configure_for_longer_than_a_transition_may_take_it_is_ended(self, around, child):
        heart = Heart(around, **HANGS)
        heart.life, heart.state = child.life, "unconfigured"
        heart.beat()
        assert child.wait(4.0) == -9

    def test_a_process_of_several_nodes_is_ended_once_and_all_are_named(self, around, tmp_path):
        script = tmp_path / "lib" / "vla_ros" / "composed"
        script.parent.mkdir(parents=True)
        script.write_text("import time; print('up', flush=True); time.sleep(60)")
        with subprocess.Popen([sys.executable, str(script), "--ros-args"], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline()
            heart = Heart(around, "camera_ingest", nodes=["camera_ingest", "inference"], **HANGS)
            heart.life = f"{process.pid}.{process_identity._stat(process.pid)[1]:x}.{process_identity.host()}"
            for heart.name in ("camera_ingest", "inference") * 3:
                heart.beat(0.06)
            assert process.wait(5.0) == -9
        time.sleep(0.5)
        ends = [message.data for message in around.feedback if "hangs:" in message.data]
        assert len(ends) == 1 and "and inference with it; it was ended (SIGKILL)" in ends[0]

    def test_one_that_speaks_but_never_hears_is_ended(self, around, child):
        heart = Heart(around, retry_period=0.1)
        heart.node.client = Mock(service_is_ready=lambda: True, call_async=lambda _: Future())
        heart.life, heart.state = child.life, "unconfigured"
        heart.beat(2.3)
        assert child.poll() is None  # two requests
        heart.beat(2.5)
        assert child.poll() == -9 and around.said("camera_left speaks, but did not hear 3 requests; it was ended")

    def test_nobody_is_ended_because_the_supervisor_itself_was_away(self, around, child):
        heart = Heart(around, **HANGS)
        heart.life = child.life
        heart.beat()
        be_away(around, 2.5)
        heart.beat(0.5)
        assert child.poll() is None and heart.node.state == "active"
        assert not around.said("was lost")


    @pytest.mark.parametrize("looked_after", [True, False])
    def test_where_it_hears_nothing_after_that_it_starts_again_itself_where_somebody_does_that(
            self, around, child, monkeypatch, looked_after):
        ends = []
        monkeypatch.setattr("vla_ros.nodes.supervisor.os.kill", lambda *signal: ends.append(signal))
        monkeypatch.delenv(process_identity.PARENT, raising=False)
        if looked_after:
            monkeypatch.setenv(process_identity.PARENT, process_identity.own())
        heart = Heart(around, **HANGS)
        heart.life = child.life
        heart.beat()
        be_away(around, 1.5)
        around.wait(lambda: around.said("camera_left was lost"), 2.0)
        around.wait(lambda: ends or child.poll() is not None, 3.0)
        assert ends == ([(os.getpid(), signal.SIGTERM)] if looked_after else [])
        assert child.poll() == (None if looked_after else -9)
        assert around.said("it may be the supervisor that does not hear: it starts again") == looked_after
        time.sleep(0.3)
        assert len(ends) == looked_after  # once

    @pytest.mark.parametrize("stopped", [True, False])
    def test_one_that_was_heard_after_that_or_is_stopped_is_ended(self, around, child, monkeypatch, stopped):
        monkeypatch.setenv(process_identity.PARENT, process_identity.own())
        heart = Heart(around, **HANGS)
        # A machine that stalls once more would have it end this process, the tests'.
        monkeypatch.setattr(heart.watcher, "_start_again", lambda node: None)
        heart.life = child.life
        heart.beat()
        be_away(around, 1.5)
        if stopped:
            child.send_signal(signal.SIGSTOP)
        else:
            heart.beat()
        assert child.wait(4.0) == -9


def test_a_node_of_another_machine_is_only_lost(around):
    heart = Heart(around, **HANGS)
    heart.beat()
    around.wait(lambda: heart.node.state == "lost", 2.0)
    time.sleep(1.0)
    assert not around.said("SIGKILL") and not around.said("process")


def test_a_node_that_is_started_again_too_often_is_left_down_and_halts_the_robot(around):
    heart = Heart(around, respawns_a_minute=3)
    heart.beat(0.2)
    asked = []
    heart.node.client = type("Client", (), {"service_is_ready": lambda self: bool(asked.append(1))})()
    heart.state = "unconfigured"
    for count in range(1, 5):
        heart.life = f"{100 + count}.1.here"
        heart.beat(0.12)
        assert heart.node.given_up == (count == 4)
    sentence = "camera_left was started again 4 times within a minute; it is left down"
    around.wait(lambda: heart.halts[-1].reason == f"vision fault: {sentence}")
    assert around.said(sentence)
    heart.beat(0.2)
    del asked[:]
    heart.beat(1.5)
    assert not asked and heart.halts[-1].reason  # nobody brings it up, and the halt lasts
    heart.state = "active"  # a person did
    heart.beat(1.5)
    assert heart.halts[-1].reason == "" and not heart.node.given_up


def test_a_process_is_asked_for_one_transition_at_a_time_and_not_while_it_builds(around):
    heart = Heart(around, "camera_ingest", nodes=["camera_ingest", "inference"], retry_period=0.1)
    asked = []
    for name, node in heart.watcher._managed.items():
        node.client = Mock(service_is_ready=lambda: True, call_async=lambda _, name=name: asked.append(name) or Future())
    for heart.name, heart.state in (("inference", "building"), ("camera_ingest", "unconfigured")) * 15:
        heart.beat(0.06)
    assert asked == []  # its one executor is busy: it would not hear, and not be deaf for that
    for heart.name, heart.state in (("inference", "unconfigured"), ("camera_ingest", "unconfigured")) * 4:
        heart.beat(0.06)
    assert asked == ["camera_ingest"]


def test_a_process_that_is_back_before_it_was_missed_is_a_fault_too(around):
    heart = Heart(around)
    heart.beat()
    heart.life = "2.2.here"
    heart.beat(0.2)
    around.wait(lambda: around.said("vision fault: camera_left's process ended and was started again. Step 1 of 3"))


def test_two_processes_under_one_name_halt_the_robot(around):
    heart = Heart(around, respawns_a_minute=3)
    for count in range(8):
        heart.life = f"{count % 2}.1.here"
        heart.beat(0.04)
    around.wait(lambda: "was started again 4 times within a minute" in heart.halts[-1].reason)
