"""The config rejects what does not fit together, with the values, before anything is built or torch is loaded."""
from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from vla_ros.models import FUSION, HEADS, LANGUAGE, MODELS, TOKENIZERS, VISION
from vla_ros.models.config import VLAConfig
from vla_ros.models.options import OPTIONS

POOLED = {"vision": "clip", "image_size": (224, 224), "vision_options": {"pooled": True}}
LLAMA = {"language": "llama"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"vision": "resnet34"}, "vision is 'resnet34'; known are: clip, resnet18, resnet50, small"),
    ({"language": "bert"}, "language is 'bert'; known are: llama, lstm, minilm, small, static"),
    ({"fusion": ["early"]}, r"fusion is \('early',\); known are: cross_attention, early"),
    ({"model": "both"}, "model is 'both'; known are: end_to_end, modular"),
    ({"width": 0}, "width is 0; give a whole number from 1 up"),
    ({"width": 96.5}, "width is 96.5; give a whole number"),
    ({"width": True}, "width is True; give a whole number"),
    ({"steps": -1}, "steps is -1"),
    ({"step": 0}, "step is 0 s; give more than 0 and at most 10"),
    ({"step": math.nan}, "step is nan s"),
    ({"step": "0.1"}, "step is '0.1' s"),
    ({"image_size": (0, 160)}, r"image_size is \(0, 160\); give height and width"),
    ({"image_size": 224}, "image_size is 224; give height and width"),
    ({"auxiliary": 1}, "auxiliary is 1; give true or false"),
    ({"channels": "abc"}, "channels is 'abc'; give a list of names"),
    ({"channels": ("linear.x", "linear.x", "gripper")}, "channels has 'linear.x' twice"),
    ({"state": ("turned", "")}, r"state is \('turned', ''\)"),
    ({"low": (-0.5, -0.5)}, "3 channels, 2 lows and 3 highs do not fit"),
    ({"channels": (), "low": (), "high": ()}, "0 channels"),
    ({"low": (-0.5, -0.5, 1.0)}, "channel gripper has low 1.0 and high 1.0; give finite bounds"),
    ({"high": (0.5, math.inf, 1.0)}, "channel angular.z has low -0.5 and high inf"),
    ({"high": (0.5, math.nan, 1.0)}, "channel angular.z has low -0.5 and high nan"),
    ({"low": (None, -0.5, 0.0)}, "channel linear.x has low None"),
    # options: unknown names and unfit values, of every kind of part
    ({"vision_options": {"chanels": (1, 2)}}, "small vision has no option 'chanels'; it has channels"),
    ({"vision": "clip", "image_size": (224, 224), "vision_options": {"hiden": 1}}, "clip vision has no option 'hiden'; it has hidden, layers"),
    ({"language": "lstm", "language_options": {"slots": 4}}, "lstm language has no option 'slots'; it has vocabulary, embedding"),
    ({"fusion": "early", "fusion_options": {"heads": 8}}, "early fusion has no option 'heads'; it has hidden, dropout"),
    ({"head_options": {"hiden": (8,)}}, "decoder head has no option 'hiden'; it has preset, hidden, dropout"),
    ({"model_options": {"tasks": 3}}, "end_to_end model has no option 'tasks'; it has none"),
    ({"vision_options": None}, "vision_options is None; give a mapping"),
    ({"vision_options": {"channels": (24,)}}, r"small vision has channels \(24,\); give 2 whole numbers"),
    ({"language": "lstm", "language_options": {"vocabulary": 1}}, "lstm language has vocabulary 1; give a whole number from 2 up"),
    ({"language": "lstm", "language_options": {"dropout": 1.0}}, "lstm language has dropout 1.0; give a number from 0 to below 1"),
    ({"language": "llama", "language_options": {"dtype": "int8"}}, "llama language has dtype 'int8'; give one of float32, bfloat16"),
    ({"head_options": {"preset": "8d"}}, "decoder head has preset '8d'; give one of small, 7d, 6d"),
    ({"head_options": {"dropout": (0.1, -0.1)}}, "decoder head has dropout"),
    ({"head_options": {"hidden": (64, 0)}}, r"decoder head has hidden \(64, 0\)"),
    ({"vision": "resnet18", "vision_options": {"pooled": "yes"}}, "resnet18 vision has pooled 'yes'; give true or false"),
    # what does not fit together
    ({"vision": "clip"}, "patches of 32 pixels, and 120 x 160 is no whole number of them; give multiples of 32"),
    ({**POOLED, "vision_options": {"patch": 14, "native_size": 225}}, "native_size 225 and patch 14"),
    ({**POOLED, "vision_options": {"heads": 5}}, "clip vision has heads 5, which do not divide its hidden 768"),
    (POOLED, "fusion 'grounded' needs cells of an image, and vision 'clip' with pooled true"),
    ({**POOLED, "fusion": "early", "auxiliary": True}, "auxiliary true needs cells of an image, and vision 'clip' with pooled true"),
    ({"vision": "resnet50", "vision_options": {"pooled": True}}, "fusion 'grounded' needs cells of an image, and vision 'resnet50'"),
    ({**LLAMA, "language_options": {"hidden": 100}}, "llama language has heads 32, which do not divide its hidden 100"),
    ({**LLAMA, "language_options": {"kv_heads": 3}}, "llama language has heads 32 and kv_heads 3; give kv_heads that divide heads"),
    ({**LLAMA, "language_options": {"hidden": 96}}, "llama language has 3 numbers a head"),
    ({**LLAMA, "language_options": {"vocabulary": 20, "begin": 20}}, "begins with token 20, and its vocabulary is 20"),
    ({"language": "minilm", "language_options": {"heads": 5}}, "minilm language has heads 5, which do not divide its hidden 384"),
    ({"language": "minilm", "language_options": {"places": 21}}, "has 21 places, and an instruction has up to 20 pieces and two marks"),
    ({"language": "minilm", "language_options": {"end": 30522}}, "minilm language has end 30522, and its vocabulary is 30522"),
    ({"language": "minilm", "language_options": {"details": {"hidden_act": "relu"}}}, "computes with gelu, and its details say 'relu'"),
    ({"language": "static", "width": 90}, "width is 90, and static language has 4 heads"),
    ({"language": "static", "language_options": {"weights": 3}}, "has weights 3; give 'shipped', a folder of pretrained weights, or nothing"),
    ({"width": 90}, "width is 90, and small language has 4 heads"),
    ({"fusion": "cross_attention", "fusion_options": {"heads": 5}}, "fusion 'cross_attention' has heads 5, which do not divide width 96"),
    ({"fusion": "transformer", "width": 100}, "fusion 'transformer' has heads 8, which do not divide width 100"),
    ({"head_options": {"hidden": (64,), "dropout": (0.1, 0.2)}}, r"1 hidden layers \(64,\) and 2 dropouts \(0.1, 0.2\)"),
    ({"head_options": {"preset": "6d", "hidden": (64,)}}, r"1 hidden layers \(64,\) and 2 dropouts \(0.3, 0.2\)"),
    ({"head": "planner", "steps": 11}, "steps is 11, and the planner's longest plan has 10"),
    ({"model": "modular", "head": "planner"}, "head is 'planner', and the modular model mixes the actions of decoders"),
    ({"model": "modular", "model_options": {"mapping": (0, 1)}}, r"mapping is \(0, 1\), which does not name one of 5 skills"),
    ({"model": "modular", "model_options": {"mapping": (0, 1, 2, 3, 4, 5, 0, 1, 2, 3)}}, r"one of 5 skills \(0 to 4\)"),
    ({"model": "modular", "model_options": {"mapping": "abc"}}, "modular model has mapping 'abc'"),
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_what_does_not_fit_is_refused_with_the_values(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VLAConfig(**values)


FITS: list[dict[str, Any]] = [
    {}, {"vision": "clip", "image_size": (224, 224)}, {"vision": "clip", "image_size": (96, 160)},
    {"vision": "clip", "image_size": (224, 224), "vision_options": {"pooled": True}, "fusion": "early"},
    {"vision": "resnet50", "language": "llama", "fusion": "transformer", "width": 512, "image_size": (224, 224)},
    {"language": "lstm", "width": 90}, {"steps": 1, "head_options": {"preset": "7d"}},
    {"head_options": {"hidden": (), "dropout": 0}}, {"head": "planner", "steps": 20, "head_options": {"longest": 20}},
    {"model": "modular", "model_options": {"tasks": 3, "mapping": [0, 4, 2]}}, {"step": 10, "width": 4},
]


@pytest.mark.parametrize("values", FITS, ids=str)
def test_what_fits_survives_json(values: dict[str, Any]) -> None:
    config = VLAConfig(**values)
    assert VLAConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.resolved() == config == config.standalone()  # there are no weights to look into


def test_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="the config has 'visoin', which is no field; fields are: auxiliary, cameras, channels"):
        VLAConfig.from_dict({**VLAConfig().to_dict(), "visoin": "clip"})


def test_every_part_has_its_options_and_every_language_its_tokenizer() -> None:
    kinds = {"vision": VISION, "language": LANGUAGE, "fusion": FUSION, "head": HEADS, "model": MODELS}
    assert {kind: set(parts) for kind, parts in OPTIONS.items()} == {kind: set(parts) for kind, parts in kinds.items()}
    assert set(TOKENIZERS) == set(LANGUAGE)
    for kind, parts in OPTIONS.items():
        for part, options in parts.items():
            for name, option in options.items():
                assert option.fits(option.default), (kind, part, name)


def test_the_full_sizes_are_those_of_the_literature() -> None:
    def sizes(**values: Any) -> dict[str, Any]:
        config = VLAConfig(image_size=(224, 224), width=512, **values)
        return {**config.options("vision"), **config.options("language"), **config.options("fusion")}

    clip = VLAConfig(vision="clip", image_size=(224, 224)).options("vision")
    assert [clip[name] for name in ("hidden", "layers", "heads", "feed_forward", "patch")] == [768, 12, 12, 3072, 32]
    llama = VLAConfig(language="llama").options("language")
    assert [llama[name] for name in ("vocabulary", "hidden", "layers", "heads", "feed_forward")] == [32000, 4096, 32, 32, 11008]
    assert sizes(language="lstm", fusion="transformer") == {
        **VLAConfig().options("vision"), "vocabulary": 10_000, "embedding": 256, "hidden": 512, "dropout": 0.1, "layers": 6,
        "heads": 8, "feed_forward": 2048}


# -- pretrained folders: the sizes are read, nothing is loaded ----------------------------------------------
CLIP = {"model_type": "clip", "vision_config": {"hidden_size": 64, "num_attention_heads": 4, "patch_size": 16, "layer_norm_eps": 1e-6}}


def folder(path: Any, config: Any, weights: bool = True) -> str:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if weights:
        (path / "model.safetensors").touch()
    return str(path)


def test_sizes_come_from_the_folder_of_the_weights(tmp_path: Any) -> None:
    config = VLAConfig(vision="clip", image_size=(224, 224), vision_options={"weights": folder(tmp_path, CLIP), "pooled": True},
                       fusion="early").resolved()
    found = config.options("vision")
    assert (found["hidden"], found["heads"], found["patch"], found["layers"], found["pooled"]) == (64, 4, 16, 12, True)
    assert found["details"] == {"layer_norm_eps": 1e-6} and config.resolved() == config
    alone = config.standalone()
    assert alone.options("vision")["weights"] == "" and dataclasses.replace(alone, vision_options=config.vision_options) == config


@pytest.mark.parametrize(("changes", "options", "said"), [
    (None, {}, "is no folder with a config.json"),
    ("{", {}, "is no JSON"),
    ({"model_type": "siglip"}, {}, "are of a model 'siglip'; clip needs 'clip'"),
    (CLIP, {"hidden": 768}, "clip vision has hidden 768, and its weights .* have 64; leave hidden out"),
    ({**CLIP, "vision_config": {"patch_size": 48, "image_size": 240}}, {}, "patches of 48 pixels, and 224 x 224"),
])
def test_weights_that_do_not_fit_are_refused_before_they_are_read(tmp_path: Any, changes: Any, options: dict[str, Any], said: str) -> None:
    path = str(tmp_path / "none") if changes is None else folder(tmp_path, changes)
    config = VLAConfig(vision="clip", image_size=(224, 224), vision_options={"weights": path, **options})
    with pytest.raises(ValueError, match=said):
        config.resolved()


def test_a_pickle_of_weights_is_refused(tmp_path: Any) -> None:
    path = folder(tmp_path, CLIP, weights=False)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match="hold no .safetensors file; pickles"):
        VLAConfig(vision="clip", image_size=(224, 224), vision_options={"weights": path}).resolved()


def test_a_resnet_of_other_layers_is_refused(tmp_path: Any) -> None:
    path = folder(tmp_path, {"model_type": "resnet", "layer_type": "bottleneck"})
    with pytest.raises(ValueError, match="have 'bottleneck' layers; resnet18 has 'basic'"):
        VLAConfig(vision="resnet18", vision_options={"weights": path}).resolved()


@pytest.mark.parametrize(("size", "fits"), [((64, 96), True), ((48, 96), False), ((64, 80), False)])
def test_both_sides_of_an_image_are_whole_numbers_of_clip_s_patches(size: tuple[int, int], fits: bool) -> None:
    changes = {"vision": "clip", "vision_options": {"patch": 32}, "image_size": size}
    if fits:
        assert VLAConfig(**changes).image_size == size
        return
    with pytest.raises(ValueError, match=f"patches of 32 pixels, and {size[0]} x {size[1]} is no whole"):
        VLAConfig(**changes)


def test_cameras_share_the_image_evenly_and_an_older_config_s_one_is_read():
    assert VLAConfig(image_size=(120, 480), cameras=("a", "b", "c")).views == dict.fromkeys("abc", (120, 160))
    assert VLAConfig().views == {} and VLAConfig.from_dict({"camera": "front"}).cameras == ("front",)
    assert VLAConfig.from_dict({"camera": ""}).cameras == ()
    with pytest.raises(ValueError, match=r"3 cameras do not share 160 pixels evenly"):
        VLAConfig(cameras=("a", "b", "c"))
    with pytest.raises(ValueError, match="cameras has 'a' twice"):
        VLAConfig(image_size=(120, 320), cameras=("a", "a"))
