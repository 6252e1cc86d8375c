"""Where faults happen: which processes, with which stand-ins, on which clock and network.

`robot`: the real nodes; only the drivers (faulty_robot.py) and the policy (faulty_policies.py) can
be told to fail. Logs lie on a small disk of their own where the kernel lets us mount one. `clock`:
the nodes run on a /clock that can fail, with a gate that can be broken from inside. `network`: the
robot is a machine of its own, behind a cable that can be pulled. `arm`: the robot is an arm,
without physics (faulty_arm.py). `person`: somebody may take the robot over (faulty_stick.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from vla_ros.bench.faults.arm_workspace import write_robot_file
from vla_ros.bench.faults.fault_table import FROZEN_AFTER_S, STUCK_AFTER_S
from vla_ros.bench.faults.network import PROFILE, Cable
from vla_ros.bench.faults.stack import Suite
from vla_ros.core.fastdds import profile_variables
from vla_ros.nodes.node_parameters import ONLOOKER_NODES
from vla_ros.operator.processes import (
    MODULES,
    NODES,
    node_command,
    suite_environment,
    suite_nodes,
)

PACKAGE = "vla_ros.bench.faults"
WORLDS = ("robot", "clock", "network", "arm", "person")
DISK_MB = 16
# Here a fault comes every few seconds: what the supervisor would count as one that comes again and
# again is a new one.
FREQUENT_FAULTS = {
    "respawns_a_minute": 1000,
    "vision_recovery": 0.5,
    "language_recovery": 0.5,
    "action_recovery": 0.5,
    "communication_recovery": 0.5,
}
SEED = 3  # a room in which the robot can turn on the spot


def stand_in(command: list[str], module: str) -> list[str]:
    """The same command line for another module.

    One of our nodes says its name there: by that, and the module, the supervisor knows the process
    that it may end.
    """
    node_of_module = dict(zip(MODULES.values(), MODULES))
    name = ""
    out = []
    for word in command:
        if word in node_of_module:
            name = node_of_module[word]
            out.append(module)
        else:
            out.append(word)
        if word == "--ros-args" and name in NODES:  # the module stands before it
            out += ["-r", f"__node:={name}"]
    return out


def commands(world: str, folder: Path) -> dict[str, list[str]]:
    """Process -> argv: the six nodes, and the robot of that world; its files go to `folder`."""
    clock = {"use_sim_time": True} if world == "clock" else {}
    overrides: dict[str, dict[str, object]] = {}
    for name in NODES:
        overrides[name] = dict(clock)
    overrides["inference"]["policy"] = "broken"
    # the operator looks at its report to see who is back
    overrides["supervisor"]["diagnostics_period"] = 0.1
    overrides["supervisor"] |= FREQUENT_FAULTS
    overrides["camera_ingest"]["frozen_after"] = FROZEN_AFTER_S
    overrides["safety_validator"]["stuck_policy_limit"] = STUCK_AFTER_S
    robot = None
    if world == "arm":
        robot = write_robot_file(folder)
        overrides["inference"]["policy"] = "broken_arm"
    onlookers: tuple[str, ...] = ()
    if world == "robot":
        onlookers = ONLOOKER_NODES
        # here the gate stops every few seconds, and each time is worth a file
        overrides["blackbox"] = {"blackbox_folder": str(folder / "blackbox"), "blackbox_files": 2}
    nodes = suite_nodes(
        "constant", robot, overrides=overrides, teleop=world == "person", onlookers=onlookers
    )
    nodes["inference"] = stand_in(nodes["inference"], f"{PACKAGE}.faulty_policies")
    if world == "clock":
        nodes["safety_validator"] = stand_in(nodes["safety_validator"], f"{PACKAGE}.faulty_gate")
        nodes["clock"] = [sys.executable, "-m", f"{PACKAGE}.faulty_clock"]
    if world == "person":
        nodes["stick"] = [sys.executable, "-m", f"{PACKAGE}.faulty_stick"]
    if world == "arm":
        return {**nodes, "arm": [sys.executable, "-m", f"{PACKAGE}.faulty_arm"]}
    parameters: dict[str, object] = {"seed": SEED, **clock}
    if world == "network":  # an image in one datagram
        parameters |= {"width": 160, "height": 120}
    simulator = node_command("simulator", parameters=parameters)
    nodes["simulator"] = stand_in(simulator, f"{PACKAGE}.faulty_robot")
    if world == "robot" and not _no_server():
        from vla_ros.bench.faults import faulty_sidecar  # needs websockets

        nodes["policy_server"] = [sys.executable, "-m", f"{PACKAGE}.faulty_server"]
        faulty_sidecar.prepare(folder)
    return nodes


def _no_server() -> str:
    """Why there can be no policy server here; empty: there can."""
    for package in ("msgpack", "websockets"):
        if find_spec(package) is None:
            return f"no Python package {package} here: pip install msgpack 'websockets>=15'"
    return ""


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """A tmpfs in `folder`; gives why not, where it cannot be."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "vla_faults", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        yield f"no disk of its own can be mounted here: {done.stderr.strip()}"
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


@contextmanager
def suite_in(world: str) -> Iterator[Suite]:
    """A world's suite, up and running, at rest; ended at the end of the `with`.

    `suite.cannot` holds what cannot be had here: name -> why.

    Raises:
        ValueError: there is no such world.
        RuntimeError: the network of world `network` cannot be made.
    """
    if world not in WORLDS:
        raise ValueError(f"unknown world '{world}'; known are: {', '.join(WORLDS)}")
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="vla_faults_", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        logs = folder / "logs"
        logs.mkdir()
        environment: Mapping[str, str] = {**suite_environment(), "ROS_LOG_DIR": str(logs / "ros")}
        started = commands(world, folder)
        cannot: dict[str, str] = {}
        cable = None
        if world == "robot":
            cannot["disk"] = stack.enter_context(small_disk(logs))
            cannot["server"] = _no_server()
        if world == "network":
            cable = Cable.plugged_in(stack, folder)
            (folder / "udp.xml").write_text(PROFILE, encoding="utf-8")
            environment = {
                **environment,
                "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
                **dict.fromkeys(profile_variables(), str(folder / "udp.xml")),
            }
            started["simulator"] = [*cable.far_side, *started["simulator"]]
            os.environ.update(environment)  # the operator's own node, in this very process
        suite = Suite(folder, started, environment, logs)
        suite.cannot = cannot
        suite.cable = cable
        if world == "arm":
            suite.alone = "the controller, which holds its last position"
        stack.callback(suite.close)
        yield suite
