"""Holds a robot file against a snapshot of the ROS graph: what fits, what is doubtful, what not.

The suite reads everything from the robot as best effort, volatile, which takes any publisher's
messages; it sends reliable, volatile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from vla_ros.core.check_finding import DOUBTFUL, FITS, WRONG, CheckFinding
from vla_ros.core.compressed import read_header
from vla_ros.core.depth import check_aligned, depth_of_message
from vla_ros.core.encodings import check_layout
from vla_ros.core.joint_states import joint_positions
from vla_ros.core.robot import Robot
from vla_ros.core.robot_cameras import Camera
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_obstacles import CLOUD
from vla_ros.core.robot_outputs import Output
from vla_ros.core.robot_state import JOINT_STATE, NUMBERS
from vla_ros.core.types import Size
from vla_ros.core.urdf import Urdf, parse_urdf
from vla_ros.core.workspace import check_urdf_limits
from vla_ros.operator.robot_graph import (
    COMPRESSED,
    IMAGE,
    GraphEndpoint,
    GraphSnapshot,
    GraphTopic,
    HeardTopic,
    full_topic,
)

# The suite's defaults, of the parameters that are named; each may be raised.
TOPIC_TIMEOUT_S = 0.3  # the gate's topic_timeout
MAX_IMAGE_AGE_S = 0.4  # the gate's max_age
MAX_FUTURE_S = 0.05  # the gate's max_future
MAX_IMAGE_BYTES = 34_000_000  # camera_ingest's max_bytes
GATE = "safety_validator"


def check_robot(robot: Robot, graph: GraphSnapshot) -> list[CheckFinding]:
    """Everything that a robot file says and that a graph can confirm, in the file's order."""
    findings: list[CheckFinding] = []
    for camera in robot.cameras:
        findings += _camera(camera, graph)
    for cloud in robot.clouds:
        subject = f"cloud '{cloud.name}' {cloud.topic}"
        there = graph.topic(cloud.topic)
        findings += _source(subject, CLOUD, there, graph, MAX_IMAGE_AGE_S)
        findings += _cloud(subject, there.heard)
    for topic, kind in state_topics(robot).items():
        findings += _state(robot, topic, kind, graph)
    for channel in robot.channels:
        findings += _measured(channel, graph)
    if robot.obstacles is not None:
        for sensor in robot.obstacles.sensors:
            subject = f"sensor {sensor.topic}"
            there = graph.topic(sensor.topic)
            findings += _source(subject, sensor.type, there, graph, robot.obstacles.max_age)
            if sensor.type == CLOUD:
                findings += _cloud(subject, there.heard)
    for output in robot.outputs:
        findings += _output(robot, output, graph)
    findings += _description(robot, graph)
    findings += _clock(robot, graph)
    return findings


def state_topics(robot: Robot) -> dict[str, str]:
    """Topic -> type, of all that says how the robot is, required or not."""
    topics = dict.fromkeys(robot.joint_topics, JOINT_STATE)
    for source in robot.state:
        topics[source.topic] = source.type
    return topics


def heard_topics(robot: Robot) -> dict[str, str]:
    """Topic -> type, of all that a robot file wants to hear."""
    topics: dict[str, str] = {}
    for camera in robot.cameras:
        topics[camera.topic] = _image_type(camera.transport)
        if camera.depth:
            topics[camera.depth] = _image_type(camera.depth_transport)
    for cloud in robot.clouds:
        topics[cloud.topic] = CLOUD
    for sensor in robot.sensors:
        topics[sensor.topic] = sensor.type
    return {**topics, **state_topics(robot)}


# -- what is heard ---------------------------------------------------------------------
def _source(
    subject: str,
    kind: str,
    topic: GraphTopic,
    graph: GraphSnapshot,
    most_gap: float,
    required: bool = True,
) -> Iterator[CheckFinding]:
    """Whether somebody publishes there, of the right type, and often enough."""
    worst = WRONG if required else DOUBTFUL
    if not topic.publishers:
        change = "start its driver, or correct the topic in the robot file"
        yield CheckFinding(worst, subject, "nobody publishes there", change)
        return
    names = _names(topic.publishers)
    for endpoint in topic.publishers:
        if endpoint.type != kind:
            yield CheckFinding(
                worst,
                subject,
                f"{endpoint.node} publishes {endpoint.type} there, not {kind}",
                f"give the topic of its {kind}, or the type in the robot file",
            )
            return  # what is of another type cannot be listened to
    heard = topic.heard
    if heard is None or heard.count == 0:
        yield CheckFinding(
            worst,
            subject,
            f"{names} is there, and nothing came within {graph.seconds:g} s",
            "look at the driver's log; large messages get lost without config/fastdds.xml",
        )
        return
    rate = f"{heard.rate:.3g} messages/s"
    # On the average too seldom: the robot would hold again and again. Once: somebody was busy.
    if heard.rate * most_gap < 1.0:
        yield CheckFinding(
            worst,
            subject,
            f"{rate} from {names}; the suite waits {most_gap:g} s for the next",
            "let the driver publish faster, or raise topic_timeout (images: max_age) in a copy of "
            "config/vla.yaml",
        )
    elif heard.longest_gap > most_gap:
        yield CheckFinding(
            DOUBTFUL,
            subject,
            f"{rate} from {names}, once {heard.longest_gap:.2f} s without; the suite waits "
            f"{most_gap:g} s",
            "see what holds the driver up; the robot holds meanwhile",
        )
    else:
        yield CheckFinding(FITS, subject, f"{rate} of {kind} from {names}, {_qos(topic)}")


def _names(endpoints: Sequence[GraphEndpoint]) -> str:
    return ", ".join(sorted({endpoint.node for endpoint in endpoints})[:4])


def _qos(topic: GraphTopic) -> str:
    """What the publishers offer, in words."""
    offers: set[str] = set()
    for endpoint in topic.publishers:
        offer = "reliable" if endpoint.reliable else "best effort"
        offers.add(f"{offer}, latched" if endpoint.latched else offer)
    return " and ".join(sorted(offers))


def _camera(camera: Camera, graph: GraphSnapshot) -> Iterator[CheckFinding]:
    subject = f"camera '{camera.name}'"
    topic = graph.topic(camera.topic)
    kind = _image_type(camera.transport)
    yield from _source(f"{subject} {camera.topic}", kind, topic, graph, MAX_IMAGE_AGE_S)
    yield from _alone(subject, topic)
    size: Size | None = None  # as long as nobody knows it
    if topic.heard and topic.heard.messages:
        message = topic.heard.messages[-1]
        try:
            size = _image_size(message, camera)
        except ValueError as problem:
            change = "change the driver's encoding, or give the topic of another"
            yield CheckFinding(WRONG, subject, str(problem), change)
        else:
            yield from _fits(subject, camera, size, getattr(message, "encoding", "compressed"))
    if camera.depth:
        yield from _depth(camera, size, graph)


def _image_type(transport: str) -> str:
    return COMPRESSED if transport == "compressed" else IMAGE


def _image_size(message: Any, camera: Camera) -> Size:
    """Height and width. Raises ValueError for an image that camera_ingest would refuse."""
    # The header alone: pixels are not looked at.
    if camera.transport == "compressed":
        header = read_header(bytes(message.data), f"the image ('{message.format[:40]}')")
        return header.height, header.width
    check_layout(
        message.encoding,
        message.height,
        message.width,
        message.step,
        len(message.data),
        MAX_IMAGE_BYTES,
    )
    return message.height, message.width


def _fits(subject: str, camera: Camera, size: Size, encoding: str) -> Iterator[CheckFinding]:
    """The size and the crop of the file against an image."""
    height, width = size
    shape = f"{height} x {width} (height x width)"
    if camera.size and camera.size != size:
        yield CheckFinding(
            WRONG,
            subject,
            f"its images are {shape}, not {camera.size[0]} x {camera.size[1]}",
            f"write size: [{height}, {width}], or set the driver's resolution",
        )
    elif camera.crop and _outside(camera.crop, size):
        yield CheckFinding(
            WRONG,
            subject,
            f"crop {list(camera.crop)} reaches outside its images of {shape}",
            "give [x, y, width, height] inside them",
        )
    else:
        yield CheckFinding(FITS, subject, f"{encoding} of {shape}")


def _outside(crop: tuple[int, int, int, int], size: Size) -> bool:
    x, y, width, height = crop
    return y + height > size[0] or x + width > size[1]


def _depth(camera: Camera, size: Size | None, graph: GraphSnapshot) -> Iterator[CheckFinding]:
    subject = f"depth of '{camera.name}'"
    topic = graph.topic(camera.depth)
    kind = _image_type(camera.depth_transport)
    yield from _source(f"{subject} {camera.depth}", kind, topic, graph, MAX_IMAGE_AGE_S)
    if not topic.heard or not topic.heard.messages:
        return
    try:
        message = topic.heard.messages[-1]
        depth = depth_of_message(message, camera.depth_transport, MAX_IMAGE_BYTES)
        if size:
            check_aligned(size, depth, camera.name)
    except ValueError as problem:
        change = "give the topic of the depth that is aligned with the colour"
        yield CheckFinding(WRONG, subject, str(problem), change)


def _alone(subject: str, topic: GraphTopic) -> Iterator[CheckFinding]:
    if len(topic.publishers) > 1:
        yield CheckFinding(
            WRONG,
            subject,
            f"{len(topic.publishers)} publishers share its topic: {_names(topic.publishers)}",
            "let each have its own topic: their images would be mixed",
        )


def _cloud(subject: str, heard: HeardTopic | None) -> Iterator[CheckFinding]:
    if not heard or not heard.messages:
        return
    names = [field.name for field in heard.messages[-1].fields]
    if not {"x", "y", "z"} <= set(names):
        yield CheckFinding(
            WRONG,
            subject,
            f"its points have {', '.join(names[:10]) or 'no fields'}, and no x, y and z",
            "give the topic of a point cloud with coordinates",
        )


# -- the robot's state -----------------------------------------------------------------
def _state(robot: Robot, topic: str, kind: str, graph: GraphSnapshot) -> Iterator[CheckFinding]:
    subject = f"state {topic}"
    there = graph.topic(topic)
    required = topic in robot.required_topics
    yield from _source(subject, kind, there, graph, TOPIC_TIMEOUT_S, required)
    if not there.heard or not there.heard.messages:
        return
    if kind == JOINT_STATE:
        yield from _joints(robot, topic, there.heard)
    elif kind == NUMBERS:
        yield from _numbers(robot, topic, there.heard)
    # Joints of several publishers are merged by name; other messages say everything.
    elif len(there.publishers) > 1:
        yield CheckFinding(
            DOUBTFUL,
            subject,
            f"{len(there.publishers)} publishers share it: {_names(there.publishers)}",
            "let one of them publish there: their numbers would be mixed",
        )


def _wanted_joints(robot: Robot, topic: str) -> list[str]:
    """By the names of the messages, as the file orders them."""
    wanted: list[str] = []
    for source in robot.state:
        if source.topic == topic and source.type == JOINT_STATE:
            wanted += source.names.values()
    for channel in robot.joint_topics.get(topic, ()):
        wanted.append(channel.joint)
    return list(dict.fromkeys(wanted))  # once each, in their order


def _joints(robot: Robot, topic: str, heard: HeardTopic) -> Iterator[CheckFinding]:
    """Which joints are named, and whether a message is one that would be refused."""
    subject = f"state {topic}"
    wanted = _wanted_joints(robot, topic)
    named: list[str] = []
    problems: list[str] = []
    # Several publishers, each with some of the joints, are usual on one topic.
    for message in heard.messages:
        named += [name for name in message.name if name not in named]
        try:
            joint_positions(message.name, message.position, wanted)
        except ValueError as problem:
            problems.append(str(problem))
    if problems:
        yield CheckFinding(
            WRONG,
            subject,
            f"{len(problems)} of {len(heard.messages)} messages are refused: {problems[-1]}",
            "correct the driver",
        )
    missing = [name for name in wanted if name not in named]
    if missing:
        yield CheckFinding(
            WRONG,
            subject,
            f"no message names {', '.join(missing)}; they name {', '.join(named[:12]) or 'none'}",
            "write the driver's names into the robot file, or start what publishes them",
        )
    elif wanted:
        order = [name for name in named if name in wanted]
        how = "" if order == wanted else ", in another order than the file: they go by name"
        yield CheckFinding(FITS, subject, f"names all {len(wanted)} joints{how}")


def _numbers(robot: Robot, topic: str, heard: HeardTopic) -> Iterator[CheckFinding]:
    """An array has no names: its length must be the file's."""
    names = [name for source in robot.state if source.topic == topic for name in source.names]
    values = heard.messages[-1].data
    subject = f"state {topic}"
    if len(values) != len(names):
        yield CheckFinding(
            WRONG,
            subject,
            f"its arrays have {len(values)} numbers, the file names {len(names)}",
            "name all of them, in their order",
        )
    elif not all(map(math.isfinite, values)):
        yield CheckFinding(WRONG, subject, f"it says {list(values)[:8]}", "correct the driver")


def _measured(channel: Channel, graph: GraphSnapshot) -> Iterator[CheckFinding]:
    """Where a position stands against its bounds: outside, the gate refuses to move it; most often
    the unit is another."""
    heard = graph.topic(channel.joint_topic).heard
    if channel.is_velocity or not channel.joint or heard is None:
        return
    # The last message that names it; another publisher's may have come since.
    for message in reversed(heard.messages):
        if channel.joint not in message.name or len(message.name) != len(message.position):
            continue
        value = channel.measured(message.position[list(message.name).index(channel.joint)])
        low, high = channel.bounds
        slack = 1e-3 * (high - low)  # a gripper at its end, measured a little beyond
        if math.isfinite(value) and not low - slack <= value <= high + slack:
            yield CheckFinding(
                WRONG,
                f"channel '{channel.name}'",
                f"it stands at {value:.4g}{channel.unit_mark}, "
                f"outside its bounds {low:g} to {high:g}",
                "correct unit, sent_unit, scale or bounds, or move it inside by hand",
            )
        return


# -- where commands go -----------------------------------------------------------------
def _output(robot: Robot, output: Output, graph: GraphSnapshot) -> Iterator[CheckFinding]:
    subject = f"output {output.topic}"
    if output.is_action:
        yield _action(output, graph)
        return
    topic = graph.topic(output.topic)
    others: list[GraphEndpoint] = []
    # By its name, in any namespace: the suite may run already. The gate itself trusts no name.
    for endpoint in topic.publishers:
        if endpoint.node.rpartition("/")[2] != GATE:
            others.append(endpoint)
    if others:
        yield CheckFinding(
            WRONG,
            subject,
            f"{_names(others)} also publishes commands there",
            "stop that node: only the gate may speak to the robot",
        )
    if not topic.subscribers:
        yield CheckFinding(
            WRONG,
            subject,
            "nobody listens there",
            "start the robot's driver or controller, or correct the topic in the robot file",
        )
    for endpoint in topic.subscribers:
        if endpoint.type != output.type:
            yield CheckFinding(
                WRONG,
                subject,
                f"{endpoint.node} listens for {endpoint.type}, not {output.type}",
                f"write type: {endpoint.type} into the robot file, if it can carry the channels",
            )
        elif endpoint.latched:
            yield CheckFinding(
                WRONG,
                subject,
                f"{endpoint.node} asks for what was said before (transient local); the gate sends "
                "reliable, volatile, and it would hear nothing",
                "make its subscription volatile",
            )
        else:
            yield from _controller(robot, output, endpoint.node, graph)


def _action(output: Output, graph: GraphSnapshot) -> CheckFinding:
    subject = f"output {output.topic}"
    # An action is found by the service that takes its goals.
    kind = graph.services.get(f"{full_topic(output.topic)}/_action/send_goal", "")
    if not kind:
        change = "start it, or correct the topic in the robot file"
        return CheckFinding(WRONG, subject, "no action server is there", change)
    if kind != f"{output.type}_SendGoal":
        there = kind.removesuffix("_SendGoal")
        change = f"write type: {there} into the robot file"
        return CheckFinding(WRONG, subject, f"its action server takes {there}", change)
    return CheckFinding(FITS, subject, f"an action server takes {output.type}")


def _controller(
    robot: Robot, output: Output, node: str, graph: GraphSnapshot
) -> Iterator[CheckFinding]:
    """A listener of the right type; where it says its joints, they are the output's."""
    subject = f"output {output.topic}"
    joints = list(graph.controller_joints.get(node, ()))
    sent: list[str] = []
    for name in output.channels:
        sent.append(robot.channel(name).joint or name)
    # A trajectory names its joints; an array's order alone says which is which.
    by_name = output.type.endswith("JointTrajectory")
    if not joints and output.type == NUMBERS and len(sent) > 1:
        yield CheckFinding(
            DOUBTFUL,
            subject,
            f"{node} takes {output.type} and does not say for which joints",
            f"see in its configuration that it takes {', '.join(sent)} in this order",
        )
        return
    if not joints or joints == sent or (by_name and sorted(joints) == sorted(sent)):
        text = f"{node} takes {output.type}"
        if joints:
            text += f" for {', '.join(joints)}"
        yield CheckFinding(FITS, subject, text)
        return
    yield CheckFinding(
        WRONG,
        subject,
        f"{node} takes {', '.join(joints)}; the file sends {', '.join(sent)}",
        "list the output's channels as the controller's parameter 'joints' has them",
    )


# -- limits and clocks -----------------------------------------------------------------
def _description(robot: Robot, graph: GraphSnapshot) -> Iterator[CheckFinding]:
    """The file's limits against the URDF that runs; load_robot held them against the file's own."""
    measured: list[Channel] = []
    for channel in robot.channels:
        if channel.joint and not channel.is_velocity:
            measured.append(channel)
    if not measured:
        return
    if not graph.description:
        if robot.urdf is None:
            yield CheckFinding(
                DOUBTFUL,
                "limits",
                "no urdf in the file, and nobody publishes /robot_description",
                "compare the limits with the maker's",
            )
        else:
            yield CheckFinding(FITS, "limits", f"within those of {robot.urdf.source}")
        return
    try:
        urdf = parse_urdf(graph.description, "/robot_description")
    except ValueError as problem:
        change = "compare the limits with the maker's"
        yield CheckFinding(DOUBTFUL, "limits", str(problem), change)
        return
    yield from _limits(measured, urdf)


def _limits(channels: Sequence[Channel], urdf: Urdf) -> Iterator[CheckFinding]:
    whole = True
    known = {joint.name for joint in urdf.joints}
    for channel in channels:
        subject = f"channel '{channel.name}'"
        if channel.joint not in known:
            whole = False
            text = f"{urdf.source} has no joint '{channel.joint}'"
            change = "compare its limits with the maker's"
            yield CheckFinding(DOUBTFUL, subject, text, change)
            continue
        # One at a time: the first that is too wide would hide the others.
        try:
            check_urdf_limits([channel], urdf)
        except ValueError as problem:
            whole = False
            yield CheckFinding(WRONG, subject, str(problem), "narrow it in the robot file")
    if whole:
        yield CheckFinding(FITS, "limits", f"within those of {urdf.source}")


def _clock(robot: Robot, graph: GraphSnapshot) -> Iterator[CheckFinding]:
    """Stamps against now. The gate goes by them: what is too old, or of the future, is held."""
    ages: list[float] = []
    wrong = False
    for name, kind in heard_topics(robot).items():
        heard = graph.topic(name).heard
        if heard is None or heard.count == 0:
            continue
        # The gate goes by these stamps; joints and odometry it takes by their arrival.
        image = kind in (IMAGE, COMPRESSED)
        mark = WRONG if image or name in [sensor.topic for sensor in robot.sensors] else DOUBTFUL
        if heard.unstamped:
            wrong = True
            text = f"{heard.unstamped} of {heard.count} messages have the stamp 0"
            yield CheckFinding(mark, f"clock of {name}", text, "let the driver stamp its messages")
        if heard.age is None:
            continue
        age = heard.age
        # Whichever clock the driver goes by, the suite is told to go by, too.
        if heard.sim_age is not None and abs(heard.sim_age) < abs(age):
            age = heard.sim_age
        ages.append(age)
        if age < -MAX_FUTURE_S or age > MAX_IMAGE_AGE_S:
            wrong = True
            when = f"{age:.2f} s old" if age > 0 else f"{-age:.2f} s in the future"
            yield CheckFinding(
                mark,
                f"clock of {name}",
                f"its stamps are {when} when they come",
                "synchronise the clocks of both machines (chrony), or let the driver send sooner",
            )
    if ages and not wrong:
        yield CheckFinding(FITS, "clock", f"stamps are at most {max(ages):.3f} s old")
    clock = graph.topic("/clock")
    if clock.publishers:
        yield CheckFinding(
            DOUBTFUL,
            "clock",
            f"{_names(clock.publishers)} publishes /clock: simulated time",
            "give use_sim_time: true in a copy of config/vla.yaml, or end that node",
        )
