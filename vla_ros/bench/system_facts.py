"""What `vla doctor` looks at, gathered without judging.

Nothing here raises: what cannot be read stays unknown. What must be imported or tried is done in
processes of its own (`python -m vla_ros.bench.system_facts NAME ...`): a middleware that is not
installed ends the process that asks for it, and a wrong CUDA library may crash it.
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
ANSWER_TIMEOUT_S = 120.0  # torch_tensorrt from a slow card takes its time
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
    """All that can be read on this machine."""
    facts: dict[str, Any] = {}
    for name, read in READERS.items():
        try:
            facts[name] = read()
        except Exception:
            continue  # unknown: the finding says so
    parts: dict[str, str] = {}
    broken: dict[str, str] = {}
    for names in TOGETHER:
        for name, (works, answer) in ask(names).items():
            if works:
                parts[name] = answer
            else:
                broken[name] = answer
    return Facts(**facts, parts=parts, broken=broken)


# -- in this process -------------------------------------------------------------------
def text(path: str) -> str:
    """A file's text, without the zero byte that ends the device tree's."""
    return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")


def output(*command: str) -> str:
    """What a command prints; raises where it is not there, fails, or takes longer than 10 s."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=10.0, check=True)
    return done.stdout.strip()


def _system() -> str:
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', text("/etc/os-release"), re.M)
    return name[1] if name else ""


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)}


def _profile() -> str | None:
    for variable in profile_variables():
        if path := os.environ.get(variable):
            return text(path)
    return None


def _our_profile() -> str:
    return str(config_folder() / "fastdds.xml")


def _shm() -> tuple[int, int]:
    usage = shutil.disk_usage("/dev/shm")
    return usage.free, usage.total


def _cpu() -> str:
    name = re.search(r"^model name\s*:\s*(.+)", text("/proc/cpuinfo"), re.M)
    if name is None:  # on ARM
        name = re.search(r"^Model name:\s*(.+)", output("lscpu"), re.M)
    return name[1] if name else platform.machine()


def _governors() -> tuple[str, ...]:
    files = Path(CPUFREQ).glob("cpu*/cpufreq/scaling_governor")
    return tuple(sorted({text(str(file)) for file in files}))


def _clocks() -> tuple[int, int, int]:
    scaling = f"{CPUFREQ}/cpu0/cpufreq/scaling"
    low = int(text(f"{scaling}_min_freq"))
    high = int(text(f"{scaling}_max_freq"))
    return low, high, int(text(f"{scaling}_cur_freq"))


def _gpu() -> str:
    lines = output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    return lines[0]  # the first one, where there are several


def _power_modes() -> dict[str, int]:
    modes = {}
    for line in text("/etc/nvpmodel.conf").splitlines():
        mode = re.match(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\w+)", line)
        if mode:
            modes[mode[2]] = int(mode[1])
    return modes


def _sockets() -> dict[str, int]:
    core = "/proc/sys/net/core"
    return {"rmem_max": int(text(f"{core}/rmem_max")), "wmem_max": int(text(f"{core}/wmem_max"))}


def _cache_bytes() -> int:
    return sum(path.stat().st_size for path in default_folder().rglob("*") if path.is_file())


def _cache_writable() -> bool:
    folder = default_folder()
    while not folder.exists():  # it would be made, in the nearest folder that is there
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


READERS: dict[str, Callable[[], Any]] = {
    "python": platform.python_version,
    "system": _system,
    "environment": _environment,
    "profile": _profile,
    "profile_variables": profile_variables,
    "our_profile": _our_profile,
    "shm": _shm,
    "cpu": _cpu,
    "cores": lambda: len(os.sched_getaffinity(0)),
    "governors": _governors,
    "clocks": _clocks,
    "board": lambda: text("/proc/device-tree/model"),
    "gpu": _gpu,
    "l4t": lambda: text("/etc/nv_tegra_release").splitlines()[0].lstrip("# "),
    "power_modes": _power_modes,
    "sockets": _sockets,
    "cache": lambda: str(default_folder()),
    "cache_bytes": _cache_bytes,
    "cache_writable": _cache_writable,
}


# -- in a process of its own -----------------------------------------------------------
def ask(names: tuple[str, ...]) -> dict[str, tuple[bool, str]]:
    """name -> works, and its version or the reason; what is not installed is left out."""
    command = [sys.executable, "-m", "vla_ros.bench.system_facts", *names]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=ANSWER_TIMEOUT_S
        )
        printed = done.stdout
        why_ended = f"exit code {done.returncode}"
        if errors := done.stderr.strip():
            # without rcl's own time stamp and source line
            why_ended = re.sub(r"^(\[[^]]*\]:? )+|, at /.*$", "", errors.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        half = error.stdout or b""  # bytes even where text was asked for
        printed = half if isinstance(half, str) else half.decode(errors="replace")
        why_ended = f"no answer within {ANSWER_TIMEOUT_S:g} s"
    except OSError:
        return {}
    answers: dict[str, tuple[bool, str]] = {}
    for line in printed.splitlines():
        if not line.startswith("@"):  # what a library prints
            continue
        name, works, answer = json.loads(line[1:])
        if works:
            answers[name] = (True, answer)
        elif works is None and not answer:  # not installed: takes back that it may have ended here
            answers.pop(name, None)
        else:
            answers[name] = (False, answer or why_ended)
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
    major, minor = torch.cuda.get_device_capability()
    ones = torch.ones(1, device="cuda")
    assert bool((ones + ones == 2).all())  # a torch for other chips sees the GPU, and fails here
    name = torch.cuda.get_device_name()
    return f"{torch.version.cuda}, {name}, compute capability {major}.{minor}"


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
    """Tries one of TOGETHER and prints what came of it, as `ask` reads it."""

    def answer(works: bool | None, text: str) -> None:
        print("@" + json.dumps([name, works, text]), flush=True)

    answer(False, "")  # stands if the next lines end the process
    try:
        if name in PROBES:
            answer(True, PROBES[name]())
        else:
            answer(True, _version(name))
    except ModuleNotFoundError as error:
        # it is not installed, or what it belongs to is not; None: raised here
        if error.name in (None, name, "rclpy", "torch", "jtop"):
            answer(None, "")
        else:
            answer(False, f"it needs {error.name}")
    except Exception as error:
        answer(False, f"{type(error).__name__}: {error}".splitlines()[0][:200])


if __name__ == "__main__":
    for part in sys.argv[1:]:
        probe(part)
