"""A cable between two network namespaces that can be pulled, and that delays and loses packets.

Linux' own netem is not in every kernel; this relay of Ethernet frames between two TAP devices is in
Python, and needs only /dev/net/tun and the right to make namespaces. Run as a module in the
operator's namespace, it makes the robot's.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.operator.processes import ProcessGroup

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
TUNSETIFF = 0x400454CA
TAP = 0x0002
NO_INFORMATION = 0x1000
OPERATOR = "10.77.0.1/24"
ROBOT = "10.77.0.2/24"
# /dev/shm belongs to the machine and not to the namespace: without this the two would talk through
# it.
PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"><profiles>
  <transport_descriptors><transport_descriptor><transport_id>udp</transport_id><type>UDPv4</type>
  </transport_descriptor></transport_descriptors>
  <participant profile_name="vla_ros_udp" is_default_profile="true"><rtps>
    <userTransports><transport_id>udp</transport_id></userTransports>
    <useBuiltinTransports>false</useBuiltinTransports></rtps></participant>
</profiles></dds>
"""


def why_not() -> str:
    """Why there can be no cable here; empty where there can."""
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"the program {tool} is not here"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened; TAP devices need it"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if done.returncode:
        return f"no network namespace can be made here: {done.stderr.strip()}"
    return ""


def run(*words: str) -> None:
    """A command line. RuntimeError, with what it printed, where it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"'{' '.join(words)}' failed: {done.stderr.strip()}")


@dataclass
class Cable:
    """The operator's end, in a process that `unshare --net` gave a namespace of its own."""

    far_side: list[str]  # put before a command line that is to run on the robot's machine
    _control: Path

    @staticmethod
    def plugged_in(stack: ExitStack, folder: Path) -> Cable:
        """A cable until the end of `stack`; RuntimeError, with its log, where there is none."""
        control = folder / "cable"
        os.mkfifo(control)
        group = stack.enter_context(ProcessGroup())
        pid = group.start(
            "cable",
            [sys.executable, "-m", "vla_ros.bench.faults.network", str(control)],
            respawn=False,
            log_path=folder / "cable.log",
        )
        end = time.monotonic() + 10.0
        while not (folder / "cable.ready").exists():
            if time.monotonic() > end or group.returncode("cable") is not None:
                log = (folder / "cable.log").read_text(encoding="utf-8")
                raise RuntimeError(f"no cable: {log}")
            time.sleep(0.02)
        return Cable(["nsenter", f"--net=/proc/{pid}/ns/net", "--"], control)

    def pull(self) -> None:
        run("ip", "link", "set", "robot0", "down")

    def plug(self) -> None:
        run("ip", "link", "set", "robot0", "up")

    def behave(self, delay: float = 0.0, loss: float = 0.0) -> None:
        """Seconds each way; the share of frames lost."""
        with open(self._control, "w", encoding="ascii") as control:
            control.write(f"{delay} {loss}\n")


def _tap(name: str, address: str) -> int:
    """A TAP device in this thread's namespace."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), TAP | NO_INFORMATION))
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", address, "dev", name)
    run("ip", "link", "set", name, "mtu", "9000", "up")
    run("ip", "route", "add", "224.0.0.0/4", "dev", name)  # DDS' discovery is multicast
    return device


def relay(control: int, ends: tuple[int, int]) -> None:
    """Hands on what comes in at either end, for ever.

    Args:
        control: a descriptor from which lines "DELAY LOSS" come: s each way, share of frames.
        ends: the descriptors of the two TAP devices.
    """
    delay = 0.0
    loss = 0.0
    number = 0
    waiting: list[tuple[float, int, int, bytes]] = []  # when, order, to which end, the frame
    dice = random.Random(1)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        ready, _, _ = select.select((control, *ends), (), (), pause)
        now = time.monotonic()
        if control in ready:
            last_line = os.read(control, 200).decode().splitlines()[-1]
            delay, loss = map(float, last_line.split())
        for end in set(ready) - {control}:
            frame = _try(os.read, end, 20_000)  # bytes: more than the devices' MTU
            if frame and dice.random() >= loss:
                number += 1  # frames of the same moment stay in their order
                other_end = ends[1 - ends.index(end)]
                heapq.heappush(waiting, (now + delay, number, other_end, frame))
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            _try(os.write, to, frame)


def _try(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except OSError:
        return None  # that end is down: what went there is lost


def main() -> None:
    control = Path(sys.argv[1])
    near = _tap("robot0", OPERATOR)
    # a device stays where it was made; what is made from here on is the robot's
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "unshare")
    far = _tap("operator0", ROBOT)
    # for writing as well: a FIFO whose last writer closed it would be ready to read for ever
    fifo = os.open(control, os.O_RDWR | os.O_NONBLOCK)
    control.with_suffix(".ready").touch()
    relay(fifo, (near, far))


if __name__ == "__main__":
    main()
