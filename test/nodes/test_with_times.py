"""A subscription's callback is told when a message was sent and received, on every rclpy."""
import inspect
import time

import pytest

from vla_ros.nodes.common import with_times as module
from vla_ros.nodes.common.with_times import with_times

INFO = {"source_timestamp": 5, "received_timestamp": 7}


@pytest.mark.parametrize("arguments", [("message", INFO), (("message", INFO),)], ids=["two", "a tuple"])
def test_both_times_come_however_an_executor_gives_them(arguments):
    heard = []
    with_times(lambda *given: heard.append(given))(*arguments)
    assert heard == [("message", 5, 7)]


def test_its_signature_asks_rclpy_for_the_times():
    assert list(inspect.signature(with_times(print)).parameters) == ["message", "info"]


def test_where_rclpy_does_not_tell_both_are_now(monkeypatch):
    monkeypatch.setattr(module, "Subscription", object)  # Humble's knows no kinds of callbacks
    heard = []
    began = time.time_ns()
    with_times(lambda *given: heard.append(given))("message")
    message, sent, received = heard[0]
    assert message == "message" and began <= sent == received <= time.time_ns()
