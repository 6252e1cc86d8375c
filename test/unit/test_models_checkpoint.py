"""A checkpoint is a folder that comes back to the bit, or is refused with the reason."""
from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors.torch import load_file, save_file
from tiny_models import inputs, make, words_for

from vla_ros.models import checkpoint
from vla_ros.models.checkpoint import content_hash, from_pretrained, read_config, save_pretrained
from vla_ros.models.language import lexicon
from vla_ros.models.language.tokenizers import WordTokenizer
from vla_ros.models.modular import ModularVLA
from vla_ros.models.vla import VLA

STATISTICS = {"action": {"mean": [0.1, 0.0], "std": [0.3, 0.2], "quantiles": {"0.01": [-0.5, -0.4]}}}


def saved(folder: Path, **changes: Any) -> VLA:
    model = make(**changes)
    model.statistics = STATISTICS
    if model.tokenizer is None:
        model.tokenizer = words_for(model)
    model.save_pretrained(folder)
    return model


def test_one_that_there_is_no_memory_for_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "one")
    monkeypatch.setattr(checkpoint, "free_memory", lambda: 1000.0)
    with pytest.raises(ValueError, match="the checkpoint .*one needs .* GB of memory, and 0.00 GB are free"):
        from_pretrained(tmp_path / "one")


@pytest.mark.parametrize("changes", [
    {}, {"auxiliary": True, "state": ("turned",)}, {"model": "modular"}, {"head": "planner"},
    {"vision": "clip", "language": "lstm", "fusion": "transformer"}, {"vision": "resnet18", "fusion": "late"},
    {"language": "static", "fusion": "late"}, {"language": "minilm", "fusion": "early"},
], ids=str)
def test_it_comes_back_to_the_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = saved(tmp_path / "one", **changes)
    back = VLA.from_pretrained(tmp_path / "one")
    assert type(back) is type(model) and back.config == model.config and back.statistics == STATISTICS and not back.training
    weights, again = model.state_dict(), back.state_dict()
    assert list(weights) == list(again)
    for name, tensor in weights.items():
        assert again[name].dtype == tensor.dtype and torch.equal(again[name], tensor), name
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in back.named_parameters() if parameter.requires_grad} == learned
    state = torch.rand(2, len(model.config.state)) if model.config.state else None
    given = inputs()
    assert torch.equal(back(*given, state).actions, model(*given, state).actions)
    back.save_pretrained(tmp_path / "two")
    assert content_hash(tmp_path / "two") == content_hash(tmp_path / "one")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_loading_draws_no_attention_and_half_stays_half(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    model = make(vision="resnet18").half()
    model.save_pretrained(tmp_path / "half")
    assert not recwarn.list
    back = from_pretrained(tmp_path / "half").state_dict()
    assert {name: tensor.dtype for name, tensor in back.items()} == {name: tensor.dtype for name, tensor in model.state_dict().items()}
    assert back["trunk.0.weight"].dtype == torch.float16 and back["head.scale"].dtype == torch.float32  # bounds are exact
    assert not recwarn.list  # none of random weights: they were replaced


def test_the_hash_tells_weights_and_config_and_nothing_else(tmp_path: Path) -> None:
    model = saved(tmp_path / "one")
    first = content_hash(tmp_path / "one")
    assert len(first) == 8 and int(first, 16) >= 0
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere")
    assert content_hash(tmp_path / "elsewhere") == first
    with torch.no_grad():
        model.completion.bias += 1e-3
    model.save_pretrained(tmp_path / "one")
    second = content_hash(tmp_path / "one")
    saved(tmp_path / "three", step=0.2)
    assert len({first, second, content_hash(tmp_path / "three")}) == 3


# -- writing ------------------------------------------------------------------------------------------------
def test_a_failed_write_leaves_the_old_checkpoint_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(tmp_path / "one")
    before = content_hash(tmp_path / "one")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", fail)
        with pytest.raises(OSError, match="no space"):
            model.save_pretrained(tmp_path / "one")
    rename, calls = os.rename, []

    def fail_second(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("gone")
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.os, "rename", fail_second)
        with pytest.raises(OSError, match="gone"):
            model.save_pretrained(tmp_path / "one")
    assert content_hash(tmp_path / "one") == before and os.listdir(tmp_path) == ["one"]
    model.save_pretrained(tmp_path / "one")
    assert os.listdir(tmp_path) == ["one"]


def test_what_it_will_not_write(tmp_path: Path) -> None:
    model = make()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters.txt").touch()
    with pytest.raises(ValueError, match=r"home also holds letters.txt; give a checkpoint a folder of its own"):
        save_pretrained(model, tmp_path / "home")
    with pytest.raises(ValueError, match=r"letters.txt is a file"):
        save_pretrained(model, tmp_path / "home" / "letters.txt")
    model.statistics = {"action": {"mean": [float("nan")]}}
    with pytest.raises(ValueError, match=r"statistics.json cannot hold these values"):
        save_pretrained(model, tmp_path / "nan")
    with pytest.raises(ValueError, match="language 'lstm' reads ids of a WordTokenizer, and the model's tokenizer is none"):
        save_pretrained(make(language="lstm"), tmp_path / "lstm")
    lstm = make(language="lstm")
    lstm.tokenizer = WordTokenizer(map(str, range(40)))
    with pytest.raises(ValueError, match="the tokenizer numbers 41 words, and language 'lstm' has vocabulary 40"):
        save_pretrained(lstm, tmp_path / "lstm")
    assert sorted(os.listdir(tmp_path)) == ["home"]


# -- reading ------------------------------------------------------------------------------------------------
def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def nan(path: Path) -> None:
    weights, metadata = load_file(path), metadata_of(path)
    weights["value.bias"][0] = float("nan")
    save_file(weights, path, metadata)


def metadata_of(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]


SPOILED: list[tuple[str, Any, str]] = [
    ("config.json", Path.unlink, "has no config.json; copy the whole folder again"),
    ("model.safetensors", Path.unlink, "has no model.safetensors; copy"),
    ("statistics.json", Path.unlink, "has no statistics.json; copy"),
    ("tokenizer.json", Path.unlink, "has no tokenizer.json; copy"),
    ("config.json", lambda path: path.write_text("{"), r"config.json is no JSON"),
    ("config.json", lambda path: path.write_text("[]"), r"config.json holds a list"),
    ("config.json", lambda path: edit(path, vision="eagle"), r"config.json: vision is 'eagle'"),
    ("config.json", lambda path: edit(path, eyes=2), r"config.json: the config has 'eyes', which is no field"),
    ("config.json", lambda path: edit(path, width=20),
     r"is of another config: vision.convolutions.4.weight has shape 16 x 4 x 3 x 3 in the file and shape 20 x 4 x 3 x 3 in the model"),
    ("config.json", lambda path: edit(path, vision="resnet18", vision_options={"stem": 4, "sizes": [4] * 4, "depths": [1] * 4}),
     "vision.place has no such tensor|vision.normalise.mean has no such tensor in the file and shape 3 x 1 x 1 in the model"),
    ("config.json", lambda path: edit(path, auxiliary=True), "fusion.middle.weight has no such tensor in the file and shape"),
    ("config.json", lambda path: edit(path, high=[0.5, 0.8, 1.0]), "bounds the channels otherwise than model.safetensors"),
    ("model.safetensors", cut, "model.safetensors is not whole"),
    ("model.safetensors", lambda path: path.write_bytes(b""), "model.safetensors is not whole"),
    ("model.safetensors", nan, "has value.bias with values that are no finite numbers"),
    ("tokenizer.json", lambda path: edit(path, kind="words"), "tokenizer.json is of kind 'words'; .* needs 'lexicon'"),
    ("tokenizer.json", lambda path: edit(path, words=[*lexicon.CART.words[1:], "zebra"]), "is 'zebra' there and 'none' here"),
    ("tokenizer.json", lambda path: path.write_text("\x00"), "tokenizer.json is no list of words"),
]


@pytest.mark.parametrize(("name", "spoil", "said"), SPOILED, ids=[said[:40] for _, _, said in SPOILED])
def test_a_spoiled_folder_is_refused_with_the_reason(tmp_path: Path, name: str, spoil: Any, said: str) -> None:
    saved(tmp_path / "one")
    spoil(tmp_path / "one" / name)
    with pytest.raises(ValueError, match=said):
        from_pretrained(tmp_path / "one")


def test_a_tokenizer_of_other_words_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "one", language="lstm")
    edit(tmp_path / "one" / "tokenizer.json", words=["go", "to", "the", "block", "red"])
    with pytest.raises(ValueError, match=r"has hash [0-9a-f]{8}, and its weights were trained with [0-9a-f]{8}"):
        from_pretrained(tmp_path / "one")
    edit(tmp_path / "one" / "tokenizer.json", words=[str(index) for index in range(60)])
    with pytest.raises(ValueError, match="the tokenizer numbers 61 words, and language 'lstm' has vocabulary 40"):
        from_pretrained(tmp_path / "one")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    saved(tmp_path / "one")
    (tmp_path / "one" / "model.safetensors").rename(tmp_path / "one" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no model.safetensors \(pytorch_model.bin is a pickle, and those are never loaded\)"):
        from_pretrained(tmp_path / "one")
    with pytest.raises(ValueError, match=r"pytorch_model.bin is a pickle, which can run code"):
        from_pretrained(tmp_path / "one" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="there is no checkpoint"):
        content_hash(tmp_path / "two")


def test_the_config_is_read_alone_and_the_kind_of_model_is_checked(tmp_path: Path) -> None:
    model = saved(tmp_path / "one")
    assert read_config(tmp_path / "one") == model.config
    with pytest.raises(ValueError, match="holds a VLA, not a ModularVLA"):
        ModularVLA.from_pretrained(tmp_path / "one")


def test_one_number_of_many_that_is_not_finite_spoils_a_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path / "one")
    path = tmp_path / "one" / "model.safetensors"
    weights, metadata = load_file(path), metadata_of(path)
    weights["value.weight"].view(-1)[1] = float("inf")
    save_file(weights, path, metadata)
    with pytest.raises(ValueError, match="has value.weight with values that are no finite numbers"):
        from_pretrained(tmp_path / "one")
