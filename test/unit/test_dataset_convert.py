"""`vla dataset`: what a dataset holds, and v2.1 as openpi and GR00T read it, from what was recorded."""
import json
import re

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
    add_feature,
    as_v2,
    change_info,
    make_image,
    set_column,
    write,
)

from vla_ros.cli.main import main
from vla_ros.datasets.lerobot.modality import modality
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.datasets.lerobot.write_v2 import write_v2

TOTAL = sum(LENGTHS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def old(whole, tmp_path_factory):
    out = tmp_path_factory.mktemp("old") / "set"
    write_v2(Dataset(whole), out)
    return out


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_alike(found, right):
    """Every number and word; images as well, to the bit."""
    assert (len(found), found.fps, found.tasks, found.names, found.cameras) == (
        len(right), right.fps, right.tasks, right.names, right.cameras)
    for key in right.names:
        np.testing.assert_array_equal(found.stored(key), right.stored(key))
        assert found.stored(key).dtype == right.stored(key).dtype
    for index in range(len(right)):
        one, other = found.frame(index), right.frame(index)
        assert (one.task, one.episode, one.index) == (other.task, other.episode, other.index)
        for camera in right.cameras:
            np.testing.assert_array_equal(one.images[camera], other.images[camera])


# -- v2.1 ---------------------------------------------------------------------------------------------------------
def test_v2_1_holds_what_v3_0_held_and_its_videos_are_copied(whole, old):
    assert_alike(Dataset(old), Dataset(whole))
    info = json.loads((old / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v2.1", 3, TOTAL)
    assert (info["total_videos"], info["total_chunks"], info["fps"]) == (6, 1, 10)
    assert info["features"]["observation.images.front"]["info"]["video.codec"] == "av1"
    assert (old / "data/chunk-000/episode_000002.parquet").is_file()
    assert (old / "videos/chunk-000/observation.images.wrist/episode_000001.mp4").is_file()
    assert lines(old / "meta/tasks.jsonl") == [{"task_index": 0, "task": TASKS[0]}, {"task_index": 1, "task": TASKS[1]}]
    assert lines(old / "meta/episodes.jsonl")[1] == {"episode_index": 1, "tasks": [TASKS[1]], "length": 4}


@pytest.mark.parametrize("codec", ["", "h264"])
def test_every_video_begins_at_0_and_keeps_the_rate(whole, tmp_path, codec):
    write_v2(Dataset(whole), tmp_path / "old", codec)
    for episode, length in enumerate(LENGTHS):
        with av.open(str(tmp_path / f"old/videos/chunk-000/observation.images.front/episode_{episode:06d}.mp4")) as video:
            times = [float(frame.time) for frame in video.decode(video=0)]
        assert times == pytest.approx([index / 10 for index in range(length)])


def test_each_episode_has_its_statistics_as_v2_1_knows_them(old):
    rows = lines(old / "meta/episodes_stats.jsonl")
    assert [row["episode_index"] for row in rows] == [0, 1, 2]
    action = rows[1]["stats"]["action"]
    assert set(action) == {"min", "max", "mean", "std", "count"} and action["count"] == [4]
    assert action["mean"] == pytest.approx([0.015, -0.5]) and action["max"] == pytest.approx([0.03, -0.5])
    assert np.shape(rows[0]["stats"]["observation.images.front"]["mean"]) == (3, 1, 1)
    assert rows[2]["stats"]["index"]["min"] == [11]


def test_numbers_keep_their_type_and_rewards_stay(whole, tmp_path):
    folder = write(tmp_path / "set")
    set_column(folder / DATA, "action", pa.array([[1 << 40, index] for index in range(TOTAL)], pa.list_(pa.int64())))
    change_info(folder, lambda info: info["features"]["action"].update(dtype="int64"))
    add_feature(folder, "next.reward", np.arange(TOTAL) / 3, dtype="float64", shape=[1], names=None)
    write_v2(Dataset(folder), tmp_path / "old")
    dataset = Dataset(tmp_path / "old")
    assert dataset.stored("action").dtype == np.int64 and dataset.stored("action")[3].tolist() == [1 << 40, 3]
    assert dataset.stored("next.reward")[4].item() == 4 / 3 and "next.reward" not in dataset.inputs
    table = pq.read_table(tmp_path / "old/data/chunk-000/episode_000000.parquet")
    assert table["next.reward"].type == pa.float64() and table["action"].type.value_type == pa.int64()


def test_what_cannot_be_read_is_left_out_and_said(tmp_path):
    folder = write(tmp_path / "set")
    add_feature(folder, "observation.pose", [[[0.0] * 4] * 4] * TOTAL, dtype="float32", shape=[4, 4])
    said = []
    write_v2(Dataset(folder), tmp_path / "old", say=said.append)
    assert said == ["'observation.pose' is left out: it has the shape [4, 4], and vectors are learnt"]
    assert "observation.pose" not in Dataset(tmp_path / "old").names


def test_a_codec_encodes_again_and_v2_1_converts_to_itself(whole, old, tmp_path):
    said = []
    write_v2(Dataset(old), tmp_path / "again", "h264", said.append)
    assert said == ["the images of front, wrist are encoded again, as h264"]
    found, right = Dataset(tmp_path / "again"), Dataset(whole)
    assert found.info["features"]["observation.images.front"]["info"]["video.codec"] == "h264"
    for index in (0, 6, 7, 19):
        error = found.image(index, "wrist").astype(float) - right.image(index, "wrist")
        assert np.square(error).mean() < 20.0
    with pytest.raises(ValueError, match="codec is 'mpeg'; use one of libsvtav1, h264"):
        write_v2(right, tmp_path / "mpeg", "mpeg")
    with pytest.raises(ValueError, match="is not empty"):
        write_v2(right, tmp_path / "again")


def test_an_episode_whose_images_need_one_behind_it_is_encoded_again(tmp_path):
    """B-frames: the images 5 and 6 of the first episode are made of image 8, the second episode's."""
    folder = write(tmp_path / "set")
    size = SPEC.cameras["front"]
    images = [make_image(0, 0, size)] * 5 + [make_image(2, 3, size)[::-1, ::-1]] * (TOTAL - 5)
    plan = {"x264-params": "keyint=50:scenecut=0:bframes=3:b-adapt=0:b-pyramid=none"}
    with av.open(str(folder / VIDEO), "w") as sink:
        stream = sink.add_stream("libx264", 10, options={"crf": "10", **plan})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for image in images:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        sink.mux(stream.encode(None))
    said = []
    write_v2(Dataset(folder), tmp_path / "old", say=said.append)
    assert said == ["the images of front are encoded again, as h264"]
    dataset = Dataset(tmp_path / "old")
    for index, image in enumerate(images):
        assert np.square(dataset.image(index, "front").astype(float) - image).mean() < 30.0, index


def as_images(folder, cells):
    """The camera `front` as PNGs, made of `cells(bytes of each frame)`."""
    pngs = []
    for episode, length in enumerate(LENGTHS):
        for frame in range(length):
            image = make_image(episode, frame, SPEC.cameras["front"])
            pngs.append(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    set_column(folder / DATA, "observation.images.front", cells(pngs))
    change_info(folder, lambda info: info["features"]["observation.images.front"].update(dtype="image"))
    return folder


def paths(folder):
    def cells(pngs):
        (folder / "images").mkdir()
        for index, png in enumerate(pngs):
            (folder / f"images/{index}.png").write_bytes(png)
        return pa.array([{"bytes": None, "path": f"images/{index}.png"} for index in range(TOTAL)],
                        pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    return cells


def test_images_in_the_parquet_or_by_their_paths_become_videos(tmp_path):
    for name, made in (("bytes", lambda folder: lambda pngs: pa.array(pngs, pa.binary())), ("paths", paths),
                       ("texts", lambda folder: lambda pngs: pa.array([x["path"] for x in paths(folder)(pngs).to_pylist()]))):
        folder = write(tmp_path / name)
        dataset = Dataset(as_images(folder, made(folder)))
        np.testing.assert_array_equal(dataset.image(8, "front"), make_image(1, 1, SPEC.cameras["front"]))
        said = []
        write_v2(dataset, tmp_path / f"{name}_old", say=said.append)
        assert said == ["the images of front are encoded again, as h264"]
        assert Dataset(tmp_path / f"{name}_old").is_video("front") and not dataset.is_video("front")


@pytest.mark.parametrize(("path", "sentence"), [
    ("images/3.jpg", "'images/3.jpg': No such file"), ("../../secret.png", "outside the dataset"),
    ("/etc/hostname", "outside the dataset")])
def test_a_path_that_leads_nowhere_or_out_of_the_dataset_is_a_sentence(tmp_path, path, sentence):
    folder = write(tmp_path / "set")
    as_images(folder, lambda pngs: pa.array([{"path": path}] * TOTAL))
    with pytest.raises(ValueError, match=sentence):
        Dataset(folder)


# -- for GR00T ------------------------------------------------------------------------------------------------------
def test_modality_groups_numbers_by_their_names():
    names = ["left_shoulder", "left_gripper", "right_shoulder", "right_elbow", "right_gripper"]
    found = modality({"action": names, "observation.state": ["shoulder_pan.pos", "wrist.pos", "gripper.pos"]}, ["top"])
    assert found["action"] == {"left_arm": {"start": 0, "end": 1}, "left_gripper": {"start": 1, "end": 2},
                               "right_arm": {"start": 2, "end": 4}, "right_gripper": {"start": 4, "end": 5}}
    assert found["state"] == {"single_arm": {"start": 0, "end": 2}, "gripper": {"start": 2, "end": 3}}
    assert found["video"] == {"top": {"original_key": "observation.images.top"}}
    assert found["annotation"] == {"human.task_description": {"original_key": "task_index"}}


def test_a_group_that_comes_again_behind_another_has_its_place_in_its_name():
    found = modality({"action": ["linear.x", "gripper", "angular.z"]}, [])
    assert list(found["action"]) == ["base", "gripper", "base_2"] and found["state"] == {}
    assert list(modality({"action": ["left_wheel_joint", "right_wheel_joint"]}, [])["action"]) == ["wheels"]


def test_the_written_groups_cover_every_number(old):
    groups = json.loads((old / "meta/modality.json").read_text())
    for key, feature in (("state", "observation.state"), ("action", "action")):
        ends = [0] + [span["end"] for span in groups[key].values()]
        assert [span["start"] for span in groups[key].values()] == ends[:-1]
        assert ends[-1] == len(Dataset(old).names[feature])


# -- the verb ---------------------------------------------------------------------------------------------------------
def test_info_says_what_is_there_and_what_is_left_out(whole, tmp_path, capsys):
    folder = write(tmp_path / "set")
    add_feature(folder, "next.reward", np.arange(TOTAL) / 3, dtype="float64", shape=[1], names=None)
    assert main(["dataset", "info", str(folder)]) == 0
    said = capsys.readouterr().out
    for words in ("v3.0, robot sim, 3 episodes, 20 frames, 10 a second, 2 s", "64 x 96", "gripper_joint",
                  "'turn left'", "odom.yaw", "- next.reward: not observed"):
        assert words in said, words
    assert main(["dataset", "info", "--json", str(folder)]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["cameras"]["wrist"] == {"height": 48, "width": 48, "video": True}
    assert held["tasks"] == {TASKS[0]: 16, TASKS[1]: 4} and held["action"]["angular.z"]["min"] == -1.5
    assert held["others"]["odom.x"] == "odom" and list(held["state"]) == ["linear.x", "angular.z", "gripper_joint"]


@pytest.mark.parametrize(("words", "sentence"), [
    (["info", "{whole}/meta"], "info.json is missing"),
    (["convert", "{whole}", "{out}"], "is converted with --to v2.1"),
    (["convert", "{whole}", "{out}", "--to", "v2.1", "--task", "x"], "--task is for a bag"),
    (["convert", "{whole}/meta", "{out}", "--to", "v2.1"], "is no dataset .*; make a v3.0 dataset of a bag first"),
    (["convert", "{whole}/meta", "{out}"], "is taken for a bag; give --robot FILE"),
    (["convert", "{whole}", "{whole}", "--to", "v2.1"], "is not empty"),
])
def test_what_cannot_be_is_one_sentence(whole, tmp_path, capsys, words, sentence):
    argv = [word.format(whole=whole, out=tmp_path / "out") for word in words]
    assert main(["dataset", *argv]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(sentence, said), said


def test_without_the_package_that_reads_bags_a_sentence_names_it(tmp_path, capsys, monkeypatch):
    import sys
    from pathlib import Path
    monkeypatch.setitem(sys.modules, "rosbags", None)
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag/metadata.yaml").touch()
    robot = Path(__file__).parents[2] / "config/robots/sim.yaml"
    assert main(["dataset", "convert", str(tmp_path / "bag"), str(tmp_path / "out"), "--robot", str(robot)]) == 2
    assert capsys.readouterr().err == "vla: 'dataset' needs the Python module rosbags, which is not here; install it\n"
    assert not (tmp_path / "out").exists()


def test_convert_writes_v2_1(whole, tmp_path, capsys):
    assert main(["dataset", "convert", str(whole), str(tmp_path / "old"), "--to", "v2.1"]) == 0
    assert "3 episodes, 20 frames in" in capsys.readouterr().out
    assert_alike(Dataset(tmp_path / "old"), Dataset(whole))


def test_another_people_s_v2_1_becomes_one_of_ours(whole, tmp_path):
    """Two episodes a chunk there, a thousand here."""
    theirs = as_v2(whole, tmp_path / "theirs")
    write_v2(Dataset(theirs), tmp_path / "ours")
    assert_alike(Dataset(tmp_path / "ours"), Dataset(theirs))


VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def wrong_shape(folder):
    change_info(folder, lambda info: info["features"]["action"].update(shape=[5], names=None))


BROKEN = {
    "a missing parquet": (lambda folder: (folder / DATA).unlink(), "file-000.parquet is missing"),
    "a truncated mp4": (lambda folder: truncate(folder / VIDEO), "it has 3 images and is cut short"),
    "another version": (lambda folder: change_info(folder, lambda info: info.update(codebase_version="v4.2")), "'v4.2'; this reads"),
    "a wrong shape": (wrong_shape, "'action' of row 0 has 2 numbers; meta/info.json says 5"),
    "no episodes": (lambda folder: change_info(folder, lambda info: info.update(total_episodes=0)), "0 episodes; there is nothing"),
}


@pytest.mark.parametrize("verb", ["info", "convert"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_dataset_is_one_sentence_and_nothing_is_written(tmp_path, capsys, name, verb):
    breaking, sentence = BROKEN[name]
    breaking(write(tmp_path / "set"))
    argv = [verb, str(tmp_path / "set"), *([str(tmp_path / "out"), "--to", "v2.1"] if verb == "convert" else [])]
    assert main(["dataset", *argv]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and sentence in said and not (tmp_path / "out").exists(), said
