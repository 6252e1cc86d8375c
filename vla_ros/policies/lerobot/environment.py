"""The environment in which LeRobot itself runs: where it is, and how it is made.

LeRobot's pins (numpy, torch, transformers) exclude ours, and it wants Python 3.12: so it has an
environment of its own, which knows nothing of ROS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from vla_ros.core.shown import shown

LEROBOT = "0.6.1"
# What a type needs beside these, LeRobot asks for by name when such a checkpoint is loaded.
PACKAGES = (
    f"lerobot[diffusion,pi,smolvla]=={LEROBOT}",
    "msgpack",
    "PyYAML",
    "websockets>=15",
)
MODULES = ("lerobot", "msgpack", "websockets", "yaml")
LEAST_PYTHON = (3, 12)
# LeRobot is tried with 3.12; a newer one comes after it.
PYTHONS = ("python3.12", "python3.13", "python3.14", "python3")
# Where pyenv and uv keep theirs, which are often not on PATH, or by a shim that runs none.
KEPT = (".pyenv/versions/3.*/bin", ".local/share/uv/python/cpython-3.*/bin")
ASKED_S = 20.0  # for the version of a Python


def default_environment() -> Path:
    """$XDG_DATA_HOME/vla_ros/lerobot-VERSION, or ~/.local/share/vla_ros/lerobot-VERSION."""
    data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    return data / "vla_ros" / f"lerobot-{LEROBOT}"


def environment_python(folder: str | Path = "") -> Path:
    """The Python of LeRobot's environment; no folder: of the default one.

    Raises:
        ValueError: There is none, or it lacks a package; with the command that makes it.
    """
    place = Path(folder).expanduser() if folder else default_environment()
    command = f"vla serve --make-env {place}" if folder else "vla serve --make-env"
    python = place / "bin" / "python"
    if not python.exists():
        raise ValueError(
            f"there is no environment with LeRobot at {place}; `{command}` makes it (some GB from "
            "the network), or name another one (option sidecar: {env: DIR})"
        )
    # Asked of the folder and not of its Python, which takes a second to start.
    for module in MODULES:
        if not any(place.glob(f"lib/python3*/site-packages/{module}/__init__.py")):
            raise ValueError(
                f"the environment at {place} has no {module}; `{command}` adds what it lacks"
            )
    return python


def make_environment(folder: str | Path, say: Callable[[str], None]) -> Path:
    """Makes it, or adds what it lacks: a run that was interrupted is taken up. Returns its folder.

    Args:
        folder: Where; empty: the default place.
        say: Hears what is done; pip prints beside it.

    Raises:
        ValueError: There is no Python that is new enough, the folder is something else, or pip
            failed.
    """
    place = Path(folder).expanduser() if folder else default_environment()
    python = place / "bin" / "python"
    if python.exists():
        version = _version(str(python))
        if version < LEAST_PYTHON:
            raise ValueError(
                f"{place} is an environment of Python {_dotted(version)}, and LeRobot {LEROBOT} "
                f"wants {_dotted(LEAST_PYTHON)} or newer; give another folder, or remove this one"
            )
        say(f"{place} is there already, with Python {_dotted(version)}")
    else:
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ValueError(
                f"{place} holds something else than an environment; give an empty or a new folder"
            )
        newest = new_enough_python()
        say(f"{newest} makes an environment at {place}")
        place.parent.mkdir(parents=True, exist_ok=True)
        _run([newest, "-I", "-m", "venv", str(place)], "making the environment")
    say(f"pip installs {', '.join(PACKAGES)} and what they need: some GB; what is there stays")
    _run([str(python), "-I", "-m", "pip", "install", *PACKAGES], "pip")
    say("LeRobot is imported, to see that it works")
    # `import lerobot` alone loads next to nothing.
    _run([str(python), "-I", "-c", "import lerobot.policies.factory"], "importing LeRobot")
    environment_python(place)
    return place


def new_enough_python() -> str:
    """A Python of LEAST_PYTHON or newer. Raises ValueError."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for pattern in KEPT:
        folders += sorted(map(str, Path.home().glob(pattern)))
    seen: list[str] = []
    for name in PYTHONS:
        for folder in folders:
            path = shutil.which(name, path=folder)
            version = _version(path) if path else (0, 0)
            if path and version >= LEAST_PYTHON:
                return path
            if version != (0, 0):
                seen.append(f"{name} ({_dotted(version)})")
    raise ValueError(
        f"LeRobot {LEROBOT} wants Python {_dotted(LEAST_PYTHON)} or newer, and here are "
        f"{', '.join(dict.fromkeys(seen)) or 'none'}; install one beside the system's (on Ubuntu "
        "22.04 by `uv python install 3.12`, pyenv, or the deadsnakes archive), put it on PATH, and "
        "run this again"
    )


def _version(python: str) -> tuple[int, int]:
    """(0, 0): it does not say; a shim may stand for a Python that is not there."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, timeout=ASKED_S
        )
        major, minor = done.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0, 0


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _run(command: list[str], what: str) -> None:
    """A Python that is isolated (-I), so that ROS's PYTHONPATH does not reach it.

    Its output goes to ours. Raises ValueError where it fails.
    """
    try:
        code = subprocess.run(command).returncode
    except OSError as error:
        raise ValueError(f"{what}: {command[0]} cannot be run: {error.strerror}") from None
    if code:
        raise ValueError(
            f"{what} failed (exit code {code}; see above); `{shown(' '.join(command), 200)}` was "
            "run. The same vla serve --make-env takes up where this one stopped"
        )
