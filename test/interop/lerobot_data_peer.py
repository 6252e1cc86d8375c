"""LeRobot's side of lerobot_data.py, in its own environment:

lerobot_data_peer.py open DATASET SEEN      what is in it, frame by frame
lerobot_data_peer.py convert DATASET SEEN   from v2.1 to v3.0 by LeRobot's converter, then the same
lerobot_data_peer.py write DATASET SEEN video|image   made-up frames by LeRobot's recorder, then the same
"""

import json
import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.feature_utils import dataset_to_policy_features

REPO = "made/up"
ROWS = 4  # of a chunk of actions


def look(folder, seen):
    fps = LeRobotDataset(REPO, root=folder).fps
    chunks = {"action": [row / fps for row in range(ROWS)]}
    dataset = LeRobotDataset(REPO, root=folder, delta_timestamps=chunks)
    vectors = [key for key, feature in dataset.features.items() if feature["dtype"].startswith(("float", "int"))]
    vectors = [key for key in vectors if key.startswith("observation.")]
    told = {"frames": len(dataset), "episodes": dataset.num_episodes, "fps": fps, "tasks": [], "chunks": [], "padding": [],
            "vectors": {key: [] for key in vectors}, "stats": {}, "of_policy": list(dataset_to_policy_features(dataset.features))}
    told["marks"] = {key: [] for key, feature in dataset.features.items() if feature["dtype"] in ("bool", "string")}
    images = {key: [] for key in dataset.meta.camera_keys}
    for index in range(len(dataset)):
        frame = dataset[index]
        told["tasks"].append(frame["task"])
        told["chunks"].append(frame["action"].tolist())
        told["padding"].append(frame["action_is_pad"].tolist())
        for key, marks in told["marks"].items():
            marks.append(frame[key] if isinstance(frame[key], str) else bool(frame[key]))
        for key in vectors:
            told["vectors"][key].append(np.atleast_1d(frame[key].numpy()).tolist())
        for key in images:
            images[key].append(np.round(frame[key].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    for key, entry in dataset.meta.stats.items():
        told["stats"][key] = {name: np.asarray(value).tolist() for name, value in entry.items()}
    seen.mkdir()
    (seen / "frames.json").write_text(json.dumps(told))
    np.savez(seen / "images.npz", **{key.removeprefix("observation.images."): frames for key, frames in images.items()})


def convert(folder, seen):
    from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset

    convert_dataset(REPO, root=folder, push_to_hub=False)
    look(folder, seen)


def write(folder, seen, kind):
    names = ["shoulder.pos", "elbow.pos", "gripper.pos"]
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": names},
        "action": {"dtype": "float32", "shape": (3,), "names": {"motors": names}},
        "observation.images.top": {"dtype": kind, "shape": (64, 96, 3), "names": ["height", "width", "channels"]},
        "observation.images.wrist": {"dtype": kind, "shape": (48, 48, 3), "names": ["height", "width", "channels"]},
    }
    dataset = LeRobotDataset.create(REPO, fps=15, features=features, root=folder, robot_type="made_up", use_videos=kind == "video")
    random = np.random.default_rng(0)
    for episode, length in enumerate((12, 9)):
        for index in range(length):
            frame = {"observation.state": random.normal(size=3).astype(np.float32), "action": random.normal(size=3).astype(np.float32)}
            for name, (height, width) in (("top", (64, 96)), ("wrist", (48, 48))):
                rows, columns = np.mgrid[:height, :width]
                wave = 60 * np.sin((columns + 6 * index) / 9) + 30 * np.cos(rows / 7) + 110 + 20 * episode
                frame[f"observation.images.{name}"] = np.repeat(wave[..., None], 3, -1).astype(np.uint8)
            dataset.add_frame({**frame, "task": ("put it down", "Pick it up!")[episode]})
        dataset.save_episode()
    dataset.finalize()
    look(folder, seen)


if __name__ == "__main__":
    verb, folder, seen, *rest = sys.argv[1:]
    {"open": look, "convert": convert, "write": write}[verb](Path(folder), Path(seen), *rest)
