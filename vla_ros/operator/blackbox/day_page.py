"""A day's report as one page, with images of its worst moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from vla_ros.operator.blackbox.day import DayReport
from vla_ros.operator.blackbox.story_page import HEAD, story_item

TABLE_STYLE = """<style>
table { border-collapse: collapse; margin: .6rem 0; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #eee; }
</style>
"""


def day_page(title: str, day: DayReport) -> Iterator[str]:
    """The page, in pieces."""
    yield HEAD.format(title=escape(title))
    yield TABLE_STYLE
    yield f"<h1>{escape(title)}</h1>\n"
    for sentence in summary(day):
        yield f"<p>{escape(sentence)}</p>\n"
    yield _table("Instructions", INSTRUCTION_COLUMNS, instruction_rows(day))
    yield _table("Stops", ("reason", "times"), counted(day.stops))
    held = [(rule, f"{seconds:.1f}") for rule, seconds in most_first(day.held_s)]
    yield _table("Held while an instruction held", ("rule", "s"), held)
    yield _table("Faults", ("of", "messages"), counted(day.faults))
    yield _table("Halts", ("reason", "times"), counted(day.halts))
    latencies: list[Sequence[str]] = []
    for name, shares in day.latency_ms.items():
        latencies.append((name, *map(str, shares.values())))
    yield _table("Latency, ms", ("", "p50", "p95", "p99"), latencies)
    yield "<h2>Worst moments</h2>\n<ol>\n"
    for line in day.worst:
        yield story_item(line, bool(line.image))
    yield "</ol>\n"
    yield _table("What could not be read", ("",), [(problem,) for problem in day.problems])
    yield "</body>\n</html>\n"


INSTRUCTION_COLUMNS = ("instruction", "given", "driven, s", "taken over", "stops", "success")


def instruction_rows(day: DayReport) -> list[Sequence[str]]:
    """A row for each, those that were driven longest first."""
    rows: list[Sequence[str]] = []
    tallies = sorted(day.instructions.items(), key=lambda each: -each[1].driving_s)
    for text, tally in tallies:
        judged = tally.succeeded + tally.failed
        rows.append(
            (
                text,
                str(tally.given),
                f"{tally.driving_s:.1f}",
                str(tally.interventions),
                str(tally.stops),
                f"{tally.succeeded} of {judged}" if judged else "–",
            )
        )
    return rows


def summary(day: DayReport) -> Iterator[str]:
    """The day in sentences."""
    yield f"{len(day.files)} recordings, {day.seconds:.0f} s of the gate's reports in them"
    yield f"the policy drove {day.driving_s:.0f} s, a person {day.person_s:.0f} s"
    rate = day.interventions_a_minute
    if rate is not None:
        yield f"a person took over {day.interventions} times, {rate:.2f} times a minute driven"
    yield f"the gate stopped {day.stops.total()} times"
    if day.episodes:
        yield f"{day.episodes} episodes in datasets"


def counted(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """The most frequent first."""
    return [(text, str(count)) for text, count in most_first(counts)]


def most_first(values: Mapping[str, float]) -> list[tuple[str, float]]:
    """By value, the largest first."""
    return sorted(values.items(), key=lambda each: -each[1])


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Nothing, not even the title, where there is no row."""
    lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    if not lines:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return (
        f"<h2>{escape(title)}</h2>\n<table>\n<tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>\n"
    )
