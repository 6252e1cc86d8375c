"""The simulated robot, the suite and the console as they run, for what is measured at the page."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from geometry_msgs.msg import Twist
from rclpy.node import Node

from vla_ros.bench.common import COMMANDS
from vla_ros.core.config_files import config_folder
from vla_ros.operator.client import Operator, spinning, wait_for
from vla_ros.operator.console.server import free_port
from vla_ros.operator.processes import ProcessGroup, node_command, suite_environment, suite_nodes

SIMULATOR = "simulator"
CONSOLE = "console"
SEED = 16  # a room with a red ball and a free way to it
START_S = 90.0
STILL = 1e-3  # m/s and rad/s


@dataclass
class ConsoleSuite:
    """The processes, and what the robot's wheels were told.

    Attributes:
        commands: when each was heard, s since 1970, and whether the robot is to move.
    """

    group: ProcessGroup
    node: Node
    folder: Path
    port: int
    console: list[str]
    environment: dict[str, str]
    commands: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on_command(self, message: Twist) -> None:
        moves = abs(message.linear.x) > STILL or abs(message.angular.z) > STILL
        self.commands.append((time.time(), moves))

    @property
    def moving(self) -> bool:
        return bool(self.commands) and self.commands[-1][1]

    def stood_after(self, moment: float) -> float | None:
        """When the wheels were first told to stand after `moment`, s; None: they were not."""
        for at, moves in list(self.commands):
            if at > moment and not moves:
                return at - moment
        return None

    def start_console(self) -> None:
        """Start it, and wait until it serves."""
        log = self.folder / f"{CONSOLE}.log"
        self.group.start(CONSOLE, self.console, env=self.environment, log_path=log)
        self.wait(lambda: self.serves(), f"the console did not serve; see {log}")

    def serves(self) -> bool:
        try:
            return self.ask("GET", "/state?viewer=bench")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """A request and its answer, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10.0)
        try:
            connection.request(method, path, json.dumps(body or {}), {"X-Vla-Console": "1"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def press(self, action: str, **body: str) -> dict[str, Any]:
        """What a button of the page does, and what it answers."""
        answer: dict[str, Any] = json.loads(self.ask("POST", f"/do/{action}", body)[1])
        return answer

    def drive(self, words: str) -> None:
        """Arm by two presses, say it, and wait until the wheels turn; what is refused, again."""
        self.wait(self._armed, "the gate cannot be armed", 30.0)
        self.wait(lambda: bool(self.press("say", text=words)["done"]), "nobody listens", 10.0)
        self.wait(lambda: self.moving, f"the robot does not '{words}'", 20.0)

    def _armed(self) -> bool:
        self.press("reset")
        key = self.press("arm").get("key")
        if key is None:  # the console has not heard of the reset yet: once more
            return False
        time.sleep(0.4)
        return bool(self.press("arm", key=key)["done"])

    def wait(self, condition: Callable[[], bool], problem: str, seconds: float = START_S) -> None:
        """Until `condition` is true; processes that died are started again meanwhile."""

        def met() -> bool:
            self.group.poll()
            return condition()

        if not wait_for(met, seconds):
            raise TimeoutError(problem)

    def cpu_s(self) -> dict[str, float]:
        """Process -> the processor time that it has used, s."""
        used = {}
        for name, pid in self.group.pids().items():
            times = psutil.Process(pid).cpu_times()
            used[name] = times.user + times.system
        return used


@contextmanager
def console_suite(folder: Path, policy: str = "color_servo") -> Iterator[ConsoleSuite]:
    """A robot in its room and the suite, which can be armed; the console is not started yet."""
    robot = config_folder() / "robots" / "sim.yaml"
    port = free_port(0)
    parameters = {"robot_file": str(robot), "console_port": port, "max_viewers": 200}
    console = node_command(CONSOLE, "/vla", parameters=parameters)
    commands = {
        SIMULATOR: node_command(SIMULATOR, parameters={"seed": SEED}),
        **suite_nodes(policy, robot),
    }
    environment = suite_environment()
    with ProcessGroup() as group, spinning("console_bench") as node:
        suite = ConsoleSuite(group, node, folder, port, console, environment)
        operator = Operator(node)
        node.create_subscription(Twist, COMMANDS, suite.on_command, 50)
        for name, command in commands.items():
            group.start(name, command, env=environment, log_path=folder / f"{name}.log")

        def can_be_armed() -> bool:
            return operator.call("arm", 1.0)[0]

        suite.wait(can_be_armed, f"the gate could not be armed; see {folder}")
        operator.call("disarm", 2.0)
        yield suite
