"""The room as MuJoCo sees it, and how a seed becomes a scene.

The model is compiled once and holds a pool of objects; a scene recolours and places some of them
and parks the rest outside the walls, so a reset needs no new model and no new renderer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_ros.tasks.objects import OPENING_MAX, SHAPES

ROOM_M = 3.6  # side of the square room; the origin is its centre
WALL_HEIGHT_M = 0.5
TIMESTEP_S = 0.004
WHEEL_RADIUS_M = 0.05
WHEEL_TRACK_M = 0.26
LIDAR_HEIGHT_M = 0.35  # above every object, below the walls' top
# m from base_link, which lies on the floor between the wheels
CAMERA_FORWARD = -0.05
CAMERA_HEIGHT = 0.40
# Below the horizon: an object between the fingers stays in view, and the walls fill the image's
# top, so that no sky needs drawing.
CAMERA_TILT = math.radians(30.0)
CAMERA_HFOV = math.radians(75.0)
TOP_HEIGHT_M = 5.2
TOP_VIEW = ROOM_M + 0.3  # m of floor across the view from above

RGB: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.08, 0.08),
    "orange": (0.98, 0.42, 0.02),
    "yellow": (0.95, 0.83, 0.05),
    "green": (0.08, 0.62, 0.16),
    "blue": (0.06, 0.22, 0.85),
    "purple": (0.52, 0.10, 0.68),
}

# Pool: per shape, (width or diameter, height) in metres. A block's diagonal must fit the open
# gripper.
POOL: dict[str, tuple[tuple[float, float], ...]] = {
    "block": ((0.060, 0.060), (0.063, 0.063), (0.066, 0.066)),
    "ball": ((0.070, 0.070), (0.074, 0.074), (0.078, 0.078)),
    "cylinder": ((0.060, 0.080), (0.062, 0.085), (0.064, 0.080)),
}


@dataclass(frozen=True)
class Placement:
    """One object of a scene: which of the pool (`slot`), its colour, its place (m, rad)."""

    slot: int
    shape: str
    colour: str
    x: float
    y: float
    yaw: float
    size: float
    height: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """Where everything starts: the robot (m, m, rad) and the objects."""

    robot: tuple[float, float, float]
    objects: tuple[Placement, ...]


def slots() -> list[tuple[str, float, float]]:
    """The pool as a list of (shape, size, height); a slot is an index into it."""
    pool = []
    for shape in SHAPES:
        for size, height in POOL[shape]:
            pool.append((shape, size, height))
    return pool


def sample_scene(seed: int, count: int | None = None, reach: float = 1.1) -> Scene:
    """A random scene: the same seed gives the same scene.

    Args:
        seed: From which everything is drawn.
        count: How many objects, of different colour-shape pairs; default: 4 to 6.
        reach: How far from the middle they are at most, along each axis, m. They stand 0.6 m apart
            and 0.75 m from the robot.

    Raises:
        ValueError: For more objects than the pool has, or than fit within `reach`.
    """
    # The draws keep their order: another one would give each seed another scene, and every figure
    # measured in them another meaning.
    rng = np.random.default_rng(seed)
    pool = slots()
    wanted = int(rng.integers(4, 7)) if count is None else count
    if not 1 <= wanted <= len(pool):
        raise ValueError(f"a scene of {wanted} objects cannot be built; ask for 1 to {len(pool)}")
    chosen = rng.permutation(len(pool))[:wanted]
    start_x, start_y = rng.uniform(-1.0, 1.0, 2).tolist()
    start_yaw = float(rng.uniform(-math.pi, math.pi))
    spots = _spots(rng, wanted, reach, (start_x, start_y))
    taken: set[tuple[str, str]] = set()
    objects = []
    for slot, (x, y) in zip(chosen, spots):
        shape, size, height = pool[slot]
        free = [colour for colour in RGB if (colour, shape) not in taken]
        colour = free[int(rng.integers(len(free)))]
        taken.add((colour, shape))
        yaw = float(rng.uniform(-math.pi, math.pi))
        objects.append(Placement(int(slot), shape, colour, x, y, yaw, size, height))
    return Scene((start_x, start_y, start_yaw), tuple(objects))


def _spots(
    rng: np.random.Generator, count: int, reach: float, robot: tuple[float, float]
) -> list[tuple[float, float]]:
    """`count` points (m) that keep their distance; starts over when the room is full."""
    for attempt in range(200):
        spots: list[tuple[float, float]] = []
        apart = 0.6 - 0.001 * attempt  # m; a little nearer each time, so that it ends
        for _ in range(200):
            x, y = rng.uniform(-reach, reach, 2).tolist()
            if math.dist((x, y), robot) < 0.75:  # m
                continue
            if all(math.dist((x, y), other) >= apart for other in spots):
                spots.append((x, y))
                if len(spots) == count:
                    return spots
    raise ValueError(f"{count} objects do not fit within {reach} m; use fewer or a larger reach")


def model_xml(width: int, height: int) -> str:
    """The MuJoCo model, as MJCF; `width` x `height` is the camera's image in pixels."""
    # MuJoCo takes the angle of the image's height
    fovy = math.degrees(2 * math.atan(math.tan(CAMERA_HFOV / 2) * height / width))
    top = math.degrees(2 * math.atan(TOP_VIEW / 2 / TOP_HEIGHT_M))
    return f"""
<mujoco model="vla_room">
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10" iterations="30"/>
  <size memory="8M"/>
  <visual>
    <global offwidth="{max(width, 640)}" offheight="{max(height, 640)}" fovy="{fovy:.4f}"/>
    <quality numquads="1" numslices="20" numstacks="10" shadowsize="0" offsamples="0"/>
    <headlight ambient="0.38 0.38 0.39" diffuse="0.14 0.14 0.14" specular="0.05 0.05 0.05"/>
    <map znear="0.02" zfar="20"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.93 0.95 0.97" rgb2="0.80 0.85 0.91"
             width="64" height="384"/>
    <texture name="checker" type="2d" builtin="checker" rgb1="0.66 0.67 0.68" rgb2="0.59 0.60 0.61"
             width="128" height="128"/>
    <material name="floor" texture="checker" texrepeat="2 2" texuniform="true" specular="0.05"/>
    <material name="wall" rgba="0.82 0.82 0.80 1" specular="0.05"/>
    <material name="dark" rgba="0.16 0.17 0.18 1" specular="0.3" shininess="0.4"/>
    <material name="body" rgba="0.74 0.75 0.77 1" specular="0.3" shininess="0.4"/>
    <material name="pad" rgba="0.26 0.27 0.28 1" specular="0.1"/>
  </asset>
  <default>
    <default class="robot"><geom contype="1" conaffinity="2" friction="0.5 0.005 0.0001"/></default>
    <default class="shell"><geom contype="0" conaffinity="0" group="1" mass="0.02"/></default>
    <default class="room"><geom contype="4" conaffinity="3" friction="0.8 0.005 0.0003" condim="6"/></default>
  </default>
  <worldbody>
    <light directional="true" pos="1 -1 3" dir="-0.35 0.45 -1" diffuse="0.60 0.59 0.56"
           specular="0.15 0.15 0.15" castshadow="false"/>
    <light directional="true" pos="-1 1 3" dir="0.5 -0.25 -1" diffuse="0.18 0.18 0.20"
           specular="0 0 0" castshadow="false"/>
    <geom name="floor" class="room" type="plane" conaffinity="2" material="floor"
          size="{ROOM_M / 2} {ROOM_M / 2} 0.5"/>
    {_walls()}
    <camera name="top" pos="0 0 {TOP_HEIGHT_M}" xyaxes="1 0 0 0 1 0" fovy="{top:.4f}"/>
    <camera name="room" pos="-2.15 -2.15 1.95" xyaxes="1 -1 0 0.40 0.40 0.825" fovy="54"/>
    {_robot(fovy)}
    {_pool()}
  </worldbody>
  <equality>
    <joint joint1="finger_left" joint2="finger_right" polycoef="0 1 0 0 0" solref="0.008 1"/>
  </equality>
  <actuator>
    <velocity name="drive_x" joint="base_x" kv="400" forcerange="-120 120"/>
    <velocity name="drive_y" joint="base_y" kv="400" forcerange="-120 120"/>
    <velocity name="drive_yaw" joint="base_yaw" kv="30" forcerange="-15 15"/>
    <position name="grip_left" joint="finger_left" kp="800" kv="40" forcerange="-10 10"/>
    <position name="grip_right" joint="finger_right" kp="800" kv="40" forcerange="-10 10"/>
  </actuator>
</mujoco>
"""


def _walls() -> str:
    half = ROOM_M / 2
    thick = 0.04
    z = WALL_HEIGHT_M / 2
    rows = []
    for name, x, y in (("east", 1, 0), ("west", -1, 0), ("north", 0, 1), ("south", 0, -1)):
        size = (thick, half + 2 * thick) if x else (half + 2 * thick, thick)
        rows.append(
            f'<geom name="{name}" class="room" type="box" size="{size[0]} {size[1]} {z}" '
            f'pos="{x * (half + thick)} {y * (half + thick)} {z}" material="wall"/>'
        )
    return "\n    ".join(rows)


def _robot(fovy: float) -> str:
    pitch = math.pi / 2 - CAMERA_TILT  # MuJoCo cameras look along -z with y up
    up = f"{math.cos(pitch):.6f} 0 {math.sin(pitch):.6f}"
    half_track = WHEEL_TRACK_M / 2
    return f"""
    <body name="base_link" pos="0 0 0">
      <joint name="base_x" type="slide" axis="1 0 0"/>
      <joint name="base_y" type="slide" axis="0 1 0"/>
      <joint name="base_yaw" type="hinge" axis="0 0 1"/>
      <geom class="robot" type="box" size="0.14 0.11 0.045" pos="0 0 0.075" mass="6" material="body"/>
      <geom class="shell" type="box" size="0.115 0.085 0.006" pos="-0.01 0 0.124" material="dark"/>
      <geom class="robot" type="cylinder" size="{WHEEL_RADIUS_M} 0.015" pos="0 {half_track} {WHEEL_RADIUS_M}"
            euler="90 0 0" mass="0.3" material="dark"/>
      <geom class="robot" type="cylinder" size="{WHEEL_RADIUS_M} 0.015" pos="0 -{half_track} {WHEEL_RADIUS_M}"
            euler="90 0 0" mass="0.3" material="dark"/>
      <geom class="shell" type="cylinder" size="0.012 0.115" pos="-0.08 0 0.24" material="dark"/>
      <geom class="shell" type="cylinder" size="0.035 0.02" pos="-0.08 0 {LIDAR_HEIGHT_M}" material="pad"/>
      <geom class="shell" type="box" size="0.012 0.035 0.015" pos="-0.075 0 0.40" material="pad"/>
      <geom class="robot" type="box" size="0.012 0.085 0.02" pos="0.15 0 0.05" mass="0.2" material="dark"/>
      <site name="laser" pos="0 0 {LIDAR_HEIGHT_M}"/>
      <camera name="front" pos="{CAMERA_FORWARD} 0 {CAMERA_HEIGHT}" xyaxes="0 -1 0 {up}" fovy="{fovy:.4f}"/>
      {_finger("left", 1)}
      {_finger("right", -1)}
    </body>"""


def _finger(side: str, sign: int) -> str:
    """A finger, whose tip flares outwards; its joint is its inner face's distance from the middle."""
    return f"""
      <body name="{side}_finger" pos="0.215 {sign * 0.006} 0.036">
        <joint name="finger_{side}" type="slide" axis="0 {sign} 0" range="0 {OPENING_MAX / 2}" damping="2"/>
        <geom name="{side}_pad" class="robot" type="box" size="0.055 0.006 0.026" mass="0.08" material="pad"
              friction="1.5 0.02 0.001" condim="6"/>
        <geom class="robot" type="box" size="0.018 0.005 0.026" pos="0.069 {sign * 0.0085} 0"
              euler="0 0 {sign * 32}" mass="0.02" material="pad"/>
      </body>"""


def _pool() -> str:
    """All objects, parked outside the walls."""
    rows = []
    for slot, (shape, size, height) in enumerate(slots()):
        half = size / 2
        kind, dims = {
            "block": ("box", f"{half} {half} {height / 2}"),
            "ball": ("sphere", f"{half}"),
            "cylinder": ("cylinder", f"{half} {height / 2}"),
        }[shape]
        rows.append(
            f'<body name="object{slot}" pos="{6 + slot} 6 {height / 2}">'
            f'<joint name="object{slot}" type="free" damping="0.002"/>'
            f'<geom name="object{slot}" type="{kind}" size="{dims}" mass="0.12" contype="2" '
            f'conaffinity="3" condim="6" friction="0.8 0.005 0.002" rgba="0.5 0.5 0.5 1"/></body>'
        )
    return "\n    ".join(rows)
