"""The room as a gymnasium environment: gymnasium's own check, and what an episode in it is."""
from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
pytest.importorskip("cv2", reason="color_servo needs OpenCV")
pytest.importorskip("gymnasium", reason="gymnasium is not installed")

import gymnasium
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FilterObservation
from test_expert import seen_by

from vla_ros.core.images import resize
from vla_ros.core.types import Instruction, Observation, to_nanoseconds
from vla_ros.policies.color_servo.policy import ColorServo
from vla_ros.policies.progress import Progress
from vla_ros.sim import expert
from vla_ros.sim.episode import DONE_FOR_S, Reward, robot_state
from vla_ros.sim.gym import ID, MAX_TRIES, STATE, STEP_S, Room
from vla_ros.sim.projection import in_view
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, UNSEEN_PAIRS
from vla_ros.tasks.success import judge

ROOT = Path(__file__).resolve().parents[2]
STILL = np.array([0.0, 0.0, 1.0], np.float32)  # with the gripper open


def make(**options: Any) -> Any:
    """With a camera as small as it can be, and skipped where nothing draws."""
    env = gymnasium.make(ID, **{"image_size": (16, 16), **options})
    try:
        env.reset(seed=0)
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    return env


@pytest.fixture(scope="module")
def env() -> Iterator[Any]:
    env = make()
    yield env
    env.close()


def test_gymnasium_s_own_check_finds_nothing_but_that_si_units_are_not_normalised() -> None:
    env = make(render_mode="rgb_array")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    env.close()
    # Odometry has no end, and a gripper is 0 to 1 where speeds are -1 to 1.
    known = ("Box observation space minimum value is -inf",
             "Box observation space maximum value is inf",
             "we recommend using a symmetric and normalized space")
    messages = [str(warning.message) for warning in found]
    assert not [message for message in messages if not any(text in message for text in known)]


def test_the_spaces_are_camera_state_words_and_the_robot_file_s_bounds(env: Any) -> None:
    observation, info = env.reset(seed=3)
    assert list(observation) == ["image", "state", "instruction"]
    assert observation in env.observation_space
    assert observation["image"].dtype == np.uint8 and observation["state"].dtype == np.float32
    assert set(STATE) == set(robot_state(env.unwrapped.world))
    assert env.unwrapped.channels == ("linear.x", "angular.z", "gripper")
    assert env.action_space.low.tolist() == pytest.approx([-1.0, -1.0, -0.1])
    assert env.action_space.high.tolist() == pytest.approx([1.0, 1.0, 1.1])
    assert info["is_success"] is False and info["distance"] >= 0.0


def test_the_same_seed_gives_the_same_episode_to_the_bit(env: Any) -> None:
    def play(seed: int) -> list[Any]:
        env.action_space.seed(seed)
        observation, info = env.reset(seed=seed)
        met = [observation["instruction"], info["room"], observation["image"].tobytes(),
               observation["state"].tobytes()]
        for _ in range(5):
            observation, reward, *_ = env.step(env.action_space.sample())
            met += [observation["image"].tobytes(), observation["state"].tobytes(), reward]
        return met

    first = play(7)
    play(8)
    assert play(7) == first and play(8)[:2] != first[:2]


# -- the expert, who knows the truth ---------------------------------------------------------------
def act(room: Room, progress: Progress) -> np.ndarray:
    """What the expert would do now."""
    progress.move(robot_state(room.world))
    now = seen_by(room.world, room.intent, progress)
    if in_view(now.ahead, now.left)[0]:
        progress.found(now.left[0], bool(expert.at_fingers(now.ahead, now.left)[0]))
    else:
        progress.lost()
    action = expert.decide(now)[0]
    progress.command = float(action[2])
    return action.astype(np.float32)


def instruction(kind: str, room: Room) -> str:
    words = {"go_to": "go to the {}", "face": "face the {}", "grab": "grab the {}",
             "push": "push the {}", "forward": "go forward", "back": "back up",
             "open": "open the gripper", "close": "close the gripper"}
    return words.get(kind, kind.replace("_", " ")).format(room.world.scene.objects[0].name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_expert_follows_every_kind_of_instruction(env: Any, kind: str) -> None:
    room = env.unwrapped
    env.reset(seed=1, options={"room": 5004})
    env.reset(seed=1, options={"room": 5004, "instruction": instruction(kind, room)})
    assert room.intent.kind == kind
    progress, rewards, ended = Progress(), [], (False, False)
    progress.command = 0.0 if kind == "open" else 1.0
    lacking = judge(room.intent, room.world.state(), room.world.state()).lacking
    while not any(ended):
        _, reward, *ended, info = env.step(act(room, progress))
        rewards.append(reward)
    assert ended == [True, False] and info["is_success"], info["sentence"]
    # What was lacking came in, whatever the way there, less the time, and the end's share.
    seconds = STEP_S * len(rewards)
    assert sum(rewards) == pytest.approx(lacking - Reward().time * seconds + Reward().done)


def test_a_policy_drives_it_by_the_observations_alone() -> None:
    policy = ColorServo({})
    spec = policy.spec({})
    size = spec.size_of("camera")
    env = make(instruction="go to the red block", image_size=size)
    observation, info = env.reset(seed=4)
    for step in range(1000):
        image = resize(observation["image"], size, spec.resize)
        stamp = to_nanoseconds(step * STEP_S)
        command = Instruction(0, 1, observation["instruction"])
        state = dict(zip(STATE, observation["state"].tolist()))
        rows = policy.predict(Observation(stamp, command, {"camera": image}, state))
        action = dict(zip(spec.channels, rows[0]))
        observation, _, terminated, truncated, info = env.step(
            np.array([action[name] for name in env.unwrapped.channels], np.float32))
        if terminated or truncated:
            break
    env.close()
    assert terminated and info["is_success"], info["sentence"]


# -- how an episode ends ---------------------------------------------------------------------------
def test_random_actions_get_nothing_done_and_time_ends_it() -> None:
    env = make(instruction="grab the red block", seconds=1.6)
    env.action_space.seed(0)
    env.reset(seed=2)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(20)]
    assert ends == [(False, False)] * 19 + [(False, True)]
    env.close()


def test_done_must_last_before_it_ends(env: Any) -> None:
    env.reset(options={"room": 5, "instruction": "open the gripper"})
    done = []
    for _ in range(60):
        *_, terminated, _, info = env.step(STILL)
        done.append(info["is_success"])
        if terminated:
            break
    lasting = len(done) - done.index(True)  # the image that shows it, and those until it counts
    assert not done[0] and (lasting - 2) * STEP_S < DONE_FOR_S <= lasting * STEP_S


def test_stop_is_said_to_a_robot_that_drives(env: Any) -> None:
    _, info = env.reset(options={"room": 5, "instruction": "stop"})
    assert not info["is_success"] and env.unwrapped.world.state().linear > 0.2


# -- which room and which words --------------------------------------------------------------------
def test_what_is_drawn_is_of_the_split_and_not_done_before_it_begins() -> None:
    for split in ("known", "pairs"):
        env = make(split=split)
        for seed in range(40):
            _, info = env.reset(seed=seed)
            intent = env.unwrapped.intent
            assert not info["is_success"] and info["room"] < 1_000_000
            assert ((intent.colour, intent.shape) in UNSEEN_PAIRS) == (split == "pairs")
            assert split == "known" or intent.kind in OBJECT_KINDS
        env.close()


def test_words_and_room_can_be_given(env: Any) -> None:
    observation, info = env.reset(options={"room": 16, "instruction": "turn left, please"})
    assert observation["instruction"] == "turn left, please" and info["room"] == 16
    assert env.unwrapped.intent.kind == "turn_left"


def test_the_words_can_be_left_out() -> None:
    env = FilterObservation(make(), ["image", "state"])
    assert list(env.observation_space) == list(env.reset(seed=0)[0]) == ["image", "state"]
    env.close()


def test_it_is_drawn_for_people_only_where_that_was_asked_for(env: Any) -> None:
    assert env.unwrapped.render() is None
    shown = make(render_mode="rgb_array")
    assert shown.render().shape == (480, 640, 3) and shown.render().dtype == np.uint8
    shown.close()


# -- what does not fit is a sentence ---------------------------------------------------------------
@pytest.mark.parametrize(("options", "said"), [
    ({"split": "all"}, "split is 'all'; give one of known, recombined"),
    ({"seconds": 0.0}, "seconds is 0.0; give more"),
    ({"instruction": "dance"}, "'dance' are not understood"),
    ({"instruction": ""}, "the instruction is ''; give 1 to 120"),
    ({"instruction": "turn\nleft"}, r"'turn\\nleft'; give"),
    ({"instruction": "x" * 121}, "give 1 to 120 letters"),
    ({"render_mode": "human"}, "render_mode is 'human'; give rgb_array or None"),
    ({"robot_file": ROOT / "config" / "robots" / "arm.yaml"},
     "the simulated robot linear.x, angular.z, gripper; give")])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Room(**options)


@pytest.mark.parametrize("action", [
    [0.0, 1.1, 0.5], [0.0, 0.0, -0.11], [0.0, np.nan, 0.5], [np.inf, 0.0, 0.5], [0.0, 0.0]])
def test_an_action_that_is_none_is_refused_and_nothing_moves(
        env: Any, action: list[float]) -> None:
    env.reset(options={"room": 5, "instruction": "turn left"})
    with pytest.raises(ValueError, match="its bounds for each of linear.x, angular.z, gripper"):
        env.unwrapped.step(action)
    assert env.unwrapped.world.time == 0.0


def test_the_bounds_themselves_are_obeyed(env: Any) -> None:
    env.reset(options={"room": 5, "instruction": "turn left"})
    for action in (env.action_space.low, env.action_space.high):
        env.unwrapped.step(action)


def test_what_the_rooms_do_not_have_is_a_sentence(env: Any) -> None:
    env.reset(options={"room": 5})
    there = {thing.colour for thing in env.unwrapped.world.scene.objects}
    missing = next(colour for colour in COLOURS if colour not in there)
    with pytest.raises(ValueError, match=f"the room has no {missing} ball"):
        env.reset(options={"room": 5, "instruction": f"go to the {missing} ball"})
    with pytest.raises(ValueError, match="reset has no option scene; it has room, instruction"):
        env.reset(options={"scene": 5})


def test_words_for_what_is_in_no_room_end_after_some(
        env: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> None:
        raise ValueError("the room has no red block")

    monkeypatch.setattr("vla_ros.sim.gym.judge", nothing)
    with pytest.raises(ValueError, match=f"{MAX_TRIES} rooms had nothing to be done that 'go to"):
        env.reset(options={"instruction": "go to the red block"})


def test_a_step_before_the_first_reset_is_refused() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset first"):
        Room(image_size=(16, 16)).step(STILL)


# -- the page --------------------------------------------------------------------------------------
def test_the_lines_in_the_docs_run_as_printed(env: Any, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "doc" / "demonstrations.md").read_text(encoding="utf-8")
    code = next(one for one in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if ID in one)
    exec(compile(code, "doc/demonstrations.md", "exec"), names := {})
    names["env"].close()
    assert names["done"] and names["info"]["is_success"]
    for said in (code, capsys.readouterr().out):  # releases of MuJoCo differ by a degree
        assert re.search(r"the robot turned \d+ of 90 degrees$", said, re.M)
