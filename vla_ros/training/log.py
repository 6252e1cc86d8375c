"""What a training says while it runs: progress bar, metrics.csv, curves.png, TensorBoard."""

from __future__ import annotations

import csv
import importlib.util
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from vla_ros.core.drawing import drawing

CSV = "metrics.csv"
IMAGE = "curves.png"
BOARD = "tensorboard"


class TrainingLog:
    """Of a training of `steps` steps; rows by step, in `folder`.

    Where `show` is false it writes and says nothing: of several processes one does.
    """

    def __init__(self, folder: Path, steps: int, show: bool = True, board: bool = True) -> None:
        self.folder = Path(folder)
        self.steps = steps
        self.show = show
        self.rows: list[dict[str, float]] = []
        self.columns: list[str] = []
        self._before = 0.0  # s, spent before a resume
        self._began = time.perf_counter()
        self._board = board and show and importlib.util.find_spec("tensorboard") is not None
        self._writer: Any = None
        self._bar: Any = None

    @property
    def last(self) -> dict[str, float]:
        """The newest row; empty where nothing was logged."""
        return self.rows[-1] if self.rows else {}

    @property
    def seconds(self) -> float:
        """Spent so far, also before a resume."""
        return self._before + time.perf_counter() - self._began

    def go_on(self, step: int, seconds: float) -> None:
        """After a resume: rows beyond the checkpoint are forgotten."""
        self._before = seconds
        self._began = time.perf_counter()
        path = self.folder / CSV
        if path.is_file():
            self.rows = []
            with path.open(newline="", encoding="utf-8") as file:
                for texts in csv.DictReader(file):
                    # an empty cell: that row had no such metric
                    row = {name: float(text) for name, text in texts.items() if text}
                    if row["step"] <= step:
                        self.rows.append(row)
            self._rewrite()

    @contextmanager
    def running(self, step: int) -> Iterator[None]:
        """The progress bar, on a terminal; elsewhere a line each time that something is logged."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console()
        if self.show and console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:g}/{task.total:g}"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=console) as self._bar:
                self._bar.add_task("training", total=self.steps, completed=step)
                yield
            self._bar = None
        else:
            yield
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics of a step: loss, its parts, success, …"""
        if not self.show:
            return
        row = {"step": float(step), "seconds": round(self.seconds, 2), **values}
        self.rows.append(row)
        if set(row) <= set(self.columns):
            with (self.folder / CSV).open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(row)
        else:
            self._rewrite()
        self._tell(step, row)
        self._to_board(step, row)

    def _rewrite(self) -> None:
        """With every column that a row has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # a row's names, in the order in which they first occur
        self.columns = list(dict.fromkeys(chain.from_iterable(self.rows)))
        aside = self.folder / f".{CSV}"  # renamed when whole: a killed run leaves the old one
        with aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(aside, self.folder / CSV)

    def _tell(self, step: int, row: Mapping[str, float]) -> None:
        success = f", success {row['success']:.2f}" if "success" in row else ""
        text = f"loss {row['loss']:.4f}{success}" if "loss" in row else success
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, description=text)
        else:
            rate = row.get("steps_per_second")
            left = (self.steps - step) / rate if rate else 0.0
            print(f"step {step} of {self.steps}: {text}, {_span(left)} left", flush=True)

    def _to_board(self, step: int, row: Mapping[str, float]) -> None:
        if not self._board:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # purge_step: after a resume, what was written beyond the checkpoint is forgotten
            self._writer = SummaryWriter(str(self.folder / BOARD), purge_step=step)
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)

    def draw(self) -> None:
        """curves.png: the loss and its parts, success, the learning rate over steps."""
        if self.show and len(self.rows) > 1:
            from vla_ros.training.plots import draw

            with drawing(self.folder / IMAGE):
                draw(self.rows, self.folder / IMAGE)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
