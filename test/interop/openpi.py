"""`make check-interop`: our policy `remote` and `vla serve` against openpi's own server and client.

Those are PyPI's `openpi-server` and `openpi-client`, whose numpy is older than ours: they run in an
environment of their own, build/interop/openpi, which is made once.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vla_ros.core.types import Instruction, Observation
from vla_ros.policies.remote.policy import Remote

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "build" / "interop" / "openpi"
# openpi-client imports typing_extensions without naming it.
PACKAGES = ("openpi-server==0.1.0", "openpi-client==0.1.2", "typing_extensions")
PEER = Path(__file__).with_name("openpi_peer.py")
ASKED = 200


def environment() -> Path:
    """The Python that has openpi's packages."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / ".ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        ready.touch()
    return python


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str | Path], port: int) -> Iterator[None]:
    """The command as a process that listens at `port`, and is ended."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 180.0
        while time.monotonic() < end and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10.0)


def check(what: str, is_so: bool) -> None:
    print(f"{'✓' if is_so else '✗'} {what}")
    if not is_so:
        raise SystemExit(1)


def ours_asks_theirs(python: Path) -> None:
    port = free_port()
    options = {
        "url": f"ws://127.0.0.1:{port}",
        "images": {"observation/image": "front", "observation/wrist_image": "wrist"},
        "state": {"observation/state": ["a", "b"]},
        "actions": ["x", "a", "b"],
        "rate": 10,
        "rows": 10,
    }
    images = {"front": np.full((224, 224, 3), 7, np.uint8), "wrist": np.zeros((224, 224, 3), np.uint8)}

    def asked(prompt: str) -> Observation:
        return Observation(1, Instruction(1, 1, prompt), images, {"a": 1.5, "b": -2.0})

    with running([python, PEER, "serve", str(port)], port):
        policy = Remote(options)
        rows = policy.predict(asked("pick up the cube"))
        check("openpi's server understands our question", rows.tolist() == [[7.0, 1.5, -2.0]] * 10)
        try:
            policy.predict(asked("fail"))
            sentence = ""
        except RuntimeError as error:
            sentence = str(error)
        check(f"its error is a sentence: {sentence}", "the policy says no" in sentence)
        check("it is asked again afterwards", policy.predict(asked("go on")).shape == (10, 3))
        times: list[float] = []
        for _ in range(ASKED):
            began = time.perf_counter()
            policy.predict(asked("go on"))
            times.append(1e3 * (time.perf_counter() - began))
        p50, p99 = np.percentile(times, (50, 99))
        print(f"  two images of 224 x 224 and back: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def theirs_asks_ours(python: Path) -> None:
    port = free_port()
    serve = [sys.executable, "-m", "vla_ros.cli.main", "serve", "--port", str(port)]
    with running([*serve, "--policy", "color_servo"], port):
        answer = subprocess.run(
            [python, PEER, "ask", str(port)], capture_output=True, text=True, timeout=60.0
        )
    wanted = "['linear.x', 'angular.z', 'gripper']"
    check(f"openpi's client asks ours: {answer.stdout.strip()}", wanted in answer.stdout)


def main() -> None:
    python = environment()
    ours_asks_theirs(python)
    theirs_asks_ours(python)


if __name__ == "__main__":
    main()
