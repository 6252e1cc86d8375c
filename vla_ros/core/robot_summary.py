"""What a robot file means, in sentences: what the gate makes of each channel, and what is doubtful.

Needs no ROS and moves nothing: what can be said of a file by its text alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from vla_ros.core.robot import Robot
from vla_ros.core.robot_cameras import Camera
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_clouds import Cloud
from vla_ros.core.robot_obstacles import CLOUD, Footprint, Obstacles
from vla_ros.core.robot_state import JOINT_STATE, StateSource
from vla_ros.core.workspace import WorkspaceBox

# What is larger was most likely meant in degrees: an arm's joint turns a few times at most, and at
# some 3 rad/s.
TURN_RAD = math.tau
MANY_TURNS_RAD = 5.0 * TURN_RAD
FAST_RAD_S = 30.0
COLUMNS = ("channel", "unit", "limits", "refused beyond", "changes by, in 1 s", "on a stop")
ON_STOP = {
    "zero": "goes to zero",
    "hold_measured": "stays where it is measured",
    "hold_commanded": "stays where it was sent",
}


def row(channel: Channel) -> tuple[str, ...]:
    """What the gate makes of a channel, in the order of COLUMNS."""
    change = f"{channel.max_speed:g}"
    if channel.is_velocity:
        change = f"{channel.acceleration:g}, braking {channel.deceleration:g}"
    # The gate cannot hold a place that it does not know.
    measured_nowhere = channel.on_stop == "hold_measured" and not channel.joint
    return (
        channel.name,
        channel.unit,
        f"{channel.limits[0]:g} to {channel.limits[1]:g}",
        f"{channel.bounds[0]:g} to {channel.bounds[1]:g}",
        change,
        # where nothing measures it, it is taken to stand where it was sent
        ON_STOP["hold_commanded" if measured_nowhere else channel.on_stop],
    )


def meaning(robot: Robot) -> Iterator[str]:
    """All that holds of the robot as a whole, a sentence each."""
    yield from connections(robot)
    yield from urdf_limits(robot)
    yield from tool_limits(robot)


def connections(robot: Robot) -> Iterator[str]:
    """Where commands go, and what the gate listens to, a sentence each."""
    units = {channel.name: channel.sent_unit for channel in robot.channels}
    for output in robot.outputs:
        sent = []
        for name in output.channels:
            sent.append(f"{name} in {units[name]}" if units[name] else name)
        yield f"sends {output.topic} ({output.type}): {', '.join(sent)}"
    for topic, channels in robot.joint_topics.items():
        joints = ", ".join(channel.joint for channel in channels)
        yield f"hears {topic} (sensor_msgs/msg/JointState): {joints}"
    for camera in robot.cameras:
        yield _camera_sentence(robot, camera)
    for cloud in robot.clouds:
        yield _cloud_sentence(cloud)
    for source in robot.state:
        yield _state_sentence(source)
    if robot.obstacles is None:
        return
    yield from _distances(robot.footprint, robot.obstacles)
    for sensor in robot.obstacles.sensors:
        yield (
            f"looks by {sensor.topic} ({sensor.type}), at x {sensor.x:g} m, y {sensor.y:g} m, "
            f"yaw {sensor.yaw:g} rad; holds when it is older than {robot.obstacles.max_age:g} s"
        )
        if sensor.type == CLOUD:
            low, high = sensor.height
            yield (
                f"obstacles of {sensor.topic} are its points {low:g} to {high:g} m above the base "
                f"frame's origin, up to {sensor.max_range:g} m from it"
            )


def urdf_limits(robot: Robot) -> Iterator[str]:
    """What the URDF allows each joint, and what was passed over in it, a sentence each."""
    if robot.urdf is None:
        return
    yield f"{robot.urdf.source} has {len(robot.urdf.joints)} joints; no limit is wider than there"
    for channel in robot.channels:
        if channel.joint and not channel.is_velocity:
            joint = robot.urdf.joint(channel.joint)
            unit = "m" if joint.kind == "prismatic" else "rad"
            limits = f"{joint.lower:g} to {joint.upper:g} {unit}"
            if joint.kind == "continuous":
                limits = "to turn for ever"
            yield f"{channel.name}: the URDF allows {limits}, at most {joint.velocity:g} {unit}/s"
    yield from robot.urdf.notes


def tool_limits(robot: Robot) -> Iterator[str]:
    """Where the gate keeps an arm's tool, and how fast it may be, a sentence each."""
    if robot.enable_time > 0.0:
        yield f"for {robot.enable_time:g} s after the first motion of an arming, rates grow from 0"
    space = robot.workspace
    if space is None:
        return
    joints = [joint.name for joint in space.chain if joint.kind != "fixed"]
    yield f"the tool is '{space.tool}', moved by {', '.join(joints)} from '{robot.base_frame}'"
    for box in space.inside:
        yield f"the tool stays inside '{box.name}': {_extent(box)}"
    for box in space.outside:
        yield f"the tool stays out of '{box.name}': {_extent(box)}"
    if math.isfinite(space.max_tool_speed):
        yield f"the tool moves at most at {space.max_tool_speed:g} m/s"


def _distances(footprint: Footprint, obstacles: Obstacles) -> Iterator[str]:
    """How large the robot is taken to be, and how near to something it goes."""
    yield (
        f"reaches {footprint.front:g} m ahead of its base frame, {footprint.back:g} m behind it, "
        f"{footprint.left:g} m to the left and {footprint.right:g} m to the right"
    )
    yield (
        f"slows down {obstacles.slow_distance:g} m before an obstacle and goes no nearer than "
        f"{obstacles.stop_distance:g} m; where no sensor looks, at most "
        f"{obstacles.max_speed_unobserved:g} m/s"
    )


def _extent(box: WorkspaceBox) -> str:
    sides: list[str] = []
    for axis, low, high in zip("xyz", box.min, box.max):
        sides.append(f"{axis} {low:g} to {high:g} m")
    return ", ".join(sides)


def _camera_sentence(robot: Robot, camera: Camera) -> str:
    """Where a camera's images come from, and what becomes of them on their way to the policy."""
    steps: list[str] = []
    if camera.size:
        steps.append(f"of {camera.size[0]} x {camera.size[1]}")
    if camera.crop:
        x, y, width, height = camera.crop
        steps.append(f"cropped to {height} x {width} at x {x}, y {y}")
    if camera.rotate:
        steps.append(f"turned by {camera.rotate} degrees")
    if camera.depth:
        steps.append(f"depth on {camera.depth}")
    what = "".join(f", {step}" for step in steps)
    node = robot.camera_nodes[camera.name]
    return f"camera '{camera.name}' sees {camera.topic} ({camera.transport}{what}), node {node}"


def _cloud_sentence(cloud: Cloud) -> str:
    """Where a policy's point cloud comes from, and what is handed on of it."""
    colour = " with colours" if cloud.color else ""
    frame = "in the base frame" if cloud.frame == "base" else "in its sensor's frame"
    return (
        f"cloud '{cloud.name}' sees {cloud.topic}: at most {cloud.points} points{colour}, {frame}"
    )


def _state_sentence(source: StateSource) -> str:
    """Which numbers a topic gives, how they are converted, and whether the robot moves without."""
    names = ", ".join(source.names)
    sentence = f"state from {source.topic} ({source.type}): {names}"
    if source.unit:
        sentence += f"; in {source.unit}"
    if (source.scale, source.offset) != (1.0, 0.0):
        sentence += f", x {source.scale:g} + {source.offset:g}"
    return sentence + ("; holds when it is silent" if source.required else "; may be silent")


def _topics(robot: Robot) -> Iterator[str]:
    """All that the file names."""
    for output in robot.outputs:
        yield output.topic
    for sensor in robot.sensors:
        yield sensor.topic


def doubts(robot: Robot) -> Iterator[str]:
    """What is allowed, and still not what most robots want, a sentence each."""
    if robot.simulated:
        yield "simulated is true: the gate may arm itself (auto_arm); a real robot says false"
    if robot.obstacles is None:
        yield "there is no 'obstacles' part: the gate does not see what is in the way"
    if not robot.cameras:
        yield "there is no 'cameras' part: a policy looks through at least one"
    for camera in robot.cameras:
        if (camera.transport == "compressed") != camera.topic.endswith("/compressed"):
            yield (
                f"camera '{camera.name}' is {camera.transport} on '{camera.topic}'; compressed "
                "images are usually on one that ends in /compressed"
            )
    for topic in _topics(robot):
        if not re.fullmatch(r"(/?[A-Za-z_]\w*)(/[A-Za-z_]\w*)*", topic, re.ASCII):
            yield f"'{topic}' is no name of a ROS topic: letters, digits, _ and / only"
    # A sensor that is turned by 90 instead of 1.57 sees what is beside it as what is ahead.
    for sensor in robot.sensors:
        if abs(sensor.yaw) > TURN_RAD:
            yield f"'{sensor.topic}' has yaw {sensor.yaw:g} rad, over a turn; is it in degrees?"
    joints = {channel.name: channel.joint for channel in robot.channels if channel.joint}
    for source in robot.state:
        for name, published in source.names.items():
            if source.type == JOINT_STATE and joints.get(name, published) != published:
                yield (
                    f"state '{name}' is '{published}' on '{source.topic}', and the channel of that "
                    f"name has the joint '{joints[name]}'; is it another one?"
                )
    if robot.urdf is not None and robot.workspace is None:
        yield "there is a urdf and no 'workspace' part: the gate does not look where the tool goes"
    for channel in robot.channels:
        if channel.is_gripper and channel.bounds == channel.limits:
            yield (
                f"'{channel.name}' has bounds like its limits: a policy that asks for a little "
                "more than open or closed is refused; with bounds a tenth wider it is clamped"
            )
        measured = channel.joint and not channel.is_velocity
        if robot.urdf is not None and measured and not channel.wraps:
            joint = robot.urdf.joint(channel.joint)
            if joint.kind == "continuous":
                yield (
                    f"'{channel.name}' turns for ever by the URDF; say wraps: true if what is "
                    "measured begins anew after a turn"
                )
        radians = channel.unit.startswith("rad")
        if channel.unit.startswith("deg"):
            yield f"'{channel.name}' is in {channel.unit}; a policy's and ROS' angles are in rad"
        elif radians and max(map(abs, channel.limits)) > MANY_TURNS_RAD:
            yield (
                f"'{channel.name}' reaches {channel.limits[1]:g} {channel.unit}, many turns; is it "
                "in degrees?"
            )
        # Degrees a second look like a fast joint, not like a wrong one.
        if radians and math.isfinite(channel.max_speed) and channel.max_speed > FAST_RAD_S:
            yield (
                f"'{channel.name}' turns at {channel.max_speed:g} rad/s, ten times what most arms "
                "do; is it in degrees?"
            )
        if not channel.is_velocity and not channel.joint:
            if channel.start is None:
                yield (
                    f"'{channel.name}' has no start: until it was sent something, nobody knows "
                    "where it stands, and its first command may be a jump"
                )
            yield (
                f"no joint measures '{channel.name}': the gate believes that it stands where it "
                "was sent"
            )
        # Allowed: some bases brake by rolling out.
        if channel.is_velocity and channel.deceleration < channel.acceleration:
            yield (
                f"'{channel.name}' brakes by {channel.deceleration:g} and speeds up by "
                f"{channel.acceleration:g} {channel.unit}²: it takes longer to stop than to start"
            )
