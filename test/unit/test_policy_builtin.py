"""The policy that runs a VLA: what it refuses, when it holds, when it gives up, and what it says about itself."""
from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make, tiny, words_for

from vla_ros.core.types import Instruction, Observation
from vla_ros.models import stages
from vla_ros.models.checkpoint import save_pretrained
from vla_ros.models.heads.auxiliary import TASKS
from vla_ros.models.vla import VLA
from vla_ros.policies import builtin, make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.builtin import Builtin
from vla_ros.policies.following import LOOK_IMAGES, SEARCH_LIMIT_RAD
from vla_ros.policies.progress import SCALES, SURE_IMAGES, Progress

GO_TO, NONE = 0, TASKS - 1
STEP = 80_000_000  # ns between images


def untrained(task: int = GO_TO, nowhere: float = 0.0, actions: tuple[float, ...] = ()) -> VLA:
    """A tiny model that takes all words for `task`; `nowhere` is the logit of the target being out of view, beside
    those of the cells, which are 0; `actions`: what it always does, in the decoder's units."""
    model = make(state=tuple(SCALES), auxiliary=True)
    with torch.no_grad():
        model.auxiliary.task.bias[task] = 20.0
        for named in (model.auxiliary.colour, model.auxiliary.shape):  # the words name neither, so all cells match alike
            named.weight.zero_()
            named.bias.copy_(torch.tensor([-99.0] * (named.out_features - 1) + [99.0]))
        model.fusion.middle.weight.zero_(), model.fusion.middle.bias.zero_()
        model.fusion.nowhere.weight.zero_()
        model.fusion.nowhere.bias.fill_(nowhere)
        if actions:
            last = [part for part in model.head.modules() if isinstance(part, torch.nn.Linear)][-1]
            last.weight.zero_()
            last.bias.copy_(torch.tensor(actions).repeat(model.config.steps))
    return model


def policy_of(folder: Path, **options: Any) -> Builtin:
    save_pretrained(untrained(**options), folder / "model")
    return made(folder / "model")


def made(folder: Path) -> Builtin:
    return Builtin({"checkpoint": str(folder), "engine": "eager", "engine_cache": "none"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "model"
    save_pretrained(untrained(), path)
    return path


@pytest.fixture
def policy(folder: Path) -> Builtin:
    return made(folder)


def seen(text: str = "go to the red block", instruction_id: int = 1, count: int = 0, **state: float) -> Observation:
    image = np.random.default_rng(count).integers(0, 255, (32, 64, 3)).astype(np.uint8)
    given = {"odom.x": 0.0, "odom.y": 0.0, "odom.yaw": 0.0, "gripper_joint": 0.1, **state}
    return Observation(count * STEP, Instruction(0, instruction_id, text), {"camera": image}, given)


def told(policy: Builtin, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """What the model is told about the robot's progress, image by image, from now on."""
    features: list[dict[str, float]] = []
    act = policy._compiled.decode_action

    def listen(image: Any, read: Any, state: list[float]) -> Any:
        features.append(dict(zip(SCALES, state)))
        return act(image, read, state)

    monkeypatch.setattr(policy._compiled, "decode_action", listen)
    return features


# -- what it gives -------------------------------------------------------------------------------------------
def test_rows_are_as_the_spec_says(policy: Builtin, folder: Path) -> None:
    spec = policy_spec("builtin", {"checkpoint": str(folder)})
    assert (spec.channels, spec.steps, spec.step, spec.images) == (
        ("linear.x", "angular.z", "gripper"), 4, 100_000_000, {"camera": (32, 64)})
    rows = policy.predict(seen(count=5, instruction_id=7))
    assert isinstance(rows, np.ndarray) and rows.shape == (4, 3) and rows.dtype == np.float32
    assert policy.name == make_policy("builtin", {"checkpoint": str(folder)}).name
    assert policy.name.startswith("builtin@") and len(policy.name) > 8


def test_the_same_images_and_words_give_the_same_chunks(folder: Path) -> None:
    first, second = (made(folder) for _ in range(2))
    for count in range(3):
        observation = seen(count=count, **{"odom.yaw": 0.2 * count})
        assert np.array_equal(first.predict(observation), second.predict(observation))


@pytest.mark.parametrize(("linear", "angular", "gripper", "wanted"), [
    (0.0199, 0.0299, 0.51, [0.0, 0.0, 1.0]), (-0.0199, -0.0299, 0.49, [0.0, 0.0, 0.0]),
    (0.021, -0.031, 0.9, [0.021, -0.031, 1.0]), (-0.021, 0.031, 0.1, [-0.021, 0.031, 0.0]),
])
def test_what_is_too_slow_to_be_meant_is_nothing_and_the_gripper_opens_or_closes(
        linear: float, angular: float, gripper: float, wanted: list[float]) -> None:
    output = untrained()(torch.rand(1, 3, 32, 64), torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool),
                         torch.zeros(1, 6))
    progress = Progress()
    with torch.no_grad():
        rows = builtin.actions(stages.told(output._replace(actions=torch.tensor([[[linear, angular, gripper]] * 4]))),
                           [progress])
    np.testing.assert_allclose(rows, [[wanted] * 4], rtol=1e-6)
    assert progress.command == wanted[2]


def test_what_it_saw_goes_into_its_progress() -> None:
    model = untrained()
    with torch.no_grad():
        output = model(torch.rand(2, 3, 32, 64), torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool),
                       torch.zeros(2, 6))
        attention = torch.zeros_like(output.attention)
        attention[1, -1] = 9.0  # the second does not see it
        extra = output.auxiliary._replace(target=torch.tensor([[0.5, -0.1]] * 2), contact=torch.tensor([1.0, 1.0]))
        both = [Progress(), Progress()]
        both[1].contact = True
        for _ in range(SURE_IMAGES):
            builtin.actions(stages.told(output._replace(attention=attention, auxiliary=extra)), both)
    assert [one.side for one in both] == [-1.0, 1.0] and [one.contact for one in both] == [True, False]


# -- words ---------------------------------------------------------------------------------------------------
def test_an_unknown_word_is_refused_by_name_every_time(policy: Builtin) -> None:
    for _ in range(2):
        with pytest.raises(NotUnderstood, match="the words 'go to the flange' are not understood"):
            policy.predict(seen("go to the flange"))
    assert policy.predict(seen("go to the red block", 2)).shape == (4, 3)


@pytest.fixture(scope="module", params=["small", "lstm", "static", "minilm"])
def listener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Builtin:
    folder = tmp_path_factory.mktemp("listener") / "other"
    other(folder, {"language": request.param, "fusion": "late"})
    return made(folder)


@pytest.mark.parametrize("text", ["!!!", ".", "…", "👍", "\u200b", "a" * 200, "turn " * 200, "иди", "\x00\x07", "\ud83d"], ids=ascii)
def test_whatever_is_said_is_no_fault(listener: Builtin, text: str) -> None:
    listener.reset()
    for _ in range(2):
        with pytest.raises(NotUnderstood, match=r"no word|not know|at most 20|200 words"):
            listener.predict(seen(text))
    listener.predict(seen("turn left", 2))


@given(text=st.text() | st.text("goredblckturnlf! .-"))
def test_any_text_moves_the_robot_or_is_refused(policy: Builtin, text: str) -> None:
    try:
        policy.predict(seen(text, instruction_id=hash(text)))
    except NotUnderstood as problem:
        assert str(problem)


def test_words_that_say_nothing_are_refused_with_examples(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, task=NONE)
    with pytest.raises(NotUnderstood, match="'turn left' say nothing that this policy can do; try"):
        policy.predict(seen("turn left"))


@pytest.mark.parametrize(("joint", "gripper"), [(0.1, 1.0), (0.02, 0.0)])
@pytest.mark.parametrize("text", ["", "   "])
def test_without_words_it_stands_and_holds_the_gripper(policy: Builtin, text: str, joint: float, gripper: float) -> None:
    rows = policy.predict(seen(text, gripper_joint=joint))
    assert not rows[:, :2].any() and (rows[:, 2] == gripper).all()


def test_a_grip_outlasts_the_instruction(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, actions=(0.0, 0.0, -3.0))
    for _ in range(LOOK_IMAGES):
        rows = policy.predict(seen(gripper_joint=0.1))
    assert (rows[:, 2] == 0.0).all()  # it closes
    assert (policy.predict(seen("", 2, gripper_joint=0.095))[:, 2] == 0.0).all()  # held wide open by an object
    policy.reset()
    assert (policy.predict(seen("", 3, gripper_joint=0.095))[:, 2] == 1.0).all()  # measured anew


@pytest.mark.parametrize(("speed", "closes"), [(0.0, True), (0.3, False)])
def test_a_robot_that_stands_does_not_put_off_its_grip(policy: Builtin, monkeypatch: pytest.MonkeyPatch, speed: float,
                                                       closes: bool) -> None:
    act = policy._compiled.decode_action

    def later(*given: Any) -> Any:
        chunk = torch.tensor([[[speed, 0.0, 0.55], *[[0.0, 0.0, 0.1]] * 3]])
        return act(*given) | {"actions": chunk}
    monkeypatch.setattr(policy._compiled, "decode_action", later)
    for _ in range(LOOK_IMAGES):
        rows = policy.predict(seen())
    assert rows[0, 2] == (0.0 if closes else 1.0)
    assert policy._progress.command == (0.0 if closes else 1.0)


# -- progress ------------------------------------------------------------------------------------------------
def test_a_new_instruction_starts_its_progress_anew(policy: Builtin, monkeypatch: pytest.MonkeyPatch) -> None:
    features = told(policy, monkeypatch)
    for count, instruction_id in enumerate((1, 1, 1, 2, 2)):
        policy.predict(seen("turn left", instruction_id, count, **{"odom.yaw": 0.1 * count}))
    turned = [one["turned"] * SCALES["turned"] for one in features]
    assert turned == pytest.approx([0.0, 0.1, 0.2, 0.0, 0.1])


@pytest.mark.parametrize(("text", "again"), [
    ("go to the red block", True), ("open the gripper", True), ("turn left", False), ("go to the red block, then turn around", True)])
def test_after_a_reset_an_amount_that_is_half_done_does_not_begin_again(policy: Builtin, text: str, again: bool) -> None:
    policy.predict(seen(text))
    policy.reset()
    policy.predict(seen(text))  # nothing of it was done
    policy.predict(seen(text, count=1, **{"odom.yaw": 0.3}))
    policy.reset()
    policy.reset()
    if again:
        policy.predict(seen(text, **{"odom.yaw": 0.3}))
        return
    for _ in range(2):
        with pytest.raises(NotUnderstood, match="^the policy was reset in 'turn left'; say what is left to do$"):
            policy.predict(seen(text, **{"odom.yaw": 0.3}))
    policy.predict(seen(text, 2, **{"odom.yaw": 0.3}))  # said again


def test_odometry_that_is_missing_is_a_sentence(policy: Builtin) -> None:
    blind = seen()
    with pytest.raises(ValueError, match="no 'odom.x'; this policy needs odometry"):
        policy.predict(Observation(0, blind.instruction, blind.images, {"gripper_joint": 0.1}))


def search(policy: Builtin, images: int, step: float = 0.8, instruction_id: int = 1,
           text: str = "go to the red block") -> int:
    """Images until it gives up, the robot turning by `step` (rad) from one to the next."""
    for count in range(images):
        yaw = math.remainder(step * count, 2 * math.pi)
        try:
            policy.predict(seen(text, count=count, instruction_id=instruction_id, **{"odom.yaw": yaw}))
        except NotUnderstood as problem:
            assert "turned a full circle and did not see what the words name" in str(problem)
            return count
    return images


def test_it_gives_up_after_a_full_circle_without_the_target(tmp_path: Path) -> None:
    turning = policy_of(tmp_path / "turning", nowhere=9.0, actions=(0.0, 1.0, 3.0))
    looking = LOOK_IMAGES - 2  # turns between images that it looks at before it searches
    assert search(turning, 12) == math.ceil(SEARCH_LIMIT_RAD / 0.8) + looking == 11
    assert search(turning, 8) == 0  # and stays with it
    assert search(turning, 8, instruction_id=2) == 8  # until it is told again
    assert search(policy_of(tmp_path / "sees", nowhere=-9.0, actions=(0.0, 1.0, 3.0)), 12) == 12
    assert search(policy_of(tmp_path / "drives", nowhere=9.0, actions=(1.0, 1.0, 3.0)), 12) == 12
    assert search(policy_of(tmp_path / "turns", nowhere=9.0, actions=(0.0, 1.0, 3.0)), 12, text="turn left") == 12


@pytest.mark.parametrize(("running", "images"), [(SURE_IMAGES - 1, 11), (SURE_IMAGES, 30)])
def test_a_glimpse_of_something_like_the_target_does_not_prolong_the_search(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: int, images: int) -> None:
    policy = policy_of(tmp_path / "turning", nowhere=9.0, actions=(0.0, 1.0, 3.0))
    act, count = policy._compiled.decode_action, itertools.count()

    def glimpse(*given: Any) -> Any:
        here = torch.zeros(1) if next(count) % 5 < running else torch.ones(1)
        return act(*given) | {"nowhere": here}
    monkeypatch.setattr(policy._compiled, "decode_action", glimpse)
    assert search(policy, 30) == images


# -- explain -------------------------------------------------------------------------------------------------
def test_it_explains_itself_and_moves_nothing_on(folder: Path) -> None:
    quiet, asked = (made(folder) for _ in range(2))
    for count in range(3):
        observation = seen(count=count, **{"odom.x": 0.1 * count})
        said = asked.explain(observation)
        assert said["attention"].shape == said["cell_colour"].shape == said["cell_shape"].shape == (4, 8)
        assert said["attention"].sum() + said["nowhere"] == pytest.approx(1.0, abs=1e-5)
        assert said["cell_colour"].min() >= 0 and said["cell_colour"].max() <= 6 and said["cell_shape"].max() <= 3
        assert len(said["target"]) == 2 and 0.0 <= said["completion"] <= 1.0
        asked.explain(seen("turn left", 99))
        assert np.array_equal(asked.predict(observation), quiet.predict(observation))


# -- options and checkpoints ---------------------------------------------------------------------------------
def test_the_spec_reads_no_torch(folder: Path) -> None:
    code = ("import sys; sys.modules['torch'] = None\n"
            "from vla_ros.policies import policy_spec\n"
            f"print(policy_spec('builtin', {{'checkpoint': {str(folder)!r}}}).images)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "{'camera': (32, 64)}", done.stderr


@pytest.mark.parametrize("make_it", [Builtin, Builtin.spec])
def test_an_unknown_option_and_a_missing_checkpoint_are_named(make_it: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no option 'chekpoint'; it has checkpoint, threads"):
        make_it({"chekpoint": "x"})
    with pytest.raises(ValueError, match=r"nowhere', and there is no config.json; give a folder that vla train wrote"):
        make_it({"checkpoint": str(tmp_path / "nowhere")})


# -- models that do not say where they look ------------------------------------------------------------------
OTHERS: list[dict[str, Any]] = [
    {}, {"fusion": "early", "state": ("linear.x", "turned")}, {"language": "lstm", "fusion": "late", "head": "planner"},
    {"vision": "resnet18", "fusion": "transformer", "model": "modular"},
    {"language": "static", "fusion": "cross_attention"}, {"language": "minilm", "fusion": "late"},
    {"channels": ("joint1", "linear.x"), "low": (-1.0, -0.2), "high": (1.0, 0.2), "state": ("joint1",)},
]
MEASURED = {"linear.x": 0.3, "joint1": -0.4}
SPREAD = {"state": {"linear.x": {"mean": 0.1, "std": 0.4}, "joint1": {"mean": -0.5, "std": 0.0}}}


def other(folder: Path, changes: dict[str, Any]) -> VLA:
    model = make(**changes)
    model.statistics = SPREAD
    model.tokenizer = model.tokenizer or words_for(model)
    save_pretrained(model, folder)
    return model.eval()


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_what_any_other_model_says_is_obeyed_as_it_is(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = other(tmp_path / "other", changes)
    policy = made(tmp_path / "other")
    now = seen("turn left", **MEASURED)
    rows = policy.predict(now)
    told = {"linear.x": (0.3 - 0.1) / 0.4, "turned": 0.0, "joint1": -0.4 + 0.5}  # one that never changed keeps its unit
    ids = torch.tensor([model.tokenizer.encode("turn left")])
    state = torch.tensor([[told[name] for name in model.config.state]]) if model.config.state else None
    with torch.inference_mode():
        wanted = model(torch.from_numpy(now.images["camera"]).permute(2, 0, 1)[None], ids, ids > 0, state).actions[0]
    spec = policy_spec("builtin", {"checkpoint": str(tmp_path / "other")})
    assert spec.channels == model.config.channels and rows.shape == (model.config.steps, len(spec.channels))
    assert np.allclose(rows, wanted.numpy(), atol=1e-5) and policy.explain is None


def test_without_words_it_holds_what_is_measured(tmp_path: Path) -> None:
    other(tmp_path / "other", OTHERS[-1])
    assert (made(tmp_path / "other").predict(seen("", **MEASURED)) == np.array([-0.4, 0.0], np.float32)).all()


def test_words_and_numbers_that_another_model_does_not_have_are_sentences(tmp_path: Path) -> None:
    other(tmp_path / "words", OTHERS[2])
    with pytest.raises(ValueError, match="jump"):
        made(tmp_path / "words").predict(seen("jump"))
    other(tmp_path / "state", OTHERS[-1])
    with pytest.raises(ValueError, match="the robot's joint1, which is not measured; there are .*odom.x"):
        made(tmp_path / "state").predict(seen("turn left"))


def test_a_number_that_nobody_knows_is_refused_before_the_weights_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny(state=("turned", "battery")).to_dict()))
    (tmp_path / "statistics.json").write_text("{}")
    for make_it in (Builtin.spec, Builtin):
        with pytest.raises(ValueError, match="wants 'battery' beside the image, of which its statistics say nothing"):
            make_it({"checkpoint": str(tmp_path)})


# -- a state that training never saw, cameras ----------------------------------------------------------------
STOOD = {"state": {"linear.x": {"mean": 0.1, "std": 0.4, "min": -0.3, "max": 0.5},
                   "joint1": {"mean": 0.5, "std": 1.6e-6, "min": 0.499995, "max": 0.500005}}}


def cloned(folder: Path, statistics: Any = STOOD, **changes: Any) -> Builtin:
    """Of a model that was told a speed and a joint, which stood still in training."""
    model = make(channels=("joint1", "linear.x"), low=(-1.0, -0.2), high=(1.0, 0.2), state=("linear.x", "joint1"), **changes)
    model.statistics = statistics
    save_pretrained(model, folder)
    return made(folder)


def test_a_joint_that_stood_still_in_training_is_not_told_as_thousands_of_deviations(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, told = cloned(tmp_path / "clone"), []
    act = policy._compiled.decode_action
    monkeypatch.setattr(policy._compiled, "decode_action", lambda image, read, state: (told.append(state), act(image, read, state))[1])
    policy.predict(seen("turn left", **{"linear.x": 0.3, "joint1": 0.52}))
    policy.predict(seen("turn left", **{"linear.x": 99.0, "joint1": -70.0}))
    assert told == [[pytest.approx(0.5), pytest.approx(0.02)], [8.0, -8.0]]


def test_a_state_far_outside_training_is_warned_of_once_an_instruction(tmp_path: Path) -> None:
    policy = cloned(tmp_path / "clone")
    policy.predict(seen("turn left", **{"linear.x": 0.3, "joint1": 0.52}))
    assert policy.warnings == [] and "far outside training" not in policy.describe()
    for value in (0.9, 0.95):
        policy.predict(seen("turn left", **{"linear.x": 0.3, "joint1": value}))
    assert len(policy.warnings) == 1 and policy.describe()["far outside training"] == "joint1"
    assert "the robot's joint1 is 0.9, far outside what the policy saw in training (0.5 to 0.5)" in policy.warnings[0]
    policy.predict(seen("turn left", 2, **{"linear.x": 0.3, "joint1": 0.52}))
    assert policy.warnings == []


def test_statistics_that_are_none_are_refused_before_the_weights_are_loaded(tmp_path: Path) -> None:
    cloned(tmp_path / "clone")
    (tmp_path / "clone" / "statistics.json").write_text(json.dumps({"state": {"linear.x": {}, "joint1": {}}}))
    with pytest.raises(ValueError, match="the statistics of 'linear.x' are"):
        Builtin.spec({"checkpoint": str(tmp_path / "clone")})


def test_a_checkpoint_asks_for_the_camera_that_it_learned_from(tmp_path: Path) -> None:
    policy = cloned(tmp_path / "clone", cameras=("front",))
    spec = policy_spec("builtin", {"checkpoint": str(tmp_path / "clone")})
    assert spec.images == {"front": (32, 64)} and spec.state == ("linear.x", "joint1")
    now = seen("turn left", **{"linear.x": 0.3, "joint1": 0.5})
    image = now.images["camera"]
    wanted = policy.predict(replace(now, images={"front": image}))
    both = replace(now, images={"wrist": np.zeros((32, 64, 3), np.uint8), "front": image})
    assert np.array_equal(policy.predict(both), wanted)  # not through whichever comes first
    with pytest.raises(ValueError, match="looks through front of 32 x 64, and the observation has wrist of 32 x 64"):
        policy.predict(replace(now, images={"wrist": image}))


def test_a_checkpoint_that_names_no_camera_looks_through_the_one_called_camera(policy: Builtin, folder: Path) -> None:
    assert policy_spec("builtin", {"checkpoint": str(folder)}).images == {"camera": (32, 64)}
    now = seen()
    with pytest.raises(ValueError, match="looks through camera of 32 x 64, and the observation has front of 32 x 64"):
        policy.predict(replace(now, images={"front": now.images["camera"]}))


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two", True, None])
def test_threads_that_are_none_are_a_sentence(folder: Path, threads: Any) -> None:
    with pytest.raises(ValueError, match="policy 'builtin': threads is .*; give a whole number from 1 up"):
        Builtin({"checkpoint": str(folder), "threads": threads})


def test_threads_are_torch_s(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        Builtin({"checkpoint": str(folder), "threads": 2})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("share", "refused"), [(0.5, False), (0.89, False), (0.9, False), (0.91, True)])
def test_words_are_refused_where_it_is_nine_tenths_sure_that_they_say_nothing(
        policy: Builtin, monkeypatch: pytest.MonkeyPatch, share: float, refused: bool) -> None:
    task = torch.full((1, TASKS), (1.0 - share) / (TASKS - 1))
    task[0, NONE] = share
    monkeypatch.setattr(policy._compiled, "encode_text", lambda text: {"task": task})
    if not refused:
        assert policy._understood("turn left")["task"] is task
        return
    with pytest.raises(ValueError, match="the words 'turn left' say nothing that this policy can do"):
        policy._understood("turn left")
