"""How MuJoCo is imported and draws: which library draws must be settled before the first import."""

from __future__ import annotations

import ctypes
import os
from typing import Any

LIBRARIES = {"egl": ("libEGL.so.1", "libEGL.so"), "osmesa": ("libOSMesa.so.8", "libOSMesa.so")}
ADVICE = "install libegl1 libegl-mesa0 libgl1-mesa-dri, or libosmesa6 and set MUJOCO_GL=osmesa"


def load_mujoco() -> Any:
    """The mujoco module, set up to draw with no display.

    It draws by MUJOCO_GL if that is set, else by EGL, else by OSMesa.

    Raises:
        RuntimeError: It is not installed, or nothing here can draw; the sentence says what to do.
    """
    if not choose_library():
        raise RuntimeError(f"the simulator cannot draw: neither EGL nor OSMesa was found; {ADVICE}")
    try:
        import mujoco
    except ImportError as problem:
        raise RuntimeError(
            f"the simulator needs MuJoCo ({problem}); pip install mujoco"
        ) from problem
    except Exception as problem:
        raise _cannot_draw(problem) from problem
    return mujoco


def choose_library() -> bool:
    """Set MUJOCO_GL where it is not set, before MuJoCo is imported; whether anything can draw."""
    # Mesa's software renderer starts a thread for every core and would starve the physics and ROS.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    if "MUJOCO_GL" in os.environ:
        return True
    for backend, libraries in LIBRARIES.items():
        if any(map(_loads, libraries)):
            os.environ["MUJOCO_GL"] = backend
            return True
    return False


def make_renderer(mujoco: Any, model: Any, width: int, height: int) -> Any:
    """A renderer that belongs to the calling thread."""
    try:
        return mujoco.Renderer(model, height, width)
    except Exception as problem:
        raise _cannot_draw(problem) from problem


def _cannot_draw(problem: Exception) -> RuntimeError:
    """Each library fails in its own way, some at import; all mean the same here."""
    backend = os.environ.get("MUJOCO_GL", "")
    return RuntimeError(
        f"the simulator cannot draw with MUJOCO_GL={backend!r} ({problem}); {ADVICE}"
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
