"""The simulated robot and its room: physics, driver, camera and lidar, in plain Python.

Frames: `odom` is the room's frame (origin in its middle), so odometry has no drift and starts at
the robot's true pose. The robot cannot move sideways: its base has a servo for each of x, y and
yaw, and the driver only ever asks for speed along its heading. Times are simulated seconds.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim import scene as scenes
from vla_ros.sim.render import load_mujoco, make_renderer
from vla_ros.tasks.objects import OPENING_MAX
from vla_ros.tasks.world_state import ObjectState, WorldState

DRIVER_TIMEOUT = 0.5  # s without a command until the driver stops the wheels
# what the motors can do, m/s and rad/s
LINEAR_MAX = 1.0
ANGULAR_MAX = 2.0
# m/s2, rad/s2
LINEAR_RATE = 3.0
ANGULAR_RATE = 6.0
GRIPPER_RATE = 0.15  # m/s
RAYS = 180
RANGE_MIN = 0.05
RANGE_MAX = 10.0
GRIP_FORCE = 0.5  # N on each finger from which an object counts as held


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


class World:
    """`step` advances physics; `command` and `command_gripper` are what the robot's driver accepts.

    Safe to step in one thread and draw in another, as long as one thread does all the drawing.
    `width` and `height` are the camera's pixels; `objects` fixes how many objects a scene has.
    """

    def __init__(
        self, seed: int = 0, width: int = 640, height: int = 480, objects: int | None = None
    ) -> None:
        if width < 16 or height < 16:
            raise ValueError(
                f"a camera of {width}x{height} pixels is too small; use at least 16x16"
            )
        self._mj: Any = load_mujoco()
        self.width, self.height = width, height
        self._count = objects
        self._lock = threading.RLock()
        self.model: Any = self._mj.MjModel.from_xml_string(scenes.model_xml(width, height))
        self.data: Any = self._mj.MjData(self.model)
        self._renderers: dict[str, Any] = {}
        self._find_addresses()
        angles = np.linspace(-math.pi, math.pi, RAYS, endpoint=False)
        self._rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(RAYS)], axis=1)  # RAYS x 3
        self.reset(seed)

    def _find_addresses(self) -> None:
        model = self.model
        self._base = [
            int(model.joint(name).qposadr[0]) for name in ("base_x", "base_y", "base_yaw")
        ]
        self._base_v = [
            int(model.joint(name).dofadr[0]) for name in ("base_x", "base_y", "base_yaw")
        ]
        self._fingers = [
            int(model.joint(f"finger_{side}").qposadr[0]) for side in ("left", "right")
        ]
        self._finger_bodies = [int(model.body(f"{side}_finger").id) for side in ("left", "right")]
        self._robot_body = int(model.body("base_link").id)
        slots = range(len(scenes.slots()))
        self._object_q = [int(model.joint(f"object{slot}").qposadr[0]) for slot in slots]
        self._object_v = [int(model.joint(f"object{slot}").dofadr[0]) for slot in slots]
        self._object_geom = [int(model.geom(f"object{slot}").id) for slot in slots]
        self._object_body = [int(model.body(f"object{slot}").id) for slot in slots]

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
            for index, value in zip(self._base, scene.robot):
                self.data.qpos[index] = value
            for index in self._fingers:
                self.data.qpos[index] = OPENING_MAX / 2
            self.model.geom_rgba[self._object_geom, 3] = 0.0  # those that are parked
            for placed in scene.objects:
                start = self._object_q[placed.slot]
                half = placed.yaw / 2
                self.data.qpos[start : start + 7] = (
                    placed.x,
                    placed.y,
                    placed.height / 2,
                    math.cos(half),
                    0.0,
                    0.0,
                    math.sin(half),
                )
                self.model.geom_rgba[self._object_geom[placed.slot]] = (
                    *scenes.RGB[placed.colour],
                    1.0,
                )
            self._target = (0.0, 0.0)
            self._commanded_at = -math.inf
            self._driven = [0.0, 0.0]  # after the acceleration limit
            self._gripper_target = self._gripper_driven = OPENING_MAX
            self._wheels = [0.0, 0.0]  # rad
            self._mj.mj_forward(self.model, self.data)

    def place_robot(self, x: float, y: float, yaw: float) -> None:
        """Put the robot somewhere else (m, rad), standing still; objects stay where they are."""
        with self._lock:
            for index, speed, value in zip(self._base, self._base_v, (x, y, yaw)):
                self.data.qpos[index] = value
                self.data.qvel[speed] = 0.0
            self._target = (0.0, 0.0)
            self._driven = [0.0, 0.0]
            self._mj.mj_forward(self.model, self.data)

    def place_object(self, name: str, x: float, y: float, yaw: float = 0.0) -> None:
        """Put the object `name` on the floor there (m, rad), at rest. Raises ValueError for a name
        not in the scene."""
        placed = self._placed(name)
        with self._lock:
            start = self._object_q[placed.slot]
            self.data.qpos[start : start + 7] = (
                x,
                y,
                placed.height / 2,
                math.cos(yaw / 2),
                0.0,
                0.0,
                math.sin(yaw / 2),
            )
            speed = self._object_v[placed.slot]
            self.data.qvel[speed : speed + 6] = 0.0
            self._mj.mj_forward(self.model, self.data)

    def paint(self, name: str, colour: tuple[float, float, float]) -> None:
        """Give the object `name` this colour (rgb, 0 … 1) until the next reset. Raises ValueError
        for a name not in the scene."""
        with self._lock:
            self.model.geom_rgba[self._object_geom[self._placed(name).slot], :3] = colour

    def _placed(self, name: str) -> scenes.Placement:
        for placed in self.scene.objects:
            if placed.name == name:
                return placed
        raise ValueError(
            f"the scene has no {name!r}; it has {', '.join(one.name for one in self.scene.objects)}"
        )

    def settle(self) -> None:
        """See light and camera where the model has them now; nothing moves."""
        with self._lock:
            self._mj.mj_forward(self.model, self.data)

    def place_gripper(self, opening: float) -> None:
        """Put the fingers `opening` metres apart, at once."""
        with self._lock:
            for index in self._fingers:
                self.data.qpos[index] = opening / 2
            self._gripper_target = self._gripper_driven = opening
            self._mj.mj_forward(self.model, self.data)

    # Driver

    def command(self, linear: float, angular: float) -> None:
        """Wheel command in m/s and rad/s; holds for DRIVER_TIMEOUT. Not finite: stops,
        ValueError."""
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
        """Opening between the fingers in metres, 0 to 0.10; holds. Not finite: ignored,
        ValueError."""
        if not math.isfinite(opening):
            raise ValueError(
                f"the gripper holds: it was told to open to {opening} m; send a finite number"
            )
        with self._lock:
            self._gripper_target = min(max(opening, 0.0), OPENING_MAX)

    def step(self, dt: float) -> None:
        """Advance by `dt` seconds, rounded to whole physics steps (0.004 s)."""
        for _ in range(round(dt / scenes.TIMESTEP)):
            with self._lock:
                self._drive()
                self._mj.mj_step(self.model, self.data)
                linear, angular = self._speeds()
                half = angular * scenes.WHEEL_TRACK / 2
                for side, speed in enumerate((linear - half, linear + half)):
                    self._wheels[side] += speed / scenes.WHEEL_RADIUS * scenes.TIMESTEP

    def _drive(self) -> None:
        fresh = self.data.time - self._commanded_at <= DRIVER_TIMEOUT
        target = self._target if fresh else (0.0, 0.0)
        for axis, rate in enumerate((LINEAR_RATE, ANGULAR_RATE)):
            self._driven[axis] = _towards(self._driven[axis], target[axis], rate * scenes.TIMESTEP)
        self._gripper_driven = _towards(
            self._gripper_driven, self._gripper_target, GRIPPER_RATE * scenes.TIMESTEP
        )
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
        x, y, yaw = (float(self.data.qpos[index]) for index in self._base)
        return x, y, math.remainder(yaw, 2 * math.pi)

    def _speeds(self) -> tuple[float, float]:
        vx, vy, angular = (float(self.data.qvel[index]) for index in self._base_v)
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
        return max(0.0, sum(float(self.data.qpos[index]) for index in self._fingers))

    def scan(self) -> Scan:
        """What the lidar sees now: RAYS ranges over the full turn, in the robot's frame."""
        with self._lock:
            x, y, yaw = self._pose()
            cos, sin = math.cos(yaw), math.sin(yaw)
            turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
            distances = np.zeros(RAYS)
            hit = np.zeros(RAYS, np.int32)
            self._mj.mj_multiRay(
                self.model,
                self.data,
                np.array([x, y, scenes.LIDAR_HEIGHT]),
                (self._rays @ turn).ravel(),
                None,
                1,
                self._robot_body,
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
            objects = tuple(self._object_state(placed) for placed in self.scene.objects)
            return WorldState(
                self.time, x, y, yaw, linear, angular, self._opening(), objects, self._held()
            )

    def _object_state(self, placed: scenes.Placement) -> ObjectState:
        start = self._object_q[placed.slot]
        x, y, z, qw, qx, qy, qz = (float(value) for value in self.data.qpos[start : start + 7])
        yaw = math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
        return ObjectState(
            placed.name, placed.colour, placed.shape, x, y, z, yaw, placed.size, placed.height
        )

    def _held(self) -> str | None:
        """The object that both fingers press on."""
        forces: dict[int, list[float]] = {}
        force = np.zeros(6)
        for index in range(self.data.ncon):
            contact = self.data.contact[index]
            bodies = [int(self.model.geom_bodyid[geom]) for geom in contact.geom]
            for finger, other in (bodies, bodies[::-1]):
                if finger in self._finger_bodies and other in self._object_body:
                    self._mj.mj_contactForce(self.model, self.data, index, force)
                    pair = forces.setdefault(other, [0.0, 0.0])
                    pair[self._finger_bodies.index(finger)] += float(force[0])
        for placed in self.scene.objects:
            pair = forces.get(self._object_body[placed.slot], [0.0, 0.0])
            if min(pair) >= GRIP_FORCE:
                return placed.name
        return None

    # Images

    def render(self) -> NDArray[np.uint8]:
        """The front camera's image, height x width x 3, rgb8."""
        return self._draw("front", self.width, self.height)

    def render_top(self, size: int = 480) -> NDArray[np.uint8]:
        """The room from above, size x size x 3, rgb8; x points right, y up."""
        return self._draw("top", size, size)

    def render_room(self, width: int = 640, height: int = 480) -> NDArray[np.uint8]:
        """The room and the robot from a corner, height x width x 3, rgb8: for people."""
        return self._draw("room", width, height)

    def top_pixel(self, x: float, y: float, size: int = 480) -> tuple[int, int]:
        """Where a point of the floor (m) lies in `render_top`: (column, row)."""
        scale = size / scenes.TOP_VIEW
        return round(size / 2 + x * scale), round(size / 2 - y * scale)

    def _draw(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        key = f"{camera} {width}x{height}"
        if key not in self._renderers:
            self._renderers[key] = make_renderer(self._mj, self.model, width, height)
            # it sees walls and floor only, and a sky costs as much as all the rest
            if camera == "front":
                self._renderers[key].scene.flags[self._mj.mjtRndFlag.mjRND_SKYBOX] = 0
        renderer = self._renderers[key]
        with self._lock:  # only the copy of the poses needs the physics to stand still
            renderer.update_scene(self.data, camera)
        image: NDArray[np.uint8] = renderer.render()
        return image

    def close(self) -> None:
        """Free the renderers; call it in the thread that drew."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


def _towards(value: float, target: float, most: float) -> float:
    return value + min(max(target - value, -most), most)
