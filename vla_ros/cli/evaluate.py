"""`vla evaluate`: how good a policy is, in the simulator, as one report."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vla_ros.evaluation.plan import PlannedEpisode
    from vla_ros.evaluation.runner import PolicyChoice, Record
    from vla_ros.evaluation.through_nodes import Driven

PARTS = ("success", "paraphrases", "counterfactuals", "scenarios")
EPISODES = 600
QUICK_EPISODES = 48
POLICY_OF = {"cart": "builtin", "arm": "builtin_arm"}
CAMERA_OF = {"cart": "320x240", "arm": "192x192"}
# Asked for before any time is spent: intervals, what compares labels, and the page.
NEEDED = ("scipy", "sklearn", "jinja2")


def arguments(parser: argparse.ArgumentParser) -> None:
    """No import of what is heavy: `vla --help` comes by here."""
    add = parser.add_argument
    add(
        "--robot",
        choices=("cart", "arm"),
        default="cart",
        help="the cart in its room, or the arm at its table (default %(default)s)",
    )
    add("--policy", help="which policy (default: the robot's learned one)")
    add("--checkpoint", metavar="FOLDER", help="its checkpoint, for a policy that has one")
    add(
        "--episodes",
        type=int,
        metavar="N",
        help="how many for the success rates (default 600); the other parts come on top, in "
        "proportion",
    )
    add(
        "--splits",
        nargs="+",
        metavar="SPLIT",
        help="of the phrasings: known recombined synonyms pairs (default all)",
    )
    add(
        "--kinds",
        nargs="+",
        metavar="KIND",
        help="of instruction: go_to face grab …, the arm's reach pick … (default all)",
    )
    add(
        "--parts",
        nargs="+",
        default=list(PARTS),
        metavar="PART",
        help=f"{' '.join(PARTS)} (default all)",
    )
    add(
        "--scenarios",
        nargs="+",
        metavar="NAME",
        help="conditions, or all, or none (default all; with --quick none)",
    )
    add("--against", metavar="POLICY", help="a second policy on the same episodes")
    add(
        "--nodes",
        type=int,
        nargs="?",
        const=-1,  # --nodes without a number
        metavar="N",
        help="the success episodes (or the first N) also through the ROS nodes, in real time, "
        "behind the gate",
    )
    add("--seed", type=int, help="of the first scene (default 1000000, where training's seeds end)")
    add(
        "--camera",
        metavar="WxH",
        help="the cameras' pixels (default: the cart's 320x240, the arm's 192x192)",
    )
    add(
        "--out",
        default="evaluation",
        metavar="FOLDER",
        help="where the report goes (default ./%(default)s)",
    )
    add(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="worker processes (default %(default)s)",
    )
    add(
        "--quick",
        action="store_true",
        help=f"a first impression: {QUICK_EPISODES} episodes, no scenarios",
    )


def run(options: argparse.Namespace) -> int:
    """0: the report is written; 1: it is, but the nodes ended early.

    Raises:
        ValueError: For what cannot be, before any time is spent.
    """
    from vla_ros.evaluation import report, runner, summary, through_nodes

    plan, players, folder = prepare(options)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    records: list[list[Record]] = []
    # One after the other, each on all of the worker processes.
    for index, player in enumerate(players):
        # what a second policy is compared by
        wanted = plan if index == 0 else success_episodes(plan)
        with progress(player.policy, len(wanted)) as on_record:
            records.append(runner.run(wanted, player, options.jobs, on_record))
    results = summary.summarise(records[0], records[1] if records[1:] else ())
    ended_early = False
    if options.nodes is not None:
        driven, course = run_through_nodes(through(options, plan), players[0], folder / "logs")
        results["nodes"] = {**through_nodes.summarise(records[0], driven), **course}
        ended_early = bool(course["problem"])
    seconds = time.monotonic() - began
    facts = report.facts(players[0], records[0], command_line(), options.jobs, seconds)
    numbers = report.write(folder, facts, results, records[0])
    print("\n".join(report.lines(numbers)))
    print(f"report: {folder / 'report.html'}")
    return int(ended_early)


def success_episodes(plan: Sequence[PlannedEpisode]) -> list[PlannedEpisode]:
    """Those of the part "success"."""
    return [episode for episode in plan if episode.part == "success"]


def run_through_nodes(
    plan: Sequence[PlannedEpisode], player: PolicyChoice, logs: Path
) -> tuple[list[Driven], dict[str, Any]]:
    """The records, and how it went: whether it ended early, and what the machine reached."""
    from vla_ros.bench import evaluate_nodes

    with progress(f"{player.policy}, through the nodes", len(plan)) as on_record:
        return evaluate_nodes.run(plan, player, logs, on_record)


def prepare(options: argparse.Namespace) -> tuple[list[PlannedEpisode], list[PolicyChoice], Path]:
    """What to run, who plays (the second one to compare with), and where the report goes.

    Raises:
        ValueError: For options that do not fit.
        ModuleNotFoundError: A module is missing.
    """
    from vla_ros.evaluation import runner
    from vla_ros.evaluation.runner import PolicyChoice

    for module in NEEDED:
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    plan = make_plan(options)
    given = {"checkpoint": options.checkpoint} if options.checkpoint else {}
    policy = options.policy or POLICY_OF[options.robot]
    size = camera(options.camera or CAMERA_OF[options.robot])
    players = [PolicyChoice(policy, given, size, options.robot)]
    if options.against:
        players.append(PolicyChoice(options.against, {}, size, options.robot))
    if options.jobs < 1:
        raise ValueError(f"jobs is {options.jobs}; give at least 1")
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out is '{folder}', which is a file; name a folder")
    through(options, plan)  # for what it raises: the nodes come last
    for player in players:
        runner.check(player)
    return plan, players, folder


def through(options: argparse.Namespace, plan: Sequence[PlannedEpisode]) -> list[PlannedEpisode]:
    """What the nodes shall run.

    Raises:
        ValueError: For what they cannot.
        ModuleNotFoundError: ROS is missing.
    """
    if options.nodes is None:
        return []
    if options.nodes == 0 or options.nodes < -1:
        raise ValueError(
            f"nodes is {options.nodes}; give at least 1, or no number for all success episodes"
        )
    chosen = success_episodes(plan)
    if not chosen:
        raise ValueError(
            "the nodes run the success episodes, and the plan has none; add success to --parts"
        )
    # the bare simulator takes smaller images
    width, height = camera(options.camera or CAMERA_OF[options.robot])
    if width < 64 or height < 48:
        raise ValueError(f"camera is {width}x{height}; the simulator's node takes 64x48 and more")
    for module in ("rclpy", "vla_ros_msgs"):
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    return chosen[: options.nodes] if options.nodes > 0 else chosen


def make_plan(options: argparse.Namespace) -> list[PlannedEpisode]:
    """All parts that were asked for, numbered through. Raises ValueError."""
    from vla_ros.evaluation import plan as plans
    from vla_ros.evaluation.scenarios import SCENARIOS, choose
    from vla_ros.tasks.phrases import SPLITS

    robot = plans.robot_named(options.robot)
    for name in options.parts:
        if name not in PARTS:
            raise ValueError(f"unknown part '{name}'; known are: {', '.join(PARTS)}")
    count = QUICK_EPISODES if options.quick else EPISODES
    if options.episodes is not None:
        count = options.episodes
    # each scenario adds episodes of its own: a first impression goes without
    names = choose(options.scenarios or (["none"] if options.quick else ["all"]))
    seed = plans.FIRST_SEED if options.seed is None else options.seed
    if robot.scenarios:
        if options.scenarios and set(names) - set(robot.scenarios) and options.scenarios != ["all"]:
            raise ValueError(
                f"the scenarios of the {robot.name} are {', '.join(robot.scenarios)}; "
                f"name some of these"
            )
        names = [name for name in names if name in robot.scenarios]
    whole = plans.success(count, options.splits or SPLITS, options.kinds, seed, robot)
    splits = {episode.split for episode in whole}
    if set(options.parts) != {"success"} and "known" not in splits:
        raise ValueError(
            "paraphrases, counterfactuals and scenarios are made from episodes of the split "
            "'known', and the plan has none; add it to --splits, or ask for --parts success"
        )
    # The other parts are a tenth, a fifth, and for each scenario a twentieth as large.
    others: list[PlannedEpisode] = []
    if "paraphrases" in options.parts:
        others += plans.paraphrases(whole, max(1, count // 10))
    if "counterfactuals" in options.parts:
        others += plans.counterfactuals(whole, max(1, count // 5))
    if "scenarios" in options.parts:
        for name in names:
            others += plans.scenario(whole, name, SCENARIOS[name].objects, max(1, count // 20))
    plan = list(whole) if "success" in options.parts else []
    for episode in others:
        plan.append(replace(episode, number=count + len(plan)))
    return plan


def camera(text: str) -> tuple[int, int]:
    """Width and height of a camera's image: "320x240" -> (320, 240). Raises ValueError."""
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if match is not None:
        width, height = map(int, match.groups())
        if 16 <= width <= 1920 and 16 <= height <= 1920:
            return width, height
    raise ValueError(
        f"camera is '{text}'; give width x height in pixels, 16 to 1920 each, as in 320x240"
    )


def command_line(argv: Sequence[str] | None = None) -> str:
    """As it was typed, for the report: whoever doubts a figure measures it again."""
    return shlex.join(["vla", *(sys.argv[1:] if argv is None else argv)])


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[Any], None]]:
    """A bar with the successes so far and the time left; without a terminal, nothing."""
    if not sys.stderr.isatty():
        yield lambda record: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:g}/{task.total:g}"),
        TextColumn("{task.fields[done]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        # of the success episodes: those of the other parts are compared, not counted
        task = bar.add_task(what, total=total, done="")
        done = 0
        played = 0

        def on_record(record: Record) -> None:
            nonlocal done, played
            if record.episode.part == "success":
                done += record.done
                played += 1
            bar.update(task, advance=1, done=f"{done} of {played} done" if played else "")

        yield on_record
