"""control_msgs as far as a robot file's outputs need it, built for the tests: PyPI has none."""
from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Kept, and one for all copies of the code: what has not changed is not built again (20 s).
BUILT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vla_ros_test_control_msgs"
FILES = {
    "msg/JointJog.msg": "std_msgs/Header header\nstring[] joint_names\nfloat64[] displacements\nfloat64[] velocities\nfloat64 duration\n",
    "msg/GripperCommand.msg": "float64 position\nfloat64 max_effort\n",
    "action/GripperCommand.action": """GripperCommand command
---
float64 position
float64 effort
bool stalled
bool reached_goal
---
float64 position
float64 effort
bool stalled
bool reached_goal
""",
    "action/ParallelGripperCommand.action": """sensor_msgs/JointState command
---
sensor_msgs/JointState state
bool stalled
bool reached_goal
---
sensor_msgs/JointState state
""",
    # without tolerances and feedback's fields, which the gate does not use
    "action/FollowJointTrajectory.action": """trajectory_msgs/JointTrajectory trajectory
---
int32 error_code
string error_string
---
string[] joint_names
""",
    "package.xml": """<package format="3">
  <name>control_msgs</name>
  <version>0.0.0</version>
  <description>For tests only.</description>
  <maintainer email="nobody@example.com">nobody</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <depend>action_msgs</depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
</package>
""",
    "CMakeLists.txt": """cmake_minimum_required(VERSION 3.16)
project(control_msgs)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
foreach(package action_msgs builtin_interfaces sensor_msgs std_msgs trajectory_msgs)
  find_package(${package} REQUIRED)
endforeach()
rosidl_generate_interfaces(control_msgs
  msg/JointJog.msg msg/GripperCommand.msg
  action/GripperCommand.action action/ParallelGripperCommand.action action/FollowJointTrajectory.action
  DEPENDENCIES action_msgs builtin_interfaces sensor_msgs std_msgs trajectory_msgs)
ament_package()
""",
}


def build() -> Path:
    """The folder to import control_msgs from."""
    text = "".join(FILES.values()) + sys.version + os.environ.get("AMENT_PREFIX_PATH", "")
    folder = BUILT / hashlib.sha256(text.encode()).hexdigest()[:16]
    python = folder / "install" / "python"
    if (folder / "done").exists():
        return python
    for name, content in FILES.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    made = str(folder / "build")
    library = folder / "install" / "lib"
    for command in (
            ["cmake", "-S", str(folder / "source"), "-B", made, f"-DCMAKE_INSTALL_PREFIX={folder / 'install'}",
             f"-DCMAKE_INSTALL_RPATH={library}", "-DCMAKE_C_FLAGS=-O0", "-DCMAKE_CXX_FLAGS=-O0", "-DBUILD_TESTING=OFF",
             f"-DPython3_EXECUTABLE={sys.executable}", f"-DPYTHON_EXECUTABLE={sys.executable}", "-DPYTHON_INSTALL_DIR=python"],
            ["cmake", "--build", made, "--parallel", str(os.cpu_count() or 1)], ["cmake", "--install", made]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            pytest.skip(f"control_msgs could not be built: {done.stdout[-500:]}")
    (folder / "done").touch()
    return python


def import_control_msgs() -> None:
    """So that `control_msgs` is importable, its own where ROS has it."""
    try:
        importlib.import_module("control_msgs")
    except ImportError:
        BUILT.mkdir(parents=True, exist_ok=True)
        with open(BUILT / "lock", "w") as lock:  # several test processes at a time
            fcntl.flock(lock, fcntl.LOCK_EX)
            python = build()
        sys.path.append(str(python))
        for library in sorted((python.parent / "lib").glob("*.so")):  # looked for by name: LD_LIBRARY_PATH has it not
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        importlib.import_module("control_msgs")
