"""A policy that is a node, without ROS: what it is asked, and what of its answers is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vla_ros.core.policy_file import MOST_ROWS
from vla_ros.core.types import Instruction, Observation, Prefix
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.ros_service import (
    ChunkAnswer,
    ChunkRequest,
    RosService,
    parse_options,
)

SECOND = 1_000_000_000
OPTIONS: dict[str, Any] = {
    "service": "/wander/get_action_chunk",
    "images": {"front": [8, 12]},
    "state": ["heading"],
    "actions": ["forward", "turn"],
    "units": {"turn": "deg/s"},
    "kinds": {"turn": "velocity"},
    "rate": 10,
    "rows": 3,
}
ROWS = np.array([[0.1, 1.0], [0.2, 2.0], [0.3, 3.0]], np.float32)


class Service:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.there = True
        self.answer: ChunkAnswer | None = ChunkAnswer(ROWS.ravel(), 3, 2)
        self.asked: list[ChunkRequest] = []
        self.opened = ""

    def is_there(self) -> bool:
        return self.there

    def ask(self, request: ChunkRequest, timeout_s: float) -> ChunkAnswer | None:
        self.asked.append(request)
        return self.answer


@pytest.fixture
def service() -> Service:
    return Service()


def policy_of(service: Service, **options: Any) -> Any:
    policy: Any = make_policy("ros_service", {**OPTIONS, **options})

    def open_service(name: str) -> Service:
        service.opened = name
        return service

    policy.connect(open_service)
    return policy


def seen(stamp: int = SECOND, text: str = "wander", instruction_id: int = 7) -> Observation:
    images = {"front": np.zeros((8, 12, 3), np.uint8), "other": np.zeros((4, 4, 3), np.uint8)}
    return Observation(stamp, Instruction(0, instruction_id, text), images, {"heading": 0.5, "odom.x": 9.0})


def test_its_options_say_what_it_wants_and_gives() -> None:
    spec = policy_spec("ros_service", OPTIONS)
    assert (spec.channels, spec.steps, spec.step) == (("forward", "turn"), 3, SECOND // 10)
    assert (dict(spec.images), spec.state) == ({"front": (8, 12)}, ("heading",))
    assert (spec.units, spec.kinds) == ({"turn": "deg/s"}, {"turn": "velocity"})


def test_it_is_asked_for_what_the_options_name_and_nothing_else(service: Service) -> None:
    policy = policy_of(service)
    assert service.opened == "/wander/get_action_chunk" and policy.name == "ros_service /wander/get_action_chunk"
    assert np.array_equal(policy.predict(seen()), ROWS)
    (asked,) = service.asked
    assert (asked.stamp, asked.instruction_id, asked.prompt) == (SECOND, 7, "wander")
    assert list(asked.images) == ["front"] and asked.state == {"heading": 0.5}
    assert (asked.channels, asked.rows, asked.step) == (("forward", "turn"), 3, SECOND // 10)


def test_it_is_sent_what_is_left_of_its_last_rows(service: Service) -> None:
    assert policy_spec("ros_service", OPTIONS).takes_prefix
    policy = policy_of(service, horizon=2)
    policy.predict(seen())
    assert service.asked[0].pending.shape == (0, 2) and service.asked[0].pending_executed == 0  # there was nothing before
    policy.predict(replace(seen(), prefix=Prefix(ROWS[1:], 1, 2)))
    asked = service.asked[1]
    assert np.array_equal(asked.pending, ROWS[1:]) and (asked.pending_executed, asked.horizon, asked.rows) == (1, 2, 3)


def test_it_is_not_sent_where_the_options_say_so() -> None:
    assert not policy_spec("ros_service", {**OPTIONS, "pending": False}).takes_prefix


def test_the_horizon_is_as_many_rows_as_come_where_nobody_says_how_many() -> None:
    options = {key: value for key, value in OPTIONS.items() if key != "rows"}
    assert policy_spec("ros_service", {**options, "horizon": 4}).steps == 4
    assert parse_options(OPTIONS).horizon == 3


@pytest.mark.parametrize(("change", "sentence"), [
    ({"width": 3}, "gave rows of 3 numbers for 2 channels: forward, turn"),
    ({"width": 0}, "gave rows of 0 numbers for 2 channels"),
    ({"rows": 2}, "gave 2 rows, and the policy file wants 3 (rows, or horizon)"),
    ({"rows": 4}, "gave 4 rows, and the policy file wants 3 (rows, or horizon)"),
    ({"values": ROWS.ravel()[:5]}, "gave 5 values, and says that they are 3 rows of 2"),
    ({"values": np.append(ROWS, [0.0, 0.0]).astype(np.float32)}, "gave 8 values"),
    ({"channels": ("turn", "forward")}, "gave turn, forward, and the policy file's actions are forward, turn"),
    ({"channels": ("forward",)}, "gave forward, and"),
    ({"step": SECOND}, "gave rows 1 s apart, and by the policy file's rate they are 0.1 s apart"),
    ({"step": -SECOND // 10}, "gave rows -0.1 s apart"),
    ({"step": 101_000_001}, "s apart"), ({"step": 98_999_999}, "s apart"),
    ({"values": np.array([0, 0, 0, np.nan, 0, 0], np.float32)}, "gave nan for 'turn' in row 1; give finite numbers"),
    ({"values": np.array([0, 0, -np.inf, 0, 0, 0], np.float32)}, "gave -inf for 'forward' in row 1"),
    ({"error": "the camera is dark"}, "failed: the camera is dark")])
def test_an_answer_that_is_not_what_was_asked_for_is_refused_with_a_sentence(
        service: Service, change: dict[str, Any], sentence: str) -> None:
    policy = policy_of(service)
    assert service.answer
    service.answer = replace(service.answer, **change)
    with pytest.raises(RuntimeError) as caught:
        policy.predict(seen())
    assert sentence in str(caught.value) and str(caught.value).startswith("the service /wander/get_action_chunk")


@pytest.mark.parametrize("change", [
    {"channels": ("forward", "turn")}, {"step": SECOND // 10}, {"step": 101_000_000}, {"step": 99_000_000}])
def test_an_answer_may_repeat_what_it_was_asked_for(service: Service, change: dict[str, Any]) -> None:
    policy = policy_of(service)
    assert service.answer
    service.answer = replace(service.answer, **change)
    assert np.array_equal(policy.predict(seen()), ROWS)


def test_words_that_it_does_not_know_are_no_fault_and_blank_ones_are_not_asked(service: Service) -> None:
    policy = policy_of(service)
    service.answer = ChunkAnswer(np.zeros(0, np.float32), 0, 0, not_understood="say 'wander'")
    with pytest.raises(NotUnderstood, match="^say 'wander'$"):
        policy.predict(seen())
    with pytest.raises(NotUnderstood, match="say what the robot is to do"):
        policy.predict(seen(text="  "))
    assert len(service.asked) == 1


def test_a_service_that_is_silent_or_gone_is_lost_and_is_asked_again_after_a_while(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("vla_ros.policies.remote.back_off.time.monotonic", lambda: now[0])
    policy = policy_of(service, timeout=0.2)
    good, service.answer = service.answer, None
    with pytest.raises(ConnectionError, match=r"did not answer within 0.2 s \(timeout\)"):
        policy.predict(seen())
    with pytest.raises(ConnectionError, match="it is tried again in 0.5 s"):  # one request in flight
        policy.predict(seen())
    assert len(service.asked) == 1
    now[0] += 0.51
    service.there = False
    with pytest.raises(ConnectionError, match="is gone; does the node that is the policy run"):
        policy.predict(seen())
    assert len(service.asked) == 1  # a request would wait for whoever comes next
    now[0] += 1.01
    service.there, service.answer = True, good
    assert np.array_equal(policy.predict(seen()), ROWS)


def test_a_service_that_is_not_there_is_waited_for_so_long_as_the_options_say(service: Service) -> None:
    service.there = False
    with pytest.raises(ConnectionError, match="no node offers the service /wander/get_action_chunk .*within 0.1 s"):
        policy_of(service, connect_timeout=0.1)


def test_outside_of_the_node_it_says_where_it_runs() -> None:
    with pytest.raises(RuntimeError, match="only the node inference does"):
        make_policy("ros_service", OPTIONS).predict(seen())


@pytest.mark.parametrize(("change", "sentence"), [
    ({"service": ""}, "service is ''; give the name of a ROS topic"),
    ({"service": "a b"}, "service is 'a b'"), ({"service": 3}, "service is 3"),
    ({"images": {}}, "images is {}; give each image's"), ({"images": ["front"]}, "images is"),
    ({"images": {"front": 8}}, "images: front is 8; give .height, width. in pixels"),
    ({"images": {"front": [0, 8]}}, "images: front"), ({"images": {3: [8, 8]}}, "images: a name is 3; give a text"),
    ({"actions": []}, "actions is .*; give a list of names"), ({"actions": ["a", "a"]}, "actions has 'a' 2 times"),
    ({"state": "heading"}, "state is 'heading'; give a list of names"),
    ({"rows": 0}, "rows is 0; give a whole number"), ({"rows": MOST_ROWS + 1}, "rows is 1001"),
    ({"rows": True}, "rows is True"), ({"rate": 0}, "rate is 0; it must be more than 0"),
    ({"rate": float("nan")}, "rate is nan"), ({"timeout": 0}, "timeout is 0"), ({"connect_timeout": -1}, "connect_timeout"),
    ({"pending": 1}, "pending is 1; give true or false"), ({"units": {"turn": "furlong"}}, "units: turn is 'furlong'; use"),
    ({"units": {"lift": "m"}}, "units is 'lift'; the names are heading, forward, turn"),
    ({"kinds": {"heading": "position"}}, "kinds is 'heading'; the names are forward, turn"),
    ({"serivce": "x"}, "has no option 'serivce'; it has service, ")])
def test_a_bad_option_costs_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^policy 'ros_service'.*{sentence}"):
        parse_options({**OPTIONS, **change})


@pytest.mark.parametrize(("name", "lacks"), [
    ("service", "the option service"), ("images", "the option images"), ("actions", "the option actions"),
    ("rate", "rate of its policy file"), ("rows", "the option rows")])
def test_what_no_service_says_is_needed(name: str, lacks: str) -> None:
    with pytest.raises(ValueError, match=f"policy 'ros_service' lacks {lacks}; a service does not say it"):
        parse_options({key: value for key, value in OPTIONS.items() if key != name})


def test_the_most_rows_are_taken() -> None:
    assert RosService.spec({**OPTIONS, "rows": MOST_ROWS}).steps == MOST_ROWS
