"""Images for training: placed at random, met by a policy that drives; and a model that learns what they are labelled."""
from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("mujoco", reason="the images come from the simulator")

from tiny_models import make

from vla_ros.models.heads.auxiliary import AuxiliaryOutput
from vla_ros.policies.builtin import look
from vla_ros.sim.world import World
from vla_ros.tasks.objects import COLOURS, OPENING_MAX, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS
from vla_ros.training import losses as taught
from vla_ros.training import rollout as driving
from vla_ros.training.image_dataset import Frames, make_world, place_at_random, shoot, table
from vla_ros.training.labels import STATE, UNCLEAR, Batch, label, nonsense, padded
from vla_ros.training.losses import WEIGHTS, _where, act, losses, unclear

SIZE = (24, 32)
MODEL: dict[str, Any] = {"state": STATE, "auxiliary": True, "image_size": SIZE, "low": (-0.5, -0.5, -0.02),
                         "high": (0.5, 0.5, 1.02)}


@pytest.fixture(scope="module")
def placed() -> Frames:
    try:
        return place_at_random(make_world(SIZE), SIZE, 48, 1)
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")


@pytest.fixture(scope="module")
def driven(placed: Frames) -> Frames:
    return driving.drive(make(**MODEL), SIZE, 6, 3, robots=2)


# -- placed at random ----------------------------------------------------------------------------------------
def test_placed_images_show_what_training_needs(placed: Frames) -> None:
    assert placed.images.shape == (48, *SIZE, 3) and (placed.images.reshape(48, -1).std(1) > 5).all()
    there = ~np.isnan(placed.objects[..., 0])
    assert (there.sum(1) >= 4).all() and np.array_equal(np.isnan(placed.objects).any(-1), ~there)
    ahead, left = placed.objects[..., 2], placed.objects[..., 3]
    held = (ahead > 0.17) & (ahead < 0.29) & (np.abs(left) < 0.02)
    assert 3 < held.any(1).sum() < 30 and (np.hypot(ahead, left)[there] > 0.1).all()
    opening, told = placed.gripper.T
    assert set(told.tolist()) == {0.0, 1.0} and 0.0 <= opening.min() < 0.1 and opening.max() == pytest.approx(1.0)
    grip = opening[held.any(1)]
    assert ((grip > 0.55) & (grip < 0.8)).any()  # as wide as the object
    assert (placed.intent == -1).all() and not placed.progress.any()


def test_the_same_seed_places_the_same(placed: Frames) -> None:
    again, other = (place_at_random(make_world(SIZE), SIZE, 5, seed) for seed in (1, 2))
    for one in fields(Frames):
        assert np.array_equal(getattr(again, one.name), getattr(placed, one.name)[:5], equal_nan=True), one.name
    assert not np.array_equal(other.objects, again.objects, equal_nan=True)


def test_the_table_and_the_image_are_those_of_the_moment(placed: Frames) -> None:
    world = World(5, 2 * SIZE[1], 2 * SIZE[0])
    world.place_robot(0.2, -0.1, 0.5 * np.pi)
    thing = world.scene.objects[0]
    world.place_object(thing.name, 0.1, 0.7)
    world.place_gripper(0.04)
    rows = table(world)
    assert rows[0].tolist() == pytest.approx([COLOURS.index(thing.colour), SHAPES.index(thing.shape), 0.8, 0.1], abs=1e-6)
    assert np.isnan(rows[len(world.scene.objects):]).all()
    frames = Frames.empty(2, SIZE)
    shoot(world, frames, 1)
    assert np.array_equal(frames.objects[1], rows, equal_nan=True) and np.isnan(frames.objects[0]).all()
    assert frames.gripper[1].tolist() == pytest.approx([0.04 / OPENING_MAX, 1.0]) and not frames.images[0].any()
    halves = world.render().reshape(SIZE[0], 2, SIZE[1], 2, 3).mean((1, 3))
    assert np.abs(frames.images[1] - halves).max() <= 1.0


def test_frames_are_saved_loaded_and_joined(placed: Frames, driven: Frames, tmp_path: Path) -> None:
    placed.save(tmp_path / "a")
    back = Frames.load(tmp_path / "a")
    assert isinstance(back.images, np.memmap) and len(back) == 48
    for one in fields(Frames):
        assert np.array_equal(getattr(back, one.name), getattr(placed, one.name), equal_nan=True)
    pytest.importorskip("accelerate", reason="the recipe needs it")
    from vla_ros.training.recipes.album import Album
    both = Album([back, driven])
    assert len(both) == 54
    assert np.array_equal(both.images(np.array([0, 47, 48, 53])), [*placed.images[[0, 47]], *driven.images[[0, 5]]])
    for one in fields(Frames):
        if one.name != "images":
            assert np.array_equal(getattr(both.tables, one.name)[48:], getattr(driven, one.name), equal_nan=True)


# -- met by a policy -----------------------------------------------------------------------------------------
def test_driven_images_have_their_instruction_and_how_far_it_came(driven: Frames) -> None:
    assert len(driven) == 6 and (driven.images.reshape(6, -1).std(1) > 5).all()
    kind, colour, shape = driven.intent.T
    assert ((kind >= 0) & (kind < len(KINDS))).all()
    assert (((colour >= 0) == (kind < len(OBJECT_KINDS))) & (shape < len(SHAPES))).all()
    assert set(driven.progress[:, 3].tolist()) <= {-1.0, 1.0} and (driven.progress[:, 2] >= 0).all()
    assert np.abs(driven.progress[:, :2]).max() > 1e-3 and set(driven.gripper[:, 1].tolist()) <= {0.0, 1.0}


def test_the_same_seed_drives_the_same(driven: Frames) -> None:
    again = driving.drive(make(**MODEL), SIZE, 6, 3, robots=2)
    for one in fields(Frames):
        assert np.array_equal(getattr(again, one.name), getattr(driven, one.name), equal_nan=True), one.name


def test_the_policy_sees_the_image_and_the_progress_that_are_kept(monkeypatch: pytest.MonkeyPatch, placed: Frames
                                                                    ) -> None:
    seen: list[tuple[Any, Any]] = []

    def listen(model: Any, images: Any, read: Any, progress: Any) -> Any:
        seen.extend((image, one.features()["turned"]) for image, one in zip(images, progress))
        return look(model, images, read, progress)

    monkeypatch.setattr(driving, "look", listen)
    frames = driving.drive(make(**MODEL), SIZE, 6, 4, robots=2, keep=1.0)
    assert len(seen) == 6
    for index, (image, turned) in enumerate(seen):
        assert np.array_equal(image, frames.images[index])
        assert turned == pytest.approx(frames.progress[index, 0] / 0.5, abs=1e-6)


def test_a_robot_that_stands_is_told_something_else(monkeypatch: pytest.MonkeyPatch, placed: Frames) -> None:
    """Never moving: SETTLE seconds later the next instruction, after a few the next scene."""
    monkeypatch.setattr(driving, "actions", lambda output, progress: np.zeros((len(progress), 4, 3), np.float32))
    told: list[str] = []
    sentence = driving.sentence
    monkeypatch.setattr(driving, "sentence", lambda *given: told.append(sentence(*given)) or told[-1])
    images = 60
    frames = driving.drive(make(**MODEL), SIZE, images, 5, robots=1, keep=1.0)
    assert np.abs(frames.progress[:, :2]).max() < 1e-3  # also where it was put somewhere else
    assert len(told) == pytest.approx(images * driving.PERIOD_S / (driving.STANDSTILL_S + driving.PERIOD_S), abs=1.0)


# -- learning ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def batch(placed: Frames) -> Batch:
    rows = np.arange(0, 48, 4)
    made, _ = label(np.random.default_rng(0), placed, rows, 3, (3, 4), 4, 0.1, placed.images[rows])
    return made


def test_every_loss_falls_on_a_batch_that_is_learnt_by_heart(batch: Batch) -> None:
    model = make(**MODEL, vision_options={"channels": (8, 16)}).train()
    words = padded([nonsense(np.random.default_rng(seed)) for seed in range(16)])
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    history = []
    for _ in range(40):
        parts = {**losses(model, batch), "unclear": unclear(model, *words)}
        assert set(parts) == {*WEIGHTS, "unclear"} and all(part.ndim == 0 for part in parts.values())
        history.append({name: part.item() for name, part in parts.items()})
        loss = sum(WEIGHTS.get(name, 0.1) * part for name, part in parts.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, first in history[0].items():
        assert np.mean([row[name] for row in history[-3:]]) < 0.9 * first, name


def test_a_model_that_is_right_loses_nothing(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(**MODEL)
    sure = 30.0

    def right(*_: Any) -> Any:
        output = act(model, batch)
        classes = [20.0 * torch.nn.functional.one_hot(truth.clamp(min=0), count).float() for truth, count in (
            (batch.cells[..., 0], 7), (batch.cells[..., 1], 4), (batch.words[:, 0], 13), (batch.words[:, 1], 7),
            (batch.words[:, 2], 4))]
        extra = AuxiliaryOutput(*classes, sure * (2 * batch.contact - 1), batch.target)
        return output._replace(actions=batch.actions, completion=sure * (2 * batch.done - 1), auxiliary=extra,
                               attention=batch.where.clamp(min=1e-9).log())

    monkeypatch.setattr(taught, "act", right)
    parts = losses(model, batch)
    entropy = -(batch.where * batch.where.clamp(min=1e-9).log()).sum(-1).mean()
    assert parts.pop("where").item() == pytest.approx(entropy.item(), abs=1e-4)
    assert {name: round(part.item(), 4) for name, part in parts.items()} == dict.fromkeys(parts, 0.0)


def test_a_cell_without_an_object_counts_a_tenth_of_one_with() -> None:
    logits, truth = torch.tensor([[[0.0, 0.0, 2.0], [1.0, 0.0, 0.0]]]), torch.tensor([[0, 2]])  # 2: nothing is there
    with_object, without = torch.nn.functional.cross_entropy(logits[0], truth[0], reduction="none").tolist()
    assert taught._cells(logits, truth).item() == pytest.approx((with_object + 0.1 * without) / 1.1)


def test_an_action_s_error_counts_in_halves_of_its_channel_s_range(batch: Batch) -> None:
    model = make(**{**MODEL, "low": (-0.5, -2.0, -0.02), "high": (0.5, 2.0, 1.02)})
    with torch.no_grad():
        off = batch._replace(actions=act(model, batch).actions + torch.tensor([0.5, 2.0, 0.52]))  # a half each
        assert losses(model, off)["action"].item() == pytest.approx(1.0 - 0.1 / 2, rel=1e-4)  # beyond beta linear


def test_each_loss_looks_at_its_own_label(batch: Batch) -> None:
    model = make(**MODEL)
    with torch.no_grad():
        before = losses(model, batch)
        changed = {
            "action": batch._replace(actions=batch.actions + 0.1), "done": batch._replace(done=1 - batch.done),
            "where": batch._replace(where=batch.where.roll(1, 0)), "contact": batch._replace(contact=1 - batch.contact),
            "target": batch._replace(target=batch.target + 0.3), "words": batch._replace(words=(batch.words + 1) % 4)}
        for name, other in changed.items():
            after = losses(model, other)
            assert [part for part in before if not torch.equal(before[part], after[part])] == [name]
        hidden = batch._replace(target=torch.where(batch.seen[:, None], batch.target, 100.0))
        assert torch.equal(losses(model, hidden)["target"], before["target"])  # out of view, its place is no lesson


def test_where_never_asked_for_objects_are_costs_nothing() -> None:
    """Attention on a cell with a held-out pair is not punished; on any other cell it is."""
    logits = torch.zeros(2, 4)
    batch = Batch(*[torch.empty(0)] * 13)
    batch = batch._replace(where=torch.tensor([[1.0, 0, 0, 0]] * 2),
                           unasked=torch.tensor([[False, True, False]]))  # one image, two instructions
    base = _where(logits, batch)
    for cell, same in ((1, True), (2, False), (3, False)):
        pulled = logits.clone()
        pulled[:, cell] = 3.0
        assert torch.isclose(_where(pulled, batch), base, atol=1e-4) == same


def test_unclear_wants_the_last_task() -> None:
    model = make(**MODEL)
    ids, mask = padded(["red block", "the"])
    with torch.no_grad():
        model.auxiliary.task.bias[UNCLEAR] = 20.0
        assert unclear(model, ids, mask) < 1e-4
        model.auxiliary.task.bias[0] = 40.0
        assert unclear(model, ids, mask) > 10.0
