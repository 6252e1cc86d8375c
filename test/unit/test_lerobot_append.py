"""A dataset goes on where it ended, wherever the last recording was cut off; frames say who had the robot."""
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="datasets need pyarrow")
pytest.importorskip("av", reason="datasets need PyAV")
import pyarrow.parquet as pq
from demonstrations import SPEC, action, make_images, state, write

from vla_ros.datasets.lerobot import append, layout
from vla_ros.datasets.lerobot.append import FolderLock, clear_left
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.datasets.lerobot.write import DatasetWriter

TURNS = replace(SPEC, marks=layout.GATED, extra={**SPEC.extra, layout.REQUESTED: SPEC.action})


def write_turns(folder, episodes=(0, 1), success=(True, None), **options):
    """Frames 0 to 2 the policy's, 3 and 4 a person's, the gate holds at 5; words change at frame 4 of odd episodes."""
    with DatasetWriter(folder, TURNS, **options) as writer:
        for episode, done in zip(episodes, success):
            for frame in range(6):
                source = "teleop" if frame >= 3 else "policy"
                asked = {name: 2 * value for name, value in action(episode, frame).items()}
                marks = {"intervention": frame in (3, 4), "control_source": source, "gate.held": frame == 5}
                words = "turn left" if episode % 2 and frame >= 4 else "go on"
                writer.add_frame(make_images(episode, frame), state(episode, frame), action(episode, frame),
                                 requested=asked, marks=marks, task=words)
            writer.save_episode("go on", done)
    return folder


def test_who_had_the_robot_is_in_every_frame_as_lerobot_s_own_tools_have_it(tmp_path):
    folder = write_turns(tmp_path / "set")
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    for name, dtype in (("intervention", "bool"), ("control_source", "string"), ("next.success", "bool"), ("gate.held", "bool")):
        assert features[name] == {"dtype": dtype, "shape": [1], "names": None}
    assert features["gate.requested"] == {"dtype": "float32", "shape": [2], "names": ["linear.x", "angular.z"]}
    # an output of a policy to LeRobot, as everything is whose name begins so
    assert [name for name in features if name.startswith("action")] == ["action"]
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    assert table["intervention"].to_pylist() == [False, False, False, True, True, False] * 2
    assert table["control_source"].to_pylist() == (["policy"] * 3 + ["teleop"] * 3) * 2
    assert table["next.success"].to_pylist() == [False] * 5 + [True] + [False] * 6  # the second was not judged
    assert table["gate.requested"].to_pylist()[3] == pytest.approx([0.06, 1.0])
    assert "control_source" not in json.loads((folder / "meta/stats.json").read_text())


def test_an_episode_s_words_may_change_from_frame_to_frame(tmp_path):
    folder = write_turns(tmp_path / "set")
    dataset = Dataset(folder)
    assert [dataset.task(index) for index in range(12)] == ["go on"] * 10 + ["turn left"] * 2
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["tasks"] for row in rows] == [["go on"], ["go on", "turn left"]]


def test_our_reader_has_the_marks_and_no_model_is_told_of_them(tmp_path):
    dataset = Dataset(write_turns(tmp_path / "set"))
    assert dataset.control_source == (["policy"] * 3 + ["teleop"] * 3) * 2
    assert dataset.marked("intervention").tolist() == [False, False, False, True, True, False] * 2
    assert dataset.marked("nothing of the kind") is None
    assert not {"intervention", "control_source", "gate.held"} & set(dataset.inputs)
    assert not any(name.startswith("gate.requested") for name in dataset.inputs)
    assert Dataset(write(tmp_path / "plain")).control_source is None


@pytest.mark.parametrize("missing", ["intervention", "control_source"])
def test_a_frame_that_does_not_say_who_had_the_robot_is_refused(tmp_path, missing):
    marks = {"intervention": True, "control_source": "teleop", "gate.held": False}
    del marks[missing]
    with DatasetWriter(tmp_path / "set", TURNS) as writer:
        with pytest.raises(ValueError, match=f"lacks '{missing}'"):
            writer.add_frame(make_images(0, 0), state(0, 0), action(0, 0), requested=action(0, 0), marks=marks)
        assert writer.length == 0


def test_a_dataset_in_two_sittings_is_the_dataset_in_one(tmp_path):
    whole = Dataset(write_turns(tmp_path / "one", (0, 1, 2), (True, None, False)))
    write_turns(tmp_path / "two", (0,), (True,))
    parts = Dataset(write_turns(tmp_path / "two", (1, 2), (None, False), append=True))
    assert [(each.task, each.success, each.start, each.end) for each in parts.episodes] == [
        (each.task, each.success, each.start, each.end) for each in whole.episodes]
    for feature in ("action", "observation.state", "odom", "gate.requested", "intervention"):
        np.testing.assert_array_equal(parts.vector(feature), whole.vector(feature))
    assert parts.tasks == whole.tasks and parts.control_source == whole.control_source
    for index in (0, 7, 17):
        np.testing.assert_array_equal(parts.image(index, "front"), whole.image(index, "front"))
    stats = [json.loads((tmp_path / name / "meta/stats.json").read_text()) for name in ("one", "two")]
    for feature in ("action", "observation.state", "intervention", "index"):
        for figure, value in stats[0][feature].items():
            assert stats[1][feature][figure] == pytest.approx(value, abs=1e-6), (feature, figure)
    front = [stats_of["observation.images.front"] for stats_of in stats]
    assert front[0]["count"] == front[1]["count"] == [18]
    assert np.ravel(front[1]["mean"]) == pytest.approx(np.ravel(front[0]["mean"]), abs=0.01)


def test_an_image_that_comes_counts_as_one_of_all_where_those_before_were_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(append, "SAMPLED_IMAGES", 4)
    write_turns(tmp_path / "set", (0, 1), (True, None))
    write_turns(tmp_path / "set", (2,), (True,), append=True)
    front = json.loads((tmp_path / "set/meta/stats.json").read_text())["observation.images.front"]
    levels = [0.0, 0.0]
    dataset = Dataset(tmp_path / "set")
    for index in range(18):
        levels[index >= 12] += float(dataset.image(index, "front").mean()) / 255 / (6 if index >= 12 else 12)
    assert np.mean(front["mean"]) == pytest.approx((2 * levels[0] + levels[1]) / 3, abs=0.005)


@pytest.mark.parametrize("other, said", [
    (replace(TURNS, fps=20), "has 10 frames a second, and now there would be 20"),
    (replace(TURNS, marks={}), "its 'intervention' is .*bool.*would be left out"),
    (replace(TURNS, cameras={"front": (64, 96)}), "its 'observation.images.wrist' is"),
    (replace(TURNS, action=("angular.z", "linear.x")), "its 'action' is"),
])
def test_frames_of_another_kind_do_not_go_on_with_it(tmp_path, other, said):
    write_turns(tmp_path / "set", (0,), (True,))
    with pytest.raises(ValueError, match=said):
        DatasetWriter(tmp_path / "set", other, append=True)
    assert len(Dataset(tmp_path / "set").episodes) == 1


def test_appending_to_nothing_begins_a_dataset(tmp_path):
    assert len(Dataset(write_turns(tmp_path / "new", append=True)).episodes) == 2


def killed(folder, after):
    """Two whole episodes, each flushed, and a third of which the files are there that a kill after `after` steps leaves."""
    write_turns(folder, (0, 1), (True, None), flush_every=1)
    done = folder.parent / "done"
    shutil.copytree(folder, done)
    write_turns(done, (2,), (True,), flush_every=1, append=True)
    fresh = sorted(path.relative_to(done) for path in done.rglob("*") if path.is_file()
                   and not (folder / path.relative_to(done)).exists())
    order = sorted(fresh, key=lambda path: ["videos", "data", "meta"].index(path.parts[0]))  # as flush closes them
    for path in order[:after]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(done / path, folder / path)
    for path in order[after:]:
        (folder / f"{path}.part").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{path}.part").write_bytes(b"half of it")
    (folder / layout.UNDER_WAY).write_text(json.dumps({"episode": 2, "task": "go on", "began": "2026-01-01 14:02:07"}))
    return len(order)


@pytest.mark.parametrize("after", range(5))
def test_killed_at_any_moment_it_loses_at_most_the_episode_under_way_and_says_so(tmp_path, after):
    folder = tmp_path / "set"
    assert killed(folder, after) == 4  # two videos, frames, the row
    letter = folder / "letter"
    letter.write_text("dear")
    said = clear_left(folder)
    assert said == (f"the last recording in {folder} was cut off in episode 2 ('go on', begun 2026-01-01 14:02:07); that episode "
                    "is lost, and the 2 before it are whole" + (f"; {after} files of it now end in .left" if after else ""))
    assert len(list(folder.rglob("*.left"))) == after
    assert clear_left(folder) == "" and letter.exists()
    assert len(Dataset(folder).episodes) == 2 and not list(folder.rglob("*.part"))
    dataset = Dataset(write_turns(folder, (2,), (False,), append=True))
    assert [each.success for each in dataset.episodes] == [True, None, False] and len(dataset) == 18


def test_killed_before_its_first_episode_was_whole_it_begins_anew(tmp_path):
    folder = tmp_path / "set"
    begun = folder / "videos/observation.images.front/episode.part"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"an image")
    with pytest.raises(ValueError, match="is not empty"):
        DatasetWriter(folder, SPEC)
    assert "was cut off; that episode is lost, and the 0 before it are whole" in clear_left(folder)
    assert len(Dataset(write(folder)).episodes) == 3


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("gone, said", [
    ("meta/info.json", r"set has no description of its dataset \(meta/info.json\), but files of it \(data/chunk-000/file-000.parquet\); bring the rest"),
    ("meta/episodes/chunk-000/file-000.parquet", r"set has 2 episodes, and meta/episodes describes 0 of them; bring the rest"),
])
def test_a_dataset_whose_description_is_missing_stays_as_it_is(tmp_path, gone, said):
    folder = write_turns(tmp_path / "set")
    (folder / gone).unlink()
    before = files_of(folder)
    for begin in (lambda: clear_left(folder), lambda: DatasetWriter(folder, TURNS, append=True)):
        with pytest.raises(ValueError, match=said):
            begin()
    assert files_of(folder) == before


def test_what_no_episode_needs_gets_another_name_each_time_and_is_never_overwritten(tmp_path):
    folder = write_turns(tmp_path / "set")
    for number in range(2):
        (folder / "data/chunk-000/file-001.parquet").write_bytes(b"%d" % number)
        assert "; 1 files of it now end in .left" in clear_left(folder)
    assert sorted(path.read_bytes() for path in folder.rglob("*.left*")) == [b"0", b"1"]


def test_empty_folders_of_somebody_else_stay(tmp_path):
    begun = tmp_path / "set/videos/observation.images.front/episode.part"
    begun.parent.mkdir(parents=True)
    begun.touch()
    (tmp_path / "set/mine").mkdir()
    clear_left(tmp_path / "set")
    assert list((tmp_path / "set").iterdir()) == [tmp_path / "set/mine"]


def test_a_folder_is_locked_until_it_is_released_or_forgotten(tmp_path):
    lock = FolderLock(tmp_path / "set")
    with pytest.raises(ValueError, match="another recording is going on in .*set; end it first"):
        DatasetWriter(tmp_path / "set", SPEC, append=True)
    lock.release()
    writer = DatasetWriter(tmp_path / "set", SPEC, append=True)
    with pytest.raises(ValueError, match="another recording is going on"):
        FolderLock(tmp_path / "set")
    writer.finalize()
    FolderLock(tmp_path / "set")
    FolderLock(tmp_path / "set")  # the one before is gone
    (tmp_path / "letter").touch()
    with pytest.raises(ValueError, match="cannot write to .*letter: .*; give another folder"):
        FolderLock(tmp_path / "letter")


def test_vla_dataset_info_says_who_had_the_robot_and_with_what_it_was_recorded(tmp_path, capsys):
    from vla_ros.cli.main import main
    from vla_ros.datasets.contract import contract
    folder = write_turns(tmp_path / "set")
    robot = tmp_path / "robot.yaml"
    robot.write_text("name: fake\n")
    held = contract(str(robot), policy="color_servo", fps=10)
    assert held["robot"]["text"] == "name: fake\n" and len(held["robot"]["sha256"]) == 64
    (folder / layout.CONTRACT).write_text(json.dumps([{"from_episode": 0, **held}, {"from_episode": 1, **contract()}]))
    assert main(["dataset", "info", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "a person had the robot in 4 of 12 frames" in said
    assert "from episode 0 on: robot file robot.yaml, policy color_servo" in said
    assert "from episode 1 on: robot file not known, policy not known" in said
    assert "control_source" not in said  # neither learnt nor left out
    (folder / layout.CONTRACT).write_text("[{}]")
    assert main(["dataset", "info", str(folder)]) == 2 and "is no contract of ours" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_does_not_stop_a_recording(tmp_path):
    from vla_ros.datasets.contract import contract
    held = contract(str(tmp_path / "gone.yaml"), str(tmp_path))
    assert held["robot"]["file"] == "gone.yaml" and "cannot be read here" in held["robot"]["missing"]
    assert "cannot be read here" in held["policy"]["missing"]
