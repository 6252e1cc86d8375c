"""What `vla memory` says, held to what loading and running really take."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from vla_ros.cli.main import main
from vla_ros.cli.memory import read
from vla_ros.models import (
    build,
    memory,
)
from vla_ros.models.checkpoint import from_pretrained, read_config
from vla_ros.models.config import VLAConfig
from vla_ros.models.vla import VLA
from vla_ros.policies.builtin import BUILTIN

pytestmark = pytest.mark.filterwarnings("ignore::vla_ros.models.backbones.RandomWeights")
CLIP = {"hidden": 192, "layers": 3, "heads": 4, "feed_forward": 768, "patch": 16, "native_size": 112}
LLAMA = {"vocabulary": 100, "hidden": 128, "layers": 3, "heads": 4, "kv_heads": 2, "feed_forward": 384}
MIXED: dict[str, dict[str, Any]] = {
    "clip, llama": {"vision": "clip", "vision_options": CLIP, "language": "llama", "language_options": LLAMA,
                    "fusion": "cross_attention"},
    "resnet18, lstm, planner": {"vision": "resnet18", "language": "lstm", "fusion": "transformer", "head": "planner"},
    "pooled, modular": {"vision": "clip", "vision_options": {**CLIP, "pooled": True}, "fusion": "late",
                        "model": "modular", "state": ("turned",)},
    "static": {"language": "static", "fusion": "early"},
    "minilm": {"language": "minilm", "fusion": "late",
               "language_options": {"vocabulary": 3000, "hidden": 96, "layers": 3, "feed_forward": 384, "weights": ""}},
}
NAMES = ["builtin", *MIXED]  # what training takes is looked at in the first one always, in the others with --full


def config(which: str) -> VLAConfig:
    return read_config(BUILTIN) if which == "builtin" else VLAConfig(width=128, image_size=(112, 112), **MIXED[which])


def loaded(which: str) -> VLA:
    return from_pretrained(BUILTIN) if which == "builtin" else build(config(which)).eval()


def allocated(model: VLA, batch: int, length: int, training: bool, mixed: bool) -> int:
    """The most bytes at once that torch's CPU allocator gave out while the model ran, by torch.profiler."""
    given = memory.inputs(model, batch, length)
    for one in model.parameters():
        one.grad = torch.zeros_like(one) if training else None

    def run() -> None:
        with torch.set_grad_enabled(training):
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                output = model(*given)
            if training:
                parts = [one for one in tree_leaves(output) if isinstance(one, Tensor) and one.requires_grad]
                loss = torch.stack([one.float().square().mean() for one in parts]).sum()
                del output, parts
                loss.backward()

    run()  # what is made once, and kept
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    assert seen.profiler is not None and seen.profiler.kineto_results is not None
    events = [one for one in seen.profiler.kineto_results.events() if one.name() == "[memory]"]
    now = most = 0
    for one in sorted(events, key=lambda one: one.start_ns()):
        now += one.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("which", NAMES)
def test_weights_are_what_loading_takes(which: str) -> None:
    model = loaded(which)
    for precision, dtype in (("loaded", None), ("fp32", torch.float32), ("bf16", torch.bfloat16)):
        cast = model.to(dtype) if dtype else model
        real = sum(one.untyped_storage().nbytes() for one in (*cast.parameters(), *cast.buffers()))
        assert memory.weights(config(which), precision) == pytest.approx(real, rel=0.01), precision


def test_the_file_in_the_box_is_as_large_as_its_weights() -> None:
    assert memory.weights(read_config(BUILTIN), "loaded") == pytest.approx((BUILTIN / "model.safetensors").stat().st_size,
                                                                       rel=0.01)


def test_a_config_s_own_precision_is_what_loads() -> None:
    values = {**MIXED["clip, llama"], "language_options": {**LLAMA, "dtype": "bfloat16"}}
    half = memory.weights(VLAConfig(width=128, image_size=(112, 112), **values), "loaded")
    assert memory.weights(config("clip, llama"), "bf16") < half < memory.weights(config("clip, llama"), "fp32")


@pytest.mark.parametrize(("which", "training", "mixed"), [
    pytest.param(which, training, mixed, marks=pytest.mark.full if which != NAMES[0] and training else ())
    for which in NAMES for training, mixed in ((False, False), (True, False), (True, True))])
def test_activations_are_what_running_takes(which: str, training: bool, mixed: bool) -> None:
    real = allocated(loaded(which).train(training), 3, 16, training, mixed)
    said = memory.activations(memory.meta(config(which)).train(training), 3, 16, training, mixed)
    assert said == pytest.approx(real, rel=0.2)


def test_what_any_width_takes_is_known_at_every_precision() -> None:
    """From width 512 on the layer that says "done" is packed too; its weight was then asked for its type."""
    wide = VLAConfig(width=512, image_size=(112, 112), **MIXED["clip, llama"])
    found = memory.estimate(wide).inference
    assert set(found) == set(memory.PRECISIONS) and all(one.activations for one in found.values())


def test_the_optimizer_s_states_are_those_of_a_real_one() -> None:
    model = loaded("clip, llama")
    optimizer = torch.optim.AdamW(model.parameters())
    for one in model.parameters():
        one.grad = torch.zeros_like(one)
    optimizer.step()
    real = sum(one.nbytes for state in optimizer.state.values() for one in state.values())
    assert memory.adamw(memory.meta(config("clip, llama")))[0] == pytest.approx(real, rel=0.01)


def test_the_kv_cache_is_the_one_that_llama_fills() -> None:
    model = loaded("clip, llama").to(torch.bfloat16)
    tokens = 16 + 49 + 3  # words, 7 x 7 patches, begin and two marks
    with torch.inference_mode():
        cache = model.language.model(input_ids=torch.ones(2, tokens, dtype=torch.long), use_cache=True).past_key_values
    real = sum(one.nbytes for layer in cache.layers for one in (layer.keys, layer.values))
    assert memory.kv_cache(config("clip, llama"), memory.meta(config("clip, llama")), 2, 16) == real


# Billions of numbers of the published towers; Llama without the layer that writes words.
PUBLISHED = {"clip-b32": 0.0876, "clip-l14": 0.3032, "llama-1b": 1.236, "llama-7b": 6.607, "llama-13b": 12.852,
             "minilm": 0.022565}  # and MiniLM without the layer behind its first mark


def test_presets_have_the_published_sizes() -> None:
    # In a process of its own: in one that had run a thousand other tests the numbers themselves were made, 26 GB of them.
    code = f"""
import json
from vla_ros.cli.memory import read
from vla_ros.models import memory
counts = []
for name in {list(PUBLISHED)!r}:
    model = memory.meta(read([name]))
    part = model.vision if name.startswith("clip") else model.language
    counts.append(sum(parameter.numel() for parameter in part.model.parameters()) / 1e9)
print(json.dumps(counts))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(list(PUBLISHED.values()), rel=0.002)


def test_more_bits_take_more_and_a_larger_board_holds_more() -> None:
    four, eight, half, full = (memory.weights(read(["clip-b32"]), name) for name in ("int4", "int8", "bf16", "fp32"))
    assert full / 8 < four < eight < half < full
    seven, nano = memory.weights(read(["llama-7b"]), "fp32"), memory.GPUS["Orin Nano 8"]
    assert memory.usable(nano) < memory.usable(memory.GPUS["RTX 4090 24"]) < seven < memory.usable(memory.GPUS["A100 40"])


@pytest.fixture(scope="module")
def shipped() -> memory.Estimate:
    """Of the checkpoint in the box: what both ways to show it are shown."""
    return memory.estimate(read_config(BUILTIN))


@pytest.fixture
def estimated(shipped: memory.Estimate, monkeypatch: pytest.MonkeyPatch) -> None:
    def estimate(config: VLAConfig, batch: int, length: int) -> memory.Estimate:
        assert (config, batch, length) == (read_config(BUILTIN), 1, 20)
        return shipped

    monkeypatch.setattr(memory, "estimate", estimate)


def test_json_says_all_in_bytes(estimated: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["uses"]) == {*memory.PRECISIONS, "train fp32", "train bf16"}
    train = said["uses"]["train fp32"]
    assert train["optimizer"] == pytest.approx(2 * train["gradients"], rel=0.01)
    assert train["total"] == (train["weights"] + train["gradients"] + train["optimizer"]
                              + max(train["activations"], train["step"]))
    assert all(said["fits"]["Orin Nano 8"].values())


def test_the_table_names_every_board_and_use(estimated: None, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["memory"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in (*memory.GPUS, *memory.PRECISIONS, "train fp32", "2.64 MiB"))


@pytest.mark.parametrize(("words", "why"), [
    (["nowhere"], "no such file or folder"), (["clip-b32", "clip-l14"], "two of them are vision"),
    (["clip-b32", "built-in"], "cannot be put together"), (["--batch", "0"], "batch is 0"),
    (["--length", "21"], "reads 20 tokens at most"), (["{tmp}/config.json"], "which is no field")])
def test_bad_input_is_one_sentence(words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                   ) -> None:
    (tmp_path / "config.json").write_text('{"colour": 1}', encoding="utf-8")
    assert main(["memory", *(word.format(tmp=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1
