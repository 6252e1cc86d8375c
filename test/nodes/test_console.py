"""The console as a node: what it hears is on its page, and what is pressed there is on the wire."""
from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import subprocess
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import rclpy

pytest.importorskip("starlette", reason="vla console needs starlette: python3 -m pip install starlette uvicorn")
pytest.importorskip("uvicorn", reason="vla console needs uvicorn: python3 -m pip install starlette uvicorn")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from robots import JPEG, robot_file
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.nodes.common.convert import image_message
from vla_ros.nodes.common.qos import EVENTS, FEEDBACK, HALTS, LATCHED, LATEST, PULSE, SENSOR
from vla_ros.nodes.common.with_times import with_times
from vla_ros.operator.console import server
from vla_ros.operator.console.actions import Who
from vla_ros.operator.console.cameras import UNWATCHED_S
from vla_ros.operator.console.node import Console
from vla_ros.safety.gate import STOP_PRESSED
from vla_ros_msgs.msg import Fault, Halt, Heartbeat, Instruction, SafetyReport

ANNE = Who("Anne", "127.0.0.1")


class Page:
    """A viewer of the console under test."""

    def __init__(self, around, **parameters):
        parameters = {"robot_file": robot_file(), "console_port": 0, **parameters}
        self.around = around
        self.node = around.start(Console, **parameters)
        self.port = int(self.node.url.rpartition(":")[2])
        self.stops = around.hear(Bool, "stop", EVENTS)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        connection.request(method, path, body, {"X-Vla-Console": "1"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def state(self):
        answer = json.loads(self.ask("GET", "/state?viewer=a&name=Anne")[1])
        return {**answer["now"], **answer["more"]}

    def press(self, action, **body):
        return json.loads(self.ask("POST", f"/do/{action}?name=Anne", json.dumps({"name": "Anne", **body}))[1])

    def serve(self, name, done=True, sentence="done"):
        """A service; how often it was called."""
        calls = []

        def answer(request, response):
            calls.append(name)
            response.success = done
            response.message = sentence
            return response

        self.around.node.create_service(Trigger, name, answer)
        return calls


@pytest.fixture
def page(around):
    return Page(around)


def report(**fields):
    channels = {"channels": ["linear.x", "angular.z"], "requested": [0.3, math.nan], "emitted": [0.2, 0.0]}
    return SafetyReport(**{"state": SafetyReport.ACTIVE, "control_source": "policy", "rule": "limits", "reason": "too fast", **channels, **fields})


def test_what_the_gate_does_is_on_the_page_and_gone_when_it_falls_silent(around, page):
    assert not page.state()["gate"]["alive"]
    speaker = around.speaker(SafetyReport, "safety_report", LATEST)

    def shown():
        speaker.publish(report())
        return page.state()["gate"]["alive"]

    around.wait(shown)
    gate = page.state()["gate"]
    assert (gate["state"], gate["rule"], gate["reason"], gate["activity"]) == ("ACTIVE", "limits", "too fast", "the policy drives")
    assert gate["channels"][0]["emitted"] == pytest.approx(0.2) and gate["channels"][1]["requested"] is None
    around.wait(lambda: not page.state()["gate"]["alive"])
    assert "channels" not in page.state()["gate"]


def test_nodes_faults_halts_and_remarks_are_on_the_page(around, page):
    beats = around.speaker(Heartbeat, "heartbeat", PULSE)
    diagnoses = around.speaker(DiagnosticArray, "/diagnostics", EVENTS)
    faults = around.speaker(Fault, "fault", EVENTS)
    halts = around.speaker(Halt, "halt", HALTS)
    remarks = around.speaker(String, "feedback", FEEDBACK)
    around.wait(lambda: faults.get_subscription_count() and remarks.get_subscription_count())
    faults.publish(Fault(kind="vision", source="camera_ingest", text="the camera is black"))
    halts.publish(Halt(halted=True, reason="vision failed three times"))
    remarks.publish(String(data="<script>alert(1)</script>"))

    def all_is_there():
        beats.publish(Heartbeat(node="inference", state="active", process="1.1.here"))
        status = DiagnosticStatus(name="/inference: state", level=b"\x01", message="slow", values=[KeyValue(key="p50 (ms)", value="4.5")])
        driver = DiagnosticStatus(name="other/recorder", values=[KeyValue(key="recording", value="yes")])
        diagnoses.publish(DiagnosticArray(status=[status, driver]))
        state = page.state()
        return state["latency"] and state["faults"] and state["halt"] and state["recorder"] and state

    state = around.wait(all_is_there)
    (node,) = [node for node in state["nodes"] if node["name"] == "inference"]
    assert (node["healthy"], node["message"]) == (False, "slow")
    assert state["latency"] == [{"stage": "inference", "p50": 4.5, "p95": None}]
    assert state["faults"][0]["text"] == "the camera is black" and state["halt"] == "vision failed three times"
    assert state["recorder"] == {"recording": "yes"}
    assert "<script>" in state["remarks"][0]["text"], "shown as text by the page"


def test_a_stop_is_on_the_wire_within_20_ms_of_the_request_whatever_else_is_asked(around, page):
    page.serve("/safety_validator/reset")
    arrived = []
    # When DDS wrote it: when this process gets round to hearing it is its own affair.
    callback = with_times(lambda message, sent, received: arrived.append((sent, message.data)))
    around.node.create_subscription(Bool, "stop", callback, EVENTS)
    around.wait(lambda: around.node.count_publishers("/stop"))
    page.press("stop")
    around.wait(lambda: arrived)
    took = []
    for _ in range(20):
        page.node.stop.release()  # or a repeat of the press before could be taken for this one
        around.wait(lambda: not arrived[-1][1])
        began, asked = time.monotonic(), time.time_ns()
        page.node.press_stop(ANNE)
        around.wait(lambda: arrived[-1][1])
        took.append((arrived[-1][0] - asked) / 1e9 - around.late(began))
    assert max(took) < 0.02, took


def test_a_terminal_that_is_paused_holds_up_no_stop_and_gets_its_line_later(around, page):
    kept = [os.dup(1), os.dup(2)]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")  # until the pipe is full
    os.set_blocking(writer, True)
    # from outside, so that a mistake here fails and does not hang
    rescue = subprocess.Popen(["sh", "-c", "sleep 6; exec cat >/dev/null"], stdin=reader)
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)
    try:
        began = time.monotonic()
        for _ in range(3):
            page.node.press_stop(ANNE)
            time.sleep(0.3)
        took = time.monotonic() - began
    finally:
        rescue.kill()
        text = os.read(reader, 1 << 20)
        while took < 4.0 and b"STOP by Anne" not in text:
            text = os.read(reader, 1 << 16)
        for descriptor, original in zip((1, 2), kept):
            os.dup2(original, descriptor)
    around.wait(lambda: len(page.stops) >= 3)
    assert took < 4.0


def test_a_stop_that_is_held_repeats_and_letting_go_comes_with_the_reset(around, page):
    calls = page.serve("/safety_validator/reset", sentence="reset; arm when ready")
    around.wait(lambda: around.node.count_publishers("/stop"))
    for _ in range(5):
        page.press("stop")
        time.sleep(0.2)
    around.wait(lambda: len(page.stops) >= 8)
    assert all(message.data for message in page.stops)
    assert page.press("reset") == {"done": True, "sentence": "reset; arm when ready"}
    around.wait(lambda: not page.stops[-1].data)
    around.wait(lambda: not page.state()["stop_pressed"])
    assert len(calls) == 1


def test_a_stop_that_another_button_pressed_is_not_let_go_by_a_reset(around, page):
    page.serve("/safety_validator/reset", done=False, sentence="refused: the stop is still pressed")
    assert page.press("reset") == {"done": False, "sentence": "refused: the stop is still pressed"}
    assert page.stops == []


def test_letting_go_of_a_stop_that_this_console_did_not_press_takes_two_presses(around, page):
    gate = around.speaker(SafetyReport, "safety_report", LATEST)

    def meaning(pressed):
        """Of a stop that is pressed, or let go, once the page has heard of it."""
        gate.publish(report(state=SafetyReport.STOPPED, rule="stop", reason=STOP_PRESSED))
        state = page.state()
        return state["gate"]["alive"] and state["stop_pressed"] == pressed and state["gate"]["meaning"]

    around.wait(lambda: meaning(pressed=True))
    first = page.press("release")
    assert not first["done"] and "did not press the stop" in first["sentence"] and page.stops == []
    assert "two presses" in page.press("release", key="made up")["sentence"] and page.stops == []
    time.sleep(0.35)
    answer = page.press("release", key=first["key"])
    assert answer["done"] and answer["sentence"] == (
        "the stop is let go. The robot stays stopped; next: RESET, then ARM twice, then say what it is to do")
    around.wait(lambda: [message.data for message in page.stops] == [False])
    assert "the stop is let go, and the robot stays stopped" in around.wait(lambda: meaning(pressed=False))


def test_letting_go_is_offered_where_a_reset_is_refused_for_the_stop(around, page):
    page.serve("/safety_validator/reset", done=False, sentence="the stop is pressed; release it first")
    gate = around.speaker(SafetyReport, "safety_report", LATEST)

    def offered():
        gate.publish(report(state=SafetyReport.STOPPED, rule="stop", reason="the supervisor stops the robot: vision"))
        state = page.state()
        return state["gate"]["alive"] and state["stop_pressed"]

    around.wait(lambda: offered() is False)
    page.press("reset")
    around.wait(offered)


def test_a_stopped_gate_is_to_be_reset_before_it_is_armed(around, page):
    gate = around.speaker(SafetyReport, "safety_report", LATEST)

    def stopped():
        gate.publish(report(state=SafetyReport.STOPPED, rule="stop", reason="the supervisor stops the robot: vision"))
        return page.state()["gate"].get("state") == "STOPPED"

    around.wait(stopped)
    answer = page.press("arm")
    assert answer == {"done": False, "sentence": "the supervisor stops the robot: vision; press RESET first"}


def test_arming_takes_two_presses_and_says_who(around, page):
    calls = page.serve("/safety_validator/arm", sentence="armed")
    first = page.press("arm")
    assert not first["done"] and first["key"] and calls == []
    assert "came as one" in page.press("arm", key=first["key"])["sentence"] and calls == []
    time.sleep(0.35)
    assert page.press("arm", key=first["key"]) == {"done": True, "sentence": "armed"}
    assert len(calls) == 1
    around.wait(lambda: page.state()["armed_by"] == "Anne (127.0.0.1)")
    assert not page.press("arm", key=first["key"])["done"] and len(calls) == 1
    around.wait(lambda: [action["what"] for action in page.state()["actions"]] == ["ARM", "ARM", "ARM"])


def test_a_gate_that_is_not_there_is_a_sentence(page):
    assert "no gate answers at /safety_validator/disarm" in page.press("disarm")["sentence"]
    assert "no recorder" not in page.press("record_start")["sentence"] and not page.press("record_start")["done"]


def test_words_go_out_and_what_came_of_them_is_shown(around, page):
    assert "nobody listens to the words" in page.press("say", text="go")["sentence"]
    words = around.hear(String, "instruction", EVENTS)
    accepted = around.speaker(Instruction, "instruction/accepted", LATCHED)
    around.wait(page.node.operator.heard)
    assert page.press("say", text="go to the red ball")["done"]
    around.wait(lambda: words)
    assert words[0].data == "go to the red ball"
    accepted.publish(Instruction(instruction_id=5, text="go to the red ball"))
    around.wait(lambda: [sentence["outcome"] for sentence in page.state()["sentences"]] == ["accepted"])
    assert page.state()["sentences"][0]["who"] == "Anne (127.0.0.1)" and page.state()["instruction"] == "go to the red ball"
    assert "characters; at most" in page.press("say", text="x" * 1001)["sentence"]
    assert len(words) == 1


@pytest.mark.parametrize("action, service", [
    ("record_start", "record/start"), ("record_failure", "record/failure"), ("give_back", "teleop/give_back"), ("blackbox_write", "blackbox/write")])
def test_buttons_of_nodes_that_are_not_always_there_appear_with_them(around, page, action, service):
    assert action not in page.state()["buttons"]
    calls = page.serve(f"/{service}")
    around.wait(lambda: action in page.state()["buttons"])
    assert page.press(action) == {"done": True, "sentence": "done"} and len(calls) == 1


def images(around, page, kind, topic, message):
    """The first JPEG of a camera's images, as pixels."""
    camera = around.speaker(kind, topic, SENSOR)
    page.state()

    def shown():
        camera.publish(message)
        return page.ask("GET", "/image/camera?viewer=a")[1]

    data = around.wait(shown)
    return data, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_an_image_is_made_small_for_the_page_and_only_while_somebody_looks(around):
    page = Page(around, image_width=64)
    assert around.node.count_subscribers("/image") == 0
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[:, :, 0] = 255
    _, shown = images(around, page, Image, "image", image_message(pixels, time.time_ns(), ""))
    assert shown.shape == (48, 64, 3)
    assert shown[24, 32, 2] > 200 and shown[24, 32, 0] < 50, "red"
    around.wait(lambda: around.node.count_subscribers("/image") == 0, UNWATCHED_S + 5.0)


def test_a_small_jpeg_goes_on_as_it_came(around):
    page = Page(around, robot_file=robot_file(cameras=JPEG))
    jpeg = bytes(cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))[1])
    message = CompressedImage(format="jpeg", data=jpeg)
    assert images(around, page, CompressedImage, "image/compressed", message)[0] == jpeg


def test_a_large_jpeg_is_made_small_for_the_page(around):
    page = Page(around, robot_file=robot_file(cameras=JPEG), image_width=64)
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[:, 160:] = 200
    message = CompressedImage(format="jpeg", data=bytes(cv2.imencode(".jpg", pixels)[1]))
    _, shown = images(around, page, CompressedImage, "image/compressed", message)
    assert shown.shape == (48, 64, 3) and shown[:, :28].max() < 40 and shown[:, 36:].min() > 160


def test_an_image_that_is_none_is_counted_and_the_page_goes_on(around, page):
    camera = around.speaker(Image, "image", SENSOR)
    page.state()

    def refused():
        camera.publish(Image(height=9, width=9, encoding="what"))
        assert page.ask("GET", "/image/camera?viewer=a")[0] == 204
        return page.node.stats.drops["bad image"]

    around.wait(refused)
    assert page.state()["tick"]


@pytest.mark.parametrize("parameters, problem", [
    ({"console_host": "0.0.0.0"}, "other machines reach: give token_file"), ({"console_host": "no.such.host.invalid"}, "give token_file"),
    ({"token_file": "/no/such/file"}, "cannot be read"), ({"robot_file": "/no/robot.yaml"}, "robot.yaml")])
def test_a_console_that_cannot_be_served_says_why(around, parameters, problem):
    node = around.make(Console, **{"console_port": 0, **parameters})
    node.trigger_configure()
    assert node.state == "unconfigured" and problem in node.problem


def test_without_its_libraries_it_says_what_to_install(around, monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    node = around.make(Console, console_port=0)
    node.trigger_configure()
    assert "python3 -m pip install starlette uvicorn" in node.problem


def test_a_port_that_is_taken_is_a_sentence(around, page):
    node = around.make(Console, console_port=page.port)
    node.trigger_configure()
    assert f"cannot listen at 127.0.0.1:{page.port}" in node.problem


@pytest.mark.parametrize("farewell, says", [("", "The console has ended."), ("The demo: it has ended.", "The demo: it has ended.")])
def test_a_page_that_looks_is_told_that_the_console_ends(around, farewell, says):
    page = Page(around, farewell=farewell)
    assert page.state()["ending"] == "" and page.state()["farewell"] == farewell
    ending = threading.Thread(target=page.node.trigger_deactivate)
    ending.start()
    around.wait(lambda: page.state()["ending"] == says)
    ending.join()
    with pytest.raises(OSError):
        page.ask("GET", "/")


def test_it_stops_serving_and_serves_again_on_the_same_port(around):
    first = Page(around)
    first.node.trigger_deactivate()
    first.node.trigger_cleanup()
    with pytest.raises(OSError):
        first.ask("GET", "/")
    again = Page(around, console_port=first.port)
    assert again.ask("GET", "/")[0] == 200


def test_it_serves_again_after_it_was_deactivated(page):
    page.node.trigger_deactivate()
    page.node.trigger_activate()
    assert page.ask("GET", "/")[0] == 200


@pytest.mark.parametrize("path, cameras", [(robot_file(), ["camera"]), ("/no/such/robot.yaml", [])], ids=["there", "gone"])
def test_without_a_robot_file_it_asks_the_gate_once_for_its_own(around, path, cameras):
    gate = rclpy.create_node("safety_validator")
    gate.declare_parameter("robot_file", path)
    around.executor.add_node(gate)
    page = Page(around, robot_file="")
    around.wait(lambda: page.node._robot_file == path, 10.0)
    around.wait(lambda: page.state()["cameras"] == cameras)
    gate.destroy_node()


def test_the_demo_has_a_page_where_it_can_be_served_and_goes_on_without(monkeypatch):
    pytest.importorskip("mujoco", reason="the demo's module needs MuJoCo")
    from vla_ros.demo.run import console_page

    commands = {}
    wanted = SimpleNamespace(no_console=False, stay=False)
    assert console_page(SimpleNamespace(no_console=True), "sim.yaml", commands) == "" and not commands
    said = console_page(wanted, "sim.yaml", commands)
    assert said.startswith("a page to drive from: http://127.0.0.1:") and said.endswith("--stay keeps both)")
    assert console_page(SimpleNamespace(no_console=False, stay=True), "sim.yaml", {})[-4:].isdigit()
    command = commands.pop("console")
    assert "vla_ros.operator.console.node" in command
    assert any("The demo has ended" in word and "vla demo --stay" in word for word in command)
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    assert "python3 -m pip install starlette uvicorn" in console_page(wanted, "sim.yaml", commands) and not commands
