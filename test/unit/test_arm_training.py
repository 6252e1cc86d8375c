"""The arm's recipe in a size of seconds: labels, batches, the model, and the policy that runs it."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("mujoco")

from vla_ros.core.types import Instruction, Observation
from vla_ros.models.checkpoint import from_pretrained, save_pretrained
from vla_ros.models.language.lexicon import LENGTH, TABLE
from vla_ros.models.table import ROW_RAD, TABLE_STATE, TASKS, UNCLEAR, TableVLA, said_of
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.builtin_arm import (
    ABSENT_S,
    BUILTIN_ARM,
    LONGEST_GAP_S,
    SETTLED_RAD,
    rows_of,
    undelayed,
)
from vla_ros.policies.following_arm import STUCK_S
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.episode import ARM_STEP_S, obey_row
from vla_ros.sim.arm.expert import rows_for
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.tasks.arm.intent import ArmIntent, Named, parse_arm
from vla_ros.tasks.arm.phrases import say_arm
from vla_ros.training.arm_frames import NOBODY, SAID, ArmFrames, label, look, shoot
from vla_ros.training.arm_labels import corners, nonsense, stands, texts, where
from vla_ros.training.arm_losses import tool_of
from vla_ros.training.arm_rollout import drive
from vla_ros.training.recipes import dagger

STEPS = 8
RECIPE = dagger.Recipe(robot="arm", placed=8, parts=1, rounds=1, driven=6, driven_parts=1, first_steps=12, round_steps=4, images=4,
                       nonsense=4, learning_rate=5e-3, warmup=2, precision="no", log_every=4, average=0.9, checked=0,
                       model={"width": 24, "model_options": {"cells": 8, "values": 8, "hidden": 32}})


@pytest.fixture(autouse=True)
def fresh_accelerate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from accelerate.state import AcceleratorState

    from vla_ros.training import log
    AcceleratorState._reset_state()
    monkeypatch.setattr(log.importlib.util, "find_spec", lambda name: None)  # no TensorBoard: it takes seconds
    yield
    AcceleratorState._reset_state()


@pytest.fixture(scope="module")
def world() -> Iterator[ArmWorld]:
    world = ArmWorld(3)
    yield world
    world.close()


@pytest.fixture(scope="module")
def frames(world: ArmWorld) -> ArmFrames:
    """One moment: a block of the table is to be picked up, and what is not there."""
    world.reset(3)
    frames = ArmFrames.empty(1, STEPS)
    shoot(world, frames, 0, look(world))
    table = world.state()
    block = next(thing for thing in table.objects if thing.shape == "block")
    label(world, frames, 0, 0, ArmIntent("pick", Named(block.colour, "block")), table)
    colours = {thing.colour for thing in table.objects if thing.shape == "block"}
    absent = next(colour for colour in ("red", "blue", "green", "yellow") if colour not in colours)
    label(world, frames, 0, 1, ArmIntent("pick", Named(absent, "block")), table)
    return frames


# -- labels ------------------------------------------------------------------------------------------------------


def test_the_rows_are_the_expert_s_from_where_the_joints_are(world: ArmWorld, frames: ArmFrames) -> None:
    table = world.state()
    block = next(thing for thing in table.objects if thing.shape == "block")
    rows = rows_for(ArmIntent("pick", Named(block.colour, "block")), table, table, STEPS, ARM_STEP_S)
    np.testing.assert_allclose(frames.rows[0, 0, :, :6] + np.array(table.joints), rows[:, :6], atol=1e-6)
    assert (frames.rows[0, 0, :, 6] == rows[:, 6]).all() and frames.gripped[0, 0] == 0.0
    row = frames.roles[0, 0, 0]
    assert table.objects[row].name == block.name and frames.roles[0, 0, 1] == NOBODY


def test_for_what_is_not_on_the_table_the_label_is_to_stay(frames: ArmFrames) -> None:
    assert np.abs(frames.rows[0, 1, :, :6]).max() < 1e-6 and (frames.roles[0, 1] == NOBODY).all()
    assert np.isnan(frames.offsets[0, 1]).all()


def test_a_thing_has_its_colour_where_the_label_says_that_it_is(world: ArmWorld, frames: ArmFrames) -> None:
    for row, thing in enumerate(world.state().objects):
        across, down = frames.seen[0, 0, row]
        if np.isnan(across) or thing.colour not in ("red", "green", "blue") or thing.shape != "block":
            continue
        pixel = frames.scene[0, int(down), int(across)].astype(int)
        assert pixel.argmax() == ("red", "green", "blue").index(thing.colour), thing.name


@pytest.mark.parametrize("camera, across, down", [("scene", 40.0, 60.5), ("scene", 2.0, 31.0), ("wrist", 33.3, 12.0), ("wrist", 61.0, 62.0)])
def test_the_four_cells_around_a_place_average_to_it(camera: str, across: float, down: float) -> None:
    cells, shares = corners(camera, np.array([[across, down]], np.float32))
    columns = {"scene": 24, "wrist": 16}[camera]
    first = {"scene": 28, "wrist": 0}[camera]
    assert shares.sum() == pytest.approx(1.0)
    assert float((shares * (cells % columns + 0.5)).sum() * 4) == pytest.approx(across, abs=1e-4)
    assert float((shares * (cells // columns + 0.5)).sum() * 4 + first) == pytest.approx(down, abs=1e-4)


def test_what_is_in_no_image_is_nowhere_and_in_no_cell() -> None:
    places = np.array([[np.nan, np.nan], [10.0, 5.0]], np.float32)  # the second is above the rows that show the table
    assert (where("scene", places)[:, -1] == 1.0).all() and where("scene", places)[:, :-1].sum() == 0.0
    likely = stands("scene", places[None], np.array([[[0, 0], [1, 1]]], np.int8))
    assert likely[..., 6].min() == 1.0 and likely[..., 10].min() == 1.0


def test_a_hand_that_points_down_has_its_tool_where_the_chain_says() -> None:
    joints = chain.joints_for(np.array([0.3, 0.1, 0.12]), chain.pointing_down(0.7))
    place, _ = chain.tool_pose(joints)
    np.testing.assert_allclose(tool_of(torch.tensor(joints))[:3], place, atol=1e-6)


# -- words -------------------------------------------------------------------------------------------------------


def test_every_word_of_training_and_of_the_splits_is_in_the_lexicon() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        for kind in TASKS:
            thing = Named("red", "block") if kind != "reach" else Named("green", "bowl")
            intent = ArmIntent(kind, thing if TASKS.index(kind) < 6 else None, Named("blue", "bowl") if "put" in kind else None)
            for split in ("known", "unseen_words"):
                assert len(TABLE.encode(say_arm(rng, intent, split))) <= LENGTH


def test_texts_mean_what_the_grammar_reads_and_nonsense_is_none_that_is_learned() -> None:
    rng = np.random.default_rng(1)
    ids, mask, meant = texts(rng, 6, 3)
    assert ids.shape == (9, LENGTH) and (mask == (ids > 0)).all() and (meant[6:, 0] == UNCLEAR).all()
    for row in range(6):
        text = " ".join(TABLE.words[number] for number in ids[row] if number)
        assert said_of(parse_arm(text)) == tuple(meant[row].tolist()), text
    for _ in range(50):
        assert TABLE.encode(nonsense(rng))


# -- the recipe --------------------------------------------------------------------------------------------------


def test_the_loss_falls_and_a_killed_run_goes_on_to_the_same_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = dagger.train_dagger(RECIPE, tmp_path / "straight", workers=1, say=lambda _: None)
    losses = [row["loss"] for row in straight.metrics]
    assert straight.step == RECIPE.steps == 16 and losses[-1] < losses[0]

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dagger, "_driven", dies)  # in the middle: images placed, trained, nothing driven yet
        dagger.train_dagger(RECIPE, tmp_path / "killed", workers=1, say=lambda _: None)
    dagger.train_dagger(RECIPE, tmp_path / "killed", workers=1, resume=True, say=lambda _: None)
    one, other = (from_pretrained(tmp_path / name / "policy") for name in ("straight", "killed"))
    assert isinstance(one, TableVLA)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    with pytest.raises(ValueError, match="has robot arm, and now it is cart"):
        dagger.train_dagger(replace(RECIPE, robot="cart"), tmp_path / "killed", resume=True)


def test_an_unknown_robot_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown robot 'boat'; known are: arm, cart"):
        replace(RECIPE, robot="boat").config()


def test_what_a_policy_meets_is_labelled_and_of_the_same_seed_the_same() -> None:
    def still(states: np.ndarray, images: Any, said: np.ndarray) -> np.ndarray:
        assert states.shape[1] == len(TABLE_STATE) and images[0]["wrist"].shape == (64, 64, 3) and said.shape[1] == 5
        return np.concatenate([states[:, :6], np.ones((len(states), 1), np.float32)], 1)

    first, second = (drive(still, 5, STEPS, 7, arms=1, expert=0.0) for _ in range(2))
    assert len(first) == 5 and first.said.shape[1] == SAID
    for array in fields(ArmFrames):
        assert np.array_equal(getattr(first, array.name), getattr(second, array.name), equal_nan=True)


# -- the policy --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = TableVLA(RECIPE.config())
    save_pretrained(model, tmp_path_factory.mktemp("arm") / "policy")
    return tmp_path_factory.getbasetemp() / "arm0" / "policy"


def observe(world: ArmWorld, text: str, number: int = 1, stamp: int = 0) -> Observation:
    return Observation(stamp, Instruction(0, number, text), look(world), world.joint_states())


def test_its_spec_is_both_cameras_and_the_joints_and_needs_no_weights(checkpoint: Path) -> None:
    spec = policy_spec("builtin_arm", {"checkpoint": str(checkpoint)})
    assert spec.images == {"scene": (96, 96), "wrist": (64, 64)} and spec.step == 100_000_000
    assert spec.channels == (*chain.NAMES, "gripper") and spec.state == (*chain.NAMES, chain.FINGER)


def test_without_words_the_arm_stays_where_it_is(world: ArmWorld, checkpoint: Path) -> None:
    policy = make_policy("builtin_arm", {"checkpoint": str(checkpoint)})
    rows = policy.predict(observe(world, " "))
    joints = list(world.joint_states().values())[:6]
    np.testing.assert_allclose(rows, np.tile([*joints, 1.0], (STEPS, 1)), atol=1e-6)


@pytest.mark.parametrize("text, sentence", [
    ("fly to the moon", "ask for what this arm cannot do"), ("paint the fence", "ask for what this arm cannot do"), ("???", "there is no word in"),
    ("push the red block", "ask to push the red block, which this policy did not learn"),
    ("go home, then push the red block", "ask to push the red block")])
def test_words_that_it_cannot_follow_are_refused_every_time(world: ArmWorld, checkpoint: Path, text: str, sentence: str) -> None:
    policy = make_policy("builtin_arm", {"checkpoint": str(checkpoint)})
    for _ in range(2):
        with pytest.raises(NotUnderstood, match=sentence):
            policy.predict(observe(world, text))


def test_the_gripper_s_last_command_and_its_change_are_told(checkpoint: Path) -> None:
    policy: Any = make_policy("builtin_arm", {"checkpoint": str(checkpoint)})
    state = dict.fromkeys(chain.NAMES, 0.1)

    def told(stamp: int, finger: float) -> np.ndarray:
        observation = Observation(stamp, Instruction(0, 1, ""), {}, {**state, chain.FINGER: finger})
        return policy._state(observation, policy._speeds(observation)[1])

    assert told(0, 0.04)[6:].tolist() == [1.0, 1.0, 0.0]
    policy._command = 0.0
    np.testing.assert_allclose(told(50_000_000, 0.03)[6:], [0.75, 0.0, -0.5])  # of a tenth of a second
    np.testing.assert_allclose(told(50_000_000, 0.03)[6:], [0.75, 0.0, 0.0])  # the same image again


@pytest.mark.parametrize("passed, speed", [
    (0.1, 0.5), (LONGEST_GAP_S, 0.1), (LONGEST_GAP_S + 0.001, np.inf), (0.0, np.inf), (-0.1, np.inf),
    (0.01, 1.0)])  # as of 0.05 s
def test_how_fast_a_joint_turns_is_by_the_images_times(checkpoint: Path, passed: float, speed: float) -> None:
    policy: Any = make_policy("builtin_arm", {"checkpoint": str(checkpoint)})

    def see(seconds: float, joint: float) -> float:
        state = {**dict.fromkeys(chain.NAMES, 0.1), "joint_2": joint, chain.FINGER: 0.04}
        return policy._speeds(Observation(round(seconds * 1e9), Instruction(0, 1, ""), {}, state))[0]

    assert see(5.0, 0.2) == np.inf  # nothing was before
    assert see(5.0 + passed, 0.25) == pytest.approx(speed)


def test_rows_add_up_and_next_to_nothing_is_standing_still() -> None:
    class Output:
        rows = torch.full((2, 3, 6), 0.5)
        gripper = torch.tensor([[1.0, -1.0, 1.0]] * 2)

    Output.rows[1] = 0.001
    states = np.zeros((2, 9), np.float32)
    rows = rows_of(Output, states)  # type: ignore[arg-type]
    np.testing.assert_allclose(rows[0, :, 0], np.array([0.5, 1.0, 1.5]) * ROW_RAD, rtol=1e-6)
    assert (rows[1, :, :6] == 0.0).all() and rows[0, :, 6].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("move, planned, done", [
    (0.0, [0.0, 1.0, 1.0], 1.0), (0.99 * SETTLED_RAD, [1.0, 0.0, 1.0], 0.0), (0.99 * SETTLED_RAD, [0.0, 0.0, 1.0], 0.0),
    (1.01 * SETTLED_RAD, [0.0, 1.0, 1.0], 0.0), (-1.01 * SETTLED_RAD, [1.0, 0.0, 0.0], 1.0), (0.0, [1.0], 1.0)])
def test_an_arm_that_hardly_moves_does_not_put_off_what_its_gripper_is_to_do(move: float, planned: list[float], done: float) -> None:
    """Over the place it would open its fingers a step later, and at the next image a step later again."""
    state = np.zeros(9, np.float32)
    rows = np.zeros((len(planned), 7), np.float32)
    rows[0, 3], rows[:, 6] = move, planned
    changed = undelayed(rows, state)
    assert changed[0, 6] == done
    assert (changed[1:] == rows[1:]).all() and (changed[:, :6] == rows[:, :6]).all()


@pytest.mark.parametrize("options, sentence", [
    ({"threads": 0}, "threads is 0; give a whole number from 1 up"),
    ({"engine": "eager"}, "policy 'builtin_arm' has no option 'engine'; it has checkpoint, threads"),
    ({"checkpoint": "/nowhere"}, "there is no checkpoint in '/nowhere'"),
    ({"checkpoint": str(BUILTIN_ARM.with_name("pretrained"))}, "is a end_to_end model; give one that vla train dagger --robot arm wrote")])
def test_options_that_are_none_are_refused(checkpoint: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_policy("builtin_arm", {"checkpoint": str(checkpoint), **options})


# -- the checkpoint of the package -------------------------------------------------------------------------------


def test_the_package_s_checkpoint_is_small_and_knows_words_and_what_it_was_not_taught(world: ArmWorld) -> None:
    assert sum(path.stat().st_size for path in BUILTIN_ARM.iterdir()) < 6_000_000
    policy: Any = make_policy("builtin_arm")
    for text, said in (("pick up the red cube", (1, 0, 0, 6, 3)), ("put the violet mug next to the lemon dish", (4, 5, 1, 2, 2)), ("halt", (9, 6, 3, 6, 3))):
        assert tuple(policy._told(*policy._understood(text))) == said
    for text in ("push the red block", "the red block", "pick up"):
        with pytest.raises(NotUnderstood):
            policy._understood(text)


def test_an_arm_that_gets_no_further_says_so_and_goes_on_by_itself_no_more(world: ArmWorld) -> None:
    """It is held where it is, as by something in its way; then pushed."""
    world.reset(3)
    policy: Any = make_policy("builtin_arm")
    block = next(thing.name for thing in world.scene.objects if thing.name.endswith("block"))
    seen = [observe(world, f"pick up the {block}", stamp=stamp * 50_000_000) for stamp in range(round(STUCK_S / 0.05) + 3)]
    with pytest.raises(NotUnderstood, match=f"gets no further with 'pick up the {block}'"):
        for observation in seen[:-1]:
            policy.predict(observation)
    seen[-1].state["joint_1"] += 0.1
    with pytest.raises(NotUnderstood, match="gets no further"):
        policy.predict(seen[-1])


def test_one_step_after_another_is_done_and_announced(world: ArmWorld) -> None:
    world.reset(3)
    policy: Any = make_policy("builtin_arm")
    text = "close the gripper, then open the gripper"
    stamp = 0
    for _ in range(60):
        row = policy.predict(observe(world, text, stamp=stamp))[0]
        obey_row(world, row.astype(float))
        world.step(ARM_STEP_S)
        stamp += 100_000_000
    assert policy.announcements == ("step 1 of 2: close the gripper", "step 2 of 2: open the gripper", "all 2 steps are done")
    assert world.state().opening > 0.07
    policy.reset()  # what was half done does not begin again
    for _ in range(2):
        with pytest.raises(NotUnderstood, match="was reset in 'step 2 of 2: open the gripper'; say what is left"):
            policy.predict(observe(world, text, stamp=stamp))
    assert policy.predict(observe(world, "stop", 2, stamp)).shape == (STEPS, 7)


def test_what_is_not_on_the_table_is_said_and_does_not_move_the_arm(world: ArmWorld) -> None:
    world.reset(3)
    policy = make_policy("builtin_arm")
    colours = {thing.colour for thing in world.state().objects}
    absent = next(colour for colour in ("red", "blue", "yellow", "purple", "orange", "green") if colour not in colours)
    joints = np.array(list(world.joint_states().values())[:6])
    with pytest.raises(NotUnderstood, match="does not see what the words"):
        for number in range(round(ABSENT_S / 0.1) + 1):
            rows = policy.predict(observe(world, f"pick up the {absent} block", stamp=number * 100_000_000))
            assert np.abs(rows[:, :6] - joints).max() < 0.3
