"""Which process a node lives in, as its heartbeat says; whether it exists, and how to end it.

`pid.start.host`: `start` is the process' start in clock ticks since boot, so that no reused pid is
mistaken for it; `host` tells machines and containers apart, for a pid means something only in its
own. Linux' /proc; elsewhere `host` is empty and nothing is known of a process but its silence.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from functools import cache
from pathlib import Path

from vla_ros.core import composed

GONE = "gone"
STOPPED = "stopped"
TRACED = "traced"
ALIVE = "alive"
UNKNOWN = "unknown"
# The variable with the life of the process that looks after the nodes: they end where it is gone.
# Launch and operator/processes.py set it; a node that is started by hand, or by systemd, has none,
# and belongs to nobody.
PARENT = "VLA_PARENT"


def own() -> str:
    """This process' life."""
    pid = os.getpid()
    return f"{pid}.{_stat(pid)[1] or time.time_ns():x}.{host()}"


@cache
def host() -> str:
    """This boot of this machine and this container; empty where that cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return hashlib.sha1(f"{boot}{os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:8]
    except OSError:
        return ""


def state(life: str) -> str:
    """Whether the process is there, as one of the words above.

    STOPPED is by SIGSTOP, TRACED by a debugger, UNKNOWN on another machine.
    """
    pid, start = _parse(life)
    if not pid:
        return UNKNOWN
    letter, started = _stat(pid)
    if started != start or letter in "ZX":  # another process' pid by now, a zombie, or dead
        return GONE
    return {"T": STOPPED, "t": TRACED}.get(letter, ALIVE)


def orphaned() -> bool:
    """Whether the process that looks after this one (PARENT) is gone; False where there is none."""
    return state(os.environ.get(PARENT, "")) == GONE


def end(life: str, name: str) -> str:
    """SIGKILL for the process of node `name`, never for any other.

    Returns:
        Why that was not done, as a sentence; empty: it was.
    """
    pid, start = _parse(life)
    if not pid or pid == os.getpid():
        return "its process is not one that can be ended from here"
    try:
        # From here on the pid cannot become another's, where Python has this call.
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        try:
            if _stat(pid)[1] != start:
                return "its process ended meanwhile"
            if not _is_node(pid, name):
                return f"process {pid} does not look like a node of vla_ros"
            if handle >= 0 and hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
        finally:
            if handle >= 0:
                os.close(handle)
    except OSError as error:
        return f"process {pid} cannot be ended: {error.strerror}"
    return ""


def _parse(life: str) -> tuple[int, int]:
    """pid and start; zeros for a life of another machine, or one that is none."""
    parts = life.split(".")
    try:
        pid = int(parts[0])
        start = int(parts[1], 16)
    except (ValueError, IndexError):
        return 0, 0
    ours = len(parts) == 3 and parts[2] and parts[2] == host()
    return (pid, start) if ours and pid > 1 and start > 0 else (0, 0)


def _stat(pid: int) -> tuple[str, int]:
    """The state's letter and the start in ticks of /proc/PID/stat.

    "X", dead, and 0 where there is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The second field is the program's name in brackets, which may hold spaces and brackets.
        fields = text.rpartition(")")[2].split()
        return fields[0], int(fields[19])  # the third field, and the 22nd
    except (OSError, IndexError, ValueError):
        return "X", 0


def _is_node(pid: int, name: str) -> bool:
    """Whether it is one of our programs under that node name.

    A heartbeat can be forged, a process' arguments cannot. As launch, `ros2 run` and
    operator/processes.py start them, word for word: this Python, then `-m` and a module of ours, or
    an installed script; its node is called as the program, or as `-r __node:=` says. What else
    stands in the arguments, or in the folder's name, proves nothing.
    """
    try:
        executables = {_executable(str(pid)), _executable("self")}
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        words = arguments.split("\0")[1:]
    except OSError:
        return False
    if len(executables) > 1 or len(words) < 2:
        return False
    if words[0] == "-m":
        ours = words[1].startswith("vla_ros.")
        program = words[1].rpartition(".")[2]
    else:
        script = Path(words[0])
        ours = script.is_absolute() and script.parts[-3:-1] == ("lib", "vla_ros")
        program = script.name
    return ours and name in _nodes(program, words[2 if words[0] == "-m" else 1 :])


def _nodes(program: str, arguments: list[str]) -> set[str]:
    """The names of the nodes that a program of ours holds."""
    if program != composed.PROGRAM:
        return {composed.node_name(program, arguments)}
    try:
        nodes, _ = composed.split([word for word in arguments if word])
    except ValueError:
        return set()
    return {composed.node_name(kind, own) for kind, own in nodes}


def _executable(pid: str) -> str:
    """The file that the process runs, "self" for this one; an update may have replaced it."""
    return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
