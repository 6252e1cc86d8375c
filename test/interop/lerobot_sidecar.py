"""`make check-interop`: checkpoints that LeRobot wrote, of several types, through the sidecar.

LeRobot runs in its own environment, build/interop/lerobot, which `vla serve --make-env` makes once; another one that is
there already can be named: test/interop/lerobot_sidecar.py DIR. Rows are compared with what LeRobot's own loop does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openpi import ROOT, check, environment, free_port, running

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.types import Instruction, Observation, Prefix
from vla_ros.policies.lerobot.environment import environment_python, make_environment
from vla_ros.policies.lerobot.policy import LeRobot

ENVIRONMENT = ROOT / "build" / "interop" / "lerobot"
CHECKPOINTS = ROOT / "build" / "interop" / "lerobot_checkpoints"
PEER = Path(__file__).with_name("lerobot_peer.py")
ASKER = Path(__file__).with_name("openpi_peer.py")
# Of numbers around 100; what two ways to load the same weights differ by, and no more.
MOST_DIFFERENCE = 1e-4
# Its plan begins with the last one, so it is asked when LeRobot asks it.
PLANS = ("tdmpc",)
# The rows left of a chunk go out in the dataset's numbers and come back into the policy's: a rounding more.
MOST_CONTINUED = 1e-3
Ask = Callable[[int, bool], NDArray[Any]]


def compared(kind: str, said: NDArray[Any], ask: Ask) -> tuple[int, float]:
    """How many chunks, and the largest difference: each chunk is what the loop did with the four steps from there."""
    worst = 0.0
    count = 0
    for index in range(0, len(said), 4 if kind in PLANS else 1):
        rows = ask(index, index == 0)
        if index % 4 == 0:  # where the loop thought anew
            wanted = said[index : index + 4]
            worst = max(worst, float(np.abs(rows[: len(wanted)] - wanted).max()))
            count += 1
    return count, worst


def options_of(folder: Path, env: Path, made: dict[str, Any]) -> dict[str, Any]:
    sidecar = {"env": str(env), "device": "cpu", "seed": made["seed"], "timeout": 20.0}
    return {"checkpoint": str(folder), "dataset": str(CHECKPOINTS), "sidecar": sidecar, "threads": 1}


def by_policy(kind: str, env: Path, made: dict[str, Any], seen: Any) -> Ask:
    """Our policy lerobot, which starts its sidecar; the first question comes after its own start."""
    options = options_of(CHECKPOINTS / kind, env, made)
    began = time.monotonic()
    policy = LeRobot({"engine": "auto", "precision": "auto", **options})
    print(f"  {policy.name} came up in {time.monotonic() - began:.1f} s")
    spec = LeRobot.spec(options)

    def moment(index: int) -> Observation:
        images = {name: seen[name][index] for name in spec.images}
        state = dict(zip(spec.state, map(float, seen["joints"][index])))
        return Observation(index, Instruction(1, 1, made["prompt"]), images, state)

    def ask(index: int, first: bool, prefix: Prefix | None = None, alone: bool = False) -> NDArray[Any]:
        if first:
            policy.reset()
        history = tuple(moment(max(0, index - ago)) for ago in range(spec.history - 1, 0, -1))
        if alone:
            history = (moment(index),) * (spec.history - 1)
        return policy.predict(replace(moment(index), history=history, prefix=prefix))

    if spec.history > 1:
        check(f"{kind}: what it saw before counts", np.abs(ask(4, True) - ask(4, True, alone=True)).max() > 0.1)
    said = np.load(CHECKPOINTS / kind / "said.npz")
    if len(said["continued"]):
        rows = ask(1, True, Prefix(said["actions"][1:4], 1, 3))
        worst = np.abs(rows - said["continued"]).max()
        changed = np.abs(rows - ask(1, True)).max()
        check(f"{kind}: continues a chunk, at most {worst:.1e} from LeRobot's (without: {changed:.1f})",
              worst < MOST_CONTINUED < changed)
    return ask


def by_openpi(kind: str, client: Path, port: int, count: int) -> Ask:
    """openpi's own client, which asks `vla serve --lerobot` everything at once."""
    out = CHECKPOINTS / kind / "answers.npz"
    step = 4 if kind in PLANS else 1
    command = [client, ASKER, "ask_lerobot", str(port), str(CHECKPOINTS), str(out), str(step)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300.0)
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [""]
    check(f"  openpi's client asks it: {said[-1]}", done.returncode == 0)
    answers = np.load(out)["rows"]
    return lambda index, first: answers[index // step]


def refuses_code(env: Path, made: dict[str, Any]) -> None:
    """A step may name a tokenizer that brings code: here a folder that would leave a mark if it ran."""
    folder = CHECKPOINTS / "with_code"
    mark = folder / "it_ran"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(CHECKPOINTS / "vqbet", folder)
    (folder / "code.py").write_text(f"open({str(mark)!r}, 'w')\nclass Code:\n    pass\n")
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "Code", "auto_map": {"AutoProcessor": "code.Code"}})
    )
    file = folder / "policy_preprocessor.json"
    steps = json.loads(file.read_text())
    config = {"action_tokenizer_name": str(folder), "trust_remote_code": True}
    steps["steps"].append({"registry_name": "action_tokenizer_processor", "config": config})
    file.write_text(json.dumps(steps))
    try:
        LeRobot(options_of(folder, env, made))
        sentence = "nothing was said"
    except ValueError as error:
        sentence = str(error)
    check(f"code of a checkpoint is not run: {sentence}", "none of a checkpoint's is run" in sentence)
    check("it left no mark", not mark.exists())


def main() -> None:
    env = Path(sys.argv[1]) if len(sys.argv) > 1 else ENVIRONMENT
    make_environment(env, print)
    client = environment()
    python = environment_python(env)
    if not (CHECKPOINTS / "made.json").exists():
        print("LeRobot writes checkpoints, and drives with them")
        subprocess.run([python, "-I", PEER, CHECKPOINTS], check=True)
    made = json.loads((CHECKPOINTS / "made.json").read_text())
    refuses_code(env, made)
    seen = np.load(CHECKPOINTS / "seen.npz")
    for kind, problem in made["types"].items():
        if problem:
            print(f"- {kind}: not here: {problem}")
            continue
        said = np.load(CHECKPOINTS / kind / "said.npz")["actions"]
        count, worst = compared(kind, said, by_policy(kind, env, made, seen))
        check(f"{kind}: policy lerobot: {count} chunks of 4 x 6, at most {worst:.1e} from LeRobot's", worst < MOST_DIFFERENCE)
        port = free_port()
        # A seed is for comparing: it stands in a policy file, as names and fps may.
        file = CHECKPOINTS / kind / "policy.yaml"
        sidecar = {"env": str(env), "device": "cpu", "seed": made["seed"]}
        write_policy_file(file, "lerobot", options={"checkpoint": ".", "sidecar": sidecar, "threads": 1})
        serve = [sys.executable, "-m", "vla_ros.cli.main", "serve", "--lerobot", CHECKPOINTS / kind]
        serve += ["--dataset", CHECKPOINTS, "--policy-file", file, "--port", str(port)]
        with running(serve, port):
            count, worst = compared(kind, said, by_openpi(kind, client, port, len(said)))
        check(f"{kind}: vla serve: {count} chunks of 4 x 6, at most {worst:.1e} from LeRobot's", worst < MOST_DIFFERENCE)


if __name__ == "__main__":
    main()
