"""`vla evaluate --nodes`: how an episode ends, told by a watch made by hand; and two episodes for real."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import psutil
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("vla_ros_msgs")
pytest.importorskip("mujoco")

from vla_ros.bench import evaluate_nodes
from vla_ros.bench.evaluate_nodes import NodesWitness, Trials
from vla_ros.core.types import ActionChunk
from vla_ros.evaluation.plan import PlannedEpisode
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.world_state import WorldState

START = WorldState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.10, ())
TURNED = replace(START, yaw=1.57)
LEFT = PlannedEpisode(0, "success", "known", 1_000_000, Intent("turn_left", amount=1.57), "turn left", 15.0)


class Clock:
    """Steady seconds that pass only when somebody waits: 0.1 each look."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, condition: Any, seconds: float) -> bool:
        end = self.now + seconds
        while not condition():
            if self.now >= end:
                return False
            self.now += 0.1
        return True


def trials(monkeypatch: pytest.MonkeyPatch, world: Any, **watch: Any) -> tuple[Trials, Clock]:
    """`world`: seconds -> the truth then."""
    clock, found = Clock(), Trials.__new__(Trials)
    told = {"feedback": deque(), "idle": lambda: True, "moment": lambda: SimpleNamespace(state="ACTIVE", reason=""), **watch}
    found.watch = SimpleNamespace(world=lambda: world(clock.now), **told)  # type: ignore[assignment]
    found.wait = clock.wait  # type: ignore[method-assign]
    monkeypatch.setattr(evaluate_nodes, "time", clock)
    return found, clock


def test_done_must_last_before_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock = trials(monkeypatch, lambda now: TURNED if 3.0 < now < 3.4 or now > 5.0 else START)
    assert run.follow(LEFT, START, [START]).done
    assert clock.now == pytest.approx(5.7, abs=0.15)  # not at 3.4, when it was done for a moment


def test_done_while_the_policy_wants_to_go_on_is_not_over(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock = trials(monkeypatch, lambda now: TURNED if now < 5.0 else START, idle=lambda: False)
    assert not run.follow(LEFT, START, [START]).done and clock.now == pytest.approx(15.0, abs=0.2)


def test_words_that_the_policy_refuses_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock = trials(monkeypatch, lambda now: TURNED, feedback=deque(["accepted: x", "not understood: what is x?"]))
    found = run.follow(LEFT, START, [START])
    assert not found.done and found.sentence == "the policy gave up: what is x?" and clock.now == 0.0


def test_a_gate_that_stopped_for_good_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = SimpleNamespace(state="STOPPED", reason="the ROS clock jumped")
    run, clock = trials(monkeypatch, lambda now: START, moment=lambda: stopped)
    assert not run.follow(LEFT, START, [START]).done and clock.now < 1.0


def test_an_episode_is_run_again_where_the_machine_stood_still_and_not_where_it_failed() -> None:
    run = Trials.__new__(Trials)
    for pauses, last in (([0.1], 0), ([0.3, 0.1, 0.1], 1), ([0.3, 0.9, 0.4, 0.1], 2)):
        came = [SimpleNamespace(paused=pause, done=False, number=number) for number, pause in enumerate(pauses)]
        run.run = Mock(side_effect=came)  # type: ignore[method-assign]
        found: Any = run.undisturbed(LEFT)
        assert (found.number, found.attempts) == (last, last + 1)


@pytest.mark.parametrize("words, instruction_id, speed, idle", [
    ("", 7, 0.4, True), ("turn left", 7, 0.0, True), ("turn left", 7, 0.4, False), ("turn left", 6, 0.0, False)])
def test_idle_is_no_words_or_an_action_for_them_that_stands(words: str, instruction_id: int, speed: float, idle: bool) -> None:
    watch = NodesWitness.__new__(NodesWitness)
    watch.instruction = SimpleNamespace(text=words, instruction_id=7)  # type: ignore[assignment]
    watch.chunk = ActionChunk(0, instruction_id, ("linear.x",), np.full((2, 1), speed, np.float32), 100)
    assert watch.idle() is idle


def test_two_episodes_through_the_nodes(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    command = [sys.executable, "-m", "vla_ros.cli.main", "evaluate", "--policy", "color_servo", "--parts", "success",
               "--episodes", "2", "--splits", "known", "--kinds", "stop", "open", "--nodes", "--jobs", "1",
               "--out", str(tmp_path)]
    started = subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    family: set[psutil.Process] = set()
    try:
        while len(family) < 7 and started.poll() is None:
            family.update(psutil.Process(started.pid).children(recursive=True))
            time.sleep(0.05)
        said, _ = started.communicate(timeout=120)
    finally:
        started.kill()
    logs = {path.name: path.read_text()[-2000:] for path in (tmp_path / "logs" / "0").glob("*.log")}
    assert started.returncode == 0, f"{said}\n{logs}"
    assert len(family) >= 7 and not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    found = json.loads((tmp_path / "report.json").read_text())["nodes"]
    assert [(one["kind"], one["done"]) for one in found["episodes"]] == [("stop", True), ("open", True)], f"{said}\n{logs}"
    assert found["all"]["difference"] == 0.0 and found["all"]["trials"] == 2 and found["stopped"] == 0
    assert not found["problem"] and not found["started_again"] and found["rates_hz"]["camera"] > 5
    assert sum(found["gate"].values()) == pytest.approx(1.0) and found["latency"]["count"] > 5
    assert all(sum(one["gate"].values()) == pytest.approx(1.0, abs=0.01) for one in found["episodes"])
