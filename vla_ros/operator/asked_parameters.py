"""Asks a node that runs for its parameters: nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence

from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

from vla_ros.operator.client import wait_for

ANSWER_TIMEOUT_S = 1.0


def ask_numbers(node: Node, of: str, names: Sequence[str]) -> dict[str, float]:
    """Parameters that are numbers, by their names; empty where that node does not answer.

    Args:
        node: spun by somebody else.
        of: the full name of the node that is asked.
        names: of its parameters.
    """
    numbers: dict[str, float] = {}
    for name, value in _ask(node, of, names).items():
        if value.type == ParameterType.PARAMETER_DOUBLE:
            numbers[name] = value.double_value
    return numbers


def ask_texts(node: Node, of: str, names: Sequence[str]) -> dict[str, str]:
    """As `ask_numbers`, of parameters that are texts."""
    texts: dict[str, str] = {}
    for name, value in _ask(node, of, names).items():
        if value.type == ParameterType.PARAMETER_STRING:
            texts[name] = value.string_value
    return texts


def _ask(node: Node, of: str, names: Sequence[str]) -> dict[str, ParameterValue]:
    client = node.create_client(GetParameters, f"{of}/get_parameters")
    try:
        if not wait_for(client.service_is_ready, ANSWER_TIMEOUT_S):
            return {}
        future = client.call_async(GetParameters.Request(names=list(names)))
        wait_for(future.done, ANSWER_TIMEOUT_S)
        answer = future.result() if future.done() else None
        return dict(zip(names, answer.values if answer else ()))
    finally:
        node.destroy_client(client)
