"""Who may say and hear what of a robot (SROS 2), as its robot file says. No ROS here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vla_ros.core.composed import KINDS, PROGRAM
from vla_ros.core.robot import CAMERA_NODE, Robot
from vla_ros.safety.rules import RULES

COMPOSED = """\
<?xml version="1.0" encoding="UTF-8"?>
<!--
  The process of composed:=true, for SROS 2: together with policy.xml
  (ros2 security generate_artifacts -p policy.xml composed.xml).
  It may what {names} may, each on its own in policy.xml.
-->
{entities}
<policy version="0.2.0">
  <enclaves>

    <enclave path="/vla/{program}">
      <profiles>
{profiles}      </profiles>
    </enclave>

  </enclaves>
</policy>
"""
ENTITIES = re.compile(r"<!DOCTYPE policy \[.*?^\]>", re.DOTALL | re.MULTILINE)
PROFILE = r' *<profile ns="/vla" node="{node}">\n.*?</profile>\n'

# A comment in config/security/policy.xml marks the list that a robot file fills. An element without
# names is no policy to sros2: it goes with its comment.
LIST = (
    r' *<(topics|services) (\w+)="ALLOW"> <!-- robot: {title}[^\n]*-->\n(?: *<[^\n]*>\n)*? *</\1>\n'
)
CAMERA = re.compile(rf'    <enclave path="/vla/{CAMERA_NODE}">\n.*?    </enclave>\n\n', re.DOTALL)


def policy_for(template: str, robot: Robot) -> str:
    """The SROS 2 policy of a robot's suite.

    Args:
        template: config/security/policy.xml, whose lists and camera enclaves are replaced.
        robot: the robot.

    Raises:
        ValueError: the template lacks what is to be replaced.
    """
    block = CAMERA.search(template)
    if block is None:
        raise ValueError("the SROS 2 policy has no enclave /vla/camera_ingest; take it as shipped")
    enclaves = ""
    for camera, node in robot.camera_nodes.items():
        own = block[0].replace(CAMERA_NODE, node)
        known = robot.camera(camera)
        own = _filled(own, "its images", filter(None, [known.topic, known.depth]))
        enclaves += _filled(own, "its frames", _frame_topics(robot, camera))
    text = CAMERA.sub(lambda _: enclaves, template)
    ranges = {sensor.topic for sensor in robot.sensors}
    declared = {source.topic for rule in RULES for source in rule.sources}
    state = {source.topic for source in robot.state}
    clouds = {cloud.topic for cloud in robot.clouds}
    frames: set[str] = set()
    for camera in robot.camera_nodes:
        frames.update(_frame_topics(robot, camera))
    images = {camera.topic for camera in robot.cameras}
    depths = {camera.depth for camera in robot.cameras if camera.depth}
    rests_on = {*robot.required_topics, *ranges, *declared}
    outputs = {output.topic for output in robot.outputs if not output.is_action}
    actions = {output.topic for output in robot.outputs if output.is_action}
    text = _with_actions(text, actions)
    for title, names in (
        ("its outputs", outputs),
        ("what its motion rests on", rests_on),
        ("its joints", set(robot.joint_topics)),
        ("its state", state | clouds),
        ("its cameras' frames", frames),
        # without its actions: who looks on executes none
        ("its commands", outputs),
        ("what is recorded of it", state | rests_on),
        ("its cameras' colour frames", map(robot.frame_topic, robot.camera_nodes)),
        ("its cameras' nodes", {f"{node}/change_state" for node in robot.camera_nodes.values()}),
        ("all that it says", rests_on | state | clouds),
        ("its cameras", images | depths),
        ("what a page shows", images),
    ):
        text = _filled(text, title, names)
    return text


def composed_policy_for(policy: str, robot: Robot) -> str:
    """The SROS 2 policy of the one process of composed:=true.

    Args:
        policy: the robot's, as `policy_for` writes it.
        robot: the robot.

    Raises:
        ValueError: the policy lacks one of the process's nodes.
    """
    nodes: list[str] = []
    for kind in KINDS:
        nodes += robot.camera_nodes.values() if kind == CAMERA_NODE else [kind]
    profiles = []
    for node in nodes:
        profile = re.search(PROFILE.format(node=re.escape(node)), policy, re.DOTALL)
        if profile is None:
            raise ValueError(f"the SROS 2 policy has no profile of {node}; take it as shipped")
        profiles.append(profile[0])
    entities = ENTITIES.search(policy)
    if entities is None:
        raise ValueError("the SROS 2 policy has no entities before it; take it as shipped")
    return COMPOSED.format(
        names=f"{', '.join(nodes[:-1])} and {nodes[-1]}",
        entities=entities[0],
        program=PROGRAM,
        profiles="".join(profiles),
    )


def _frame_topics(robot: Robot, camera: str) -> list[str]:
    topics = [robot.frame_topic(camera)]
    if robot.camera(camera).depth:
        topics.append(robot.depth_frame_topic(camera))
    return topics


def _with_actions(text: str, actions: set[str]) -> str:
    """After each list of outputs, the actions: who publishes there calls them, who hears serves."""

    def with_list(match: re.Match[str]) -> str:
        right = "call" if match[2] == "publish" else "execute"
        lines = "".join(f"            <action>{name}</action>\n" for name in sorted(actions))
        return f'{match[0]}          <actions {right}="ALLOW">\n{lines}          </actions>\n'

    return re.sub(LIST.format(title="its outputs"), with_list, text) if actions else text


def _filled(text: str, title: str, names: Iterable[str]) -> str:
    """The text with `names` in each list that is marked with `title`."""

    def element(match: re.Match[str]) -> str:
        first, _, rest = match[0].partition("\n")
        tag = match[1].removesuffix("s")
        lines = [f"            <{tag}>{name}</{tag}>\n" for name in sorted(names)]
        last = rest.rstrip("\n").rpartition("\n")[2] or rest.rstrip("\n")
        return f"{first}\n{''.join(lines)}{last}\n" if lines else ""

    marked = LIST.format(title=re.escape(title) + r"(?![\w'])")
    text, count = re.subn(marked, element, text)
    if not count:
        raise ValueError(f"the SROS 2 policy has no list for {title}; take it as shipped")
    return text
