"""`vla compile`: builds the engines of a policy ahead of time, so that the robot starts warm."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from vla_ros.cli import wide_console
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
        "--for",
        default="",
        dest="targets",
        metavar="GPU,GPU",
        help="builds for other computers' GPUs, with none here: rtx30,rtx40,rtx50 (engine "
        "tensorrt_rtx)",
    )
    parser.add_argument(
        "--beside",
        action="store_true",
        help="with --for: into the checkpoint's folder, to be copied with it, not into the cache",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU, as the policy will have them",
    )


def run(given: argparse.Namespace) -> int:
    """Builds what a policy needs on this computer.

    Returns:
        0: all engines are there.

    Raises:
        ValueError: Where one cannot be had, with the reasons.
    """
    if given.targets:
        return ahead(given)
    if given.beside:
        raise ValueError("--beside is for engines of other computers; name their GPUs with --for")
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from vla_ros.policies import LEARNED, make_policy

    # In a log rich would break lines after 80 columns.
    console = wide_console()
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

            # As defaults: the loop gives both names to others.
            def report(text: str, bar: Progress = bar, task: Any = task) -> None:
                bar.update(task, description=text)

            options = {"checkpoint": given.checkpoint, "threads": given.threads}
            engines = {
                "engine": given.engine,
                "precision": precision,
                "engine_fallbacks": given.fallbacks,
                "engine_cache": given.cache,
            }
            policy = make_policy(LEARNED, options, engines, report)
        seconds = time.monotonic() - began
        for name, text in policy.describe().items():  # type: ignore[attr-defined]
            if "engine" in name:
                console.print(f"{name}: {text}", highlight=False)
        for note in policy.notes:  # type: ignore[attr-defined]
            console.print(f"[yellow]{note}")
        console.print(f"{policy.name} is ready after {seconds:.1f} s", highlight=False)
    return 0


def ahead(given: argparse.Namespace) -> int:
    """Builds for the GPUs that `--for` names; prints where each engine lies.

    Returns:
        0: all are there.

    Raises:
        ValueError: For an unknown GPU, and where an engine cannot be built.
    """
    from vla_ros.engines.ahead import build_ahead, targets_of
    from vla_ros.engines.cache import Cache, default_folder
    from vla_ros.engines.compiled_vla import sub_models_in
    from vla_ros.models.checkpoint import ENGINES as BESIDE
    from vla_ros.models.checkpoint import from_pretrained
    from vla_ros.policies.builtin import BUILTIN

    engine = "tensorrt_rtx" if given.engine == "auto" else given.engine
    targets = targets_of(given.targets.split(","), engine)
    checkpoint = Path(given.checkpoint or BUILTIN).expanduser()
    if given.beside:
        folder = checkpoint / BESIDE
    else:
        folder = Path(given.cache).expanduser() if given.cache else default_folder()
    *parts, real = sub_models_in(checkpoint, from_pretrained(checkpoint).eval())
    for precision in given.precision:
        # On a GPU a policy runs at fp32 where nobody says.
        wanted = "fp32" if precision == "auto" else precision
        for part in filter(None, parts):  # the language stage may be None
            for name, target in targets.items():
                began = time.monotonic()
                # No limit: what somebody asked for by name is not removed for what came next.
                built = build_ahead(part, engine, target, wanted, Cache(folder, sys.maxsize))
                took = "was there" if built.cached else f"{time.monotonic() - began:.1f} s"
                print(
                    f"{part.name} for {name} ({target}) at {wanted}: "
                    f"{built.size / 1e6:.1f} MB, {took}, {built.folder}"
                )
    print("Not compared with the model yet: the first computer with such a GPU does that.")
    if not real:
        print("The checkpoint has no examples, so it will compare on noise.")
    return 0
