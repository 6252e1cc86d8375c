"""An ACT checkpoint that LeRobot wrote gives here what it gives there; what does not fit is said in a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import act_numbers
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="no torch here")
safetensors = pytest.importorskip("safetensors.torch", reason="no safetensors here")

from vla_ros.core.types import Instruction, Observation
from vla_ros.policies import policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.lerobot.checkpoint import read_checkpoint, read_dataset_names, read_ranges
from vla_ros.policies.lerobot.policy import LeRobot

# What LeRobot 0.6.1 wrote and said: python test/interop/lerobot_act.py
DATA = Path(__file__).parent / "lerobot_act"
JOINTS = list(act_numbers.JOINTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, its 45 MB of weights made anew."""
    place = tmp_path_factory.mktemp("act") / "checkpoint"
    shutil.copytree(DATA, place)
    weights = {}
    for name, shape in json.loads((DATA / "weights.json").read_text()).items():
        weights[name] = torch.from_numpy(np.array(act_numbers.weight(name, tuple(shape))))
    safetensors.save_file(weights, place / "model.safetensors")
    return place


def options(folder: Path, **more: Any) -> dict[str, Any]:
    names = {"state": JOINTS, "actions": JOINTS, "rate": 30.0, "unit": "deg"}
    return {"checkpoint": str(folder), **names, "engine": "eager", "engine_cache": "none", "threads": 1, **more}


def seen(index: int, text: str = "pick up the cube") -> Observation:
    images, joints = act_numbers.observation(index)
    state = dict(zip(JOINTS, map(float, joints)))
    return Observation(1, Instruction(1, 1, text), images, state)


@pytest.fixture(scope="module")
def policy(folder: Path) -> LeRobot:
    return LeRobot(options(folder))


# -- the same as there -------------------------------------------------------------------
def test_its_rows_are_lerobots_own(policy: LeRobot) -> None:
    wanted = np.array(json.loads((DATA / "chunks.json").read_text()))
    assert wanted.shape == (act_numbers.OBSERVATIONS, act_numbers.ROWS, 6)
    for index, chunk in enumerate(wanted):
        rows = policy.predict(seen(index))
        # degrees; what two builds of torch differ by, and no more
        assert np.abs(rows - chunk).max() < 2e-3
        assert chunk.std(0).min() > 0.1  # the rows differ, so that a wrong one shows


def test_what_it_sees_counts(policy: LeRobot) -> None:
    first = policy.predict(seen(0))
    blank = seen(0)
    for camera in act_numbers.CAMERAS:
        images = {**blank.images, camera: np.zeros_like(blank.images[camera])}
        other = policy.predict(Observation(1, blank.instruction, images, blank.state))
        assert np.abs(other - first).max() > 0.1
    state = {**blank.state, JOINTS[5]: blank.state[JOINTS[5]] + 20.0}
    assert np.abs(policy.predict(Observation(1, blank.instruction, blank.images, state)) - first).max() > 0.1


def test_an_engine_says_the_same(folder: Path, policy: LeRobot, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="no ONNX Runtime here")
    compiled = LeRobot(options(folder, engine="onnxruntime", engine_cache=str(tmp_path)))
    assert compiled.describe()["engine"].startswith("onnxruntime fp32")
    assert np.abs(compiled.predict(seen(0)) - policy.predict(seen(0))).max() < 2e-3


def test_it_is_named_by_what_it_is(policy: LeRobot) -> None:
    assert policy.name.startswith("lerobot act@") and len(policy.name) == len("lerobot act@") + 8


def test_without_words_it_stands(policy: LeRobot) -> None:
    with pytest.raises(NotUnderstood, match="say what"):
        policy.predict(seen(0, " "))


# -- what it wants, before any weight is read --------------------------------------------
def test_the_spec_has_short_names_units_and_the_rate(folder: Path) -> None:
    spec = policy_spec("lerobot", options(DATA, units={"gripper": "0..100"}))
    assert dict(spec.images) == dict.fromkeys(act_numbers.CAMERAS, act_numbers.SIZE)
    assert spec.channels == spec.state == act_numbers.JOINTS
    assert (spec.steps, spec.step) == (12, round(1e9 / 30))
    assert spec.units["gripper"] == "0..100" and spec.units["elbow_flex"] == "deg"


@pytest.mark.parametrize(
    "names", [JOINTS, [JOINTS], {"motors": JOINTS}, {name: index for index, name in enumerate(JOINTS)}]
)
def test_names_and_rate_come_from_the_dataset(tmp_path: Path, names: Any) -> None:
    features = {name: {"dtype": "float32", "shape": [6], "names": names} for name in ("observation.state", "action")}
    (tmp_path / "meta").mkdir()
    info = tmp_path / "meta" / "info.json"
    info.write_text(json.dumps({"fps": 20, "features": features}))
    for place in (tmp_path, info):
        known = read_dataset_names(place)
        assert known.state == known.action == act_numbers.JOINTS and known.fps == 20.0
    given = options(DATA, dataset=str(tmp_path))
    for name in ("state", "actions", "rate"):
        del given[name]
    assert policy_spec("lerobot", given).step == 50_000_000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"checkpoint": ""}, "give the folder that LeRobot wrote"),
        ({"checkpoint": "/nowhere"}, "config.json does not exist"),
        ({"speed": 1}, "no option 'speed'"),
        ({"state": []}, "6 numbers of state, and no names are given; .*give dataset"),
        ({"actions": JOINTS[:5]}, "6 numbers of actions, and shoulder_pan"),
        ({"rate": 0}, "does not say how many rows there are in a second"),
        ({"rate": -1}, "more than 0"),
        ({"fps": 30}, "fps is no option any more; give rate beside options"),
        ({"horizon": 8}, "horizon is no option any more; give horizon beside options"),
        ({"unit": "degrees"}, "is 'degrees'; use one of"),
        ({"dataset": "/nowhere"}, "does not exist"),
    ],
)
def test_what_it_cannot_know_is_asked_for(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        policy_spec("lerobot", options(DATA, **change))


# -- checkpoints that are none -----------------------------------------------------------
def changed(tmp_path: Path, file: str, change: Any) -> Path:
    """A copy whose JSON `file` went through `change`."""
    place = tmp_path / "copy"
    shutil.copytree(DATA, place)
    data = json.loads((place / file).read_text())
    change(data)
    (place / file).write_text(json.dumps(data))
    return place


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda config: config.pop("type"), "has no type"),
        (lambda config: config.pop("input_features"), "input_features is None"),
        (lambda config: config["input_features"].update(extra={"type": "STATE", "shape": [3]}), "are known"),
        (lambda config: config["input_features"]["observation.state"].update(shape=[-6]), "observation.state is"),
        (lambda config: config["input_features"]["observation.images.front"].update(shape=[1, 8, 8]), "front is"),
        (lambda config: config["input_features"]["observation.state"].update(shape="six"), "observation.state is"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_its_spec(tmp_path: Path, change: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        policy_spec("lerobot", options(changed(tmp_path, "config.json", change)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda config: config.update(feedforward_activation="glu"), "feedforward_activation is 'glu'; known here"),
        (lambda config: config.update(vision_backbone="resnet50"), "vision_backbone is 'resnet50'"),
        (lambda config: config.update(n_obs_steps=2), "n_obs_steps is 2"),
        (lambda config: config.update(dim_model=0), "dim_model is 0"),
        (lambda config: config.update(dim_model=16), "has the shape"),
        (lambda config: config.update(n_encoder_layers=3), "lacks encoder.layers.2"),
        (lambda config: config.update(n_encoder_layers=1), "which the config does not ask for"),
    ],
)
def test_a_network_that_is_not_known_is_refused(folder: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    place = changed(tmp_path, "config.json", change)
    (place / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(ValueError, match=sentence):
        LeRobot(options(place))


def test_a_step_that_is_not_known_is_refused_by_its_name(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["steps"].append({"registry_name": "delta_action_processor", "config": {}})

    place = changed(tmp_path, "policy_preprocessor.json", change)
    with pytest.raises(ValueError, match="the step 'delta_action_processor', which is not known here"):
        read_ranges(read_checkpoint(place))


def test_a_state_file_elsewhere_is_not_opened(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        for step in data["steps"]:
            if "state_file" in step:
                step["state_file"] = "../secret.safetensors"

    with pytest.raises(ValueError, match="a file beside it is right"):
        read_ranges(read_checkpoint(changed(tmp_path, "policy_preprocessor.json", change)))


def test_names_that_it_renames_are_asked_for(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        for step in data["steps"]:
            if step["registry_name"] == "rename_observations_processor":
                step["config"]["rename_map"] = {"observation.images.top": "observation.images.front"}

    with pytest.raises(ValueError, match="renames observation.images.top"):
        read_ranges(read_checkpoint(changed(tmp_path, "policy_preprocessor.json", change)))


@pytest.mark.parametrize(("mode", "ends"), [("MIN_MAX", ("min", "max")), ("MEAN_STD", ("mean", "std"))])
def test_each_way_of_scaling_is_known(tmp_path: Path, mode: str, ends: tuple[str, str]) -> None:
    place = changed(tmp_path, "config.json", lambda config: config["normalization_mapping"].update(STATE=mode))
    range_ = read_ranges(read_checkpoint(place))["observation.state"]
    first, second = (act_numbers.statistics()["observation.state"][end] for end in ends)
    if mode == "MIN_MAX":
        assert (first - range_.offset) / range_.scale == pytest.approx(-1.0)
        assert (second - range_.offset) / range_.scale == pytest.approx(1.0)
    else:
        assert range_.offset == pytest.approx(first) and range_.scale == pytest.approx(second)


def test_one_that_is_not_known_is_refused(tmp_path: Path) -> None:
    place = changed(tmp_path, "config.json", lambda config: config["normalization_mapping"].update(STATE="LOG"))
    with pytest.raises(ValueError, match="normalized by 'LOG'; known are IDENTITY, MEAN_STD"):
        read_ranges(read_checkpoint(place))


@pytest.mark.parametrize("text", ["{", "[1]", '{"type": "act"}', ""])
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        read_checkpoint(tmp_path)
