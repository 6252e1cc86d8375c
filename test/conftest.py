"""Before anything imports rclpy: a ROS domain, a log folder and a network of this test run's own."""
from __future__ import annotations

import fcntl
import gc
import os
import signal
import tempfile
from pathlib import Path

import pytest


def claim_domain() -> tuple[int, int]:
    """A ROS domain that no other test process of this machine has, and the lock that keeps it until this one ends."""
    for number in range(100):
        # 1 to 100: above 101, DDS' ports lie among those that Linux hands out; 0 is where everyone else is.
        domain = (os.getpid() + number) % 100 + 1
        try:
            lock = os.open(Path(tempfile.gettempdir(), f"vla_ros_test_domain_{domain}"), os.O_CREAT | os.O_RDWR, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        return domain, lock
    raise RuntimeError("a hundred test processes hold the ROS domains 1 to 100 of this machine; end some")


DOMAIN, DOMAIN_LOCK = claim_domain()
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"
else:  # newer ones know a better name and warn about that one
    os.environ.pop("ROS_LOCALHOST_ONLY", None)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job has it so, and every process that a test starts and interrupts would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="vla_ros_test_log_")
os.environ.setdefault("MPLBACKEND", "Agg")
# A test with a cache of its own would have matplotlib look for all fonts of the machine again.
os.environ.setdefault("MPLCONFIGDIR", str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "matplotlib")))
os.environ.setdefault("MUJOCO_GL", "egl")

try:
    from hypothesis import HealthCheck, Phase, settings
except ImportError:
    pass
else:
    # No deadline: a shared machine's pauses are no finding. CI looks further.
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("here", deadline=None, print_blob=True, suppress_health_check=quiet)
    settings.register_profile("few", settings.get_profile("here"), max_examples=30)  # with other libraries
    settings.register_profile("ci", settings.get_profile("here"), max_examples=200)
    # Under a mutation: any counterexample will do, and it is the same each time.
    settings.register_profile("mutation", settings.get_profile("here"), derandomize=True,
                              phases=[Phase.explicit, Phase.generate])
    settings.load_profile(os.environ.get("VLA_PROPERTY_PROFILE") or ("ci" if os.environ.get("CI") else "here"))

from vla_ros.bench.lateness import Lateness

ROOT = Path(__file__).resolve().parents[1]
REAL_TIME = ("nodes", "system", "launch")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


class Clock:
    """How late the machine was, from the first question on."""

    def __init__(self) -> None:
        self._lateness: Lateness | None = None

    def start(self) -> None:
        self._lateness = Lateness(Path(tempfile.mkdtemp(prefix="vla_ros_test_lateness_")))

    def late(self, since: float) -> float:
        """Seconds to add to a bound on one answer, from `since` until now."""
        return self._lateness.late(since) if self._lateness else 0.0

    def lost(self, since: float) -> float:
        """Seconds to add to a bound on many steps, from `since` until now."""
        return self._lateness.lost(since) if self._lateness else 0.0

    def close(self) -> None:
        if self._lateness:
            self._lateness.close()


CLOCK = Clock()


@pytest.fixture(scope="session")
def machine() -> Clock:
    """How late the machine itself was: what a bound on a time has to allow for."""
    return CLOCK


def pytest_unconfigure() -> None:
    CLOCK.close()


def pytest_collection_finish() -> None:
    """What is there by now stays: the collections below need not look at it."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logfinish(nodeid: str) -> None:
    """A node that was destroyed stays in its domain until its last reference goes, and DDS on one machine finds only
    the first 32: leftovers would hide the nodes of later tests from each other."""
    if nodeid.split("/")[1] in REAL_TIME:
        gc.collect()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help=(
        "also the tests that differ from another by a value only, and more examples of each property"))


def pytest_configure(config: pytest.Config) -> None:
    """More than a few repeats are no accident; why the first attempt failed is shown, whatever the second did.
    How many stories a property is told, unless somebody said so."""
    os.environ.setdefault("VLA_PROPERTY_EXAMPLES", "2000" if config.getoption("--full") else "250")
    if hasattr(config.option, "loadscopereorder"):  # the files come in the order in which they are given
        config.option.loadscopereorder = False
    for name, value in (("max_suite_reruns", 8), ("rerun_show_tracebacks", True)):
        if not getattr(config.option, name, True):  # a version that does not know it has no such option
            setattr(config.option, name, value)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each folder under test/ is a marker of its own (pytest -m unit); what runs in real time has a second attempt.

    The nodes' and the processes' clocks go on while a shared machine gives them no time, so a bound may be missed with
    nothing wrong. A fault that is there fails twice; how often one shows is counted by `vla bench faults --repeat`.
    A test that hung has used up its time, and nothing would watch over the second attempt.
    """
    again = pytest.mark.flaky(reruns=1, rerun_except="from pytest-timeout")
    for item in items:
        path = Path(getattr(item, "path", None) or item.fspath)  # pytest 6, Ubuntu 22.04's, has only the latter
        if ROOT / "test" not in path.parents:  # somebody's own, run together with these
            continue
        folder = path.relative_to(ROOT / "test").parts[0]
        if folder in ("unit", "nodes", "system", "launch"):
            item.add_marker(folder)
        if folder in REAL_TIME and config.pluginmanager.hasplugin("rerunfailures"):
            item.add_marker(again)
    if not config.getoption("--full"):
        left = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)  # the closing line counts them
    if any(item.get_closest_marker(folder) for item in items for folder in REAL_TIME):
        CLOCK.start()
