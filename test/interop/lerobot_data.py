"""`make check-interop`: datasets between us and LeRobot 0.6.1, which runs in an environment of its own.

What we write as v3.0 is opened by LeRobot. What we write as v2.1 goes through LeRobot's own converter from v2.1 to v3.0, which
no dataset passes that v2.1's readers would stumble over, and is opened too. What LeRobot writes, as videos and as images, is
read by us. Each time all numbers, words and images are compared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "test" / "unit"))

import demonstrations

from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.datasets.lerobot.write_v2 import write_v2
from vla_ros.policies.lerobot.environment import new_enough_python

ENVIRONMENT = ROOT / "build" / "interop" / "lerobot_data"
PACKAGES = ("lerobot[dataset]==0.6.1", "jsonlines", "requests")
PEER = Path(__file__).with_name("lerobot_data_peer.py")
WORK = ROOT / "build" / "interop" / "datasets"
# two decoders of the same bytes, or one of each: half a grey level, and what yuv420p costs at edges
SAME_PIXELS, THEIR_PIXELS = 1.0, 6.0


def environment() -> Path:
    """The Python that has LeRobot's packages."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / ".ready"
    if not ready.exists():
        subprocess.run([new_enough_python(), "-I", "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        ready.touch()
    return python


def peer(python: Path, *words: str | Path) -> None:
    """LeRobot does as it is told; what it says is shown when it fails."""
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(WORK / "hub"), "PYTHONPATH": ""}
    answer = subprocess.run([python, PEER, *map(str, words)], capture_output=True, text=True, env=quiet)
    if answer.returncode:
        print(answer.stdout[-2000:], answer.stderr[-4000:])
        raise SystemExit(f"✗ LeRobot: {' '.join(map(str, words))}")


def compare(what: str, seen: Path, dataset: Dataset, most: float = SAME_PIXELS) -> None:
    """`seen`: what LeRobot found in the same dataset, as lerobot_data_peer.py leaves it."""
    told = json.loads((seen / "frames.json").read_text())
    images = np.load(seen / "images.npz")
    frames = range(len(dataset))
    chunks = [dataset.actions(index, len(told["padding"][0])) for index in frames]
    is_so = {
        "counts": (told["frames"], told["episodes"], told["fps"]) == (len(frames), len(dataset.episodes), dataset.fps),
        "words": told["tasks"] == [dataset.task(index) for index in frames],
        "actions": np.array_equal(np.array(told["chunks"], np.float32), [rows for rows, _ in chunks]),
        "padding": np.array_equal(told["padding"], [padding for _, padding in chunks]),
        "cameras": set(images) == set(dataset.cameras),
    }
    for key, rows in told["vectors"].items():
        is_so[key] = np.array_equal(np.array(rows, np.float32), dataset.vector(key))
    worst = 0.0
    for camera in dataset.cameras:
        for index in frames:
            apart = np.abs(images[camera][index].astype(float) - dataset.image(index, camera)).mean()
            worst = max(worst, float(apart))
    is_so["images"] = worst <= most
    for key in dataset.names:
        right = dataset.statistics(key)
        for figure in ("min", "max", "mean", "std"):
            entry = told["stats"][key][figure]
            is_so[f"{figure} of {key}"] = np.allclose(entry, right[figure], rtol=1e-4, atol=1e-5)
    wrong = [name for name, fine in is_so.items() if not fine]
    print(f"{'✗' if wrong else '✓'} {what}: {len(frames)} frames, {len(is_so)} comparisons, images {worst:.2g} grey levels apart")
    if wrong:
        raise SystemExit(f"not alike: {', '.join(wrong)}")


def ours_is_opened(python: Path, out: Path) -> None:
    dataset = Dataset(demonstrations.write(out / "set"))
    peer(python, "open", out / "set", out / "seen")
    compare("LeRobot opens our v3.0", out / "seen", dataset)


def driven_in_turns_is_opened(python: Path, out: Path) -> None:
    """Who had the robot is in every frame, in two sittings; a policy of theirs is told of none of it."""
    import test_lerobot_append

    test_lerobot_append.write_turns(out / "set", (0,), (True,))
    dataset = Dataset(test_lerobot_append.write_turns(out / "set", (1,), (None,), append=True))
    peer(python, "open", out / "set", out / "seen")
    compare("LeRobot opens episodes driven in turns, in two sittings", out / "seen", dataset)
    told = json.loads((out / "seen" / "frames.json").read_text())
    marks = {name: dataset.marked(name).tolist() for name in ("intervention", "next.success", "gate.held")}
    if told["marks"] != {**marks, "control_source": dataset.control_source}:
        raise SystemExit(f"not alike: {told['marks']}")
    if told["of_policy"] != ["observation.images.front", "observation.images.wrist", "observation.state", "action"]:
        raise SystemExit(f"a policy would be made of {told['of_policy']}")


def many_files_are_opened(python: Path, out: Path) -> None:
    dataset = Dataset(demonstrations.write(out / "set", data_mb=1e-6, video_mb=1e-6))
    peer(python, "open", out / "set", out / "seen")
    compare("LeRobot opens our v3.0 in many files", out / "seen", dataset)


def our_v21_is_converted(python: Path, out: Path) -> None:
    source = Dataset(demonstrations.write(out / "set"))
    for name, codec in (("copied", ""), ("as H.264", "h264")):
        old = out / f"v21_{codec}"
        write_v2(source, old, codec)
        kept = shutil.copytree(old, out / f"kept_{codec}")  # the converter moves what it is given
        peer(python, "convert", old, out / f"seen_{codec}")
        compare(f"LeRobot's converter takes our v2.1, videos {name}", out / f"seen_{codec}", Dataset(kept))


def theirs_is_read(python: Path, out: Path) -> None:
    for kind in ("video", "image"):
        peer(python, "write", out / kind, out / f"{kind}_seen", kind)
        theirs = Dataset(out / kind)
        compare(f"we read LeRobot's v3.0 with {kind}s", out / f"{kind}_seen", theirs)
        write_v2(theirs, out / f"{kind}_v21")
        peer(python, "convert", out / f"{kind}_v21", out / f"{kind}_v21_seen")
        compare("and LeRobot's converter takes it as our v2.1", out / f"{kind}_v21_seen", theirs, THEIR_PIXELS)


def a_bag_is_opened(python: Path, out: Path) -> None:
    if find_spec("rosbags") is None:
        print("- bags are not tried: rosbags is not installed")
        return
    import test_bag_convert

    path = test_bag_convert.bag(out / "bag", test_bag_convert.messages())
    dataset, *_ = test_bag_convert.converted(path, out / "set")
    peer(python, "open", out / "set", out / "seen")
    compare("LeRobot opens what we made of a bag", out / "seen", dataset)


STEPS = (ours_is_opened, driven_in_turns_is_opened, many_files_are_opened, our_v21_is_converted, theirs_is_read, a_bag_is_opened)


def main() -> None:
    python = environment()
    for step in STEPS:
        out = WORK / step.__name__
        done = out / ".done"
        if done.exists():
            print(f"✓ {step.__name__}: done before the last run was cut off")
            continue
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        step(python, out)
        done.touch()
    # a run that came to its end leaves nothing to go on with
    shutil.rmtree(WORK)


if __name__ == "__main__":
    main()
