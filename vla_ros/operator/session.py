"""What a program that starts the nodes needs around it: a ROS domain of its own, signals that wait,
no orphans."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import MutableMapping
from typing import Any

import psutil

DOMAINS = range(1, 101)  # above 101, DDS' ports lie among those that Linux hands out


class Interrupt:
    """Remembers SIGINT, SIGTERM and SIGHUP until `check` is called, so that no process is lost
    half-started.

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
    """Whether no DDS participant of this machine sits in `domain` (its first ports can be
    bound)."""
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
        raise ValueError(
            "every ROS domain from 1 to 100 is in use on this machine; set ROS_DOMAIN_ID yourself"
        )
    environ["ROS_DOMAIN_ID"] = str(free[0])
    return (
        f"ROS domain {free[0]}, chosen at random: no real robot hears the demo "
        "(set ROS_DOMAIN_ID to choose another)"
    )


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
