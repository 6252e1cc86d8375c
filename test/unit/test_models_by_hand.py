"""What the small parts of a model compute, by hand: the decoder, masks, what a fusion makes of cells, and pixels."""
from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from tiny_models import tiny

from vla_ros.core.registry import lookup
from vla_ros.models import FUSION
from vla_ros.models.heads.action_decoder import ActionDecoder
from vla_ros.models.masks import last_word, masked_mean, masked_softmax, spread
from vla_ros.models.vision.pixels import places, unit_pixels

GRID = (2, 3)
CELLS = GRID[0] * GRID[1]
WIDTH = 16


def fusion_of(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return lookup(FUSION, name, "fusion")(tiny(fusion=name), GRID).eval()


def given(batch: int = 2, words: int = 4) -> tuple[torch.Tensor, ...]:
    """Vision, words, pooled words and mask."""
    torch.manual_seed(1)
    return (torch.randn(batch, CELLS, WIDTH), torch.randn(batch, words, WIDTH), torch.randn(batch, WIDTH),
            torch.ones(batch, words, dtype=torch.bool))


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-5)


# -- the decoder --------------------------------------------------------------------------------------------
def decoder_that_says(number: float, low: tuple[float, ...], high: tuple[float, ...]) -> torch.Tensor:
    """Its actions where its last layer gives `number`, whatever comes."""
    decoder = ActionDecoder(tiny(low=low, high=high), 8).eval()
    last = [layer for layer in decoder.layers if isinstance(layer, torch.nn.Linear)][-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, number)
    return decoder(torch.rand(2, 8)).detach()


@pytest.mark.parametrize(("number", "actions"), [(0.0, [0.0, 0.5, -0.5]), (-50.0, [-0.5, 0.3, -2.0]), (50.0, [0.5, 0.7, 1.0])])
def test_the_decoder_rests_in_the_middle_of_the_bounds_and_reaches_both(number: float, actions: list[float]) -> None:
    assert close(decoder_that_says(number, (-0.5, 0.3, -2.0), (0.5, 0.7, 1.0)), torch.tensor(actions))


@pytest.mark.parametrize("number", [-1.0, -0.1, 0.1, 0.5])
def test_between_the_bounds_the_decoder_is_tanh(number: float) -> None:
    assert close(decoder_that_says(number, (-1.0,) * 3, (1.0,) * 3), torch.tensor(math.tanh(number)))


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.3), (-2.0, 1e-3), (-1e6, 1.1), (0.1, 1e7), (1.0, 1.0000002)])
def test_no_action_is_beyond_a_bound_by_a_rounding(low: float, high: float) -> None:
    """In float32 the half range and the middle are not exact; their sum must not be larger than the bound."""
    for number in (-50.0, 50.0):
        actions = decoder_that_says(number, (low,) * 3, (high,) * 3).double()
        assert low <= float(actions.min()) and float(actions.max()) <= high


# -- masks --------------------------------------------------------------------------------------------------
TOKENS = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [50.0, 50.0]]])
MASK = torch.tensor([[True, True, False]])


def test_means_and_last_words_are_of_true_words_alone() -> None:
    assert masked_mean(TOKENS, MASK).tolist() == [[2.0, 4.0]]
    assert last_word(TOKENS, MASK).tolist() == [[3.0, 6.0]]
    assert masked_mean(TOKENS, MASK & False).tolist() == last_word(TOKENS, MASK & False).tolist() == [[0.0, 0.0]]


def test_weights_are_of_true_words_alone_and_add_up_to_one_where_there_is_any() -> None:
    scores = torch.tensor([[0.0, math.log(3.0), 9.0]])
    assert masked_softmax(scores, MASK)[0].tolist() == pytest.approx([0.25, 0.75, 0.0])
    assert masked_softmax(scores, MASK & False)[0].tolist() == [0.0, 0.0, 0.0]


def test_instructions_of_one_image_stand_together() -> None:
    vision = torch.tensor([[1.0], [2.0]])
    assert spread(vision, torch.zeros(4, 1)).tolist() == [[1.0], [1.0], [2.0], [2.0]]
    assert spread(vision, torch.zeros(2, 1)) is vision


# -- fusions ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["early", "late", "cross_attention", "transformer"])
def test_every_cell_of_an_image_counts_alike(name: str) -> None:
    """These fusions do not know where a cell lies: in another order they are the same, and none is passed over."""
    fusion, (vision, *language) = fusion_of(name), given()
    features = fusion(vision, *language)[0]
    assert close(fusion(vision.flip(1), *language)[0], features)
    for cell in range(CELLS):
        changed = vision.clone()
        changed[:, cell] += torch.linspace(-1, 1, WIDTH)
        assert not close(fusion(changed, *language)[0], features)


@pytest.mark.parametrize("name", ["cross_attention", "transformer"])
def test_what_is_padding_does_not_count(name: str) -> None:
    fusion, (vision, words, pooled, mask) = fusion_of(name), given()
    mask[:, 2:] = False
    features = fusion(vision, words, pooled, mask)[0]
    assert close(fusion(vision, words[:, :2], pooled, mask[:, :2])[0], features)


def test_in_the_late_fusion_what_each_hears_is_a_mean() -> None:
    """Where both say the same, each hears just that, whatever the weights."""
    fusion, (vision, words, pooled, mask) = fusion_of("late"), given()
    torch.nn.init.zeros_(fusion.value.weight)
    torch.nn.init.ones_(fusion.value.bias)
    both = torch.stack([fusion.eyes(vision.mean(1)), fusion.ears(pooled)], 1)
    assert close(fusion(vision, words, pooled, mask)[0], fusion.merge((both + 1.0).flatten(1)))


def test_the_fusion_transformer_has_a_sign_for_each_modality() -> None:
    fusion = fusion_of("transformer")
    fusion(*given())[0][:, 0].sum().backward()
    assert (fusion.modality.grad.abs().sum(1) > 0).all()


def test_the_grounded_fusion_knows_where_it_looks() -> None:
    """After what it sees there: the mean place, across and down, and how likely nowhere is."""
    fusion, (vision, words, pooled, mask) = fusion_of("grounded"), given()
    merged = []
    fusion.merge.register_forward_pre_hook(lambda _, inputs: merged.append(inputs[0]))
    _, logits = fusion(vision, words, pooled, mask)
    attention = logits.softmax(-1)
    at = merged[0].flatten(0, 1)[:, WIDTH:WIDTH + 3]
    assert close(at[:, :2], attention[:, :-1] @ places(GRID)) and close(at[:, 2], attention[:, -1])


def test_the_grounded_fusion_scales_its_scores_by_the_width() -> None:
    fusion, (vision, words, pooled, mask) = fusion_of("grounded"), given()
    _, logits = fusion(vision, words, pooled, mask)
    scores = (fusion.query(pooled)[:, None] * fusion.key(vision)).sum(-1)
    assert close(logits[:, :-1], scores / math.sqrt(WIDTH)) and close(logits[:, -1:], fusion.nowhere(pooled))


# -- pixels -------------------------------------------------------------------------------------------------
def test_the_brightest_byte_is_one() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert unit_pixels(pixels, (1, 1)).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_places_go_row_by_row_across_and_down() -> None:
    assert places(GRID).tolist() == [[-1, -1], [0, -1], [1, -1], [-1, 1], [0, 1], [1, 1]]
