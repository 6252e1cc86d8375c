"""`vla evaluate`: how good a policy is, in the simulator, as one report."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_ros.cli.argument_types import image_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vla_ros.evaluation.phrasings import Phrasing
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
    add(
        "--policy-file",
        metavar="FILE",
        help="which policy, with its options, images and numbers; not beside --policy",
    )
    add("--checkpoint", metavar="FOLDER", help="its checkpoint, for a policy that has one")
    add(
        "--episodes",
        type=int,
        metavar="N",
        help="how many for the success rates (default 600); the other parts come on top, in "
        "proportion",
    )
    add(
        "--say",
        nargs="+",
        metavar="SENTENCE",
        help="these sentences in turn, in scenes that have what they name; nothing else is said",
    )
    add(
        "--phrasings",
        metavar="FILE",
        help="a list of your own: on each line a sentence, a tab, what is meant by it "
        "(doc/words.md); each is run in --episodes scenes (default 1) that have what it is about",
    )
    add(
        "--read-only",
        action="store_true",
        help="only read the sentences, and compare what was read with what is meant; no driving",
    )
    add(
        "--table",
        metavar="PAGE",
        help="with --phrasings: a Markdown page that gets each sentence and what came of it",
    )
    add(
        "--splits",
        nargs="+",
        metavar="SPLIT",
        help="of the phrasings: known recombined unseen_words pairs amounts relations sequences "
        "refusals; the arm has the first four (default all)",
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
    add(
        "--against",
        metavar="POLICY",
        help="a second policy, or policy file (NAME.yaml), on the same episodes",
    )
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
        help="where the report goes (default ./%(default)s); an earlier one gets another name",
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

    if options.read_only:
        return read_only(options)
    plan, players, folder = prepare(options)
    reading = read_words(options, plan, players[0])
    keep_earlier(folder)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    records: list[list[Record]] = []
    # One after the other, each on all of the worker processes.
    for index, choice in enumerate(players):
        # what a second policy is compared by
        wanted = plan if index == 0 else success_episodes(plan)
        with progress(choice.policy, len(wanted)) as on_record:
            records.append(runner.run(wanted, choice, options.jobs, on_record))
    results = summary.summarise(records[0], records[1] if records[1:] else ())
    if reading:
        results["reading"] = reading
    ended_early = False
    if options.nodes is not None:
        driven, course = run_through_nodes(through(options, plan), players[0], folder / "logs")
        results["nodes"] = {**through_nodes.summarise(records[0], driven), **course}
        ended_early = bool(course["problem"])
    seconds = time.monotonic() - began
    facts = report.facts(players[0], records[0], command_line(), options.jobs, seconds)
    numbers = report.write(folder, facts, results, records[0])
    if options.phrasings:
        write_table(options, records[0], folder)
    print("\n".join(report.lines(numbers)))
    print(f"report: {folder / 'report.html'}")
    return int(ended_early)


def keep_earlier(folder: Path) -> None:
    """Renames a folder that holds an earlier report, which may have taken hours. ValueError."""
    report = folder / "report.json"
    if not report.is_file():
        return
    if folder.resolve() == Path.cwd():
        raise ValueError("out is this folder, and holds an earlier report; name another folder")
    written = time.strftime("%Y%m%d-%H%M%S", time.localtime(report.stat().st_mtime))
    kept = folder.resolve().with_name(f"{folder.resolve().name}-{written}")
    if kept.exists():
        raise ValueError(f"out is '{folder}', and its report would go to {kept}, which exists")
    folder.rename(kept)
    print(f"the earlier report is now in {kept}")


def read_only(options: argparse.Namespace) -> int:
    """Reads the sentences and says how; writes reading.json. Raises ValueError."""
    from vla_ros.evaluation import report, words
    from vla_ros.evaluation.phrasings import read_phrasings

    if options.nodes is not None or options.table:
        other = "table" if options.table else "nodes"
        raise ValueError(f"read-only drives nothing, so there is nothing for --{other}")
    if options.say:
        raise ValueError(
            "read-only compares what is read with what is meant, which nobody said of --say; give "
            "sentences and their meanings with --phrasings"
        )
    if options.phrasings:
        phrasings = read_phrasings(options.phrasings, options.robot)
    else:
        phrasings = words.asked(make_plan(options))
    reading = score(options.robot, phrasings)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "reading.json"
    report.write_json(path, {"command": command_line(), **reading})
    print("\n".join(report.reading_lines(reading)))
    for entry in reading["misread"]:
        read = entry["read"] or entry["sentence"]
        print(f"  {entry['outcome']}: {entry['text']!r} means {entry['meant']}; read: {read}")
    print(f"reading: {path}")
    return 0


def score(robot: str, phrasings: Sequence[Phrasing]) -> dict[str, Any]:
    """How the robot's reader reads them. What halts, `command_ingest` says, whatever the robot."""
    from vla_ros.evaluation import words
    from vla_ros.tasks.reading.arm import ARM
    from vla_ros.tasks.reading.reader import InstructionReader, reader_of

    halts = InstructionReader.load()
    if robot == "arm":
        return words.score(reader_of(ARM), phrasings, robot=ARM, halts=halts)
    return words.score(halts, phrasings)


def read_words(
    options: argparse.Namespace, plan: Sequence[PlannedEpisode], choice: PolicyChoice
) -> dict[str, Any] | None:
    """How the plan's sentences are read, where the policy is one that reads them."""
    from vla_ros.evaluation import words
    from vla_ros.evaluation.phrasings import read_phrasings

    # of --say nobody said the meaning: the reader would be compared with itself
    if choice.policy != POLICY_OF[options.robot] or options.say:
        return None
    phrasings = words.asked(plan)
    if options.phrasings:  # those, too, that no scene is for
        phrasings = read_phrasings(options.phrasings, options.robot)
    return score(options.robot, phrasings)


TABLE_MARKERS = ("<!-- phrasings -->", "<!-- end of phrasings -->")


def write_table(options: argparse.Namespace, records: Sequence[Record], folder: Path) -> None:
    """Each sentence and what came of it: in the report's folder, and in the page that was named."""
    from vla_ros.evaluation import words
    from vla_ros.evaluation.phrasings import read_phrasings

    table = words.table(read_phrasings(options.phrasings, options.robot), records)
    (folder / "phrasings.md").write_text(table, encoding="utf-8")
    if options.table:
        page = Path(options.table)
        before, after = around_table(page)
        begin, end = TABLE_MARKERS
        page.write_text(f"{before}{begin}\n{table}{end}{after}", encoding="utf-8")


def around_table(page: Path) -> tuple[str, str]:
    """What stands before and after the table in the page. Raises ValueError."""
    begin, end = TABLE_MARKERS
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"table: cannot read {page}: {problem}; name a Markdown page") from None
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"table: {page} has no '{begin}' with '{end}' below; put them there")
    return before, after


def success_episodes(plan: Sequence[PlannedEpisode]) -> list[PlannedEpisode]:
    """Those of the part "success"."""
    return [episode for episode in plan if episode.part == "success"]


def run_through_nodes(
    plan: Sequence[PlannedEpisode], choice: PolicyChoice, logs: Path
) -> tuple[list[Driven], dict[str, Any]]:
    """The records, and how it went: whether it ended early, and what the machine reached."""
    from vla_ros.bench import evaluate_nodes

    with progress(f"{choice.policy}, through the nodes", len(plan)) as on_record:
        return evaluate_nodes.run(plan, choice, logs, on_record)


def prepare(options: argparse.Namespace) -> tuple[list[PlannedEpisode], list[PolicyChoice], Path]:
    """What to run, who plays (the second one to compare with), and where the report goes.

    Raises:
        ValueError: For options that do not fit.
        ModuleNotFoundError: A module is missing.
    """
    from vla_ros.evaluation import runner

    for module in NEEDED:
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    plan = make_plan(options)
    if options.table and not options.phrasings:
        raise ValueError("table holds the sentences of a list; give it with --phrasings")
    if options.table:
        around_table(Path(options.table))  # for what it raises: it is written last
    if options.policy_file and (options.policy or options.checkpoint):
        other = "policy" if options.policy else "checkpoint"
        raise ValueError(
            f"policy-file and {other} are both given; give one: the file names its policy and its "
            "checkpoint"
        )
    chosen = options.policy_file or options.policy or POLICY_OF[options.robot]
    players = [player(options, chosen, options.checkpoint)]
    if options.against:
        players.append(player(options, options.against))
    if options.jobs < 1:
        raise ValueError(f"jobs is {options.jobs}; give at least 1")
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out is '{folder}', which is a file; name a folder")
    through(options, plan)  # for what it raises: the nodes come last
    for choice in players:
        runner.check(choice)
    return plan, players, folder


def player(options: argparse.Namespace, policy: str, checkpoint: str | None = None) -> PolicyChoice:
    """A policy by its name, or by its policy file. Raises ValueError."""
    from vla_ros.core.policy_file import load_policy_file
    from vla_ros.evaluation.runner import PolicyChoice

    size = image_size(options.camera or CAMERA_OF[options.robot])
    if policy != options.policy_file and not policy.endswith((".yaml", ".yml")):
        given = {"checkpoint": checkpoint} if checkpoint else {}
        return PolicyChoice(policy, given, size, options.robot)
    file = load_policy_file(policy)
    return PolicyChoice(
        file.policy, dict(file.options), size, options.robot, str(Path(policy).absolute())
    )


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
    width, height = image_size(options.camera or CAMERA_OF[options.robot])
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
    if options.say or options.phrasings:
        given = "say" if options.say else "phrasings"
        chosen = options.splits or options.kinds or options.scenarios
        if chosen or options.parts != list(PARTS) or (options.say and options.phrasings):
            raise ValueError(
                f"{given} stands beside splits, kinds, parts or scenarios; with sentences of your "
                "own there is nothing else to choose"
            )
    if options.say:
        return plans.said(options.say, count, seed, robot)
    if options.phrasings:
        return phrasing_plan(options, seed)
    whole = plans.success(count, options.splits, options.kinds, seed, robot)
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


def phrasing_plan(options: argparse.Namespace, seed: int) -> list[PlannedEpisode]:
    """The sentences of the list that was given; says which have no scene. Raises ValueError."""
    from vla_ros.evaluation.phrasings import plan_phrasings, read_phrasings

    each = 1 if options.episodes is None else options.episodes
    if each < 1:
        raise ValueError(f"episodes is {each}; run each sentence in at least 1 scene")
    phrasings = read_phrasings(options.phrasings, options.robot)
    plan, without = plan_phrasings(phrasings, each, seed, options.robot)
    for phrasing in without:
        print(
            f"line {phrasing.line}: no scene is for {phrasing.text!r} ({phrasing.notation}); it is "
            "not driven",
            file=sys.stderr,
        )
    if not plan:
        raise ValueError(f"phrasings: no scene is for any sentence of {options.phrasings}")
    return plan


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
