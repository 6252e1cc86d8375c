"""Start, watch and stop a group of processes, and the command lines of our own nodes.

No child outlives its parent: `stop` ends them in order, and where the parent cannot call it any
more (SIGKILL), the kernel kills them (Linux: PR_SET_PDEATHSIG), for the robot that they drive is
simulated and ends with them. Each child leads a session of its own, so that a terminal's Ctrl-C
reaches the parent alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import TracebackType

from vla_ros.core import process_identity
from vla_ros.core.composed import KINDS, PROGRAM, ROS, join
from vla_ros.core.config_files import config_folder
from vla_ros.core.fastdds import PROFILES, profile_variables
from vla_ros.core.shown import shown
from vla_ros.nodes import node_parameters
from vla_ros.nodes.suite import planned_nodes

# Runs first in every child and becomes the command. In the child and not as a `preexec_fn`: that
# runs Python between fork and exec, which can hang where the parent has threads (rclpy has). The
# parent may have died before prctl, hence the question after it. A shell's background job ignores
# SIGINT; a child must not.
LAUNCHER = """
import ctypes, os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execvp(command[0], command)
"""
POLL_S = 0.02  # between two looks whether they have ended
# How `stop` asks, and how long it then waits (s).
ESCALATION = ((signal.SIGINT, 3.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))


@dataclass
class Child:
    """One process of a group; `process` is the current one where it was respawned."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None
    log_path: Path | None
    respawn: bool
    process: subprocess.Popen[bytes]
    deaths: deque[float] = field(default_factory=deque)  # steady s, within the last minute
    due: float | None = None  # steady s, when it is started again
    given_up: bool = False
    swept: bool = False  # whether what `process` started and left is ended too

    @property
    def running(self) -> bool:
        return self.process.poll() is None


class ProcessGroup:
    """Processes that are started, respawned and ended together; a context manager.

    Use it from a thread that lives as long as the children: the kernel ends a child when the thread
    that started it ends. `poll` respawns what died; call it often.

    Args:
        respawn_delay: Until what died is started again, s.
        respawns_a_minute: A process that dies more often is given up.
    """

    def __init__(self, respawn_delay: float = 1.0, respawns_a_minute: int = 5) -> None:
        self._delay = respawn_delay
        self._most = respawns_a_minute
        self._children: dict[str, Child] = {}
        atexit.register(self.stop)  # for who forgets it

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        log_path: str | os.PathLike[str] | None = None,
        respawn: bool = True,
    ) -> int:
        """Start a process.

        Args:
            name: Unique in the group.
            argv: Its command line.
            env: Its environment; default: ours.
            log_path: Where what it prints goes; default: where ours goes.
            respawn: Whether `poll` starts it again when it died.

        Returns:
            Its pid.

        Raises:
            ValueError: One of that name runs, or there is no such command.
        """
        if name in self._children and self._children[name].running:
            raise ValueError(f"process '{name}' runs already (pid {self.pid(name)}); stop it first")
        # asked here: the child becomes the command only later, and could not say that it is missing
        path = (os.environ if env is None else env).get("PATH")
        if not argv or shutil.which(argv[0], path=path) is None:
            raise ValueError(
                f"process '{name}': command {list(argv)[:1]} is not there; give one that is"
            )
        log = Path(log_path) if log_path is not None else None
        process = _launch(argv, env, log, append=False)
        self._children[name] = Child(name, tuple(argv), env, log, respawn, process)
        return process.pid

    def pid(self, name: str) -> int:
        return self._child(name).process.pid

    def pids(self) -> dict[str, int]:
        """Name -> pid of those that run."""
        return {name: child.process.pid for name, child in self._children.items() if child.running}

    def returncode(self, name: str) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._child(name).process.poll()

    def poll(self) -> list[str]:
        """Respawn what died; a sentence for each that died, came back or is given up."""
        now = time.monotonic()
        sentences = []
        for child in self._children.values():
            if child.running or child.given_up:
                continue
            if child.due is not None:
                if now >= child.due:
                    child.due = None
                    child.process = _launch(child.argv, child.env, child.log_path, append=True)
                    child.swept = False
                    sentences.append(f"{child.name} was started again (pid {child.process.pid})")
                continue
            sentences.append(self._died(child, now))
        return sentences

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one process; nothing where it has ended."""
        child = self._child(name)
        if child.running:
            child.process.send_signal(number)

    def stop(self, names: Sequence[str] | None = None) -> None:
        """End all (or those named), last started first: SIGINT, then SIGTERM, then SIGKILL.

        A Ctrl-C meanwhile goes straight to SIGKILL, and is raised once all are gone.
        """
        chosen = [self._child(name) for name in (self._children if names is None else names)]
        chosen.reverse()
        for child in chosen:  # nothing of it comes back
            child.respawn = False
            child.due = None
            child.given_up = True
        interrupt: BaseException | None = None
        try:
            for number, seconds in ESCALATION:
                if _ask(chosen, number, seconds):
                    break
        except BaseException as error:  # Ctrl-C while it waits
            interrupt = error
        finally:
            for child in chosen:
                _sweep(child)
        for child in chosen:
            self._children.pop(child.name, None)
        if not self._children:
            atexit.unregister(self.stop)
        if interrupt is not None:
            raise interrupt

    def _child(self, name: str) -> Child:
        if name not in self._children:
            raise ValueError(
                f"unknown process '{name}'; known are: {', '.join(sorted(self._children))}"
            )
        return self._children[name]

    def _died(self, child: Child, now: float) -> str:
        """Decide whether it is started again; the sentence says so."""
        _sweep(child)
        code = child.process.returncode
        if code >= 0:
            end = f"{child.name} exited with {code}"
        else:
            end = f"{child.name} was ended by {signal.Signals(-code).name}"
        while child.deaths and now - child.deaths[0] > 60.0:
            child.deaths.popleft()
        child.deaths.append(now)
        if not child.respawn:
            child.given_up = True
            return end
        # a process that dies at once each time would be started for ever
        if len(child.deaths) > self._most:
            child.given_up = True
            return f"{end}; given up, it was started again {self._most} times within a minute"
        child.due = now + self._delay
        return f"{end}; it will be started again in {self._delay:g} s"


def _launch(
    argv: Sequence[str], env: Mapping[str, str] | None, log: Path | None, append: bool
) -> subprocess.Popen[bytes]:
    # -I -S: the launcher needs neither the user's modules nor site-packages, and starts in 15 ms
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *argv]
    if log is None:
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
    # A new session is a new process group, too: `_sweep` ends all of it.
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab" if append else "wb") as out:
        return subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _ask(children: Sequence[Child], number: int, seconds: float) -> bool:
    """Signal those that run and wait; whether all ended."""
    for child in children:
        if child.running:
            child.process.send_signal(number)
    end = time.monotonic() + seconds
    while any(map(attrgetter("running"), children)):
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_S)
    return True


def _sweep(child: Child) -> None:
    """End what is left of a child's process group: itself, or processes that it started and left.

    Once: the number may belong to someone else later.
    """
    if child.swept:
        return
    child.swept = True
    try:
        os.killpg(child.process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # the usual case: nobody is left
    child.process.wait()


# -- our own nodes ---------------------------------------------------------------------
NODES = node_parameters.NODES  # of a robot with one camera
BESIDE_GATE = NODES[1:]
MODULES = {name: f"vla_ros.nodes.{name}" for name in NODES}
MODULES[PROGRAM] = f"vla_ros.nodes.{PROGRAM}"
MODULES["teleop"] = "vla_ros.nodes.teleop"
MODULES["blackbox"] = "vla_ros.operator.blackbox.node"
MODULES["console"] = "vla_ros.operator.console.node"
MODULES["simulator"] = "vla_ros.sim.node"
MODULES["arm_simulator"] = "vla_ros.sim.arm.node"
# One node is one thread's work, and the machine has few cores for six. glibc would return each
# image's memory to the kernel and fetch it again, a page fault every 4 KiB: two thirds of the cost
# of receiving one.
THRIFT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
    "MALLOC_ARENA_MAX": "2",
}


def suite_environment() -> dict[str, str]:
    """Our environment with what the nodes need; what the user has set stays.

    By it the nodes know this process, and end with it.
    """
    environment = {**os.environ, process_identity.PARENT: process_identity.own()}
    if not any(map(environment.get, PROFILES)):
        profile = str(config_folder() / "fastdds.xml")
        environment.update(dict.fromkeys(profile_variables(environment), profile))
    reach = {"ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE"}
    if reach.isdisjoint(environment):
        # Humble knows only the first; later ones warn about it
        if environment.get("ROS_DISTRO") == "humble":
            environment["ROS_LOCALHOST_ONLY"] = "1"
        else:
            environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    for name, value in THRIFT.items():
        environment.setdefault(name, value)
    return environment


def node_command(
    executable: str,
    namespace: str = "",
    params_file: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, object] | None = None,
    remaps: Mapping[str, str] | None = None,
) -> list[str]:
    """The command line of one of our nodes, run by this Python.

    Args:
        executable: A key of MODULES.
        namespace: Where the node is.
        params_file: A ROS 2 parameter file.
        parameters: Name -> value; they overrule the file.
        remaps: Name -> name.

    Raises:
        ValueError: There is no such node, or a value that no parameter can have.
    """
    if executable not in MODULES:
        raise ValueError(f"unknown node '{executable}'; known are: {', '.join(sorted(MODULES))}")
    command = [sys.executable, "-m", MODULES[executable]]
    return [*command, *ros_arguments(namespace, params_file, parameters, remaps)]


def ros_arguments(
    namespace: str = "",
    params_file: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, object] | None = None,
    remaps: Mapping[str, str] | None = None,
) -> list[str]:
    """What a node's command line says to ROS 2, from `--ros-args` on; arguments: node_command."""
    arguments: list[str] = []
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace.strip('/')}"]
    if params_file is not None:
        arguments += ["--params-file", str(params_file)]
    for name, value in (parameters or {}).items():
        arguments += ["-p", f"{name}:={yaml_text(value)}"]
    for before, after in (remaps or {}).items():
        arguments += ["-r", f"{before}:={after}"]
    return [ROS, *arguments] if arguments else []


def yaml_text(value: object) -> str:
    """A parameter's value as --ros-args reads it: text quoted, so that "7" stays text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # YAML has a dot before what is no number
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(yaml_text, value)) + "]"
    if isinstance(value, (str, os.PathLike)):
        text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{text}"'
    raise ValueError(
        f"a parameter cannot be {shown(value)}; give a bool, a number, a text or a list of these"
    )


def suite_nodes(
    policy: str = "",
    robot_file: str | os.PathLike[str] | None = None,
    camera_topic: str = "",
    namespace: str = "/vla",
    params_file: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Mapping[str, object]] | None = None,
    policy_file: str | os.PathLike[str] = "",
    composed: bool = False,
    teleop: bool = False,
    onlookers: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Name -> command line of the nodes, as the robot file says; the gate first.

    Args:
        policy: What drives, by name.
        robot_file: Default: the simulated robot's.
        camera_topic: Instead of the robot file's, for a robot with one camera.
        namespace: Where the nodes are.
        params_file: A ROS 2 parameter file, for all of them.
        overrides: Executable -> parameter -> value; all cameras' nodes are `camera_ingest`.
        policy_file: What drives, with its options; instead of `policy`.
        composed: camera_ingest, synchronizer and inference are one process, "composed".
        teleop: a person may take over.
        onlookers: Those that look on, as "blackbox", which run as well.

    Raises:
        ValueError: `overrides` names an unknown node, or a file is wrong.
    """
    robot = str(robot_file or config_folder() / "robots" / "sim.yaml")
    for name in overrides or {}:
        if name not in (*NODES, "teleop", *onlookers):
            raise ValueError(f"unknown node '{name}' in overrides; known are: {', '.join(NODES)}")
    commands: dict[str, list[str]] = {}
    shared: list[tuple[str, list[str]]] = []  # those in one process
    for node in planned_nodes(
        robot, policy, str(policy_file), camera_topic, teleop=teleop, onlookers=onlookers
    ):
        parameters = {**node.parameters, **(overrides or {}).get(node.executable, {})}
        remaps = dict(node.remaps)
        if node.name != node.executable:
            remaps["__node"] = node.name
        if composed and node.executable in KINDS:
            shared.append((node.executable, ros_arguments("", None, parameters, remaps)))
        else:
            commands[node.name] = node_command(
                node.executable, namespace, params_file, parameters, remaps
            )
    if shared:
        for_all = ros_arguments(namespace, params_file)
        commands[PROGRAM] = [sys.executable, "-m", MODULES[PROGRAM], *join(shared), *for_all]
    return commands
