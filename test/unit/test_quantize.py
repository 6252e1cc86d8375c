"""Fewer bits: what packed weights are worth, that a quantized checkpoint comes back and runs, and what is measured."""
from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import inputs, make, words_for

from vla_ros.cli.main import main
from vla_ros.engines.compiled_vla import CompiledVLA, sub_models_of
from vla_ros.engines.export import exported
from vla_ros.models import PACKED, QUANTIZATIONS, examples, memory
from vla_ros.models.checkpoint import from_pretrained, save_pretrained
from vla_ros.models.language.lexicon import LENGTH, encode
from vla_ros.models.quantized import (
    GROUP_SIZE,
    SMALLEST_WEIGHT,
    Int4,
    Int8,
    is_packed,
    quantize_weights,
    unpack,
)
from vla_ros.policies.builtin import BUILTIN, Builtin, precision_of
from vla_ros.policies.following import LOOK_IMAGES
from vla_ros.policies.progress import SCALES
from vla_ros.training import quantization

WIDE: dict[str, Any] = {"state": tuple(SCALES), "auxiliary": True, "width": 48}  # wide enough for weights worth packing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, path = make(**WIDE), tmp_path_factory.mktemp("quantize") / "model"
    save_pretrained(model, path)
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(0, 255, (4, *model.config.image_size, 3), dtype=torch.uint8, generator=rng)
    examples.save(path, images, torch.tensor([encode("turn left")] * 4), torch.rand(4, len(SCALES), generator=rng))
    return path


# -- weights ---------------------------------------------------------------------------------------------
@given(rows=st.integers(1, 5), columns=st.integers(1, 3 * GROUP_SIZE + 1), seed=st.integers(0, 99),
       size=st.sampled_from([1e-20, 1e-3, 1.0, 1e4]), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
@settings(deadline=None)
def test_no_weight_is_off_by_more_than_half_a_step(rows: int, columns: int, seed: int, size: float, dtype: Any) -> None:
    weight = (torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size).to(dtype)
    for way, steps, group in ((Int8(), 127, columns), (Int4(weight.shape), 7, GROUP_SIZE)):
        values, scale = way.right_inverse(weight)
        back = way(values, scale)
        assert back.shape == weight.shape and back.dtype == dtype
        largest = torch.stack([one.abs().amax(1) for one in weight.float().split(group, 1)], 1)
        half = (largest / steps / 2).repeat_interleave(group, 1)[:, :columns]
        slack = 0.02 * largest.max() if dtype == torch.bfloat16 else 1e-5 * largest.max()
        assert ((back.float() - weight.float()).abs() <= half + slack + 1e-11).all()


@pytest.mark.parametrize("kind", PACKED)
def test_nothing_but_zeros_stays_so(kind: str) -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(40, 32))
    torch.nn.init.zeros_(layer[0].weight)
    quantize_weights(layer, kind)
    assert not layer[0].weight.any()


def test_a_convolution_s_weight_keeps_its_shape() -> None:
    layer = torch.nn.Sequential(torch.nn.Conv2d(8, 16, 3))
    before = layer[0].weight.clone()
    quantize_weights(layer, "int4")
    assert layer[0].weight.shape == before.shape and (layer[0].weight - before).abs().max() < before.abs().max() / 7


@pytest.mark.parametrize("columns, packed", [(SMALLEST_WEIGHT // 32 - 1, False), (SMALLEST_WEIGHT // 32, True)])
def test_small_weights_stay_as_they_are(columns: int, packed: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(columns, 32), torch.nn.Linear(64, 64))
    assert quantize_weights(model, "int8") == (["0", "1"] if packed else ["1"])


def test_a_model_without_large_weights_and_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to gain"):
        quantize_weights(torch.nn.Linear(4, 4), "int8")
    with pytest.raises(ValueError, match="int8 or int4, not in 'int3'"):
        quantize_weights(torch.nn.Linear(64, 64), "int3")


def test_unpacking_a_copy_leaves_the_original_packed() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    quantize_weights(model, "int4")
    plain = unpack(copy.deepcopy(model))
    assert is_packed(model) and not is_packed(plain) and type(plain[0]) is torch.nn.Linear
    assert torch.equal(plain[0].weight, model[0].weight)


# -- checkpoints -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("changes", [{}, {"vision": "clip", "language": "lstm", "fusion": "transformer"},
                                     {"vision": "resnet18", "fusion": "late", "head": "planner"}, {"model": "modular"},
                                     {"language": "static", "fusion": "early"}, {"language": "minilm", "fusion": "cross_attention"}],
                         ids=str)
def test_a_packed_checkpoint_comes_back_to_the_bit(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    model = make(width=64, **changes)
    model.tokenizer = model.tokenizer or words_for(model)
    save_pretrained(model, tmp_path / "one")
    assert quantization.quantize(tmp_path / "one", tmp_path / "two", kind)
    back, again = from_pretrained(tmp_path / "two"), from_pretrained(tmp_path / "two")
    assert back.config.quantization == kind and is_packed(back)
    save_pretrained(back, tmp_path / "three")
    assert (tmp_path / "two/model.safetensors").read_bytes() == (tmp_path / "three/model.safetensors").read_bytes()
    given = inputs()
    with torch.inference_mode():
        assert torch.equal(back(*given).actions, again(*given).actions)
        assert torch.allclose(back(*given).actions, model.eval()(*given).actions, atol=0.1)
    held = sum(one.nbytes for one in back.state_dict().values())
    assert held < sum(one.nbytes for one in model.state_dict().values())


@pytest.mark.parametrize("kind", PACKED)
def test_the_estimate_is_what_the_box_takes(tmp_path: Path, kind: str) -> None:
    quantization.quantize(BUILTIN, tmp_path / kind, kind)
    back = from_pretrained(tmp_path / kind).to(torch.bfloat16)  # the estimate's type for what is not packed
    held = memory.held([*back.parameters(), *back.buffers()])
    assert memory.weights(back.config, kind) == pytest.approx(held, rel=0.001)


@pytest.mark.parametrize("kind", QUANTIZATIONS[1:])
def test_the_same_policy_runs_it(folder: Path, tmp_path: Path, kind: str) -> None:
    quantization.quantize(folder, tmp_path / kind, kind)
    policy = Builtin({"checkpoint": str(tmp_path / kind), "engine_cache": "none", "engine": "eager"})
    assert policy.name != Builtin({"checkpoint": str(folder), "engine_cache": "none", "engine": "eager"}).name
    assert policy.describe()["engine"].startswith("eager fp32")  # which has no int8


def test_static_runs_at_int8_on_an_engine_that_can(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    quantization.quantize(folder, tmp_path / "static", "static")
    assert precision_of(from_pretrained(tmp_path / "static").config) == ("fp32" if torch.cuda.is_available() else "int8")
    policy = Builtin({"checkpoint": str(tmp_path / "static"), "engine_cache": "none", "engine": "onnxruntime"})
    assert "onnxruntime int8" in policy.describe()["engine"]


@pytest.mark.parametrize("kind", PACKED)
def test_an_engine_holds_plain_weights(folder: Path, tmp_path: Path, kind: str) -> None:
    quantization.quantize(folder, tmp_path / kind, kind)
    vla = from_pretrained(tmp_path / kind)
    _, acting = sub_models_of(vla, examples.load(tmp_path / kind, vla)[0], "key")
    program = exported(acting)
    assert not any("__and__" in str(node.target) or "shift" in str(node.target) for node in program.graph.nodes)
    assert all(one.is_floating_point() for one in program.state_dict.values()) and is_packed(vla)
    for one, wanted in zip(program.module()(*acting.examples[0]), acting.module(*acting.examples[0])):
        assert torch.allclose(one, wanted, atol=1e-5)


def test_what_is_quantized_already_or_cannot_be_trained_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    quantization.quantize(folder, tmp_path / "one", "int8")
    with pytest.raises(ValueError, match="quantized already \\(int8\\); give what it was made from"):
        quantization.quantize(tmp_path / "one", tmp_path / "two", "int4")
    pytest.importorskip("mujoco")
    pytest.importorskip("accelerate")
    from vla_ros.training.recipes.reinforce import Reinforcement, reinforce
    from vla_ros.training.settings import OptimizerSettings
    with pytest.raises(ValueError, match="packed weights \\(int8\\), which cannot be trained"):
        reinforce(tmp_path / "one", tmp_path / "out", Reinforcement("face"), OptimizerSettings(1))


def test_static_wants_observations(tmp_path: Path) -> None:
    save_pretrained(make(**WIDE), tmp_path / "bare")
    with pytest.raises(ValueError, match="no observations to calibrate on; record some"):
        quantization.quantize(tmp_path / "bare", tmp_path / "static", "static")


# -- calibration -----------------------------------------------------------------------------------------
def test_a_recording_gives_what_the_policy_would_see(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                     ) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    import demonstrations

    from vla_ros.core.images import resize
    from vla_ros.core.types import Instruction, Observation
    from vla_ros.datasets.lerobot.read import Dataset
    monkeypatch.setattr(demonstrations, "state", lambda episode, frame: {  # one that drives, and turns
        "linear.x": 0.0, "angular.z": 0.0, "gripper_joint": 0.05, "odom.x": 0.1 * frame, "odom.y": 0.0,
        "odom.yaw": 0.2 * frame * episode})
    dataset = Dataset(demonstrations.write(tmp_path / "recorded", lengths=(6, 6), tasks=("face the blue ball", "turn left")))
    vla = from_pretrained(folder)
    with pytest.raises(ValueError, match=r"has 2 cameras \(front, wrist\), and the model looks through one"):
        quantization.calibration(vla, folder, dataset, rows=12)
    vla.config = replace(vla.config, cameras=("top",))
    with pytest.raises(ValueError, match="has front, wrist, and the model learned from the camera top"):
        quantization.calibration(vla, folder, dataset, rows=12)
    vla.config = replace(vla.config, cameras=("front",))
    found = quantization.calibration(vla, folder, dataset, rows=12)
    told: list[list[float]] = []
    act = CompiledVLA.decode_action
    monkeypatch.setattr(CompiledVLA, "decode_action", lambda self, image, read, state: (
        told.append(state), act(self, image, read, state))[1])
    policy = Builtin({"checkpoint": str(folder), "engine": "eager", "engine_cache": "none"})
    for episode in dataset.episodes:
        policy.reset()
        for index in range(episode.start, episode.end):
            frame = dataset.frame(index)
            image = resize(frame.images["front"], vla.config.image_size)
            policy.predict(Observation(index, Instruction(0, episode.index, frame.task), {"camera": image}, frame.state))
            assert torch.equal(found["image"][index], torch.from_numpy(image))
    # At the first images of words about an object the policy looks: its model is not asked what to do, and what it sees
    # there is no progress yet.
    asked, given = found["state"][LOOK_IMAGES - 1:], torch.tensor(told)
    same = [column for column, name in enumerate(vla.config.state) if name not in ("gripper_command", "carried")]
    assert len(given) == 9 == len({tuple(one) for one in told})
    assert torch.allclose(asked[:, same], given[:, same]) and torch.allclose(asked[3:], given[3:])
    for row, words in ((0, "face the blue ball"), (-1, "turn left")):
        assert found["ids"][row].tolist() == encode(words) + [0] * (LENGTH - len(encode(words)))


# -- the verb --------------------------------------------------------------------------------------------
def test_the_verb_says_before_and_after(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["quantize", "--checkpoint", str(folder), "--to", "int8", "--out", str(tmp_path / "out"), "--engine", "eager"]
    assert main([*argv, "--episodes", "0", "--runs", "3", "--json", str(tmp_path / "it.json")]) == 0
    before, after = json.loads((tmp_path / "it.json").read_text())["figures"].values()
    assert after["file"] < before["file"] and after["memory"] < before["memory"]
    assert all(math.isfinite(value) and value > 0 for one in (before, after) for value in one["eager"])
    assert "in 8 bits" in capsys.readouterr().out


@pytest.mark.parametrize("more, said", [
    (["--runs", "0"], "--runs is 0"), (["--episodes", "-1"], "--episodes -1"), (["--out", "."], "there already"),
    (["--recorded", "/nowhere"], "/nowhere")])
def test_bad_arguments_are_sentences(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str],
                                     said: str) -> None:
    argv = ["quantize", "--checkpoint", str(folder), "--to", "int8", "--out", str(tmp_path / "out")]
    assert main([*argv, *more]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
