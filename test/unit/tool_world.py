"""An arm with a URDF and a workspace, for the tests, and where its tool is by products of 4 x 4 matrices."""
import math
from functools import cache

import numpy as np
from gate_world import World

from vla_ros.core.robot import parse_robot
from vla_ros.core.urdf import MOVING, parse_urdf

NAMES = [f"joint_{i}" for i in range(1, 7)]
PLACES = (  # kind, axis, xyz, rpy of each joint: none is like another
    ("revolute", "0 0 1", "0.03 0 0.1", "0 0 0"), ("revolute", "0 1 0", "0 0 0.1", "0 0 0"),
    ("revolute", "0 -1 0", "0.05 0 0.3", "0 0 0"), ("revolute", "1 0 0", "0.1 0 0.02", "0.3 0 0"),
    ("continuous", "0 1 1", "0.15 0.01 0", "0 -0.2 0.1"), ("revolute", "2 0 0", "0.06 0 0", "0 0 0.4"))
PLANAR = """<robot name="planar"><link name="base_link"/><link name="one"/><link name="tool"/>
<joint name="joint_1" type="revolute"><parent link="base_link"/><child link="one"/><axis xyz="0 0 1"/>
<limit lower="-3" upper="3" velocity="2" effort="1"/></joint>
<joint name="joint_2" type="prismatic"><parent link="one"/><child link="tool"/><origin xyz="0.3 0 0"/><axis xyz="1 0 0"/>
<limit lower="0" upper="0.4" velocity="1" effort="1"/></joint></robot>"""


def urdf_text(places=PLACES, more=""):
    """An arm from base_link, over a fixed mount, to a fixed tool."""
    links = ["base_link", "mount", *(f"link_{i}" for i in range(1, len(places) + 1)), "tool"]
    lines = ["<robot name='six'>", *(f"<link name='{link}'><inertial><mass value='1'/><inertia ixx='1' iyy='1' izz='1' "
                                     "ixy='0' ixz='0' iyz='0'/></inertial></link>" for link in links)]
    fixed = ("<joint name='{0}' type='fixed'><parent link='{1}'/><child link='{2}'/><origin xyz='{3}' rpy='{4}'/></joint>")
    lines.append(fixed.format("mounting", "base_link", "mount", "0.02 0 0.05", "0 0 0.2"))
    for i, (kind, axis, xyz, rpy) in enumerate(places, 1):
        lines.append(f"<joint name='joint_{i}' type='{kind}'><parent link='{links[i]}'/><child link='{links[i + 1]}'/>"
                     f"<origin xyz='{xyz}' rpy='{rpy}'/><axis xyz='{axis}'/>"
                     "<limit lower='-2.5' upper='2.5' velocity='2.0' effort='10'/></joint>")
    lines.append(fixed.format("tip", links[-2], "tool", "0.1 0 0.03", "0 1.5 0"))
    return "\n".join([*lines, more, "</robot>"])


def robot_data(names=NAMES, **keys):
    joint = {"unit": "rad", "bounds": [-2.0, 2.0], "limits": [-1.9, 1.9], "max_speed": 1.0, "on_stop": "hold_measured"}
    channels = {name: {**joint, "joint": name} for name in names}
    outputs = [{"topic": "/arm", "type": "trajectory_msgs/msg/JointTrajectory", "channels": list(names)}]
    return {"name": "six", "channels": channels, "outputs": outputs, "urdf": "six.urdf", **keys}


def arm(folder, workspace, text=None, **keys):
    """A robot of a file in `folder`, beside its URDF."""
    (folder / "six.urdf").write_text(text or urdf_text(), encoding="utf-8")
    return parse_robot(robot_data(workspace=workspace, **keys), folder)


def box(low, high, **name):
    return {"min": list(low), "max": list(high), **name}


def tool_at(robot, values):
    """Where the tool is: a product of homogeneous matrices, joint by joint, by Rodrigues' formula."""
    frame = np.eye(4)
    channels = {channel.joint: channel for channel in robot.channels}
    for joint in robot.workspace.chain:
        frame = frame @ origin(joint.xyz, joint.rpy)
        if joint.kind not in MOVING:
            continue
        channel = channels[joint.name]
        q = values[channel.name] * channel.scale + channel.offset
        if joint.kind == "prismatic":
            frame = frame @ homogeneous(np.array(joint.axis) * q, np.eye(3))
        else:
            along, across = about(joint.axis)
            frame = frame @ homogeneous((0, 0, 0), np.eye(3) * math.cos(q) + (1 - math.cos(q)) * along + math.sin(q) * across)
    return frame[:3, 3]


@cache
def origin(xyz, rpy):
    return homogeneous(xyz, rotation_z(rpy[2]) @ rotation_y(rpy[1]) @ rotation_x(rpy[0]))


@cache
def about(axis):
    """What Rodrigues' formula multiplies with 1 - cos and with sin."""
    return np.outer(axis, axis), np.cross(np.eye(3), axis)


def homogeneous(xyz, rotation):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, xyz
    return matrix


def rotation_x(angle):
    return np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])


def rotation_y(angle):
    return np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])


def rotation_z(angle):
    return np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])


def armed(robot, positions, lag=0):
    """An armed gate around `robot`, whose joints stand at `positions` and follow what they are sent; told to go."""
    world = World(robot)
    world.lag = lag
    world.positions = dict(positions)
    world.values = dict(positions)
    world.tick(3)
    assert world.arm()[0]
    world.say("go")
    return world


def planar(folder, **workspace):
    """A turntable with a slide on it: the tool is at (0.3 + joint_2) m from the origin, turned by joint_1."""
    data = robot_data(["joint_1", "joint_2"], workspace={"tool": "tool", **workspace})
    data["channels"]["joint_2"].update(bounds=[0.0, 0.4], limits=[0.0, 0.4], max_speed=1.0)
    (folder / "six.urdf").write_text(PLANAR, encoding="utf-8")
    return parse_robot(data, folder)


PARSED = parse_urdf(urdf_text())
