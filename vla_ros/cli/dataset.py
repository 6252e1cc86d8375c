"""`vla dataset`: what a dataset holds; and other people's formats, to and from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_ros.cli import wide_console
from vla_ros.cli.argument_types import positive, seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

SHOWN_TASKS = 20  # in the table; --json has all


def arguments(parser: argparse.ArgumentParser) -> None:
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True)
    info = words.add_parser(
        "info",
        help="what is in a dataset, what of it is used, and what is left out",
        description="Says what is in a LeRobot dataset (v3.0, v2.1, v2.0), what a model would be "
        "told and learn of it, and what would be left out.",
    )
    info.add_argument("folder", metavar="DIR", help="the dataset's folder")
    info.add_argument("--json", action="store_true", help="the same as one JSON object")
    convert = words.add_parser(
        "convert",
        help="a dataset to v2.1, for openpi and GR00T; a bag to v3.0",
        description="Writes a LeRobot dataset as v2.1, which openpi and GR00T read, or makes a "
        "v3.0 dataset of a rosbag2 or MCAP recording.",
    )
    convert.add_argument(
        "source", metavar="IN", help="a dataset's folder; a bag, an .mcap, or a folder of those"
    )
    convert.add_argument("out", metavar="OUT", help="a new folder")
    convert.add_argument(
        "--to", choices=("v2.1", "v3.0"), help="the layout (default: a bag's is v3.0)"
    )
    convert.add_argument(
        "--codec",
        default="",
        metavar="NAME",
        help="encode all images again, as h264 or libsvtav1 (default: videos are copied)",
    )
    bag = convert.add_argument_group("of a bag")
    bag.add_argument("--robot", metavar="FILE", help="the robot file: which topics are what")
    bag.add_argument("--fps", type=seed, default=10, help="frames a second (default %(default)s)")
    bag.add_argument(
        "--task", metavar="WORDS", help="what was done (default: as the instruction's topic says)"
    )
    bag.add_argument(
        "--task-topic",
        metavar="TOPIC",
        default="/vla/instruction/accepted",
        help="where instructions are: a std_msgs/String or an Instruction (default %(default)s)",
    )
    bag.add_argument(
        "--max-age",
        type=positive,
        default=0.2,
        metavar="S",
        help="an older image, state or velocity makes no frame (default %(default)s)",
    )
    bag.add_argument(
        "--measured",
        action="store_true",
        help="of channels whose commands are not in the bag, the action is where their joint was "
        "measured at the next frame",
    )
    bag.add_argument(
        "--bag-times",
        action="store_true",
        help="go by when messages were recorded, not by their own stamps",
    )


def run(options: argparse.Namespace) -> int:
    """0: done. Raises ValueError for what cannot be read or written."""
    # before anything of it is needed: one sentence instead of a traceback
    import av  # noqa: F401
    import pyarrow  # noqa: F401

    return _info(options) if options.word == "info" else _convert(options)


def _convert(options: argparse.Namespace) -> int:
    source = Path(options.source)
    if (source / "meta" / "info.json").is_file():
        return _to_v2(options)
    if options.to == "v2.1":
        raise ValueError(
            f"{source} is no dataset (it has no meta/info.json); make a v3.0 dataset of a bag "
            "first, then convert that"
        )
    return _from_bag(options)


def _to_v2(options: argparse.Namespace) -> int:
    from vla_ros.datasets.lerobot.read import Dataset
    from vla_ros.datasets.lerobot.write_v2 import write_v2

    if options.to != "v2.1":
        raise ValueError(
            f"{options.source} is a dataset; it is converted with --to v2.1 (what LeRobot's own "
            "lerobot.scripts.convert_dataset_v21_to_v30 makes of v2.1 is v3.0)"
        )
    for name in ("robot", "task"):
        if getattr(options, name):
            raise ValueError(f"--{name} is for a bag, and {options.source} is a dataset")
    dataset = Dataset(options.source)
    write_v2(dataset, Path(options.out), options.codec, print)
    print(
        f"{len(dataset.episodes)} episodes, {len(dataset)} frames in {options.out}, as v2.1; "
        "look at meta/modality.json before GR00T does: its groups go by the names"
    )
    return 0


def _from_bag(options: argparse.Namespace) -> int:
    from vla_ros.core.robot import load_robot
    from vla_ros.datasets.bag_episodes import Resampling, convert_bags

    if options.robot is None:
        raise ValueError(
            f"{options.source} is taken for a bag; give --robot FILE, the robot file that says "
            "which topics are its cameras, its state and its commands"
        )
    resampling = Resampling(
        fps=options.fps,
        max_age_s=options.max_age,
        task=options.task or "",
        task_topic=options.task_topic,
        measured=options.measured,
        bag_times=options.bag_times,
    )
    counts = convert_bags(
        Path(options.source),
        Path(options.out),
        load_robot(options.robot),
        resampling,
        codec=options.codec or "libsvtav1",
        say=print,
    )
    print(
        f"{counts.episodes} episodes, {counts.frames} frames in {options.out}; "
        f"{counts.dropped} frames dropped, each counted in meta/resampling.json"
    )
    return 0


# -- info ------------------------------------------------------------------------------
def _info(options: argparse.Namespace) -> int:
    from vla_ros.datasets.lerobot.read import Dataset
    from vla_ros.datasets.lerobot.summary import summary

    held = summary(Dataset(options.folder))
    if options.json:
        print(json.dumps(held, indent=2, ensure_ascii=False))
        return 0
    from rich.table import Table

    console = wide_console()
    failed = f", {held['failed']} of them failed and never learnt" if held["failed"] else ""
    console.print(
        f"{options.folder}: {held['version']}, robot {held['robot_type']}, "
        f"{held['episodes']} episodes{failed}, {held['frames']} frames, {held['fps']:g} a second, "
        f"{held['seconds']:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
    cameras = Table("camera", "height x width", "stored as")
    for name, camera in held["cameras"].items():
        stored = "video" if camera["video"] else "PNG or JPEG"
        cameras.add_row(name, f"{camera['height']} x {camera['width']}", stored)
    tasks = Table("task", "frames", "seconds")
    for task, frames in list(held["tasks"].items())[:SHOWN_TASKS]:
        tasks.add_row(repr(task), str(frames), f"{frames / held['fps']:.0f}")
    for table in (cameras, _numbers("state", held["state"]), _numbers("action", held["action"])):
        console.print(table)
    console.print(tasks)
    if len(held["tasks"]) > SHOWN_TASKS:
        console.print(f"and {len(held['tasks']) - SHOWN_TASKS} tasks more", highlight=False)
    if held["others"]:
        console.print(
            f"a config's state can name these too: {', '.join(held['others'])}",
            highlight=False,
            soft_wrap=True,
        )
    if held["interventions"] is not None:
        console.print(
            f"a person had the robot in {held['interventions']} of {held['frames']} frames",
            highlight=False,
        )
    for sitting in held["sittings"]:
        console.print(
            f"from episode {sitting['from_episode']} on: robot file {sitting['robot']}, policy "
            f"{sitting['policy']}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    for note in held["notes"]:
        console.print(f"- {note}", highlight=False, soft_wrap=True, markup=False)
    return 0


def _numbers(title: str, held: Mapping[str, Mapping[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(title, "min", "max", "mean", "deviation")
    for name, row in held.items():
        table.add_row(name, *(f"{row[figure]:.4g}" for figure in ("min", "max", "mean", "std")))
    return table
