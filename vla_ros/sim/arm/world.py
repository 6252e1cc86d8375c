"""The simulated arm and its table: physics, driver and cameras, in plain Python.

Frame: `base_link`, on the table's top at the arm's axis; x points to the far edge, y left. Times
are simulated seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.arm import chain, model
from vla_ros.sim.arm.scene import POOL, Standing, sample_table
from vla_ros.sim.mujoco_world import MujocoWorld
from vla_ros.sim.scene import RGB
from vla_ros.sim.trajectory import DRIVER_TIMEOUT_S as DRIVER_TIMEOUT_S
from vla_ros.sim.trajectory import TrajectoryFollower
from vla_ros.tasks.arm.table import OPENING_MAX, TableObject, TableState

Array = NDArray[np.float64]
CAMERAS = ("scene", "wrist")
IMAGE_SIZE = (128, 128)  # height, width of both, pixels
GRIP_ALONG = 0.7  # of a holding force's direction, along which the fingers move


class ArmWorld(MujocoWorld):
    """`step` advances physics; `follow` and `command_gripper` are what the arm's drivers accept.

    Safe to step in one thread and draw in another, as long as one thread does all the drawing.

    Args:
        seed: Which scene.
        image_size: Of both cameras, (height, width) in pixels.

    Raises:
        ValueError: For an image that is too small.
        RuntimeError: MuJoCo is missing, or cannot draw here.
    """

    WITHOUT_SKY = CAMERAS

    def __init__(self, seed: int = 0, image_size: tuple[int, int] = IMAGE_SIZE) -> None:
        height, width = image_size
        if width < 16 or height < 16:
            raise ValueError(
                f"cameras of {width}x{height} pixels are too small; use at least 16x16"
            )
        super().__init__(model.model_xml())
        self.image_size = image_size
        self._find_addresses()
        self.reset(seed)

    def _find_addresses(self) -> None:
        """Where MuJoCo's flat arrays hold what is read and written in every step."""
        self._joints = self._positions_of(*chain.NAMES)
        self._speeds = self._speeds_of(*chain.NAMES)
        self._fingers = self._positions_of(chain.FINGER, "right_finger_joint")
        self._tool = int(self.model.site("tool").id)
        # A thing is named after its slot in the pool.
        names = [f"thing{slot}" for slot in range(len(POOL))]
        self._thing_q = self._positions_of(*names)
        self._thing_v = self._speeds_of(*names)
        self._thing_geom = [int(self.model.geom(name).id) for name in names]
        self._thing_body = [int(self.model.body(name).id) for name in names]

    # Scene

    def reset(self, seed: int) -> None:
        """Build the table of `seed`; the arm stands still, its gripper open. Time goes on."""
        scene = sample_table(seed)
        with self._lock:
            self.seed = seed
            self.scene = scene
            now = self.data.time
            self._mj.mj_resetData(self.model, self.data)
            self.data.time = now
            self.model.geom_rgba[self._thing_geom, 3] = 0.0  # those that are parked
            for slot in range(len(POOL)):
                self._put(slot, (2.0 + 0.3 * slot, model.PARKED_M[1], model.FLOOR_M), 0.0)
            for thing in scene.objects:
                self._put(thing.slot, (thing.x, thing.y, thing.height / 2), thing.yaw)
                self.model.geom_rgba[self._thing_geom[thing.slot]] = (*RGB[thing.colour], 1.0)
            x, y, z, yaw = scene.tool
            start = chain.joints_for(np.array([x, y, z]), chain.pointing_down(yaw + math.pi / 2))
            self.place_arm(start, OPENING_MAX)

    def place_arm(self, joints: Array, opening: float) -> None:
        """Put the arm there (six angles, rad; m between the fingers), standing still, at once."""
        with self._lock:
            self.data.qpos[self._joints] = joints
            self.data.qvel[self._speeds] = 0.0
            self.data.qpos[self._fingers] = opening / 2
            self._arm = TrajectoryFollower(joints, chain.LIMITS)  # rad
            self._gripper_target = self._gripper_driven = opening / 2
            self._mj.mj_forward(self.model, self.data)

    def place_thing(self, name: str, x: float, y: float, z: float, yaw: float = 0.0) -> None:
        """Put the thing `name` there (its middle, m; rad), at rest.

        Raises:
            ValueError: The scene has none of that name.
        """
        slot = self._standing(name).slot
        with self._lock:
            self._put(slot, (x, y, z), yaw)
            self._mj.mj_forward(self.model, self.data)

    def _put(self, slot: int, place: tuple[float, float, float], yaw: float) -> None:
        start = self._thing_q[slot]
        turn = (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))
        self.data.qpos[start : start + 7] = (*place, *turn)
        speed = self._thing_v[slot]
        self.data.qvel[speed : speed + 6] = 0.0

    def paint(self, name: str, colour: tuple[float, float, float]) -> None:
        """Give the thing `name` this colour (rgb, 0 … 1) until the next reset.

        Raises:
            ValueError: The scene has none of that name.
        """
        with self._lock:
            self.model.geom_rgba[self._thing_geom[self._standing(name).slot], :3] = colour

    def _standing(self, name: str) -> Standing:
        for thing in self.scene.objects:
            if thing.name == name:
                return thing
        names = ", ".join(thing.name for thing in self.scene.objects)
        raise ValueError(f"the scene has no {name!r}; it has {names}")

    def settle(self) -> None:
        """See light and cameras where the model has them now; nothing moves."""
        with self._lock:
            self._mj.mj_forward(self.model, self.data)

    # Driver

    def follow(self, times: Sequence[float], points: Array) -> None:
        """Follow a trajectory from where the arm is told to be now; it replaces the one before.

        Between two points the joints move evenly, but none faster than its motor. What comes later
        than DRIVER_TIMEOUT_S is not followed: whoever drives has to say again what is wanted.

        Args:
            times: When each point is due, s from now, growing.
            points: A row of six angles (rad) each.

        Raises:
            ValueError: It is no such trajectory; the arm holds.
        """
        try:
            with self._lock:
                self._arm.follow(float(self.data.time), times, points)
        except ValueError as problem:
            raise ValueError(f"the arm holds: {problem}, in rad") from problem

    def command(self, joints: Array, seconds: float) -> None:
        """Move to six angles (rad) within `seconds`: a trajectory of one point."""
        self.follow([seconds], np.asarray(joints, float)[None])

    def command_gripper(self, finger: float) -> None:
        """How far each finger shall be from closed, m, 0 to 0.04; holds.

        Raises:
            ValueError: The number is not finite; the gripper holds what it had.
        """
        if not math.isfinite(finger):
            raise ValueError(
                f"the gripper holds: it was told to open to {finger} m; send a finite number"
            )
        with self._lock:
            self._gripper_target = min(max(finger, 0.0), chain.FINGER_TRAVEL_M)

    def step(self, dt: float) -> None:
        """Advance by `dt` seconds, rounded to whole physics steps (0.004 s)."""
        for _ in range(round(dt / model.TIMESTEP_S)):
            with self._lock:
                self._drive()
                self._mj.mj_step(self.model, self.data)

    def _drive(self) -> None:
        """Tell the servos the next moment of the trajectory, as fast as the motors can at most."""
        now = float(self.data.time) + model.TIMESTEP_S
        self.data.ctrl[:6] = self._arm.move(now, chain.SPEEDS * model.TIMESTEP_S)
        most_finger = chain.FINGER_SPEED_M_S * model.TIMESTEP_S
        gap = self._gripper_target - self._gripper_driven
        self._gripper_driven += min(max(gap, -most_finger), most_finger)
        self.data.ctrl[6:] = self._gripper_driven

    # Sensors

    @property
    def time(self) -> float:
        return float(self.data.time)

    def joint_states(self) -> dict[str, float]:
        """The six angles (rad) and `finger_joint`, how far each finger is from closed (m)."""
        with self._lock:
            angles = self.data.qpos[self._joints].tolist()
            return {**dict(zip(chain.NAMES, angles)), chain.FINGER: self._opening() / 2}

    def _opening(self) -> float:
        return max(0.0, float(self.data.qpos[self._fingers].sum()))

    def told(self) -> tuple[Array, float]:
        """What the servos are told now: six angles, rad, and each finger's way, m."""
        with self._lock:
            return self._arm.told.copy(), self._gripper_driven

    def state(self) -> TableState:
        """The truth, for judging and for the expert; no sensor gives it to a policy."""
        with self._lock:
            place = self.data.site_xpos[self._tool].tolist()
            fingers = self.data.site_xmat[self._tool].reshape(3, 3)[:, 1]
            return TableState(
                self.time,
                tuple(self.data.qpos[self._joints].tolist()),
                tuple(chain.HOME.tolist()),
                float(np.abs(self.data.qvel[self._speeds]).max()),
                (place[0], place[1], place[2]),
                math.atan2(fingers[1], fingers[0]),
                self._opening(),
                tuple(map(self._thing, self.scene.objects)),
                self._held(),
            )

    def _thing(self, standing: Standing) -> TableObject:
        start = self._thing_q[standing.slot]
        x, y, z, qw, qx, qy, qz = self.data.qpos[start : start + 7].tolist()
        yaw = math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
        return TableObject(
            standing.name,
            standing.colour,
            standing.shape,
            x,
            y,
            z,
            yaw,
            standing.size,
            standing.height,
        )

    def _held(self) -> str | None:
        """The thing that both fingers press on, along their way: a push with both holds nothing."""
        along = self.data.site_xmat[self._tool].reshape(3, 3)[:, 1]
        bodies = [self._thing_body[standing.slot] for standing in self.scene.objects]
        index = self._gripped(bodies, along, GRIP_ALONG)
        return None if index is None else self.scene.objects[index].name

    # Images

    def render(self) -> Mapping[str, NDArray[np.uint8]]:
        """Both cameras' images by name, each height x width x 3, rgb8."""
        height, width = self.image_size
        return {camera: self.draw(camera, height, width) for camera in CAMERAS}

    def render_depth(self, camera: str) -> NDArray[np.float32]:
        """What `render` saw last, as depth along the camera's axis: height x width, m."""
        renderer = self._renderers[(camera, *self.image_size)]
        renderer.enable_depth_rendering()
        try:
            depth: NDArray[np.float32] = renderer.render()
        finally:
            renderer.disable_depth_rendering()
        return depth

    def render_room(self, width: int = 640, height: int = 480) -> NDArray[np.uint8]:
        """Arm and table from the side, height x width x 3, rgb8: for people."""
        return self.draw("room", height, width)
