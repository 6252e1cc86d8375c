"""`vla evaluate`: how good a policy is, in the simulator, as one report."""
from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vla_ros.evaluation.episodes import Record
    from vla_ros.evaluation.plan import Episode

PARTS = ("success", "paraphrases", "counterfactuals", "scenarios")
QUICK = 48  # episodes


def arguments(parser: argparse.ArgumentParser) -> None:
    """No import of what is heavy: `vla --help` comes by here."""
    parser.add_argument("--policy", default="vla", help="which policy (default %(default)s)")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="its checkpoint, for a policy that has one")
    parser.add_argument("--episodes", type=int, metavar="N",
                        help="how many for the success rates (default 600); counterfactuals, paraphrases and scenarios come on top, in proportion")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="of the phrasings: known recombined synonyms pairs (default all)")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="of instruction: go_to face grab … (default all)")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, metavar="PART",
                        help=f"what to run: {' '.join(PARTS)} (default all; counterfactuals and scenarios need success)")
    parser.add_argument("--scenarios", nargs="+", default=["all"], metavar="NAME", help="conditions, all or none (default all)")
    parser.add_argument("--against", metavar="POLICY", help="a second policy on the same episodes")
    parser.add_argument("--seed", type=int, help="of the first scene (default 1000000, where training's seeds end)")
    parser.add_argument("--camera", default="320x240", metavar="WxH", help="the camera's pixels (default %(default)s)")
    parser.add_argument("--out", default="evaluation", metavar="FOLDER", help="where the report goes (default ./%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"a first impression: {QUICK} episodes and less of the rest")


def run(options: argparse.Namespace) -> int:
    """The exit code: 0 when the report is written. Raises ValueError, before any time is spent, for what cannot be run."""
    from vla_ros.evaluation import episodes, report, summary
    from vla_ros.evaluation.episodes import Player

    plan = make_plan(options)
    ours = Player(options.policy, {"checkpoint": options.checkpoint} if options.checkpoint else {}, camera(options.camera))
    theirs = Player(options.against, {}, ours.camera) if options.against else None
    for player in (ours, theirs):
        if player is not None:
            episodes.check(player)
    if options.jobs < 1:
        raise ValueError(f"jobs is {options.jobs}; give at least 1")
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out is '{folder}', which is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with progress(f"{options.policy}", len(plan)) as told:
        records = episodes.run(plan, ours, options.jobs, told)
    others: list[Record] = []
    if theirs is not None:
        same = [one for one in plan if one.part == "success"]
        with progress(f"{options.against}", len(same)) as told:
            others = episodes.run(same, theirs, options.jobs, told)
    facts = report.facts(ours, records, command_line(), jobs=options.jobs, seconds=time.monotonic() - began)
    numbers = report.write(folder, facts, summary.summarise(records, others), records)
    print("\n".join(report.lines(numbers)))
    print(f"report: {folder / 'report.html'}")
    return 0


def make_plan(options: argparse.Namespace) -> list[Episode]:
    """All parts that were asked for, numbered through. Raises ValueError."""
    from dataclasses import replace

    from vla_ros.evaluation import plan as plans
    from vla_ros.evaluation.scenarios import SCENARIOS, choose
    from vla_ros.sim.phrases import KINDS, SPLITS

    count = options.episodes if options.episodes is not None else QUICK if options.quick else 600
    names = choose(options.scenarios) if "scenarios" in options.parts else []
    parts = plans.success(count, options.splits or SPLITS, options.kinds or KINDS,
                          plans.FIRST_SEED if options.seed is None else options.seed)
    if "known" not in {one.split for one in parts} and set(options.parts) != {"success"}:
        raise ValueError("paraphrases, counterfactuals and scenarios are made from episodes of the split 'known', and the plan "
                         "has none; add it to --splits, or ask for --parts success")
    out = list(parts) if "success" in options.parts else []
    if "paraphrases" in options.parts:
        out += plans.paraphrases(parts, max(1, count // 10))
    if "counterfactuals" in options.parts:
        out += plans.counterfactuals(parts, max(1, count // 5))
    for name in names:
        out += plans.scenario(parts, name, SCENARIOS[name].objects, max(1, count // 20))
    extra = max((one.number for one in parts), default=0) + 1
    return [one if one.part == "success" else replace(one, number=extra + index) for index, one in enumerate(out)]


def camera(text: str) -> tuple[int, int]:
    """ "320x240" -> (320, 240). Raises ValueError."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 16 <= int(width) <= 1920 and 16 <= int(height) <= 1920):
        raise ValueError(f"camera is '{text}'; give width x height in pixels, 16 to 1920 each, as in 320x240")
    return int(width), int(height)


def command_line(argv: Sequence[str] | None = None) -> str:
    return shlex.join(["vla", *(sys.argv[1:] if argv is None else argv)])


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[Any], None]]:
    """A bar with the successes so far and the time left; without a terminal, nothing."""
    if not sys.stderr.isatty():
        yield lambda record: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[done]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, done="")
        seen = [0, 0]

        def told(record: Record) -> None:
            if record.episode.part == "success":
                seen[0] += record.done
                seen[1] += 1
            bar.update(task, advance=1, done=f"{seen[0]} of {seen[1]} done" if seen[1] else "")

        yield told
