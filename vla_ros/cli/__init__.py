"""The command line: one file a verb, imported only when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vla_ros.core.check_finding import DOUBTFUL, FITS, UNKNOWN, WRONG, CheckFinding

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {FITS: "green", DOUBTFUL: "yellow", WRONG: "red", UNKNOWN: "cyan"}


def wide_console() -> Console:
    """As wide as the terminal; what goes into a file or a pipe is not cut to 80 columns."""
    from rich.console import Console

    return Console(width=None if Console().is_terminal else 120)


def show_findings(findings: Sequence[CheckFinding], as_json: bool, verdict: str = "") -> int:
    """Prints what a check found, as a table or one JSON object; 1: something is wrong, else 0.

    `verdict`: a last sentence on all of it.
    """
    marks = [finding.mark for finding in findings]
    # Only what is wrong fails: a script may go on past a doubt that a person has looked at.
    code = 1 if WRONG in marks else 0
    if as_json:
        data: dict[str, Any] = {"fits": not code, "findings": list(map(asdict, findings))}
        if verdict:
            data["verdict"] = verdict
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return code
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "what", "is so", "what to do")
    for finding in findings:
        colour = COLOURS[finding.mark]
        table.add_row(
            f"[{colour}]{finding.mark}[/{colour}]",
            escape(finding.subject),
            escape(finding.text),
            escape(finding.remedy),
        )
    console = wide_console()
    console.print(table)
    unknown = marks.count(UNKNOWN)
    console.print(
        f"{marks.count(FITS)} fit, {marks.count(DOUBTFUL)} are doubtful, {marks.count(WRONG)} are "
        f"wrong{f', {unknown} could not be judged' if unknown else ''}; nothing was moved",
        highlight=False,
    )
    if verdict:
        console.print(verdict, highlight=False, soft_wrap=True)
    return code
