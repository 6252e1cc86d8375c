"""`vla bench chunk-blending`: how smoothly each `chunk_blending` passes from chunk to chunk.

Simulated, the same episodes for each: a policy drives, its chunks go through `core/blending.py` as
in the node, and the command to the driver every 20 ms is kept; no gate in between. The jerk is the
change of acceleration from one command to the next, |v[k+1] - 2 v[k] + v[k-1]| / 20 ms, in m/s²
(linear.x) and rad/s² (angular.z); where all three commands stand, it is left out. It is one of a
boundary where v[k] or v[k+1] is the first command of a newer chunk; all others are elsewhere,
within a chunk. The time to done is simulated. The same command gives the same numbers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.bench.markdown import table
from vla_ros.core.blending import BLENDINGS, ChunkBlender
from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import load_robot
from vla_ros.core.types import NANOSECONDS, ActionChunk, to_nanoseconds
from vla_ros.evaluation.plan import FIRST_SEED, PlannedEpisode, success
from vla_ros.evaluation.scenarios import PLAIN, SCENARIOS
from vla_ros.policies import make_policy, policy_spec
from vla_ros.sim.episode import OBEY_PERIOD_S, prelude, run_episode
from vla_ros.sim.world import World
from vla_ros.tasks.phrases import KINDS

POLICIES = ("color_servo", "builtin")
CHANNELS = ("linear.x", "angular.z")
UNITS = ("m/s²", "rad/s²")  # of a jerk of CHANNELS
Numbers = NDArray[np.float64]


class RecordingWorld(World):
    """A world that keeps its driver's commands: rows of time (s), m/s, rad/s."""

    commands: list[tuple[float, float, float]] | None = None  # None: not now

    def command(self, linear: float, angular: float) -> None:
        if self.commands is not None:
            self.commands.append((float(self.data.time), linear, angular))
        super().command(linear, angular)


@dataclass
class BlendingTrial:
    """One episode. `jerks`: (channel, whether of a boundary) -> values."""

    done: bool
    seconds: float
    jerks: dict[tuple[str, bool], Numbers] = field(repr=False)


def jerks(
    commands: Sequence[tuple[float, float, float]], arrived: Sequence[float]
) -> dict[tuple[str, bool], Numbers]:
    """The jerks of one episode, in m/s² and rad/s².

    Args:
        commands: N rows of time (s), linear (m/s), angular (rad/s), OBEY_PERIOD_S apart.
        arrived: when each chunk took over, s.

    Returns:
        (channel, whether of a boundary) -> values; N - 2 in all, less those of a robot that stands.
    """
    rows = np.array(commands, np.float64).reshape(-1, 3)
    # which chunk each command is of; a microsecond for what rounding may have taken
    chunk = np.searchsorted(np.array(arrived) - 1e-6, rows[:, 0], "right")
    changes = np.diff(chunk) != 0
    boundary = changes[:-1] | changes[1:]
    moving = (rows[:, 1:] != 0.0).any(axis=1)
    moves = moving[:-2] | moving[1:-1] | moving[2:]
    values = np.abs(np.diff(rows[:, 1:], n=2, axis=0)) / OBEY_PERIOD_S  # N - 2 x channels
    out = {}
    for column, name in enumerate(CHANNELS):
        out[name, True] = values[moves & boundary, column]
        out[name, False] = values[moves & ~boundary, column]
    return out


def drive(
    world: RecordingWorld,
    episode: PlannedEpisode,
    policy_name: str,
    blending: str,
    options: argparse.Namespace,
) -> BlendingTrial:
    """An episode, from the same start each time; a fresh policy."""
    world.commands = None  # what comes before the episode is no part of it
    world.data.time = 0.0
    world.reset(episode.seed)
    SCENARIOS[PLAIN].prepare(world, episode.seed)
    prelude(world, episode.meant.kind, episode.seed)
    robot = load_robot(config_folder() / "robots" / "sim.yaml")
    blender = ChunkBlender(blending, to_nanoseconds(options.blend_time), robot.channels)
    # eager: nothing is built, nothing rounded anew
    policy = make_policy(policy_name, engine={"engine": "eager"})
    arrived: list[float] = []  # s

    def blend(chunk: ActionChunk, arrives: int) -> ActionChunk:
        arrived.append(arrives / NANOSECONDS)
        return blender.blend(chunk, arrives)

    world.commands = []
    outcome = run_episode(
        policy,
        world,
        episode.text,
        episode.seconds,
        spec=policy_spec(policy_name),
        intent=episode.meant,
        rate=options.rate,
        delay=options.delay,
        blend=blend,
    )
    return BlendingTrial(outcome.done, outcome.seconds, jerks(world.commands, arrived))


def summary(trials: dict[str, list[BlendingTrial]]) -> dict[str, dict[str, Any]]:
    """Blending -> its figures.

    Times are the mean over the episodes that were done with every blending, so that the same ones
    are compared.
    """
    done_with_all: NDArray[np.bool_] = np.array(True)  # of each episode
    for row in trials.values():
        done_with_all = done_with_all & [trial.done for trial in row]
    out: dict[str, dict[str, Any]] = {}
    for blending, row in trials.items():
        times = np.array([trial.seconds for trial in row])[done_with_all]
        out[blending] = {
            "done": sum(trial.done for trial in row),
            "episodes": len(row),
            "seconds": round(float(times.mean()), 3) if len(times) else None,
            "timed": len(times),
        }
        for channel in CHANNELS:
            boundaries = _together(row, channel, True)
            elsewhere = _together(row, channel, False)
            out[blending][channel] = {
                "boundaries": shares(boundaries),
                "elsewhere": shares(elsewhere),
                "mean": shares(np.concatenate([boundaries, elsewhere]))["mean"],
            }
    return out


def _together(trials: Sequence[BlendingTrial], channel: str, boundary: bool) -> Numbers:
    return np.concatenate([trial.jerks[channel, boundary] for trial in trials])


def shares(values: Numbers) -> dict[str, float | None]:
    """Percentiles and mean; None where there are no values."""
    if not len(values):
        return {"p50": None, "p95": None, "mean": None}
    return {
        "p50": round(float(np.percentile(values, 50)), 3),
        "p95": round(float(np.percentile(values, 95)), 3),
        "mean": round(float(values.mean()), 3),
    }


def page(report: dict[str, Any]) -> str:
    """The one table, as Markdown."""
    head = ["policy", "blending", "done", "time to done, s"]
    for channel, unit in zip(CHANNELS, UNITS):
        head += [f"{channel}, {unit}: at boundaries", "elsewhere", "mean"]
    rows = []
    for policy, blendings in report["policies"].items():
        for blending, figures in blendings.items():
            row = [
                policy,
                blending,
                f"{figures['done']} of {figures['episodes']}",
                two_digits(figures["seconds"]),
            ]
            for channel in CHANNELS:
                values = figures[channel]
                for place in ("boundaries", "elsewhere"):
                    p50 = two_digits(values[place]["p50"])
                    row.append(f"{p50} / {two_digits(values[place]['p95'])}")
                row.append(two_digits(values["mean"]))
            rows.append(row)
    return table(head, rows)


def two_digits(value: float | None) -> str:
    """Or a dash for what was not measured."""
    return "-" if value is None else f"{value:.2f}"


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. ValueError: a number out of its range, or an unknown policy."""
    parser = argparse.ArgumentParser(
        prog="vla bench chunk-blending", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "--episodes", type=int, default=24, help="for each blending and policy (default 24)"
    )
    parser.add_argument(
        "--policies",
        nargs="+",
        default=list(POLICIES),
        metavar="POLICY",
        help=f"which (default {' '.join(POLICIES)})",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=list(KINDS),
        metavar="KIND",
        help="of instruction (default all)",
    )
    parser.add_argument(
        "--blend-time", type=float, default=0.2, help="s that `linear` takes (default 0.2)"
    )
    parser.add_argument("--rate", type=float, default=12.5, help="images a second (default 12.5)")
    parser.add_argument(
        "--delay", type=float, default=0.08, help="s from an image to its chunk (default 0.08)"
    )
    parser.add_argument(
        "--seed", type=int, default=FIRST_SEED, help="of the first scene (default %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    options = parser.parse_args(list(argv))
    for name, least, most in (("blend_time", 0.0, 5.0), ("rate", 0.1, 50.0), ("delay", 0.0, 5.0)):
        if not least <= getattr(options, name) <= most:
            raise ValueError(
                f"--{name.replace('_', '-')} is {getattr(options, name):g}; "
                f"give a number from {least:g} to {most:g}"
            )
    for name in options.policies:
        policy_spec(name)
    return options


def run(argv: Sequence[str]) -> int:
    """0: the table is printed."""
    options = arguments_of(argv)
    # known phrasings only: it is not about words
    plan = success(options.episodes, ("known",), options.kinds, options.seed)
    world = RecordingWorld(0, 320, 240)
    policies = {}
    try:
        for policy in options.policies:
            trials: dict[str, list[BlendingTrial]] = {blending: [] for blending in BLENDINGS}
            for episode in plan:
                print(f"{policy}: episode {episode.number + 1} of {len(plan)}", flush=True)
                for blending in BLENDINGS:
                    trials[blending].append(drive(world, episode, policy, blending, options))
            policies[policy] = summary(trials)
    finally:
        world.close()
    report = {"bench": "chunk-blending", "policies": policies}
    for name in ("episodes", "kinds", "blend_time", "rate", "delay", "seed"):
        report[name] = getattr(options, name)
    if options.json:  # first: no table is worth the numbers
        Path(options.json).write_text(json.dumps(report) + "\n", encoding="utf-8")
    print(page(report))
    return 0
