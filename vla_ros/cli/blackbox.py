"""`vla blackbox`: what a recording of a suite says, as text or as a page with images."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vla_ros.core.shown import printable
from vla_ros.core.types import NANOSECONDS
from vla_ros.datasets.bag_stream import BagStream, bag_head

if TYPE_CHECKING:
    from vla_ros.operator.blackbox.story import Story


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help="what the flight recorder wrote, or another .mcap or rosbag2 folder of the suite's "
        "topics; a folder of the recorder's files: the newest",
    )
    parser.add_argument(
        "--html", metavar="PAGE", help="write the story as a page, with what the cameras saw"
    )


def run(options: argparse.Namespace) -> int:
    """0: told; 1: it was cut off, or says nothing of a suite."""
    from vla_ros.operator.blackbox.bag_file import bag_files
    from vla_ros.operator.blackbox.story import Story
    from vla_ros.operator.blackbox.story_page import page

    path = Path(options.file).expanduser()
    if path.is_dir() and (files := bag_files(path)):
        path = files[-1]
    story = Story()
    stream = BagStream(path, Story.wanted)
    facts = head(path)
    lines = story.lines(stream)
    if options.html:
        out = Path(options.html)
        with open(out, "w", encoding="utf-8") as file:
            file.writelines(page(f"What {path.name} says", facts, lines))
        print(f"written: {out}")
    else:
        for fact in facts:
            print(fact)
        for line in lines:
            print(line)
    return _tail(stream, story)


def head(path: Path) -> list[str]:
    """Why a file was written, and on what day."""
    stream, first = bag_head(path)
    facts: list[str] = []
    with suppress(ValueError, RecursionError):  # JSON may be nested a million times
        reasons = json.loads(stream.metadata.get("reasons", "[]"))
        if isinstance(reasons, list) and reasons:
            facts.append(printable(f"written because: {'; '.join(map(str, reasons))}"))
    if first is not None:
        begin = time.localtime(first.received // NANOSECONDS)
        facts.append(f"begins on {time.strftime('%A, %Y-%m-%d, %H:%M:%S %Z', begin)}")
    return facts


def _tail(stream: BagStream, story: Story) -> int:
    """What was counted, and what was wrong with the file, to stderr; the exit code."""
    total = sum(story.counts.values())
    if total:
        counts = ", ".join(f"{count} {name}" for name, count in story.counts.most_common())
        print(f"{total} reports of the gate: {counts}")
    for refused in (stream.refused, story.refused):
        for sentence, count in refused.most_common():
            print(f"vla: {count} messages passed over: {sentence}", file=sys.stderr)
    if stream.problem:
        print(f"vla: {stream.problem}", file=sys.stderr)
    if not story.first:
        print(f"vla: {stream.path} holds no topic of the suite", file=sys.stderr)
    return 1 if stream.problem or not story.first else 0
