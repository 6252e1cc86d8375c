"""One instruction, one arm, one table: what is asked for, and the closed loop without ROS."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.chunks import row_at
from vla_ros.core.images import resize
from vla_ros.core.types import ActionChunk, Instruction, Observation, to_nanoseconds
from vla_ros.policies.base import PolicySpec
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.expert import next_row
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.sim.episode import EpisodeRules, Lens
from vla_ros.tasks.arm.intent import ARM_KINDS, PUT_KINDS, ArmIntent, Named, parse_arm
from vla_ros.tasks.arm.phrases import say_arm
from vla_ros.tasks.arm.sequence import ArmJudging
from vla_ros.tasks.arm.success import judge_arm, places_meant
from vla_ros.tasks.arm.table import GRASPABLE, SHAPES, TableState
from vla_ros.tasks.success import Judgement

Array = NDArray[np.float64]
ARM_STEP_S = 0.1  # between images, and between the rows of a chunk
ARM_CHANNELS = (*chain.NAMES, "gripper")
DONE_FOR_S = 0.5  # that a done verdict must last before the episode ends early
EPISODE_LIMIT_S = 20.0  # that an episode may take
# Kind -> the shapes that it is asked for; else all.
_DRAWN: dict[str, tuple[str, ...]] = {
    "pick": GRASPABLE,
    "hand_over": GRASPABLE,
    "put_beside": GRASPABLE,
    "put_into": ("block",),
    "put_onto": ("block",),
}
MAX_TRIES = 50  # drawings of an instruction that is not done already


@dataclass(frozen=True)
class ArmOutcome:
    """How an episode ended: what was asked, in which scene, the verdict, and simulated seconds."""

    intent: ArmIntent
    seed: int
    verdict: Judgement
    seconds: float


Drive = Callable[[TableState, TableState], Array]  # start and now -> a row of ARM_CHANNELS


def draw_intent(world: ArmWorld, kind: str, rng: np.random.Generator) -> ArmIntent | None:
    """An instruction of `kind` that this table allows and that is not done yet; None: none."""
    state = world.state()
    if kind not in (*PUT_KINDS, "reach", "pick", "push", "hand_over"):
        return ArmIntent(kind)
    things = [thing for thing in state.objects if thing.shape in _DRAWN.get(kind, SHAPES)]
    for _ in range(MAX_TRIES):
        thing = things[int(rng.integers(len(things)))]
        intent = ArmIntent(kind, Named(thing.colour, thing.shape))
        if kind in PUT_KINDS:
            places = places_meant(ArmIntent(kind), state, thing)
            place = places[int(rng.integers(len(places)))]
            intent = ArmIntent(kind, intent.thing, Named(place.colour, place.shape))
        if not judge_arm(intent, state, state).done:
            return intent
    return None


def prepare(world: ArmWorld, kind: str, seed: int) -> None:
    """What was before the words: "open" is said to a closed hand, "stop" to an arm that moves."""
    rng = np.random.default_rng((seed, 5))
    joints = np.array(world.state().joints)
    if kind == "open":
        world.command_gripper(0.0)
        world.step(1.0)
    elif kind == "home":
        radius = float(rng.uniform(0.24, 0.42))
        angle = float(rng.uniform(0.4, 1.1)) * (1.0 if rng.random() < 0.5 else -1.0)
        place = np.array(
            [radius * math.cos(angle), radius * math.sin(angle), rng.uniform(0.12, 0.2)]
        )
        world.place_arm(chain.joints_for(place, chain.pointing_down(angle + math.pi / 2)), 0.08)
    elif kind == "stop":
        world.command(joints + rng.uniform(-0.5, 0.5, 6) * (1.0, 0.3, 0.3, 0.0, 0.3, 1.0), 0.5)
        world.step(0.3)


def obey_row(world: ArmWorld, row: Array, seconds: float = ARM_STEP_S) -> None:
    """Tell the drivers a row of ARM_CHANNELS, to be reached within `seconds`; nothing moves yet."""
    world.command(row[:6], seconds)
    world.command_gripper(float(row[6]) * chain.FINGER_TRAVEL_M)


def observe_arm(
    world: ArmWorld, spec: PolicySpec, instruction: Instruction, lens: Lens | None = None
) -> Observation:
    """What the nodes would hand to the policy: both images at its sizes, and the joints."""
    images = {}
    for camera, image in world.render().items():
        if camera in spec.images:
            changed = image if lens is None else lens(image)
            images[camera] = resize(changed, spec.images[camera], spec.resize)
    return Observation(to_nanoseconds(world.time), instruction, images, world.joint_states())


def obey_chunk(world: ArmWorld, chunk: ActionChunk, age: float) -> None:
    """Tell the drivers the row of `chunk` that is due `age` seconds after its stamp."""
    row = chunk.values[row_at(chunk, chunk.stamp + to_nanoseconds(age))]
    obey_row(world, row.astype(float))


# Standing still is asked by the verdict itself.
ARM_RULES = EpisodeRules(observe_arm, obey_chunk, parse_arm, ArmJudging, lambda chunk: True)


def expert_drive(intent: ArmIntent) -> Drive:
    """The expert as what drives an episode."""
    return lambda start, now: next_row(intent, start, now, ARM_STEP_S)


def run_arm_episode(
    world: ArmWorld, intent: ArmIntent, drive: Drive, seconds: float = EPISODE_LIMIT_S
) -> ArmOutcome:
    """Let `drive` follow the instruction until it is done and stays done, or time is over."""
    start = world.state()
    began = world.time
    done_since = began
    verdict = judge_arm(intent, start, start)
    while world.time - began < seconds:
        obey_row(world, drive(start, world.state()))
        world.step(ARM_STEP_S)
        verdict = judge_arm(intent, start, world.state())
        if not verdict.done:
            done_since = world.time
        elif world.time - done_since >= DONE_FOR_S:
            break
    return ArmOutcome(intent, world.seed, verdict, world.time - began)


def expert_outcomes(
    world: ArmWorld, kind: str, scenes: int, first_seed: int = 0
) -> list[ArmOutcome]:
    """How the expert's episodes of `kind` ended, on `scenes` tables."""
    outcomes: list[ArmOutcome] = []
    seed = first_seed
    while len(outcomes) < scenes:
        world.reset(seed)
        intent = draw_intent(world, kind, np.random.default_rng((seed, 6)))
        if intent is not None:
            prepare(world, kind, seed)
            outcomes.append(run_arm_episode(world, intent, expert_drive(intent)))
        seed += 1
    return outcomes


def main() -> None:
    """Print how often the expert does each task: python3 -m vla_ros.sim.arm.episode 100."""
    scenes = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    kinds = sys.argv[2:] or ARM_KINDS
    world = ArmWorld(0)
    print(f"{'task':<12}{'done':>10}{'seconds':>10}")
    for kind in kinds:
        outcomes = expert_outcomes(world, kind, scenes)
        done = [outcome for outcome in outcomes if outcome.verdict.done]
        seconds = sum(outcome.seconds for outcome in done) / max(len(done), 1)
        print(f"{kind:<12}{len(done):>6}/{len(outcomes)}{seconds:>10.1f}", flush=True)
        for outcome in outcomes:
            if not outcome.verdict.done:
                words = say_arm(np.random.default_rng(0), outcome.intent)
                print(f"  scene {outcome.seed}, {words!r}: {outcome.verdict.sentence}", flush=True)


if __name__ == "__main__":
    main()
