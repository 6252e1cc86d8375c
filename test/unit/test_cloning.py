"""Behaviour cloning from demonstrations, with tiny models."""
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for module in ("accelerate", "av", "pyarrow", "transformers", "peft"):
    pytest.importorskip(module)

import demonstrations
import tiny_models

from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.models.checkpoint import from_pretrained
from vla_ros.models.lora import add_lora
from vla_ros.training.log import TrainingLog
from vla_ros.training.recipes import behaviour_cloning
from vla_ros.training.settings import OptimizerSettings
from vla_ros.training.trainer import Trainer

FIT = {"channels": ("angular.z", "linear.x"), "low": (-2.0, -0.2), "high": (1.0, 0.2), "state": ("linear.x", "odom.y")}


@pytest.fixture(autouse=True)
def fresh_accelerate():
    from accelerate.state import AcceleratorState
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return demonstrations.write(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def data(folder):
    return Dataset(folder)


def source(data, size=4, **changes):
    return behaviour_cloning.Demonstrations(data, tiny_models.make(**FIT, **changes), size, camera="front")


def test_a_batch_by_hand(data):
    batch = source(data).of(np.array([0, 5, 10]))  # episodes are of 7, 4 and 9 frames
    assert batch.pixels.shape == (3, 3, *tiny_models.SIZE) and batch.pixels.dtype == torch.uint8
    for row, frame in enumerate((0, 5, 3)):  # actions of demonstrations.action: 0.01 x frame, 0.5 - episode
        episode = 0 if row < 2 else 1
        last = 6 if row < 2 else 3
        steps = [min(frame + step, last) for step in range(4)]
        torch.testing.assert_close(batch.actions[row, :, 1], torch.tensor([0.01 * step for step in steps]))
        assert batch.actions[row, :, 0].tolist() == [0.5 - episode] * 4
        assert batch.valid[row].tolist() == [frame + step <= last for step in range(4)]
    assert batch.done.tolist() == [0.0, 1.0, 1.0]  # the last half second, at 10 frames a second
    assert batch.mask.sum(1).tolist() == [5, 5, 2]
    every = data.vector("observation.state")[:, 0]
    assert batch.state[1, 0].item() == pytest.approx((0.5 - every.mean()) / every.std(), rel=1e-4)


def test_padding_teaches_nothing(data):
    model = tiny_models.make(**FIT)
    batch = source(data).of(np.array([5, 6]))
    before = behaviour_cloning.clone_loss(model, batch)["action"]
    batch.actions[~batch.valid] = 0.123
    assert torch.equal(before, behaviour_cloning.clone_loss(model, batch)["action"])
    batch.actions[0, 0] += 0.1
    assert not torch.equal(before, behaviour_cloning.clone_loss(model, batch)["action"])


def test_the_loss_by_hand(data):
    model = tiny_models.make(**FIT)
    batch = source(data).of(np.array([0, 6]))
    output = model(batch.pixels, batch.ids, batch.mask, batch.state)
    errors = (output.actions - batch.actions) / torch.tensor([1.5, 0.2])  # halves of the ranges
    kept = torch.cat([errors[0], errors[1, :1]])  # the last frame has one row that is no padding
    parts = behaviour_cloning.clone_loss(model, batch)
    torch.testing.assert_close(parts["action"], kept.square().mean())
    chance = torch.sigmoid(output.completion)
    torch.testing.assert_close(parts["task"], -((1 - chance[0]).log() + chance[1].log()) / 2)
    assert behaviour_cloning.WEIGHTS["task"] == 0.1


@pytest.mark.parametrize("head", ["decoder", "planner"])
def test_one_batch_is_learnt_by_heart(data, tmp_path, head):
    made = source(data, head=head)
    one = made.of(np.array([0, 5, 9, 15]))
    made.batch = lambda index: one
    model = tiny_models.make(**FIT, head=head)
    settings = OptimizerSettings(120, learning_rate=2e-2, warmup=5, log_every=10, checkpoint_every=1000)
    trainer = Trainer(model, behaviour_cloning.clone_loss, made, settings, tmp_path, weights=behaviour_cloning.WEIGHTS,
                      log=TrainingLog(tmp_path, 120, board=False))
    trainer.run()
    assert trainer.metrics[-1]["action"] < 0.1 * trainer.metrics[0]["action"]
    assert trainer.metrics[-1]["task"] < 0.2


def test_a_clone_with_adapters_leaves_the_base_as_it_was(data, tmp_path):
    model = tiny_models.make(**FIT, vision="clip")
    add_lora(model, "vision", rank=2, dropout=0.0)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    made = behaviour_cloning.Demonstrations(data, model, 4, camera="front")
    trainer = Trainer(model, behaviour_cloning.clone_loss, made, OptimizerSettings(4, learning_rate=1e-2, warmup=1, log_every=2), tmp_path,
                      weights=behaviour_cloning.WEIGHTS, log=TrainingLog(tmp_path, 4, board=False))
    trainer.run()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    base = {name for name in before if name.startswith("vision.model.") and ".lora_" not in name}
    assert base and not changed & base
    assert any(".lora_B" in name for name in changed) and any(name.startswith("trunk") for name in changed)
    batch = made.batch(0)
    model.eval()
    wanted = model(batch.pixels, batch.ids, batch.mask, batch.state).actions
    trainer.export(tmp_path / "policy")
    whole = from_pretrained(tmp_path / "policy")
    torch.testing.assert_close(whole(batch.pixels, batch.ids, batch.mask, batch.state).actions, wanted, rtol=1e-4, atol=1e-5)


def test_clone_leaves_a_policy_with_the_statistics_of_its_state(folder, tmp_path, monkeypatch):
    from vla_ros.training import log
    monkeypatch.setattr(log.importlib.util, "find_spec", lambda name: None)  # no TensorBoard: it takes seconds
    settings = OptimizerSettings(2, warmup=1, log_every=1, evaluate_every=1, average=0.9)
    config = tiny_models.tiny(**FIT, language="lstm")  # its words are those of the demonstrations
    trainer = behaviour_cloning.clone(folder, tmp_path, settings, config=config, batch=2, camera="front", held_out=0.4)
    assert "held_out" in trainer.metrics[-1]
    whole = from_pretrained(tmp_path / "policy")
    state = whole.statistics["state"]["linear.x"]
    assert state == pytest.approx({"mean": 0.315, "std": 0.2351, "min": 0.0, "max": 0.8}, abs=1e-3)
    assert whole.tokenizer.encode("turn left") and not (tmp_path / "policy" / "state.json").exists()
    rows = json.loads((tmp_path / "policy" / "config.json").read_text())
    assert rows["channels"] == ["angular.z", "linear.x"] and rows["camera"] == "front"


@pytest.mark.parametrize(("changes", "said"), [
    ({"camera": "left"}, "no camera 'left'; it has front, wrist"), ({"camera": None}, "has 2 cameras"),
    ({"channels": ("angular.z", "gripper")}, "drives gripper"), ({"state": ("battery",)}, "state has battery"),
    ({"step": 0.25}, "0.25 s apart"), ({"step": 0.01}, "0.01 s apart"), ({"low": (-0.1, -0.2)}, "bounds it by -0.1 and 1")])
def test_data_that_does_not_fit_the_config_is_refused(data, changes, said):
    config = tiny_models.tiny(**(FIT | {name: value for name, value in changes.items() if name != "camera"}))
    with pytest.raises(ValueError, match=said):
        behaviour_cloning.check_fit(data, config, changes.get("camera", "front"))


def test_words_that_the_model_does_not_know_are_refused(data, tmp_path):
    strange = demonstrations.write(tmp_path / "strange", tasks=("go", "polish the chandelier", "go"))
    with pytest.raises(ValueError, match="polish"):
        behaviour_cloning.Demonstrations(Dataset(strange), tiny_models.make(**FIT), 2, camera="front")


def test_a_config_made_for_a_dataset_fits_it(data):
    assert behaviour_cloning.check_fit(data, behaviour_cloning.config_for(data), "front") == ("front", 1)


# -- what datasets really hold -------------------------------------------------------------------------------------
def tasks(folder, texts):
    """Other words, as no writer of ours would take them."""
    demonstrations.set_column(folder / "meta/tasks.parquet", "__index_level_0__", texts)
    return folder


@pytest.mark.parametrize("silent", ["", "   ", "!!!", "…", "👍", "_"])
def test_frames_without_words_are_left_out_and_it_is_said(tmp_path, silent):
    folder = tasks(demonstrations.write(tmp_path / "set"), [silent, "turn left"])  # episodes 0 and 2 have the first
    found = source(Dataset(folder))
    assert found.learnt.tolist() == [7, 8, 9, 10]
    assert [note for note in found.notes if "16 of 20 frames have a task without words" in note and repr(silent) in note]
    assert found.batch(0).mask.any(1).all()
    tasks(folder, [silent, silent])
    for refused in (source, lambda data: behaviour_cloning.clone(data.folder, tmp_path / "out", OptimizerSettings(1), camera="front")):
        with pytest.raises(ValueError, match="no task in .* has words"):
            refused(Dataset(folder))
    assert not (tmp_path / "out").exists()


def test_a_failed_episode_with_words_does_not_stand_for_those_without(tmp_path):
    folder = tasks(demonstrations.write(tmp_path / "set"), ["", "turn left"])
    demonstrations.set_column(folder / "meta/episodes/chunk-000/file-000.parquet", "vla_ros/success", [None, False, True])
    with pytest.raises(ValueError, match="did not fail has a task with words"):
        source(Dataset(folder))


def with_velocities(folder):
    """The joints' velocities and efforts, under the joints' names, before the state and after it."""
    names = ["linear.x", "angular.z", "gripper_joint"]
    for name, value in (("observation.effort", 500.0), ("observation.velocity", 7.0)):
        demonstrations.add_feature(folder, name, [[value + frame] * 3 for frame in range(20)], dtype="float32", shape=[3],
                                   names=names)
    demonstrations.change_info(folder, lambda info: info.update(features=dict(sorted(info["features"].items()))))
    return folder


def test_the_state_is_the_state_and_no_velocity_of_the_same_name(data, tmp_path):
    folder = with_velocities(demonstrations.write(tmp_path / "set"))
    for wanted in (FIT, {**FIT, "state": ("gripper_joint", "linear.x")}):
        made = [behaviour_cloning.Demonstrations(one, tiny_models.make(**wanted), 4, camera="front")
                for one in (data, Dataset(folder))]
        assert made[0].statistics == made[1].statistics
        torch.testing.assert_close(made[0].batch(3).state, made[1].batch(3).state)
    both = {**FIT, "state": ("linear.x", "observation.velocity.linear.x")}
    found = behaviour_cloning.Demonstrations(Dataset(folder), tiny_models.make(**both), 4, camera="front")
    assert found.statistics["state"]["observation.velocity.linear.x"]["mean"] == pytest.approx(7 + 9.5)
    assert found.statistics["state"]["linear.x"]["mean"] == pytest.approx(0.315)


def test_a_joint_that_stood_still_is_normalised_by_the_least_that_counts(data):
    found = behaviour_cloning.Demonstrations(data, tiny_models.make(**{**FIT, "state": ("gripper_joint", "linear.x")}), 4, camera="front")
    kept = found.statistics["state"]["gripper_joint"]  # 0.05 in every frame, but for float32
    assert kept["std"] == 0.01 and kept["mean"] == pytest.approx(0.05) and kept["min"] == kept["max"]
    assert (kept["mean"] + 0.02 - kept["mean"]) / kept["std"] == pytest.approx(2.0)  # as a policy is told; not 12,266
    assert found.batch(0).state[:, 0].abs().max() < 1e-3
    assert found.notes == ["gripper_joint hardly moved (its deviation is 0); 0.01 is taken instead"]


def test_a_state_that_was_left_out_is_refused_with_the_reason(tmp_path):
    folder = demonstrations.write(tmp_path / "set")
    demonstrations.add_feature(folder, "observation.effort", [[float("nan")]] * 20, dtype="float32", shape=[1], names=["grip"])
    dataset = Dataset(folder)
    behaviour_cloning.check_fit(dataset, tiny_models.tiny(**FIT), "front")
    with pytest.raises(ValueError, match="state has grip, .*'observation.effort' is left out: .* is nan"):
        behaviour_cloning.check_fit(dataset, tiny_models.tiny(**{**FIT, "state": ("grip",)}), "front")


@pytest.mark.parametrize("old", [False, True])
def test_a_dataset_of_a_lab_is_cloned_as_it_is(tmp_path, capsys, old):
    """v3.0 and v2.1: two cameras, words that the small model does not know, no state, a reward, a matrix."""
    from vla_ros.cli.main import main
    folder = demonstrations.write(tmp_path / "set", tasks=("Pick the cube!", "Sort the screws", "Pick the cube!"))
    demonstrations.add_feature(folder, "next.reward", np.arange(20.0), dtype="float32", shape=[1], names=None)
    demonstrations.add_feature(folder, "observation.pose", [[[0.0] * 4] * 4] * 20, dtype="float32", shape=[4, 4])
    demonstrations.change_info(folder, lambda info: info["features"].pop("observation.state"))
    if old:
        folder = demonstrations.as_v2(folder, tmp_path / "old")
    argv = ["train", "behaviour_cloning", "--data", str(folder), "--out", str(tmp_path / "out"), "--steps", "2", "--batch", "2"]
    assert main(argv) == 2
    assert "has 2 cameras (front, wrist)" in capsys.readouterr().err
    assert main([*argv, "--camera", "top"]) == 2
    assert "no camera 'top'; it has front, wrist" in capsys.readouterr().err
    assert main([*argv, "--camera", "wrist"]) == 0
    said = capsys.readouterr().out
    assert "learns the 5 words of its tasks" in said
    assert "there is no 'observation.state'" in said and "next.reward: not observed" in said
    assert "'observation.pose' is left out: it has the shape [4, 4]" in said
    whole = from_pretrained(tmp_path / "out" / "policy")
    assert whole.config.state == () and whole.config.language == "lstm" and whole.tokenizer.encode("sort the cube")


def test_words_of_the_lexicon_keep_the_small_model(data):
    assert behaviour_cloning.config_for(data).language == "small"
