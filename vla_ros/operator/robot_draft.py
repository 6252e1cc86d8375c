"""Writes a draft of a robot file from a snapshot of the ROS graph and a URDF.

What nobody can know from outside is marked: `TODO` in a comment where a careful value stands, and
as the value itself where a guess could hurt; such a file does not load before it is filled in.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vla_ros.core.encodings import DEPTH
from vla_ros.core.robot_cameras import MAX_CAMERAS
from vla_ros.core.robot_fields import ENTRY_NAME
from vla_ros.core.robot_obstacles import CLOUD, SENSOR_TYPES
from vla_ros.core.robot_outputs import (
    FOLLOW_TRAJECTORY,
    PARALLEL_GRIPPER,
    TRAJECTORY,
    TWIST,
    TWIST_STAMPED,
)
from vla_ros.core.robot_outputs import GRIPPER as GRIPPER_COMMAND
from vla_ros.core.robot_state import IMU, JOINT_STATE, NUMBERS, ODOMETRY, WRENCH
from vla_ros.core.urdf import LIMITED, MOVING, Urdf, UrdfJoint
from vla_ros.operator.robot_graph import COMPRESSED, IMAGE, GraphSnapshot

DRAFT_TYPES = (IMAGE, COMPRESSED, JOINT_STATE, ODOMETRY, WRENCH, IMU, NUMBERS, *SENSOR_TYPES)
# Topics that are drafted where somebody listens. The others' listeners do not say what they move.
DRAFT_OUTPUTS = frozenset({TWIST, TWIST_STAMPED, NUMBERS, TRAJECTORY})
# Actions that are drafted where somebody serves them and no topic moves the same joints.
DRAFT_ACTIONS = frozenset({GRIPPER_COMMAND, PARALLEL_GRIPPER, FOLLOW_TRAJECTORY})
SEND_GOAL = "/_action/send_goal"  # the service of an action that tells its name and type
# A first motion is slow; a person raises it.
CAREFUL_RAD_S = 0.5
CAREFUL_M_S = 0.1
STEP_RAD = 0.5  # as the robot files of the package have it
MARGIN = 0.01  # of a joint's range, between what is clamped and what is refused
GRIPPER = re.compile(r"gripper|finger|knuckle|jaw|hand", re.IGNORECASE)
WHEEL = re.compile(r"wheel|caster", re.IGNORECASE)
# In a topic's name, what says no more than that there are images.
IMAGE_WORDS = re.compile(r"image\w*|colou?r|rgb|raw|rect\w*|compressed|depth|aligned\w*|preview")
NAME = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
OTHER_TRANSPORTS = ("/compressedDepth", "/theora", "/zstd", "/ffmpeg")


@dataclass(frozen=True)
class RobotDraft:
    """A robot file's text, and what is left to fill in, a sentence each."""

    text: str
    todo: tuple[str, ...]


@dataclass
class _Channels:
    """What a listening topic is taken to obey; whether the listener itself says so."""

    topic: str
    type: str
    joints: list[str]
    says_joints: bool
    names: list[str] = field(default_factory=list)

    @property
    def is_action(self) -> bool:
        return self.type in DRAFT_ACTIONS


def draft_robot(
    graph: GraphSnapshot, name: str, urdf: Urdf | None = None, urdf_file: str = ""
) -> RobotDraft:
    """The draft.

    Args:
        graph: as it was seen; `DRAFT_TYPES` were listened to.
        name: the robot's.
        urdf: its joints and limits; None: nobody knows them.
        urdf_file: what the robot file calls it, relative to itself.

    Raises:
        ValueError: nothing in the graph takes commands, so there would be no channel.
    """
    return _Drafter(graph, urdf, urdf_file).draft(name)


def has_robot(graph: GraphSnapshot) -> bool:
    """Whether anything in it belongs to a robot."""
    for topic in graph.topics.values():
        types = {endpoint.type for endpoint in topic.publishers} & {*DRAFT_TYPES}
        types |= {endpoint.type for endpoint in topic.subscribers} & DRAFT_OUTPUTS
        if types:
            return True
    return False


def camera_name(topic: str) -> str:
    """What a camera is called by its topic: /scene_camera/image_raw -> scene."""
    words: list[str] = []
    for word in topic.strip("/").split("/"):
        if not IMAGE_WORDS.fullmatch(word):
            words.append(word)
    name = words[-1] if words else "camera"
    short = re.sub(r"^(camera|cam)_|_(camera|cam)$", "", name)
    return short if ENTRY_NAME.fullmatch(short) else "camera"


class _Drafter:
    """Collects the lines of a draft, and what is left to do."""

    def __init__(self, graph: GraphSnapshot, urdf: Urdf | None, urdf_file: str) -> None:
        self._graph = graph
        self._urdf = urdf
        self._urdf_file = urdf_file
        self._joints: dict[str, UrdfJoint] = {}
        if urdf is not None:
            for joint in urdf.joints:
                if joint.kind in MOVING and not joint.mimics:
                    self._joints[joint.name] = joint
        self._lines: list[str] = []
        self._todo: list[str] = []
        self._unused: list[str] = []

    def draft(self, name: str) -> RobotDraft:
        # First, as whether there is a base decides what else is asked.
        outputs = self._outputs()
        if not outputs:
            raise ValueError(
                "nothing takes commands: no topic of "
                f"{', '.join(sorted(DRAFT_OUTPUTS))} has a listener, and no action of "
                f"{', '.join(sorted(DRAFT_ACTIONS))} a server; start the robot's controllers and "
                "try again"
            )
        self._add("# A draft by `vla robot init`: read it line by line before anything moves.")
        self._add("# Limits are the URDF's, speeds slow on purpose; what is not known says TODO.")
        self._add(f"name: {_plain(name)}")
        self._base_frame(outputs)
        self._cameras()
        self._state()
        base = any("Twist" in output.type for output in outputs)
        if base:
            self._base()
        self._channels(outputs)
        self._add("", "outputs:")
        for output in outputs:
            self._output(output)
        self._leftovers(base)
        return RobotDraft("\n".join(self._lines) + "\n", tuple(self._todo))

    def _add(self, *lines: str) -> None:
        self._lines += lines

    def _ask(self, line: str, sentence: str) -> None:
        """A line with something in it, or about it, that a person must look at."""
        sentence = " ".join(sentence.split())  # a joint's name may hold a new line
        space = "  " if line.strip() else ""
        self._lines.append(f"{line}{space}# TODO: {sentence}")
        self._todo.append(sentence)

    def _published(self, *types: str) -> list[str]:
        """Topics of these types that somebody other than the suite publishes, in order."""
        topics: list[str] = []
        for name in sorted(self._graph.topics):
            for endpoint in self._graph.topics[name].publishers:
                if endpoint.type in types and not endpoint.node.startswith("/vla/"):
                    topics.append(name)
                    break
        return topics

    # -- frames and cameras ------------------------------------------------------------
    def _base_frame(self, outputs: Sequence[_Channels]) -> None:
        if self._urdf is None:
            self._ask("base_frame: base_link", "no URDF was there; name the robot's base frame")
            self._ask(
                "", "give the robot's URDF (vla robot init --urdf FILE), so that limits are known"
            )
            return
        self._add(f"base_frame: {_plain(self._urdf.root)}")
        unknown: list[str] = []
        for joint in self._commanded(outputs):
            if joint not in self._joints or self._joints[joint].velocity <= 0.0:
                unknown.append(joint)
        if unknown:
            self._ask(
                f"# urdf: {_plain(self._urdf_file)}",
                f"the URDF has no joint, or a velocity of 0, for {', '.join(unknown)}: correct it",
            )
        elif self._urdf_file:
            self._add(f"urdf: {_plain(self._urdf_file)}  # no limit below may be wider than there")

    def _cameras(self) -> None:
        colours, depths = self._images()
        if not colours:
            self._ask("", "no camera publishes; a policy looks through at least one: 'cameras'")
            return
        self._add("", "cameras:")
        for name, topic in colours.items():
            heard = self._graph.topics[topic].heard
            compressed = topic.endswith("/compressed")
            parts = [f"topic: {topic}"]
            if compressed:
                parts.append("transport: compressed")
            nearest = _nearest(topic, depths)
            if nearest:
                depths.remove(nearest)
                parts.append(f"depth: {nearest}")
            message = heard.messages[-1] if heard and heard.messages else None
            if message is not None and not compressed:
                parts.append(f"size: [{message.height}, {message.width}]")
            line = f"  {name}: {{{', '.join(parts)}}}"
            if message is None:
                self._ask(line, f"no image came from {topic}: is it the right one?")
            elif nearest and "align" not in nearest:
                self._ask(line, f"is {nearest} aligned with the colour of '{name}'?")
            else:
                self._add(line)
        for topic in depths:
            self._ask("", f"{topic} has depth images; of which camera? give it as its 'depth'")

    def _images(self) -> tuple[dict[str, str], list[str]]:
        """Camera -> its topic, and the topics of depth images."""
        colours: dict[str, str] = {}
        depths: list[str] = []
        topics = self._published(IMAGE, COMPRESSED)
        for topic in topics:
            raw = topic[: -len("/compressed")] if topic.endswith("/compressed") else ""
            # Raw costs no decoding and loses nothing; who wants the other changes a line.
            if topic.endswith(OTHER_TRANSPORTS) or raw in topics:
                continue
            if self._is_depth(topic):
                depths.append(topic)
                continue
            name = camera_name(topic)
            number = 2
            while name in colours:
                name = f"{camera_name(topic)}_{number}"
                number += 1
            if len(colours) < MAX_CAMERAS:
                colours[name] = topic
        return colours, depths

    def _is_depth(self, topic: str) -> bool:
        heard = self._graph.topics[topic].heard
        # What it says of itself goes before what it is called.
        if heard and heard.messages and hasattr(heard.messages[-1], "encoding"):
            return heard.messages[-1].encoding in DEPTH
        return "depth" in topic

    # -- state -------------------------------------------------------------------------
    def _measured(self) -> dict[str, str]:
        """Joint -> the first topic that names it, in the messages' order."""
        measured: dict[str, str] = {}
        for topic in self._published(JOINT_STATE):
            heard = self._graph.topics[topic].heard
            for message in heard.messages if heard else ():
                for name in message.name:
                    measured.setdefault(name, topic)
        return measured

    def _unit(self, joint: str) -> str:
        prismatic = joint in self._joints and self._joints[joint].kind == "prismatic"
        return "m" if prismatic else "rad"

    def _state(self) -> None:
        entries: dict[tuple[str, str], list[str]] = {}
        mimics: set[str] = set()
        for joint in self._urdf.joints if self._urdf else ():
            if joint.mimics:
                mimics.add(joint.name)
        for name, topic in self._measured().items():
            # It follows another joint: a second number for the same thing.
            if name not in mimics:
                entries.setdefault((topic, self._unit(name)), []).append(name)
        odometry = self._published(ODOMETRY)
        if not entries and not odometry:
            self._ask("", "nobody publishes joint states or odometry: how is the robot known?")
            return
        self._add("", "state:")
        for topic in odometry[:1]:
            self._add(f"  - {{topic: {topic}, type: {ODOMETRY}}}")
        for (topic, unit), names in entries.items():
            line = (
                f"  - {{topic: {topic}, type: {JOINT_STATE}, names: [{_list(names)}], "
                f"unit: {unit}}}"
            )
            if self._urdf is None:
                self._ask(line, f"is {topic} in rad (a slider's: m), or in deg or 0..100?")
            else:
                self._add(line)

    # -- what obeys --------------------------------------------------------------------
    def _listening(self) -> list[_Channels]:
        """What somebody takes commands from, each with the joints that it says."""
        found: list[_Channels] = []
        for name in sorted(self._graph.topics):
            for endpoint in self._graph.topics[name].subscribers:
                if endpoint.type in DRAFT_OUTPUTS and not endpoint.node.startswith("/vla/"):
                    joints = list(self._graph.controller_joints.get(endpoint.node, ()))
                    found.append(_Channels(name, endpoint.type, joints, bool(joints)))
                    break
        for action, kind in self._actions():
            if kind in DRAFT_ACTIONS:
                found.append(_Channels(action, kind, [], says_joints=False))
        return found

    def _actions(self) -> list[tuple[str, str]]:
        """The robot's actions, each with its type."""
        actions: list[tuple[str, str]] = []
        for name, kind in sorted(self._graph.services.items()):
            if name.endswith(SEND_GOAL) and not name.startswith("/vla/"):
                actions.append((name.removesuffix(SEND_GOAL), kind.removesuffix("_SendGoal")))
        return actions

    def _outputs(self) -> list[_Channels]:
        """Which topics the draft sends, so that each joint is sent once.

        First those that say their joints, then grippers by their names; an arm gets the rest.
        """
        taken: set[str] = set()
        outputs: list[_Channels] = []
        for output in sorted(self._listening(), key=_claim_order):
            if "Twist" in output.type:
                joints = ["linear.x", "angular.z"]
            elif re.search("velocity|effort", output.topic):
                joints = []  # a position sent there would be a speed, or a force
            else:
                joints = output.joints or self._guessed(output.topic)
            if output.type == GRIPPER_COMMAND and len(joints) != 1:
                joints = []  # it moves one, and nothing says which
            if not joints or taken & set(joints):
                # The arm's own controller has what no other took.
                joints = [joint for joint in joints if joint not in taken]
                certain = output.says_joints or output.is_action or "Twist" in output.type
                if certain or not joints:
                    self._unused.append(f"{output.topic} ({output.type})")
                    continue
            taken.update(joints)
            outputs.append(_Channels(output.topic, output.type, joints, output.says_joints))
        self._name(outputs)
        return outputs

    def _guessed(self, topic: str) -> list[str]:
        """The joints that a topic may stand for, by its name alone."""
        joints: list[str] = []
        for name in self._joints or self._measured():
            # A base's drive turns them: nobody commands their positions.
            if WHEEL.search(name):
                continue
            if bool(GRIPPER.search(topic)) == bool(GRIPPER.search(name)):
                joints.append(name)
        return joints

    def _name(self, outputs: Sequence[_Channels]) -> None:
        """A robot's only gripper is called so, whatever its joint is."""
        grippers: list[str] = []
        for joint in self._commanded(outputs):
            if GRIPPER.search(joint):
                grippers.append(joint)
        for output in outputs:
            for joint in output.joints:
                output.names.append("gripper" if grippers == [joint] else joint)

    def _commanded(self, outputs: Sequence[_Channels]) -> list[str]:
        joints: list[str] = []
        for output in outputs:
            if "Twist" not in output.type:
                joints += output.joints
        return joints

    # -- channels ----------------------------------------------------------------------
    def _base(self) -> None:
        sensors = self._published(*SENSOR_TYPES)
        if not sensors:
            self._ask("", "no range sensor publishes: without 'obstacles' the gate sees nothing")
            return
        self._add("")
        self._ask(
            "footprint: {front: TODO, back: TODO, left: TODO, right: TODO}",
            "how far the robot reaches from its base frame, m",
        )
        self._add("obstacles:", "  stop_distance: 0.3", "  slow_distance: 0.6", "  sensors:")
        for topic in sensors:
            kind = self._graph.topics[topic].publishers[0].type
            place = "x: TODO, y: TODO, yaw: TODO"
            if kind == CLOUD:
                place += ", z: TODO, height: TODO, max_range: TODO"
            self._ask(
                f"    - {{topic: {topic}, type: {kind}, {place}}}",
                f"where {topic} sits in the base frame, m and rad",
            )

    def _channels(self, outputs: Sequence[_Channels]) -> None:
        self._add("", "channels:")
        measured = self._measured()
        for output in outputs:
            if "Twist" in output.type:
                self._ask("  ", "the base's limits below are slow guesses; what may it do?")
                self._add(
                    "  linear.x: {unit: m/s, bounds: [-0.5, 0.5], limits: [-0.2, 0.2], "
                    "acceleration: 0.5, deceleration: 1.0, on_stop: zero}",
                    "  angular.z: {unit: rad/s, bounds: [-1.0, 1.0], limits: [-0.5, 0.5], "
                    "acceleration: 1.0, deceleration: 2.0, on_stop: zero}",
                )
                continue
            for name, joint in zip(output.names, output.joints):
                self._channel(name, joint, measured)

    def _channel(self, name: str, joint: str, measured: Mapping[str, str]) -> None:
        limits = self._joints.get(joint)
        if name == "gripper" and limits is not None and limits.kind in LIMITED:
            self._gripper(limits, joint in measured)
            return
        unit = self._unit(joint)
        fastest = CAREFUL_M_S if unit == "m" else CAREFUL_RAD_S
        ends = "bounds: TODO, limits: TODO"
        sentence = f"how far '{name}' may go, [lowest, highest] in {unit}"
        if limits is not None and limits.kind in LIMITED:
            margin = MARGIN * (limits.upper - limits.lower)
            ends = (
                f"bounds: {_inside(limits.lower, limits.upper)}, "
                f"limits: {_inside(limits.lower + margin, limits.upper - margin)}"
            )
            sentence = ""
        elif limits is not None:
            ends = "bounds: [-3.14, 3.14], limits: [-3.1, 3.1]"
            sentence = f"'{name}' turns for ever; does what is measured begin anew (wraps: true)?"
        if limits is not None and 0.0 < limits.velocity < fastest:
            fastest = limits.velocity
        # What a gripper holds must not fall: it goes on pressing.
        stop = "hold_commanded" if GRIPPER.search(joint) else "hold_measured"
        # A step's size is in the joint's unit: what suits an angle says nothing of a slider.
        line = f"  {_plain(name)}: {{unit: {unit}, {ends}, max_speed: {_down(fastest)}, "
        if unit == "rad":
            line += f"max_step: {STEP_RAD:g}, "
        line += f"on_stop: {stop}"
        line += f", joint: {_plain(joint)}}}" if joint in measured else "}"
        if joint not in measured:
            more = f"nothing measures '{name}'; name its joint, or its start, where it stands"
            sentence = f"{sentence}; {more}" if sentence else more
        if sentence:
            self._ask(line, sentence)
        else:
            self._add(line)

    def _gripper(self, joint: UrdfJoint, is_measured: bool) -> None:
        """From 0 (closed) to 1 (open), over the whole way of its joint."""
        way = joint.upper - joint.lower
        speed = 1.0
        if 0.0 < joint.velocity < math.inf:
            speed = min(speed, joint.velocity / way)
        offset = f", offset: {joint.lower:.6g}" if joint.lower else ""
        measured = f", joint: {_plain(joint.name)}" if is_measured else ""
        sentence = (
            f"taken as closed at {joint.lower:g} and open at {joint.upper:g}; if it is the other "
            f"way, scale: {-way:.6g}, offset: {joint.upper:.6g}"
        )
        if not is_measured:
            sentence += "; and nothing measures it: name its joint, or its start"
        self._ask(
            f'  gripper: {{unit: "1", bounds: [-0.1, 1.1], limits: [0.0, 1.0], '
            f"max_speed: {_down(speed)}, on_stop: hold_commanded{measured}, "
            f"scale: {way:.6g}{offset}}}",
            sentence,
        )

    def _output(self, output: _Channels) -> None:
        line = f"  - {{topic: {output.topic}, type: {output.type}, channels: "
        # By the wrong order an arm would jump at the first command.
        if output.type == NUMBERS and len(output.names) > 1 and not output.says_joints:
            self._ask(
                f"{line}TODO}}",
                f"in which order does {output.topic} take {', '.join(output.names)}? [first, ...]",
            )
        else:
            self._add(f"{line}[{_list(output.names)}]}}")

    def _leftovers(self, base: bool) -> None:
        """What is there and not in the draft."""
        arm = any(not GRIPPER.search(name) and not WHEEL.search(name) for name in self._joints)
        if self._urdf is not None and arm:
            self._add("")
            self._ask("", "with 'workspace' the gate keeps the arm's tool off the table: add it")
        unused = list(self._unused)
        # Of use to some policies, needed by none: who wants them writes a line of `state`.
        others = [WRENCH, IMU, NUMBERS]
        if not base:
            others += sorted(SENSOR_TYPES)
        for topic in self._published(*others):
            unused.append(f"{topic} ({self._graph.topics[topic].publishers[0].type})")
        for topic in self._published(ODOMETRY)[1:]:
            unused.append(f"{topic} ({ODOMETRY})")
        for action, kind in self._actions():
            if kind not in DRAFT_ACTIONS:
                unused.append(f"{action} ({kind})")
        if unused:
            self._add("", "# Also there, and not used here:")
            self._add(*(f"#   {text}" for text in unused))


def _plain(name: str) -> str:
    """As YAML reads it back as the same text: quoted where it may mean something else."""
    return name if NAME.fullmatch(name) and name.lower() not in YAML_WORDS else json.dumps(name)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(_plain, names))


def _claim_order(output: _Channels) -> tuple[bool, bool, bool, bool, bool, str]:
    """Who says its joints comes first, actions last; grippers before arms, /cmd_vel before other
    Twists."""
    return (
        output.is_action,
        not output.says_joints,
        not GRIPPER.search(output.topic),
        output.topic != "/cmd_vel",
        output.type != TRAJECTORY,
        output.topic,
    )


def _nearest(topic: str, depths: Sequence[str]) -> str:
    """The depth image under the same camera's name; an aligned one before others."""
    near: list[str] = []
    for depth in depths:
        if camera_name(depth) == camera_name(topic):
            near.append(depth)
    near.sort(key=lambda depth: "align" not in depth)
    return near[0] if near else ""


def _inside(low: float, high: float) -> str:
    """As in YAML, rounded inward: what is wider than the URDF is refused."""
    return f"[{math.ceil(low * 1e4) / 1e4!r}, {math.floor(high * 1e4) / 1e4!r}]"


def _down(value: float) -> str:
    return repr(math.floor(value * 1e4) / 1e4)
