"""color_servo shows how it is done in the bare simulator, and `vla record --sim` writes it down."""
import os

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
pytest.importorskip("cv2", reason="color_servo needs OpenCV")
pytest.importorskip("pyarrow", reason="datasets need pyarrow")
pytest.importorskip("av", reason="datasets need PyAV")

from vla_ros.cli.main import main
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.sim.world import World
from vla_ros.training.demonstrate import OBJECT_TASKS, OTHER_TASKS, Demonstrator, possible


@pytest.fixture(scope="module")
def world():
    world = World(0, width=32, height=32)
    try:
        world.render()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    yield world
    world.close()


def test_two_episodes_are_what_the_robot_saw_and_did(world, tmp_path, capsys):
    assert main(["record", "--sim", "--episodes", "2", "--seed", "4", "--out", str(tmp_path / "set"),
                 "turn left", "go forward 0.3 m"]) == 0
    assert "2 episodes" in capsys.readouterr().out
    dataset = Dataset(tmp_path / "set")
    assert [(one.task, one.success) for one in dataset.episodes] == [("turn left", True), ("go forward 0.3 m", True)]
    assert dataset.robot_type == "sim" and dataset.fps == 10
    assert dataset.names["action"] == ("linear.x", "angular.z", "gripper")
    assert dataset.names["odom"] == ("odom.x", "odom.y", "odom.yaw")
    left, ahead = dataset.episodes
    assert dataset.action[left.start:left.end, 1].max() > 0.3 and dataset.action[left.start:left.end, 0].max() == 0.0
    assert dataset.action[ahead.start:ahead.end, 0].max() > 0.1
    way = dataset.vector("odom")
    turned = np.unwrap(way[left.start:left.end, 2])
    assert turned[-1] - turned[0] == pytest.approx(np.pi / 2, abs=0.3)
    assert np.hypot(*(way[ahead.end - 1] - way[ahead.start])[:2]) == pytest.approx(0.3, abs=0.12)
    world.reset(4)
    first = dataset.image(0, "camera")
    assert first.shape == (240, 320, 3) and first.std() > 10


def test_the_words_decide_which_rooms_are_shown(world, tmp_path):
    rooms = []
    demonstrator = Demonstrator(tmp_path / "set", episodes=1, seed=0, instructions=["go to the purple ball"], say=rooms.append)
    room, _ = demonstrator._next(world, 0)
    assert any((thing.colour, thing.shape) == ("purple", "ball") for thing in world.state().objects)
    for earlier in range(room):
        world.reset(earlier)
        assert not any((thing.colour, thing.shape) == ("purple", "ball") for thing in world.state().objects)


def test_words_are_drawn_that_the_room_allows_the_same_for_the_same_seed(world, tmp_path):
    drawn = []
    for folder in ("a", "b"):
        demonstrator = Demonstrator(tmp_path / folder, episodes=1)
        drawn.append([demonstrator._next(world, seed)[1] for seed in range(30)])
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 10
    world.reset(3)
    names = [thing.name for thing in world.state().objects]
    assert len(possible(world.state())) == len(OTHER_TASKS) + len(OBJECT_TASKS) * len(names)


def test_what_the_expert_does_not_bring_about_is_left_out_unless_it_is_wanted(world, tmp_path):
    for failures, kept in ((False, 0), (True, 1)):
        demonstrator = Demonstrator(tmp_path / str(failures), episodes=1, instructions=["turn left"], policy="constant",
                                    seconds=0.5, failures=failures)
        counts = demonstrator.run()
        assert counts.episodes == kept and counts.failed == (1 if failures else 5)
    assert Dataset(tmp_path / "True").episodes[0].success is False


def test_an_interrupt_keeps_what_is_saved(world, tmp_path):
    def watch():
        watch.frames += 1
        if demonstrator.counts.episodes == 1 and watch.frames > 3:
            raise KeyboardInterrupt

    watch.frames = 0
    demonstrator = Demonstrator(tmp_path / "set", episodes=5, instructions=["open the gripper"], watch=watch)
    with pytest.raises(KeyboardInterrupt):
        demonstrator.run()
    assert len(Dataset(tmp_path / "set").episodes) == 1


def test_the_arm_s_expert_sees_the_table_as_it_is(world, tmp_path, capsys):
    assert main(["record", "--sim", "--robot", "arm", "--episodes", "1", "--seed", "3", "--camera", "40x32",
                 "--out", str(tmp_path / "set"), "pick up the red block"]) == 0
    assert "1 episodes" in capsys.readouterr().out
    dataset = Dataset(tmp_path / "set")
    episode, = dataset.episodes
    assert (episode.task, episode.success, dataset.robot_type) == ("pick up the red block", True, "sim_arm")
    assert dataset.names["action"] == ("joint_1", "joint_2", "joint_3", "joint_4", "joint_5", "joint_6", "gripper")
    for camera in ("scene", "wrist"):
        assert dataset.image(0, camera).shape == (32, 40, 3)
    told = dataset.action[:, 6]
    assert told[0] == 1.0 and told[-1] == 0.0, "it comes with an open gripper, and holds the block at the end"


def test_at_a_table_without_it_nothing_is_demonstrated(world, tmp_path):
    demonstrator = Demonstrator(tmp_path / "set", episodes=1, robot="arm", size=(16, 16), instructions=["pick up the red block"])
    table = demonstrator._robot.world(0, (16, 16))
    try:
        room, words = demonstrator._next(table, 0)
        assert words == "pick up the red block"
        assert any((thing.colour, thing.shape) == ("red", "block") for thing in table.state().objects)
        for earlier in range(room):
            table.reset(earlier)
            assert not demonstrator._robot.allows(words, table)
        drawn = {demonstrator._robot.draw(table, seed) for seed in range(20)}
        assert len(drawn) > 10
    finally:
        table.close()


@pytest.mark.parametrize("words, sentence", [
    (["--sim", "dance"], "the words 'dance' are not understood"), (["--sim", "--policy", "magic"], "magic"),
    (["--sim", "--robot", "so101"], "unknown robot 'so101'; known are: arm, cart"), (["--sim", "--camera", "5"], "camera is '5'"),
    (["--sim", "--fps", "0"], "fps is 0"), (["turn left"], "from `vla say`; leave them out here")])
def test_bad_arguments_are_a_sentence_before_any_time_is_spent(tmp_path, capsys, words, sentence):
    assert main(["record", "--out", str(tmp_path / "set"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not os.listdir(tmp_path) or not os.listdir(tmp_path / "set")


def test_a_folder_in_use_is_a_sentence(tmp_path, capsys):
    (tmp_path / "letter").write_text("dear")
    assert main(["record", "--sim", "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
