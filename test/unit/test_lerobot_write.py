"""The folder is what LeRobotDataset v3.0 says: every file, column, type and path; read here without our reader."""
import json
import os

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="datasets need pyarrow")
av = pytest.importorskip("av", reason="datasets need PyAV")
import pyarrow.parquet as pq
from demonstrations import LENGTHS, SPEC, TASKS, action, make_image, make_images, state, write

from vla_ros.core.types import Instruction, Observation
from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.write import DatasetWriter, ParquetSeries
from vla_ros.datasets.statistics import QUANTILES

TOTAL = sum(LENGTHS)
CAMERAS = ("observation.images.front", "observation.images.wrist")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "set")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_files_are_where_v3_has_them_and_no_others(folder):
    assert files(folder) == sorted([
        "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet",
        "data/chunk-000/file-000.parquet", *(f"videos/{key}/chunk-000/file-000.mp4" for key in CAMERAS)])


def test_info_says_what_the_reader_needs(folder):
    info = json.loads((folder / "meta/info.json").read_text())
    features = info.pop("features")
    assert info == {
        "codebase_version": "v3.0", "robot_type": "sim", "total_episodes": 3, "total_frames": TOTAL, "total_tasks": 2,
        "chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": 10,
        "splits": {"train": "0:3"}, "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"}
    video = features["observation.images.front"]
    assert (video["dtype"], video["shape"], video["names"]) == ("video", [64, 96, 3], ["height", "width", "channels"])
    assert video["info"] == {"video.height": 64, "video.width": 96, "video.codec": "av1", "video.pix_fmt": "yuv420p",
                             "video.is_depth_map": False, "video.fps": 10, "video.channels": 3, "has_audio": False}
    assert features["action"] == {"dtype": "float32", "shape": [2], "names": ["linear.x", "angular.z"]}
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    assert {name for name, feature in features.items() if feature["dtype"] == "int64"} == {
        "frame_index", "episode_index", "index", "task_index"}


def test_data_has_the_columns_and_types_of_the_features(folder):
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    vector = {size: pa.list_(pa.field("element", pa.float32()), size) for size in (2, 3)}
    assert {field.name: field.type for field in table.schema} == {
        "observation.state": vector[3], "action": vector[2], "odom": vector[3], "timestamp": pa.float32(),
        "frame_index": pa.int64(), "episode_index": pa.int64(), "index": pa.int64(), "task_index": pa.int64()}
    assert table["index"].to_pylist() == list(range(TOTAL))
    assert table["episode_index"].to_pylist() == [0] * 7 + [1] * 4 + [2] * 9
    assert table["frame_index"].to_pylist() == [*range(7), *range(4), *range(9)]
    assert table["task_index"].to_pylist() == [0] * 7 + [1] * 4 + [0] * 9
    assert table["timestamp"].to_pylist() == pytest.approx([frame / 10 for frame in table["frame_index"].to_pylist()])
    assert table["action"].to_pylist()[8] == pytest.approx([0.01, -0.5])
    assert table["odom"].to_pylist()[12] == pytest.approx([2.0, 0.1, 0.0])


def test_a_vector_of_one_is_a_plain_number(tmp_path):
    spec = DatasetSpec(10, {}, ("linear.x",), ("linear.x",))
    folder = write(tmp_path / "set", spec, lengths=(2,))
    assert pq.read_schema(folder / "data/chunk-000/file-000.parquet").field("action").type == pa.float32()
    assert json.loads((folder / "meta/info.json").read_text())["video_path"] is None


def test_tasks_are_a_pandas_table_with_the_words_as_its_index(folder):
    table = pq.read_table(folder / "meta/tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "__index_level_0__": list(TASKS[:2])}
    pandas = json.loads(table.schema.metadata[b"pandas"])
    assert pandas["index_columns"] == ["__index_level_0__"]
    assert [column["field_name"] for column in pandas["columns"]] == ["task_index", "__index_level_0__"]


def test_an_episode_s_row_says_where_its_frames_are(folder):
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    starts = [0, 7, 11, 20]
    for index, row in enumerate(rows):
        assert (row["episode_index"], row["length"], row["tasks"]) == (index, LENGTHS[index], [TASKS[index]])
        assert (row["dataset_from_index"], row["dataset_to_index"]) == tuple(starts[index:index + 2])
        for key in CAMERAS:
            assert (row[f"videos/{key}/from_timestamp"], row[f"videos/{key}/to_timestamp"]) == pytest.approx(
                (starts[index] / 10, starts[index + 1] / 10))
            assert (row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]) == (0, 0)
        for part in ("data", "meta/episodes"):
            assert (row[f"{part}/chunk_index"], row[f"{part}/file_index"]) == (0, 0)
        assert (row["vla_ros/success"], row["vla_ros/instruction_id"]) == ((True if index else None), index + 5)


def test_the_video_has_every_frame_at_its_time(folder):
    with av.open(str(folder / f"videos/{CAMERAS[0]}/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.pix_fmt) == (TOTAL, 10, "yuv420p")
        frames = list(container.decode(stream))
    assert [frame.time for frame in frames] == pytest.approx([index / 10 for index in range(TOTAL)], abs=1e-6)
    assert all(frames[start].key_frame for start in (0, 7, 11))
    right = [make_image(episode, frame, (64, 96)) for episode, length in enumerate(LENGTHS) for frame in range(length)]
    for found, image in zip(frames, right):  # lossy: PSNR (dB), of the frame before or after 22
        error = np.square(found.to_ndarray(format="rgb24").astype(float) - image).mean()
        assert 10 * np.log10(255 ** 2 / error) > 38


def test_statistics_of_the_dataset_and_of_each_episode_are_numpy_s(folder):
    actions = np.array([list(action(episode, frame).values()) for episode, length in enumerate(LENGTHS)
                        for frame in range(length)], np.float32).astype(float)
    stats = json.loads((folder / "meta/stats.json").read_text())
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    parts = [(stats["action"], actions)] + [
        ({name: rows[index][f"stats/action/{name}"] for name in stats["action"]}, actions[start:end])
        for index, (start, end) in enumerate([(0, 7), (7, 11), (11, 20)])]
    for found, values in parts:
        assert found["mean"] == pytest.approx(values.mean(0), abs=1e-7) and found["std"] == pytest.approx(values.std(0), abs=1e-7)
        assert found["min"] == pytest.approx(values.min(0)) and found["max"] == pytest.approx(values.max(0))
        assert found["count"] == [len(values)]
        for name, share in QUANTILES.items():
            assert found[name] == pytest.approx(np.quantile(values, share, axis=0), abs=1e-7)
    assert set(stats) == set(json.loads((folder / "meta/info.json").read_text())["features"])
    images = np.concatenate([make_image(episode, frame, (64, 96))[None] for episode, length in enumerate(LENGTHS)
                             for frame in range(length)]) / 255.0
    front = stats[CAMERAS[0]]
    assert np.shape(front["mean"]) == (3, 1, 1) and front["count"] == [TOTAL]
    assert np.ravel(front["mean"]) == pytest.approx(images.mean((0, 1, 2)))
    assert np.ravel(rows[1][f"stats/{CAMERAS[0]}/q50"]) == pytest.approx(np.quantile(images[7:11], 0.5, axis=(0, 1, 2)))


def test_full_files_are_followed_by_others_and_full_chunks_too(tmp_path):
    folder = write(tmp_path / "set", data_mb=1e-6, video_mb=1e-6, chunks_size=2)
    names = ["chunk-000/file-000", "chunk-000/file-001", "chunk-001/file-000"]
    assert [name for name in files(folder) if name.startswith("data")] == [f"data/{name}.parquet" for name in names]
    assert [name for name in files(folder) if "front" in name] == [f"videos/{CAMERAS[0]}/{name}.mp4" for name in names]
    row = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[2]
    assert (row["data/chunk_index"], row["data/file_index"]) == (1, 0)
    assert (row[f"videos/{CAMERAS[1]}/chunk_index"], row[f"videos/{CAMERAS[1]}/from_timestamp"]) == (1, 0.0)


def test_what_was_flushed_is_whole_even_if_the_end_never_comes(tmp_path):
    writer = DatasetWriter(tmp_path / "set", SPEC, flush_every=1)
    for frame in range(3):
        writer.add_frame(make_images(0, frame), state(0, frame), action(0, frame))
    writer.save_episode("turn left")
    writer.add_frame(make_images(1, 0), state(1, 0), action(1, 0))  # and then the power is gone
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"]) == (1, 3)
    assert pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet").num_rows == 3
    writer.finalize()
    assert not [name for name in files(tmp_path / "set") if name.endswith(".part")]


def test_a_dropped_episode_leaves_no_trace(tmp_path):
    with DatasetWriter(tmp_path / "set", SPEC) as writer:
        for episode in range(2):
            for frame in range(2):
                writer.add_frame(make_images(episode, frame), state(episode, frame), action(episode, frame))
            if episode == 0:
                writer.drop_episode()
        writer.save_episode("turn left")
    table = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    assert table["episode_index"].to_pylist() == [0, 0] and table["odom"].to_pylist()[0][0] == 1.0
    with av.open(str(tmp_path / f"set/videos/{CAMERAS[0]}/chunk-000/file-000.mp4")) as container:
        assert container.streams.video[0].frames == 2


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux' scheduling")
def test_a_recorder_that_runs_as_root_does_not_come_before_everything_else(tmp_path):
    """SVT-AV1 makes itself and its caller SCHED_FIFO, priority 99, where it may."""
    def priorities():
        return {int(thread): os.sched_getparam(int(thread)).sched_priority for thread in os.listdir("/proc/self/task")}
    before = priorities()
    with DatasetWriter(tmp_path / "set", SPEC) as writer:
        for frame in range(2):
            writer.add_frame(make_images(0, frame), state(0, frame), action(0, frame))
        during = priorities()
        writer.save_episode("turn left")
    assert len(during) > len(before) and set(during.values()) == {0}


def test_h264_for_those_who_cannot_decode_av1(tmp_path):
    folder = write(tmp_path / "set", lengths=(3, 3), codec="h264")
    with av.open(str(folder / f"videos/{CAMERAS[0]}/chunk-000/file-000.mp4")) as container:
        assert container.streams.video[0].codec.canonical_name == "h264"
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-6)


def test_a_spec_for_an_observation_puts_the_pose_aside():
    observation = Observation(0, Instruction(0, 1, ""), make_images(0, 0), state(0, 0))
    assert DatasetSpec.of(observation, ("linear.x", "angular.z"), 10, "sim") == SPEC


@pytest.mark.parametrize("change, sentence", [
    ({"fps": 12.5}, "fps is 12.5"), ({"fps": 0}, "fps is 0"), ({"cameras": {"front": (63, 96)}}, "63x96"),
    ({"cameras": {"a/b": (64, 64)}}, "'a/b'"), ({"action": ()}, "'action' has the names"),
    ({"state": ("x", "x")}, "each once"), ({"extra": {"index": ("a",)}}, "'index'")])
def test_a_spec_that_cannot_be_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        DatasetSpec(**{**vars(SPEC), **change})


@pytest.mark.parametrize("images, numbers, wanted, sentence", [
    ({}, {}, {}, "camera 'front' has no image"),
    ({"front": np.zeros((64, 64, 3), np.uint8)}, {}, {}, r"\(64, 64, 3\) of uint8; \(64, 96, 3\) of uint8 is right"),
    ({"front": np.zeros((64, 96, 3))}, {}, {}, "float64"),
    (None, {"gripper_joint": None}, {}, "observation.state lacks 'gripper_joint'"),
    (None, {"odom.x": float("nan")}, {}, "odom: 'odom.x' is nan"),
    (None, {}, {"angular.z": float("inf")}, "action: 'angular.z' is inf"),
    (None, {}, {"angular.z": 1e300}, "action: 'angular.z' is 1e")])
def test_a_frame_that_does_not_fit_is_refused_and_nothing_of_it_kept(tmp_path, images, numbers, wanted, sentence):
    with DatasetWriter(tmp_path / "set", SPEC) as writer:
        given = {name: value for name, value in {**state(0, 0), **numbers}.items() if value is not None}
        with pytest.raises(ValueError, match=sentence) as error:
            writer.add_frame(make_images(0, 0) if images is None else images, given, {**action(0, 0), **wanted})
        assert "episode 0, frame 0" in str(error.value) and writer.length == 0
        writer.add_frame(make_images(0, 0), state(0, 0), action(0, 0))
        writer.save_episode("turn left")


def test_an_empty_episode_an_empty_task_and_a_folder_in_use_are_refused(tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter").write_text("dear")
    with pytest.raises(ValueError, match="is not empty"):
        DatasetWriter(tmp_path / "used", SPEC)
    with pytest.raises(ValueError, match="cannot write to"):
        DatasetWriter(tmp_path / "used" / "letter", SPEC)
    with pytest.raises(ValueError, match="codec is 'divx'"):
        DatasetWriter(tmp_path / "other", SPEC, codec="divx")
    with DatasetWriter(tmp_path / "set", SPEC) as writer:
        with pytest.raises(ValueError, match="episode 0 has no frames"):
            writer.save_episode("turn left")
        writer.add_frame(make_images(0, 0), state(0, 0), action(0, 0))
        with pytest.raises(ValueError, match="the task ' '"):
            writer.save_episode(" ")
    assert not (tmp_path / "set/meta/info.json").exists()  # nothing saved: no dataset


@pytest.mark.parametrize("size, place", [(100, (0, 0)), (100_000, (0, 1))])
def test_a_table_that_would_make_a_file_too_large_begins_another(tmp_path, size, place):
    series = ParquetSeries(tmp_path, "{chunk_index}/{file_index}.parquet", 50_000, 1000)
    series.write(pa.table({"index": [1, 2, 3]}))
    assert series.place(size) == place
    series.close()
