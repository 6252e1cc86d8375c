"""`vla report`: what a day's recordings and datasets say together."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_ros.operator.blackbox.day import DayTally

INFO = "meta/info.json"  # of a LeRobot dataset


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="holds what the flight recorder wrote (.mcap), and datasets, at any depth",
    )
    parser.add_argument(
        "--out",
        default="report",
        metavar="NAME",
        help="writes NAME.html and NAME.json (default %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """0: written; 1: there was nothing to report."""
    from vla_ros.datasets.bag_stream import bag_head
    from vla_ros.operator.blackbox.day import DayTally
    from vla_ros.operator.blackbox.day_page import day_page, summary

    folder = Path(options.folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give the one that the recordings are in")
    day = DayTally()
    begins: list[tuple[int, Path]] = []
    for path in sorted(folder.rglob("*.mcap")):
        try:
            _, first = bag_head(path)
        except ValueError as problem:
            day.report.problems.append(str(problem))
            continue
        # Ended, not begun: an instruction from long before may stand first in a later file.
        begins.append((path.stat().st_mtime_ns if first else 0, path))
    for _, path in sorted(begins):
        day.add(path)
    for info in sorted(folder.rglob(INFO)):
        _add_dataset(day, info.parent.parent)
    report = day.finish()
    if not report.files and not report.episodes:
        print(f"{folder} holds no recording (.mcap) and no dataset ({INFO})")
        return 1
    out = Path(options.out)
    page = Path(f"{out}.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    with open(page, "w", encoding="utf-8") as file:
        file.writelines(day_page(f"What {folder.resolve().name} says", report))
    numbers = json.dumps(report.as_numbers(), indent=1, ensure_ascii=False)
    Path(f"{out}.json").write_text(f"{numbers}\n", encoding="utf-8")
    for sentence in summary(report):
        print(sentence)
    print(f"written: {page}, {out}.json")
    return 0


def _add_dataset(day: DayTally, folder: Path) -> None:
    """Its episodes, or a sentence why they cannot be read."""
    if find_spec("pyarrow") is None:
        day.report.problems.append(f"{folder} is a dataset: pip install pyarrow to count it")
        return
    from vla_ros.datasets.lerobot.read import Dataset

    try:
        dataset = Dataset(folder)
    except ValueError as problem:
        day.report.problems.append(str(problem))
        return
    day.add_episodes((episode.task, episode.success) for episode in dataset.episodes)
