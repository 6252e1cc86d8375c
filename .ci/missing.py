"""What a sourced ROS 2 lacks (standard output), and which versions to leave alone (standard error).

Whatever the distribution's Python can import is kept: its numpy, OpenCV and cv_bridge were built
for each other, and a second copy from PyPI in front of them would break them.
"""

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

MODULES = {  # where a package's module has another name
    "opencv-python-headless": "cv2",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "types-pyyaml": "yaml-stubs",
}
# a machine may have ROS 2 without what builds packages for it
BUILD = ("colcon-common-extensions",)
# What the distribution has stays in the version that it has, whatever else is installed.
KEPT = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "PyYAML",
    "empy",
    "lark",
    "catkin-pkg",
    "pytest",
)


def importable(module: str) -> bool:
    """Whether this Python has it; nothing is imported."""
    # stubs are no module, but a folder for type checkers
    if module.endswith("-stubs"):
        return any((Path(folder) / module).is_dir() for folder in sys.path)
    return importlib.util.find_spec(module) is not None


def main(path: str) -> None:
    """Print the requirements of the file `path` that are not met, and the versions to keep."""
    requirements = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        requirement = line.split("#")[0].strip()
        if requirement:
            requirements.append(requirement)
    for requirement in (*requirements, *BUILD):
        # "numpy>=1.21; python_version < '3.12'" -> "numpy"
        name = re.split(r"[<>=~; ]", requirement)[0].lower()
        module = "colcon_ros" if name in BUILD else MODULES.get(name, name.replace("-", "_"))
        if not importable(module):
            print(requirement)
    for name in KEPT:
        try:
            print(f"{name}=={importlib.metadata.version(name)}", file=sys.stderr)
        except importlib.metadata.PackageNotFoundError:
            continue  # it will come from PyPI, in whatever version fits


if __name__ == "__main__":
    main(sys.argv[1])
