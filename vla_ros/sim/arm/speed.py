"""How fast the simulated arm draws, moves and is labelled: python3 -m vla_ros.sim.arm.speed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from vla_ros.sim.arm.episode import ARM_STEP_S, draw_intent
from vla_ros.sim.arm.expert import rows_for
from vla_ros.sim.arm.world import CAMERAS, ArmWorld

EACH_S = 2.0  # that each is measured for
SIZES_PX = (96, 128, 256)  # pixels, height and width


def per_second(action: Callable[[], object]) -> float:
    """How often `action` is done in a second; the first time, which prepares, does not count."""
    action()
    count = 0
    began = time.perf_counter()
    while time.perf_counter() - began < EACH_S:
        action()
        count += 1
    return count / (time.perf_counter() - began)


def main() -> None:
    world = ArmWorld(0)
    print(f"drawn by MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}")
    for side in SIZES_PX:
        world.close()
        world.image_size = (side, side)
        images = len(CAMERAS) * per_second(world.render)
        print(f"{side} x {side}: {images:.0f} images a second, both cameras together")
    moved = ARM_STEP_S * per_second(lambda: world.step(ARM_STEP_S))
    print(f"physics: {moved:.0f} times real time")
    intent = draw_intent(world, "put_into", np.random.default_rng(0))
    state = world.state()
    if intent is not None:
        chunks = per_second(lambda: rows_for(intent, state, state, 10, ARM_STEP_S))
        print(f"expert: {1000.0 / chunks:.1f} ms for a chunk of 10 rows")


if __name__ == "__main__":
    main()
