"""composed: camera_ingest, synchronizer and inference as one process, that hand over in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial

from vla_ros.core.composed import split
from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.composition import Composition
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.synchronizer import Synchronizer

CLASSES: Mapping[str, Callable[..., ManagedNode]] = {
    "camera_ingest": CameraIngest,
    "synchronizer": Synchronizer,
    "inference": Inference,
}


def main() -> None:
    """Runs the nodes that the command line names (core/composed.py)."""
    try:
        nodes, for_all = split(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    composition = Composition()
    makers = []
    for kind, own in nodes:
        makers.append(partial(CLASSES[kind], composition=composition, cli_args=own))
    run(*makers, argv=for_all)


if __name__ == "__main__":
    main()
