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
IMAGES_BYTES = 4 << 20  # four camera images of 640 x 480, as a segment or a socket must hold
SHM_BYTES = 8 * (34 << 20)  # of /dev/shm: six nodes, a camera and a simulator with our profile
LAST_DOMAIN = 232  # of a domain above it, DDS' ports would lie beyond 65535
JETPACK_CUDA = {"R36": 12, "R38": 13, "R39": 13}  # Jetson Linux -> CUDA (doc/jetson.md)


@dataclass(frozen=True)
class Advice:
    """What one check says: a line on the screen, and one more where something is to change."""

    what: str
    state: str  # OK, CHANGE or MISSING
    found: str
    change: str = ""  # one sentence: what to change, and the command, which ends it
    stops: bool = False  # the suite cannot run like this


Check = Callable[[Facts], "Advice | None"]  # None: it is of no concern here


def nvidia(facts: Facts) -> bool:
    return bool(facts.gpu or facts.l4t or "NVIDIA" in facts.board)


def jetson(facts: Facts) -> bool:
    return bool(facts.l4t) or "Jetson" in facts.board


def _part(
    facts: Facts, name: str, wanted: bool, change: str, what: str = "", stops: bool = False
) -> Advice:
    """Something that is there, is broken, or is not.

    Args:
        name: Among the facts' parts.
        wanted: Does it matter here that it is not there?
        change: What to do where it is broken, or wanted and not there.
        what: How it is called on the screen; empty: by its name.
        stops: The suite cannot run without it.
    """
    what = what or name
    if name in facts.broken:
        return Advice(what, CHANGE, f"does not work: {facts.broken[name]}", change, stops)
    if name in facts.parts:
        return Advice(what, OK, facts.parts[name] or "here")
    if wanted:
        return Advice(what, MISSING, "none", change, stops)
    return Advice(what, OK, "none")


# -- ROS -------------------------------------------------------------------------------
def python(facts: Facts) -> Advice:
    old = tuple(map(int, re.findall(r"\d+", facts.python)[:2])) < (3, 10)
    found = f"{facts.python or 'unknown'} on {facts.system or 'an unknown system'}"
    if old and facts.python:
        change = "Run it with Python 3.10 or newer: python3.10 -m venv .venv"
        return Advice("Python", CHANGE, found, change, True)
    return Advice("Python", OK, found)


def ros(facts: Facts) -> Advice:
    distribution = facts.environment.get("ROS_DISTRO", "")
    setup = f"/opt/ros/{distribution or 'jazzy'}/setup.bash"
    change = f"Source ROS 2, or let make demo set it up here: source {setup}"
    finding = _part(facts, "rclpy", True, change, "ROS 2", True)
    if finding.state == OK:
        return Advice("ROS 2", OK, f"{distribution or 'from wheels'}, rclpy {finding.found}")
    return finding


def messages(facts: Facts) -> Advice:
    change = "Build the messages and source them: colcon build && source install/setup.bash"
    return _part(facts, "vla_ros_msgs", True, change, stops=True)


def libraries(facts: Facts) -> Advice:
    lacking = []
    versions = []
    for name in LIBRARIES:
        if name in facts.parts:
            versions.append(f"{name} {facts.parts[name]}".strip())  # some say no version
        else:
            lacking.append(f"{name} ({facts.broken.get(name, 'none')})")
    if lacking:
        change = (
            "The nodes need them, from the workspace: "
            "rosdep install --from-paths src --ignore-src -y"
        )
        return Advice("libraries", MISSING, ", ".join(lacking), change, True)
    return Advice("libraries", OK, ", ".join(versions))


def rmw(facts: Facts) -> Advice | None:
    if "rclpy" not in facts.parts:
        return None  # that comes first
    asked = facts.environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    distribution = facts.environment.get("ROS_DISTRO", "jazzy")
    change = (
        f"Install the middleware that is asked for, or unset RMW_IMPLEMENTATION: sudo apt install "
        f"ros-{distribution}-{asked.replace('_', '-')}"
    )
    # It is there, and was built for another Python than this one.
    if "ImportError" in facts.broken.get("rmw", ""):
        change = (
            "Use the Python that ROS 2 was built for, 3.10 with Humble and 3.12 with Jazzy: "
            "/usr/bin/python3"
        )
    return _part(facts, "rmw", True, change, "RMW", True)


def domain(facts: Facts) -> Advice:
    number = facts.environment.get("ROS_DOMAIN_ID", "0")
    reach = facts.environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    if facts.environment.get("ROS_LOCALHOST_ONLY") == "1":  # the older name, as in Humble
        reach = "LOCALHOST"
    found = f"ROS_DOMAIN_ID {number}, discovery {reach}"
    if not number.isdecimal() or int(number) > LAST_DOMAIN:
        # above 101 the ports are among those that Linux hands out to any program
        change = "Give a number from 0 to 101: export ROS_DOMAIN_ID=42"
        return Advice("domain", CHANGE, found, change, True)
    if reach == "OFF":
        change = (
            "Let nodes of this machine find each other: "
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
        )
        return Advice("domain", CHANGE, found, change, True)
    if reach == "SUBNET" and number == "0":
        change = (
            "Every ROS 2 machine on this network may speak to the robot, "
            "choose a domain for the robot and its operators: export ROS_DOMAIN_ID=42"
        )
        return Advice("domain", CHANGE, found, change)
    return Advice("domain", OK, found)


def profile(facts: Facts) -> Advice:
    """Does Fast DDS have a segment of shared memory that holds images?"""
    what = "shared memory"
    middleware = facts.parts.get("rmw", facts.environment.get("RMW_IMPLEMENTATION", ""))
    if middleware and "fastrtps" not in middleware:
        change = (
            "The figures of this suite are from Fast DDS and its shared memory: "
            "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp"
        )
        return Advice(what, CHANGE, f"{middleware}: images go through sockets", change)

    # Which variable names the profile has changed with Fast DDS: another one it does not read.
    wanted = facts.profile_variables
    ours = " ".join([f"{name}={facts.our_profile}" for name in wanted])
    set_variables = [name for name in PROFILES if facts.environment.get(name)]
    read_variables = [name for name in wanted if name in set_variables]
    if not read_variables and set_variables:
        other = set_variables[0]
        found = f"{other} is set; the installed Fast DDS wants {wanted[0]}"
        export = f"export {wanted[0]}={facts.environment[other]}"
        return Advice(what, CHANGE, found, f"Give it the name that it is asked for by: {export}")
    if not read_variables:
        found = (
            "Fast DDS' default segment of 512 kB; the launch files and vla demo set ours for "
            "their own nodes"
        )
        change = f"Set it where the camera's driver starts as well: export {ours}"
        return Advice(what, CHANGE, found, change)

    named = facts.environment[read_variables[0]]
    if facts.profile is None:
        change = f"Name one that is there: export {ours}"
        return Advice(what, CHANGE, f"no file can be read at {named}", change)
    sizes = map(int, re.findall(r"<segment_size>\s*(\d+)", facts.profile))
    segment = max(sizes, default=0)
    found = f"a segment of {_size(segment)} ({named})" if segment else f"no segment_size in {named}"
    if segment < IMAGES_BYTES:
        return Advice(what, CHANGE, found, f"Camera images need 4 MB or more: export {ours}")
    return Advice(what, OK, found)


def shm(facts: Facts) -> Advice:
    if facts.shm is None:
        change = "Mount it: sudo mount -t tmpfs tmpfs /dev/shm"
        return Advice("/dev/shm", MISSING, "cannot be read", change)
    free, total = facts.shm
    found = f"{_size(free)} free of {_size(total)}"
    if total < SHM_BYTES:
        change = (
            "Eight processes take 272 MB, so make it larger (in a container, "
            "docker run --shm-size=1g): sudo mount -o remount,size=1G /dev/shm"
        )
        return Advice("/dev/shm", CHANGE, found, change)
    if free < SHM_BYTES:
        change = "Free what dead processes left behind: fastdds shm clean"
        return Advice("/dev/shm", CHANGE, found, change)
    return Advice("/dev/shm", OK, found)


# -- the machine -----------------------------------------------------------------------
def cpu(facts: Facts) -> Advice:
    governors = " ".join(facts.governors) or "none"
    found = f"{facts.cpu or 'unknown'}, {facts.cores or '?'} cores, governor {governors}"
    held = False
    if facts.clocks:
        least, most, now = facts.clocks  # kHz
        found += f", {now / 1e6:.2f} GHz of {most / 1e6:.2f}"
        # jetson_clocks holds them so, whatever the governor is.
        held = least == most
    # Most virtual machines have no governor.
    if not facts.governors or facts.governors == ("performance",) or held:
        return Advice("CPU", OK, found)
    command = "sudo cpupower frequency-set -g performance"
    if jetson(facts):
        command = "sudo jetson_clocks"
    change = f"Clocks that rise only under load make commands late: {command}"
    return Advice("CPU", CHANGE, found, change)


def chip(facts: Facts) -> Advice:
    names = ", ".join(filter(None, (facts.board, facts.gpu)))
    return Advice("chip", OK, names or "no GPU that is known")


def l4t(facts: Facts) -> Advice | None:
    if not jetson(facts):
        return None
    if not facts.l4t:
        change = (
            "In a container, show it the host's: "
            "docker run -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
        )
        return Advice("Jetson Linux", MISSING, "no /etc/nv_tegra_release", change)
    # "R36 (release), REVISION: 4.3, GCID: …" -> "R36.4.3"
    release = facts.l4t.replace(" (release), REVISION: ", ".")
    return Advice("Jetson Linux", OK, release.split(",")[0])


def power(facts: Facts) -> Advice | None:
    if not jetson(facts):
        return None
    name = facts.parts.get("power mode", "")
    modes = facts.power_modes
    if not name:
        change = (
            "Ask as root with sudo nvpmodel -q, or let jtop tell: sudo pip3 install -U jetson-stats"
        )
        return Advice("power mode", MISSING, "cannot be read", change)
    # Where a board has both, MAXN_SUPER is the faster one.
    best = "MAXN_SUPER" if "MAXN_SUPER" in modes else "MAXN"
    if best in modes and name != best:
        change = (
            f"If supply and cooling allow it, {best} is faster: "
            f"sudo nvpmodel -m {modes[best]} && sudo jetson_clocks"
        )
        return Advice("power mode", CHANGE, name, change)
    return Advice("power mode", OK, name)


def real_time(facts: Facts) -> Advice:
    change = (
        "The gate's parameter realtime_priority needs the right to it: "
        'echo "$USER - rtprio 20" | sudo tee /etc/security/limits.d/vla.conf'
    )
    return _part(facts, "SCHED_FIFO", True, change)


def sockets(facts: Facts) -> Advice:
    sizes = []
    settings = []  # those to be made larger, twice what is needed
    for name, size in facts.sockets.items():
        sizes.append(f"{name} {_size(size)}")
        if size < IMAGES_BYTES:
            settings.append(f"net.core.{name}={2 * IMAGES_BYTES}")
    found = ", ".join(sizes) or "cannot be read"
    if settings:
        change = f"Images from another machine need more: sudo sysctl -w {' '.join(settings)}"
        return Advice("sockets", CHANGE, found, change)
    return Advice("sockets", OK, found)


# -- engines ---------------------------------------------------------------------------
def torch(facts: Facts) -> Advice:
    remedy = "pip install torch safetensors"
    if jetson(facts):
        remedy = f"{PAGE} has the one for this JetPack"
    return _part(facts, "torch", True, f"Policies that learned need it: {remedy}")


def cuda(facts: Facts) -> Advice:
    change = (
        "Install the driver and a torch with CUDA: nvidia-smi shows the one, pip install torch "
        "gets the other"
    )
    if jetson(facts):
        change = f"Install the torch that is built for this JetPack: {PAGE}"
    finding = _part(facts, "cuda", nvidia(facts), change, "CUDA")
    wanted = JETPACK_CUDA.get(facts.l4t[:3], 0)
    if finding.state == OK and wanted and not finding.found.startswith(f"{wanted}"):
        return Advice("CUDA", CHANGE, f"{finding.found}, on a JetPack with CUDA {wanted}", change)
    return finding


def torch_tensorrt(facts: Facts) -> Advice:
    # Both are released together: 2.8 of the one is built for 2.8 of the other.
    ours = facts.parts.get("torch", "")
    its = facts.parts.get("torch_tensorrt", "")
    series = ours.split(".")[:2]
    wanted = f"~={'.'.join(series)}.0" if ours else ""
    change = f"Install the release of torch's own series: pip install torch_tensorrt{wanted}"
    if jetson(facts):
        change = f"Install the one for this JetPack: {PAGE}"
    if its and ours and its.split(".")[:2] != series:
        return Advice("torch_tensorrt", CHANGE, f"{its} beside torch {ours}", change)
    return _part(facts, "torch_tensorrt", nvidia(facts), change)


def tensorrt(facts: Facts) -> Advice:
    change = "It comes with torch_tensorrt: pip install torch_tensorrt"
    if jetson(facts):
        change = (
            "Install JetPack's, and let the environment see the system's packages: sudo apt "
            "install nvidia-jetpack && python3 -m venv --system-site-packages .venv"
        )
    return _part(facts, "tensorrt", nvidia(facts), change, "TensorRT")


def tensorrt_rtx(facts: Facts) -> Advice:
    """Of use to RTX 30, 40 and 50 alone; it also builds, on any computer, what they load."""
    change = f"On an RTX GPU its engine comes first: pip install {RTX_WHEELS}"
    return _part(facts, "tensorrt_rtx", "RTX" in facts.gpu, change, "TensorRT RTX")


def onnxruntime(facts: Facts) -> Advice:
    change = "Without a GPU its engine is the fastest: pip install onnxruntime onnx onnxscript"
    return _part(facts, "onnxruntime", not nvidia(facts), change)


def cache(facts: Facts) -> Advice:
    found = f"{facts.cache or 'unknown'}, {_size(facts.cache_bytes)}"
    if facts.cache_writable is False:
        change = (
            "Every start would build its engines again: "
            f"set the parameter engine_cache, or sudo chown -R $USER {facts.cache}"
        )
        return Advice("engine cache", CHANGE, f"{found}, not writable", change)
    return Advice("engine cache", OK, found)


def _size(count: int) -> str:
    """Bytes, for people."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} bytes"


# In the order of the screen: ROS, the machine, engines.
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


def examine(facts: Facts) -> list[Advice]:
    """What every check of concern says, in the order of CHECKS."""
    findings = []
    for check in CHECKS:
        finding = check(facts)
        if finding is not None:
            findings.append(finding)
    return findings


# -- the verb --------------------------------------------------------------------------
def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="facts and findings as one JSON object")


def lines(findings: list[Advice]) -> Iterator[str]:
    """The screen: a line a finding, below it what to change, and a sum."""
    for finding in findings:
        yield f"{finding.state:<15} {finding.what:<15} {finding.found}"
        if finding.change:
            yield f"{'':<15} -> {finding.change}"
    states = [finding.state for finding in findings]
    counts = ", ".join([f"{states.count(state)} {state}" for state in (OK, CHANGE, MISSING)])
    stops = ", ".join([finding.what for finding in findings if finding.stops])
    if stops:
        yield f"{counts}; the suite cannot run before this is mended: {stops}"
    else:
        yield f"{counts}; the suite can run"


def run(options: argparse.Namespace) -> int:
    """The exit code: 0 unless something keeps the suite from running."""
    facts = gather()
    findings = examine(facts)
    able = not any(finding.stops for finding in findings)
    if options.json:
        result = {
            "able": able,
            "findings": list(map(asdict, findings)),
            "facts": asdict(facts),
        }
        print(json.dumps(result, indent=2))
    else:
        print("\n".join(lines(findings)))
    return 0 if able else 1
