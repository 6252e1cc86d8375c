"""One folder with everything: report.json (all numbers), report.html (to look at), table.md (the
aims, for docs)."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vla_ros import __version__
from vla_ros.evaluation.advice import Aim, aims, beside_bare, recommendations, share
from vla_ros.evaluation.runner import Player, Record
from vla_ros.evaluation.scenarios import SCENARIOS
from vla_ros.evaluation.summary import row

FORMAT = 1  # of report.json; grows when a number changes its meaning
PACKAGES = ("numpy", "mujoco", "opencv-python-headless", "torch", "transformers")


def facts(
    player: Player, records: Sequence[Record], command: str, jobs: int, seconds: float
) -> dict[str, Any]:
    """What was run, so that it can be run again."""
    seeds = [one.episode.seed for one in records]
    return {
        "format": FORMAT,
        "command": command,
        "policy": {
            "name": records[0].policy,
            "registered": player.policy,
            "options": dict(player.options),
        },
        "camera": list(player.camera),
        "seeds": {"first": min(seeds), "last": max(seeds)},
        "episodes_run": len(records),
        "jobs": jobs,
        "wall_seconds": round(seconds, 1),
        "versions": versions(),
        "scenarios": {name: scenario.what for name, scenario in SCENARIOS.items()},
    }


def versions() -> dict[str, str]:
    """Of this package, Python, and what the numbers depend on, where it is installed."""
    out = {
        "vla_ros": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for name in PACKAGES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def write(
    folder: Path, said: Mapping[str, Any], numbers: Mapping[str, Any], records: Sequence[Record]
) -> dict[str, Any]:
    """Write the three files, the JSON first; returns what it holds."""
    from vla_ros.evaluation.page import NOT_DRAWN, page  # matplotlib is asked for only now

    table = aims(numbers)
    whole = {
        **said,
        **numbers,
        "aims": [vars(one) for one in table],
        "recommendations": recommendations(numbers),
        "episodes": [row(one) for one in records],
    }
    text = json.dumps(clean(whole), indent=1, allow_nan=False)
    (folder / "report.json").write_text(f"{text}\n", encoding="utf-8")
    (folder / "table.md").write_text(markdown(table, said), encoding="utf-8")
    html = page(whole, records)
    (folder / "report.html").write_text(html, encoding="utf-8")
    if missing := html.count(NOT_DRAWN):
        print(f"{folder / 'report.html'} says of {missing} image(s) why they could not be drawn")
    return whole


def clean(value: Any) -> Any:
    """The same, where JSON can hold it: a number that is none is null."""
    if isinstance(value, Mapping):
        return {str(key): clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def markdown(table: Sequence[Aim], said: Mapping[str, Any]) -> str:
    """The aims beside what was measured, and the command that measured it."""
    met = {True: "yes", False: "no", None: "–"}
    rows = [f"| {one.what} | {one.wanted} | {one.measured} | {met[one.met]} |" for one in table]
    return "\n".join(
        [
            "| | wanted | measured (95 % interval) | met |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Policy `{said['policy']['name']}`, {said['episodes_run']} episodes, seeds from "
            f"{said['seeds']['first']} on; "
            f"written by `{said['command']}`.",
            "",
        ]
    )


def lines(numbers: Mapping[str, Any]) -> Iterator[str]:
    """The report in a terminal."""
    done = numbers["task_completion"]
    yield (
        f"policy {numbers['policy']['name']}: {numbers['episodes_run']} episodes in "
        f"{numbers['wall_seconds']:.0f} s"
    )
    for title, table in (
        ("", {"success": done["all"]}),
        ("by split", done["by_split"]),
        ("by kind", done["by_kind"]),
    ):
        if title:
            yield f"{title}:"
        for name, found in table.items():
            more = f", {found['refused']} refused" if found["refused"] else ""
            more += f", gave up {found['gave_up']} times" if found["gave_up"] else ""
            yield f"  {name:<12} {share(found)}{more}"
    for name, found in numbers["counterfactuals"].items():
        if found["trials"]:
            yield f"{name:<12}   {share(found)}; with the words {share(found['with_the_words'])}"
    said = numbers["language"]["paraphrases"]
    if said["groups"]:
        yield (
            f"paraphrases    {said['accuracy']:.3f} of {said['paraphrases']} in {said['groups']} "
            "scenes; all of a "
            f"scene: {share(said['all'])}"
        )
    robust = numbers["robustness"]
    for name, found in robust["scenarios"].items():
        yield f"  {name:<16} {share(found)}"
    if robust["count"]:
        yield (
            f"scenarios      mean {robust['mean']:.3f}, spread {robust['spread']:.3f}, "
            f"{robust['passed']:.2f} of them over 0.5"
        )
    if "comparison" in numbers:
        for name, found in numbers["comparison"]["all_words"]["by_kind"].items():
            yield f"  {name:<12} {found['ours']['rate']:.2f} against {found['theirs']['rate']:.2f}"
    if "nodes" in numbers:
        found = numbers["nodes"]
        ended = f"; ended early: {found['problem']}" if found["problem"] else ""
        again = (
            f"; the machine stood still: {found['run_again']} run again"
            if found["run_again"]
            else ""
        )
        yield f"through nodes  {beside_bare(found)}{again}{ended}"
        yield "the gate       " + ", ".join(
            f"{name} {one:.3f}" for name, one in found["gate"].items()
        )
    if numbers["timing"]["count"]:
        times = ", ".join(
            f"{name} {numbers['timing'][f'{name}_ms']:.2f} ms" for name in ("p50", "p95", "p99")
        )
        yield f"predict        {times}"
    yield from (f"* {one}" for one in numbers["recommendations"])
