"""A suite of two cameras, for `vla bench pipeline --cameras 2`, and a policy that looks at both."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vla_ros.bench.common import CAMERA, SECOND_CAMERA
from vla_ros.core.config_files import config_folder
from vla_ros.operator.processes import suite_nodes
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.constant import Constant

TOPICS = {"camera": CAMERA, "second": SECOND_CAMERA}
POLICY = f"{__name__}:TwoCameras"


class TwoCameras(Constant):
    """Always the same, and not standing still, from the images of two cameras."""

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        moving = {"values": {"linear.x": 0.1, "angular.z": 0.0}}
        spec = super().spec({**moving, **options})
        return replace(spec, images=dict.fromkeys(TOPICS, spec.images["camera"]))


def two_camera_nodes(
    overrides: Mapping[str, Mapping[str, object]], composed: bool
) -> dict[str, list[str]]:
    """Process -> command line; `overrides` as of `suite_nodes`."""
    return suite_nodes(POLICY, two_camera_robot(), overrides=overrides, composed=composed)


@cache
def two_camera_robot() -> Path:
    """The simulated robot's file with a second camera, in a folder that goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="vla_ros_bench_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text = (config_folder() / "robots" / "sim.yaml").read_text(encoding="utf-8")
    robot = yaml.safe_load(text)
    robot["cameras"] = {name: {"topic": topic} for name, topic in TOPICS.items()}
    path = folder / "two_cameras.yaml"
    path.write_text(yaml.safe_dump(robot), encoding="utf-8")
    return path
