"""The simulated robot and its room: physics, driver, camera and lidar, in plain Python.

Frames: `odom` is the room's frame (origin in its middle), so odometry has no drift and starts at
the robot's true pose. The robot cannot move sideways: its base has a servo for each of x, y and
yaw, and the driver only ever asks for speed along its heading. Times are simulated seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim import scene as scenes
from vla_ros.sim.mujoco_world import MujocoWorld
from vla_ros.tasks.objects import OPENING_MAX
from vla_ros.tasks.world_state import ObjectState, WorldState

DRIVER_TIMEOUT_S = 0.5  # s without a command until the driver stops the wheels
# what the motors can do, m/s and rad/s
LINEAR_MAX = 1.0
ANGULAR_MAX = 2.0
# m/s2, rad/s2
LINEAR_RATE = 3.0
ANGULAR_RATE = 6.0
GRIPPER_RATE_M_S = 0.15
RAYS = 180  # of the lidar, over the full turn
# m
RANGE_MIN = 0.05
RANGE_MAX = 10.0


@dataclass(frozen=True)
class Odometry:
    """What the wheels' encoders say: pose in `odom` (m, rad), speeds (m/s, rad/s)."""

    x: float
    y: float
    yaw: float
    linear: float
    angular: float


@dataclass(frozen=True)
class Scan:
    """Lidar ranges (m), counter-clockwise from `angle_min` (rad); inf where nothing was hit."""

    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: NDArray[np.float32]


class World(MujocoWorld):
    """`step` advances physics; `command` and `command_gripper` are what the robot's driver accepts.

    Safe to step in one thread and draw in another, as long as one thread does all the drawing.

    Args:
        seed: Which scene.
        width: Of the camera's image, pixels.
        height: Of the camera's image, pixels.
        objects: How many a scene has; default: the scene's own number.

    Raises:
        ValueError: For an image that is too small, or a number of objects that does not fit.
        RuntimeError: MuJoCo is missing, or cannot draw here.
    """

    WITHOUT_SKY = ("front",)

    def __init__(
        self, seed: int = 0, width: int = 640, height: int = 480, objects: int | None = None
    ) -> None:
        if width < 16 or height < 16:
            raise ValueError(
                f"a camera of {width}x{height} pixels is too small; use at least 16x16"
            )
        super().__init__(scenes.model_xml(width, height))
        self.width = width
        self.height = height
        self._count = objects
        self._find_addresses()
        angles = np.linspace(-math.pi, math.pi, RAYS, endpoint=False)
        self._rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(RAYS)], axis=1)  # RAYS x 3
        self.reset(seed)

    def _find_addresses(self) -> None:
        """Where MuJoCo's flat arrays hold what is read and written in every step."""
        model = self.model
        base = ("base_x", "base_y", "base_yaw")
        self._base = self._positions_of(*base)
        self._base_v = self._speeds_of(*base)
        self._fingers = self._positions_of("finger_left", "finger_right")
        self._robot_body = int(model.body("base_link").id)
        # An object is named after its slot in the pool.
        names = [f"object{slot}" for slot in range(len(scenes.slots()))]
        self._object_q = self._positions_of(*names)
        self._object_v = self._speeds_of(*names)
        self._object_geom = [int(model.geom(name).id) for name in names]
        self._object_body = [int(model.body(name).id) for name in names]

    # Scene

    def reset(self, seed: int) -> None:
        """Build the scene of `seed`; the robot stands still with its gripper open. Time goes on."""
        scene = scenes.sample_scene(seed, self._count)
        with self._lock:
            self.seed = seed
            self.scene = scene
            now = self.data.time
            self._mj.mj_resetData(self.model, self.data)
            self.data.time = now
            self.data.qpos[self._base] = scene.robot
            self.data.qpos[self._fingers] = OPENING_MAX / 2
            self.model.geom_rgba[self._object_geom, 3] = 0.0  # those that are parked
            for placed in scene.objects:
                self._put(placed, placed.x, placed.y, placed.yaw)
                opaque = (*scenes.RGB[placed.colour], 1.0)
                self.model.geom_rgba[self._object_geom[placed.slot]] = opaque
            self._target = (0.0, 0.0)  # m/s, rad/s
            self._commanded_at = -math.inf  # s
            self._driven = [0.0, 0.0]  # after the acceleration limit
            self._gripper_target = self._gripper_driven = OPENING_MAX
            self._wheels = [0.0, 0.0]  # rad, left and right
            self._mj.mj_forward(self.model, self.data)

    def place_robot(self, x: float, y: float, yaw: float) -> None:
        """Put the robot somewhere else (m, rad), standing still; objects stay where they are."""
        with self._lock:
            self.data.qpos[self._base] = (x, y, yaw)
            self.data.qvel[self._base_v] = 0.0
            self._target = (0.0, 0.0)
            self._driven = [0.0, 0.0]
            self._mj.mj_forward(self.model, self.data)

    def place_object(self, name: str, x: float, y: float, yaw: float = 0.0) -> None:
        """Put the object `name` on the floor there (m, rad), at rest.

        Raises:
            ValueError: The scene has none of that name.
        """
        placed = self._placed(name)
        with self._lock:
            self._put(placed, x, y, yaw)
            speed = self._object_v[placed.slot]
            self.data.qvel[speed : speed + 6] = 0.0
            self._mj.mj_forward(self.model, self.data)

    def _put(self, placed: scenes.Placement, x: float, y: float, yaw: float) -> None:
        """On the floor: x, y, z, and the quaternion w, x, y, z of a turn about the vertical."""
        turn = (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))
        start = self._object_q[placed.slot]
        self.data.qpos[start : start + 7] = (x, y, placed.height / 2, *turn)

    def paint(self, name: str, colour: tuple[float, float, float]) -> None:
        """Give the object `name` this colour (rgb, 0 … 1) until the next reset.

        Raises:
            ValueError: The scene has none of that name.
        """
        with self._lock:
            self.model.geom_rgba[self._object_geom[self._placed(name).slot], :3] = colour

    def _placed(self, name: str) -> scenes.Placement:
        for placed in self.scene.objects:
            if placed.name == name:
                return placed
        names = ", ".join(placed.name for placed in self.scene.objects)
        raise ValueError(f"the scene has no {name!r}; it has {names}")

    def settle(self) -> None:
        """See light and camera where the model has them now; nothing moves."""
        with self._lock:
            self._mj.mj_forward(self.model, self.data)

    def place_gripper(self, opening: float) -> None:
        """Put the fingers `opening` metres apart, at once."""
        with self._lock:
            self.data.qpos[self._fingers] = opening / 2
            self._gripper_target = self._gripper_driven = opening
            self._mj.mj_forward(self.model, self.data)

    # Driver

    def command(self, linear: float, angular: float) -> None:
        """Wheel command in m/s and rad/s; holds for DRIVER_TIMEOUT_S.

        Raises:
            ValueError: A number is not finite; the wheels stop.
        """
        good = math.isfinite(linear) and math.isfinite(angular)
        with self._lock:
            self._commanded_at = float(self.data.time)
            self._target = (0.0, 0.0)
            if good:
                self._target = (
                    min(max(linear, -LINEAR_MAX), LINEAR_MAX),
                    min(max(angular, -ANGULAR_MAX), ANGULAR_MAX),
                )
        if not good:
            raise ValueError(
                f"the driver stopped the wheels: it was told linear {linear} m/s, "
                f"angular {angular} rad/s; send finite numbers"
            )

    def command_gripper(self, opening: float) -> None:
        """Opening between the fingers in metres, 0 to 0.10; holds.

        Raises:
            ValueError: The number is not finite; the gripper holds what it had.
        """
        if not math.isfinite(opening):
            raise ValueError(
                f"the gripper holds: it was told to open to {opening} m; send a finite number"
            )
        with self._lock:
            self._gripper_target = min(max(opening, 0.0), OPENING_MAX)

    def step(self, dt: float) -> None:
        """Advance by `dt` seconds, rounded to whole physics steps (0.004 s)."""
        for _ in range(round(dt / scenes.TIMESTEP_S)):
            with self._lock:
                self._drive()
                self._mj.mj_step(self.model, self.data)
                linear, angular = self._speeds()
                half = angular * scenes.WHEEL_TRACK_M / 2
                for side, speed in enumerate((linear - half, linear + half)):
                    self._wheels[side] += speed / scenes.WHEEL_RADIUS_M * scenes.TIMESTEP_S

    def _drive(self) -> None:
        fresh = self.data.time - self._commanded_at <= DRIVER_TIMEOUT_S
        target = self._target if fresh else (0.0, 0.0)
        # what the wheels and the fingers are told follows the target as fast as motors can
        for axis, rate in enumerate((LINEAR_RATE, ANGULAR_RATE)):
            self._driven[axis] = _towards(
                self._driven[axis], target[axis], rate * scenes.TIMESTEP_S
            )
        self._gripper_driven = _towards(
            self._gripper_driven, self._gripper_target, GRIPPER_RATE_M_S * scenes.TIMESTEP_S
        )
        # The base has servos along the room's x and y: no speed is asked for across its heading.
        yaw = self.data.qpos[self._base[2]]
        control = self.data.ctrl
        control[0] = self._driven[0] * math.cos(yaw)
        control[1] = self._driven[0] * math.sin(yaw)
        control[2] = self._driven[1]
        control[3] = control[4] = self._gripper_driven / 2

    # Sensors

    @property
    def time(self) -> float:
        return float(self.data.time)

    def _pose(self) -> tuple[float, float, float]:
        x, y, yaw = self.data.qpos[self._base].tolist()
        return x, y, math.remainder(yaw, 2 * math.pi)

    def _speeds(self) -> tuple[float, float]:
        """Along the heading (m/s) and about the vertical (rad/s)."""
        vx, vy, angular = self.data.qvel[self._base_v].tolist()
        yaw = float(self.data.qpos[self._base[2]])
        return vx * math.cos(yaw) + vy * math.sin(yaw), angular

    def odometry(self) -> Odometry:
        with self._lock:
            return Odometry(*self._pose(), *self._speeds())

    def joint_states(self) -> dict[str, float]:
        """Wheel angles (rad) and `gripper_joint`, the opening (m)."""
        with self._lock:
            return {
                "left_wheel_joint": self._wheels[0],
                "right_wheel_joint": self._wheels[1],
                "gripper_joint": self._opening(),
            }

    def _opening(self) -> float:
        return max(0.0, float(self.data.qpos[self._fingers].sum()))

    def scan(self) -> Scan:
        """What the lidar sees now: RAYS ranges over the full turn, in the robot's frame."""
        with self._lock:
            x, y, yaw = self._pose()
            cos = math.cos(yaw)
            sin = math.sin(yaw)
            turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])  # rows from the right
            distances = np.zeros(RAYS)
            hit = np.zeros(RAYS, np.int32)
            self._mj.mj_multiRay(
                self.model,
                self.data,
                np.array([x, y, scenes.LIDAR_HEIGHT_M]),
                (self._rays @ turn).ravel(),
                None,  # geoms of every group
                1,  # and those that never move: the walls
                self._robot_body,  # but not the robot, from whose inside the rays begin
                hit,
                distances,
                None,
                RAYS,
                RANGE_MAX,
            )
        ranges = np.where(
            (hit < 0) | (distances < RANGE_MIN) | (distances > RANGE_MAX), np.inf, distances
        )
        return Scan(-math.pi, 2 * math.pi / RAYS, RANGE_MIN, RANGE_MAX, ranges.astype(np.float32))

    def state(self) -> WorldState:
        """The truth, for judging and for images; no sensor gives it to a policy."""
        with self._lock:
            x, y, yaw = self._pose()
            linear, angular = self._speeds()
            objects = tuple(map(self._object_state, self.scene.objects))
            return WorldState(
                self.time, x, y, yaw, linear, angular, self._opening(), objects, self._held()
            )

    def _object_state(self, placed: scenes.Placement) -> ObjectState:
        start = self._object_q[placed.slot]
        x, y, z, qw, qx, qy, qz = self.data.qpos[start : start + 7].tolist()
        yaw = math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
        return ObjectState(
            placed.name, placed.colour, placed.shape, x, y, z, yaw, placed.size, placed.height
        )

    def _held(self) -> str | None:
        """The object that both fingers press on."""
        bodies = [self._object_body[placed.slot] for placed in self.scene.objects]
        index = self._gripped(bodies)
        return None if index is None else self.scene.objects[index].name

    # Images

    def render(self) -> NDArray[np.uint8]:
        """The front camera's image, height x width x 3, rgb8."""
        return self.draw("front", self.height, self.width)

    def render_top(self, size: int = 480) -> NDArray[np.uint8]:
        """The room from above, size x size x 3, rgb8; x points right, y up."""
        return self.draw("top", size, size)

    def render_room(self, width: int = 640, height: int = 480) -> NDArray[np.uint8]:
        """The room and the robot from a corner, height x width x 3, rgb8: for people."""
        return self.draw("room", height, width)

    def top_pixel(self, x: float, y: float, size: int = 480) -> tuple[int, int]:
        """Where a point of the floor (m) lies in `render_top`: (column, row)."""
        scale = size / scenes.TOP_VIEW
        return round(size / 2 + x * scale), round(size / 2 - y * scale)


def _towards(value: float, target: float, most: float) -> float:
    """`value`, moved by at most `most` towards `target`."""
    return value + min(max(target - value, -most), most)
