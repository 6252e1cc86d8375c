"""How far the robot has come since it was told, from odometry and from what the images showed."""
from __future__ import annotations

import math

import pytest

from vla_ros.policies.progress import FEATURE_LIMIT, SCALES, SURE_IMAGES, Progress


def at(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, **more: float) -> dict[str, float]:
    return {"odom.x": x, "odom.y": y, "odom.yaw": math.remainder(yaw, 2 * math.pi), **more}


def test_the_first_pose_is_where_it_begins() -> None:
    progress = Progress()
    progress.move(at(3.0, -2.0, 1.0))
    assert (progress.turned, progress.travelled, progress.carried, progress.side) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("way", [1, -1])
def test_full_turns_are_counted(way: int) -> None:
    progress = Progress()
    for step in range(61):
        progress.move(at(yaw=3.0 + way * 0.15 * step))
    assert progress.turned == pytest.approx(way * 9.0) and progress.travelled == 0.0


@pytest.mark.parametrize("heading", [0.0, 2.0, math.pi, -1.0])
def test_the_way_is_measured_along_the_heading(heading: float) -> None:
    progress, cos, sin = Progress(), math.cos(heading), math.sin(heading)
    for x, y in ((0, 0), (0.4, 0), (0.1, 0), (0.1, 0.5)):  # ahead, back, and slipped to its left
        progress.move(at(x * cos - y * sin, x * sin + y * cos, heading))
    assert progress.travelled == pytest.approx(0.1)


def test_an_arc_is_as_long_as_it_is() -> None:
    progress = Progress()
    for step in range(101):  # radius 0.5 m, through the heading at which the yaw jumps
        angle = 2.5 + 0.02 * step
        progress.move(at(0.5 * math.sin(angle), -0.5 * math.cos(angle), angle))
    assert progress.turned == pytest.approx(2.0)
    assert progress.travelled == pytest.approx(1.0, abs=0.02)


def test_what_is_carried_is_driven_ahead_with_the_target_at_the_fingers() -> None:
    progress = Progress()
    for x, contact in ((0.0, False), (0.2, True), (0.5, True), (0.4, True), (0.6, False), (0.9, False)):
        progress.move(at(x))
        progress.found(0.01, contact)
    assert progress.carried == pytest.approx(0.5)  # 0.2 to 0.5, not back, 0.4 to 0.6
    progress.found(0.0, True)
    progress.lost()
    progress.move(at(1.5))
    assert progress.carried == pytest.approx(0.5)


def test_the_side_is_where_the_target_was_seen_last() -> None:
    progress = Progress()
    for left, side in ((-0.2, -1.0), (0.3, 1.0), (-0.01, -1.0)):
        for _ in range(SURE_IMAGES):
            progress.found(left, False)
        assert progress.side == side
    progress.lost()
    assert progress.side == -1.0


@pytest.mark.parametrize("images, side", [(SURE_IMAGES - 1, 1.0), (SURE_IMAGES, -1.0), (SURE_IMAGES + 1, -1.0)])
def test_a_glimpse_does_not_turn_a_search_around(images: int, side: float) -> None:
    progress = Progress()
    for _ in range(3):  # what is lost in between does not add up
        progress.lost()
        for _ in range(images):
            progress.found(-0.2, False)
    assert progress.side == side


def test_a_new_instruction_begins_anew_and_keeps_the_grip() -> None:
    progress = Progress()
    progress.move(at(0.0, gripper_joint=0.06))
    progress.found(-0.3, True)
    progress.move(at(0.5, 0.0, 0.4, gripper_joint=0.06))
    progress.command = 0.0
    progress.start()
    progress.move(at(2.0, 1.0, -1.0, gripper_joint=0.06))  # somewhere else: that is the first pose
    assert (progress.turned, progress.travelled, progress.carried, progress.side) == (0.0, 0.0, 0.0, 1.0)
    assert not progress.contact and progress.command == 0.0 and progress.opening == pytest.approx(0.6)


@pytest.mark.parametrize(("joint", "command"), [(0.086, 1.0), (0.084, 0.0), (0.0, 0.0)])
def test_what_the_gripper_was_told_before_is_guessed_from_how_it_stands(joint: float, command: float) -> None:
    progress = Progress()
    progress.move(at())
    assert progress.command is None  # no gripper so far
    progress.move(at(gripper_joint=joint))
    progress.move(at(gripper_joint=0.05))  # and not guessed again
    assert progress.command == command and progress.opening == 0.5


def test_the_opening_stays_between_shut_and_open() -> None:
    progress = Progress()
    for joint, opening in ((-0.01, 0.0), (0.2, 1.0)):
        progress.move(at(gripper_joint=joint))
        assert progress.opening == opening


@pytest.mark.parametrize("missing", ["odom.x", "odom.y", "odom.yaw"])
def test_odometry_that_is_missing_is_named(missing: str) -> None:
    state = at()
    del state[missing]
    with pytest.raises(ValueError, match=f"no '{missing}'; this policy needs odometry: publish /odom"):
        Progress().move(state)


def test_features_are_scaled_and_bounded() -> None:
    progress = Progress()
    progress.opening, progress.command, progress.turned, progress.travelled = 0.25, 1.0, -0.75, 0.1
    progress.carried, progress.side = 0.3, -1.0
    assert progress.features() == pytest.approx({"gripper": 0.5, "gripper_command": 2.0, "turned": -1.5,
                                                 "travelled": 0.5, "carried": 2.0, "side": -1.0})
    assert list(progress.features()) == list(SCALES)
    progress.turned, progress.command = -100.0, None
    assert progress.features()["turned"] == -FEATURE_LIMIT and progress.features()["gripper_command"] == 0.0


@pytest.mark.parametrize(("images", "side"), [(2, 1.0), (3, -1.0), (4, -1.0)])
def test_three_images_in_a_row_are_sure(images: int, side: float) -> None:
    progress = Progress()
    for _ in range(images):
        progress.found(-0.2, False)
    assert progress.side == side
