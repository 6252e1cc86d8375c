"""A suite of two cameras, for `vla bench pipeline --cameras 2`, and a policy that looks at both."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vla_ros.bench.common import SECOND_CAMERA
from vla_ros.core.composed import PROGRAM, join
from vla_ros.nodes.node_parameters import NODES
from vla_ros.operator.processes import MODULES, ros_arguments, suite_nodes
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.constant import Constant

CAMERAS = ("camera", "second")
NODE = "camera_second"
POLICY = f"{__name__}:TwoCameras"
INGEST = "camera_ingest"


class TwoCameras(Constant):
    """Always the same, and not standing still, from the images of two cameras."""

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        moving = {"values": {"linear.x": 0.1, "angular.z": 0.0}}
        spec = super().spec({**moving, **options})
        return replace(spec, images=dict.fromkeys(CAMERAS, spec.images["camera"]))


def two_camera_nodes(
    overrides: Mapping[str, Mapping[str, object]], composed: bool
) -> dict[str, list[str]]:
    """Process -> command line; `overrides` as of `suite_nodes`."""
    others = [name for name in NODES if name != INGEST]
    of_two: dict[str, dict[str, object]] = {
        "synchronizer": {"cameras": CAMERAS, "frame_topics": ("frame", "frame_second")},
        "inference": {"cameras": CAMERAS},
        "safety_validator": {"required_nodes": [INGEST, NODE, *others[1:]]},
        "supervisor": {"nodes": [others[0], INGEST, NODE, *others[1:-1]]},
    }
    together = {}
    for name in NODES:
        together[name] = {**overrides.get(name, {}), **of_two.get(name, {})}
    commands = suite_nodes(POLICY, overrides=together, composed=composed)
    parameters = {"policy": POLICY, "camera": CAMERAS[1], **overrides.get(INGEST, {})}
    remaps = {"__node": NODE, "image": SECOND_CAMERA, "frame": "frame_second"}
    words = ros_arguments("/vla", None, parameters, remaps)
    if composed:
        commands[PROGRAM] += join([(INGEST, words)])
    else:
        commands[NODE] = [sys.executable, "-m", MODULES[INGEST], *words]
    return commands
