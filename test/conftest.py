"""Before anything imports rclpy: a ROS domain, a log folder and a network of this test run's own."""
from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# 1 to 100: above 101, DDS' ports lie among those that Linux hands out; 0 is where everyone else is.
os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"
else:  # newer ones know a better name and warn about that one
    os.environ.pop("ROS_LOCALHOST_ONLY", None)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="vla_ros_test_log_")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MUJOCO_GL", "egl")

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    pass
else:
    # No deadline: a shared machine's pauses are no finding. CI looks further.
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("here", deadline=None, print_blob=True, suppress_health_check=quiet)
    settings.register_profile("ci", settings.get_profile("here"), max_examples=200)
    settings.load_profile("ci" if os.environ.get("CI") else "here")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each folder under test/ is a marker of its own: pytest -m unit."""
    for item in items:
        folder = item.path.relative_to(ROOT / "test").parts[0]
        if folder in ("unit", "nodes", "system", "launch"):
            item.add_marker(folder)
