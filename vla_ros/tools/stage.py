"""What the demo needs around it: a ROS domain of its own, signals that wait, words that fit the room."""
from __future__ import annotations

import math
import os
import random
import signal
import socket
from collections.abc import Mapping, MutableMapping
from typing import Any

import psutil

from vla_ros.tools.pictures import PathPoint, Thing

DOMAINS = range(1, 101)  # above 101, DDS' ports lie among those that Linux hands out
DANCE = ("turn left", "back up", "turn right")  # where there is nothing to go to


class Interrupt:
    """Remembers SIGINT, SIGTERM and SIGHUP until `check` is called, so that no process is lost half-started.

    Once `at_once` is set, they raise KeyboardInterrupt where they arrive.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.at_once = False
        self._name = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        self._name = signal.Signals(number).name
        if self.at_once:
            raise KeyboardInterrupt(self._name)

    def check(self) -> None:
        """Raises KeyboardInterrupt when a signal has arrived."""
        if self._name:
            raise KeyboardInterrupt(self._name)


def domain_is_free(domain: int) -> bool:
    """Whether no DDS participant of this machine sits in `domain` (its first ports can be bound)."""
    base = 7400 + 250 * domain
    for port in (base, base + 10, base + 11):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def own_domain(environ: MutableMapping[str, str]) -> str:
    """Choose a ROS domain unless the user has; says which in a sentence."""
    given = environ.get("ROS_DOMAIN_ID", "")
    if given:
        return f"ROS domain {given}, as ROS_DOMAIN_ID says: keep real robots out of it"
    free = [domain for domain in random.sample(DOMAINS, len(DOMAINS)) if domain_is_free(domain)]
    if not free:
        raise ValueError("every ROS domain from 1 to 100 is in use on this machine; set ROS_DOMAIN_ID yourself")
    environ["ROS_DOMAIN_ID"] = str(free[0])
    return (f"ROS domain {free[0]}, chosen at random: no real robot hears the demo "
            "(set ROS_DOMAIN_ID to choose another)")


def children() -> list[psutil.Process]:
    """Every process below this one."""
    return list(psutil.Process(os.getpid()).children(recursive=True))


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of `processes` that still run; a zombie does not."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def choose_instructions(things: Mapping[str, Thing], robot: PathPoint) -> list[str]:
    """Three kinds of task that this room allows: go to something, turn, grab something else."""
    if not things:
        return list(DANCE)
    first = _best(things, (robot.x, robot.y), ("block", "cylinder", "ball"), "")
    if len(things) == 1:
        return [f"go to the {first.name}", "back up", "turn left"]
    second = _best(things, (first.x, first.y), ("ball", "cylinder", "block"), first.name)
    return [f"go to the {first.name}", "turn left", f"grab the {second.name}"]


def _best(things: Mapping[str, Thing], start: tuple[float, float], shapes: tuple[str, ...], but: str) -> Thing:
    """One whose colour is its own, with a free way from `start`, of the first shape that there is."""
    colours = [name.split()[0] for name in things]

    def cost(thing: Thing) -> tuple[bool, int, int, float]:
        colour, _, shape = thing.name.partition(" ")
        blocked = sum(_in_the_way(start, thing, other) for other in things.values()
                      if other.name not in (thing.name, but))
        far = math.hypot(thing.x - start[0], thing.y - start[1])  # a longer way shows more
        return colours.count(colour) > 1, blocked, shapes.index(shape) if shape in shapes else len(shapes), -far

    return min((thing for thing in things.values() if thing.name != but), key=cost)


def _in_the_way(start: tuple[float, float], goal: Thing, other: Thing, width: float = 0.35) -> bool:
    """Whether `other` stands nearer than `width` to the straight way from `start` to `goal` (m)."""
    dx, dy = goal.x - start[0], goal.y - start[1]
    length = math.hypot(dx, dy) or 1e-9
    share = min(max(((other.x - start[0]) * dx + (other.y - start[1]) * dy) / length**2, 0.0), 1.0)
    return math.hypot(start[0] + share * dx - other.x, start[1] + share * dy - other.y) < width
