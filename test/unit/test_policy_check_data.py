"""`vla policy check --data`: each planted mistake is found by what the dataset's rows show, and a right pair has none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import policy_data
import pytest
from policy_data import ARM, CONFIG, FPS, NAMES, dataset, gripper, numbers, policy, so101, spec_of

from vla_ros.cli.main import main
from vla_ros.core.check_finding import DOUBTFUL, FITS, UNKNOWN, WRONG, CheckFinding
from vla_ros.core.normalisation import StateRange
from vla_ros.core.policy_file import PolicyFile, PolicyNumber, load_policy_file
from vla_ros.core.robot import Robot, load_robot
from vla_ros.policies.check import TrainingRanges, check_policy
from vla_ros.policies.check_data import check_data, exchanged
from vla_ros.policies.training_data import TrainingData, data_ranges, policy_columns


def findings(robot: Robot, file: PolicyFile, data: TrainingData) -> list[CheckFinding]:
    """All that the verb says on paper, with the dataset."""
    columns = policy_columns(file, spec_of(file), data)
    known = TrainingRanges()
    return [*check_policy(robot, file, data_ranges(data, columns, known)), *check_data(robot, file, data, known)]


def wrong(file: PolicyFile, data: TrainingData) -> list[CheckFinding]:
    return [finding for finding in findings(so101(), file, data) if finding.mark == WRONG]


def right_data(**changes: Any) -> TrainingData:
    return dataset(*numbers(), **changes)


# -- right pairs ---------------------------------------------------------------------------
def test_an_so101_in_degrees_and_its_policy_fit() -> None:
    said = findings(so101(), policy(), right_data())
    assert {finding.mark for finding in said} == {FITS}, [finding for finding in said if finding.mark != FITS]
    (motion,) = [finding for finding in said if finding.subject == "motion"]
    assert all(name in motion.text for name in NAMES)


def base_data(frames: int = 600) -> TrainingData:
    random = np.random.default_rng(3)
    drive = policy_data.smooth(random, 0.0, 0.4, frames, 9)
    turn = policy_data.smooth(random, -0.4, 0.4, frames, 9)
    grip = np.where(np.arange(frames) % 200 < 120, 1.0, 0.0)
    still = np.zeros(frames)
    state = {
        "linear.x": policy_data.lagging(drive), "angular.z": policy_data.lagging(turn),
        "gripper_joint": 0.1 * np.maximum(policy_data.lagging(grip), 0.4), "odom.x": still, "odom.y": still, "odom.yaw": still,
    }
    actions = {"linear.x": drive, "angular.z": turn, "gripper": grip}
    order = ("linear.x", "angular.z", "gripper_joint")
    return TrainingData("room", 10.0, np.arange(0, frames, 200), state, order, actions)


SPEC = spec_of(policy())


def test_the_cart_and_its_learned_policy_fit() -> None:
    file = load_policy_file(CONFIG / "policies" / "builtin.yaml")
    step = spec_of(file).step
    data = replace(base_data(), fps=1e9 / step)
    said = findings(load_robot(CONFIG / "robots" / "sim.yaml"), file, data)
    assert not {finding.mark for finding in said} & {WRONG, DOUBTFUL}, said


def test_the_simulated_arm_and_its_learned_policy_fit() -> None:
    random = np.random.default_rng(5)
    robot = load_robot(CONFIG / "robots" / "sim_arm.yaml")
    file = load_policy_file(CONFIG / "policies" / "builtin_arm.yaml")
    fps = 1e9 / spec_of(file).step
    state, actions = {}, {}
    for channel in robot.channels[:-1]:
        low, high = channel.limits
        actions[channel.name] = policy_data.smooth(random, 0.3 * low, 0.3 * high, 900, 12)
        state[channel.name] = policy_data.lagging(actions[channel.name])
    actions["gripper"] = np.where(np.arange(900) % 300 < 200, 1.0, 0.0)
    state["finger_joint"] = 0.04 * np.maximum(policy_data.lagging(actions["gripper"]), 0.45)
    data = TrainingData("table", fps, np.arange(0, 900, 300), state, tuple(state), actions)
    said = findings(robot, file, data)
    assert not {finding.mark for finding in said} & {WRONG, DOUBTFUL}, said


# -- the planted mistakes ------------------------------------------------------------------
def test_degrees_taken_for_radians_are_found() -> None:
    subjects = {finding.subject for finding in wrong(policy(units={}), right_data())}
    assert {f"action {joint}" for joint in ARM} | {f"state {joint}" for joint in ARM} <= subjects


def test_radians_taken_for_degrees_are_found() -> None:
    state, actions = numbers()
    for joint in ARM:
        state[joint] = np.radians(state[joint])
        actions[joint] = np.radians(actions[joint])
    subjects = {finding.subject for finding in wrong(policy(), dataset(state, actions))}
    assert {f"action {joint}" for joint in ARM} | {f"state {joint}" for joint in ARM} <= subjects


def commanded(file: PolicyFile | None = None, **ranges: tuple[float, float]) -> dict[str, CheckFinding]:
    """What is said of these ranges of actions by joint; deg and 0 to 100, unless `file` is given."""
    seen = {name: StateRange(name, low, 0.0, low, high) for name, (low, high) in ranges.items()}
    said = {finding.subject: finding for finding in check_policy(so101(), file or policy(), TrainingRanges({}, seen))}
    return {name: said[f"action {name}"] for name in ranges}


def test_one_joint_that_is_little_used_among_others_that_move_is_none() -> None:
    assert commanded(wrist_roll=(10.0, 11.0), elbow_flex=(-40.0, 40.0))["wrist_roll"].mark == FITS


@pytest.mark.parametrize(
    ("high", "mark"),
    [
        (-133.2, FITS),  # three degrees for each radian of the bounds' span, 5.58, and more: it moves
        (-133.3, DOUBTFUL),
        (-149.8, DOUBTFUL),
        (-149.9, FITS),  # in radians, too, it would not be used
    ],
)
def test_one_joint_alone_that_hardly_moves_is_doubtful(high: float, mark: str) -> None:
    assert commanded(wrist_roll=(-150.0, high))["wrist_roll"].mark == mark


def test_two_joints_that_hardly_move_are_wrong_where_both_fit_in_radians() -> None:
    said = commanded(wrist_roll=(-2.0, 1.0), elbow_flex=(-1.0, 1.2))
    assert {finding.mark for finding in said.values()} == {WRONG}
    said = commanded(wrist_roll=(-2.0, 1.0), elbow_flex=(40.0, 41.2))  # 40 rad is no angle of an elbow
    assert {finding.mark for finding in said.values()} == {DOUBTFUL}


@pytest.mark.parametrize(
    ("high", "mark"),
    [(0.5, FITS), (0.51, DOUBTFUL), (0.89, DOUBTFUL), (0.91, WRONG), (1.11, WRONG), (1.13, FITS)],
)
def test_a_gripper_that_would_go_all_of_its_way_in_the_larger_unit_is_wrong(high: float, mark: str) -> None:
    """One that is kept shut rattles, too: half of the way is a doubt."""
    assert commanded(gripper=(0.0, high))["gripper"].mark == mark


def test_a_right_pair_in_the_robots_units_may_hardly_move() -> None:
    """A parked arm, and a gripper that is kept shut: no unit is given that could be the wrong one."""
    plain = replace(policy(units={}), state=(), actions=())
    said = commanded(plain, elbow_flex=(-0.02, 0.02), wrist_roll=(-0.02, 0.02), gripper=(0.0, 0.008))
    assert {finding.mark for finding in said.values()} == {FITS}


def test_a_joint_in_radians_that_moves_says_nothing_of_those_in_degrees() -> None:
    file = policy(units=dict.fromkeys(("wrist_roll", "elbow_flex"), "deg"))
    said = commanded(file, shoulder_pan=(-1.0, 1.0), wrist_roll=(-2.0, 1.0), elbow_flex=(-1.0, 1.2))
    assert [finding.mark for finding in said.values()] == [FITS, WRONG, WRONG]


def upside_down(data: TrainingData) -> CheckFinding:
    flipped = gripper(100.0, 0.0)
    said = findings(so101(), replace(policy(), state=flipped, actions=flipped), data)
    (finding,) = [finding for finding in said if finding.subject == "gripper gripper"]
    return finding


def test_an_upside_down_gripper_is_found_by_what_it_holds() -> None:
    """Nothing keeps fingers from opening: where they stop short of it, the end that is called open is the closed one."""
    state, actions = numbers()
    state["gripper"][: policy_data.LENGTH] = numbers(held=False)[0]["gripper"][: policy_data.LENGTH]
    finding = upside_down(dataset(state, actions))
    assert finding.mark == WRONG and "upside down" in finding.text


def test_a_gripper_that_never_goes_further_may_be_upside_down_or_have_its_own_stop_there() -> None:
    finding = upside_down(right_data())
    assert finding.mark == DOUBTFUL and "upside down, or that is its stop" in finding.text


@pytest.mark.parametrize(("stop", "mark"), [(87.0, UNKNOWN), (80.0, DOUBTFUL)])
def test_a_follower_that_opens_less_than_its_leader_is_not_wrong(stop: float, mark: str) -> None:
    """It follows with the right sign, and nothing that is thick enough is held."""
    state, actions = numbers(held=False)
    state["gripper"] *= stop / state["gripper"].max()
    actions["gripper"][actions["gripper"] > 50.0] = 100.0
    (finding,) = [f for f in findings(so101(), policy(), dataset(state, actions)) if f.subject == "gripper gripper"]
    assert finding.mark == mark


def test_a_gripper_that_always_holds_something_thick_is_in_the_right_unit() -> None:
    """All or nothing is commanded, and it goes from 0.5 to 0.55: a twentieth of the way."""
    state, actions = numbers()
    actions["gripper"] = np.where(actions["gripper"] > 50.0, 100.0, 0.0)
    state["gripper"] = 50.0 + 5.0 * policy_data.lagging(actions["gripper"]) / 100.0
    subjects = {f.subject for f in findings(so101(), policy(), dataset(state, actions)) if f.mark in (WRONG, DOUBTFUL)}
    assert "motion of gripper" not in subjects


@pytest.mark.parametrize("ends", [(0.0, 100.0), (100.0, 0.0)])
@pytest.mark.parametrize(("size", "mark"), [(3.2, FITS), (2.8, WRONG), (1.0, WRONG)])
def test_a_gripper_measured_in_another_unit_than_commanded_is_found_at_either_end(ends: tuple[float, float], size: float, mark: str) -> None:
    """Of 100; a factor of 33 and more is a unit's."""
    state, actions = numbers(held=False)
    wide = (actions["gripper"] > 50.0).astype(float)
    actions["gripper"] = 100.0 * wide
    state["gripper"] = size * wide
    both = gripper(*ends)
    said = {f.subject: f for f in findings(so101(), replace(policy(), state=both, actions=both), dataset(state, actions))}
    assert ("motion of gripper" in said) == (mark == WRONG)
    assert mark == FITS or "0 to 100 beside 0 to 1" in said["motion of gripper"].text


@pytest.mark.parametrize("part", ["state", "actions"])
def test_a_gripper_that_is_upside_down_in_one_place_alone_is_found(part: str) -> None:
    said = wrong(replace(policy(), **{part: gripper(100.0, 0.0)}), right_data())
    (finding,) = [finding for finding in said if finding.subject == "motion of gripper"]
    assert "moves against its commands" in finding.text


def test_a_gripper_that_never_holds_anything_cannot_be_judged() -> None:
    data = dataset(*numbers(held=False))
    (finding,) = [finding for finding in findings(so101(), policy(), data) if finding.subject == "gripper gripper"]
    assert finding.mark == UNKNOWN and "nothing is held" in finding.text


@pytest.mark.parametrize("part", ["state", "actions"])
def test_two_joints_of_equal_ranges_that_are_exchanged_are_found_by_who_follows_whom(part: str) -> None:
    """What the dataset calls elbow is the wrist: its names, and those of the policy file, are the mistake."""
    state, actions = numbers()
    values = state if part == "state" else actions
    values["elbow_flex"], values["wrist_flex"] = values["wrist_flex"], values["elbow_flex"]
    said = {finding.subject: finding for finding in wrong(policy(), dataset(state, actions))}
    assert set(said) == {"motion of elbow_flex", "motion of wrist_flex"}
    assert "'wrist_flex' follows its commands" in said["motion of elbow_flex"].text


@pytest.mark.parametrize("part", ["state", "actions"])
def test_names_by_hand_in_another_order_than_the_datasets_are_found(part: str) -> None:
    names = [*ARM[:2], "wrist_flex", "elbow_flex", *NAMES[4:]]
    option = {"observation/state": names} if part == "state" else names
    said = wrong(policy(**{part: option}), right_data())
    assert any(finding.subject == f"names of {part}" and "number 3 is 'wrist_flex'" in finding.text for finding in said)
    assert {"motion of elbow_flex", "motion of wrist_flex"} <= {finding.subject for finding in said}


def test_lerobots_endings_of_a_name_do_not_hide_another_order() -> None:
    state, actions = ({f"{name}.pos": column for name, column in values.items()} for values in numbers())
    assert not wrong(policy(), dataset(state, actions))
    names = [*ARM[:2], "wrist_flex", "elbow_flex", *NAMES[4:]]
    said = wrong(policy(state={"observation/state": names}, actions=names), dataset(state, actions))
    assert {finding.subject for finding in said} == {"names of state", "names of actions"}
    assert "is 'wrist_flex' in the policy file and 'elbow_flex.pos' in the dataset" in said[0].text


def test_a_policy_of_ones_own_may_take_its_names_in_another_order() -> None:
    columns = policy_columns(PolicyFile("mine:Policy", {}), replace(SPEC, channels=NAMES[::-1]), right_data())
    (finding,) = columns.findings
    assert finding.mark == DOUBTFUL and columns.actions["gripper"] == "gripper"


def test_a_server_with_groups_and_a_service_say_themselves_whose_each_number_is() -> None:
    """The gripper comes first there, and last in the dataset."""
    names = ["gripper", *ARM]
    groups = policy(state={"gripper": ["gripper"], "arm": list(ARM)}, actions={"gripper": ["gripper"], "arm": list(ARM)})
    service = PolicyFile(
        "ros_service",
        {"service": "/act", "images": {"front": [48, 64]}, "state": names, "actions": names, "units": dict.fromkeys(ARM, "deg")},
        state=gripper(), actions=gripper(), rate=float(FPS), horizon=15,
    )  # fmt: skip
    for file in (groups, service):
        said = findings(so101(), file, right_data())
        assert not [finding for finding in said if finding.mark == WRONG]
        assert {finding.subject for finding in said if finding.mark == DOUBTFUL} == {"names of state", "names of actions"}


def test_joints_given_to_each_other_in_both_state_and_actions_are_found_by_their_names() -> None:
    """What training saw shows nothing: state and actions are exchanged alike."""
    file = policy()
    crosswise = (PolicyNumber("elbow_flex", "wrist_flex"), PolicyNumber("wrist_flex", "elbow_flex"))
    file = replace(file, state=(*file.state, *crosswise), actions=(*file.actions, *crosswise))
    assert {"action elbow_flex", "action wrist_flex"} <= {finding.subject for finding in wrong(file, right_data())}


@pytest.mark.parametrize(("rate", "words"), [(10.0, "3 times too slow"), (60.0, "2 times too fast"), (25.0, "1.2 times too slow")])
def test_a_wrong_fps_is_found(rate: float, words: str) -> None:
    (finding,) = [finding for finding in wrong(policy(rate=rate), right_data()) if finding.subject == "rate"]
    assert words in finding.text and "give 30" in finding.remedy


@pytest.mark.parametrize(("rate", "mark"), [(29.97, FITS), (29.71, FITS), (29.6, WRONG), (30.3, FITS), (30.4, WRONG)])
def test_a_rate_may_be_off_by_a_hundredth(rate: float, mark: str) -> None:
    (finding,) = [finding for finding in findings(so101(), policy(rate=rate), right_data()) if finding.subject == "rate"]
    assert finding.mark == mark


def test_a_gripper_from_0_to_100_taken_for_0_to_1_is_found() -> None:
    plain = replace(policy(), state=gripper(0.0, 1.0), actions=gripper(0.0, 1.0))
    assert {"action gripper", "state gripper"} <= {finding.subject for finding in wrong(plain, right_data())}


def test_a_gripper_from_0_to_1_taken_for_0_to_100_is_found() -> None:
    state, actions = numbers()
    state["gripper"] /= 100.0
    actions["gripper"] /= 100.0
    said = {finding.subject: finding for finding in findings(so101(), policy(), dataset(state, actions))}
    for subject in ("action gripper", "state gripper"):
        assert said[subject].mark == DOUBTFUL and "it goes from 0 to 1 already" in said[subject].remedy


def test_deltas_taken_for_positions_are_found() -> None:
    state, actions = numbers()
    for joint in ARM:
        steps = np.diff(actions[joint], append=actions[joint][-1:])
        steps[policy_data.LENGTH - 1 :: policy_data.LENGTH] = 0.0  # across two episodes
        actions[joint] = steps
    data = dataset(state, actions)
    said = {finding.subject: finding for finding in wrong(policy(), data)}
    for joint in ARM:
        assert "they are a delta, and are taken for a position" in said[f"motion of {joint}"].text
    kinds = dict.fromkeys(ARM, "delta")
    assert not wrong(policy(kinds=kinds), data)
    actions["elbow_flex"] *= -1.0
    (finding,) = wrong(policy(kinds=kinds), data)
    assert finding.subject == "motion of elbow_flex" and "moves against its commands" in finding.text


def test_velocities_taken_for_deltas_are_found() -> None:
    state, actions = numbers()
    for joint in ARM:
        speeds = np.diff(actions[joint], append=actions[joint][-1:]) * FPS
        speeds[policy_data.LENGTH - 1 :: policy_data.LENGTH] = 0.0
        actions[joint] = speeds
    data = dataset(state, actions)
    said = {finding.subject: finding for finding in wrong(policy(kinds=dict.fromkeys(ARM, "delta")), data)}
    assert "they are a velocity, and are taken for a delta" in said["motion of elbow_flex"].text


def test_positions_taken_for_deltas_are_doubtful() -> None:
    """The policy may make changes of them itself."""
    said = findings(so101(), policy(kinds={"elbow_flex": "delta"}), right_data())
    assert [finding.subject for finding in said if finding.mark == DOUBTFUL] == ["motion of elbow_flex"]


def test_state_and_actions_in_different_units_are_found() -> None:
    state, actions = numbers()
    state["elbow_flex"] = np.radians(state["elbow_flex"])
    said = {finding.subject: finding for finding in wrong(policy(), dataset(state, actions))}
    assert "degrees beside radians" in said["motion of elbow_flex"].text


@pytest.mark.parametrize(
    ("name", "factor", "mark"),
    [("elbow_flex", 0.52, FITS), ("elbow_flex", 0.48, WRONG), ("elbow_flex", 2.1, WRONG), ("gripper", 0.05, FITS)],
)
def test_a_drive_may_go_half_of_its_commands_way_and_a_gripper_less(name: str, factor: float, mark: str) -> None:
    """The gripper holds something."""
    state, actions = numbers()
    state[name] = state[name].mean() + factor * (state[name] - state[name].mean())
    said = {finding.subject: finding for finding in check_data(so101(), policy(), dataset(state, actions), TrainingRanges())}
    assert (f"motion of {name}" in said) == (mark == WRONG)


def held(frames: int, share: float = 1.0) -> CheckFinding:
    """What is said of a gripper that is blocked for so many frames, by `share` of them while it closes."""
    state, actions = numbers(held=False)
    state["gripper"] = actions["gripper"].copy()
    closing = round(share * frames)
    closed = np.flatnonzero(actions["gripper"] < 10.0)[20 : 20 + closing + 8]
    opened = np.flatnonzero(actions["gripper"] > 80.0)[20 : 20 + frames - closing + 8]
    # Steady for a third of a second, nine frames: the first eight of each do not count.
    for place, value in ((closed if closing else closed[:0], 40.0), (opened if closing < frames else opened[:0], 40.0)):
        state["gripper"][place] = value
    said = check_data(so101(), policy(), dataset(state, actions), TrainingRanges())
    (finding,) = [finding for finding in said if finding.subject == "gripper gripper"]
    return finding


@pytest.mark.parametrize(("frames", "mark"), [(9, UNKNOWN), (10, FITS), (30, FITS)])
def test_a_gripper_is_judged_by_ten_frames_in_which_it_holds_something(frames: int, mark: str) -> None:
    assert held(frames).mark == mark


def test_a_gripper_does_not_stand_still_from_one_episode_into_the_next() -> None:
    """Eight frames of each are too few to have stood still for a third of a second."""
    state, actions = numbers()
    short = dataset(state, actions, starts=np.arange(0, len(actions["gripper"]), 8))
    (finding,) = [f for f in check_data(so101(), policy(), short, TrainingRanges()) if f.subject == "gripper gripper"]
    assert finding.mark == UNKNOWN


@pytest.mark.parametrize(("share", "mark"), [(1.0, FITS), (0.8, FITS), (0.78, UNKNOWN), (0.22, UNKNOWN), (0.2, WRONG), (0.0, WRONG)])
def test_most_of_the_frames_say_which_end_is_closed(share: float, mark: str) -> None:
    assert held(50, share).mark == mark


@pytest.mark.parametrize(("fast", "doubtful"), [(5, False), (6, True)])
def test_one_row_in_twenty_may_be_faster_than_the_gate_lets_it(fast: int, doubtful: bool) -> None:
    steps = np.full(100, 1.0)  # deg: 0.52 rad/s at 30 a second
    steps[:fast] = 10.0
    column = np.concatenate([[0.0], steps.cumsum()]) - 70.0
    still = dict.fromkeys(NAMES, np.zeros(101))
    values = {**still, "shoulder_pan": column}
    robot = load_robot(CONFIG / "robots" / "so101.yaml")
    data = dataset(values, values, starts=np.array([0]))
    subjects = [finding.subject for finding in check_data(robot, policy(), data, TrainingRanges())]
    assert ("speed" in subjects) == doubtful


def test_rows_that_the_gate_would_slow_down_are_doubtful() -> None:
    robot = load_robot(CONFIG / "robots" / "so101.yaml")
    said = findings(robot, policy(), right_data())
    (doubt,) = [finding for finding in said if finding.mark == DOUBTFUL]
    assert doubt.subject == "speed" and doubt.text.count("max_speed is 0.8 rad/s") == len(ARM)


def test_a_dataset_that_the_policy_did_not_learn_from_is_doubtful() -> None:
    def known(low: float, high: float) -> TrainingRanges:
        return TrainingRanges({}, {"elbow_flex": StateRange("elbow_flex", 0.0, 1.0, low, high)})

    (finding,) = [f for f in check_data(so101(), policy(), right_data(), known(-1.2, 1.2)) if f.subject == "statistics"]
    assert finding.mark == DOUBTFUL and "action elbow_flex -1.2 to 1.2 beside" in finding.text
    (finding,) = [f for f in check_data(so101(), policy(), right_data(), known(-68.0, 66.0)) if f.subject == "statistics"]
    assert finding.mark == FITS and finding.text.startswith("1 numbers lie")


# -- the command -------------------------------------------------------------------------
def test_the_command_reads_a_dataset_from_the_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="datasets need pyarrow")
    pytest.importorskip("av", reason="datasets need PyAV")
    folder = str(policy_data.write(tmp_path / "data", episodes=2))
    robot = tmp_path / "robot.yaml"
    text = (CONFIG / "robots" / "so101.yaml").read_text()
    robot.write_text(text.replace("max_speed: 0.8", "max_speed: 4.0"))
    for name, right, code in (("right", policy(), 0), ("wrong", policy(rate=10.0), 1)):
        file = policy_data.write_policy(tmp_path / f"{name}.yaml", right)
        assert main(["policy", "check", str(robot), file, "--data", folder, "--json"]) == code
        told = json.loads(capsys.readouterr().out)
        said = {finding["subject"]: finding for finding in told["findings"]}
        assert said["rate"]["mark"] == (WRONG if code else FITS)
        assert said["motion"]["mark"] == FITS and said["image front"]["text"].startswith("recorded as 48 x 64")
        assert "training" not in said and said["robot now"]["mark"] == UNKNOWN
    assert main(["policy", "check", str(robot), file, "--data", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


# -- how far it can know -------------------------------------------------------------------
def test_a_dataset_of_other_names_is_taken_by_place_and_that_is_said() -> None:
    state, actions = numbers()
    state = {f"observation.state.{place}": values for place, values in enumerate(state.values())}
    actions = {f"action.{place}": values for place, values in enumerate(actions.values())}
    said = findings(so101(), policy(), dataset(state, actions))
    assert {finding.subject for finding in said if finding.mark != FITS} == {"names of state", "names of actions"}
    assert {finding.mark for finding in said} == {FITS, UNKNOWN}


def test_what_a_dataset_lacks_is_said() -> None:
    state, actions = numbers()
    for values in (state, actions):
        values["lift"] = values.pop("wrist_roll")
    said = {finding.subject: finding for finding in findings(so101(), policy(), dataset(state, actions, images={}))}
    assert "has no wrist_roll; it has shoulder_pan" in said["names of actions"].text
    assert said["image front"].mark == UNKNOWN


def test_a_few_frames_show_nothing() -> None:
    state, actions = numbers()
    state = {name: values[:29] for name, values in state.items()}
    actions = {name: values[:29] for name, values in actions.items()}
    said = {finding.subject: finding for finding in findings(so101(), policy(), dataset(state, actions))}
    assert said["motion"].mark == UNKNOWN and "29 frames" in said["motion"].text


def test_a_joint_that_stands_still_in_the_dataset_says_nothing() -> None:
    state, actions = numbers()
    state["wrist_roll"] = 10.0 + np.random.default_rng(0).normal(0.0, 0.05, len(state["wrist_roll"]))
    actions["wrist_roll"][:] = 10.4  # a little beside: ranges that have nothing in common
    assert {finding.mark for finding in findings(so101(), policy(), dataset(state, actions))} == {FITS}


@pytest.mark.parametrize(("other", "crossed"), [(0.799, False), (0.8, True), (0.95, True)])
def test_joints_are_exchanged_where_each_follows_the_others_command(other: float, crossed: bool) -> None:
    explained = np.array([[0.1, other], [other, 0.1]])
    assert exchanged(explained) == ({0: 1, 1: 0} if crossed else {})


def test_joints_that_move_alike_are_not_exchanged() -> None:
    assert exchanged(np.array([[0.97, 0.99], [0.99, 0.97]])) == {}  # two arms that mirror each other
    assert exchanged(np.array([[0.96, 0.99], [0.99, 0.96]])) == {0: 1, 1: 0}  # a quarter is left unexplained
    assert exchanged(np.array([[0.1, 0.9], [0.2, 0.99]])) == {}  # nobody follows the first one's


def test_three_joints_in_a_circle_are_exchanged() -> None:
    explained = np.full((3, 3), 0.1)
    for command, joint in ((0, 1), (1, 2), (2, 0)):
        explained[command, joint] = 0.99
    assert exchanged(explained) == {0: 1, 1: 2, 2: 0}
