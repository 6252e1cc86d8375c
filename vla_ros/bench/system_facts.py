"""What `vla doctor` looks at, gathered without judging. Nothing here raises: what cannot be read
stays unknown.

What must be imported or tried is done in processes of its own (`python -m
vla_ros.bench.system_facts NAME ...`): a middleware that is not installed ends the process that asks
for it, and a wrong CUDA library may crash it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.core.config_files import config_folder
from vla_ros.core.fastdds import PROFILES, profile_variables
from vla_ros.engines.cache import default_folder

ENVIRONMENT = (
    "ROS_DISTRO",
    "RMW_IMPLEMENTATION",
    "ROS_DOMAIN_ID",
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_LOCALHOST_ONLY",
    *PROFILES,
)
LIBRARIES = ("numpy", "yaml", "cv2")  # what the nodes cannot do without
# one process each
TOGETHER = (
    ("rclpy", "vla_ros_msgs", *LIBRARIES, "rmw"),
    ("SCHED_FIFO", "power mode"),
    ("torch", "cuda", "tensorrt", "torch_tensorrt"),
    ("tensorrt_rtx",),
    ("onnxruntime",),
)
PATIENCE = 120.0  # s; torch_tensorrt from a slow card takes its time
CPUFREQ = "/sys/devices/system/cpu"


@dataclass(frozen=True)
class Facts:
    """None, "" and {}: not there, or it could not be read."""

    python: str = ""
    system: str = ""  # the operating system's name for itself
    environment: Mapping[str, str] = field(default_factory=dict)  # of ENVIRONMENT, what is set
    # a name of TOGETHER -> its version, or what it says
    parts: Mapping[str, str] = field(default_factory=dict)
    # one that is here and does not work -> why
    broken: Mapping[str, str] = field(default_factory=dict)
    profile: str | None = None  # the text of the Fast DDS profile that the environment names
    our_profile: str = "config/fastdds.xml"
    shm: tuple[int, int] | None = None  # /dev/shm: bytes free, bytes in all
    cpu: str = ""
    cores: int = 0
    governors: tuple[str, ...] = ()
    clocks: tuple[int, int, int] | None = None  # kHz of core 0: lowest and highest allowed, now
    board: str = ""  # the device tree's model
    gpu: str = ""  # nvidia-smi's name
    l4t: str = ""  # /etc/nv_tegra_release, "R36 (release), REVISION: 4.3, ..."
    power_modes: Mapping[str, int] = field(default_factory=dict)  # nvpmodel.conf: name -> id
    sockets: Mapping[str, int] = field(default_factory=dict)  # rmem_max, wmem_max: bytes
    cache: str = ""  # the engine cache's folder
    cache_bytes: int = 0
    cache_writable: bool | None = None
    profile_variables: tuple[str, ...] = PROFILES  # by what name the installed Fast DDS wants it


def gather() -> Facts:
    found: dict[str, Any] = {}
    for name, read in READERS.items():
        try:
            found[name] = read()
        except Exception:
            continue  # unknown: the finding says so
    found["parts"] = {}
    found["broken"] = {}
    for names in TOGETHER:
        for name, (works, what) in ask(names).items():
            found["parts" if works else "broken"][name] = what
    return Facts(**found)


# -- in this process -------------------------------------------------------------------
def text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")


def output(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=10.0, check=True
    ).stdout.strip()


def _profile() -> str | None:
    paths = [os.environ[name] for name in profile_variables() if os.environ.get(name)]
    return text(paths[0]) if paths else None


def _our_profile() -> str:
    return str(config_folder() / "fastdds.xml")


def _shm() -> tuple[int, int]:
    usage = shutil.disk_usage("/dev/shm")
    return usage.free, usage.total


def _cpu() -> str:
    named = re.search(r"^model name\s*:\s*(.+)", text("/proc/cpuinfo"), re.M)  # not on ARM
    named = named or re.search(r"^Model name:\s*(.+)", output("lscpu"), re.M)
    return named[1] if named else platform.machine()


def _clocks() -> tuple[int, int, int]:
    low, high, now = (
        int(text(f"{CPUFREQ}/cpu0/cpufreq/scaling_{what}_freq")) for what in ("min", "max", "cur")
    )
    return low, high, now


def _writable() -> bool:
    folder = default_folder()
    return os.access(
        next(path for path in (folder, *folder.parents) if path.exists()), os.W_OK | os.X_OK
    )


READERS: dict[str, Callable[[], Any]] = {
    "python": platform.python_version,
    "system": lambda: re.search(r'^PRETTY_NAME="?([^"\n]*)', text("/etc/os-release"), re.M)[1],  # type: ignore[index]
    "environment": lambda: {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)},
    "profile": _profile,
    "profile_variables": profile_variables,
    "our_profile": _our_profile,
    "shm": _shm,
    "cpu": _cpu,
    "cores": lambda: len(os.sched_getaffinity(0)),
    "governors": lambda: tuple(
        sorted({text(str(path)) for path in Path(CPUFREQ).glob("cpu*/cpufreq/scaling_governor")})
    ),
    "clocks": _clocks,
    "board": lambda: text("/proc/device-tree/model"),
    "gpu": lambda: output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()[
        0
    ],
    "l4t": lambda: text("/etc/nv_tegra_release").splitlines()[0].lstrip("# "),
    "power_modes": lambda: {
        name: int(number)
        for number, name in re.findall(
            r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\w+)", text("/etc/nvpmodel.conf"), re.M
        )
    },
    "sockets": lambda: {
        name: int(text(f"/proc/sys/net/core/{name}")) for name in ("rmem_max", "wmem_max")
    },
    "cache": lambda: str(default_folder()),
    "cache_bytes": lambda: sum(
        path.stat().st_size for path in default_folder().rglob("*") if path.is_file()
    ),
    "cache_writable": _writable,
}


# -- in a process of its own -----------------------------------------------------------
def ask(names: tuple[str, ...]) -> dict[str, tuple[bool, str]]:
    """name -> works, and its version or the reason; what is not installed is left out."""
    command = [sys.executable, "-m", "vla_ros.bench.system_facts", *names]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE
        )
        said = done.stdout
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        # rcl's own time stamp and source line
        last = re.sub(r"^(\[[^]]*\]:? )+|, at /.*$", "", last)
    except subprocess.TimeoutExpired as error:
        half = error.stdout or b""
        last = f"no answer within {PATIENCE:g} s"
        said = half if isinstance(half, str) else half.decode(errors="replace")
    except OSError:
        return {}
    answers: dict[str, tuple[bool, str]] = {}
    for line in said.splitlines():
        if line.startswith("@"):  # whatever a library prints has none
            name, works, what = json.loads(line[1:])
            if works is None and not what:
                answers.pop(name, None)
            else:
                answers[name] = (bool(works), what if works else what or last)
    return answers


def _version(name: str) -> str:
    module = importlib.import_module(name)
    try:
        return str(getattr(module, "__version__", "") or importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return ""


def _rclpy() -> str:
    """Not imported: that ends the process where the middleware is not the one that is asked for."""
    if importlib.util.find_spec("rclpy") is None:
        raise ModuleNotFoundError("no rclpy", name="rclpy")
    return importlib.metadata.version("rclpy")


def _rmw() -> str:
    from rclpy.utilities import get_rmw_implementation_identifier

    return str(get_rmw_implementation_identifier())


def _messages() -> str:
    from vla_ros_msgs.msg import Instruction

    type(Instruction).__import_type_support__()  # the compiled half
    return "built"


def _fifo() -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return "allowed"


def _power_mode() -> str:
    try:
        return output("nvpmodel", "-q").partition("NV Power Mode:")[2].split()[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        from jtop import jtop  # its service may be asked where nvpmodel wants root

        with jtop() as board:
            return str(board.nvpmodel.name)


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise ModuleNotFoundError("torch finds no GPU")
    low, high = torch.cuda.get_device_capability()
    one = torch.ones(1, device="cuda")
    assert bool((one + one == 2).all())  # a torch for other chips sees the GPU, and fails here
    return f"{torch.version.cuda}, {torch.cuda.get_device_name()}, compute capability {low}.{high}"


def _tensorrt_rtx() -> str:
    try:
        return _version("tensorrt_rtx_bindings")  # PyPI's
    except ModuleNotFoundError:
        return _version("tensorrt_rtx")  # NVIDIA's own package


PROBES: dict[str, Callable[[], str]] = {
    "rclpy": _rclpy,
    "rmw": _rmw,
    "vla_ros_msgs": _messages,
    "SCHED_FIFO": _fifo,
    "power mode": _power_mode,
    "cuda": _cuda,
    "tensorrt_rtx": _tensorrt_rtx,
}


def probe(name: str) -> None:
    def tell(works: bool | None, what: str) -> None:
        print("@" + json.dumps([name, works, what]), flush=True)

    tell(False, "")  # stands if the next line ends the process
    try:
        tell(True, PROBES.get(name, lambda: _version(name))())
    except ModuleNotFoundError as error:
        own = error.name in (None, name, "rclpy", "torch", "jtop")
        tell(None if own else False, "" if own else f"it needs {error.name}")
    except Exception as error:
        tell(False, f"{type(error).__name__}: {error}".splitlines()[0][:200])


if __name__ == "__main__":
    for each in sys.argv[1:]:
        probe(each)
