"""The arm's joints: their places and limits, where the tool is, and the joints for a tool's pose.

The last three axes meet in a point, the wrist: so the joints of a pose are a formula, exact and
some microseconds long, and no solver is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triple = tuple[float, float, float]
AXES: dict[str, Triple] = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
FINGER_TRAVEL_M = 0.04  # m that each finger moves from closed to open
UPPER_ARM_M = 0.28  # m, shoulder to elbow
FOREARM_M = 0.26  # m, elbow to wrist
HAND_M = 0.17  # m, wrist to tool
SHOULDER_HEIGHT_M = 0.16  # m above the table


@dataclass(frozen=True)
class Hinge:
    """A hinge: `child` turns about `axis` at `origin` (m) of `parent`; all zero: axes parallel.

    Attributes:
        limits: rad.
        speed: The fastest that its motor turns, rad/s.
        effort: Nm.
    """

    name: str
    parent: str
    child: str
    origin: Triple
    axis: str
    limits: tuple[float, float]
    speed: float
    effort: float


# With all joints at zero the upper arm points up and the forearm and the tool forward.
JOINTS = (
    Hinge("joint_1", "base_link", "link_1", (0.0, 0.0, 0.08), "z", (-2.6, 2.6), 1.6, 60.0),
    Hinge("joint_2", "link_1", "link_2", (0.0, 0.0, 0.08), "y", (-1.0, 1.6), 1.6, 60.0),
    Hinge("joint_3", "link_2", "link_3", (0.0, 0.0, UPPER_ARM_M), "y", (-1.5, 1.4), 1.6, 40.0),
    Hinge("joint_4", "link_3", "link_4", (0.10, 0.0, 0.0), "x", (-2.8, 2.8), 2.4, 15.0),
    Hinge("joint_5", "link_4", "link_5", (FOREARM_M - 0.10, 0.0, 0.0), "y", (-2.0, 2.0), 2.4, 15.0),
    Hinge("joint_6", "link_5", "link_6", (0.06, 0.0, 0.0), "x", (-3.0, 3.0), 2.4, 8.0),
)
NAMES = tuple(joint.name for joint in JOINTS)
FINGER = "finger_joint"  # each finger's distance from closed, m
TOOL_M: Triple = (HAND_M - 0.06, 0.0, 0.0)  # m in link_6; between the fingertips, z points out
FINGER_ROOT_M: Triple = (0.075, 0.0, 0.0)  # m in link_6
FINGER_SPEED_M_S = 0.08  # m/s
HOME = np.array([0.0, 0.01, 0.14, 0.0, 1.4208, 0.0])  # rad: over the table, pointing down
LIMITS = np.array([joint.limits for joint in JOINTS])  # 6 x 2, rad
SPEEDS = np.array([joint.speed for joint in JOINTS])  # rad/s


def turn(axis: str, angle: float) -> Array:
    """The 3 x 3 rotation by `angle` rad about x, y or z."""
    cos = math.cos(angle)
    sin = math.sin(angle)
    if axis == "x":
        return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    if axis == "y":
        return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


# link_6 points along x; a tool's frame points along its z.
TOOL_TURN = turn("y", math.pi / 2)


def tool_pose(joints: Array) -> tuple[Array, Array]:
    """Where the tool is: its place (3, m) and its rotation (3 x 3) in `base_link`.

    Args:
        joints: The six angles, rad.
    """
    place = np.zeros(3)
    rotation = np.eye(3)
    for joint, angle in zip(JOINTS, joints):
        place = place + rotation @ np.array(joint.origin)
        rotation = rotation @ turn(joint.axis, float(angle))
    return place + rotation @ np.array(TOOL_M), rotation @ TOOL_TURN


def joints_for(place: Array, rotation: Array) -> Array:
    """The six angles (rad) that bring the tool to `place` (3, m) with `rotation` (3 x 3).

    Of the up to eight answers it is the one with the elbow up, the arm not bent over backwards,
    and the wrist bent downwards.

    Raises:
        ValueError: The arm does not reach there, or only beyond a joint's limit.
    """
    wrist = place - HAND_M * rotation[:, 2]
    yaw = math.atan2(wrist[1], wrist[0])
    ahead = math.hypot(wrist[0], wrist[1])
    up = wrist[2] - SHOULDER_HEIGHT_M
    distance = math.hypot(ahead, up)
    bend = (distance**2 - UPPER_ARM_M**2 - FOREARM_M**2) / (2.0 * UPPER_ARM_M * FOREARM_M)
    if not abs(bend) <= 1.0:
        raise ValueError(
            f"the arm does not reach {np.round(place, 3).tolist()}: its wrist would be "
            f"{distance:.3f} m from the shoulder; {abs(UPPER_ARM_M - FOREARM_M):.2f} to "
            f"{UPPER_ARM_M + FOREARM_M:.2f} m it can be"
        )
    elbow = math.acos(bend)  # 0: straight
    inner = math.atan2(FOREARM_M * math.sin(elbow), UPPER_ARM_M + FOREARM_M * math.cos(elbow))
    shoulder = math.pi / 2 - (math.atan2(up, ahead) + inner)
    elbow -= math.pi / 2  # of joint_3: zero is a right angle
    forearm = turn("z", yaw) @ turn("y", shoulder + elbow)
    hand = forearm.T @ rotation @ TOOL_TURN.T  # what joints 4, 5 and 6 have to do: x, y, x
    sine = math.hypot(hand[1, 0], hand[2, 0])
    roll = 0.0
    last = math.atan2(hand[2, 1], hand[1, 1])
    if sine > 1e-9:  # else joints 4 and 6 turn about the same axis, and the last one does it all
        roll = math.atan2(hand[1, 0], -hand[2, 0])
        last = math.atan2(hand[0, 1], hand[0, 2])
    joints = np.array([yaw, shoulder, elbow, roll, math.atan2(sine, hand[0, 0]), last])
    for joint, angle in zip(JOINTS, joints.tolist()):
        if not joint.limits[0] <= angle <= joint.limits[1]:
            raise ValueError(
                f"the arm does not reach {np.round(place, 3).tolist()}: {joint.name} would be "
                f"{angle:.2f} rad; {joint.limits[0]:g} to {joint.limits[1]:g} it can be"
            )
    return joints


def pointing_down(yaw: float) -> Array:
    """The rotation (3 x 3) of a tool that points down, its fingers moving along `yaw` (rad)."""
    cos = math.cos(yaw)
    sin = math.sin(yaw)
    return np.array([[-sin, cos, 0.0], [cos, sin, 0.0], [0.0, 0.0, -1.0]])


def urdf() -> str:
    """The chain as a URDF, as it stands in config/robots/sim_arm.urdf."""
    links = ["base_link"]
    rows = []
    for joint in JOINTS:
        links.append(joint.child)
        low, high = joint.limits
        rows.append(
            f'  <joint name="{joint.name}" type="revolute">\n'
            f'    <parent link="{joint.parent}"/>\n'
            f'    <child link="{joint.child}"/>\n'
            f'    <origin xyz="{_spaced(joint.origin)}" rpy="0 0 0"/>\n'
            f'    <axis xyz="{_spaced(AXES[joint.axis])}"/>\n'
            f'    <limit lower="{low:g}" upper="{high:g}" velocity="{joint.speed:g}" '
            f'effort="{joint.effort:g}"/>\n'
            "  </joint>"
        )
    for name, child, side in (
        (FINGER, "left_finger", 1),
        ("right_finger_joint", "right_finger", -1),
    ):
        links.append(child)
        mimic = "" if name == FINGER else f'    <mimic joint="{FINGER}"/>\n'
        rows.append(
            f'  <joint name="{name}" type="prismatic">\n'
            '    <parent link="link_6"/>\n'
            f'    <child link="{child}"/>\n'
            f'    <origin xyz="{_spaced(FINGER_ROOT_M)}" rpy="0 0 0"/>\n'
            f'    <axis xyz="0 {side} 0"/>\n'
            f'    <limit lower="0" upper="{FINGER_TRAVEL_M:g}" velocity="{FINGER_SPEED_M_S:g}" '
            'effort="20"/>\n'
            f"{mimic}"
            "  </joint>"
        )
    links.append("tool")
    rows.append(
        '  <joint name="tool_joint" type="fixed">\n'
        '    <parent link="link_6"/>\n'
        '    <child link="tool"/>\n'
        f'    <origin xyz="{_spaced(TOOL_M)}" rpy="0 {math.pi / 2:.16g} 0"/>\n'
        "  </joint>"
    )
    named = "\n".join(f'  <link name="{link}"/>' for link in links)
    body = "\n".join(rows)
    return (
        '<?xml version="1.0"?>\n'
        "<!-- The simulated arm's joints; written by python3 -m vla_ros.sim.arm.chain. -->\n"
        f'<robot name="sim_arm">\n{named}\n{body}\n</robot>\n'
    )


def _spaced(numbers: Triple) -> str:
    return " ".join(f"{number:g}" for number in numbers)


if __name__ == "__main__":
    print(urdf(), end="")
