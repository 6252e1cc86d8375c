"""Builds vla_ros and, from msg/, its messages: one `colcon build` makes both.

An ament_python package generates no messages, so `build_ext` runs msg/'s own CMake build, installs
it into a staging folder and adds what it finds there to `data_files`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

NAME = "vla_ros"
ROOT = Path(__file__).resolve().parent
NODES = (
    "camera_ingest",
    "command_ingest",
    "synchronizer",
    "inference",
    "safety_validator",
    "supervisor",
    "composed",
    "teleop",
)
# What CMake's install leaves for the environment; colcon makes the same for the prefix as a whole.
NOT_STAGED = {
    "local_setup.bash",
    "local_setup.sh",
    "local_setup.zsh",
    "local_setup.dsv",
    "package.dsv",
}


def files_under(folder: str, pattern: str = "*") -> list[tuple[str, list[str]]]:
    """share/vla_ros/<folder> and below, as `data_files` wants it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / folder).rglob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(ROOT)
            found.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(found.items())


class BuildMessages(build_ext):
    """Configure, build and stage msg/ with CMake, then hand the files to `install_data`."""

    def run(self) -> None:
        build = Path(self.build_temp).resolve() / "vla_ros_msgs"
        stage = build / "stage"
        install = self.get_finalized_command("install")
        # Beside vla_ros itself: where ament puts Python files by default differs between releases
        # and package builds.
        python_folder = os.path.relpath(install.install_lib, install.install_data)
        commands = (
            [
                "cmake",
                "-S",
                str(ROOT / "msg"),
                "-B",
                str(build),
                f"-DCMAKE_INSTALL_PREFIX={stage}",
                "-DCMAKE_BUILD_TYPE=Release",
                "-DBUILD_TESTING=OFF",
                f"-DPython3_EXECUTABLE={sys.executable}",
                f"-DPYTHON_EXECUTABLE={sys.executable}",
                f"-DPYTHON_INSTALL_DIR={python_folder}",
            ],
            ["cmake", "--build", str(build), "--parallel", str(os.cpu_count() or 1)],
            ["cmake", "--install", str(build)],
        )
        for command in commands:
            if "--install" in command:
                # What an earlier build left there would be installed again: a message that is gone
                # since, say.
                shutil.rmtree(stage, ignore_errors=True)
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode:
                sys.stderr.write(done.stdout[-8000:])
                raise SystemExit(
                    f"building the messages failed: {' '.join(command)} gave {done.returncode}"
                )
        staged: dict[str, list[str]] = {}
        for path in sorted(stage.rglob("*")):
            if path.is_file() and path.name not in NOT_STAGED:
                staged.setdefault(str(path.parent.relative_to(stage)), []).append(
                    os.path.relpath(path)
                )
        self.distribution.data_files = [*(self.distribution.data_files or []), *staged.items()]

    def get_outputs(self) -> list[str]:
        return []

    def get_source_files(self) -> list[str]:
        return []


setup(
    name=NAME,
    version="0.2.0",
    description="Runs a Vision-Language-Action policy on a robot, behind a gate.",
    license="Apache-2.0",
    maintainer="vla_ros maintainers",
    maintainer_email="maintainers@vla-ros.dev",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: [
            "py.typed",
            "models/pretrained/*",
            "models/pretrained_arm/*",
            "tasks/reading/words*.npz",
            "tasks/reading/words.md",
            "training/words/*.txt",
            "evaluation/*.html",
            "operator/console/page.*",
            "operator/console/token.html",
            "operator/console/token.js",
        ]
    },
    ext_modules=[Extension("vla_ros_msgs", sources=[])],
    cmdclass={"build_ext": BuildMessages},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        ("bin", ["resource/vla"]),
        *files_under("launch", "*.launch.py"),
        *files_under("config"),
    ],
    install_requires=["setuptools"],
    extras_require={
        "test": ["pytest"],  # colcon test picks pytest by this
        "evaluation": ["jinja2", "scikit-learn", "scipy"],  # vla evaluate
        "console": ["starlette", "uvicorn"],  # vla console
        "gym": ["gymnasium"],  # vla_ros.sim.gym
        "bags": ["rosbags"],  # vla dataset convert, of bags
        "blackbox": ["mcap", "rosbags"],  # the flight recorder, and what reads its files
        "remote": ["msgpack", "pyzmq", "websockets>=15"],  # the policy `remote`, vla serve
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            *(f"{node} = {NAME}.nodes.{node}:main" for node in NODES),
            f"blackbox = {NAME}.operator.blackbox.node:main",
            f"console = {NAME}.operator.console.node:main",
            f"simulator = {NAME}.sim.node:main",
            f"arm_simulator = {NAME}.sim.arm.node:main",
            f"vla = {NAME}.cli.main:main",
        ]
    },
)
