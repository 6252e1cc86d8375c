"""The action run_policy of command_ingest, by rclpy's own client: a goal gives an instruction, never arms, and ends."""
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from action_msgs.msg import GoalStatus
from gate_robot import Robot
from rclpy.action import ActionClient, ActionServer
from rclpy.action.server import RCLError
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String

from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.nodes import command_ingest
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.convert import chunk_message, duration_message
from vla_ros.nodes.common.qos import EVENTS, LATCHED, LATEST, WORDS_LOOSE
from vla_ros_msgs.action import RunPolicy
from vla_ros_msgs.msg import ActionChunk, Instruction, SafetyReport

PAGE = (Path(__file__).parents[2] / "doc" / "howto" / "run_policy.md").read_text(encoding="utf-8")
SUCCEEDED, ABORTED, CANCELED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_ABORTED, GoalStatus.STATUS_CANCELED
LOOSE = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


class Goal:
    """One goal: its feedback, and its result as soon as it is there."""

    def __init__(self, around, client, request):
        self.feedback, self._around = [], around
        asked = client.send_goal_async(request, lambda message: self.feedback.append(message.feedback))
        around.wait(asked.done)
        self.handle = asked.result()
        assert self.handle.accepted
        self._result = self.handle.get_result_async()

    @property
    def over(self):
        return self._result.done()

    def ends(self, seconds=5.0):
        """Status, outcome and sentence."""
        self._around.wait(self._result.done, seconds)
        answer = self._result.result()
        self.rows = answer.result.rows_executed
        return answer.status, answer.result.outcome, answer.result.why


class World:
    """A caller, an operator, and a gate that says what it is told to, fifty times a second."""

    def __init__(self, around, gate=True):
        self.around = around
        self.client = ActionClient(around.node, RunPolicy, "run_policy")
        around.at_end.append(self.client.destroy)  # rclpy leaves it to whoever made it
        self.accepted = around.hear(Instruction, "instruction/accepted", LATCHED)
        self.words = around.speaker(String, "instruction", EVENTS)
        self.state, self.verdict, self.reason = SafetyReport.HOLDING, SafetyReport.HELD, "no action yet"
        self.alive, self.sequence, self.age = True, 0, 0
        self.control_source = "policy"
        if gate:
            self.reports = around.speaker(SafetyReport, "safety_report", EVENTS)
            around.node.create_timer(0.02, self.report)

    def report(self):
        if self.alive:
            number = self.accepted[-1].instruction_id if self.accepted else 0
            self.reports.publish(SafetyReport(
                state=self.state, verdict=self.verdict, reason=self.reason, instruction_id=number,
                sequence=self.sequence, age=duration_message(self.age), control_source=self.control_source))

    def send(self, prompt="go", limit=60.0, topic=""):
        assert self.client.wait_for_server(5.0)
        return Goal(self.around, self.client, RunPolicy.Goal(
            prompt=prompt, time_limit=duration_message(round(limit * 1e9)), success_topic=topic))

    def given(self, text="go"):
        """The instruction that the goal gave."""
        return self.around.wait(lambda: self.accepted and self.accepted[-1].text == text and self.accepted[-1])

    @property
    def texts(self):
        return [instruction.text for instruction in self.accepted]


@pytest.fixture
def world(around):
    around.start(CommandIngest)
    made = World(around)
    around.wait(lambda: made.accepted and made.words.get_subscription_count() and made.reports.get_subscription_count())
    return made


def test_a_goal_gives_its_instruction_and_tells_what_the_gate_does(world):
    goal = world.send("  go to the   door ")
    assert world.given("go to the door")
    world.around.wait(lambda: goal.feedback)
    assert (goal.feedback[-1].state, goal.feedback[-1].reason) == (SafetyReport.HOLDING, "no action yet")
    assert goal.handle.status == GoalStatus.STATUS_EXECUTING
    world.state, world.verdict, world.reason, world.sequence = SafetyReport.ACTIVE, SafetyReport.PASSED, "", 1
    world.around.wait(lambda: goal.feedback[-1].state == SafetyReport.ACTIVE and goal.feedback[-1].rows_executed == 1)
    assert not goal.over and world.around.said("accepted: go to the door")


def test_the_success_topic_ends_it_as_done_and_its_instruction_is_taken_back(world):
    done = world.around.speaker(Bool, "/at_the_door", EVENTS)
    goal = world.send(topic="/at_the_door", limit=0.0)
    world.given()
    world.around.wait(done.get_subscription_count)
    done.publish(Bool(data=False))
    time.sleep(0.3)
    assert not goal.over
    done.publish(Bool(data=True))
    assert goal.ends() == (SUCCEEDED, "done", "/at_the_door said true")
    world.given("")
    assert world.texts == ["", "go", ""]
    world.around.wait(lambda: not done.get_subscription_count())  # nothing is left behind


def test_a_success_topic_that_cannot_be_heard_refuses_the_goal_and_the_next_one_runs(world):
    goal = world.send(topic="safety_report", limit=0.0)  # which the process knows with another type
    status, outcome, why = goal.ends()
    assert (status, outcome) == (ABORTED, "refused")
    assert why.startswith("success_topic 'safety_report' cannot be heard as a std_msgs/Bool: ")
    again = world.send("go left")
    assert world.given("go left") and not again.over and world.texts == ["", "go left"]


def test_of_a_success_topic_that_is_heard_only_reliably_nothing_stays(world, monkeypatch):
    node = world.around.under_test[0]
    subscribe = node.create_subscription

    def refuse_loose(kind, topic, callback, qos, **options):
        if qos is WORDS_LOOSE:
            raise RuntimeError("no more of them")
        return subscribe(kind, topic, callback, qos, **options)

    done = world.around.speaker(Bool, "/at_the_door", EVENTS)
    monkeypatch.setattr(node, "create_subscription", refuse_loose)
    assert world.send(topic="/at_the_door").ends() == (
        ABORTED, "refused", "success_topic '/at_the_door' cannot be heard as a std_msgs/Bool: no more of them")
    world.around.wait(lambda: not done.get_subscription_count())


def test_a_success_topic_that_is_not_reliable_is_heard_too(world):
    done = world.around.speaker(Bool, "/at_the_door", LOOSE)
    goal = world.send(topic="/at_the_door")
    world.given()
    world.around.wait(lambda: done.publish(Bool(data=True)) or goal.over)
    assert goal.ends()[1] == "done"


def test_rows_are_counted_by_the_chunks_step(world):
    chunks = world.around.speaker(ActionChunk, "action_chunk", LATEST)
    goal = world.send()
    world.given()
    world.around.wait(chunks.get_subscription_count)
    chunks.publish(chunk_message(CoreChunk(0, 1, ("linear.x",), np.zeros((3, 1), np.float32), 100_000_000, 1)))
    time.sleep(0.2)
    world.state, world.verdict, world.sequence = SafetyReport.ACTIVE, SafetyReport.LIMITED, 1
    for age in (0, 50_000_000, 100_000_000, 250_000_000, 900_000_000):  # rows 0, 0, 1, 2, and 2 still
        world.age = age
        time.sleep(0.15)
    world.verdict = SafetyReport.HELD
    world.sequence = 2
    time.sleep(0.2)
    goal.handle.cancel_goal_async()
    goal.ends()
    assert goal.rows == 3


@pytest.mark.parametrize("state", [SafetyReport.DISARMED, SafetyReport.STOPPED])
def test_where_the_gate_is_not_armed_it_is_refused_and_nothing_is_given(world, state):
    world.state, world.reason = state, "so it is"
    name = {SafetyReport.DISARMED: "DISARMED", SafetyReport.STOPPED: "STOPPED"}[state]
    time.sleep(0.2)  # what was said before is gone
    goal = world.send()
    assert goal.ends() == (ABORTED, "refused", f"the gate is {name} (so it is); a goal does not arm: that is for who "
                                               "stands beside the robot")
    time.sleep(0.3)
    assert world.texts == [""]


def test_where_no_gate_speaks_it_is_refused(world):
    world.alive = False
    time.sleep(0.1)
    status, outcome, why = world.send().ends()
    assert (status, outcome) == (ABORTED, "refused") and why.startswith("nothing was heard from the gate for 1.")
    assert world.texts == [""]


def test_a_gate_that_goes_stops_it(world):
    goal = world.send()
    world.given()
    world.alive = False
    status, outcome, why = goal.ends(2.0)
    assert (status, outcome) == (ABORTED, "stopped") and why.startswith("nothing was heard from the gate for 1.")
    assert world.given("")


@pytest.mark.parametrize("state", ["DISARMED", "STOPPED"])
def test_a_gate_that_stops_or_is_disarmed_stops_it(world, state):
    goal = world.send()
    world.given()
    world.state, world.reason = getattr(SafetyReport, state), "the stop is pressed"
    assert goal.ends() == (ABORTED, "stopped", f"the gate is {state}: the stop is pressed")
    assert world.given("")


def test_a_person_who_takes_over_ends_it_and_its_instruction_is_taken_back(world):
    goal = world.send()
    world.given()
    world.control_source = "teleop"
    assert goal.ends() == (ABORTED, "stopped", "a person took over")
    assert world.given("")
    assert world.send().ends() == (ABORTED, "refused", "a person has the robot; it is to be given back first")


def test_a_gate_whose_reports_make_no_sense_stops_it(world):
    goal = world.send()
    world.given()
    world.state = 9
    assert goal.ends() == (ABORTED, "stopped", "the gate's report makes no sense: 9 is not a valid State")
    assert world.given("")


def test_its_time_limit_ends_it(world):
    goal = world.send(limit=0.5)
    world.given()
    began = time.monotonic()
    assert goal.ends() == (ABORTED, "timed_out", "the time limit of 0.5 s is over")
    assert time.monotonic() - began > 0.35
    assert world.given("")


def test_a_cancel_takes_the_instruction_back_and_latches_nothing(world):
    goal = world.send()
    world.given()
    answer = goal.handle.cancel_goal_async()
    assert goal.ends() == (CANCELED, "canceled", "the goal was canceled")
    assert len(answer.result().goals_canceling) == 1
    assert world.given("")
    again = world.send("go left")  # the gate is as it was
    assert world.given("go left") and not again.over


def test_the_operators_stop_ends_it_at_once(world):
    goal = world.send()
    world.given()
    world.words.publish(String(data="please STOP"))
    assert goal.ends() == (ABORTED, "stopped", "the operator said stop")
    world.given("")  # which may be heard after the goal's end
    assert world.texts == ["", "go", ""]
    assert world.around.said("stopped: the instruction is cancelled")


@pytest.mark.parametrize(("words", "why", "texts"), [
    ("stop", "the operator said stop", [""]), ("turn left", "another instruction was given: 'turn left'", ["", "turn left"])])
def test_an_operator_who_speaks_before_the_gate_does_ends_it_too(world, words, why, texts):
    world.alive = False
    time.sleep(0.1)
    goal = world.send()
    world.words.publish(String(data=words))
    assert goal.ends() == (ABORTED, "stopped", why)
    world.alive = True
    time.sleep(0.3)
    assert world.texts == texts


def test_an_operator_who_says_something_else_ends_it_and_is_obeyed(world):
    goal = world.send()
    world.given()
    world.words.publish(String(data="turn left"))
    assert goal.ends() == (ABORTED, "stopped", "another instruction was given: 'turn left'")
    time.sleep(0.3)
    assert world.texts == ["", "go", "turn left"]


def test_a_goal_replaces_what_the_operator_said_before(world):
    world.words.publish(String(data="turn left"))
    world.given("turn left")
    goal = world.send()
    assert world.given() and not goal.over


def test_a_second_goal_is_refused_and_the_first_goes_on(world):
    first = world.send()
    world.given()
    assert world.send("turn left").ends() == (
        ABORTED, "refused", "a goal is running already: 'go'; cancel it first")
    time.sleep(0.3)
    assert not first.over and world.texts == ["", "go"]


def test_one_goal_after_another(world):
    for number in range(3):
        goal = world.send(f"go {number}", limit=0.1)
        assert goal.ends()[1] == "timed_out"
    # The last words are taken back before the goal's end, and may be heard after it.
    world.around.wait(lambda: world.texts == ["", "go 0", "", "go 1", "", "go 2", ""])


@pytest.mark.parametrize(("fields", "why"), [
    ({"prompt": "  "}, "the instruction is blank"), ({"prompt": "x" * 201}, "at most 200 are accepted"),
    ({"prompt": "go\x07"}, "U+0007"), ({"prompt": "stop at the door"}, "holds a stop word, which stops the robot"),
    ({"limit": 0.0}, "nothing would end the goal; give a time_limit or a success_topic"),
    ({"limit": -1.0}, "time_limit is -1 s; give 0 or more"),
    ({"topic": "at the door"}, "success_topic is 'at the door'; give the name of a ROS topic")])
def test_a_bad_goal_is_refused_with_a_sentence_and_gives_nothing(world, fields, why):
    status, outcome, sentence = world.send(**fields).ends()
    assert (status, outcome) == (ABORTED, "refused") and why in sentence
    time.sleep(0.2)
    assert world.texts == [""]


def test_a_stop_word_in_a_second_goal_stops_the_first(world):
    first = world.send()
    world.given()
    assert world.send("stop").ends()[1] == "refused"
    assert first.ends()[:2] == (ABORTED, "stopped")
    assert world.given("")


def test_a_node_that_is_destroyed_is_gone_with_its_action(world):
    node = world.around.under_test.pop()
    assert world.client.wait_for_server(5.0)
    world.around.executor.remove_node(node)
    node.destroy_node()
    world.around.wait(lambda: not world.client.server_is_ready())


def test_goals_are_instructions_and_not_more_of_them_are_accepted(world):
    outcomes = [world.send(limit=0.01).ends() for _ in range(8)]
    refused = [why for _, outcome, why in outcomes if outcome == "refused"]
    assert len(world.accepted) <= 1 + 2 * 8
    assert all(why == "more than 5 instructions a second" for why in refused)


def test_a_node_that_leaves_in_another_thread_as_a_goal_starts_gives_nothing(world, monkeypatch):
    node = world.around.under_test[0]
    leaving = threading.Thread(target=node.leave)

    def clean_slowly(text, limit):
        if world.alive and not leaving.is_alive():  # the second time: the goal is about to give it
            leaving.start()
            leaving.join(0.5)
        return text

    world.alive = False
    time.sleep(0.1)
    monkeypatch.setattr(command_ingest, "clean", clean_slowly)
    goal = world.send()
    world.alive = True
    status, outcome, _ = goal.ends()
    leaving.join(5.0)
    assert status == ABORTED and outcome in ("refused", "stopped")
    time.sleep(0.3)
    assert world.texts[-1] == "" and "go" not in world.texts


def test_whatever_fails_at_its_end_the_instruction_is_taken_back(world, monkeypatch):
    node = world.around.under_test[0]

    def fail(*arguments):
        raise RuntimeError("no")

    goal = world.send(topic="/at_the_door", limit=0.5)
    world.given()
    with monkeypatch.context() as patch:
        patch.setattr(node, "destroy_subscription", fail)
        assert world.given("") and goal.ends()[1] == "timed_out"
    world.send("go left")
    world.given("go left")
    monkeypatch.setattr(node._goals, "stop", fail)
    node.leave()
    assert world.given("")


def walk(world, *transitions):
    """In the executor's thread, where the node's services are."""
    for transition in transitions:
        task = world.around.executor.create_task(getattr(world.around.under_test[0], f"trigger_{transition}"))
        world.around.wait(task.done)


def test_a_shutdown_stops_it_and_its_client_learns_of_it(world):
    goal = world.send()
    world.given()
    walk(world, "shutdown")
    assert goal.ends() == (ABORTED, "stopped", "command_ingest is deactivated")
    assert world.given("")


@pytest.mark.parametrize("answer", ["goal_request", "cancel_request", "get_result_request"])
def test_a_client_that_is_gone_before_its_answer_ends_nothing(world, monkeypatch, answer):
    """As rclpy before 3.3.12 raises it."""
    asked = []
    answering = getattr(ActionServer, f"_execute_{answer}")

    async def raise_once(server, taken):
        if asked:
            return await answering(server, taken)
        asked.append(taken)
        raise RCLError("client will not receive response")

    monkeypatch.setattr(ActionServer, f"_execute_{answer}", raise_once)
    vanished = world.client.send_goal_async(RunPolicy.Goal(prompt="go", time_limit=duration_message(round(0.3e9))))
    if answer != "goal_request":
        world.given()
        ask = vanished.result().cancel_goal_async if answer == "cancel_request" else vanished.result().get_result_async
        ask()
    world.around.wait(lambda: asked)
    world.given("")
    goal = world.send("go left")
    assert world.given("go left")
    goal.handle.cancel_goal_async()
    assert goal.ends()[1] == "canceled"


def test_where_the_node_is_not_active_it_is_refused_and_a_deactivation_stops_it(world):
    goal = world.send()
    world.given()
    walk(world, "deactivate")
    assert goal.ends() == (ABORTED, "stopped", "command_ingest is deactivated")
    assert world.given("")
    assert world.send().ends() == (ABORTED, "refused", "command_ingest is inactive, not active")
    walk(world, "cleanup")
    world.around.wait(lambda: not world.client.server_is_ready())
    walk(world, "configure", "activate")
    goal = world.send("go back")
    assert world.given("go back") and not goal.over


# -- the real gate -------------------------------------------------------------------------------------------
@pytest.fixture
def robot(around):
    robot = Robot(around)
    around.start(CommandIngest)
    world = World(around, gate=False)
    around.wait(lambda: world.accepted)

    def obey():  # the policy answers the instruction that holds
        robot.instruction_id = world.accepted[-1].instruction_id if world.accepted[-1].text else 0

    around.node.create_timer(0.02, obey)
    return robot, world


def test_with_the_real_gate_a_goal_never_arms_and_drives_once_a_person_has(robot):
    robot, world = robot
    assert world.send().ends()[1] == "refused"
    assert robot.reports[-1].state == SafetyReport.DISARMED and world.texts[-1] == ""
    assert robot.call("arm").success
    goal = world.send()
    world.around.wait(lambda: robot.twists[-1].linear.x > 0.29)
    world.around.wait(lambda: goal.feedback[-1].rows_executed > 3)
    goal.handle.cancel_goal_async()
    assert goal.ends()[1] == "canceled"
    world.around.wait(lambda: robot.twists[-1].linear.x == 0.0)
    assert robot.reports[-1].state == SafetyReport.HOLDING and goal.rows > 3
    goal = world.send()
    world.around.wait(lambda: robot.twists[-1].linear.x > 0.29)
    robot.stops.publish(Bool(data=True))
    _, outcome, why = goal.ends()
    assert (outcome, why) == ("stopped", "the gate is STOPPED: the stop is pressed")
    robot.stops.publish(Bool(data=False))
    world.around.wait(lambda: robot.call("reset").success)
    assert world.send().ends()[1] == "refused"


# -- processes -----------------------------------------------------------------------------------------------
ACTIVE = """
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.run_node import run
run(CommandIngest, start=True)
"""


@pytest.fixture
def process():
    """command_ingest in a process of its own, with its own executor."""
    started = subprocess.Popen([sys.executable, "-c", ACTIVE], env=dict(os.environ))
    yield started
    started.kill()
    started.wait()


def test_with_the_executor_that_a_node_has_it_waits_without_turning(around, process):
    around.spin()
    world = World(around)
    world.around.wait(lambda: world.accepted and world.reports.get_subscription_count(), 20.0)
    goal = world.send()
    world.given()
    time.sleep(0.5)
    child = psutil.Process(process.pid)
    before = sum(child.cpu_times()[:2])
    time.sleep(1.0)
    assert sum(child.cpu_times()[:2]) - before < 0.4  # an executor that asks over and over takes all of it
    goal.handle.cancel_goal_async()
    assert goal.ends()[1] == "canceled"
    goal = world.send()
    world.given()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not goal.over  # nobody is left to say it; the gate holds by the heartbeat


def test_a_process_that_is_told_to_end_ends_tidily_with_a_goal_running(capfd, around, process):
    around.spin()
    world = World(around)
    world.around.wait(lambda: world.accepted and world.reports.get_subscription_count(), 20.0)
    goal = world.send()
    world.given()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10.0) == 0
    assert world.given("")  # the robot is told to hold
    assert goal.ends() == (ABORTED, "stopped", "command_ingest is deactivated")
    assert "Traceback" not in capfd.readouterr().err


def test_the_page_s_client_runs_as_printed(world, tmp_path):
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    (tmp_path / "client.py").write_text(source.replace("/vla/run_policy", "/run_policy"), encoding="utf-8")
    done = world.around.speaker(Bool, "/at_the_door", EVENTS)
    client = subprocess.Popen([sys.executable, str(tmp_path / "client.py")], env=dict(os.environ),
                              stdout=subprocess.PIPE, text=True)
    try:
        world.around.wait(lambda: world.texts[-1] == "wander", 20.0)
        time.sleep(0.3)
        done.publish(Bool(data=True))
        out, _ = client.communicate(timeout=20.0)
        assert "no action yet\n" in out and out.endswith("done: /at_the_door said true; 0 rows\n")
    finally:
        client.kill()
        client.wait()


def test_the_page_and_the_action_say_that_rows_on_the_wire_are_counted_not_the_policys():
    action = (Path(__file__).parents[2] / "msg" / "action" / "RunPolicy.action").read_text(encoding="utf-8")
    result, feedback = re.findall(r"^uint32 rows_executed +# (.*)", action, re.M)
    bullet = PAGE.split("* `rows_executed` counts ")[1].split("\n\n")[0]
    for text in (result, feedback, bullet):
        assert "action_chunk" in text
    for text in (result, bullet):
        assert "not the policy's" in text and "at most 20 ms" in text


def test_the_page_names_every_outcome():
    outcomes = {str(getattr(RunPolicy.Result, name)) for name in ("DONE", "REFUSED", "STOPPED", "TIMED_OUT", "CANCELED")}
    table = PAGE.split("| outcome |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == outcomes

