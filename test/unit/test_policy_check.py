"""`vla policy check`: what feeds what between a policy file and a robot file, and which mistakes the numbers show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import act_numbers
import numpy as np
import pytest

safetensors = pytest.importorskip("safetensors.numpy", reason="no safetensors here")

from vla_ros.cli.main import main
from vla_ros.core.check_finding import DOUBTFUL, FITS, WRONG, CheckFinding
from vla_ros.core.policy_file import PolicyFile, PolicyNumber, load_policy_file
from vla_ros.core.robot import Robot, load_robot
from vla_ros.core.types import to_nanoseconds
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.check import check_horizon, check_policy

DATA = Path(__file__).parent / "lerobot_act"
CONFIG = Path(__file__).parents[2] / "config"
ARM = act_numbers.JOINTS[:5]
# What an SO-101's dataset might have seen, deg and 0 to 100: of each joint, lowest and highest.
SEEN = {
    "shoulder_pan": (-60.0, 45.0),
    "shoulder_lift": (-90.0, 10.0),
    "elbow_flex": (-20.0, 85.0),
    "wrist_flex": (40.0, 90.0),
    "wrist_roll": (-150.0, -50.0),
    "gripper": (1.0, 60.0),
}


def checkpoint(folder: Path, scale: float = 1.0, **changes: tuple[float, float]) -> Path:
    """A checkpoint's files but its weights; `changes` of what it commanded."""
    import shutil

    place = folder / "act"
    shutil.copytree(DATA, place)
    for file in place.glob("*.safetensors"):
        statistics = dict(safetensors.load_file(file))
        for feature, ranges in (("observation.state", SEEN), ("action", {**SEEN, **changes})):
            low, high = (scale * np.float32([ends[side] for ends in ranges.values()]) for side in (0, 1))
            numbers = {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 4}
            for key, values in numbers.items():
                if f"{feature}.{key}" in statistics:
                    statistics[f"{feature}.{key}"] = np.float32(values)
        safetensors.save_file(statistics, file)
    return place


def right(place: Path, **options: Any) -> PolicyFile:
    """A policy file that fits so101.yaml: equal names, and everything in its unit."""
    names = list(act_numbers.JOINTS)
    given = {"checkpoint": str(place), "state": names, "actions": names, "unit": "deg", **options}
    gripper = (PolicyNumber("gripper", "gripper", closed=0.0, open=100.0),)
    return PolicyFile("lerobot", given, state=gripper, actions=gripper, rate=30.0)


@pytest.fixture
def robot() -> Robot:
    robot = load_robot(CONFIG / "robots" / "so101.yaml")
    cameras = tuple(replace(camera, rotate=0) for camera in robot.cameras)
    return replace(robot, cameras=cameras)


def about(findings: list[CheckFinding], subject: str) -> CheckFinding:
    (finding,) = [finding for finding in findings if finding.subject == subject]
    return finding


def test_a_right_pair_fits_and_says_what_feeds_what(tmp_path: Path, robot: Robot) -> None:
    findings = check_policy(robot, right(checkpoint(tmp_path)))
    assert {finding.mark for finding in findings} == {FITS}
    assert "12 rows, one each 0.0333333 s: 0.4 s ahead" in about(findings, "chunk").text
    assert about(findings, "camera front").text.startswith("/front/image_raw/compressed, 480 x 640 -> 48 x 64")
    text = about(findings, "action shoulder_pan").text
    assert "-> shoulder_pan" in text and "training -1.05 to 0.785 rad, bounds -1.92 to 1.92" in text
    assert "x 100" in about(findings, "state gripper").text


@pytest.mark.parametrize("policy", ["builtin", "color_servo"])
def test_the_simulated_robots_policies_fit_it(policy: str) -> None:
    file = load_policy_file(CONFIG / "policies" / f"{policy}.yaml")
    findings = check_policy(load_robot(CONFIG / "robots" / "sim.yaml"), file)
    assert {finding.mark for finding in findings} == {FITS}


# -- mistakes ----------------------------------------------------------------------------
def test_degrees_that_are_taken_for_radians_are_found(tmp_path: Path, robot: Robot) -> None:
    findings = check_policy(robot, right(checkpoint(tmp_path), unit=""))
    for joint in ARM:
        finding = about(findings, f"action {joint}")
        assert finding.mark == WRONG and "times too far" in finding.text and "unit: deg" in finding.remedy
        assert about(findings, f"state {joint}").mark == WRONG


def test_radians_that_are_taken_for_degrees_are_found(tmp_path: Path, robot: Robot) -> None:
    place = checkpoint(tmp_path, scale=np.pi / 180.0)
    findings = check_policy(robot, right(place))
    for joint in ARM:
        finding = about(findings, f"action {joint}")
        assert finding.mark == WRONG and "it hardly moves" in finding.text


def test_a_gripper_in_another_unit_is_found(tmp_path: Path, robot: Robot) -> None:
    file = right(checkpoint(tmp_path), units={"gripper": "1"})
    findings = check_policy(robot, replace(file, state=(), actions=()))
    assert about(findings, "action gripper").mark == WRONG


def test_a_joint_that_is_one_in_state_and_another_in_actions_is_found(tmp_path: Path, robot: Robot) -> None:
    file = right(checkpoint(tmp_path))
    exchanged = (PolicyNumber("elbow_flex", "wrist_flex"), PolicyNumber("wrist_flex", "elbow_flex"))
    findings = check_policy(robot, replace(file, actions=(*file.actions, *exchanged)))
    for joint in ("elbow_flex", "wrist_flex"):
        finding = about(findings, f"action {joint}")
        assert finding.mark == WRONG and "one joint for the policy" in finding.remedy


def test_the_robots_state_may_call_a_joint_otherwise_than_its_driver_and_its_channel(tmp_path: Path, robot: Robot) -> None:
    """Of the driver's gripper_joint the state is gripper_pos, and the channel gripper."""
    state = (robot.state[0], replace(robot.state[1], names={"gripper_pos": "gripper_joint"}))
    channels = tuple(replace(channel, joint="gripper_joint") if channel.name == "gripper" else channel for channel in robot.channels)
    file = right(checkpoint(tmp_path))
    measured = (replace(file.state[0], robot="gripper_pos"),)
    findings = check_policy(replace(robot, state=state, channels=channels), replace(file, state=measured))
    assert about(findings, "action gripper").mark == FITS
    assert about(findings, "state gripper").text.startswith("gripper_pos of the robot")


@pytest.mark.parametrize(
    ("key", "values", "shape"),
    [("mean", np.float32(1.0), r"\(\)"), ("mean", np.zeros((1, 6), np.float32), r"\(1, 6\)"), ("min", np.zeros(5, np.float32), r"\(5,\)")],
)
def test_statistics_of_another_shape_are_refused_with_a_sentence(
    tmp_path: Path, robot: Robot, key: str, values: np.ndarray, shape: str
) -> None:
    place = checkpoint(tmp_path)
    for file in place.glob("*.safetensors"):
        statistics = {**safetensors.load_file(file), f"observation.state.{key}": np.asarray(values)}
        safetensors.save_file(statistics, file)
    with pytest.raises(ValueError, match=rf"observation\.state\.{key} has the shape {shape}, and there are 6 numbers: shoulder_pan"):
        check_policy(robot, right(place))


def test_a_joint_whose_commands_are_elsewhere_is_found(tmp_path: Path, robot: Robot) -> None:
    findings = check_policy(robot, right(checkpoint(tmp_path, wrist_flex=(-90.0, -40.0))))
    finding = about(findings, "action wrist_flex")
    assert finding.mark == DOUBTFUL and "delta or relative, or another joint" in finding.remedy.replace("), or", ", or")


def test_changes_that_are_taken_for_positions_are_found(tmp_path: Path, robot: Robot) -> None:
    steps = dict.fromkeys(ARM, (-4.0, 4.0))
    place = checkpoint(tmp_path, **steps)
    for joint in ("shoulder_pan", "wrist_roll"):
        assert about(check_policy(robot, right(place)), f"action {joint}").mark == DOUBTFUL
    findings = check_policy(robot, right(place, kinds=dict.fromkeys(ARM, "delta")))
    assert about(findings, "action shoulder_pan").mark == FITS


def test_training_beyond_the_bounds_is_found(tmp_path: Path, robot: Robot) -> None:
    findings = check_policy(robot, right(checkpoint(tmp_path, elbow_flex=(-20.0, 120.0))))
    finding = about(findings, "action elbow_flex")
    assert finding.mark == DOUBTFUL and "what is outside is refused" in finding.text


@pytest.mark.parametrize(("over", "mark"), [(0.0, FITS), (0.06, FITS), (0.08, DOUBTFUL)])
def test_a_little_beyond_the_bounds_is_none(tmp_path: Path, robot: Robot, over: float, mark: str) -> None:
    """0.02 of the span of 3.32 rad are 0.066 rad."""
    high = float(np.degrees(1.57 + over))
    findings = check_policy(robot, right(checkpoint(tmp_path, elbow_flex=(-20.0, high))))
    assert about(findings, "action elbow_flex").mark == mark


def test_names_that_do_not_fit_are_said_with_both_lists(tmp_path: Path, robot: Robot) -> None:
    names = [f"{joint}.pos" for joint in act_numbers.JOINTS]
    file = PolicyFile("lerobot", {**right(checkpoint(tmp_path)).options, "state": names, "actions": names}, rate=30.0)
    finding = about(check_policy(robot, file), "numbers")
    assert finding.mark == WRONG
    assert "commands 'shoulder_pan.pos', but robot 'so101' obeys" in finding.text


def test_a_state_that_the_robot_does_not_measure_is_found(tmp_path: Path, robot: Robot) -> None:
    findings = check_policy(replace(robot, state=robot.state[1:]), right(checkpoint(tmp_path)))
    finding = about(findings, "state elbow_flex")
    assert finding.mark == WRONG and "has no 'elbow_flex'; it has gripper" in finding.text


def test_a_camera_that_is_not_there_is_found(tmp_path: Path, robot: Robot) -> None:
    findings = check_policy(replace(robot, cameras=robot.cameras[:1]), right(checkpoint(tmp_path)))
    assert about(findings, "images").mark == WRONG


def test_an_image_of_another_shape_is_doubtful(tmp_path: Path, robot: Robot) -> None:
    wide = replace(robot.cameras[0], size=(480, 848))
    findings = check_policy(replace(robot, cameras=(wide, robot.cameras[1])), right(checkpoint(tmp_path)))
    finding = about(findings, "camera front")
    assert finding.mark == DOUBTFUL and "fitted in by 'pad'" in finding.text


def test_half_of_an_output_is_found(tmp_path: Path, robot: Robot) -> None:
    file = right(checkpoint(tmp_path))
    findings = check_policy(robot, replace(file, actions=(*file.actions, PolicyNumber("wrist_roll", ""))))
    assert about(findings, "output /follower/joint_commands").mark == WRONG
    assert about(findings, "action wrist_roll").mark == DOUBTFUL  # it goes nowhere


# -- the command -------------------------------------------------------------------------
def test_the_command_prints_a_table_or_json_and_fails_where_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = str(CONFIG / "robots" / "sim.yaml")
    policy = str(CONFIG / "policies" / "color_servo.yaml")
    assert main(["policy", "check", robot, policy]) == 0
    shown = capsys.readouterr().out
    assert "0 are wrong, 2 could not be judged; nothing was moved" in shown
    assert "give --data DATASET" in shown and "give --live" in shown
    other = str(CONFIG / "robots" / "so101.yaml")
    assert main(["policy", "check", other, policy, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["fits"] is False and WRONG in [finding["mark"] for finding in told["findings"]]
    assert told["verdict"].startswith("verdict: do not run it like this")
    assert main(["policy", "check", robot, str(tmp_path / "none.yaml")]) == 2


@pytest.mark.parametrize("policy", sorted(path.stem for path in (CONFIG / "policies").glob("*.yaml")))
@pytest.mark.parametrize("robot", ["sim", "sim_arm", "so101"])
def test_each_policy_of_the_package_is_judged_beside_each_kind_of_robot_and_it_says_how_far(
    robot: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(CONFIG / "robots" / f"{robot}.yaml"), str(CONFIG / "policies" / f"{policy}.yaml")]
    code = main(["policy", "check", *files, "--json"])
    told = json.loads(capsys.readouterr().out)
    its_own = (robot, policy) in {("sim", "builtin"), ("sim", "color_servo"), ("sim", "constant"), ("sim_arm", "builtin_arm")}
    assert code == (0 if its_own else 1)
    unknown = [finding["subject"] for finding in told["findings"] if finding["mark"] == "?"]
    assert unknown == ["training", "robot now"]


@pytest.mark.parametrize(("horizon", "doubtful"), [(0, False), (4, False), (5, True)])
def test_a_horizon_that_outlasts_the_age_that_the_gate_allows_is_doubtful(horizon: int, doubtful: bool) -> None:
    """At 10 rows/s, 0.4 s let four of them pass."""
    spec = PolicySpec(images={}, channels=("linear.x",), steps=20, step=to_nanoseconds(0.1))
    findings = check_horizon(spec, horizon, 0.4, "the default; no gate runs")
    assert [finding.mark for finding in findings] == ([DOUBTFUL] if doubtful else [])
    if doubtful:
        assert findings[0].text == (
            "5 rows are 0.5 s on one image, and max_age is 0.4 s (the default; no gate runs): the robot waits after row 4 of each chunk")
        assert findings[0].remedy.startswith("horizon: 4, or a max_age of safety_validator above 0.5")


def test_a_row_that_is_longer_than_that_age_is_one_row() -> None:
    spec = PolicySpec(images={}, channels=("linear.x",), steps=2, step=to_nanoseconds(0.5))
    assert check_horizon(spec, 1, 0.4, "") == []
    assert "after row 1 of each" in check_horizon(spec, 2, 0.4, "")[0].text
