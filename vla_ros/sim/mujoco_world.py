"""What the simulated robots' worlds share: MuJoCo's model and data, what fingers hold, images."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.render import load_mujoco, make_renderer

GRIP_FORCE_N = 0.5  # on each finger, from which a thing counts as held


class MujocoWorld:
    """A model with two bodies `left_finger` and `right_finger`, and cameras.

    Safe to step in one thread and draw in another, as long as one thread does all the drawing.

    Raises:
        RuntimeError: MuJoCo is missing, or cannot draw here.
    """

    # Cameras that see walls and floor alone: a sky costs as much as all the rest.
    WITHOUT_SKY: tuple[str, ...] = ()

    def __init__(self, xml: str) -> None:
        self._mj: Any = load_mujoco()
        self._lock = threading.RLock()
        self.model: Any = self._mj.MjModel.from_xml_string(xml)
        self.data: Any = self._mj.MjData(self.model)
        fingers = ("left_finger", "right_finger")
        self._finger_bodies = [self.model.body(finger).id for finger in fingers]
        self._renderers: dict[tuple[str, int, int], Any] = {}

    def _positions_of(self, *joints: str) -> list[int]:
        """Where each joint's position begins in `data.qpos`."""
        return [int(self.model.joint(joint).qposadr[0]) for joint in joints]

    def _speeds_of(self, *joints: str) -> list[int]:
        """Where each joint's speed begins in `data.qvel`."""
        return [int(self.model.joint(joint).dofadr[0]) for joint in joints]

    def _gripped(
        self, bodies: list[int], along: NDArray[np.float64] | None = None, share: float = 0.0
    ) -> int | None:
        """The first of `bodies`, by index, that both fingers press on.

        Args:
            bodies: Of the things.
            along: A direction (3); contacts with less of their normal along it do not count.
            share: How much of it, 0 to 1.
        """
        forces: dict[int, list[float]] = {}  # thing's body -> N on the left and right finger
        force = np.zeros(6)  # N and Nm; the first is the one along the contact's normal
        for index in range(self.data.ncon):
            contact = self.data.contact[index]
            if along is not None and abs(float(contact.frame[:3] @ along)) < share:
                continue
            pair_of_bodies = self.model.geom_bodyid[contact.geom].tolist()
            # either may be the finger
            for finger, other in (pair_of_bodies, pair_of_bodies[::-1]):
                if finger in self._finger_bodies and other in bodies:
                    self._mj.mj_contactForce(self.model, self.data, index, force)
                    pair = forces.setdefault(other, [0.0, 0.0])
                    pair[self._finger_bodies.index(finger)] += float(force[0])
        for index, body in enumerate(bodies):
            pair = forces.get(body, [0.0, 0.0])
            if min(pair) >= GRIP_FORCE_N:
                return index
        return None

    def draw(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """What `camera` sees, height x width x 3, rgb8."""
        key = (camera, height, width)  # a renderer draws in one size
        if key not in self._renderers:
            self._renderers[key] = make_renderer(self._mj, self.model, width, height)
            if camera in self.WITHOUT_SKY:
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
