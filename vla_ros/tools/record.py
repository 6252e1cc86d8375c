"""`vla record`: demonstrations as a LeRobotDataset v3.0, from the simulator or from a robot that runs."""
from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from vla_ros.tools import stage


def run(arguments: argparse.Namespace) -> int:
    """0: recorded what was asked for; 1: less, or nothing; 130: the simulator was interrupted."""
    for module in ("av", "pyarrow", *(("mujoco",) if arguments.sim else ())):  # now, not after the first episode
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    if not arguments.sim and arguments.instructions:
        raise ValueError("a robot takes its instructions from `vla say`; leave them out here, or give --sim")
    with stage.Interrupt() as interrupt:
        if arguments.sim:
            return simulated(arguments, interrupt)
        from vla_ros.tools.record_live import live  # needs ROS
        return live(arguments, interrupt)


def simulated(arguments: argparse.Namespace, interrupt: stage.Interrupt) -> int:
    """A policy as the expert, in the bare simulator."""
    from vla_ros.sim.demonstrate import Demonstrator
    wanted, code = arguments.episodes or 10, 130
    demonstrator = Demonstrator(
        arguments.out, episodes=wanted, seed=arguments.seed, instructions=arguments.instructions,
        policy=arguments.policy, fps=arguments.fps, failures=arguments.failures, watch=interrupt.check,
        say=lambda line: print(line, flush=True))
    try:
        code = 0 if demonstrator.run().episodes >= wanted else 1
    except KeyboardInterrupt as name:
        print(f"interrupted ({name})")
    except RuntimeError as problem:  # nothing to draw with
        print(f"vla: {problem}", file=sys.stderr)
        return 1
    counts = demonstrator.counts
    print(f"{counts.episodes} episodes, {counts.frames} frames in {arguments.out}; "
          f"the expert failed {counts.failed} times")
    return code
