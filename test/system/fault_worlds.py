"""The faults of the table as pytest tries them: one suite for all of a world, and one fault for all that are of its kind."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from vla_ros.bench.bench_faults import all_faults
from vla_ros.bench.faults.fault_table import Fault
from vla_ros.bench.faults.fault_trial import run
from vla_ros.bench.faults.stack import Suite
from vla_ros.bench.faults.worlds import suite_in

FAULTS = all_faults()
# A fault that differs from another by a node, a signal or a value only -> the one that is tried for it, where pytest
# is not told --full (`make check-safety` tells it). `vla bench faults` always tries all.
STANDS_FOR = {
    "the policy gives nothing": "the policy raises an exception",
    "the policy gives flat values": "the policy gives no rows",
    "the policy gives a column too many": "the policy gives no rows",
    "the policy gives infinity": "the policy gives NaN after 0.7 s of good work",
    "the policy's server answers too late": "the policy's server dies",
    "the policy's server gives a column too many": "the policy's server dies",
    "the policy's server answers with an error": "the policy's server dies",
    "the policy's server speaks no protocol": "the policy's server answers with 100 MB",
    "the policy's sidecar dies": "the policy's sidecar hangs",
    "the policy's server gives NaN": "the policy gives NaN after 0.7 s of good work",
    "SIGKILL of camera_ingest": "SIGKILL of inference",
    "SIGKILL of synchronizer": "SIGKILL of inference",
    "SIGKILL of command_ingest": "SIGKILL of inference",
    "SIGSTOP of camera_ingest, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "SIGSTOP of command_ingest, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "SIGSTOP of inference, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "SIGSTOP of supervisor, SIGCONT 1 s later": "SIGSTOP of synchronizer, SIGCONT 1 s later",
    "/odom falls silent": "/joint_states falls silent",
    "the camera repeats its last message": "the camera falls silent",
    "SIGINT of the gate": "SIGTERM of the gate",
    "shutdown of the gate": "deactivate and cleanup of the gate",
    "deactivate of the gate": "deactivate and cleanup of the gate",
    "a flood of garbage on the same topics, then the stop":
        "a flood of repeated words, actions and stop(false), then the stop",
    "/clock jumps ahead by a minute": "/clock jumps back by a minute",
    # an arm's: what the gate finds is the same on wheels, or at another arm's fault
    "arm: the stop is pressed": "arm: the stop is pressed, and every fifth joint state says zero",
    "arm: the word stop is said": "the word stop is said",
    "arm: the policy gives NaN after 0.7 s of good work": "the policy gives NaN after 0.7 s of good work",
    "arm: the policy hangs": "the policy hangs",
    "arm: the camera falls silent": "the camera falls silent",
    "arm: a joint is blocked, then the stop; then it is freed":
        "arm: the stop is pressed, and every fifth joint state says zero",
    "arm: the word stop is said, and one joint state says zero": "the word stop is said",
    "arm: it holds, and a joint is moved by hand and let go":
        "arm: it is stopped, and a joint is moved by hand and let go",
    "arm: SIGKILL of inference": "SIGKILL of inference",
    "arm: SIGKILL of the gate": "SIGKILL of the gate",
    "arm: SIGTERM of the gate": "SIGKILL of the gate",
}


def of_worlds(*worlds: str) -> list[object]:
    """pytest's parameters: their faults, those that another stands for with --full only."""
    faults = [fault for fault in FAULTS if fault.world in worlds]
    return [pytest.param(fault, id=fault.name, marks=[pytest.mark.full] if fault.name in STANDS_FOR else []) for fault in faults]


class Worlds:
    """One suite at a time, up as long as the faults are of its world and each is over without a problem."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._world = ""
        self._suite: Suite | None = None

    @contextmanager
    def suite(self, world: str) -> Iterator[Suite]:
        """Where the test fails, the next one, or the same once more, gets a fresh suite."""
        if self._suite is None or world != self._world:
            self.end()
            self._suite, self._world = self._stack.enter_context(suite_in(world)), world
        try:
            yield self._suite
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        self._suite = None
        self._stack.close()


def try_out(worlds: Worlds, fault: Fault) -> None:
    """The test of a fault: whether the robot stood in time, and all else held."""
    with worlds.suite(fault.world) as suite:
        result = run(suite, fault)
        print(f"\n{result.sentence()}")
        assert not result.problems, "; ".join(result.problems)
    if result.not_run:
        pytest.skip(result.not_run)
