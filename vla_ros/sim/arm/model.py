"""The arm, its table and a pool of things, as MuJoCo sees them: made of primitives here.

The model is compiled once; a scene recolours and places some of the pool and parks the rest.
"""

from __future__ import annotations

import math

import numpy as np

from vla_ros.sim.arm import chain
from vla_ros.sim.arm.scene import POOL

TIMESTEP_S = 0.004  # s
TABLE_DEPTH_M = 0.75  # m, the far edge from the arm's axis
TABLE_HALF_WIDTH_M = 0.62  # m
FLOOR_M = -0.72  # m: the floor, seen from the table's top
PARKED_M = (0.0, 6.0, FLOOR_M)  # m: where what a scene does not use lies
SCENE_CAMERA_M = (0.88, 0.0, 0.64)  # m: across the table, looking back at the arm
SCENE_TARGET_M = (0.20, 0.0, 0.07)  # m: what it looks at
SCENE_FOVY = math.radians(53.0)
WRIST_CAMERA_M = (
    0.01,
    0.0,
    0.075,
)  # m in link_6: at the side of the hand that is away from the base
WRIST_TILT = math.radians(24.0)  # towards the fingertips
WRIST_FOVY = math.radians(72.0)
# Shares of a bowl's and a cup's half width and of the height: the outside upwards, the inside down.
BOWL = (
    (0.0, 0.0),
    (0.52, 0.0),
    (0.82, 0.42),
    (1.0, 1.0),
    (0.94, 1.0),
    (0.72, 0.45),
    (0.4, 0.16),
    (0.0, 0.14),
)
CUP = ((0.0, 0.0), (0.94, 0.0), (1.0, 0.08), (1.0, 1.0), (0.87, 1.0), (0.85, 0.1), (0.0, 0.08))


def model_xml() -> str:
    """The MuJoCo model, as MJCF."""
    return f"""
<mujoco model="vla_table">
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10" iterations="30"/>
  <size memory="8M"/>
  <visual>
    <global offwidth="960" offheight="720" fovy="48"/>
    <quality numquads="1" numslices="20" numstacks="10" shadowsize="0" offsamples="0"/>
    <headlight ambient="0.40 0.40 0.41" diffuse="0.16 0.16 0.16" specular="0.05 0.05 0.05"/>
    <map znear="0.01" zfar="20"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.93 0.95 0.97" rgb2="0.80 0.85 0.91"
             width="64" height="384"/>
    <texture name="checker" type="2d" builtin="checker" rgb1="0.50 0.52 0.55" rgb2="0.45 0.47 0.50"
             width="128" height="128"/>
    <material name="floor" texture="checker" texrepeat="1.5 1.5" texuniform="true" specular="0.05"/>
    <material name="table" rgba="0.80 0.72 0.60 1" specular="0.10" shininess="0.2"/>
    <material name="shell" rgba="0.86 0.87 0.88 1" specular="0.3" shininess="0.4"/>
    <material name="dark" rgba="0.20 0.21 0.23 1" specular="0.3" shininess="0.4"/>
    <material name="pad" rgba="0.30 0.31 0.33 1" specular="0.1"/>
    {_meshes()}
  </asset>
  <default>
    <default class="arm"><geom contype="1" conaffinity="2" friction="0.5 0.005 0.0001" mass="0.4"/></default>
    <default class="look"><geom contype="0" conaffinity="0" group="1" mass="0"/></default>
    <default class="wall"><geom contype="2" conaffinity="7" group="3" condim="4" friction="0.6 0.01 0.001"/></default>
    <default class="thing"><geom contype="2" conaffinity="7" condim="4" friction="0.7 0.01 0.001"/></default>
  </default>
  <worldbody>
    <light directional="true" pos="1 -1 3" dir="-0.45 0.40 -1" diffuse="0.56 0.55 0.52"
           specular="0.15 0.15 0.15" castshadow="false"/>
    <light directional="true" pos="-1 1 3" dir="0.5 -0.35 -1" diffuse="0.16 0.16 0.18"
           specular="0 0 0" castshadow="false"/>
    <geom name="floor" class="look" type="plane" material="floor" size="6 6 0.5" pos="0 0 {FLOOR_M}"/>
    <geom name="table" type="box" contype="4" conaffinity="3" condim="4" friction="0.7 0.01 0.001"
          material="table" pos="{TABLE_DEPTH_M / 2 - 0.125} 0 -0.02"
          size="{TABLE_DEPTH_M / 2 + 0.125} {TABLE_HALF_WIDTH_M} 0.02"/>
    {_legs()}
    <camera name="scene" pos="{_spaced(SCENE_CAMERA_M)}" xyaxes="{_look_at(SCENE_CAMERA_M, SCENE_TARGET_M)}"
            fovy="{math.degrees(SCENE_FOVY):.4f}"/>
    <camera name="room" pos="0.95 -0.85 0.75" xyaxes="{_look_at((0.95, -0.85, 0.75), (0.22, 0.02, 0.08))}"
            fovy="42"/>
    {_arm()}
    {_pool()}
  </worldbody>
  <equality>
    <joint joint1="{chain.FINGER}" joint2="right_finger_joint" polycoef="0 1 0 0 0" solref="0.008 1"/>
  </equality>
  <actuator>
    {_actuators()}
  </actuator>
</mujoco>
"""


def _spaced(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.6g}" for number in numbers)


def _look_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> str:
    """MuJoCo's xyaxes of a camera at `eye` that looks at `target`, the image upright."""
    ahead = np.array(target) - np.array(eye)
    right = np.cross(ahead, (0.0, 0.0, 1.0))
    up = np.cross(right, ahead)
    return _spaced((*(right / np.linalg.norm(right)), *(up / np.linalg.norm(up))))


def _legs() -> str:
    rows = []
    for x in (-0.2, TABLE_DEPTH_M - 0.05):
        for y in (-TABLE_HALF_WIDTH_M + 0.05, TABLE_HALF_WIDTH_M - 0.05):
            rows.append(
                f'<geom class="look" type="box" size="0.02 0.02 {-FLOOR_M / 2 - 0.02}" material="dark" '
                f'pos="{x} {y} {FLOOR_M / 2 - 0.02}"/>'
            )
    return "\n    ".join(rows)


# What each link looks like; its frame is at its joint.
SHAPES_OF_LINKS = {
    "link_1": """<geom class="arm" type="cylinder" size="0.050 0.035" pos="0 0 0.0" material="shell"/>
      <geom class="arm" type="cylinder" size="0.044 0.062" pos="0 0 0.08" euler="90 0 0" material="dark"/>""",
    "link_2": """<geom class="arm" type="capsule" size="0.036" fromto="0 0.0 0.03 0 0.0 0.25" material="shell"/>""",
    "link_3": """<geom class="arm" type="cylinder" size="0.040 0.052" euler="90 0 0" material="dark"/>
      <geom class="arm" type="capsule" size="0.032" fromto="0.03 0 0 0.10 0 0" material="shell"/>""",
    "link_4": """<geom class="arm" type="capsule" size="0.027" fromto="0.01 0 0 0.13 0 0" material="shell"/>""",
    "link_5": """<geom class="arm" type="cylinder" size="0.029 0.038" euler="90 0 0" material="dark"/>""",
    "link_6": f"""<geom class="arm" type="cylinder" size="0.028 0.014" pos="0 0 0" euler="0 90 0" material="shell"/>
      <geom class="arm" type="box" size="0.020 0.060 0.022" pos="0.038 0 0" material="dark"/>
      <geom class="look" type="box" size="0.012 0.018 0.012" pos="{_spaced(WRIST_CAMERA_M)}" material="pad"/>
      <geom class="look" type="box" size="0.006 0.010 0.022" pos="0.012 0 0.045" material="pad"/>""",
}


def _arm() -> str:
    """The links inside each other, from the base outwards."""
    inner = _hand()
    for joint in reversed(chain.JOINTS):
        low, high = joint.limits
        inner = f"""
    <body name="{joint.child}" pos="{_spaced(joint.origin)}" gravcomp="1">
      <joint name="{joint.name}" type="hinge" axis="{_spaced(chain.AXES[joint.axis])}" damping="2"
             range="{math.degrees(low)} {math.degrees(high)}" armature="0.05"/>
      {SHAPES_OF_LINKS[joint.child]}{inner}
    </body>"""
    return f"""
    <body name="base_link">
      <geom class="arm" type="cylinder" size="0.075 0.012" pos="0 0 0.012" material="dark"/>
      <geom class="arm" type="cylinder" size="0.060 0.016" pos="0 0 0.036" material="shell"/>{inner}
    </body>"""


def _hand() -> str:
    tilt = f"{math.sin(WRIST_TILT):.6f} 0 {math.cos(WRIST_TILT):.6f}"
    right = "0 0 -1"  # of the tool, in link_6: as in the URDF, a turn by a quarter about y
    return f"""
      <site name="tool" pos="{_spaced(chain.TOOL_M)}" xyaxes="{right} 0 1 0" size="0.004" group="4"/>
      <camera name="wrist" pos="{_spaced(WRIST_CAMERA_M)}" xyaxes="0 -1 0 {tilt}"
              fovy="{math.degrees(WRIST_FOVY):.4f}"/>
      {_finger(chain.FINGER, "left_finger", 1)}
      {_finger("right_finger_joint", "right_finger", -1)}"""


def _finger(joint: str, body: str, sign: int) -> str:
    """A finger; its joint is its inner face's distance from the middle."""
    length = chain.TOOL_M[0] - chain.FINGER_ROOT_M[0] + 0.010  # 10 mm beyond the tool
    return f"""
      <body name="{body}" pos="{_spaced(chain.FINGER_ROOT_M)}" gravcomp="1">
        <joint name="{joint}" type="slide" axis="0 {sign} 0" range="0 {chain.FINGER_TRAVEL_M}" damping="2"/>
        <geom name="{body}" class="arm" type="box" size="{(length + 0.02) / 2} 0.005 0.010"
              pos="{(length - 0.02) / 2} {sign * 0.005} 0" mass="0.05" material="pad"
              friction="1.6 0.02 0.001" condim="6" solref="0.006 1"/>
      </body>"""


def _actuators() -> str:
    rows = []
    for joint in chain.JOINTS:
        stiffness = 40.0 * joint.effort
        rows.append(
            f'<position name="{joint.name}" joint="{joint.name}" kp="{stiffness}" '
            f'kv="{0.02 * stiffness}" forcerange="{-joint.effort} {joint.effort}"/>'
        )
    for name in (chain.FINGER, "right_finger_joint"):
        rows.append(
            f'<position name="{name}" joint="{name}" kp="1000" kv="40" forcerange="-12 12"/>'
        )
    return "\n    ".join(rows)


def _meshes() -> str:
    rows = []
    for slot, (shape, size, height) in enumerate(POOL):
        if shape != "block":
            profile = BOWL if shape == "bowl" else CUP
            rows.append(_revolved(f"thing{slot}", profile, size / 2, height))
    return "\n    ".join(rows)


def _revolved(
    name: str, profile: tuple[tuple[float, float], ...], radius: float, height: float
) -> str:
    """A mesh: the profile (shares of radius and height), turned about the vertical."""
    around = 28
    points = []
    faces = []
    for along, (share, level) in enumerate(profile):
        for step in range(around):
            angle = 2 * math.pi * step / around
            x = share * radius * math.cos(angle)
            y = share * radius * math.sin(angle)
            points.append(f"{x:.5f} {y:.5f} {(level - 0.5) * height:.5f}")
            if along + 1 < len(profile):
                here = along * around + step
                beside = along * around + (step + 1) % around
                # at the axis a ring is one point, and one of the two triangles nothing
                if share > 0:
                    faces.append(f"{here} {beside} {beside + around}")
                if profile[along + 1][0] > 0:
                    faces.append(f"{here} {beside + around} {here + around}")
    return (
        f'<mesh name="{name}" inertia="shell" smoothnormal="false" vertex="{" ".join(points)}" '
        f'face="{" ".join(faces)}"/>'
    )


def _pool() -> str:
    """All things, parked under the table's height, out of sight."""
    rows = []
    for slot, (shape, size, height) in enumerate(POOL):
        rows.append(
            f'<body name="thing{slot}" pos="{PARKED_M[0] + 0.3 * slot} {PARKED_M[1]} {PARKED_M[2]}">'
            f'<joint name="thing{slot}" type="free" damping="0.001"/>'
            f"{_thing(slot, shape, size / 2, height)}</body>"
        )
    return "\n    ".join(rows)


def _thing(slot: int, shape: str, half: float, height: float) -> str:
    look = f'name="thing{slot}" rgba="0.5 0.5 0.5 1"'
    if shape == "block":
        return (
            f'<geom {look} class="thing" type="box" size="{half} {half} {height / 2}" mass="0.06"/>'
        )
    shown = f'<geom {look} class="look" type="mesh" mesh="thing{slot}"/>'
    if shape == "cup":  # hollow to look at, solid to the touch
        return (
            shown + f'<geom class="wall" type="cylinder" size="{half} {height / 2}" mass="0.08"/>'
        )
    return shown + _bowl_walls(half, height)


def _bowl_walls(half: float, height: float) -> str:
    """A floor and a ring of leaning plates: what a bowl is to the touch."""
    foot = BOWL[1][0] * half
    lean = math.atan2(half - foot, height)
    slant = math.hypot(half - foot, height)
    sides = 14
    width = half * math.tan(math.pi / sides) * 1.05
    rows = [
        f'<geom class="wall" type="cylinder" size="{foot} {height * 0.07}" mass="0.08" '
        f'pos="0 0 {-height * 0.43}"/>'
    ]
    for side in range(sides):
        cos = math.cos(2 * math.pi * side / sides)
        sin = math.sin(2 * math.pi * side / sides)
        middle = (half + foot) / 2 - 0.003
        outwards = (math.cos(lean) * cos, math.cos(lean) * sin, -math.sin(lean))
        rows.append(
            f'<geom class="wall" type="box" size="0.003 {width:.5f} {slant / 2:.5f}" mass="0.006" '
            f'pos="{_spaced((middle * cos, middle * sin, 0.0))}" '
            f'xyaxes="{_spaced((*outwards, -sin, cos, 0.0))}"/>'
        )
    return "".join(rows)
