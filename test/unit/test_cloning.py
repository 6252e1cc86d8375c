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

FIT = {"cameras": ("front",), "channels": ("angular.z", "linear.x"), "low": (-2.0, -0.2), "high": (1.0, 0.2), "state": ("linear.x", "odom.y")}


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
    return behaviour_cloning.Demonstrations(data, tiny_models.make(**FIT, **changes), size)


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
    made = behaviour_cloning.Demonstrations(data, model, 4)
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
    trainer = behaviour_cloning.clone(folder, tmp_path, settings, config=config, batch=2, held_out=0.4)
    assert "held_out" in trainer.metrics[-1]
    whole = from_pretrained(tmp_path / "policy")
    state = whole.statistics["state"]["linear.x"]
    assert state == pytest.approx({"mean": 0.315, "std": 0.2351, "min": 0.0, "max": 0.8}, abs=1e-3)
    assert whole.tokenizer.encode("turn left") and not (tmp_path / "policy" / "state.json").exists()
    rows = json.loads((tmp_path / "policy" / "config.json").read_text())
    assert rows["channels"] == ["angular.z", "linear.x"] and rows["cameras"] == ["front"]


def test_a_clone_with_the_shipped_table_of_words_knows_words_that_no_demonstration_has(folder, tmp_path, monkeypatch):
    """By `vla train`; its checkpoint is a policy that is told what its robot has, and needs no table beside it."""
    from vla_ros.cli.main import main
    from vla_ros.core.types import Instruction, Observation
    from vla_ros.models.language import word_sources
    from vla_ros.policies.builtin import Builtin
    config = tiny_models.tiny(**FIT, fusion="late", language="static", language_options={"vocabulary": 27_628, "embedding": 96, "weights": "shipped"})
    (tmp_path / "model.json").write_text(json.dumps(config.to_dict()))
    argv = ["train", "behaviour_cloning", "--data", str(folder), "--out", str(tmp_path / "out"), "--steps", "2", "--batch", "2"]
    assert main([*argv, "--config", str(tmp_path / "model.json")]) == 0
    monkeypatch.setattr(word_sources, "stored_arrays", lambda robot, folder: pytest.fail("it looked for the table"))
    policy = Builtin({"checkpoint": str(tmp_path / "out" / "policy"), "engine": "eager"})
    image = np.zeros((*tiny_models.SIZE, 3), np.uint8)
    rows = policy.predict(Observation(0, Instruction(0, 1, "retrieve the turquoise zebra"), {"front": image}, {"linear.x": 0.1, "odom.y": 0.0}))
    assert rows.shape == (4, 2) and np.isfinite(rows).all()


@pytest.mark.parametrize(("changes", "said"), [
    ({"cameras": ("left",)}, "no camera 'left'; it has front, wrist"), ({"cameras": ()}, "looks through one"),
    ({"channels": ("angular.z", "gripper")}, "drives gripper"), ({"state": ("battery",)}, "state has battery"),
    ({"step": 0.25}, "0.25 s apart"), ({"step": 0.01}, "0.01 s apart"), ({"low": (-0.1, -0.2)}, "bounds it by -0.1 and 1")])
def test_data_that_does_not_fit_the_config_is_refused(data, changes, said):
    with pytest.raises(ValueError, match=said):
        behaviour_cloning.check_fit(data, tiny_models.tiny(**(FIT | changes)))


def test_words_that_the_model_does_not_know_are_refused(data, tmp_path):
    strange = demonstrations.write(tmp_path / "strange", tasks=("go", "polish the chandelier", "go"))
    with pytest.raises(ValueError, match="polish"):
        behaviour_cloning.Demonstrations(Dataset(strange), tiny_models.make(**FIT), 2)


def test_a_config_made_for_a_dataset_fits_it(data):
    assert behaviour_cloning.check_fit(data, behaviour_cloning.config_for(data)) == 1


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
    for refused in (source, lambda data: behaviour_cloning.clone(data.folder, tmp_path / "out", OptimizerSettings(1), cameras=["front"])):
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
        made = [behaviour_cloning.Demonstrations(one, tiny_models.make(**wanted), 4)
                for one in (data, Dataset(folder))]
        assert made[0].statistics == made[1].statistics
        torch.testing.assert_close(made[0].batch(3).state, made[1].batch(3).state)
    both = {**FIT, "state": ("linear.x", "observation.velocity.linear.x")}
    found = behaviour_cloning.Demonstrations(Dataset(folder), tiny_models.make(**both), 4)
    assert found.statistics["state"]["observation.velocity.linear.x"]["mean"] == pytest.approx(7 + 9.5)
    assert found.statistics["state"]["linear.x"]["mean"] == pytest.approx(0.315)


def test_a_joint_that_stood_still_is_normalised_by_the_least_that_counts(data):
    found = behaviour_cloning.Demonstrations(data, tiny_models.make(**{**FIT, "state": ("gripper_joint", "linear.x")}), 4)
    kept = found.statistics["state"]["gripper_joint"]  # 0.05 in every frame, but for float32
    assert kept["std"] == 0.01 and kept["mean"] == pytest.approx(0.05) and kept["min"] == kept["max"]
    assert (kept["mean"] + 0.02 - kept["mean"]) / kept["std"] == pytest.approx(2.0)  # as a policy is told; not 12,266
    assert found.batch(0).state[:, 0].abs().max() < 1e-3
    assert found.notes == ["gripper_joint hardly moved (its deviation is 0); 0.01 is taken instead"]


def test_a_state_that_was_left_out_is_refused_with_the_reason(tmp_path):
    folder = demonstrations.write(tmp_path / "set")
    demonstrations.add_feature(folder, "observation.effort", [[float("nan")]] * 20, dtype="float32", shape=[1], names=["grip"])
    dataset = Dataset(folder)
    behaviour_cloning.check_fit(dataset, tiny_models.tiny(**FIT))
    with pytest.raises(ValueError, match="state has grip, .*'observation.effort' is left out: .* is nan"):
        behaviour_cloning.check_fit(dataset, tiny_models.tiny(**{**FIT, "state": ("grip",)}))


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
    assert main([*argv, "--camera", "top"]) == 2
    assert "no camera 'top'; it has front, wrist" in capsys.readouterr().err
    assert main([*argv, "--camera", "wrist"]) == 0
    said = capsys.readouterr().out
    assert "learns the 5 words of its tasks" in said
    assert "there is no 'observation.state'" in said and "next.reward: not observed" in said
    assert "'observation.pose' is left out: it has the shape [4, 4]" in said
    whole = from_pretrained(tmp_path / "out" / "policy")
    assert whole.config.state == () and whole.config.language == "lstm" and whole.tokenizer.encode("sort the cube")


def test_several_cameras_lie_side_by_side_in_the_model_s_image(folder, tmp_path, capsys):
    """Trained on two, run on two, each at its share of the image."""
    from vla_ros.cli.main import main
    from vla_ros.core.types import Instruction, Observation
    from vla_ros.policies import make_policy, policy_spec
    argv = ["train", "behaviour_cloning", "--data", str(folder), "--out", str(tmp_path), "--steps", "2", "--batch", "2"]
    assert main(argv) == 0
    assert "the model looks through front, wrist, side by side" in capsys.readouterr().out
    model = from_pretrained(tmp_path / "policy")
    assert (model.config.cameras, model.config.image_size) == (("front", "wrist"), (120, 320))
    options = {"checkpoint": str(tmp_path / "policy"), "engine": "eager"}
    spec = policy_spec("builtin", options)
    assert spec.images == {"front": (120, 160), "wrist": (120, 160)}
    policy = make_policy("builtin", options)
    random = np.random.default_rng(0)
    images = {name: random.integers(0, 256, (120, 160, 3), np.uint8) for name in ("wrist", "front")}
    seen = Observation(0, Instruction(0, 1, "turn left"), images, dict.fromkeys(spec.state, 0.1))
    rows = policy.predict(seen)
    assert rows.shape == (8, 2)
    other = Observation(0, seen.instruction, {"front": images["wrist"], "wrist": images["front"]}, seen.state)
    assert np.abs(policy.predict(other) - rows).max() > 1e-6  # it matters which is which
    both = np.concatenate([images["front"], images["wrist"]], 1)
    ids = torch.tensor([model.tokenizer.encode("turn left")])
    state = [(0.1 - model.statistics["state"][name]["mean"]) / model.statistics["state"][name]["std"] for name in model.config.state]
    with torch.inference_mode():
        right = model(torch.from_numpy(both).permute(2, 0, 1)[None], ids, ids > 0, torch.tensor([state]).float())
    np.testing.assert_allclose(rows, right.actions[0].numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="looks through front of 120 x 160, wrist of 120 x 160"):
        policy.predict(Observation(0, seen.instruction, {"front": images["front"]}, seen.state))


def test_a_dataset_without_images_is_a_sentence(tmp_path):
    folder = demonstrations.write(tmp_path / "set")
    demonstrations.change_info(folder, lambda info: [info["features"].pop(f"observation.images.{name}") for name in ("front", "wrist")])
    with pytest.raises(ValueError, match="has no camera that can be read"):
        behaviour_cloning.clone(folder, tmp_path / "out", OptimizerSettings(1))


def test_a_config_of_one_s_own_has_one_camera_s_image_size(folder, tmp_path):
    config = tiny_models.tiny(**{**FIT, "cameras": ()}, language="lstm")
    behaviour_cloning.clone(folder, tmp_path / "both", OptimizerSettings(1), config=config, batch=1)
    height, width = tiny_models.SIZE
    assert from_pretrained(tmp_path / "both/policy").config.image_size == (height, 2 * width)
    behaviour_cloning.clone(folder, tmp_path / "one", OptimizerSettings(1), config=config, batch=1, cameras=["wrist"])
    made = from_pretrained(tmp_path / "one/policy").config
    assert (made.cameras, made.image_size) == (("wrist",), (height, width))


def test_a_batch_of_two_cameras_by_hand(data):
    from vla_ros.core.images import resize
    height, width = tiny_models.SIZE
    model = tiny_models.make(**{**FIT, "cameras": ("wrist", "front")})
    batch = behaviour_cloning.Demonstrations(data, model, 2).of(np.array([3]))
    pixels = batch.pixels[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels[:, :width // 2], resize(data.image(3, "wrist"), (height, width // 2)))
    np.testing.assert_array_equal(pixels[:, width // 2:], resize(data.image(3, "front"), (height, width // 2)))


def test_words_of_the_lexicon_keep_the_small_model(data):
    assert behaviour_cloning.config_for(data).language == "small"


# -- corrections ---------------------------------------------------------------------------------------------------
def corrected(path, interventions=range(2, 5), held=()):
    """`demonstrations.write`, in which a person has the robot at the frames of `interventions`; the gate holds at `held`."""
    folder = demonstrations.write(path)
    for name, frames in (("intervention", interventions), ("gate.held", held)):
        demonstrations.add_feature(folder, name, [frame in frames for frame in range(20)], dtype="bool", shape=[1], names=None)
    return Dataset(folder)


def corrections(dataset, **given):
    return behaviour_cloning.Demonstrations(dataset, tiny_models.make(**FIT), 4, corrections=behaviour_cloning.Corrections(**given))


def test_only_interventions_are_learnt_and_no_row_of_the_policy_after_them(tmp_path):
    made = corrections(corrected(tmp_path / "set"), only=True)
    assert made.learnt.tolist() == [2, 3, 4]
    assert "a person had the robot in 3 of 20 frames, which alone are learnt" in made.notes
    batch = made.of(np.array([2, 4]))  # rows of four frames
    assert batch.weight.tolist() == [[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    model = tiny_models.make(**FIT)
    before = behaviour_cloning.clone_loss(model, batch)["action"]
    batch.actions[batch.weight == 0.0] = 0.123
    assert torch.equal(before, behaviour_cloning.clone_loss(model, batch)["action"])


def test_what_the_policy_did_beyond_the_bounds_does_not_matter_where_it_is_not_learnt(tmp_path):
    dataset = corrected(tmp_path / "set", interventions=range(7, 11))  # the second episode: 0.5 less
    config = tiny_models.tiny(**{**FIT, "high": (0.0, 0.2)})
    with pytest.raises(ValueError, match="angular.z goes from -1.5 to 0.5"):
        behaviour_cloning.check_fit(dataset, config, behaviour_cloning.Corrections(weight=2.0))
    assert behaviour_cloning.check_fit(dataset, config, behaviour_cloning.Corrections(only=True)) == 1


def test_a_weighted_intervention_counts_as_so_many_frames(tmp_path):
    made = corrections(corrected(tmp_path / "set"), weight=3.0)
    assert len(made.learnt) == 20
    assert "a person had the robot in 3 of 20 frames, which weigh 3 times as much" in made.notes
    batch = made.of(np.array([1]))
    assert batch.weight.tolist() == [[1.0, 3.0, 3.0, 3.0]]
    model = tiny_models.make(**FIT)
    output = model(batch.pixels, batch.ids, batch.mask, batch.state)
    errors = ((output.actions - batch.actions) / torch.tensor([1.5, 0.2]))[0].square().mean(1)  # of each row
    by_hand = (errors[0] + 3 * errors[1:].sum()) / 10
    torch.testing.assert_close(behaviour_cloning.clone_loss(model, batch)["action"], by_hand)


def test_all_frames_weigh_the_same_where_nobody_asks(tmp_path):
    plain = source(corrected(tmp_path / "set"))
    assert plain.batch(0).weight.unique().tolist() == [1.0] and not any("person" in note for note in plain.notes)


def test_frames_at_which_the_gate_held_are_left_out_and_it_is_said(tmp_path):
    made = source(corrected(tmp_path / "set", held=(3, 8)))
    assert 3 not in made.learnt and 8 not in made.learnt and len(made.learnt) == 18
    assert "the gate held in 2 frames; they are left out" in made.notes
    assert made.of(np.array([2])).weight.tolist() == [[1.0, 0.0, 1.0, 1.0]]


def test_a_dataset_without_interventions_is_refused_with_a_sentence(data, tmp_path):
    with pytest.raises(ValueError, match="does not say where a person took over .it has no 'intervention'"):
        corrections(data, only=True)
    none = corrected(tmp_path / "none", interventions=())
    for given in ({"only": True}, {"weight": 2.0}):
        with pytest.raises(ValueError, match="in none of the 20 frames of .* a person had taken over"):
            corrections(none, **given)
    with pytest.raises(ValueError, match="the gate held in every frame of .* that would be learnt"):
        corrections(corrected(tmp_path / "held", held=range(2, 5)), only=True)


@pytest.mark.parametrize(("given", "said"), [
    ({"weight": 0.0}, "would weigh 0; give more than 0"), ({"weight": 1001.0}, "would weigh 1001"),
    ({"weight": float("nan")}, "would weigh nan"), ({"only": True, "weight": 2.0}, "are both given")])
def test_what_interventions_cannot_weigh(given, said):
    with pytest.raises(ValueError, match=said):
        behaviour_cloning.Corrections(**given)
    behaviour_cloning.Corrections(weight=1000.0)


def test_a_checkpoint_goes_on_with_its_own_words_and_statistics(folder, tmp_path, capsys):
    from vla_ros.cli.main import main
    argv = ["train", "behaviour_cloning", "--data", str(folder), "--steps", "2", "--batch", "2", "--camera", "front"]
    assert main([*argv, "--out", str(tmp_path / "first")]) == 0
    first = from_pretrained(tmp_path / "first/policy")
    corrected(tmp_path / "set")
    argv[3] = str(tmp_path / "set")
    argv = argv[:-2]  # the cameras are the checkpoint's
    given = ["--checkpoint", str(tmp_path / "first/policy")]
    assert main([*argv, "--out", str(tmp_path / "second"), *given, "--only-interventions", "--learning-rate", "1e-9"]) == 0
    assert "3 of 20 frames, which alone are learnt" in capsys.readouterr().out
    second = from_pretrained(tmp_path / "second/policy")
    assert second.config == first.config and second.statistics == first.statistics
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    assert main([*argv, "--out", str(tmp_path / "third"), *given, "--config", str(tmp_path / "first/policy/config.json")]) == 2
    assert "a config and a checkpoint are both given" in capsys.readouterr().err
