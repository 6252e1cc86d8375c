"""Datasets as other people write them: read right, or left out with the reason, or refused in a sentence."""
import json
import re
import shutil

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="datasets need pyarrow")
av = pytest.importorskip("av", reason="datasets need PyAV")
import cv2
import pyarrow.parquet as pq
from demonstrations import (
    DATA,
    LENGTHS,
    SPEC,
    TASKS,
    action,
    add_feature,
    as_v2,
    change_info,
    make_image,
    set_column,
    state,
    video,
    write,
)

from vla_ros.datasets.lerobot.read import Dataset

TOTAL = sum(LENGTHS)
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
PLACES = [(episode, frame) for episode, length in enumerate(LENGTHS) for frame in range(length)]
FRONT = "observation.images.front"
JOINTS = ["linear.x", "angular.z", "gripper_joint"]  # as observation.state has them


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "set")


def feature(folder, name, **changes):
    change_info(folder, lambda info: info["features"][name].update(changes))


def psnr(found, right):
    return 10 * np.log10(255 ** 2 / max(1e-9, np.square(found.astype(float) - right).mean()))


def assert_whole(dataset, cameras=tuple(SPEC.cameras)):
    """Every frame has its numbers, words and images."""
    assert [(one.start, one.end, one.task) for one in dataset.episodes] == [
        (0, 7, TASKS[0]), (7, 11, TASKS[1]), (11, 20, TASKS[2])]
    assert set(dataset.cameras) == set(cameras)
    for index in np.random.default_rng(1).permutation(len(dataset)):
        episode, place = PLACES[index]
        found = dataset.frame(int(index))
        assert (found.episode, found.index, found.task) == (episode, place, TASKS[episode])
        assert {name: found.state[name] for name in JOINTS} == pytest.approx(
            {name: state(episode, place)[name] for name in JOINTS})
        assert found.action == pytest.approx(list(action(episode, place).values()))
        for camera in cameras:
            assert psnr(found.images[camera], make_image(episode, place, SPEC.cameras[camera])) > 30, (index, camera)


# -- layouts --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", ["v2.1", "v2.0", "v3.0"])  # the paths tell the layout
def test_a_file_an_episode_is_v2_1(whole, tmp_path, version):
    old = as_v2(whole, tmp_path / "old")
    change_info(old, lambda info: info.update(codebase_version=version))
    dataset = Dataset(old)
    assert (len(dataset), dataset.fps, dataset.tasks) == (TOTAL, 10.0, list(TASKS[:2]))
    assert_whole(dataset)
    assert [len(list(dataset.images(episode, "wrist"))) for episode in range(3)] == list(LENGTHS)
    assert dataset.episodes[0].success is None and dataset.notes == []


def lines(name, change):
    def apply(folder):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        (folder / name).write_text("\n".join(map(json.dumps, change(rows))) + "\n\n")
    return apply


def cut_video(folder):
    path = folder / f"videos/chunk-001/{FRONT}/episode_000002.mp4"
    video(path, [make_image(2, frame, SPEC.cameras["front"]) for frame in range(8)])


BROKEN_V2 = {
    "no episodes": (lambda f: (f / "meta/episodes.jsonl").unlink(), "episodes.jsonl is missing"),
    "no tasks": (lambda f: (f / "meta/tasks.jsonl").unlink(), "tasks.jsonl is missing"),
    "half a line": (lambda f: (f / "meta/tasks.jsonl").write_text('{"task_index": 0'), "tasks.jsonl, line 1, cannot be read"),
    "a bare word": (lambda f: (f / "meta/episodes.jsonl").write_text("3\n"), "line 1, holds a int"),
    "no length": (lines("meta/episodes.jsonl", lambda rows: [{"episode_index": row["episode_index"]} for row in rows]),
                  "length None; a whole number"),
    "an episode twice": (lines("meta/episodes.jsonl", lambda rows: [rows[0], rows[1], rows[1]]), "has episode 1"),
    "no words": (lines("meta/tasks.jsonl", lambda rows: [{"task_index": 0}, rows[1]]), "with words each is right"),
    "a file is gone": (lambda f: (f / "data/chunk-001/episode_000002.parquet").unlink(), "episode_000002.parquet is missing"),
    "a video is gone": (lambda f: (f / f"videos/chunk-000/{FRONT}/episode_000001.mp4").unlink(),
                        "episode_000001.mp4 is missing; episode 1 needs it"),
    "a short video": (cut_video, "no image at 0.8000 s, for episode 2, frame 8: it has 8 images"),
    "another length": (lines("meta/episodes.jsonl", lambda rows: [{**rows[0], "length": 6}, rows[1], {**rows[2], "length": 10}]),
                       "episode 1, frame 0: episode_index is 0"),
    "no chunks": (lambda f: change_info(f, lambda info: info.update(chunks_size=0)), "chunks_size is 0"),
}


@pytest.mark.parametrize("name", BROKEN_V2)
def test_a_broken_v2_1_is_a_sentence(whole, tmp_path, name):
    breaking, sentence = BROKEN_V2[name]
    old = as_v2(whole, tmp_path / "old")
    breaking(old)
    with pytest.raises(ValueError, match=sentence) as error:
        Dataset(old)
    assert "\n" not in str(error.value)


def test_rows_of_episodes_come_in_any_order(folder, tmp_path, whole):
    table = pq.read_table(folder / EPISODES)
    pq.write_table(table.take([2, 0, 1]), folder / EPISODES)
    assert_whole(Dataset(folder))
    old = as_v2(whole, tmp_path / "old")
    lines("meta/episodes.jsonl", lambda rows: rows[::-1])(old)
    lines("meta/tasks.jsonl", lambda rows: rows[::-1])(old)
    assert_whole(Dataset(old))


@pytest.mark.parametrize("options", [{"flush_every": 2}, {"data_mb": 1e-6, "video_mb": 100.0}])
def test_several_files_of_several_episodes_each(tmp_path, options):
    assert_whole(Dataset(write(tmp_path / "set", **options)))


JUNK = [None, 0, -1, 3, 2.5, 1e300, float("nan"), True, "", "x", "{", "{a}", [], [1], [[1]], [None], ["a"], {}, {"a": 1},
        {"a": {"b": None}}, [-3], [2, 2], "video", "image", "string", "int64", "observation.state", "v2.1", 10 ** 30]


def spots(content, spot=()):
    """Where something stands in JSON."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*spot, key)
        yield from spots(value, (*spot, key))


@pytest.mark.parametrize("name", ["meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl"])
def test_whatever_stands_in_a_file_is_read_or_a_sentence(whole, tmp_path, name):
    old = as_v2(whole, tmp_path / "old")
    path, random = old / name, np.random.default_rng(2)
    before = [json.loads(line) for line in path.read_text().splitlines()]
    read = 0
    for _ in range(60):
        content = json.loads(json.dumps(before))
        places = list(spots(content))
        *way, last = places[random.integers(len(places))]
        inner = content
        for key in way:
            inner = inner[key]
        inner[last] = JUNK[random.integers(len(JUNK))]
        path.write_text("\n".join(map(json.dumps, content)))
        try:
            dataset = Dataset(old)
            dataset.frame(0)
            read += 1
        except ValueError as problem:
            assert type(problem) is ValueError and "\n" not in str(problem), (way, last)
    assert 0 < read < 60


# -- names ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("given", "right"), [
    ([["a", "b", "c"]], ("a", "b", "c")), ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
    ({"c": 2, "a": 0, "b": 1}, ("a", "b", "c")), ({"motors": {"b": 1, "a": 0, "c": 2}}, ("a", "b", "c")),
    ({"left": ["a"], "right": ["b", "c"]}, ("a", "b", "c")),
    ({"left": ["a", "b"], "right": ["a"]}, ("left.a", "left.b", "right.a"))])
def test_names_are_found_in_every_wrapping(folder, given, right):
    feature(folder, "observation.state", names=given)
    dataset = Dataset(folder)
    assert dataset.names["observation.state"] == right and dataset.notes == []
    assert list(dataset.inputs)[:3] == list(right)
    assert dataset.frame(1).state[right[0]] == pytest.approx(0.1)


@pytest.mark.parametrize("given", [None, ["a"], [], {}, "arm", {"a": 0, "b": 5, "c": 1}, {"a": "rad", "b": "rad", "c": "m"},
                                   ["a", "", "c"], 7, {"left": ["a", "b"], "right": None}])
def test_where_no_name_fits_numbers_are_called_by_their_place_and_it_is_said(folder, given):
    feature(folder, "observation.state", names=given)
    dataset = Dataset(folder)
    assert dataset.names["observation.state"] == tuple(f"observation.state.{place}" for place in range(3))
    assert len(dataset.notes) == 1 and "'observation.state' has " in dataset.notes[0] and "names" in dataset.notes[0]


def test_a_name_that_comes_twice_is_told_apart_by_its_place(folder):
    feature(folder, "observation.state", names=["x", "gripper", "gripper"])
    dataset = Dataset(folder)
    assert dataset.names["observation.state"] == ("x", "gripper.1", "gripper.2") and "'gripper' 2 times" in dataset.notes[0]


# -- what is learnt from ----------------------------------------------------------------------------------------
def test_position_velocity_and_effort_of_the_same_joints_are_told_apart(folder):
    for name, factor in (("observation.velocity", 10.0), ("observation.effort", 100.0)):
        add_feature(folder, name, [[factor * index + joint for joint in range(3)] for index in range(TOTAL)],
                    dtype="float32", shape=[3], names=JOINTS)
    # As a writer that sorts its features by name has them: the state is not the first.
    change_info(folder, lambda info: info.update(features=dict(sorted(info["features"].items()))))
    dataset = Dataset(folder)
    assert_whole(dataset)
    found = dataset.frame(4).state
    assert found["observation.velocity.linear.x"] == 40.0 and found["observation.effort.gripper_joint"] == 402.0
    assert found["odom.y"] == pytest.approx(0.4)
    assert [note for note in dataset.notes if "observation.velocity.NAME" in note]
    assert dataset.vector("observation.effort")[2].tolist() == [200.0, 201.0, 202.0]


def test_rewards_ends_and_indices_are_never_inputs(folder):
    for name, dtype in (("next.reward", "float32"), ("next.done", "bool"), ("next.success", "bool"), ("reward", "float32"),
                        ("observation.success", "bool"), ("observation.stage_index", "int64"), ("subtask_index", "int64")):
        add_feature(folder, name, np.arange(TOTAL).astype(dtype), dtype=dtype, shape=[1], names=None)
    dataset = Dataset(folder)
    assert set(dataset.frame(3).state) == {*JOINTS, "odom.x", "odom.y", "odom.yaw"}
    assert any("next.reward" in note and "no model is told" in note for note in dataset.notes)
    assert dataset.vector("next.reward")[3].tolist() == [3.0]


def test_without_a_state_there_are_images_words_and_actions(folder):
    change_info(folder, lambda info: info["features"].pop("observation.state"))
    dataset = Dataset(folder)
    assert dataset.state.shape == (TOTAL, 0) and dataset.action.shape == (TOTAL, 2)
    assert set(dataset.frame(2).state) == {"odom.x", "odom.y", "odom.yaw"}
    assert any("no 'observation.state'" in note and "odom" in note for note in dataset.notes)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float64", "float16", "bool"])
def test_actions_of_every_type_of_number(folder, dtype):
    rows = np.arange(2 * TOTAL).reshape(TOTAL, 2).astype(dtype)
    set_column(folder / DATA, "action", pa.array(rows.tolist(), pa.list_(pa.from_numpy_dtype(np.dtype(dtype)))))
    feature(folder, "action", dtype=dtype)
    dataset = Dataset(folder)
    assert dataset.action.dtype == np.float32
    np.testing.assert_array_equal(dataset.action, rows.astype(np.float32))


def test_a_number_too_large_for_float32_is_a_sentence(folder):
    set_column(folder / DATA, "action", [[0.0, 1e300]] * TOTAL)
    with pytest.raises(ValueError, match="number 1 of 'action' is inf"):
        Dataset(folder)


def test_openpi_s_names_of_state_and_actions(folder):
    table = pq.read_table(folder / DATA)
    names = [{"action": "actions", "observation.state": "state"}.get(name, name) for name in table.column_names]
    pq.write_table(table.rename_columns(names), folder / DATA)
    change_info(folder, lambda info: info["features"].update(
        actions=info["features"].pop("action"), state=info["features"].pop("observation.state")))
    assert_whole(Dataset(folder))


# -- what nobody uses ---------------------------------------------------------------------------------------------
MATRIX = {"dtype": "float32", "shape": [4, 4], "names": None}
NAN = [[float("nan"), 1.0]] * TOTAL
UNUSED = {
    "matrix": ("observation.pose", [[[0.0] * 4] * 4] * TOTAL, MATRIX, r"the shape \[4, 4\]"),
    "words": ("annotation", ["well"] * TOTAL, {"dtype": "string", "shape": [1], "names": None}, "holds string"),
    "nan": ("observation.effort", NAN, {"dtype": "float32", "shape": [2], "names": None}, "number 0 of .* is nan"),
    "ragged": ("observation.points", [[0.0] * (index % 3) for index in range(TOTAL)],
               {"dtype": "float32", "shape": [2], "names": None}, "has 0 numbers"),
    "empty": ("observation.touch", [None] * TOTAL, {"dtype": "float32", "shape": [1], "names": None}, "holds null"),
    "depth video": ("observation.images.depth", [0] * TOTAL,
                    {"dtype": "video", "shape": [64, 96, 3], "info": {"video.is_depth_map": True}}, "holds depth"),
    "grey video": ("observation.images.depth", [0] * TOTAL,
                   {"dtype": "video", "shape": [64, 96, 3], "info": {"video.pix_fmt": "gray16le"}}, "holds depth"),
    "depth": ("observation.images.depth", [0] * TOTAL, {"dtype": "image", "shape": [64, 96, 1], "names": None},
              r"\[64, 96, 1\]"),
    "not there": ("observation.images.top", [0] * TOTAL, {"dtype": "image", "shape": [64, 96, 3]}, "is int64, and an image"),
    "nothing": ("observation.else", [0] * TOTAL, None, ""),
}


@pytest.mark.parametrize("name", UNUSED)
def test_what_nobody_uses_refuses_nothing_and_is_said(folder, name):
    key, values, described, why = UNUSED[name]
    set_column(folder / DATA, key, values)
    change_info(folder, lambda info: info["features"].update({key: described}))
    dataset = Dataset(folder)
    assert_whole(dataset)
    if why:
        said = [note for note in dataset.notes if f"'{key}' is left out" in note]
        assert len(said) == 1 and re.search(why, said[0])
        with pytest.raises(ValueError, match="has no"):
            Dataset(folder, cameras=[key.removeprefix("observation.images.")])


def test_a_feature_without_a_column_is_left_out(folder):
    pq.write_table(pq.read_table(folder / DATA).drop_columns(["odom"]), folder / DATA)
    dataset = Dataset(folder)
    assert_whole(dataset)
    assert dataset.notes == ["'odom' is left out: it has no column in the parquet"]
    with pytest.raises(ValueError, match="has no 'odom'.*no column"):
        dataset.vector("odom")


def test_a_camera_that_is_not_asked_for_may_be_broken(folder):
    (folder / "videos/observation.images.wrist/chunk-000/file-000.mp4").write_text("film")
    assert_whole(Dataset(folder, cameras=["front"]), cameras=["front"])
    with pytest.raises(ValueError, match="cannot be read as a video"):
        Dataset(folder)


# -- what is not said ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("missing", [("shape",), ("dtype",), ("shape", "dtype"), ("shape", "dtype", "names", "info")])
def test_shapes_and_types_that_are_not_given_are_found_in_the_data(folder, missing):
    def strip(info):
        for name in ("observation.state", "action", "odom", FRONT, "observation.images.wrist"):
            for key in missing:
                info["features"][name].pop(key, None)
    names = "names" not in missing
    change_info(folder, strip)
    dataset = Dataset(folder)
    assert {key: dataset.vector(key).shape[1] for key in ("observation.state", "action", "odom")} == {
        "observation.state": 3, "action": 2, "odom": 3}
    assert dataset.cameras == {"front": (64, 96), "wrist": (48, 48)}
    if names:
        assert_whole(dataset)


def test_statistics_are_those_of_the_frames_whatever_the_file_says(folder):
    (folder / "meta/stats.json").unlink()
    dataset = Dataset(folder)
    np.testing.assert_allclose(dataset.statistics("observation.state")["mean"], dataset.state.mean(0), atol=1e-6)
    np.testing.assert_allclose(dataset.statistics("action")["std"], dataset.action.std(0), atol=1e-6)
    (folder / "meta/stats.json").write_text('{"action": {"mean": [7.0, 7.0]}}')
    assert Dataset(folder).statistics("action")["mean"][0] < 1


# -- images -----------------------------------------------------------------------------------------------------
def stored(suffix=".png", cells=lambda data: {"bytes": data, "path": None}):
    """The front camera's images as files in the parquet."""
    images = [make_image(*place, SPEC.cameras["front"]) for place in PLACES]
    return [cells(cv2.imencode(suffix, image[..., ::-1])[1].tobytes()) for image in images]


@pytest.mark.parametrize(("suffix", "cells", "group"), [
    (".png", lambda data: {"bytes": data, "path": None}, 100), (".jpg", lambda data: {"bytes": data, "path": "a.jpg"}, 3),
    (".png", lambda data: data, 1)])
def test_images_in_the_parquet_are_read(folder, suffix, cells, group):
    shutil.rmtree(folder / "videos" / FRONT)
    set_column(folder / DATA, FRONT, stored(suffix, cells))
    feature(folder, FRONT, dtype="image")
    pq.write_table(pq.read_table(folder / DATA), folder / DATA, row_group_size=group)
    dataset = Dataset(folder)
    assert_whole(dataset)
    assert dataset.notes == []
    for place, found in enumerate(dataset.images(1, "front")):
        assert psnr(found, make_image(1, place, (64, 96))) > 30
    dataset.close()


def test_images_in_the_parquet_of_v2_1(folder, tmp_path):
    old = as_v2(folder, tmp_path / "old")
    shutil.rmtree(old / "videos")
    for key, size in SPEC.cameras.items():
        key = f"observation.images.{key}"
        feature(old, key, dtype="image")
        for episode, length in enumerate(LENGTHS):
            set_column(old / f"data/chunk-{episode // 2:03d}/episode_{episode:06d}.parquet", key, [
                {"bytes": cv2.imencode(".png", make_image(episode, frame, size)[..., ::-1])[1].tobytes(), "path": f"{frame}.png"}
                for frame in range(length)])
    change_info(old, lambda info: info.update(video_path=None))
    assert_whole(Dataset(old))


def test_of_two_cameras_of_the_same_name_the_second_is_left_out(folder):
    cells = [{"bytes": cv2.imencode(".png", np.full((16, 16, 3), 9, np.uint8))[1].tobytes()}] * TOTAL
    add_feature(folder, "front", cells, dtype="image", shape=[16, 16, 3])
    dataset = Dataset(folder)
    assert_whole(dataset)
    assert dataset.notes == ["'front' is left out: it has the name of the camera in 'observation.images.front'"]


@pytest.mark.parametrize(("cell", "said"), [
    ({"bytes": None, "path": None}, "'observation.images.front' of episode 0, frame 0, has no bytes"),
    ({"bytes": None, "path": "x.png"}, "'observation.images.front' of episode 0, frame 0, is 'x.png': No such file"),
    ({"bytes": b"film", "path": None}, "4 bytes that are no PNG or JPEG"),
    ({"bytes": cv2.imencode(".png", np.zeros((64, 96), np.uint16))[1].tobytes(), "path": None}, "uint16 pixels, as depth"),
    ({"bytes": cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), "path": None}, "images of 8x8")])
def test_a_stored_image_that_is_none_is_a_sentence(folder, cell, said):
    cells = stored()
    cells[0] = cell
    set_column(folder / DATA, FRONT, pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
    feature(folder, FRONT, dtype="image")
    with pytest.raises(ValueError, match=said):
        Dataset(folder)
    assert_whole(Dataset(folder, cameras=["wrist"]), cameras=["wrist"])


# -- time ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("off", [lambda frame: 0.00005 * frame, lambda frame: 0.0003 * (-1) ** frame,
                                 lambda frame: -0.0003 * frame, lambda frame: 0.002 * frame, lambda frame: 0.01 * (frame % 2)])
def test_timestamps_that_drift_are_read_in_their_order(folder, off):
    set_column(folder / DATA, "timestamp", [frame / 10 + off(frame) for _, frame in PLACES])
    dataset = Dataset(folder)
    assert_whole(dataset)
    assert ["ms off 10 frames a second" in note for note in dataset.notes] == [True]


@pytest.mark.parametrize(("times", "said"), [
    (lambda frame: frame / 10 + 0.1 * (frame >= 3), "frame 3: timestamp is 0.4000"), (lambda frame: frame / 9.5, "frame 1"),
    (lambda frame: frame / 10 + 0.5, "frame 0: timestamp is 0.5000"), (lambda frame: 0.0, "frame 1: timestamp is 0.0000")])
def test_a_frame_that_is_missing_or_another_rate_is_a_sentence(folder, times, said):
    long = write(folder.parent / "long", lengths=(80,), tasks=TASKS[:1])
    set_column(long / DATA, "timestamp", [times(frame) for frame in range(80)])
    with pytest.raises(ValueError, match="timestamp is .*the rate is another, or changes"):
        Dataset(long)
    set_column(folder / DATA, "timestamp", [times(frame) for _, frame in PLACES])
    if said != "frame 1":  # 5 % off shows after some frames
        with pytest.raises(ValueError, match=said):
            Dataset(folder)


def test_a_video_whose_times_are_rounded_or_drift_keeps_every_image_at_its_frame(whole, tmp_path):
    old = as_v2(whole, tmp_path / "old")
    for episode, length in enumerate(LENGTHS):
        images = [make_image(episode, frame, SPEC.cameras["front"]) for frame in range(length)]
        times = [(0, 40)[episode % 2] + 101 * frame + (frame % 3) for frame in range(length)]
        video(old / f"videos/chunk-{episode // 2:03d}/{FRONT}/episode_{episode:06d}.mp4", images, times=times)
    assert_whole(Dataset(old))


def test_beginnings_that_drift_by_whole_images_are_counted_off(folder):
    """LeRobot adds up durations: hours into a file the sum is an image or more off."""
    for key in ("front", "wrist"):
        values = pq.read_table(folder / EPISODES)[f"videos/observation.images.{key}/from_timestamp"].to_pylist()
        set_column(folder / EPISODES, f"videos/observation.images.{key}/from_timestamp",
                   [value + 0.03 * index for index, value in enumerate(values)])
    assert_whole(Dataset(folder))


def test_a_lost_image_in_the_middle_of_a_video_is_a_sentence(whole, tmp_path):
    old = as_v2(whole, tmp_path / "old")
    times = [100 * frame + 100 * (frame > 3) for frame in range(7)]
    video(old / f"videos/chunk-000/{FRONT}/episode_000000.mp4", [make_image(0, frame, (64, 96)) for frame in range(7)], times=times)
    with pytest.raises(ValueError, match="no image at 0.4000 s, for episode 0, frame 4"):
        Dataset(old)
