"""One folder: report.json (all numbers), report.html (to look at), table.md (the aims)."""

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
from vla_ros.evaluation.runner import PolicyChoice, Record
from vla_ros.evaluation.scenarios import SCENARIOS
from vla_ros.evaluation.summary import column, row

FORMAT = 1  # of report.json; grows when a number changes its meaning
# whose releases may change the numbers
PACKAGES = ("numpy", "mujoco", "opencv-python-headless", "torch", "transformers")


def facts(
    player: PolicyChoice, records: Sequence[Record], command: str, jobs: int, seconds: float
) -> dict[str, Any]:
    """What was run, so that it can be run again."""
    seeds = column(records, "episode.seed")
    return {
        "format": FORMAT,
        "command": command,
        "policy": {
            "name": records[0].policy,
            "registered": player.policy,
            "options": dict(player.options),
            "file": player.file,
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
        except metadata.PackageNotFoundError:  # not every policy needs torch
            continue
    return out


def write(
    folder: Path, run: Mapping[str, Any], numbers: Mapping[str, Any], records: Sequence[Record]
) -> dict[str, Any]:
    """Write the three files, the JSON first: it must not be lost where the page fails.

    Args:
        folder: where to; it is there.
        run: what was run, of `facts`.
        numbers: of `summary.summarise`.

    Returns:
        What the JSON holds.
    """
    from vla_ros.evaluation.page import NOT_DRAWN, page  # matplotlib is asked for only now

    table = aims(numbers)
    whole = {
        **run,
        **numbers,
        "aims": list(map(vars, table)),
        "recommendations": recommendations(numbers),
        "episodes": list(map(row, records)),
    }
    write_json(folder / "report.json", whole)
    (folder / "table.md").write_text(markdown(table, run), encoding="utf-8")
    html = page(whole, records)
    (folder / "report.html").write_text(html, encoding="utf-8")
    if missing := html.count(NOT_DRAWN):
        print(f"{folder / 'report.html'} says of {missing} image(s) why they could not be drawn")
    return whole


def write_json(path: Path, numbers: Mapping[str, Any]) -> None:
    """The numbers as strict JSON."""
    text = json.dumps(clean(numbers), indent=1, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def clean(value: Any) -> Any:
    """The same, where JSON can hold it: infinity and what is no number become null."""
    if isinstance(value, Mapping):
        return {str(key): clean(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(clean, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def markdown(table: Sequence[Aim], run: Mapping[str, Any]) -> str:
    """The aims beside what was measured, and the command that measured it."""
    met = {True: "yes", False: "no", None: "–"}
    lines = ["| | wanted | measured (95 % interval) | met |", "|---|---|---|---|"]
    for aim in table:
        lines.append(f"| {aim.what} | {aim.wanted} | {aim.measured} | {met[aim.met]} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Policy `{run['policy']['name']}`, {run['episodes_run']} episodes, seeds from "
            f"{run['seeds']['first']} on; written by `{run['command']}`.",
            "",
        ]
    )


def lines(numbers: Mapping[str, Any]) -> Iterator[str]:
    """The report in a terminal."""
    yield (
        f"policy {numbers['policy']['name']}: {numbers['episodes_run']} episodes in "
        f"{numbers['wall_seconds']:.0f} s"
    )
    yield from _completion_lines(numbers["task_completion"])
    yield from _language_lines(numbers["counterfactuals"], numbers["language"]["paraphrases"])
    yield from words_lines(numbers["words"])
    if "reading" in numbers:
        yield from reading_lines(numbers["reading"])
    yield from _robustness_lines(numbers["robustness"])
    if "comparison" in numbers:
        for name, both in numbers["comparison"]["all_words"]["by_kind"].items():
            yield f"  {name:<12} {both['ours']['rate']:.2f} against {both['theirs']['rate']:.2f}"
    if "nodes" in numbers:
        yield from _node_lines(numbers["nodes"])
    timing = numbers["timing"]
    if timing["count"]:
        yield (
            f"predict        p50 {timing['p50_ms']:.2f} ms, p95 {timing['p95_ms']:.2f} ms, "
            f"p99 {timing['p99_ms']:.2f} ms"
        )
    for recommendation in numbers["recommendations"]:
        yield f"* {recommendation}"


def _completion_lines(done: Mapping[str, Any]) -> Iterator[str]:
    for title, table in (
        ("", {"success": done["all"]}),
        ("by split", done["by_split"]),
        ("by kind", done["by_kind"]),
    ):
        if title:
            yield f"{title}:"
        for name, rate in table.items():
            refused = f", {rate['refused']} refused" if rate["refused"] else ""
            gave_up = f", gave up {rate['gave_up']} times" if rate["gave_up"] else ""
            yield f"  {name:<12} {share(rate)}{refused}{gave_up}"


def _language_lines(
    counterfactuals: Mapping[str, Any], paraphrases: Mapping[str, Any]
) -> Iterator[str]:
    for name, rate in counterfactuals.items():
        if rate["trials"]:
            yield f"{name:<12}   {share(rate)}; with the words {share(rate['with_the_words'])}"
    if paraphrases["groups"]:
        yield (
            f"paraphrases    {paraphrases['accuracy']:.3f} of {paraphrases['paraphrases']} in "
            f"{paraphrases['groups']} scenes; all of a scene: {share(paraphrases['all'])}"
        )


def words_lines(words: Mapping[str, Any]) -> Iterator[str]:
    """Done, refused and done wrongly, for each split, and for each kind of a list."""
    for title, groups in (
        ("right, refused, or done wrongly or not at all:", words["by_split"]),
        ("of the list, by kind:", words["phrasings_by_kind"]),
        ("refused rightly, by sort:", words["refusals_by_sort"]),
    ):
        if groups:
            yield title
        for name, rates in groups.items():
            yield f"  {name:<16} {outcomes(rates)}"
    if words["amounts_exact"]["trials"]:
        yield f"amounts within 10 % or 5 degrees: {share(words['amounts_exact'])}"


def reading_lines(reading: Mapping[str, Any]) -> Iterator[str]:
    """How the words were read, whatever was driven."""
    yield "as read, without driving:"
    for name, rates in {"all": reading["all"], **reading["by_kind"]}.items():
        yield f"  {name:<16} {outcomes(rates)}"
    halting = reading["halting"]
    if halting["stopped"]["trials"]:
        yield (
            f"halting words stop: {share(halting['stopped'])}; by the list alone: "
            f"{share(halting['by_list'])}"
        )
    if halting["wrongly"]["trials"]:
        yield f"other words stop:   {share(halting['wrongly'])}"
    yield (
        f"{reading['ms_each']:.1f} ms a sentence, {reading['ms_known']:.3f} ms one that is known; "
        "halting asked too"
    )


def outcomes(rates: Mapping[str, Any]) -> str:
    """In words: "0.950 right (0.90 to 0.98, n = 100), 0.040 refused, 0.010 neither"."""
    right = rates["right"]
    if not right["trials"]:
        return "not measured"
    interval = f"{right['low']:.2f} to {right['high']:.2f}"
    return (
        f"{right['rate']:.3f} right ({interval}, n = {right['trials']}), "
        f"{rates['refused']['rate']:.3f} refused, {rates['wrongly']['rate']:.3f} neither"
    )


def _robustness_lines(robustness: Mapping[str, Any]) -> Iterator[str]:
    for name, rate in robustness["scenarios"].items():
        yield f"  {name:<16} {share(rate)}"
    if robustness["count"]:
        yield (
            f"scenarios      mean {robustness['mean']:.3f}, spread {robustness['spread']:.3f}, "
            f"{robustness['passed']:.2f} of them over 0.5"
        )


def _node_lines(nodes: Mapping[str, Any]) -> Iterator[str]:
    again = ""
    if nodes["run_again"]:
        again = f"; the machine stood still: {nodes['run_again']} run again"
    ended = f"; ended early: {nodes['problem']}" if nodes["problem"] else ""
    yield f"through nodes  {beside_bare(nodes)}{again}{ended}"
    answers = []
    for name, answered in nodes["gate"].items():
        answers.append(f"{name} {answered:.3f}")
    yield f"the gate       {', '.join(answers)}"
    for name, rates in nodes["words"]["by_split"].items():
        yield f"  {name:<16} {outcomes(rates)}"
