"""What a policy says that it wants: which images, how large, and what else it must be told."""
from __future__ import annotations

import numpy as np
import pytest

from vla_ros.policies.base import PolicySpec

ONE = PolicySpec(("linear.x",), 1, 100_000_000, (8, 12))
FRONT = PolicySpec(("linear.x",), 1, 100_000_000, (8, 12), images={"front": (8, 12)})
TWO = PolicySpec(("joint1",), 1, 100_000_000, (8, 12), images={"front": (8, 12), "wrist": (4, 4)}, state=("joint1", "odom.x"))


def image(height: int = 8, width: int = 12) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def test_each_camera_has_its_own_size() -> None:
    assert TWO.size_of("front") == (8, 12) and TWO.size_of("wrist") == (4, 4)
    assert ONE.size_of("whatever it is called") == (8, 12)
    with pytest.raises(ValueError, match="looks through front of 8 x 12, wrist of 4 x 4, and this camera is 'camera'"):
        TWO.size_of("camera")


def test_an_observation_of_its_shapes() -> None:
    blank = TWO.blank()
    assert {name: one.shape for name, one in blank.images.items()} == {"front": (8, 12, 3), "wrist": (4, 4, 3)}
    assert blank.state == {"odom.x": 0.0, "odom.y": 0.0, "odom.yaw": 0.0, "joint1": 0.0}
    assert {name: one.shape for name, one in ONE.blank().images.items()} == {"camera": (8, 12, 3)}
    TWO.check(blank.images)


@pytest.mark.parametrize(("images", "has"), [
    ({}, "no image"), ({"camera": image()}, "camera of 8 x 12"), ({"front": image()}, "front of 8 x 12;"),
    ({"front": image(), "wrist": image()}, "front of 8 x 12, wrist of 8 x 12")], ids=["none", "another", "one", "size"])
def test_cameras_that_do_not_fit_are_refused_with_both_lists(images: dict[str, np.ndarray], has: str) -> None:
    with pytest.raises(ValueError, match=f"looks through front of 8 x 12, wrist of 4 x 4, and the observation has {has}"):
        TWO.check(images)


def test_one_that_names_no_camera_looks_through_the_only_one() -> None:
    seen = image()
    assert ONE.only({"left": seen}) is seen
    with pytest.raises(ValueError, match="through one camera and does not say which, and there are left, right; start one"):
        ONE.only({"left": seen, "right": seen})
    with pytest.raises(ValueError, match="there are none"):
        ONE.only({})
    with pytest.raises(ValueError, match="wants images of 8 x 12, and left's have 9 x 12 pixels"):
        ONE.only({"left": image(9)})


def test_one_that_names_its_camera_looks_through_that_one_wherever_it_stands() -> None:
    seen = image()
    assert FRONT.only({"left": image(3, 3), "front": seen}) is seen
    with pytest.raises(ValueError, match="looks through front of 8 x 12, and the observation has left of 8 x 12"):
        FRONT.only({"left": seen})


@pytest.mark.parametrize(("fallback", "policy", "fits"), [
    (ONE, ONE, True), (FRONT, TWO, True), (TWO, TWO, True), (ONE, FRONT, True), (FRONT, ONE, True),
    (TWO, FRONT, False), (TWO, ONE, False), (ONE, TWO, False),
    (PolicySpec((), 1, 1, (8, 12), "crop"), ONE, False), (PolicySpec((), 1, 1, (8, 8)), ONE, False),
    (PolicySpec((), 1, 1, (8, 12), images={"wrist": (8, 8)}), TWO, False)])
def test_a_fallback_takes_over_where_it_sees_the_same(fallback: PolicySpec, policy: PolicySpec, fits: bool) -> None:
    assert fallback.sees_as(policy) == fits
