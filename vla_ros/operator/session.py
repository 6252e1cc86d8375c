"""What a program that starts nodes needs: a ROS domain, signals that wait, no orphans."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import MutableMapping
from typing import Any

import psutil

from vla_ros.core import process_identity

# Not 0, the default, where real robots are; above 101, DDS' ports lie among those that Linux hands
# out.
DOMAINS = range(1, 101)
# DDS' rule for a domain's ports: where they begin, and how far the domains' lie apart.
PORT_BASE = 7400
PORTS_PER_DOMAIN = 250
FIRST_PORTS = (0, 10, 11)  # multicast, and the first participant's


class Interrupt:
    """Remembers SIGINT, SIGTERM and SIGHUP until `check`: no process is lost half-started.

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
        """Raise KeyboardInterrupt if a signal came, or the launch that started it is gone."""
        if not self._name and process_identity.orphaned():
            self._name = "the process that started this one has ended"
        if self._name:
            raise KeyboardInterrupt(self._name)


def domain_is_free(domain: int) -> bool:
    """Whether no DDS participant of this machine is in `domain`: its first ports can be bound."""
    base = PORT_BASE + PORTS_PER_DOMAIN * domain
    for offset in FIRST_PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", base + offset))
            except OSError:
                return False
    return True


def own_domain(environ: MutableMapping[str, str]) -> str:
    """Choose a ROS domain unless the user has.

    Args:
        environ: Gets ROS_DOMAIN_ID.

    Returns:
        A sentence that says which, for the user.

    Raises:
        ValueError: All are in use.
    """
    given = environ.get("ROS_DOMAIN_ID", "")
    if given:
        return f"ROS domain {given}, as ROS_DOMAIN_ID says: keep real robots out of it"
    domain = next(filter(domain_is_free, random.sample(DOMAINS, len(DOMAINS))), None)
    if domain is None:
        raise ValueError(
            "every ROS domain from 1 to 100 is in use on this machine; set ROS_DOMAIN_ID yourself"
        )
    environ["ROS_DOMAIN_ID"] = str(domain)
    return (
        f"ROS domain {domain}, chosen at random: no real robot hears the demo "
        "(set ROS_DOMAIN_ID to choose another)"
    )


def children() -> list[psutil.Process]:
    """Every process below this one."""
    return list(psutil.Process(os.getpid()).children(recursive=True))


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of `processes` that still run; a zombie does not."""
    running = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
        except psutil.NoSuchProcess:  # it ended between the two questions
            continue
    return running
