"""`vla compile`: builds the engines of a policy ahead of time, so that the robot starts warm."""

from __future__ import annotations

import argparse
import time
from typing import Any

from vla_ros.engines import ENGINES, PRECISIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", default="", metavar="FOLDER", help="the policy (default: the built-in one)"
    )
    parser.add_argument(
        "--engine",
        default="auto",
        choices=("auto", *ENGINES),
        help="default: the best that is here",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["auto"],
        choices=("auto", *PRECISIONS),
        help="one or several (default: what the checkpoint was made for)",
    )
    parser.add_argument(
        "--fallbacks",
        nargs="*",
        default=[],
        metavar="ENGINE",
        help="what may take over (default: nothing; what cannot be had is an error)",
    )
    parser.add_argument(
        "--cache", default="", metavar="FOLDER", help="default: ~/.cache/vla_ros/engines"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU, as the policy will have them",
    )


def run(given: argparse.Namespace) -> int:
    """0: all are there. Raises ValueError with the reasons where one cannot be had."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from vla_ros.policies import LEARNED, make_policy

    console = Console(width=None if Console().is_terminal else 120)
    for precision in given.precision:
        began = time.monotonic()
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as bar:
            task = bar.add_task(f"{given.engine} ({precision})")

            def report(text: str, bar: Progress = bar, task: Any = task) -> None:
                bar.update(task, description=text)

            policy = make_policy(
                LEARNED,
                {"checkpoint": given.checkpoint, "threads": given.threads},
                {
                    "engine": given.engine,
                    "precision": precision,
                    "engine_fallbacks": given.fallbacks,
                    "engine_cache": given.cache,
                },
                report,
            )
        for name, text in policy.describe().items():  # type: ignore[attr-defined]
            if "engine" in name:
                console.print(f"{name}: {text}", highlight=False)
        for note in policy.notes:  # type: ignore[attr-defined]
            console.print(f"[yellow]{note}")
        console.print(
            f"{policy.name} is ready after {time.monotonic() - began:.1f} s", highlight=False
        )
    return 0
