"""The gate's settings from its node's parameters and a robot file. No ROS here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vla_ros.core.robot import CAMERA_NODE, Robot
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.common.camera_nodes import expanded
from vla_ros.safety.rules import PARAMETERS, RULES
from vla_ros.safety.rules.clock import CLOCK_JUMP
from vla_ros.safety.rules.instruction_match import LOST_AFTER
from vla_ros.safety.rules.source_timeout import HEARTBEAT_TIMEOUT, TOPIC_TIMEOUT
from vla_ros.safety.settings import Settings

# What only the policy's motion rests on, of the required nodes. Every other one, as a user's own
# driver or stop button, holds a person too.
POLICY_NODES = ("command_ingest", CAMERA_NODE, "synchronizer", "inference")
# For so long a process that sent an action counts as one that sends them.
SOURCE_MEMORY_NS = 1_000_000_000


def gate_settings(parameters: Mapping[str, Any], robot: Robot) -> Settings:
    """What the gate is made with.

    Args:
        parameters: all of `safety_validator` in nodes/node_parameters.py, checked.
        robot: the robot file.

    Raises:
        ValueError: two parameters contradict each other, or name a camera that is not there.
    """
    shortest = 2.0 / parameters["rate"]
    if parameters[CLOCK_JUMP.name] < shortest:
        raise ValueError(
            f"parameter 'clock_jump' is {parameters[CLOCK_JUMP.name]} s; give at least two "
            f"periods of 'rate', {shortest:g} s"
        )
    sources = {}  # what must be heard -> its longest silence, ns
    for name in expanded(parameters["required_nodes"], robot, parameters["cameras"]):
        sources[f"node {name}"] = to_nanoseconds(parameters[HEARTBEAT_TIMEOUT.name])
    policy_nodes = expanded(POLICY_NODES, robot, parameters["cameras"])
    for topic in robot.required_topics:
        sources[topic] = to_nanoseconds(parameters[TOPIC_TIMEOUT.name])
    return Settings(
        period=to_nanoseconds(1.0 / parameters["rate"]),
        sources=sources,
        policy_sources=frozenset(sources) & {f"node {name}" for name in policy_nodes},
        lost=_lost_after(parameters, robot, sources),
        limits={limit.name: parameters[limit.name] for limit in PARAMETERS},
    )


def _lost_after(
    parameters: Mapping[str, Any], robot: Robot, sources: Mapping[str, int]
) -> dict[str, int]:
    """What may be lost -> the silence after which it was, ns: no silence that its rule allows."""
    allowed = dict(sources)
    if robot.obstacles is not None:
        for sensor in robot.sensors:
            allowed[sensor.topic] = to_nanoseconds(robot.obstacles.max_age)
    for rule in RULES:
        for source in rule.sources:
            timeout = parameters.get(source.timeout.name, source.timeout.default)
            allowed[source.topic] = to_nanoseconds(timeout)
    least = to_nanoseconds(parameters[LOST_AFTER.name])
    return {name: max(least, silence) for name, silence in allowed.items()}
