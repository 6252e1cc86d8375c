"""A VLA on engines: both stages compiled and compared on the checkpoint's own images, words read once."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="engines run torch's models")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from tiny_models import make

from vla_ros.engines import (
    ENGINES,
    compiled_vla,
)
from vla_ros.engines.compiled_vla import CompiledVLA
from vla_ros.engines.select import EngineRequest
from vla_ros.models import examples
from vla_ros.models.checkpoint import EXAMPLES, save_pretrained
from vla_ros.models.language.lexicon import encode
from vla_ros.models.stages import told
from vla_ros.models.vla import VLA

STATE = ("gripper", "turned")
WISH = EngineRequest("eager", device="cpu", cache="none")
GO, TURN = "go to the red block", "turn left"


@pytest.fixture(scope="module")
def model() -> VLA:
    return make(state=STATE, auxiliary=True).eval()


@pytest.fixture
def folder(model: VLA, tmp_path: Path) -> Path:
    save_pretrained(model, tmp_path / "model")
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(0, 255, (3, *model.config.image_size, 3), dtype=torch.uint8, generator=rng)
    examples.save(tmp_path / "model", images, torch.tensor([encode(GO)[:2], encode(TURN), encode(TURN)]), torch.rand(3, 2))
    return tmp_path / "model"


def make_compiled(model: VLA, folder: Path, request: EngineRequest = WISH) -> tuple[CompiledVLA, list[str]]:
    said: list[str] = []
    return CompiledVLA(model, folder, request, said.append), said


def make_image(model: VLA, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*model.config.image_size, 3)).astype(np.uint8)


def test_it_says_what_the_model_says(model: VLA, folder: Path) -> None:
    both, _ = make_compiled(model, folder)
    seen, ids = make_image(model), torch.tensor([encode(GO)])
    found = both.decode_action(seen, both.encode_text(GO), [0.5, -0.2])
    with torch.inference_mode():
        wanted = told(model(torch.from_numpy(seen).permute(2, 0, 1)[None], ids, ids > 0, torch.tensor([[0.5, -0.2]])))
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


def test_words_are_read_once_and_the_longest_unused_are_forgotten(model: VLA, folder: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_vla, "REMEMBERED_INSTRUCTIONS", 2)
    both, _ = make_compiled(model, folder)
    asked: list[int] = []
    engine = both._language.engine
    both._language.engine = lambda ids, mask: (asked.append(1), engine(ids, mask))[1]
    first = both.encode_text(GO)
    assert both.encode_text(GO) is first and len(asked) == 1
    both.encode_text(TURN), both.encode_text(GO), both.encode_text("stop")  # "turn left" is the longest unused
    both.encode_text(GO)
    assert len(asked) == 3
    both.encode_text(TURN)
    assert len(asked) == 4 and both.describe()["instructions known"] == "3 of 7"


def test_words_that_it_does_not_know_are_not_remembered(model: VLA, folder: Path) -> None:
    both, _ = make_compiled(model, folder)
    for _ in range(2):
        with pytest.raises(ValueError, match="does not know the word 'flange'"):
            both.encode_text("go to the flange")
    assert both.describe()["instructions known"] == "0 of 0"


def test_a_checkpoint_without_examples_is_compared_on_noise_and_says_so(model: VLA, folder: Path) -> None:
    assert make_compiled(model, folder)[0].notes == []
    (folder / EXAMPLES).unlink()
    assert make_compiled(model, folder)[0].notes == ["the checkpoint has no examples; its engines were compared on noise"]


@pytest.mark.parametrize(("name", "shape"), [("image", (2, 5, 5, 3)), ("state", (2, 9))])
def test_examples_of_another_model_are_refused(model: VLA, folder: Path, name: str, shape: tuple[int, ...]) -> None:
    kept = {"image": torch.zeros(2, *model.config.image_size, 3, dtype=torch.uint8), "state": torch.zeros(2, 2)}
    kept[name] = torch.zeros(shape, dtype=kept[name].dtype)
    examples.save(folder, kept["image"], torch.ones(2, 3, dtype=torch.long), kept["state"])
    with pytest.raises(ValueError, match=rf"examples.safetensors has no {name} of shape"):
        make_compiled(model, folder)


def test_an_engine_that_is_wrong_gives_way_and_the_notes_say_why(model: VLA, folder: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "wrong", "fake_engines:Wrong")
    both, said = make_compiled(model, folder, EngineRequest("wrong", device="cpu", cache="none"))
    assert both.describe()["engine"].startswith("eager fp32, built in")
    assert both.notes[0].startswith("engine wrong (fp32) is not used for vision and action: Differs: its contact differs")
    assert both.notes[0] in said


def test_other_code_is_another_engine(model: VLA, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "good", "fake_engines:Good")
    request = EngineRequest("good", device="cpu", cache=str(tmp_path / "cache"))
    make_compiled(model, folder, request)
    assert "from the cache" in make_compiled(model, folder, request)[0].describe()["engine"]
    monkeypatch.setattr(compiled_vla, "code_hash", lambda: "another")
    assert "built" in make_compiled(model, folder, request)[0].describe()["engine"]
