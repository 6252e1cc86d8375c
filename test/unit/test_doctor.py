"""`vla doctor`: findings from the facts of machines that are not here, and gathering that survives what it meets."""
from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from vla_ros.bench import system_facts
from vla_ros.bench.system_facts import Facts
from vla_ros.cli import doctor, main
from vla_ros.cli.doctor import CHANGE, MISSING, OK, Advice, examine
from vla_ros.core.config_files import config_folder
from vla_ros.core.fastdds import profile_variables

PROFILE, NEW_PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
LIBRARIES = {"numpy": "1.26.4", "yaml": "6.0", "cv2": "4.8.0"}
ORIN = Facts(
    "3.10.12", "Ubuntu 22.04.5 LTS",
    {"ROS_DISTRO": "humble", "ROS_DOMAIN_ID": "7", "ROS_LOCALHOST_ONLY": "1", PROFILE: "/ours.xml"},
    {"rclpy": "3.3.16", "rmw": "rmw_fastrtps_cpp", "vla_ros_msgs": "built", "SCHED_FIFO": "allowed", "power mode": "MAXN",
     "torch": "2.8.0", "cuda": "12.6, Orin, compute capability 8.7", "torch_tensorrt": "2.8.0", "tensorrt": "10.3.0",
     **LIBRARIES}, {},
    "<segment_size>33554432</segment_size>", "/ours.xml", (1 << 30, 4 << 30), "Cortex-A78AE", 12, ("schedutil",),
    (2_201_600, 2_201_600, 2_201_600), "NVIDIA Jetson AGX Orin Developer Kit", "Orin (nvgpu)",
    "R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic", {"MAXN": 0, "MODE_30W": 2},
    {"rmem_max": 8388608, "wmem_max": 8388608}, "/home/robot/.cache/vla_ros/engines", 123 << 20, True)
LAPTOP = replace(
    ORIN, python="3.12.3", system="Ubuntu 24.04", environment={"ROS_DISTRO": "jazzy", "ROS_DOMAIN_ID": "7", PROFILE: "/ours.xml"},
    parts={"rclpy": "7.1.5", "rmw": "rmw_fastrtps_cpp", "vla_ros_msgs": "built", "SCHED_FIFO": "allowed",
           "torch": "2.13.0+cpu", "onnxruntime": "1.23.0", **LIBRARIES},
    cpu="AMD Ryzen 7", cores=16, governors=("powersave",), clocks=(400_000, 4_800_000, 1_200_000), board="", gpu="", l4t="",
    power_modes={})
BARE = Facts("3.11.2", "Debian GNU/Linux 12")


def of(facts: Facts, what: str) -> Advice:
    found = [finding for finding in examine(facts) if finding.what == what]
    assert len(found) == 1, f"{what}: {found}"
    return found[0]


def with_parts(facts: Facts, **parts: str) -> Facts:
    """Other versions; "" takes one away."""
    return replace(facts, parts={name: text for name, text in {**facts.parts, **parts}.items() if text or name not in parts})


def broken(facts: Facts, name: str, why: str) -> Facts:
    return replace(with_parts(facts, **{name: ""}), broken={name: why})


def test_an_orin_that_is_set_up_has_only_what_it_needs_not() -> None:
    assert {finding.what for finding in examine(ORIN) if finding.state != OK} == set()
    assert of(ORIN, "Jetson Linux").found == "R36.4.3"
    assert "2.20 GHz of 2.20" in of(ORIN, "CPU").found  # schedutil, but jetson_clocks holds the clock
    assert of(ORIN, "engine cache").found.endswith("123 MiB")


def test_a_laptop_needs_neither_cuda_nor_tensorrt_and_is_no_jetson() -> None:
    findings = {finding.what: finding for finding in examine(LAPTOP)}
    assert {what for what, finding in findings.items() if finding.state != OK} == {"CPU"}
    assert findings["CPU"].change.endswith("sudo cpupower frequency-set -g performance")
    assert "power mode" not in findings and "Jetson Linux" not in findings


def test_a_bare_machine_is_told_what_comes_first() -> None:
    findings = examine(BARE)
    assert {finding.what for finding in findings if finding.stops} == {"ROS 2", "vla_ros_msgs", "libraries"}
    assert of(BARE, "ROS 2").change.endswith("source /opt/ros/jazzy/setup.bash")
    assert of(BARE, "onnxruntime").state == MISSING


@pytest.mark.parametrize("count, words", [
    (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1023 << 10, "1023 KiB"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB")])
def test_a_size_is_in_the_largest_unit_that_it_fills(count: int, words: str) -> None:
    assert doctor._size(count) == words


@pytest.mark.parametrize("facts", [ORIN, LAPTOP, BARE, Facts()])
def test_every_finding_that_is_not_ok_says_what_to_do_in_one_sentence(facts: Facts) -> None:
    for finding in examine(replace(facts, cache_writable=False, sockets={"rmem_max": 1}, shm=(0, 1))):
        assert (finding.state == OK) == (not finding.change), finding
        assert finding.state == OK or (finding.change[0].isupper() and ". " not in finding.change), finding


CASES: list[tuple[str, Facts, str, str, bool]] = [  # what, facts, state, part of the change, stops
    ("Python", replace(ORIN, python="3.8.10"), CHANGE, "3.10 or newer", True),
    ("vla_ros_msgs", with_parts(ORIN, vla_ros_msgs=""), MISSING, "colcon build", True),
    ("libraries", with_parts(ORIN, cv2=""), MISSING, "rosdep install", True),
    ("RMW", broken(replace(ORIN, environment={"ROS_DISTRO": "humble", "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}), "rmw",
                   "exit"), CHANGE, "apt install ros-humble-rmw-cyclonedds-cpp", True),
    ("RMW", broken(ORIN, "rmw", "ImportError: _rclpy_pybind11"), CHANGE, "/usr/bin/python3", True),
    ("domain", replace(ORIN, environment={"ROS_DOMAIN_ID": "233"}), CHANGE, "0 to 101", True),
    ("domain", replace(ORIN, environment={"ROS_DOMAIN_ID": "232"}), OK, "", False),
    ("domain", replace(ORIN, environment={"ROS_DOMAIN_ID": "seven"}), CHANGE, "0 to 101", True),
    ("domain", replace(ORIN, environment={}), CHANGE, "ROS_DOMAIN_ID=42", False),
    ("domain", replace(ORIN, environment={"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}), CHANGE, "=LOCALHOST", True),
    ("shared memory", replace(ORIN, environment={}), CHANGE, f"export {PROFILE}=/ours.xml", False),
    ("shared memory", replace(ORIN, environment={NEW_PROFILE: "/its.xml"}, profile_variables=(PROFILE,)), CHANGE,
     f"export {PROFILE}=/its.xml", False),
    ("shared memory", replace(ORIN, profile_variables=(NEW_PROFILE,)), CHANGE, f"export {NEW_PROFILE}=", False),
    ("shared memory", replace(ORIN, profile=None), CHANGE, "/ours.xml", False),
    ("shared memory", replace(ORIN, profile="<segment_size>4194303</segment_size>"), CHANGE, "4 MB", False),
    ("shared memory", replace(ORIN, profile="<segment_size>4194304</segment_size>"), OK, "", False),
    ("shared memory", with_parts(ORIN, rmw="rmw_cyclonedds_cpp"), CHANGE, "rmw_fastrtps_cpp", False),
    ("/dev/shm", replace(ORIN, shm=(64 << 20, 64 << 20)), CHANGE, "remount", False),
    ("/dev/shm", replace(ORIN, shm=(64 << 20, 1 << 30)), CHANGE, "fastdds shm clean", False),
    ("/dev/shm", replace(ORIN, shm=None), MISSING, "mount", False),
    ("sockets", replace(ORIN, sockets={"rmem_max": 212992, "wmem_max": 8388608}), CHANGE,
     "sysctl -w net.core.rmem_max=8388608", False),
    ("SCHED_FIFO", broken(ORIN, "SCHED_FIFO", "PermissionError"), CHANGE, "rtprio", False),
    ("CPU", replace(ORIN, clocks=(115_200, 2_201_600, 729_600)), CHANGE, "sudo jetson_clocks", False),
    ("Jetson Linux", replace(ORIN, l4t=""), MISSING, "docker run", False),
    ("power mode", with_parts(ORIN, **{"power mode": "MODE_30W"}), CHANGE, "nvpmodel -m 0 ", False),
    ("power mode", replace(ORIN, power_modes={"15W": 0, "25W": 1, "MAXN_SUPER": 2}), CHANGE, "nvpmodel -m 2 ", False),
    ("power mode", with_parts(ORIN, **{"power mode": ""}), MISSING, "nvpmodel -q", False),
    ("torch", with_parts(ORIN, torch=""), MISSING, "doc/jetson.md", False),
    ("torch", with_parts(LAPTOP, torch=""), MISSING, "pip install torch", False),
    ("torch", broken(ORIN, "torch", "ImportError: libcusparseLt.so.0"), CHANGE, "doc/jetson.md", False),
    ("CUDA", broken(ORIN, "cuda", "no kernel image is available"), CHANGE, "doc/jetson.md", False),
    ("CUDA", with_parts(ORIN, cuda="13.0, Orin, compute capability 8.7"), CHANGE, "doc/jetson.md", False),
    ("CUDA", replace(with_parts(ORIN, cuda="13.2, Orin, compute capability 8.7"), l4t="R39 (release), REVISION: 2.0"), OK, "",
     False),
    ("CUDA", replace(LAPTOP, gpu="NVIDIA GeForce RTX 4070"), MISSING, "pip install torch", False),
    ("torch_tensorrt", with_parts(ORIN, torch_tensorrt="2.9.0"), CHANGE, "doc/jetson.md", False),
    ("torch_tensorrt", replace(LAPTOP, gpu="NVIDIA GeForce RTX 4070"), MISSING, "torch_tensorrt~=2.13.0", False),
    ("TensorRT", with_parts(ORIN, tensorrt=""), MISSING, "--system-site-packages", False),
    ("TensorRT RTX", replace(LAPTOP, gpu="NVIDIA GeForce RTX 4070"), MISSING, "pip install tensorrt-rtx-cu13-libs", False),
    ("TensorRT RTX", replace(LAPTOP, gpu="NVIDIA H200"), OK, "", False),
    ("TensorRT RTX", broken(LAPTOP, "tensorrt_rtx", "OSError: libcuda.so.1"), CHANGE, "pip install tensorrt-rtx", False),
    ("onnxruntime", with_parts(LAPTOP, onnxruntime=""), MISSING, "pip install onnxruntime", False),
    ("engine cache", replace(ORIN, cache_writable=False), CHANGE, "chown", False),
]


@pytest.mark.parametrize("what, facts, state, change, stops", CASES, ids=[f"{case[0]}-{case[3]}" for case in CASES])
def test_what_is_wrong_is_found(what: str, facts: Facts, state: str, change: str, stops: bool) -> None:
    finding = of(facts, what)
    assert (finding.state, finding.stops) == (state, stops) and change in finding.change


@pytest.mark.parametrize("facts, code", [(ORIN, 0), (LAPTOP, 0), (BARE, 1)])
def test_the_verb_s_exit_code_and_json(facts: Facts, code: int, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "gather", lambda: facts)
    assert main.main(["doctor", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["able"] is (code == 0) and told["facts"]["python"] == facts.python
    assert len(told["findings"]) == len(examine(facts))
    assert doctor.run(Namespace(json=False)) == code
    assert ("the suite can run" in capsys.readouterr().out) is (code == 0)


def fail() -> None:
    raise RuntimeError("a machine like no other")


def test_gathering_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_facts, "READERS", dict.fromkeys(system_facts.READERS, fail))
    monkeypatch.setattr(system_facts, "TOGETHER", (("no_module_of_this_name",),))
    assert system_facts.gather() == Facts()
    monkeypatch.setattr(system_facts.sys, "executable", "/no/such/python")
    assert system_facts.gather() == Facts()


def test_gathering_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system_facts, "TOGETHER", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "vla_ros" / "engines" / "one").mkdir(parents=True)
    (tmp_path / "vla_ros" / "engines" / "one" / "engine").write_bytes(b"12345")
    monkeypatch.setenv(profile_variables()[0], str(config_folder() / "fastdds.xml"))
    facts = system_facts.gather()
    assert facts.cache_bytes == 5 and facts.cache_writable and facts.cores >= 1 and facts.python
    assert of(with_parts(facts, rmw="rmw_fastrtps_cpp"), "shared memory").state == OK


def test_asking_survives_what_an_import_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, code in {"good": "__version__ = '1.2'", "noisy": "print('hello')", "raises": "raise OSError('no libx.so')",
                       "needs": "import not_there_at_all",
                       "ends": "import os, sys\nprint('it is over', file=sys.stderr, flush=True)\nos._exit(9)"}.items():
        (tmp_path / f"doctor_{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{Path(doctor.__file__).parents[2]}:{tmp_path}")
    names = ("good", "noisy", "raises", "needs", "absent", "ends", "after")
    answers = system_facts.ask(tuple(f"doctor_{name}" for name in names))
    assert {name.removeprefix("doctor_"): answer for name, answer in answers.items()} == {
        "good": (True, "1.2"), "noisy": (True, ""), "raises": (False, "OSError: no libx.so"),
        "needs": (False, "it needs not_there_at_all"), "ends": (False, "it is over")}


def test_an_import_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "doctor_hangs.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", f"{Path(doctor.__file__).parents[2]}:{tmp_path}")
    monkeypatch.setattr(system_facts, "ANSWER_TIMEOUT_S", 1.5)
    assert system_facts.ask(("doctor_hangs",)) in ({"doctor_hangs": (False, "no answer within 1.5 s")}, {})  # {}: too slow to begin
