"""`vla doctor`: what this machine has for the suite, and what to change."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from vla_ros.bench.system_facts import LIBRARIES, Facts, gather
from vla_ros.core.fastdds import PROFILES
from vla_ros.engines import RTX_WHEELS

OK = "ok"
CHANGE = "worth changing"
MISSING = "missing"
PAGE = "doc/jetson.md"
IMAGES = 4 << 20  # bytes: four camera images of 640 x 480, as a segment or a socket must hold
SEGMENTS = 8 * (34 << 20)  # bytes of /dev/shm: six nodes, a camera and a simulator with our profile
JETPACK_CUDA = {"R36": 12, "R38": 13, "R39": 13}  # Jetson Linux -> CUDA (doc/jetson.md)


@dataclass(frozen=True)
class Finding:
    what: str
    state: str  # OK, CHANGE or MISSING
    found: str
    change: str = ""  # one sentence: what to change, and the command, which ends it
    stops: bool = False  # the suite cannot run like this


Check = Callable[[Facts], "Finding | None"]  # None: it is of no concern here


def nvidia(facts: Facts) -> bool:
    return bool(facts.gpu or facts.l4t or "NVIDIA" in facts.board)


def jetson(facts: Facts) -> bool:
    return bool(facts.l4t) or "Jetson" in facts.board


def _part(
    facts: Facts, name: str, wanted: bool, change: str, what: str = "", stops: bool = False
) -> Finding:
    """Something that is there, is broken, or is not; only where it is `wanted` does the last one
    matter."""
    what = what or name
    if name in facts.broken:
        return Finding(what, CHANGE, f"does not work: {facts.broken[name]}", change, stops)
    if name in facts.parts:
        return Finding(what, OK, facts.parts[name] or "here")
    return Finding(
        what, MISSING if wanted else OK, "none", change if wanted else "", stops and wanted
    )


# -- ROS -------------------------------------------------------------------------------
def python(facts: Facts) -> Finding:
    old = tuple(int(part) for part in re.findall(r"\d+", facts.python)[:2]) < (3, 10)
    found = f"{facts.python or 'unknown'} on {facts.system or 'an unknown system'}"
    if old and facts.python:
        return Finding(
            "Python",
            CHANGE,
            found,
            "Run it with Python 3.10 or newer: python3.10 -m venv .venv",
            True,
        )
    return Finding("Python", OK, found)


def ros(facts: Facts) -> Finding:
    distribution = facts.environment.get("ROS_DISTRO", "")
    finding = _part(
        facts,
        "rclpy",
        True,
        "Source ROS 2, or let make demo set it up here: "
        f"source /opt/ros/{distribution or 'jazzy'}/setup.bash",
        "ROS 2",
        True,
    )
    if finding.state == OK:
        return Finding("ROS 2", OK, f"{distribution or 'from wheels'}, rclpy {finding.found}")
    return finding


def messages(facts: Facts) -> Finding:
    return _part(
        facts,
        "vla_ros_msgs",
        True,
        "Build the messages and source them: colcon build && source install/setup.bash",
        stops=True,
    )


def libraries(facts: Facts) -> Finding:
    bad = [name for name in LIBRARIES if name not in facts.parts]
    if bad:
        why = ", ".join(f"{name} ({facts.broken.get(name, 'none')})" for name in bad)
        return Finding(
            "libraries",
            MISSING,
            why,
            "The nodes need them, from the workspace: "
            "rosdep install --from-paths src --ignore-src -y",
            True,
        )
    return Finding(
        "libraries", OK, ", ".join(f"{name} {facts.parts[name]}".strip() for name in LIBRARIES)
    )


def rmw(facts: Facts) -> Finding | None:
    if "rclpy" not in facts.parts:
        return None  # that comes first
    asked = facts.environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    change = (
        f"Install the middleware that is asked for, or unset RMW_IMPLEMENTATION: sudo apt install "
        f"ros-{facts.environment.get('ROS_DISTRO', 'jazzy')}-{asked.replace('_', '-')}"
    )
    if "ImportError" in facts.broken.get("rmw", ""):
        change = (
            "Use the Python that ROS 2 was built for, 3.10 with Humble and 3.12 with Jazzy: "
            "/usr/bin/python3"
        )
    return _part(facts, "rmw", True, change, "RMW", True)


def domain(facts: Facts) -> Finding:
    number = facts.environment.get("ROS_DOMAIN_ID", "0")
    reach = facts.environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    if facts.environment.get("ROS_LOCALHOST_ONLY") == "1":
        reach = "LOCALHOST"
    found = f"ROS_DOMAIN_ID {number}, discovery {reach}"
    if not number.isdecimal() or int(number) > 232:
        return Finding(
            "domain", CHANGE, found, "Give a number from 0 to 101: export ROS_DOMAIN_ID=42", True
        )
    if reach == "OFF":
        return Finding(
            "domain",
            CHANGE,
            found,
            "Let nodes of this machine find each other: "
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST",
            True,
        )
    if reach == "SUBNET" and number == "0":
        return Finding(
            "domain",
            CHANGE,
            found,
            "Every ROS 2 machine on this network may speak to the robot, "
            "choose a domain for the robot and its operators: export ROS_DOMAIN_ID=42",
        )
    return Finding("domain", OK, found)


def profile(facts: Facts) -> Finding:
    what = "shared memory"
    middleware = facts.parts.get("rmw", facts.environment.get("RMW_IMPLEMENTATION", ""))
    if middleware and "fastrtps" not in middleware:
        return Finding(
            what,
            CHANGE,
            f"{middleware}: images go through sockets",
            "The figures of this suite are from "
            "Fast DDS and its shared memory: export RMW_IMPLEMENTATION=rmw_fastrtps_cpp",
        )
    wanted = facts.profile_variables
    ours = " ".join(f"{name}={facts.our_profile}" for name in wanted)
    named = next((facts.environment[name] for name in wanted if facts.environment.get(name)), "")
    other = next(
        (name for name in PROFILES if name not in wanted and facts.environment.get(name)), ""
    )
    if not named and other:
        return Finding(
            what,
            CHANGE,
            f"{other} is set; the installed Fast DDS wants {wanted[0]}",
            "Give it the name that it is asked for by: export "
            f"{wanted[0]}={facts.environment[other]}",
        )
    if not named:
        return Finding(
            what,
            CHANGE,
            "Fast DDS' default segment of 512 kB; the launch files and vla demo set ours for "
            "their own nodes",
            f"Set it where the camera's driver starts as well: export {ours}",
        )
    if facts.profile is None:
        return Finding(
            what,
            CHANGE,
            f"no file can be read at {named}",
            f"Name one that is there: export {ours}",
        )
    segment = max(
        (int(size) for size in re.findall(r"<segment_size>\s*(\d+)", facts.profile)), default=0
    )
    found = f"a segment of {_size(segment)} ({named})" if segment else f"no segment_size in {named}"
    if segment < IMAGES:
        return Finding(what, CHANGE, found, f"Camera images need 4 MB or more: export {ours}")
    return Finding(what, OK, found)


def shm(facts: Facts) -> Finding:
    if facts.shm is None:
        return Finding(
            "/dev/shm", MISSING, "cannot be read", "Mount it: sudo mount -t tmpfs tmpfs /dev/shm"
        )
    free, total = facts.shm
    found = f"{_size(free)} free of {_size(total)}"
    if total < SEGMENTS:
        return Finding(
            "/dev/shm",
            CHANGE,
            found,
            "Eight processes take 272 MB, so make it larger (in a container, "
            "docker run --shm-size=1g): sudo mount -o remount,size=1G /dev/shm",
        )
    if free < SEGMENTS:
        return Finding(
            "/dev/shm", CHANGE, found, "Free what dead processes left behind: fastdds shm clean"
        )
    return Finding("/dev/shm", OK, found)


# -- the machine -----------------------------------------------------------------------
def cpu(facts: Facts) -> Finding:
    found = (
        f"{facts.cpu or 'unknown'}, {facts.cores or '?'} cores, governor "
        f"{' '.join(facts.governors) or 'none'}"
    )
    if facts.clocks:
        found += f", {facts.clocks[2] / 1e6:.2f} GHz of {facts.clocks[1] / 1e6:.2f}"
    held = facts.clocks is not None and facts.clocks[0] == facts.clocks[1]
    if not facts.governors or facts.governors == ("performance",) or held:
        return Finding("CPU", OK, found)
    command = (
        "sudo jetson_clocks" if jetson(facts) else "sudo cpupower frequency-set -g performance"
    )
    return Finding(
        "CPU", CHANGE, found, f"Clocks that rise only under load make commands late: {command}"
    )


def chip(facts: Facts) -> Finding:
    return Finding(
        "chip", OK, ", ".join(filter(None, (facts.board, facts.gpu))) or "no GPU that is known"
    )


def l4t(facts: Facts) -> Finding | None:
    if not jetson(facts):
        return None
    if not facts.l4t:
        return Finding(
            "Jetson Linux",
            MISSING,
            "no /etc/nv_tegra_release",
            "In a container, show it the host's: "
            "docker run -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro",
        )
    return Finding(
        "Jetson Linux", OK, re.sub(r" \(release\), REVISION: ", ".", facts.l4t).split(",")[0]
    )


def power(facts: Facts) -> Finding | None:
    if not jetson(facts):
        return None
    name = facts.parts.get("power mode", "")
    modes = facts.power_modes
    if not name:
        return Finding(
            "power mode",
            MISSING,
            "cannot be read",
            "Ask as root with sudo nvpmodel -q, or let jtop tell: "
            "sudo pip3 install -U jetson-stats",
        )
    best = next((mode for mode in ("MAXN_SUPER", "MAXN") if mode in modes), "")
    if best and name != best:
        return Finding(
            "power mode",
            CHANGE,
            name,
            f"If supply and cooling allow it, {best} is faster: "
            f"sudo nvpmodel -m {modes[best]} && sudo jetson_clocks",
        )
    return Finding("power mode", OK, name)


def real_time(facts: Facts) -> Finding:
    return _part(
        facts,
        "SCHED_FIFO",
        True,
        "The gate's parameter realtime_priority needs the right to it: "
        'echo "$USER - rtprio 20" | sudo tee /etc/security/limits.d/vla.conf',
    )


def sockets(facts: Facts) -> Finding:
    small = {name: size for name, size in facts.sockets.items() if size < IMAGES}
    found = (
        ", ".join(f"{name} {_size(size)}" for name, size in facts.sockets.items())
        or "cannot be read"
    )
    if small:
        return Finding(
            "sockets",
            CHANGE,
            found,
            "Images from another machine need more: sudo sysctl -w "
            + " ".join(f"net.core.{name}=8388608" for name in small),
        )
    return Finding("sockets", OK, found)


# -- engines ---------------------------------------------------------------------------
def torch(facts: Facts) -> Finding:
    how = (
        f"{PAGE} has the one for this JetPack" if jetson(facts) else "pip install torch safetensors"
    )
    return _part(facts, "torch", True, f"Policies that learned need it: {how}")


def cuda(facts: Facts) -> Finding:
    change = (
        f"Install the torch that is built for this JetPack: {PAGE}"
        if jetson(facts)
        else "Install the driver and a torch with CUDA: nvidia-smi shows the one, pip install "
        "torch gets the other"
    )
    finding = _part(facts, "cuda", nvidia(facts), change, "CUDA")
    wanted = JETPACK_CUDA.get(facts.l4t[:3], 0)
    if finding.state == OK and wanted and not finding.found.startswith(f"{wanted}"):
        return Finding("CUDA", CHANGE, f"{finding.found}, on a JetPack with CUDA {wanted}", change)
    return finding


def torch_tensorrt(facts: Facts) -> Finding:
    ours, its = (facts.parts.get(name, "") for name in ("torch", "torch_tensorrt"))
    series = f"~={'.'.join(ours.split('.')[:2])}.0" if ours else ""
    change = (
        f"Install the one for this JetPack: {PAGE}"
        if jetson(facts)
        else f"Install the release of torch's own series: pip install torch_tensorrt{series}"
    )
    if its and ours and its.split(".")[:2] != ours.split(".")[:2]:
        return Finding("torch_tensorrt", CHANGE, f"{its} beside torch {ours}", change)
    return _part(facts, "torch_tensorrt", nvidia(facts), change)


def tensorrt(facts: Facts) -> Finding:
    how = (
        "Install JetPack's, and let the environment see the system's packages: sudo apt install "
        "nvidia-jetpack && "
        "python3 -m venv --system-site-packages .venv"
        if jetson(facts)
        else "It comes with torch_tensorrt: pip install torch_tensorrt"
    )
    return _part(facts, "tensorrt", nvidia(facts), how, "TensorRT")


def tensorrt_rtx(facts: Facts) -> Finding:
    """Of use to RTX 30, 40 and 50 alone; it also builds, on any computer, what they load."""
    return _part(
        facts,
        "tensorrt_rtx",
        "RTX" in facts.gpu,
        f"On an RTX GPU its engine comes first: pip install {RTX_WHEELS}",
        "TensorRT RTX",
    )


def onnxruntime(facts: Facts) -> Finding:
    return _part(
        facts,
        "onnxruntime",
        not nvidia(facts),
        "Without a GPU its engine is the fastest: pip install onnxruntime onnx onnxscript",
    )


def cache(facts: Facts) -> Finding:
    found = f"{facts.cache or 'unknown'}, {_size(facts.cache_bytes)}"
    if facts.cache_writable is False:
        return Finding(
            "engine cache",
            CHANGE,
            f"{found}, not writable",
            "Every start would build its engines again: "
            f"set the parameter engine_cache, or sudo chown -R $USER {facts.cache}",
        )
    return Finding("engine cache", OK, found)


def _size(count: int) -> str:
    return next(
        f"{count / unit:.4g} {name}"
        for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (0.5, "bytes"))
        if count >= unit or unit < 1
    )


CHECKS: tuple[Check, ...] = (
    python,
    ros,
    messages,
    libraries,
    rmw,
    domain,
    profile,
    shm,
    sockets,
    real_time,
    cpu,
    chip,
    l4t,
    power,
    torch,
    cuda,
    torch_tensorrt,
    tensorrt,
    tensorrt_rtx,
    onnxruntime,
    cache,
)


def examine(facts: Facts) -> list[Finding]:
    return [finding for check in CHECKS if (finding := check(facts)) is not None]


# -- the verb --------------------------------------------------------------------------
def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="facts and findings as one JSON object")


def lines(findings: list[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"{finding.state:<15} {finding.what:<15} {finding.found}"
        if finding.change:
            yield f"{'':<15} -> {finding.change}"
    states = [finding.state for finding in findings]
    stops = ", ".join(finding.what for finding in findings if finding.stops)
    yield (
        ", ".join(f"{states.count(state)} {state}" for state in (OK, CHANGE, MISSING))
        + "; "
        + (f"the suite cannot run before this is mended: {stops}" if stops else "the suite can run")
    )


def run(options: argparse.Namespace) -> int:
    """The exit code: 0 unless something keeps the suite from running."""
    facts = gather()
    findings = examine(facts)
    able = not any(finding.stops for finding in findings)
    if options.json:
        print(
            json.dumps(
                {
                    "able": able,
                    "findings": [asdict(finding) for finding in findings],
                    "facts": asdict(facts),
                },
                indent=2,
            )
        )
    else:
        print("\n".join(lines(findings)))
    return 0 if able else 1
