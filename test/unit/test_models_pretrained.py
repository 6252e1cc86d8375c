"""Weights and tokenizers from local folders as transformers writes them; adapters and recomputed layers on top."""
from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from tiny_models import OPTIONS, inputs, make

from vla_ros.models.checkpoint import from_pretrained
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.tokenizers import LlamaTokenizer, check_tokenizer
from vla_ros.models.lora import add_lora, enable_gradient_checkpointing, merge_lora
from vla_ros.models.vla import VLA

WORDS = ["<s>", "</s>", "<unk>", "go", "to", "the", "red", "block"]


def clip(folder: Path) -> Any:
    """A whole CLIP, as it is published: words and image."""
    text = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    eyes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10, "patch_size": 8,
            "image_size": 24, "hidden_act": "gelu"}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=eyes, projection_dim=4))
    model.save_pretrained(folder)
    return model.vision_model


def resnet(folder: Path) -> Any:
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 4, 8, 12], depths=[1, 1, 2, 1], layer_type="basic")
    model = transformers.ResNetForImageClassification(config)
    model.save_pretrained(folder)
    return model.resnet


def llama(folder: Path) -> Any:
    config = transformers.LlamaConfig(vocab_size=10, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, bos_token_id=0,
                                      num_key_value_heads=1, intermediate_size=10, rms_norm_eps=0.01,
                                      rope_parameters={"rope_type": "default", "rope_theta": 50.0})
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer(folder)
    return model.model


def tokenizer(folder: Path, words: list[str] = WORDS) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    found = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=found, bos_token="<s>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "name", "write"), [("vision", "clip", clip), ("vision", "resnet18", resnet), ("language", "llama", llama)])
def test_weights_come_from_a_folder_and_go_with_the_checkpoint(tmp_path: Path, kind: str, name: str, write: Any) -> None:
    theirs = write(tmp_path / "weights")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = VLA(VLAConfig(width=16, image_size=(32, 64), **{kind: name, f"{kind}_options": {"weights": str(tmp_path / "weights")}}))
    ours = getattr(model, kind).model
    assert all(torch.equal(ours.state_dict()[key], value) for key, value in theirs.state_dict().items())
    assert {key: getattr(ours.config, key) for key in ("hidden_act",)} == {"hidden_act": theirs.config.hidden_act}
    model.eval().save_pretrained(tmp_path / "own")
    for path in sorted((tmp_path / "weights").iterdir()):
        path.unlink()
    back, given = from_pretrained(tmp_path / "own"), inputs()
    given = (given[0], given[1] % 8, given[2])
    assert all(torch.equal(back.state_dict()[key], value) for key, value in model.state_dict().items())
    # not to the bit: kernels round otherwise where weights lie otherwise in memory
    torch.testing.assert_close(back(*given).actions, model(*given).actions)
    assert "weights" not in json.loads((tmp_path / "own" / "config.json").read_text())[f"{kind}_options"]


def test_llama_s_settings_come_along(tmp_path: Path) -> None:
    theirs = llama(tmp_path)
    model = VLA(VLAConfig(language="llama", language_options={"weights": str(tmp_path), "dtype": "bfloat16"})).eval()
    assert model.language.model.config.rms_norm_eps == 0.01
    assert torch.equal(model.language.model.rotary_emb.inv_freq.float(), theirs.rotary_emb.inv_freq)
    assert model.language.model.embed_tokens.weight.dtype == torch.bfloat16 and model.language.begin == 0
    words, pooled = model.language(torch.tensor([[3, 4]]), torch.ones(1, 2, dtype=torch.bool), torch.rand(1, 3, 96))
    assert words.dtype == pooled.dtype == torch.float32
    assert model.tokenizer is not None and model.tokenizer.encode("go to the block") == [3, 4, 5, 7]


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    resnet(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["resnet.embedder.embedder.convolution.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    config = VLAConfig(vision="resnet18", vision_options={"weights": str(tmp_path)}, fusion="early")
    with pytest.raises(ValueError, match="resnet18 vision's weights .* lack 1 tensors, embedder.embedder.convolution.weight first"):
        VLA(config)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 99)
    with pytest.raises(ValueError, match="resnet18 vision's weights .* do not load"):
        VLA(config)


# -- Llama's tokenizer --------------------------------------------------------------------------------------
def test_llama_s_tokenizer_gets_its_marks_last(tmp_path: Path) -> None:
    words = LlamaTokenizer(tokenizer(tmp_path / "plain"))
    assert words.size == 8 and words.marks == (8, 9)
    assert words.encode("go to the red block") == [3, 4, 5, 6, 7]  # the words alone
    words.save(tmp_path / "saved")
    again = LlamaTokenizer.load(tmp_path / "saved")
    assert (again.size, again.marks, again.encode("the red")) == (8, (8, 9), [5, 6])
    check_tokenizer(VLAConfig(language="llama"), again)
    with pytest.raises(ValueError, match="numbers 8 words, and language 'llama' has vocabulary 7"):
        check_tokenizer(VLAConfig(language="llama", language_options={"vocabulary": 7}), again)


@pytest.mark.parametrize(("text", "said"), [
    ("go to the zebra", "the policy does not know the word 'zebra'"),
    ("go </VISION> to", "has '</VISION>' in it, a mark of the model's own; leave it out"),
    ("go </s> to", "has '</s>' in it"),
    ("", "there is no word in ''"), ("!!!", "'!!!'"), ("\u200b", "word"), ("\U0001f44d", "word"), ("\ud83d", "word"),
    ("a" * 200, f"the word '{'a' * 20}'"), ("\x00\x07", "word"),
])
def test_what_llama_s_tokenizer_refuses(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LlamaTokenizer(tokenizer(tmp_path)).encode(text)


def test_folders_that_are_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tokenizer that loads"):
        LlamaTokenizer(tmp_path)
    with pytest.raises(ValueError, match=r"numbers <VISION> and </VISION> \(3, 8\); they must come last"):
        LlamaTokenizer(tokenizer(tmp_path, [word.replace("go", "<VISION>") for word in WORDS]))


# -- adapters and recomputed layers -------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "name"), [("language", "llama"), ("vision", "clip")])
def test_lora_leaves_the_base_frozen_by_name(tmp_path: Path, kind: str, name: str) -> None:
    pytest.importorskip("peft", reason="peft is not installed")
    model, given = make(**{kind: name}), inputs()
    before, plain = {key: value.clone() for key, value in model.state_dict().items()}, model(*given).actions
    adapted = add_lora(model, kind, rank=2, alpha=4, dropout=0.0)
    assert len(adapted) == 4 * OPTIONS[kind][name]["layers"]
    assert {one.split(".")[-1] for one in adapted} == {"q_proj", "k_proj", "v_proj", "out_proj" if name == "clip" else "o_proj"}
    assert torch.equal(model(*given).actions, plain)  # adapters start as nothing
    for key, parameter in model.named_parameters():
        base = key.startswith(f"{kind}.model.") and ".lora_" not in key
        assert parameter.requires_grad != base, key
    assert sum(".lora_A." in key for key, _ in model.named_parameters()) == len(adapted)

    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], 0.1)
    for _ in range(2):
        (model(*given).actions ** 2).sum().backward()
        optimizer.step()
    with pytest.raises(ValueError, match=r"has adapters \(.*lora_A.*\); merge_lora\(model\) first"):
        model.tokenizer = LlamaTokenizer(tokenizer(tmp_path / "words")) if name == "llama" else model.tokenizer
        model.save_pretrained(tmp_path / "own")
    learned = model(*given).actions
    frozen = [key for key in before if key.startswith(f"{kind}.model.")]
    now = {key.replace(".base_layer", ""): value for key, value in model.state_dict().items()}
    assert frozen and all(torch.equal(now[key], before[key]) for key in frozen)
    merge_lora(model)
    assert list(model.state_dict()) == list(before) and torch.allclose(model(*given).actions, learned, atol=1e-5)
    assert not torch.allclose(learned, plain, atol=1e-4)
    model.save_pretrained(tmp_path / "own")


@pytest.mark.parametrize(("part", "said"), [
    ("vision", "vision 'small' has no layers q_proj"), ("language", "language 'lstm' has no layers q_proj"), ("eyes", "part is 'eyes'"),
])
def test_lora_has_nothing_to_adapt_elsewhere(part: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        add_lora(make(language="lstm"), part)


def test_recomputed_layers_give_the_same_gradients() -> None:
    def gradients(model: Any) -> dict[str, Any]:
        model.train()
        (model(*inputs()).actions ** 2).sum().backward()
        return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

    parts = {"vision": "clip", "language": "llama", "fusion": "transformer", "fusion_options": {"dropout": 0.0}}
    model, plain = make(**parts), make(**parts)
    assert enable_gradient_checkpointing(model) == ["vision", "language", "fusion"]
    calls = []
    for layer in (model.vision.model.encoder.layers[0].layer_norm1, model.language.model.layers[0].input_layernorm,
                  model.fusion.layers[0].norm1):
        layer.register_forward_hook(lambda *_: calls.append(1))
    found, wanted = gradients(model), gradients(plain)
    assert len(calls) == 6  # each once more, on the way back
    assert list(found) == list(wanted) and all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)
    with pytest.raises(ValueError, match="no part of vision 'small', language 'small', fusion 'grounded' can checkpoint"):
        enable_gradient_checkpointing(make())
