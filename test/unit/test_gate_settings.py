"""What the gate is made with, from its node's parameters and a robot file."""
from __future__ import annotations

from typing import Any

import pytest
from gate_world import MS, ROBOT, S

from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import Robot, load_robot
from vla_ros.nodes.gate import gate_settings as module
from vla_ros.nodes.gate.gate_settings import gate_settings
from vla_ros.nodes.node_parameters import NODE_PARAMETERS, NODES
from vla_ros.safety.rule import Source, rule
from vla_ros.safety.settings import Limit, Settings

TIMEOUT = Limit("battery_timeout", 0.3, "a battery silent for longer holds", "s", 0.02, 60.0)
BATTERY = Source("/battery_state", "sensor_msgs/msg/BatteryState", lambda message: message.voltage, TIMEOUT)


@rule(holds_when="the battery is low", sources=(BATTERY,))
def battery(inputs):
    return None


def made(robot: Robot = ROBOT, **changes: Any) -> Settings:
    parameters = {parameter.name: parameter.default for parameter in NODE_PARAMETERS["safety_validator"]}
    return gate_settings({**parameters, **changes}, robot)


@pytest.mark.parametrize("required", [["supervisor", "inference", "base_driver"], list(NODES[1:])])
def test_of_the_required_nodes_only_the_suite_s_policy_ones_do_not_hold_a_person(required):
    settings = made(required_nodes=required)
    assert settings.policy_sources <= set(settings.sources)
    hold = set(settings.sources) - settings.policy_sources - set(ROBOT.required_topics)
    assert hold == {f"node {name}" for name in required if name in ("supervisor", "base_driver")}


@pytest.mark.parametrize("timeout, lost_after, lost", [
    (0.3, 1.0, S), (1.0, 1.0, S), (3.0, 1.0, 3 * S), (3.0, 0.5, 3 * S), (0.3, 2.0, 2 * S)])
def test_what_a_rule_listens_to_is_lost_after_a_silence_that_its_own_timeout_does_not_allow(
        monkeypatch, timeout, lost_after, lost):
    monkeypatch.setattr(module, "RULES", (battery,))
    assert made(battery_timeout=timeout, lost_after=lost_after).lost["/battery_state"] == lost


def test_nodes_topics_and_sensors_are_lost_likewise():
    settings = made(topic_timeout=2.0, heartbeat_timeout=0.25, required_nodes=["inference"])
    assert settings.lost["node inference"] == S and settings.sources["node inference"] == 250 * MS
    assert {settings.lost[topic] for topic in ROBOT.required_topics} == {2 * S}
    robot = load_robot(config_folder() / "robots" / "sim.yaml")
    lost = made(robot, lost_after=0.2).lost
    assert robot.obstacles is not None and lost["/scan"] == round(robot.obstacles.max_age * S) == 300 * MS
