"""A workspace with this repository and packages that use its messages, built by colcon as doc/messages.md says."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ament_index = pytest.importorskip("ament_index_python", reason="a workspace is built on ROS 2")
pytest.importorskip("rclpy", reason="the Python package reads a message with rclpy")
pytest.importorskip("colcon_core", reason="a workspace is built by colcon")
pytest.importorskip("catkin_pkg", reason="rosdep and bloom look for packages with catkin_pkg")

pytestmark = pytest.mark.computes
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "doc" / "messages.md").read_text(encoding="utf-8")
LINES: dict[str, list[str]] = {}
for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S):
    LINES.setdefault(language, []).append(text)
DEPEND, FIND, HEADER, IMPORT = (LINES[language][0] for language in ("xml", "cmake", "cpp", "python"))
INTERFACE, LINK = LINES["cmake"][1], LINES[""][0]

MANIFEST = """<?xml version="1.0"?>
<package format="3">
  <name>{name}</name>
  <version>0.0.0</version>
  <description>A package that uses the messages.</description>
  <maintainer email="nobody@example.org">nobody</maintainer>
  <license>Apache-2.0</license>
  {depend}
  <export><build_type>{kind}</build_type></export>
</package>
"""

# What a publisher does with a message, without DDS: look for the type support at run time, and serialise.
DRIVER = HEADER + """
#include <cstdio>
#include <fastcdr/Cdr.h>
#include <fastcdr/config.h>
#include <rosidl_typesupport_cpp/message_type_support.hpp>
#include <rosidl_typesupport_fastrtps_cpp/identifier.hpp>
#include <rosidl_typesupport_fastrtps_cpp/message_type_support.h>

using eprosima::fastcdr::Cdr;
using vla_ros_msgs::msg::SafetyReport;

int main()
{
  SafetyReport report;
  report.state = SafetyReport::HOLDING;
  report.rule = "obstacle";
  report.emitted = {0.25f, -0.5f};
  auto any = rosidl_typesupport_cpp::get_message_type_support_handle<SafetyReport>();
  auto fast = get_message_typesupport_handle(any, rosidl_typesupport_fastrtps_cpp::typesupport_identifier);
  eprosima::fastcdr::FastBuffer buffer;
#if FASTCDR_VERSION_MAJOR == 1
  Cdr cdr(buffer, Cdr::DEFAULT_ENDIAN, Cdr::DDS_CDR);
#else
  Cdr cdr(buffer, Cdr::DEFAULT_ENDIAN, eprosima::fastcdr::CdrVersion::XCDRv1);
#endif
  cdr.serialize_encapsulation();
  static_cast<const message_type_support_callbacks_t *>(fast->data)->cdr_serialize(&report, cdr);
#if FASTCDR_VERSION_MAJOR == 1
  std::fwrite(buffer.getBuffer(), 1, cdr.getSerializedDataLength(), stdout);
#else
  std::fwrite(buffer.getBuffer(), 1, cdr.get_serialized_data_length(), stdout);
#endif
}
"""

# find_package and the rest of the page's lines stand where a target exists.
DRIVER_CMAKE = """cmake_minimum_required(VERSION 3.16)
project(robot_driver)
find_package(ament_cmake REQUIRED)
find_package(fastcdr REQUIRED CONFIG)
find_package(rosidl_typesupport_cpp REQUIRED)
find_package(rosidl_typesupport_fastrtps_cpp REQUIRED)
add_executable(driver driver.cpp)
target_link_libraries(driver PRIVATE fastcdr rosidl_typesupport_cpp::rosidl_typesupport_cpp
  rosidl_typesupport_fastrtps_cpp::rosidl_typesupport_fastrtps_cpp)
""" + FIND + """
install(TARGETS driver DESTINATION lib/${PROJECT_NAME})
ament_package()
"""

INTERFACES_CMAKE = """cmake_minimum_required(VERSION 3.16)
project(robot_interfaces)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
""" + FIND.splitlines()[0] + "\n" + INTERFACE + "ament_package()\n"

LOG = IMPORT + """
import sys
from pathlib import Path
from ament_index_python import get_package_share_directory, get_resource
from rclpy.serialization import deserialize_message, serialize_message


def main() -> None:
    report = deserialize_message(sys.stdin.buffer.read(), SafetyReport)
    assert deserialize_message(serialize_message(report), SafetyReport) == report
    assert Path(get_package_share_directory("vla_ros_msgs"), "msg", "SafetyReport.msg").is_file()
    assert "msg/SafetyReport.msg" in get_resource("rosidl_interfaces", "vla_ros_msgs")[0].split()
    print(report.state == SafetyReport.HOLDING, report.rule, *report.emitted)
"""

LOG_CONFIG = """[develop]
script_dir=$base/lib/robot_log
[install]
install_scripts=$base/lib/robot_log
"""

LOG_SETUP = """from setuptools import setup
setup(name="robot_log", version="0.0.0", packages=["robot_log"],
      data_files=[("share/ament_index/resource_index/packages", ["resource/robot_log"]),
                  ("share/robot_log", ["package.xml"])],
      entry_points={"console_scripts": ["log = robot_log.log:main"]})
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def add_users(source: Path, depend: str = DEPEND) -> None:
    """robot_driver (C++) and robot_log (Python): by name they would come before vla_ros."""
    write(source / "robot_driver", {
        "package.xml": MANIFEST.format(name="robot_driver", kind="ament_cmake", depend=depend),
        "CMakeLists.txt": DRIVER_CMAKE, "driver.cpp": DRIVER,
    })
    write(source / "robot_log", {
        "package.xml": MANIFEST.format(name="robot_log", kind="ament_python", depend=depend),
        "setup.py": LOG_SETUP, "setup.cfg": LOG_CONFIG,
        "resource/robot_log": "", "robot_log/__init__.py": "", "robot_log/log.py": LOG,
    })


def add_interfaces(source: Path, depend: str = DEPEND) -> None:
    """A package whose message holds one of ours."""
    depend += "<member_of_group>rosidl_interface_packages</member_of_group>"
    write(source / "robot_interfaces", {
        "package.xml": MANIFEST.format(name="robot_interfaces", kind="ament_cmake", depend=depend),
        "CMakeLists.txt": INTERFACES_CMAKE, "msg/Shift.msg": "vla_ros_msgs/SafetyReport report\n",
    })


def copy_repository(to: Path) -> Path:
    """What a clone with the uncommitted changes would hold."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"git does not say which files belong to the repository: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def leave_one_message(clone: Path) -> None:
    """Of nine, the one that these packages use, and no faster than it comes: how many there are is not what a workspace
    is tried for, and all of them were built before any test ran."""
    lists = clone / "msg" / "CMakeLists.txt"
    text, left_out = re.subn(r'^ *"(?:\$\{base\}:msg/(?!SafetyReport)|srv/|action/)\w+\.\w+"\n', "", lists.read_text(encoding="utf-8"),
                             flags=re.M)
    assert left_out == 8 and "SafetyReport.msg" in text
    text, found = re.subn(r"^(project\(.*\))$", r'\1\nset(CMAKE_C_FLAGS_RELEASE "")\nset(CMAKE_CXX_FLAGS_RELEASE "")', text,
                          flags=re.M)
    assert found == 1
    lists.write_text(text, encoding="utf-8")


def environment() -> dict[str, str]:
    """This one without what was built of this repository: the workspace begins with ROS only."""
    ours = ("vla_ros", "vla_ros_msgs", "share/vla_ros_msgs", "../share/vla_ros_msgs")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COLCON_", "MAKE", "MFLAGS"))}
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH"):
        parts = kept.pop(name, "").split(os.pathsep)
        parts = [part for part in parts if part and not any((Path(part) / own).exists() for own in ours)]
        if parts:
            kept[name] = os.pathsep.join(parts)
    return kept


def colcon(workspace: Path, *arguments: str) -> str:
    done = subprocess.run(["nice", "colcon", *arguments], cwd=workspace, env=environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=800)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def run(workspace: Path, command: str) -> str:
    """In a shell that sourced the workspace."""
    env = environment()
    # A sourced ROS has its libraries there; the wheels' are found by Python only.
    libraries = Path(ament_index.get_package_prefix("rosidl_typesupport_cpp"), "lib")
    env["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, (env.get("LD_LIBRARY_PATH"), str(libraries))))
    done = subprocess.run(["bash", "-c", f"set -o pipefail; . install/local_setup.bash; cd /; {command}"],
                          cwd=workspace, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def drive_and_log(workspace: Path) -> str:
    """The C++ package's message, read by the Python package."""
    driver, = workspace.glob("install/**/lib/robot_driver/driver")
    log, = workspace.glob("install/**/lib/robot_log/log")
    return run(workspace, f"'{driver}' | '{log}'")


def packages_seen(source: Path) -> set[str]:
    """By rosdep and bloom, which search with this function."""
    from catkin_pkg.packages import find_packages

    return {package.name for package in find_packages(str(source)).values()}


def test_the_page_has_the_line_that_orders_a_workspace_and_the_reason_why_not_another(tmp_path: Path) -> None:
    source = tmp_path / "src"
    copy_repository(source / "vla_ros")
    add_users(source)
    write(source / "robot_bridge", {"CMakeLists.txt": "", "package.xml": MANIFEST.format(
        name="robot_bridge", kind="ament_cmake", depend="<group_depend>rosidl_interface_packages</group_depend>")})
    order = colcon(tmp_path, "list", "--topological-order", "--names-only").split()
    assert order == ["vla_ros", "robot_bridge", "robot_driver", "robot_log"]
    assert packages_seen(source) == set(order)

    shutil.rmtree(source / "robot_bridge")
    add_users(source, depend="<depend>vla_ros_msgs</depend>")
    assert colcon(tmp_path, "list", "--topological-order", "--names-only").split()[-1] == "vla_ros"

    shutil.move(str(source / "vla_ros"), str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere" / "COLCON_IGNORE").touch()
    subprocess.run(LINK.replace("/path/to/vla_ros", str(tmp_path / "elsewhere")), shell=True, cwd=tmp_path, check=True)
    assert colcon(tmp_path, "list", "--topological-order", "--names-only").split()[0] == "vla_ros_msgs"
    assert packages_seen(source) == {"robot_driver", "robot_log", "vla_ros_msgs"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", [
    "",
    pytest.param("--merge-install", marks=pytest.mark.full),
    pytest.param("--symlink-install", marks=pytest.mark.full),
    pytest.param("--merge-install --symlink-install", marks=pytest.mark.full),
])
def test_packages_that_use_the_messages_are_built_with_this_one_from_nothing(tmp_path: Path, layout: str) -> None:
    source = tmp_path / "src"
    clone = copy_repository(source / "vla_ros")
    add_users(source)
    if layout:
        add_interfaces(source)
    else:
        leave_one_message(clone)
    colcon(tmp_path, "build", *layout.split())
    assert drive_and_log(tmp_path) == "True obstacle 0.25 -0.5"
    if layout:
        use = "from robot_interfaces.msg import Shift; print(Shift().report.verdict)"
        assert run(tmp_path, f"{sys.executable} -c '{use}'") == "0"


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_messages_are_a_package_of_their_own_where_vla_ros_is_not(tmp_path: Path) -> None:
    source = tmp_path / "workspace" / "src"
    clone = copy_repository(tmp_path / "vla_ros")
    depend = "<depend>vla_ros_msgs</depend>"
    add_users(source, depend=depend)
    subprocess.run(LINK.replace("/path/to/vla_ros", str(clone)), shell=True, cwd=source.parent, check=True)
    colcon(source.parent, "build")
    assert drive_and_log(source.parent) == "True obstacle 0.25 -0.5"


# Stands for CMake with Humble's ament in a Debian package's build: Python files go to dist-packages, unless told where.
CMAKE = """#!/usr/bin/env python3
import json, sys
from pathlib import Path

told = Path(sys.argv[0]).with_name("told.json")
if sys.argv[1] == "-S":
    told.write_text(json.dumps(dict(word[2:].split("=", 1) for word in sys.argv[1:] if word.startswith("-D"))))
elif sys.argv[1] == "--install":
    options = json.loads(told.read_text())
    folder = options.get("PYTHON_INSTALL_DIR", "lib/python3/dist-packages")
    module = Path(options["CMAKE_INSTALL_PREFIX"], folder, "vla_ros_msgs", MODULE)
    module.parent.mkdir(parents=True, exist_ok=True)
    module.touch()
"""


def test_a_package_build_puts_the_messages_beside_vla_ros_and_none_of_yesterday(tmp_path: Path) -> None:
    """bloom's rules build first without, then install with the folder for Python files."""
    clone = copy_repository(tmp_path / "vla_ros")
    cmake = tmp_path / "bin" / "cmake"
    env = environment()
    env["PATH"] = f"{cmake.parent}{os.pathsep}{env['PATH']}"

    def setup(module: str, *arguments: str) -> None:
        write(cmake.parent, {"cmake": CMAKE.replace("MODULE", repr(module))})
        cmake.chmod(0o755)
        done = subprocess.run([sys.executable, "-W", "ignore", "setup.py", *arguments], cwd=clone, env=env,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    setup("yesterday.py", "build")
    setup("today.py", "install", "--root", str(tmp_path / "root"), "--prefix", "/opt/ros/x",
          "--install-lib", "$base/lib/here")
    installed = [path for path in (tmp_path / "root").rglob("*.py") if path.parent.name == "vla_ros_msgs"]
    assert installed == [tmp_path / "root/opt/ros/x/lib/here/vla_ros_msgs/today.py"]
    assert (tmp_path / "root/opt/ros/x/lib/here/vla_ros/__init__.py").is_file()
