"""ProcessGroup as processes: whatever becomes of the parent, no child is left."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from vla_ros.core import process_identity
from vla_ros.core.composed import KINDS, split
from vla_ros.core.config_files import config_folder
from vla_ros.core.fastdds import PROFILES, profile_variables
from vla_ros.operator.processes import (
    NODES,
    ProcessGroup,
    node_command,
    suite_environment,
    suite_nodes,
    yaml_text,
)

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
DEAF = [sys.executable, "-S", "-c", textwrap.dedent("""
    import signal, time
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    print("deaf", flush=True)
    time.sleep(60)
""")]
PARENT = textwrap.dedent("""
    import sys, time
    from vla_ros.operator.processes import ProcessGroup
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with ProcessGroup() as group:
        print(*(group.start(f"child{i}", sleep) for i in range(3)), flush=True)
        if "raise" in sys.argv:
            raise RuntimeError("on purpose")
        while True:
            group.poll()
            time.sleep(0.05)
""")


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGKILL", "raise"])
def test_no_child_outlives_the_parent(end: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, end], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    try:
        assert len(pids) == 3
        if end != "raise":
            # a SIGINT to a child that still is the launcher would end it too, but let it become the command
            assert until(lambda: all("-I" not in psutil.Process(pid).cmdline() for pid in pids))
            parent.send_signal(getattr(signal, end))
        parent.communicate(timeout=10)
        assert until(lambda: all(map(gone, pids))), f"left after {end}: {[pid for pid in pids if not gone(pid)]}"
    finally:
        parent.kill()
        for pid in pids:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_child_leads_its_own_session() -> None:
    with ProcessGroup() as group:
        pid = group.start("sleep", SLEEP)
        assert until(lambda: os.getsid(pid) == pid)
        assert os.getsid(0) != pid


def test_a_child_that_ignores_everything_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_ros.operator.processes.ESCALATION",
                        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 2.0)))
    group = ProcessGroup()
    pid = group.start("deaf", DEAF, log_path=tmp_path / "logs" / "deaf.log")
    assert until(lambda: "deaf" in (tmp_path / "logs" / "deaf.log").read_text())
    start = time.monotonic()
    group.stop()
    assert gone(pid) and time.monotonic() - start < 2.0


def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    code = ("import subprocess, sys; p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']);"
            "print(p.pid, flush=True); p.wait()")
    log = tmp_path / "log"
    with ProcessGroup() as group:
        group.start("parent", [sys.executable, "-c", code], log_path=log)
        assert until(lambda: log.read_text().strip() != "")
        grandchild = int(log.read_text())
    assert until(lambda: gone(grandchild))


def test_sigint_is_asked_first(tmp_path: Path) -> None:
    code = ("import signal, time\nsignal.signal(signal.SIGINT, lambda *_: (print('bye', flush=True), exit(0)))\n"
            "print('up', flush=True)\ntime.sleep(60)")
    log = tmp_path / "log"
    with ProcessGroup() as group:
        group.start("polite", [sys.executable, "-c", code], log_path=log)
        assert until(lambda: "up" in log.read_text())
    assert "bye" in log.read_text()


def test_what_dies_is_started_again_and_only_so_often(tmp_path: Path) -> None:
    log = tmp_path / "log"
    said: list[str] = []
    with ProcessGroup(respawn_delay=0.05, respawns_a_minute=3) as group:
        group.start("dying", [sys.executable, "-S", "-c", "print('here', flush=True); raise SystemExit(3)"], log_path=log)

        def given_up() -> bool:
            said.extend(group.poll())
            return any("given up" in line for line in said)

        assert until(given_up)
        assert log.read_text().count("here") == 4  # the first and three more; the log keeps all
        assert sum("was started again (pid" in line for line in said) == 3
        assert all("exited with 3" in line for line in said if "will be" in line)
        assert group.poll() == [] and group.returncode("dying") == 3


def test_a_killed_child_comes_back_with_another_pid() -> None:
    with ProcessGroup(respawn_delay=0.1) as group:
        first = group.start("one", SLEEP)
        assert until(lambda: not gone(first))
        group.kill("one")
        said: list[str] = []
        assert until(lambda: bool(said.extend(group.poll())) or len(said) == 2)
        assert "SIGKILL" in said[0] and group.pid("one") != first and list(group.pids()) == ["one"]


def test_respawn_can_be_left_out() -> None:
    with ProcessGroup(respawn_delay=0.0) as group:
        group.start("one", [sys.executable, "-S", "-c", ""], respawn=False)
        said: list[str] = []
        assert until(lambda: bool(said.extend(group.poll())) or bool(said))
        time.sleep(0.1)
        assert said == ["one exited with 0"] and group.poll() == []


def test_bad_input_is_a_sentence() -> None:
    with ProcessGroup() as group:
        with pytest.raises(ValueError, match="no-such-command.*is not there"):
            group.start("x", ["no-such-command"])
        with pytest.raises(ValueError, match="is not there"):
            group.start("x", [])
        group.start("one", SLEEP)
        with pytest.raises(ValueError, match="runs already"):
            group.start("one", SLEEP)
        with pytest.raises(ValueError, match="unknown process 'two'; known are: one"):
            group.kill("two")
    with pytest.raises(ValueError, match="unknown node 'nobody'"):
        node_command("nobody")
    with pytest.raises(ValueError, match="unknown node 'nobody' in overrides"):
        suite_nodes(overrides={"nobody": {}})
    with pytest.raises(ValueError, match="a parameter cannot be None"):
        yaml_text(None)


def test_the_command_lines() -> None:
    command = node_command("camera_ingest", "/vla", "p.yaml", {"policy": "7", "max_bytes": 5, "on": True, "x": 0.5},
                           {"image": "/camera/image_raw"})
    assert command == [sys.executable, "-m", "vla_ros.nodes.camera_ingest", "--ros-args", "-r", "__ns:=/vla",
                       "--params-file", "p.yaml", "-p", 'policy:="7"', "-p", "max_bytes:=5", "-p", "on:=true",
                       "-p", "x:=0.5", "-r", "image:=/camera/image_raw"]
    nodes = suite_nodes("constant", overrides={"safety_validator": {"rate": 100.0}})
    assert tuple(nodes) == NODES
    assert "rate:=100.0" in nodes["safety_validator"] and 'policy:="constant"' in nodes["inference"]
    composed = suite_nodes("constant", overrides={"synchronizer": {"max_skew": 0.2}}, composed=True)
    assert set(composed) == {"safety_validator", "command_ingest", "supervisor", "composed"}
    parts, for_all = split(composed["composed"][3:])
    own = {kind: [word for word in nodes[kind][3:] if word not in ("-r", "__ns:=/vla")] for kind in KINDS}
    assert parts == [(kind, own[kind] + ["-p", "max_skew:=0.2"] * (kind == "synchronizer")) for kind in KINDS]
    assert for_all == ["--ros-args", "-r", "__ns:=/vla"] and composed["safety_validator"][:3] == nodes["safety_validator"][:3]
    assert yaml_text(["a\"b", "c\\"]) == '["a\\"b", "c\\\\"]'
    assert yaml_text(float("inf")) == ".inf"


def test_the_environment_keeps_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROFILES, "ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)
    environment = suite_environment()
    named = {name: environment[name] for name in PROFILES if name in environment}
    assert named == dict.fromkeys(profile_variables(), str(config_folder() / "fastdds.xml"))
    assert (config_folder() / "fastdds.xml").is_file()
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    monkeypatch.setenv(PROFILES[1], "/mine.xml")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    environment = suite_environment()
    assert environment[PROFILES[1]] == "/mine.xml" and PROFILES[0] not in environment
    assert environment["OMP_NUM_THREADS"] == "4"


def test_the_nodes_know_whom_they_end_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process_identity.PARENT, "somebody else")
    assert suite_environment()[process_identity.PARENT] == process_identity.own()
