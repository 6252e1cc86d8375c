"""report.html: one file without scripts and without anything from elsewhere.

page.html is its frame and sections.html what is in it: Jinja2 templates that escape what they
insert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vla_ros.evaluation import plots
from vla_ros.evaluation.advice import share
from vla_ros.evaluation.runner import Record

FAILURES_SHOWN = 12  # with images, spread over the kinds
# in place of an image; report.py counts how often it stands in the page
NOT_DRAWN = "the image could not be drawn"


def page(numbers: Mapping[str, Any], records: Sequence[Record]) -> str:
    """The whole page from the report's numbers and the episodes."""
    failed = []
    predict_seconds: list[float] = []
    for record in records:
        predict_seconds += record.predict[1:]  # the first call may warm things up
        if record.episode.part == "success" and not record.done:
            failed.append(record)
    template = environment().get_template("page.html")
    return template.render(
        numbers={"frames": None, **numbers},
        failed=len(failed),
        failed_shown=kinds_in_turn(failed)[:FAILURES_SHOWN],
        predict_seconds=predict_seconds,
    )


def environment() -> Environment:
    """Where the templates are, and what they may call. What the numbers lack raises."""
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # an instruction may hold any characters
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    jinja.globals.update(plots=plots, drawn=drawn, not_drawn=NOT_DRAWN)
    jinja.filters.update(cell=cell, measured=measured, each=each)
    return jinja


def cell(value: Any) -> str:
    """A number with three digits, a share with its interval; – for what was not measured."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return share(value)
    if isinstance(value, str):
        return value  # as it is: the template knows whether it is escaped
    # a count is no float
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def measured(rates: Mapping[str, Any]) -> dict[str, Any]:
    """Those that had a trial."""
    return {name: rate for name, rate in rates.items() if rate["trials"]}


def each(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What every entry of the table has under `key`."""
    return {name: entry[key] for name, entry in table.items()}


def drawn(draw: Callable[..., str], *data: Any) -> tuple[str, str]:
    """What `draw` makes of the data, or why it could not: the page goes on without."""
    try:
        return draw(*data), ""
    except Exception as problem:  # matplotlib's releases differ in more than can be listed
        return "", f"{type(problem).__name__}: {problem}"


def kinds_in_turn(failed: Sequence[Record]) -> list[Record]:
    """All of them, the kinds of instruction in turn, so that the first few show many kinds."""
    by_kind: dict[str, list[Record]] = {}
    for record in failed:
        by_kind.setdefault(record.episode.meant.kind, []).append(record)
    mixed: list[Record] = []
    for turn in zip_longest(*by_kind.values()):  # None where a kind has no more
        mixed.extend(filter(None, turn))
    return mixed
