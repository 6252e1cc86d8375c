"""Every combination of parts: shapes, padding, gradients; and each part by what it promises."""
from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tiny_models import OPTIONS, inputs, make, tiny

from vla_ros.core.registry import lookup
from vla_ros.models import FUSION, HEADS, LANGUAGE, VISION
from vla_ros.models.backbones import RandomWeights
from vla_ros.models.fusion.attention import CrossModalAttention
from vla_ros.models.heads.action_decoder import ActionDecoder
from vla_ros.models.heads.planner import Plan, Planner
from vla_ros.models.vision.clip import ClipVision

COMBINATIONS = list(itertools.product(VISION, LANGUAGE, FUSION))
LEARNED = ("clip", "resnet18", "resnet50")
NEED_NO_CELLS = [name for name in FUSION if name != "grounded"]


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-5)


def test_every_part_has_a_tiny_size_here() -> None:
    for kind, registry in (("vision", VISION), ("language", LANGUAGE), ("fusion", FUSION), ("head", HEADS)):
        assert set(OPTIONS[kind]) == set(registry)


# -- whole models of every combination -----------------------------------------------------------------------
@pytest.mark.parametrize(("vision", "language", "fusion"), COMBINATIONS)
def test_shapes_padding_and_gradients(vision: str, language: str, fusion: str) -> None:
    model = make(vision=vision, language=language, fusion=fusion, state=("turned", "gripper"))
    # A scene, then the same with another image, with other words (three, not five), with another state.
    (image, other), (ids, fewer), mask = (part for part in inputs())
    pixels, ids = torch.stack([image, other, image, image]), torch.stack([ids, ids, fewer, ids])
    mask, state = mask[[0, 0, 1, 0]], torch.tensor([[0.2, 0.3]] * 3 + [[0.8, 0.7]])
    output = model(pixels, ids, mask, state)
    rows, columns = model.vision.grid
    assert output.actions.shape == (4, 4, 3) and output.completion.shape == output.value.shape == (4,)
    assert output.features.shape == (4, 32) and model.encode_image(pixels).shape == (4, rows * columns, 16)
    assert output.attention is None or output.attention.shape == (4, rows * columns + 1)
    assert not any(close(output.features[0], output.features[row]) for row in (1, 2, 3))

    # Padding of any length, filled with anything, is nothing.
    longer = torch.arange(8) < mask.sum(1, keepdim=True)
    more = model(pixels, torch.where(longer, torch.nn.functional.pad(ids, (0, 3)), 7), longer, state)
    alone = model(pixels[2:3], ids[2:3, :3], mask[2:3, :3], state[2:3])
    assert close(more.actions, output.actions) and close(more.value, output.value)
    assert close(alone.actions[0], output.actions[2])

    (output.actions.sum() + output.completion.sum() + output.value.sum()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize(("vision", "fusion"), list(itertools.product(LEARNED, NEED_NO_CELLS)))
def test_a_pooled_image_is_one_token(vision: str, fusion: str) -> None:
    model = make(vision=vision, fusion=fusion, vision_options={"pooled": True})
    assert model.vision.grid is None and model.encode_image(inputs()[0]).shape == (2, 1, 16)
    output = model(*inputs())
    output.actions.sum().backward()
    assert output.actions.shape == (2, 4, 3)
    assert all(parameter.grad is not None for parameter in model.vision.parameters())


@pytest.mark.parametrize("language", ["small", "llama", "static"])
@pytest.mark.parametrize("fusion", list(FUSION))
def test_several_instructions_an_image_are_the_image_said_again(fusion: str, language: str) -> None:
    model = make(fusion=fusion, language=language)
    pixels, ids, mask = inputs(batch=4)
    vision = model.encode_image(pixels[:2])
    words, pooled = model.encode_text(ids, mask, vision)
    shared = model.decode_action(vision, words, pooled, mask)
    assert close(shared.actions, model(pixels[[0, 0, 1, 1]], ids, mask).actions)


# -- sizes --------------------------------------------------------------------------------------------------
SIZES = {("vision", "resnet18"): 11_176_512, ("vision", "resnet50"): 23_508_032, ("vision", "clip"): 87_456_000,
         ("language", "llama"): 6_607_343_616}  # Llama-2-7B without the layer that says words


def test_full_sizes_have_as_many_numbers_as_the_published_ones() -> None:
    # In a process of its own: once, in one that had run a thousand other tests, torch.device("meta") did not hold, and the
    # 26 GB that the large one's numbers take were really asked for.
    code = f"""
import json, warnings, torch
from vla_ros.core.registry import lookup
from vla_ros.models import LANGUAGE, VISION
from vla_ros.models.config import VLAConfig
warnings.simplefilter("ignore")
counts = []
for kind, name in {list(SIZES)!r}:
    with torch.device("meta"):
        assert torch.empty(1).is_meta
        part = lookup({{**VISION, **LANGUAGE}}, name, kind)(VLAConfig(image_size=(224, 224), width=512, **{{kind: name}}))
    counts.append(sum(parameter.numel() for parameter in part.model.parameters()))
print(json.dumps(counts))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert dict(zip(SIZES, json.loads(done.stdout))) == SIZES


# -- eyes ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("vision", LEARNED)
def test_features_are_normalised(vision: str) -> None:
    tokens = make(vision=vision).vision.project(torch.rand(1, 4, 8))
    normed = make(vision=vision).vision.norm(100 * tokens)
    assert close(normed.mean(-1), torch.zeros(1, 4)) and close(normed.var(-1, unbiased=False), torch.ones(1, 4))


def test_bytes_are_the_same_image() -> None:
    model, (pixels, ids, mask) = make(), inputs()
    raw = (pixels * 255).to(torch.uint8)
    assert close(model(raw, ids, mask).actions, model(raw.float() / 255, ids, mask).actions)


@pytest.mark.parametrize(("pixels", "said"), [
    (torch.zeros(1, 3, 32, 32), "1 x 3 x 32 x 32; give B x 3 x 32 x 64"),
    (torch.zeros(3, 32, 64), "3 x 32 x 64; give B x 3 x 32 x 64"),
    (torch.zeros(1, 3, 32, 64, dtype=torch.int32), "torch.int32"),
])
def test_other_images_are_refused(pixels: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make().encode_image(pixels)


@pytest.mark.parametrize("vision", list(VISION))
def test_a_broken_pixel_is_not_hidden(vision: str) -> None:
    pixels, ids, mask = inputs()
    pixels[0, 1, 3, 5] = math.nan
    actions = make(vision=vision)(pixels, ids, mask).actions
    assert actions[0].isnan().any() and not actions[1].isnan().any()  # for the gate to see, in that image alone


def test_clip_s_cells_lie_row_by_row() -> None:
    eyes = make(vision="clip").vision
    eyes.model.encoder.layers = eyes.model.encoder.layers[:0]  # each patch alone, before they attend to each other
    dark = torch.zeros(1, 3, 32, 64)
    for cell in range(8):
        light = dark.clone()
        light[:, :, cell // 4 * 16 :, cell % 4 * 16 :][:, :, :16, :16] = 1.0
        assert (eyes(light) - eyes(dark)).norm(dim=-1)[0].nonzero().flatten().tolist() == [cell]


def test_resnet_s_cells_lie_row_by_row_and_know_where() -> None:
    eyes = make(vision="resnet18", image_size=(64, 90), fusion="early").vision
    pixels = torch.rand(1, 3, 64, 90)
    seen = eyes.model(eyes.normalise(pixels)).last_hidden_state
    assert eyes.grid == (2, 3) == tuple(seen.shape[2:])
    for cell, (row, column) in enumerate(itertools.product(range(2), range(3))):
        place = eyes.where(torch.tensor([[-1.0, 0.0, 1.0][column], [-1.0, 1.0][row]]))
        assert close(eyes(pixels)[0, cell], eyes.norm(eyes.project(seen[0, :, row, column]) + place))


def test_clip_reads_sizes_that_it_was_not_made_for() -> None:
    with pytest.warns(RandomWeights, match="clip vision starts from random weights"):
        eyes = ClipVision(tiny(vision="clip", image_size=(48, 96)))
    assert eyes.grid == (3, 6) and eyes(torch.rand(1, 3, 48, 96)).shape == (1, 18, 16)


def test_the_small_parts_are_never_pretrained_and_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make()


# -- ears ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("language", ["lstm", "llama"])
def test_the_pooled_words_are_the_last_true_one(language: str) -> None:
    ears = lookup(LANGUAGE, language, "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeights)
        ears = ears(tiny(language=language)).eval()
    _, ids, mask = inputs()
    words, pooled = ears(ids, mask)
    assert words.shape == (2, 5, 16)
    assert torch.equal(pooled[0], words[0, 4]) and torch.equal(pooled[1], words[1, 2])


@pytest.mark.parametrize("fusion", NEED_NO_CELLS)
@pytest.mark.parametrize("language", ["lstm", "llama", "static", "minilm"])
def test_no_words_at_all_are_finite(language: str, fusion: str) -> None:
    pixels, ids, mask = inputs()
    model = make(language=language, fusion=fusion)
    output = model(pixels, ids, mask & False)
    assert bool(torch.isfinite(output.actions).all())
    assert close(output.actions, model(pixels, ids.flip(0), mask & False).actions)


def test_llama_sees_between_its_marks_and_must_be_shown() -> None:
    model, (pixels, ids, mask) = make(language="llama"), inputs()
    assert model.reads_vision and not make().reads_vision
    with pytest.raises(ValueError, match=r"reads the image too; give encode_text\(\) what encode_image\(\) gave"):
        model.encode_text(ids, mask)
    vision, heard = model.encode_image(pixels), []
    model.language.model.register_forward_pre_hook(lambda _, __, given: heard.append(given), with_kwargs=True)
    model.encode_text(ids, mask, vision)
    embeds, count = heard[0]["inputs_embeds"], vision.shape[1]
    table, (opening, closing) = model.language.model.embed_tokens, model.language.marks
    assert embeds.shape == (2, 1 + 1 + count + 1 + 5, 16)
    assert torch.equal(embeds[0, 0], table(torch.tensor(1))) and torch.equal(embeds[1, 1], opening)
    assert torch.equal(embeds[:, 2 : 2 + count], model.language.look(vision)) and torch.equal(embeds[0, 2 + count], closing)
    assert torch.equal(embeds[:, 3 + count :], table(ids))
    assert torch.equal(heard[0]["attention_mask"][:, 3 + count :], mask.long())
    # and what it sees changes what it reads
    assert not close(model.encode_text(ids, mask, vision)[1], model.encode_text(ids, mask, 1 - vision)[1])
    assert not close(model.encode_text(ids, mask, vision)[1], model.language(ids, mask)[1])


# -- attention and fusions ----------------------------------------------------------------------------------
def test_attention_is_what_torch_computes() -> None:
    torch.manual_seed(0)
    ours, theirs = CrossModalAttention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, keys, mask = torch.rand(2, 3, 8), torch.rand(2, 4, 8), torch.tensor([[True] * 4, [True, True, False, False]])
    found, weights = ours(query, keys, mask)
    told = ours.tell_norm(keys)
    wanted, mean = theirs(ours.ask_norm(query), told, told, key_padding_mask=~mask)
    assert close(found, ours.norm(query + wanted)) and close(weights.mean(1), mean)
    assert weights.shape == (2, 2, 3, 4) and not weights[1, :, :, 2:].any()
    nothing, _ = ours(query, keys, mask & False)
    assert close(nothing, ours.norm(query + ours.out.bias))


def test_cross_attention_shows_where_words_look() -> None:
    model, (pixels, ids, mask) = make(fusion="cross_attention"), inputs()
    vision = model.encode_image(pixels)
    words, _ = model.encode_text(ids, mask)
    told, asked, weights = model.fusion.both(vision, words, mask)
    assert told.shape == vision.shape and asked.shape == words.shape
    shown = model(pixels, ids, mask).attention.softmax(-1)
    assert close(shown[:, -1], torch.zeros(2)) and close(shown[1, :-1], weights[1, :, :3].mean((0, 1)))


# -- heads --------------------------------------------------------------------------------------------------
BOUNDS = [((-0.5, -0.5, 0.0), (0.5, 0.5, 1.0)), ((-0.1, 0.3, -2.0), (0.3, 0.7, 1e-3)), ((1.0, -1e6, 0.1), (1.0000002, 1.1, 1e7))]


@pytest.mark.parametrize("head", list(HEADS))
@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_actions_stay_within_the_bounds_whatever_comes(head: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    part = lookup(HEADS, head, "")(tiny(head=head, low=low, high=high), 8).eval()
    for size in (0.0, 1.0, 1e3, 1e9, 1e30, math.inf):
        features = torch.randn(64, 8).sign() * size
        found = part(features.nan_to_num(posinf=3e38, neginf=-3e38))
        values = (found.steps if isinstance(found, Plan) else found).double()
        assert not ((values < torch.tensor(low, dtype=torch.float64)) | (values > torch.tensor(high, dtype=torch.float64))).any()
        assert size > 1e9 or bool(torch.isfinite(values).all())  # beyond, infinities may meet: the gate drops NaN
    reached = part.bounded(torch.tensor([[-1.0] * 3, [1.0] * 3])).double()
    wide = torch.tensor(high, dtype=torch.float64) - torch.tensor(low, dtype=torch.float64)
    assert torch.allclose(reached[0], torch.tensor(low, dtype=torch.float64), atol=float(1e-5 * wide.max()))
    assert torch.allclose(reached[1], torch.tensor(high, dtype=torch.float64), atol=float(1e-5 * wide.max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_bounds_outlive_a_cast(dtype: torch.dtype) -> None:
    low, high = (-0.1, 0.3, -2.0), (0.3, 0.7, 1e-3)
    model = make(low=low, high=high, fusion="early").to(dtype)
    pixels, ids, mask = inputs(batch=8)
    for weight in model.head.parameters():
        weight.data *= 1000
    actions = model(pixels.to(dtype), ids, mask).actions
    assert actions.dtype == torch.float32 and len(actions.unique()) > 3
    assert not ((actions.double() < torch.tensor(low).double()) | (actions.double() > torch.tensor(high).double())).any()
    assert torch.equal(model.to(torch.float32).head.scale, make(low=low, high=high).head.scale)


@pytest.mark.parametrize(("preset", "channels", "widths", "drops"), [
    ("7d", 7, [1024, 512, 256, 7], [0.1, 0.1, 0.1]), ("6d", 6, [1024, 512, 6], [0.3, 0.2]), ("small", 2, [256, 256, 2], []),
])
def test_the_decoder_s_presets(preset: str, channels: int, widths: list[int], drops: list[float]) -> None:
    names = tuple(f"joint{index}" for index in range(channels))
    config = tiny(channels=names, low=(-2.0,) * channels, high=(2.0,) * channels, steps=1,
                  head_options={"preset": preset, "hidden": None})
    decoder = ActionDecoder(config, 16)
    assert [layer.out_features for layer in decoder.layers if isinstance(layer, torch.nn.Linear)] == widths
    assert [layer.p for layer in decoder.layers if isinstance(layer, torch.nn.Dropout)] == drops
    assert decoder(torch.rand(3, 16)).shape == (3, 1, channels)


def test_a_plan_has_steps_their_number_and_its_probability() -> None:
    torch.manual_seed(1)
    planner = Planner(tiny(head="planner", steps=10), 16).eval()
    features = torch.randn(20, 16)
    with torch.no_grad():
        planner.length.weight.mul_(20)
    plan = planner(features)
    assert plan.steps.shape == (20, 10, 3) and plan.probabilities.shape == plan.logits.shape == (20, 10)
    assert close(plan.probabilities.sum(-1), torch.ones(20)) and close(plan.probabilities, plan.logits.softmax(-1))
    assert plan.number.tolist() == [1 + row.index(max(row)) for row in plan.probabilities.tolist()]
    assert len(set(plan.number.tolist())) > 1
    assert planner(features[:1]).steps.allclose(plan.steps[:1], atol=1e-6)
    # Each step hears the one before: forget how, and later steps change while the first stays.
    with torch.no_grad():
        planner.lstm.weight_ih_l0[:, 16:] = 0
    other = planner(features)
    assert close(other.steps[:, 0], plan.steps[:, 0]) and not close(other.steps[:, 1], plan.steps[:, 1])


def test_a_plan_and_its_length_can_be_learned() -> None:
    torch.manual_seed(0)
    planner = Planner(tiny(head="planner", steps=5), 4)
    features, number = torch.eye(4), torch.tensor([1, 2, 4, 5])
    target = torch.rand(4, 5, 3) * 0.4
    optimizer = torch.optim.Adam(planner.parameters(), 0.05)
    for _ in range(60):
        plan = planner(features)
        loss = ((plan.steps - target) ** 2).mean() + torch.nn.functional.cross_entropy(plan.logits, number - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert planner(features).number.tolist() == number.tolist() and loss.item() < 0.1


def test_a_planner_in_a_vla_gives_its_plan() -> None:
    output = make(head="planner", steps=6)(*inputs())
    assert output.plan is not None and torch.equal(output.actions, output.plan.steps) and output.actions.shape == (2, 6, 3)
    assert make()(*inputs()).plan is None


@pytest.mark.parametrize("given", [0, 1, 3])
def test_a_state_of_another_length_is_refused(given: int) -> None:
    with pytest.raises(ValueError, match=f"the state has {given} numbers; this model wants 2: turned, gripper"):
        make(state=("turned", "gripper"))(*inputs(), torch.zeros(2, given) if given else None)
