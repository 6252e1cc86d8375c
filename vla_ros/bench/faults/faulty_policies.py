"""Policies that move the robot well until they are told to break, and the node that runs them.

Run as a module in place of vla_ros.nodes.inference; the runtime's own registry does not know them.
"serve KIND after S" is asked of a faulty server (faulty_server.py), by the policy `remote`; "host
KIND after S" of a faulty process beside the policy `lerobot` (faulty_sidecar.py).
"spin" is good work: `broken` turns a base on the spot, `broken_arm` takes an arm's joints back and
forth. "break KIND after S" is S seconds of good work, then the fault; KIND is a line in BREAKS.
"reach out" takes an arm out of its workspace.
"""

from __future__ import annotations

import math
import os
import re
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.bench.faults.faulty_joints import back_and_forth
from vla_ros.bench.faults.valve import FOLDER, note
from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.nodes import inference
from vla_ros.policies import POLICIES
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows

CHANNELS = ("linear.x", "angular.z")
# Where each joint turns round. No two do so at once for long: one of them always moves at full
# speed.
REACH_RAD = {
    "joint_1": 1.5,
    "joint_2": 1.4,
    "joint_3": 1.3,
    "joint_4": 1.2,
    "joint_5": 1.1,
    "joint_6": 1.0,
}
SPEED_RAD_S = 0.55  # a little more than the robot file allows
OUT_RAD = 1.75  # where "reach out" takes the first joint: beyond the workspace's edge
ROOM_BYTES = 256 << 20  # that the process may still take when its memory "is full"


def hang(good: Rows) -> Rows:
    """Never answers."""
    while True:
        time.sleep(3600.0)


def error(good: Rows) -> Rows:
    """Raises."""
    raise RuntimeError("the policy broke on purpose")


def memory(good: Rows) -> Rows:
    """As a model does that leaks: takes all there is.

    The limit protects the machine, not the process.
    """
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    hoard = []
    while True:
        hoard.append(np.ones(1 << 20, np.uint8))


def last_column(value: float) -> Callable[[Rows], Rows]:
    """A break that leaves all but one channel good: of whole actions nothing may be used."""

    def spoil(good: Rows) -> Rows:
        spoilt = good.copy()
        spoilt[:, -1] = value
        return spoilt

    return spoil


BREAKS: dict[str, Callable[[Rows], Any]] = {
    "hang": hang,
    "error": error,
    "memory": memory,
    "nothing": lambda good: None,
    "flat": lambda good: good[0],
    "columns": lambda good: np.hstack([good, good[:, -1:]]),
    "rows": lambda good: good[:0],
    "nan": last_column(math.nan),
    "infinity": last_column(math.inf),
    "huge": last_column(1e30),
}


class Broken:
    """Turns a base on the spot, until it is told to break."""

    name = "broken"

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        return PolicySpec(CHANNELS, 1, to_nanoseconds(0.1), {"camera": (224, 224)})

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._instruction_id = -1
        self._since = 0.0
        self._noted = False
        self._remote: Any = None  # the policy `remote`, while a server is asked
        self._hosted: Any = None  # the policy `lerobot`, where its process has been asked

    def reset(self) -> None:
        """Helps nothing: what is broken stays broken until the next instruction."""

    def predict(self, observation: Observation) -> Any:
        if observation.instruction.instruction_id != self._instruction_id:
            self._begin(observation)
            self._instruction_id = observation.instruction.instruction_id
            self._since = time.monotonic()
            self._noted = False
            self._hang_up()
        if observation.instruction.text.startswith("serve "):
            return self._served(observation)
        if observation.instruction.text.startswith("host "):
            return self._asked_beside(observation)
        good = np.array(self._rows(observation.stamp), np.float32)  # steps x channels
        text = observation.instruction.text
        if text == "spin":
            return good
        if text == "reach out":
            return self._reach_out(good, observation.stamp)
        words = re.fullmatch(r"break (\w+) after ([\d.]+)", text)
        if words is None:
            raise NotUnderstood(f"'{text}' is not known; say 'spin'")
        kind, seconds = words.groups()
        if time.monotonic() - self._since < float(seconds):
            return good
        if not self._noted:
            self._noted = True
            note("policy")
        return BREAKS[kind](good)

    def _served(self, observation: Observation) -> Rows:
        """By the policy `remote`, anew for each instruction: no pause after what was before."""
        from vla_ros.bench.faults.faulty_server import client_file  # needs websockets
        from vla_ros.policies.remote.policy import Remote

        if self._remote is None:
            self._remote = Remote(client_file(Path(os.environ[FOLDER])))
        rows: Rows = self._remote.predict(observation)
        return rows

    def _asked_beside(self, observation: Observation) -> Rows:
        """By the policy `lerobot`, whose process outlives an instruction."""
        # needs websockets
        from vla_ros.bench.faults.faulty_sidecar import IMAGE_SIZE, policy_options
        from vla_ros.policies.lerobot.policy import LeRobot

        if self._hosted is None:
            self._hosted = LeRobot(policy_options(Path(os.environ[FOLDER])))
        height, width = IMAGE_SIZE
        front = observation.images["camera"][:height, :width]
        rows: Rows = self._hosted.predict(replace(observation, images={"front": front}))
        return rows

    def _hang_up(self) -> None:
        if self._remote is not None:
            self._remote.close()
            self._remote = None

    def _begin(self, observation: Observation) -> None:
        """A new instruction. NotUnderstood where the robot's state says too little to begin."""

    def _reach_out(self, good: Rows, stamp: int) -> Rows:
        raise NotUnderstood("a base does not reach anywhere")

    def _rows(self, stamp: int) -> list[list[float]]:
        # Just under the operating limit of 0.5 rad/s, and never the same twice
        return [[0.0, 0.48 + 0.015 * math.sin(stamp / 1e9)]]


class BrokenArm(Broken):
    """Takes an arm's joints back and forth, whatever is measured meanwhile.

    Each goes from where it stands the longer way first, and on and on.
    """

    name = "broken_arm"

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        return PolicySpec(("gripper", *REACH_RAD), 16, to_nanoseconds(0.1), {"camera": (224, 224)})

    def _begin(self, observation: Observation) -> None:
        ways = {}
        for name, reach in REACH_RAD.items():
            if name not in observation.state:
                raise NotUnderstood(f"where {name} stands is unknown")
            stands = min(max(observation.state[name], -reach), reach)
            # The way gone already, from 0: past the first turn where it is to go down first.
            ways[name] = 2.0 * reach - stands if stands > 0.0 else stands
        self._first = observation.state["joint_1"]  # rad
        self._began = observation.stamp
        self._ways = ways  # joint -> rad

    def _reach_out(self, good: Rows, stamp: int) -> Rows:
        """The first joint goes on and on one way; the others do good work."""
        spec = self.spec({})
        elapsed = (stamp - self._began + np.arange(spec.steps) * spec.step) / 1e9  # s
        out = good.copy()
        out[:, spec.channels.index("joint_1")] = np.minimum(
            self._first + SPEED_RAD_S * elapsed, OUT_RAD
        )
        return out

    def _rows(self, stamp: int) -> list[list[float]]:
        spec = self.spec({})
        rows = []
        for index in range(spec.steps):
            elapsed = (stamp - self._began + index * spec.step) / 1e9  # s
            row = [0.5 + back_and_forth(0.2 * elapsed, 0.4)]  # the gripper, slowly
            for name, reach in REACH_RAD.items():
                row.append(back_and_forth(self._ways[name] + SPEED_RAD_S * elapsed, reach))
            rows.append(row)
        return rows


def main() -> None:
    POLICIES["broken"] = "vla_ros.bench.faults.faulty_policies:Broken"
    POLICIES["broken_arm"] = "vla_ros.bench.faults.faulty_policies:BrokenArm"
    inference.main()


if __name__ == "__main__":
    main()
