"""`vla bench console`: what the operator's page costs the suite, and how fast its stop is.

The same suite by turns without a console and with one at which so many viewers look, each of which
asks as a browser does.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from vla_ros.bench.console_suite import CONSOLE, SIMULATOR, ConsoleSuite, console_suite
from vla_ros.nodes.common.convert import stamp_ns
from vla_ros.nodes.common.reader import Reader
from vla_ros_msgs.msg import SafetyReport

# How often page.js asks, and for what; where more than FEW look, each less often.
PERIODS_S = {"/state?viewer={}&more={}": 0.2, "/image/camera?viewer={}&after={}": 0.1}
STATE_PERIOD_MAX_S = 0.5
FEW = 5
SETTLE_S = 4.0
TURNING_S = 0.3  # past the moment at which a robot that turned the other way stands
WORDS = ("turn left", "turn right")


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vla bench console", description=__doc__)
    parser.add_argument("--viewers", type=int, default=3, help="that look (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="of a turn (default %(default)g)"
    )
    parser.add_argument("--turns", type=int, default=4, help="of each kind (default %(default)s)")
    parser.add_argument(
        "--stops", type=int, default=20, help="that are timed (default %(default)s)"
    )
    return parser.parse_args(argv)


@dataclass
class Turns:
    """What was measured of one kind; processor time in s a s."""

    suite: list[float] = field(default_factory=list)
    console: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)  # ms, from the camera's stamp


def run(argv: Sequence[str]) -> int:
    """Print a table; 0."""
    options = arguments_of(argv)
    with tempfile.TemporaryDirectory(prefix="console_") as name, console_suite(Path(name)) as suite:
        reports = Reader(
            suite.node,
            SafetyReport,
            "/vla/safety_report",
            QoSProfile(depth=2000, reliability=ReliabilityPolicy.BEST_EFFORT),
        )
        without = Turns()
        watched = Turns()
        for turn in range(options.turns):
            suite.start_console()
            suite.drive(WORDS[turn % 2])
            with _viewers(suite, options.viewers):
                _measure(suite, reports, watched, options.seconds)
            suite.group.stop([CONSOLE])
            _measure(suite, reports, without, options.seconds)
        suite.start_console()
        with _viewers(suite, options.viewers):
            heard, stood = _stops(suite, options.stops)
    print(table(options.viewers, without, watched, heard, stood))
    if len(heard) < options.stops:
        print(f"NOT CONFIRMED within 5 s: {options.stops - len(heard)} of {options.stops} stops")
    return 0


def table(
    viewers: int, without: Turns, watched: Turns, heard: Sequence[float], stood: Sequence[float]
) -> str:
    """As doc/howto/console.md has it; `heard` and `stood` in s."""
    suite = [100 * float(np.median(kind.suite)) for kind in (without, watched)]
    p50 = [float(np.percentile(kind.latencies, 50)) for kind in (without, watched)]
    p99 = [float(np.percentile(kind.latencies, 99)) for kind in (without, watched)]
    ms = [1e3 * np.percentile(times, (50, 95)) for times in (heard, stood)]
    lines = [
        f"| | without | with the console and {viewers} viewers | |",
        "|---|---|---|---|",
        f"| the suite's processes, % of a core | {suite[0]:.1f} | {suite[1]:.1f} | "
        f"{suite[1] - suite[0]:+.1f} |",
        f"| the console itself, % of a core | | {100 * float(np.median(watched.console)):.1f} | |",
        f"| camera to command, p50, ms | {p50[0]:.1f} | {p50[1]:.1f} | {p50[1] / p50[0]:.2f} x |",
        f"| camera to command, p99, ms | {p99[0]:.1f} | {p99[1]:.1f} | {p99[1] / p99[0]:.2f} x |",
        f"| request to `stop` on the wire, p50 / p95, ms | | {ms[0][0]:.1f} / {ms[0][1]:.1f} | |",
        f"| request to zero on the wheels' topic, p50 / p95, ms | | {ms[1][0]:.1f} / "
        f"{ms[1][1]:.1f} | |",
        "",
        f"{len(without.suite)} turns of each kind by turns, {len(heard)} stops, "
        f"{os.cpu_count()} threads",
    ]
    return "\n".join(lines)


def _measure(suite: ConsoleSuite, reports: Reader, turns: Turns, seconds: float) -> None:
    time.sleep(SETTLE_S)
    reports.discard()
    began = time.monotonic()
    before = suite.cpu_s()
    while time.monotonic() - began < seconds:
        time.sleep(0.5)
        _read(reports, turns)
    took = time.monotonic() - began
    spent = 0.0
    for name, used in suite.cpu_s().items():
        share = (used - before.get(name, used)) / took
        if name == CONSOLE:
            turns.console.append(share)
        elif name != SIMULATOR:
            spent += share
    turns.suite.append(spent)


def _read(reports: Reader, turns: Turns) -> None:
    last = -1
    for report in reports.take():
        # an action's age at the first report of it is the latency
        if report.state == SafetyReport.ACTIVE and report.sequence != last:
            turns.latencies.append(stamp_ns(report.age) / 1e6)
        last = report.sequence


def _stops(suite: ConsoleSuite, count: int) -> tuple[list[float], list[float]]:
    """From the request until the stop was heard, and until the wheels were told to stand, s."""
    pressed: list[float] = []

    def on_stop(message: Bool) -> None:
        if message.data:
            pressed.append(time.time())

    suite.node.create_subscription(Bool, "/vla/stop", on_stop, 50)
    heard = []
    stood = []
    for number in range(count):
        suite.drive(WORDS[number % 2])
        time.sleep(TURNING_S)
        pressed.clear()
        began = time.time()
        suite.press("stop")
        try:
            suite.wait(lambda: bool(pressed) and not suite.moving, "the wheels turn on", 5.0)
        except TimeoutError:
            continue  # the table says how many there were
        heard.append(pressed[0] - began)
        stood.append(suite.stood_after(began) or 0.0)
    return heard, stood


@contextmanager
def _viewers(suite: ConsoleSuite, count: int) -> Iterator[None]:
    """So many pages that look, in a process of its own that gives way to the suite."""
    process = multiprocessing.get_context("spawn").Process(target=look, args=(suite.port, count))
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join(5.0)


def look(port: int, count: int) -> None:
    """What so many browsers ask for, until the process is ended."""
    os.nice(10)
    for number in range(count):
        for path, least in PERIODS_S.items():
            period = least * max(1.0, count / FEW)
            if path.startswith("/state"):
                period = min(period, STATE_PERIOD_MAX_S)
            arguments = (port, path, f"bench_{number}", period)
            threading.Thread(target=_ask_on, args=arguments, daemon=True).start()
    time.sleep(3600.0)


def _ask_on(port: int, path: str, viewer: str, period: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    known = ""
    while True:
        began = time.monotonic()
        try:
            connection.request("GET", path.format(viewer, known))
            answer = connection.getresponse()
            body = answer.read()
            known = answer.headers.get("X-Sequence", known)
            version = body.rpartition(b'"version": ')[2].partition(b",")[0]
            known = version.decode() if b'"now"' in body[:8] else known
        except (OSError, http.client.HTTPException):
            connection.close()
        time.sleep(max(0.01, period - (time.monotonic() - began)))
