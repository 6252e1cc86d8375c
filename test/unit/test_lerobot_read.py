"""What was written comes back; what is broken is a sentence before anything is decoded."""
import json
import shutil

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="datasets need pyarrow")
av = pytest.importorskip("av", reason="datasets need PyAV")
import pyarrow.parquet as pq
from demonstrations import LENGTHS, SPEC, TASKS, action, make_image, state, write

from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.read import Dataset

DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "set")


def psnr(found, right):
    return 10 * np.log10(255 ** 2 / np.square(found.astype(float) - right).mean())


@pytest.mark.parametrize("options", [{}, {"data_mb": 1e-6, "video_mb": 1e-6, "chunks_size": 2}, {"flush_every": 1},
                                     {"codec": "h264"}])
def test_frames_come_back_in_any_order(tmp_path, options):
    dataset = Dataset(write(tmp_path / "set", **options))
    assert (len(dataset), dataset.fps, dataset.tasks) == (20, 10.0, list(TASKS[:2]))
    places = [(episode, frame) for episode, length in enumerate(LENGTHS) for frame in range(length)]
    for index in np.random.default_rng(0).permutation(len(dataset)):
        episode, frame = places[index]
        found = dataset.frame(int(index))
        assert (found.episode, found.index, found.task) == (episode, frame, TASKS[episode])
        assert found.state == pytest.approx(state(episode, frame))
        assert found.action == pytest.approx(list(action(episode, frame).values()))
        for camera, size in SPEC.cameras.items():
            assert psnr(found.images[camera], make_image(episode, frame, size)) > 38
    dataset.close()


def test_episodes_come_back_with_what_is_known_of_them(whole):
    dataset = Dataset(whole)
    assert [(one.start, one.end, one.task, one.success, one.instruction_id) for one in dataset.episodes] == [
        (0, 7, TASKS[0], None, 5), (7, 11, TASKS[1], True, 6), (11, 20, TASKS[2], True, 7)]
    running = zip(dataset.images(1, "front"), dataset.images(2, "front"))  # side by side, and one by one in between
    for frame, (first, second) in enumerate(running):
        assert psnr(dataset.image(3, "front"), make_image(0, 3, (64, 96))) > 38
        assert psnr(first, make_image(1, frame, (64, 96))) > 38 and psnr(second, make_image(2, frame, (64, 96))) > 38
    assert len(list(dataset.images(2, "wrist"))) == 9
    np.testing.assert_allclose(dataset.statistics("action")["mean"], dataset.action.mean(0), atol=1e-6)


def test_a_chunk_ends_with_its_episode(whole):
    dataset = Dataset(whole)
    values, padding = dataset.actions(8, 5)  # frame 1 of 4
    assert padding.tolist() == [False, False, False, True, True]
    assert values[:, 0] == pytest.approx([0.01, 0.02, 0.03, 0.03, 0.03]) and np.all(values[:, 1] == -0.5)
    assert dataset.actions(19, 1)[1].tolist() == [False]
    for index, steps, error in ((20, 1, IndexError), (-1, 1, IndexError), (0, 0, ValueError)):
        with pytest.raises(error):
            dataset.actions(index, steps)
    with pytest.raises(ValueError, match="no camera 'back'"):
        dataset.image(0, "back")
    with pytest.raises(ValueError, match="has no 'reward'"):
        dataset.vector("reward")


def test_other_people_s_names_and_shapes_are_understood(folder):
    """Channels first, no names of numbers, a task index that has a name: LeRobot's datasets have all of these."""
    change_info(folder, lambda info: info["features"]["observation.images.front"].update(shape=[3, 64, 96]))
    change_info(folder, lambda info: info["features"]["observation.state"].update(names=["motors"]))
    change_info(folder, lambda info: info["features"]["action"].update(names={"motors": ["left", "right"]}))
    table = pq.read_table(folder / "meta/tasks.parquet")
    pq.write_table(table.rename_columns(["task_index", "task"]), folder / "meta/tasks.parquet")
    dataset = Dataset(folder)
    assert dataset.cameras["front"] == (64, 96) and dataset.names["action"] == ("left", "right")
    assert dataset.names["observation.state"] == tuple(f"observation.state.{index}" for index in range(3))


def test_a_dataset_without_cameras_is_one(tmp_path):
    dataset = Dataset(write(tmp_path / "set", DatasetSpec(10, {}, ("linear.x",), ("linear.x",)), lengths=(3,)))
    assert dataset.frame(2).images == {} and dataset.action.shape == (3, 1)


# -- what is broken -------------------------------------------------------------------------------------------
def change_info(folder, change):
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def change_table(folder, name, column, change, path=DATA):
    table = pq.read_table(folder / path)
    values = change(table[column].to_pylist())
    index = table.schema.get_field_index(column)
    pq.write_table(table.set_column(index, column, pa.array(values)), folder / path)


def at(index, value):
    return lambda values: [*values[:index], value, *values[index + 1:]]


def shortened(folder):
    """The last images of the file are gone, tidily."""
    with av.open(str(folder / VIDEO)) as source, av.open(str(folder / "short.mp4"), "w") as out:
        copy = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in list(source.demux(video=0))[:17]:
            packet.stream = copy
            out.mux(packet)
    shutil.move(folder / "short.mp4", folder / VIDEO)


def drop_rows(folder):
    table = pq.read_table(folder / DATA)
    pq.write_table(pa.concat_tables([table.slice(0, 5), table.slice(6)]), folder / DATA)


def cut(path, bytes_kept):
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:bytes_kept])


BROKEN = {
    "no folder": (lambda f: shutil.rmtree(f), "info.json is missing: either .*set is no dataset"),
    "no info": (lambda f: (f / "meta/info.json").unlink(), "recording never ended"),
    "not json": (cut("meta/info.json", 50), "info.json cannot be read as JSON"),
    "a list": (lambda f: (f / "meta/info.json").write_text("[]"), "holds a list"),
    "old version": (lambda f: change_info(f, lambda i: i.update(codebase_version="v1.6")), "codebase_version is 'v1.6'"),
    "no version": (lambda f: change_info(f, lambda i: i.pop("codebase_version")), "codebase_version is None"),
    "no rate": (lambda f: change_info(f, lambda i: i.update(fps=0)), "fps is 0"),
    "no key": (lambda f: change_info(f, lambda i: i.pop("data_path")), "lacks 'data_path'"),
    "no episodes": (lambda f: change_info(f, lambda i: i.update(total_episodes=0)), "has 0 episodes"),
    "episodes lost": (lambda f: change_info(f, lambda i: i.update(total_episodes=5)), "counts 5 episodes, meta/episodes has 3"),
    "frames lost": (lambda f: change_info(f, lambda i: i.update(total_frames=21)), "counts 21 frames, the episodes have 20"),
    "no action": (lambda f: change_info(f, lambda i: i["features"].pop("action")), "lack 'action'"),
    "no counter": (lambda f: change_info(f, lambda i: i["features"].pop("index")), "lack 'index'"),
    "no tasks": (lambda f: (f / "meta/tasks.parquet").unlink(), "tasks.parquet is missing"),
    "no episode file": (lambda f: (f / EPISODES).unlink(), "the episodes are missing"),
    "no data": (lambda f: (f / DATA).unlink(), "file-000.parquet is missing"),
    "no video": (lambda f: (f / VIDEO).unlink(), "file-000.mp4 is missing; episode 0 needs it"),
    "half a table": (cut(DATA, 1000), "cannot be read as parquet"),
    "half a tasks table": (cut("meta/tasks.parquet", 200), "tasks.parquet cannot be read as parquet"),
    "half an episodes table": (cut(EPISODES, 2000), "cannot be read as parquet"),
    "half a video": (cut(VIDEO, 1500), "file-000.mp4 (has no image|cannot be read)"),
    "no video at all": (lambda f: (f / VIDEO).write_text("film"), "cannot be read as a video"),
    "short video": (shortened, "no image at 1.7000 s, for episode 2, frame 6: it has 17 images"),
    "wrong size": (lambda f: change_info(f, lambda i: i["features"]["observation.images.front"].update(shape=[64, 64, 3])),
                   "images of 64x96 .* says 64x64"),
    "wrong width": (lambda f: change_info(f, lambda i: i["features"]["action"].update(shape=[3])),
                    "'action' of row 0 has 2 numbers; meta/info.json says 3"),
    "a matrix": (lambda f: change_info(f, lambda i: i["features"]["action"].update(shape=[2, 2])), r"'action' cannot be learnt: it has the shape \[2, 2\]"),
    "ragged": (lambda f: change_table(f, "data", "action", at(4, [1.0])), "'action' of row 4 has 1 numbers"),
    "empty places": (lambda f: change_table(f, "data", "action", at(4, [1.0, None])), "'action' has 1 empty places"),
    "words": (lambda f: change_table(f, "data", "action", lambda v: [["a", "b"]] * len(v)), "holds string"),
    "nan": (lambda f: change_table(f, "data", "action", at(9, [0.0, float("nan")])),
            "episode 1, frame 2: number 1 of 'action' is nan"),
    "inf": (lambda f: change_table(f, "data", "observation.state", at(19, [float("-inf"), 0.0, 0.0])),
            "episode 2, frame 8: number 0 of 'observation.state' is -inf"),
    "a row is gone": (drop_rows, "the data files hold 19 frames, the episodes have 20"),
    "a gap": (lambda f: change_table(f, "data", "frame_index", at(8, 2)), "episode 1, frame 1: frame_index is 2; 1 is right"),
    "another episode": (lambda f: change_table(f, "data", "episode_index", at(6, 1)), "episode 0, frame 6: episode_index is 1"),
    "out of order": (lambda f: change_table(f, "data", "index", at(0, 1)), "index is 1; 0 is right"),
    "mixed rates": (lambda f: change_table(f, "data", "timestamp", lambda v: v[:11] + [t / 2 for t in v[11:]]),
                    "episode 2, frame 1: timestamp is 0.0500 s; at 10 frames a second it is 0.1000 s"),
    "time is nan": (lambda f: change_table(f, "data", "timestamp", at(3, float("nan"))), "frame 3: timestamp is nan"),
    "another rate": (lambda f: change_info(f, lambda i: i.update(fps=20)), "at 20 frames a second it is 0.0500 s"),
    "no such task": (lambda f: change_table(f, "data", "task_index", at(10, 2)), "task_index is 2; .* has 2 tasks"),
    "task numbers": (lambda f: change_table(f, "tasks", "task_index", lambda v: [0, 5], "meta/tasks.parquet"), r"\[0, 5\]"),
    "lengths": (lambda f: change_table(f, "episodes", "length", at(1, 5), EPISODES), "episode 1, frames 7 to 11, length 5"),
    "no column": (lambda f: pq.write_table(pq.read_table(f / DATA).drop_columns(["action"]), f / DATA),
                  "'action' cannot be learnt: it has no column"),
    "features are a list": (lambda f: change_info(f, lambda i: i.update(features=[])), "features are a list"),
    "strange path": (lambda f: change_info(f, lambda i: i.update(data_path="data/{who}.parquet")), "data_path is 'data/{who}"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_is_a_sentence(folder, name):
    breaking, sentence = BROKEN[name]
    breaking(folder)
    with pytest.raises(ValueError, match=sentence) as error:
        Dataset(folder)
    assert "\n" not in str(error.value)
