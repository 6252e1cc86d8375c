"""The package as a whole: its manifests, versions, commands, and who may import whom."""
from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from vla_ros.safety.rules import RULES

pytestmark = pytest.mark.text
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "vla_ros"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts
)
ROS_CODE = ("vla_ros.nodes", "vla_ros.sim.node", "vla_ros.sim.arm.node", "vla_ros.sim.env.node", "vla_ros.operator", "vla_ros.demo", "vla_ros.bench", "vla_ros.cli.say",
            "vla_ros.cli.stop")

# Packages that Humble's and Jazzy's distribution.yaml both release, and keys of rosdep's python.yaml.
ROSDEP_KEYS = {
    "action_msgs", "ament_cmake", "ament_index_python", "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs",
    "launch", "launch_ros", "lifecycle_msgs", "nav_msgs", "rcl_interfaces", "rclpy", "rosgraph_msgs",
    "rosidl_default_generators", "rosidl_default_runtime", "sensor_msgs", "std_msgs", "std_srvs",
    "trajectory_msgs", "visualization_msgs",
    "python3-hypothesis", "python3-jinja2", "python3-matplotlib", "python3-numpy", "python3-opencv", "python3-pil",
    "python3-psutil", "python3-pytest", "python3-rich", "python3-scipy", "python3-sklearn", "python3-yaml",
}


# -- manifests and versions --------------------------------------------------------------------------------
@pytest.mark.parametrize("manifest", ["package.xml", "msg/package.xml"])
def test_manifest_validates_without_a_warning(manifest: str) -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(ROOT / manifest), warnings=warnings)
    assert not warnings
    depends = (package.buildtool_depends + package.build_depends + package.exec_depends + package.test_depends)
    assert {depend.name for depend in depends} <= ROSDEP_KEYS
    assert package.licenses == ["Apache-2.0"]


def test_versions_agree() -> None:
    found = {
        name: re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M)
        for name, pattern in {
            "package.xml": r"<version>(.*)</version>",
            "msg/package.xml": r"<version>(.*)</version>",
            "setup.py": r'version="(.*)"',
            "vla_ros/__init__.py": r'^__version__ = "(.*)"',
        }.items()
    }
    assert len({tuple(versions) for versions in found.values()}) == 1, found
    assert all(len(versions) == 1 for versions in found.values()), found


def test_every_message_is_built() -> None:
    named = set(re.findall(r"(\w+\.(?:msg|srv|action))\"", (ROOT / "msg" / "CMakeLists.txt").read_text(encoding="utf-8")))
    kinds = ("*.msg", "srv/*.srv", "action/*.action")
    assert named == {path.name for kind in kinds for path in (ROOT / "msg").glob(kind)}


def test_every_ros_package_imported_is_in_the_manifest() -> None:
    manifest = (ROOT / "package.xml").read_text(encoding="utf-8")
    depends = set(re.findall(r"depend>([^<]+)</", manifest)) | {"vla_ros", "vla_ros_msgs"}
    ros = re.compile(r"\w+_(msgs|interfaces|srvs)|rclpy|cv_bridge|launch\w*|ament_\w+")
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    used = {name.split(".")[0] for path in files for name in imports(path)}
    used |= {source.type.split("/")[0] for rule in RULES for source in rule.sources}
    assert {name for name in used if ros.fullmatch(name)} <= depends


def console_scripts() -> list[tuple[str, str, str]]:
    """Instruction, module and function, as setup.py gives them when run with a `setup` that only listens."""
    code = (
        "import setuptools, runpy\n"
        "setuptools.setup = lambda **k: print(*k['entry_points']['console_scripts'], sep='\\n')\n"
        "runpy.run_path('setup.py', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    entries = [re.fullmatch(r"(\w+) = ([\w.]+):(\w+)", line) for line in done.stdout.splitlines()]
    assert entries and all(entries)
    return [(entry[1], entry[2], entry[3]) for entry in entries if entry]


def test_every_command_has_its_function() -> None:
    for command, module, function in console_scripts():
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.is_file(), f"{command}: there is no {path.relative_to(ROOT)}"
        names = {node.name for node in tree(path).body if isinstance(node, ast.FunctionDef)}
        assert function in names, f"{command}: {module} has no {function}()"


# -- who may import whom ------------------------------------------------------------------------------------
@cache
def tree(path: Path) -> ast.Module:
    """A file, as Python reads it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, at its top or deeper."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_imports(path: Path) -> Iterator[str]:
    """Those that run when the module is imported: not in a function, and not for the types alone."""
    for node in tree(path).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module or ""


LAYERS: dict[str, tuple[str, ...]] = runpy.run_path(str(ROOT / "doc" / "generate.py"))["LAYERS"]
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def test_every_folder_has_its_place_and_no_two_import_each_other() -> None:
    assert set(LAYERS) == {path.relative_to(PACKAGE).parts[0] for path in FILES}
    order = list(LAYERS)
    for folder, below in LAYERS.items():
        assert all(order.index(other) < order.index(folder) for other in below), folder


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_its_own_folder_and_those_below(path: Path) -> None:
    folder = path.relative_to(PACKAGE).parts[0]
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("vla_ros.")}
    assert ours <= {folder, *LAYERS[folder], "__version__"}


def test_no_two_files_import_each_other_at_their_top() -> None:
    graph = {module: {name for name in top_imports(path_of(module)) if name in MODULES} for module in MODULES}
    sorter = TopologicalSorter(graph)
    sorter.prepare()  # raises CycleError, with the modules of the circle


def test_rclpy_is_imported_only_where_ros_is_meant() -> None:
    for module in MODULES:
        if not module.startswith(ROS_CODE):
            names = {name.split(".")[0] for name in imports(path_of(module))}
            assert not names & {"rclpy", "vla_ros_msgs", "cv_bridge"}, module


def path_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def import_with_blocked(modules: list[str], blocked: tuple[str, ...]) -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"  # any import of it raises
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ROS = ("rclpy", "vla_ros_msgs", "std_msgs", "sensor_msgs", "cv_bridge", "launch", "launch_ros")
HEAVY = ("torch", "transformers", "mujoco", "matplotlib", "rich", "yaml", "psutil")


GYM = "vla_ros.sim.gym"  # brings gymnasium
SIM_EXTRAS = ("vla_ros.sim.node", "vla_ros.sim.arm.node", "vla_ros.sim.env.node", GYM, "vla_ros.sim.arm.gym")
YAML = "vla_ros.core.yaml_file"  # brings PyYAML; robot.py imports it where it reads a file


def below(*folders: str) -> list[str]:
    wanted = tuple(f"vla_ros.{folder}" for folder in folders)
    return [name for name in MODULES if name.startswith(wanted) and name != YAML]


def test_core_and_safety_need_numpy_alone() -> None:
    # these bring OpenCV; whoever imports them does so where images are at hand
    pixels = {f"vla_ros.core.{name}" for name in ("images", "encodings", "compressed")}
    names = [name for name in below("core", "safety") if name not in pixels]
    assert len(names) > 5
    free = [name for name in names if not pixels & set(imports(path_of(name)))]
    import_with_blocked(free, (*ROS, *HEAVY, "cv2"))


def test_core_images_needs_opencv_and_nothing_more() -> None:
    import_with_blocked(below("core", "safety"), (*ROS, *HEAVY))


def test_policies_need_neither_ros_nor_torch() -> None:
    wire = {f"vla_ros.policies.remote.{name}" for name in ("wire", "openpi", "gr00t", "server")}
    names = [name for name in below("policies") if name not in wire]
    import_with_blocked(names, (*ROS, *HEAVY, "msgpack", "websockets", "zmq"))


def test_a_model_s_config_and_words_need_no_torch() -> None:
    names = ["", ".config", ".options", ".sizes", ".language.lexicon", ".language.tokenizers"]
    import_with_blocked([f"vla_ros.models{name}" for name in names], (*ROS, *HEAVY, "safetensors"))


def test_only_chosen_parts_need_transformers() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    import_with_blocked(["vla_ros.models.vla", "vla_ros.models.modular", "vla_ros.models.vision.small",
                         "vla_ros.models.checkpoint", "vla_ros.models.lora"], (*ROS, "transformers", "peft"))


def test_the_simulated_world_needs_no_ros() -> None:
    if importlib.util.find_spec("mujoco") is None:
        pytest.skip("mujoco is not installed")
    import_with_blocked([name for name in below("sim") if name not in SIM_EXTRAS], (*ROS, "torch"))


def test_the_gymnasium_environment_needs_neither_ros_nor_torch() -> None:
    for module in ("mujoco", "gymnasium"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    import_with_blocked([GYM, "vla_ros.sim.arm.gym"], (*ROS, "torch"))


def test_without_gymnasium_its_environment_says_what_to_install() -> None:
    code = f"import sys; sys.modules['gymnasium'] = None; import {GYM}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.rstrip().endswith(
        "ModuleNotFoundError: vla_ros.sim.gym needs gymnasium 1.0 or a later one: pip install gymnasium")


# -- ruff and mypy ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_check_is_clean(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed; `make check` runs where it is")
    done = subprocess.run([str(ROOT / ".ci" / "check"), tool], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_public_class_name_means_two_things() -> None:
    homes: dict[str, list[str]] = {}
    for path in sorted((ROOT / "vla_ros").rglob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
