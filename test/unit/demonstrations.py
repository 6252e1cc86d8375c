"""Small demonstrations to write and to break: images that tell episode and frame apart."""
import json
from pathlib import Path

import numpy as np

from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.write import DatasetWriter

SPEC = DatasetSpec(10, {"front": (64, 96), "wrist": (48, 48)}, ("linear.x", "angular.z", "gripper_joint"),
                   ("linear.x", "angular.z"), {"odom": ("odom.x", "odom.y", "odom.yaw")}, "sim")
LENGTHS = (7, 4, 9)
TASKS = ("go to the red block", "turn left", "go to the red block")


def make_image(episode, frame, size):
    """Waves that move on with the frame, of a brightness that says the episode; H x W x 3."""
    rows, columns = np.mgrid[:size[0], :size[1]]
    wave = 50 * np.sin(2 * np.pi * (columns + 8 * frame) / 48) + 40 * np.cos(2 * np.pi * rows / 48)
    return (wave[..., None] + 100 + [10 * episode, 20 * episode, 30 * episode]).astype(np.uint8)


def make_images(episode, frame, spec=SPEC):
    return {name: make_image(episode, frame, size) for name, size in spec.cameras.items()}


def state(episode, frame):
    return {"linear.x": 0.1 * frame, "angular.z": -0.2 * episode, "gripper_joint": 0.05, "odom.x": 1.0 * episode,
            "odom.y": 0.1 * frame, "odom.yaw": 0.0}


def action(episode, frame):
    return {"linear.x": 0.01 * frame, "angular.z": 0.5 - episode}


def write(folder: Path, spec=SPEC, lengths=LENGTHS, tasks=TASKS, **options) -> Path:
    with DatasetWriter(folder, spec, **options) as writer:
        for episode, (length, task) in enumerate(zip(lengths, tasks)):
            for frame in range(length):
                writer.add_frame(make_images(episode, frame, spec), state(episode, frame), action(episode, frame))
            writer.save_episode(task, success=True if episode else None, instruction_id=episode + 5)
    return folder


# -- as other people have them ---------------------------------------------------------------------------------
DATA = "data/chunk-000/file-000.parquet"


def change_info(folder: Path, change) -> None:
    """`change` gets meta/info.json."""
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def set_column(path: Path, name: str, values) -> None:
    """A column of a parquet file, as another or as a new one; `values`: an array of pyarrow, or what makes one."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    table, array = pq.read_table(path), values if isinstance(values, pa.Array) else pa.array(values)
    place = table.schema.get_field_index(name)
    pq.write_table(table.append_column(name, array) if place < 0 else table.set_column(place, name, array), path)


def add_feature(folder: Path, name: str, values, **described) -> None:
    """A feature of all frames, in a dataset of one data file; `described`: as info.json has it."""
    set_column(folder / DATA, name, values)
    change_info(folder, lambda info: info["features"].update({name: described}))


def video(path: Path, images, fps: int = 10, times=None) -> None:
    """`times`: of the images, ms; else on the rate."""
    from fractions import Fraction

    import av
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", fps, options={"crf": "10", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def as_v2(folder: Path, out: Path, chunks_size: int = 2) -> Path:
    """A dataset of `write` in the layout of v2.1: a file an episode, lines of JSON."""
    import pyarrow.parquet as pq
    info = json.loads((folder / "meta/info.json").read_text())
    table = pq.read_table(folder / DATA)
    (out / "meta").mkdir(parents=True)
    tasks = pq.read_table(folder / "meta/tasks.parquet").to_pydict()["__index_level_0__"]
    lines = [{"task_index": index, "task": task} for index, task in enumerate(tasks)]
    (out / "meta/tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, start = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist(), 0
    cameras = [key for key, feature in info["features"].items() if feature["dtype"] == "video"]
    lines = []
    for row in rows:
        episode, length = row["episode_index"], row["length"]
        chunk, name = f"chunk-{episode // chunks_size:03d}", f"episode_{episode:06d}"
        (out / "data" / chunk).mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(start, length), out / "data" / chunk / f"{name}.parquet")
        for key in cameras:
            size = tuple(info["features"][key]["shape"][:2])
            video(out / "videos" / chunk / key / f"{name}.mp4", [make_image(episode, frame, size) for frame in range(length)])
        lines.append({"episode_index": episode, "tasks": row["tasks"], "length": length})
        start += length
    (out / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for key in ("data_files_size_in_mb", "video_files_size_in_mb"):
        info.pop(key)
    info |= {"codebase_version": "v2.1", "chunks_size": chunks_size, "total_chunks": 2, "total_videos": 6,
             "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
             "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"}
    (out / "meta/info.json").write_text(json.dumps(info))
    return out
