"""Two gymnasium environments that need nothing to draw: an arm that is told positions, and a cart that is told velocities."""
from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class TinyArm(gymnasium.Env):
    """Two joints (rad) and a gripper (0 to 1) go to where they are told, at 5 a second. Done: the elbow beyond 1.5."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(self, size: int = 48, breaks: bool = False, render_mode: str | None = None) -> None:
        if size < 16:
            raise ValueError(f"size is {size}")
        self.size, self.breaks, self.render_mode = size, breaks, render_mode
        self.observation_space = spaces.Dict({
            "pixels": spaces.Dict({"front": spaces.Box(0, 255, (size, 64, 3), np.uint8),
                                   "wrist": spaces.Box(0, 255, (3, 32, 32), np.uint8)}),
            "agent_pos": spaces.Box(-4.0, 4.0, (3,)),
            "velocities": spaces.Box(-9.0, 9.0, (3,)),
            "task": spaces.Discrete(3),
        })
        self.action_space = spaces.Box(-1.0, 1.0, (3,))
        self.actions: list[np.ndarray] = []

    def _see(self) -> dict[str, Any]:
        colour = int(100 + 40 * self.joints[0])
        pixels = {"front": np.full((self.size, 64, 3), colour, np.uint8), "wrist": np.full((3, 32, 32), 50, np.uint8)}
        return {"pixels": pixels, "agent_pos": self.joints.astype(np.float32), "velocities": np.zeros(3, np.float32), "task": 0}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.joints = np.array([0.25, -0.5, 1.0])
        return self._see(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if self.breaks:
            raise KeyError("a fault of theirs")
        self.actions.append(action)
        self.joints += np.clip(action - self.joints, -0.1, 0.1)
        done = bool(self.joints[0] > 1.5)
        return self._see(), float(self.joints[0]), done, False, {"is_success": done}

    def render(self) -> np.ndarray:
        return np.full((30, 40, 3), 7, np.uint8)


class TinyCart(gymnasium.Env):
    """Its place (m) and heading (rad) follow two velocities; its rate is not said."""

    def __init__(self, kind: str = "box") -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = spaces.Box(-1.0, 1.0, (2,)) if kind == "box" else spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = np.zeros(2)
        return self.place.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.place = self.place + 0.1 * action
        return self.place.astype(np.float32), 0.0, False, False, {}


for _name, _env in (("tiny/Arm-v0", TinyArm), ("tiny/Cart-v0", TinyCart)):
    if _name not in gymnasium.registry:
        gymnasium.register(_name, f"tiny_env:{_env.__name__}", max_episode_steps=3)

ARM = "tiny_env:tiny/Arm-v0"
CART = "tiny_env:tiny/Cart-v0"


def arm_robot(**parts: Any) -> dict[str, Any]:
    """The data of a robot file for TinyArm, whose gripper has an output of its own."""
    joint = {"unit": "rad", "bounds": [-2.0, 2.0], "limits": [-1.9, 1.9], "max_speed": 2.0, "on_stop": "hold_measured"}
    return {
        "name": "tiny", "simulated": True,
        "cameras": {"front": {"topic": "/front/image"}},
        "state": [{"topic": "/joint_states", "type": "sensor_msgs/msg/JointState", "names": ["elbow", "roll"], "unit": "rad"},
                  {"topic": "/grip", "type": "std_msgs/msg/Float64MultiArray", "names": ["opening"], "unit": "1"}],
        "channels": {"elbow": {**joint, "joint": "elbow"}, "roll": {**joint, "joint": "roll"},
                     "gripper": {"unit": "1", "bounds": [-0.1, 1.1], "limits": [0.0, 1.0], "max_speed": 2.0,
                                 "on_stop": "hold_commanded", "start": 0.75}},
        "outputs": [{"topic": "/arm", "type": "trajectory_msgs/msg/JointTrajectory", "channels": ["elbow", "roll"]},
                    {"topic": "/gripper", "type": "std_msgs/msg/Float64MultiArray", "channels": ["gripper"]}],
        **parts,
    }


def cart_robot(**parts: Any) -> dict[str, Any]:
    """The data of a robot file for TinyCart."""
    return {
        "name": "cart", "simulated": True,
        "channels": {
            "linear.x": {"unit": "m/s", "bounds": [-1.0, 1.0], "limits": [-1.0, 1.0], "acceleration": 9.0, "on_stop": "zero"},
            "angular.z": {"unit": "rad/s", "bounds": [-1.0, 1.0], "limits": [-1.0, 1.0], "acceleration": 9.0, "on_stop": "zero"},
        },
        "outputs": [{"topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "channels": ["linear.x", "angular.z"]}],
        **parts,
    }
