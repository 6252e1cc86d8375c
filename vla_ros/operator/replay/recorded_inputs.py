"""Recorded messages as the inputs of a gate. No ROS: as the gate's node takes what arrives."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_obstacles import Sensor
from vla_ros.datasets.bag_stream import BagMessage
from vla_ros.nodes.common import from_message
from vla_ros.nodes.gate.gate_settings import SOURCE_MEMORY_NS
from vla_ros.nodes.gate.rule_sources import heard
from vla_ros.operator.blackbox import story
from vla_ros.safety.gate import LatestInputs
from vla_ros.safety.rule import Source
from vla_ros.safety.rules import RULES

Take = Callable[[Any, int], None]  # a message, and when it arrived (steady ns)


class RecordedInputs:
    """What a gate would have heard; `latest` is what it looks at.

    Args:
        robot: whose topics they are.
        nodes: those whose heartbeats count.
    """

    def __init__(self, robot: Robot, nodes: Collection[str]) -> None:
        self.latest = LatestInputs()
        self.latches: list[str] = []  # causes to stop since the last look, as sentences
        self._nodes = frozenset(nodes)
        self._processes: dict[str, int] = {}  # that sent actions -> when last
        self._by_type: dict[str, Take] = {
            story.CHUNK: self._take_chunk,
            story.INSTRUCTION: self._take_instruction,
            story.HEARTBEAT: self._take_heartbeat,
            story.HALT: self._take_halt,
        }
        self._by_topic: dict[str, Take] = {}
        for topic in robot.required_topics:
            channels = robot.joint_topics.get(topic, ())
            self._by_topic[topic] = partial(self._take_state, topic, channels)
        for sensor in robot.sensors:
            self._by_topic[sensor.topic] = partial(self._take_ranges, sensor)
        for rule in RULES:
            for source in rule.sources:
                self._by_topic[source.topic] = partial(self._take_source, source)

    def wants(self, topic: str, kind: str) -> bool:
        """Whether the gate listens to it."""
        return kind in self._by_type or topic in self._by_topic

    def take(self, message: BagMessage, now: int) -> None:
        """A message that arrived at `now`, steady ns."""
        if take := self._by_type.get(message.type) or self._by_topic.get(message.topic):
            take(message.message, now)

    def forget_processes(self, now: int) -> None:
        """Who sent actions long ago no longer counts as one who sends them."""
        for process, sent in list(self._processes.items()):
            if now - sent > SOURCE_MEMORY_NS:
                del self._processes[process]
        self.latest.chunk_sources = tuple(self._processes)

    def _take_chunk(self, message: Any, now: int) -> None:
        chunk = from_message.chunk(message)
        self.latest.chunk = chunk
        self._processes[chunk.process] = now
        self.latest.chunk_sources = tuple(self._processes)

    def _take_instruction(self, message: Any, now: int) -> None:
        self.latest.instruction = from_message.instruction(message)

    def _take_heartbeat(self, message: Any, now: int) -> None:
        if message.state == story.UP and message.node in self._nodes:
            self.latest.seen[f"node {message.node}"] = now

    def _take_halt(self, message: Any, now: int) -> None:
        without = "the supervisor gives no reason" if message.halted else ""
        self.latest.halt = message.reason or without
        if self.latest.halt:
            self.latches.append(self.latest.cause())

    def _take_state(
        self, topic: str, channels: tuple[Channel, ...], message: Any, now: int
    ) -> None:
        if not channels:
            self.latest.seen[topic] = now
            return
        with suppress(ValueError):  # no sign of life, as in the node
            self.latest.hear_joints(topic, channels, message.name, message.position, now)

    def _take_ranges(self, sensor: Sensor, message: Any, now: int) -> None:
        reading = from_message.READINGS[sensor.type](sensor, message)
        self.latest.readings[sensor.topic] = (reading, now)

    def _take_source(self, source: Source[Any], message: Any, now: int) -> None:
        self.latest.messages[source] = heard(source, message, now)
