"""report.html."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vla_ros.evaluation.episodes import Record


def page(numbers: Mapping[str, Any], records: Sequence[Record]) -> str:
    return "<html></html>"
