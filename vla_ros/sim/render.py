"""How MuJoCo is imported: which library draws must be settled before the first import."""
from __future__ import annotations

import ctypes.util
import os
from typing import Any


def load_mujoco() -> Any:
    """The mujoco module, set up to draw with no display: EGL, else OSMesa, unless MUJOCO_GL says otherwise."""
    # Mesa's software renderer starts a thread for every core and would starve the physics and ROS.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    if "MUJOCO_GL" not in os.environ:
        if ctypes.util.find_library("EGL"):
            os.environ["MUJOCO_GL"] = "egl"
        elif ctypes.util.find_library("OSMesa"):
            os.environ["MUJOCO_GL"] = "osmesa"
        else:
            raise RuntimeError("the simulator cannot draw: neither EGL nor OSMesa was found; "
                               "install libegl1 libegl-mesa0 libgl1-mesa-dri")
    import mujoco

    return mujoco
