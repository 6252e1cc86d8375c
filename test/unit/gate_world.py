"""A gate with everything around it, for the tests: clocks, sources, an operator and a policy, all in integer ns."""
import math
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import vla_ros.safety.gate as gate_module
from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk, Instruction
from vla_ros.safety.gate import Gate, LatestInputs
from vla_ros.safety.obstacles import Reading
from vla_ros.safety.rule import Arming, RuleInputs, Spent
from vla_ros.safety.settings import Settings

# A rule that declares a topic holds this world, where nobody speaks on it: it has tests of its own.
gate_module.RULES = tuple(rule for rule in gate_module.RULES if not rule.sources)
EXAMPLES = int(os.environ["VLA_PROPERTY_EXAMPLES"])  # of each property
ENOUGH = 250  # with fewer, and under a mutation, they are always the same: a failure is then the gate's, not chance
SAME = EXAMPLES < ENOUGH or os.environ.get("VLA_PROPERTY_PROFILE") == "mutation"
MS = 1_000_000
S = 1000 * MS
EPOCH = 1_700_000_000 * S
ROBOT = load_robot(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
JOINTS = [f"joint_{i}" for i in range(1, 7)]
ARM = load_robot(Path(__file__).parents[2] / "config" / "robots" / "diffdrive_arm.yaml")


def changed(settings, **values):
    """`settings` with other fields, or other limits in ns."""
    own = {name: values.pop(name) for name in [field.name for field in fields(Settings)] if name in values}
    times = {name: value / S for name, value in values.items()}
    return replace(settings, limits={**settings.limits, **times}, **own)


def rule_inputs(**values):
    """What a rule looks at where all is well and there is no action, less what `values` say."""
    well = dict(  # noqa: C408
        now=10 * S, stamp=EPOCH, robot=ROBOT, settings=Settings(), chunk=None, instruction=None, armed=Arming(0, 0),
        newest_instruction_id=0, spent=Spent(0, ""), observation_age=0, instruction_age=0, silence={},
        other_publishers=(), missing_listeners=(), chunk_sources=(), messages={}, clock_still=0, readings={},
        points=lambda: np.zeros((0, 2)), was_blocked=False, behind={}, ended=0, repeated=0, clamped=0,
        discontinuity="", elapsed=20 * MS, pause=20 * MS)
    return RuleInputs(**{**well, **values})


def scan(stamp, points=(), valid=True):
    """All around, with something at `points` (m)."""
    angles = np.linspace(-math.pi, math.pi, 36)
    return Reading(stamp, np.array(points, float).reshape(-1, 2), angles, np.full(36, valid))


class World:
    """A gate with a steady and a ROS clock, 20 ms a tick, a fresh source and a policy that says `values`."""

    def __init__(self, robot=ROBOT):
        self.gate = Gate(robot, Settings(sources={"odom": 300 * MS}))
        self.inputs = LatestInputs(seen={}, instruction=Instruction(0, 1, ""))
        self.positions = {"gripper": 1.0}
        self.now, self.offset = 10 * S, EPOCH
        self.values = {"linear.x": 0.3, "angular.z": 0.0, "gripper": 1.0}
        self.speaks, self.alive, self.points = True, True, []
        self.sequence = 0
        self.lag = None  # ns by which the joints follow what they are sent; None: they stand where `positions` says
        self.sent = []
        self.also = {}  # more range sensors: topic -> what it sees at a stamp

    def tick(self, n=1):
        for _ in range(n):
            self.now += 20 * MS
            stamp = self.now + self.offset
            if self.alive:
                self.inputs.seen["odom"] = self.now
                self.inputs.readings["/scan"] = (scan(stamp, self.points), self.now)
                self.inputs.readings.update({topic: (see(stamp), self.now) for topic, see in self.also.items()})
                self.inputs.measured.update({name: (value, self.now) for name, value in self.positions.items()})
            if self.speaks:
                self.sequence += 1
                self.inputs.chunk = ActionChunk(stamp - 30 * MS, self.inputs.instruction.instruction_id, tuple(self.values),
                                                np.array([list(self.values.values())], np.float32), 100 * MS,
                                                self.sequence, process="inference")
            self.action, self.report = self.gate.step(self.now, stamp, self.inputs)
            if self.lag is not None:
                self.sent.append({name: value for name, value in self.action.items() if name in self.positions})
                self.positions.update(self.sent[max(0, len(self.sent) - 1 - self.lag // (20 * MS))])
        return self.report

    def arm(self):
        return self.gate.arm(self.now, self.now + self.offset, self.inputs)

    def say(self, text):
        self.inputs.instruction = Instruction(self.now + self.offset, self.inputs.instruction.instruction_id + 1, text)

    def moving(self):
        self.tick(3)  # until where it stands is confirmed
        assert self.arm() == (True, "armed; give an instruction")
        self.say("go")
        self.tick(25)
        assert self.action["linear.x"] == pytest.approx(0.3)
        return self


def reaching(positions, lag=None):
    world = World(ARM)
    world.lag = lag
    world.positions = {**dict.fromkeys(JOINTS, 0.5), **positions}
    world.values = dict.fromkeys(JOINTS, 1.5)
    world.tick(3)  # until where it stands is confirmed
    world.arm()
    world.say("reach")
    return world
