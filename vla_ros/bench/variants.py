"""What is run side by side: ours, plain in three environments, and the floor."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vla_ros.bench.lower_bound import ROLES as FLOOR
from vla_ros.bench.naive import OF_TWO_CAMERAS as PLAIN_OF_TWO_CAMERAS
from vla_ros.bench.naive import ROLES as PLAIN
from vla_ros.bench.two_cameras import two_camera_nodes
from vla_ros.core.config_files import config_folder
from vla_ros.core.fastdds import PROFILES
from vla_ros.nodes.node_parameters import EXECUTORS, NODES
from vla_ros.operator.processes import THRIFT, suite_environment, suite_nodes
from vla_ros.policies import policy_spec

# Not standing still: a command that differs from it shows that it was the policy's.
POLICY_FILE = Path("policies") / "constant.yaml"  # in config/
TRACE = "trace"  # the process that listens
RECORDED = Path(tempfile.gettempdir()) / "vla_bench_blackbox"  # what the flight recorder writes


@dataclass(frozen=True)
class Variant:
    """A pipeline that is measured."""

    title: str
    commands: Callable[[int], dict[str, list[str]]]  # how many cameras -> process -> argv
    namespace: str
    default_qos: bool = False  # the camera speaks reliably, depth 10
    profile: bool = True  # our Fast DDS profile
    thrift: bool = True  # our memory and thread settings
    suite: bool = False  # it is ours, with a gate to arm

    def environment(self) -> dict[str, str]:
        """Ours, less what the variant goes without."""
        environment = suite_environment()
        without: list[str] = []
        if not self.profile:
            without += PROFILES
        if not self.thrift:
            without += THRIFT
        for name in without:
            environment.pop(name, None)
        return environment


def module(name: str, *arguments: str) -> list[str]:
    """The command line of one of the bench's own processes."""
    return [sys.executable, "-m", f"vla_ros.bench.{name}", *arguments]


def _ours(
    cameras: int, executor: str = EXECUTORS[0], composed: bool = False, recorded: bool = False
) -> dict[str, list[str]]:
    overrides: dict[str, dict[str, object]] = {name: {"executor": executor} for name in NODES}
    # a constant policy says the same for ever, which that rule would hold
    overrides["safety_validator"]["stuck_policy_limit"] = 0.0
    if cameras == 2:
        return two_camera_nodes(overrides, composed)
    policy_file = config_folder() / POLICY_FILE
    onlookers: tuple[str, ...] = ()
    if recorded:
        onlookers = ("blackbox",)
        overrides["blackbox"] = {"blackbox_folder": str(RECORDED), "blackbox_files": 1}
    return suite_nodes(
        policy_file=policy_file, overrides=overrides, composed=composed, onlookers=onlookers
    )


def _traced(cameras: int, composed: bool = False) -> dict[str, list[str]]:
    """Ours, and `vla trace` until it is ended."""
    listens = [sys.executable, "-m", "vla_ros.cli.main", "trace", "--seconds", "1e5"]
    return {**_ours(cameras, composed=composed), TRACE: [*listens, "--wait", "60"]}


def _plain(cameras: int) -> dict[str, list[str]]:
    if cameras == 2:
        return {role: module("naive", role, "two") for role in PLAIN_OF_TWO_CAMERAS}
    return {role: module("naive", role) for role in PLAIN}


def _floor(cameras: int) -> dict[str, list[str]]:
    if cameras > 1:
        raise ValueError(f"--cameras is {cameras}, and the floor has one; leave it out with --only")
    height, width = policy_spec("constant").images["camera"]
    size = ["--height", str(height), "--width", str(width)]
    return {role: module("lower_bound", role, *size) for role in FLOOR}


# Run only by name, beside the variant that each of them disturbs.
BY_NAME = ("ours_traced", "composed_traced", "ours_recorded", "composed_recorded")
VARIANTS = {
    "ours": Variant("ours", _ours, "/vla", suite=True),
    "ours_single": Variant(
        "ours, on the SingleThreadedExecutor",
        partial(_ours, executor="single_threaded"),
        "/vla",
        suite=True,
    ),
    "ours_composed": Variant("ours, composed", partial(_ours, composed=True), "/vla", suite=True),
    "ours_traced": Variant("ours, while vla trace listens", _traced, "/vla", suite=True),
    "composed_traced": Variant(
        "ours, composed, while vla trace listens",
        partial(_traced, composed=True),
        "/vla",
        suite=True,
    ),
    "ours_recorded": Variant(
        "ours, with the flight recorder", partial(_ours, recorded=True), "/vla", suite=True
    ),
    "composed_recorded": Variant(
        "ours, composed, with the flight recorder",
        partial(_ours, composed=True, recorded=True),
        "/vla",
        suite=True,
    ),
    "plain": Variant(
        "plain, defaults everywhere", _plain, "/plain", True, profile=False, thrift=False
    ),
    "plain_profile": Variant("plain, our profile", _plain, "/plain", True, thrift=False),
    "plain_tuned": Variant("plain, our profile and memory settings", _plain, "/plain", True),
    "floor": Variant("the floor: bare hops", _floor, "/floor"),
}
