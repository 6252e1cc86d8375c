"""Labels for every instruction: words, the expert's actions, where to look, what stands where; and the mirror."""
from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("mujoco", reason="training's frames need the simulator")

from vla_ros.models.language.lexicon import LENGTH, encode
from vla_ros.policies.progress import SCALES
from vla_ros.policies.steps import canonical
from vla_ros.sim.expert import AMOUNT, CARRY_M, ID, Situation, rollout
from vla_ros.sim.projection import in_view, project
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, UNSEEN_PAIRS, intent_of
from vla_ros.training import labels
from vla_ros.training.image_dataset import Frames
from vla_ros.training.labels import (
    IGNORED,
    NO_COLOUR,
    NO_SHAPE,
    UNSEEN_INDICES,
    cells,
    choose,
    find,
    label,
    mirror,
    where,
)

GRID = (6, 8)
RED, BLUE = COLOURS.index("red"), COLOURS.index("blue")
BALL, BLOCK = SHAPES.index("ball"), SHAPES.index("block")


def table(*objects: tuple[int, int, float, float]) -> Any:
    rows = np.full((6, 4), np.nan, np.float32)
    rows[: len(objects)] = np.reshape(objects, (-1, 4))
    return rows


def random_frames(count: int, seed: int = 0, driven: bool = True) -> Frames:
    """Tables at random, with the images that nobody looks at; `driven`: each with an instruction and its progress."""
    rng = np.random.default_rng(seed)
    frames = Frames.empty(count, (48, 64))
    frames.images[:] = rng.integers(0, 255, frames.images.shape)
    for row in range(count):
        several = int(rng.integers(3, 7))
        frames.objects[row, :several] = np.column_stack([
            rng.integers(0, 6, several), rng.integers(0, 3, several), rng.uniform(0.2, 1.6, several),
            rng.normal(0, 0.4, several)])
        if driven:
            frames.intent[row] = int(rng.integers(len(KINDS))), -1, -1
            if frames.intent[row, 0] < len(OBJECT_KINDS):
                frames.intent[row, 1:] = frames.objects[row, rng.integers(several), :2]
    frames.gripper[:] = rng.random((count, 2)).round(1)
    frames.progress[:] = rng.normal(0, 0.5, (count, 4))
    frames.progress[:, 2] = np.abs(frames.progress[:, 2])
    frames.progress[:, 3] = rng.choice([-1, 1], count)
    return frames


def labelled(frames: Frames, many: int = 1, seed: int = 0) -> tuple[labels.Batch, list[str]]:
    rows = np.arange(len(frames))
    return label(np.random.default_rng(seed), frames, rows, many, GRID, 8, 0.1, frames.images)


# -- where to look -------------------------------------------------------------------------------------------
def test_where_says_the_place_exactly() -> None:
    rng = np.random.default_rng(0)
    target = np.column_stack([rng.uniform(0.3, 1.2, 300), rng.normal(0, 0.4, 300)])
    seen = in_view(*target.T)
    shares = where(target, seen, GRID)
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-6)
    rows, columns = GRID
    column, row, _ = project(*target.T)
    cell_row, cell_column = np.divmod(np.arange(rows * columns), columns)
    inside = seen & (np.abs(column) < 1 - 1 / columns) & (np.abs(row) < 1 - 1 / rows)  # no nearer to the border
    assert inside.sum() > 80 and (~seen).sum() > 20
    mean = shares[inside, :-1] @ np.column_stack([(cell_column + 0.5) * 2 / columns - 1, (cell_row + 0.5) * 2 / rows - 1])
    np.testing.assert_allclose(mean, np.column_stack([column, row])[inside], atol=1e-5)
    assert (shares[seen, -1] == 0).all() and (shares[~seen, -1] == 1).all() and not shares[~seen, :-1].any()
    assert ((shares > 0).sum(1) <= 4).all()


def cell_at(ahead: float, left: float) -> int:
    column, row, _ = project(np.array(ahead), np.array(left))
    return int((row + 1) / 2 * GRID[0]) * GRID[1] + int((column + 1) / 2 * GRID[1])


def test_cells_name_the_object_where_it_is_projected() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        ahead, left = rng.uniform(0.3, 1.5), rng.normal(0, 0.15)
        found, unasked = (one[0] for one in cells(table((RED, BALL, ahead, left))[None], GRID))
        assert found[cell_at(ahead, left)].tolist() == [RED, BALL]
        others = found[(found[:, 0] != RED)]
        assert {tuple(one) for one in others.tolist()} <= {(NO_COLOUR, NO_SHAPE), (IGNORED, IGNORED)}
        assert len(others) > 20 and (others[:, 0] == NO_COLOUR).sum() > 20 and not unasked.any()


def test_cells_that_an_object_of_a_pair_never_named_fills_or_grazes_are_marked() -> None:
    colour, shape = min(UNSEEN_INDICES)
    found, unasked = cells(table((colour, shape, 0.6, 0.0))[None], GRID)
    assert np.array_equal(unasked, found[..., 0] != NO_COLOUR) and 2 < unasked.sum() < 40
    nearer = cells(table((colour, shape, 0.6, 0.0), (RED, BALL, 0.35, 0.0))[None], GRID)[1]
    assert not nearer[0, cell_at(0.35, 0.0)]


def test_cells_show_the_nearer_object_and_none_that_is_out_of_the_image() -> None:
    hidden = cells(np.stack([table((BLUE, BLOCK, 0.5, 0.0), (RED, BALL, 0.42, 0.0)),
                             table((RED, BALL, 0.42, 0.0), (BLUE, BLOCK, 0.5, 0.0))]), GRID)[0]
    assert (hidden[:, cell_at(0.42, 0.0)] == [RED, BALL]).all()
    assert np.array_equal(hidden[0], hidden[1])
    assert (cells(table((RED, BALL, -0.8, 0.0), (RED, BALL, 0.5, 1.5))[None], GRID)[0] == [NO_COLOUR, NO_SHAPE]).all()


# -- the mirror ----------------------------------------------------------------------------------------------
def mirrored(frames: Frames) -> Frames:
    objects, intents, progress, pixels = mirror(np.ones(len(frames), bool), frames.objects, frames.intent,
                                                frames.progress, frames.images)
    return replace(frames, images=pixels, objects=objects, intent=intents, progress=progress)


def test_a_mirror_in_a_mirror_is_the_room() -> None:
    frames = random_frames(40)
    there, back = mirrored(frames), mirrored(mirrored(frames))
    for one in fields(frames):
        assert np.array_equal(getattr(back, one.name), getattr(frames, one.name), equal_nan=True), one.name
    assert np.array_equal(there.images[:, :, 0], frames.images[:, :, -1])
    assert np.array_equal(there.objects[..., 3], -frames.objects[..., 3], equal_nan=True)
    swapped = {(int(before), int(after)) for before, after in zip(frames.intent[:, 0], there.intent[:, 0])}
    left, right = ID["turn_left"], ID["turn_right"]
    assert swapped == {(kind, {left: right, right: left}.get(kind, kind)) for kind in range(len(KINDS))}


def test_only_the_chosen_ones_are_mirrored_and_what_was_given_stays() -> None:
    frames = random_frames(2)
    before = frames.objects.copy()
    objects, _, progress, pixels = mirror(np.array([False, True]), frames.objects, frames.intent, frames.progress,
                                          frames.images)
    assert np.array_equal(frames.objects, before, equal_nan=True)
    assert np.array_equal(objects[0], before[0], equal_nan=True) and not np.array_equal(objects[1], before[1])
    assert np.array_equal(pixels[0], frames.images[0]) and not np.array_equal(pixels[1], frames.images[1])
    assert progress[1].tolist() == (frames.progress[1] * [-1, 1, 1, -1]).tolist()


def test_a_mirrored_image_has_mirrored_labels() -> None:
    """Label a scene and its mirror image with the same draws: everything comes out mirrored."""
    frames = random_frames(120)
    frames.intent[frames.intent[:, 0] == ID["turn_around"], 0] = ID["stop"]  # which is to the left in a mirror too
    (one, _), (other, _) = labelled(frames), labelled(mirrored(frames))
    assert torch.equal(one.pixels.flip(-1), other.pixels)
    torch.testing.assert_close(one.actions * torch.tensor([1, -1, 1]), other.actions, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.target * torch.tensor([1, -1]), torch.where(one.seen[:, None], other.target,
                                                                               one.target * torch.tensor([1, -1])))
    for name in ("done", "seen", "contact"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    folded = one.where[:, :-1].unflatten(1, GRID).flip(-1).flatten(1)
    torch.testing.assert_close(folded, other.where[:, :-1], rtol=1e-3, atol=1e-4)
    assert torch.equal(one.cells.unflatten(1, GRID).flip(2).flatten(1, 2), other.cells)
    turns = torch.tensor([ID["turn_left"], ID["turn_right"]])
    same = ~torch.isin(one.words[:, 0], turns)
    assert torch.equal(one.words[same], other.words[same])
    assert ((one.words[~same, 0] + other.words[~same, 0]) == turns.sum()).all() and int((~same).sum()) > 5


# -- what the expert would do --------------------------------------------------------------------------------
def test_the_expert_s_action_is_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Situation] = []
    monkeypatch.setattr(labels, "rollout", lambda now, *given: asked.append(now) or rollout(now, *given))
    frames = Frames.empty(1, (48, 64))
    frames.objects[0] = table((BLUE, BLOCK, 1.4, 0.5), (RED, BALL, 0.7, 0.2))
    frames.gripper[0], frames.intent[0], frames.progress[0] = (0.9, 1.0), (ID["grab"], RED, BALL), (0.3, 0.1, 0.0, -1.0)
    seed = next(seed for seed in range(20) if np.random.default_rng(seed).random(1)[0] >= 0.5)  # not mirrored
    batch, texts = labelled(frames, seed=seed)
    others = np.full((1, 6, 2), np.nan)
    others[0, 0] = np.float32([1.4, 0.5])
    at = np.float32([0.7, 0.2]).astype(float)
    now = Situation(np.array([ID["grab"]]), at[:1], at[1:], others, *np.float32([[0.9], [1.0]]).astype(float),
                    *np.float32([[0.3], [0.1], [0.0], [-1.0]]).astype(float))
    for one in fields(Situation):
        np.testing.assert_array_equal(getattr(asked[0], one.name), getattr(now, one.name), one.name)
    wanted = rollout(now, 8, 0.1)
    assert wanted[0, 0, 0] > 0 and wanted[0, 0, 1] > 0
    np.testing.assert_allclose(batch.actions.numpy(), wanted.astype(np.float32))
    assert batch.words.tolist() == [[ID["grab"], RED, BALL]] and batch.done.tolist() == [0.0]
    assert batch.target[0].tolist() == pytest.approx([0.7, 0.2]) and batch.seen.tolist() == [True]
    assert batch.contact.tolist() == [0.0]
    given = dict(zip(labels.STATE, batch.state[0].tolist()))
    assert given == pytest.approx({"gripper": 0.9 / SCALES["gripper"], "gripper_command": 1.0 / SCALES["gripper_command"],
                                   "turned": 0.3 / SCALES["turned"], "travelled": 0.1 / SCALES["travelled"],
                                   "carried": 0.0, "side": -1.0})
    assert texts == ["grab the red ball"] and batch.ids[batch.mask].tolist() == encode(texts[0])


def test_every_image_has_as_many_instructions_as_asked_for_and_the_first_is_the_one_it_followed() -> None:
    frames = random_frames(20)
    frames.intent[::2] = -1  # nobody drove there
    batch, texts = labelled(frames, many=3)
    assert len(texts) == len(batch.actions) == len(batch.ids) == 60 and batch.cells.shape == (20, 48, 2)
    assert batch.pixels.shape == (20, 3, 48, 64) and float(batch.pixels.max()) <= 1.0
    assert batch.actions.shape == (60, 8, 3) and batch.where.shape == (60, 49)
    assert set(batch.actions[..., 2].unique().tolist()) == {0.0, 1.0}
    turned = batch.state[::3, labels.STATE.index("turned")].abs() * SCALES["turned"]
    wanted = torch.from_numpy(np.abs(frames.progress[:, 0]))
    torch.testing.assert_close(turned[1::2], wanted[1::2])
    assert not torch.isclose(turned[::2], wanted[::2]).any()
    straight = ~np.isin(frames.intent[:, 0], [ID["turn_left"], ID["turn_right"]])  # those may be mirrored
    followed = straight & (frames.intent[:, 0] >= 0)
    assert batch.words[::3, 0].numpy()[followed].tolist() == frames.intent[followed, 0].tolist()


def test_a_target_that_is_not_there_is_nowhere() -> None:
    frames = Frames.empty(1, (48, 64))
    frames.objects[0] = table((BLUE, BLOCK, 0.8, 0.0))
    frames.intent[0], frames.progress[0, 3] = (ID["go_to"], RED, -1), 1.0
    batch, texts = labelled(frames)
    assert not batch.seen[0] and batch.where[0, -1] == 1.0 and batch.contact[0] == 0.0 and batch.done[0] == 0.0
    assert batch.words.tolist() == [[ID["go_to"], RED, NO_SHAPE]]
    assert texts == ["go to the red object"]
    assert not batch.actions[0, :4, 0].any() and (batch.actions[0, :4, 1].abs() > 0.4).all()  # it searches


def test_imagined_progress_is_what_could_have_been() -> None:
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(len(KINDS)), 400)
    contact = np.tile([True, False], len(kind) // 2)
    turned, travelled, carried, side = labels.imagined(rng, kind, contact).T
    for name in ("turn_left", "turn_right", "turn_around", "forward", "back"):
        rows = kind == ID[name]
        share = (turned if "turn" in name else travelled)[rows] / AMOUNT[ID[name]]
        assert -0.1 <= share.min() < 0 < 1 < share.max() <= 1.15, name
        assert 0.2 < (share == 0).mean() < 0.4, name  # just told
        assert np.abs((travelled if "turn" in name else turned)[rows]).max() < 0.3, name
    assert set(side.tolist()) == {-1.0, 1.0} and carried.min() == 0.0 and CARRY_M < carried.max() <= 1.5 * CARRY_M
    assert carried[contact].mean() > 2 * carried[~contact].mean()
    assert turned[kind == ID["grab"]].std() > 1.0


# -- what is said --------------------------------------------------------------------------------------------
def test_training_never_names_the_pairs_that_it_must_not() -> None:
    rng = np.random.default_rng(0)
    never = {(COLOURS.index(colour), SHAPES.index(shape)) for colour, shape in UNSEEN_PAIRS}
    objects = table(*((*pair, 0.6 + 0.1 * index, 0.0) for index, pair in enumerate(sorted(never))),
                    (RED, BALL, 1.0, 0.1), (RED, BLOCK, 1.0, -0.1), (COLOURS.index("green"), BALL, 1.2, 0.2))
    seen = in_view(objects[:, 2], objects[:, 3])
    told = [choose(rng, objects, seen) for _ in range(3000)]
    named = {one[1:3] for one in told if one[0] < len(OBJECT_KINDS)}
    assert not named & never and {(RED, BALL), (RED, BLOCK), (RED, -1)} <= named
    there = {tuple(row) for row in objects[:, :2].astype(int).tolist()}
    assert len({pair for pair in named if pair[1] >= 0} - there) > 8  # also what is not there
    for kind, colour, shape, row in told:
        assert row == (find(objects, seen, colour, shape) if kind < len(OBJECT_KINDS) else -1)
        assert row not in [index for index, one in enumerate(objects[:, :2].astype(int).tolist()) if tuple(one) in never]
    assert {one[0] for one in told} == set(range(len(KINDS)))


def test_of_several_the_nearest_in_view_is_meant() -> None:
    objects = table((RED, BALL, -0.3, 0.0), (RED, BLOCK, 1.2, 0.0), (RED, BALL, 0.9, 0.0), (BLUE, BALL, 0.5, 0.0))
    seen = in_view(objects[:, 2], objects[:, 3])
    assert [find(objects, seen, RED, shape) for shape in (-1, BALL, BLOCK)] == [2, 2, 1]
    assert find(objects, seen & False, RED, -1) == 0 and find(objects, seen, BLUE, BLOCK) == -1


def test_training_says_what_the_policy_tells_the_model() -> None:
    for kind, name in enumerate(KINDS):
        assert labels.sentence(kind, BLUE, BALL) == canonical(intent_of(name, "blue", "ball"))
    assert labels.sentence(ID["face"], BLUE, -1) == "face the blue object"
    assert labels.sentence(ID["turn_left"], -1, -1) == "turn left"


def test_nonsense_can_be_read_and_names_no_pair_that_is_held_out() -> None:
    rng = np.random.default_rng(0)
    texts = [labels.nonsense(rng) for _ in range(400)]
    instructions = {labels.sentence(kind, colour, shape) for kind in range(len(KINDS))
                    for colour in range(len(COLOURS)) for shape in range(-1, len(SHAPES))}
    assert not instructions & set(texts) and len(set(texts)) > 150
    for text in texts:
        assert 0 < len(encode(text)) <= LENGTH
        words = text.split()
        assert not set(zip(words, words[1:])) & set(UNSEEN_PAIRS), text


def test_texts_are_padded_to_the_longest() -> None:
    ids, mask = labels.padded(["stop", "go to the red block"])
    assert ids.shape == mask.shape == (2, 5) and mask.sum(1).tolist() == [1, 5]
    assert ids[0].tolist() == [*encode("stop"), 0, 0, 0, 0] and ids[1].tolist() == encode("go to the red block")
