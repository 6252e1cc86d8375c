"""What a policy says that it wants, how large, and what it gives: rows, which become a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vla_ros.core.types import Instruction, Observation
from vla_ros.policies.base import PolicySpec

ONE = PolicySpec(("linear.x",), 1, 100_000_000, {"front": (8, 12)})
TWO = PolicySpec(
    ("joint1",), 1, 100_000_000, {"front": (8, 12), "wrist": (4, 4)}, state=("joint1", "odom.x")
)


def image(height: int = 8, width: int = 12) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def test_each_image_has_its_own_size() -> None:
    assert TWO.size_of("front") == (8, 12) and TWO.size_of("wrist") == (4, 4)
    with pytest.raises(
        ValueError,
        match="looks through front of 8 x 12, wrist of 4 x 4, and this camera is 'camera'",
    ):
        TWO.size_of("camera")


def test_an_observation_of_its_shapes() -> None:
    blank = TWO.blank()
    assert {name: one.shape for name, one in blank.images.items()} == {
        "front": (8, 12, 3),
        "wrist": (4, 4, 3),
    }
    assert blank.state == {"odom.x": 0.0, "odom.y": 0.0, "odom.yaw": 0.0, "joint1": 0.0}


def test_depth_is_an_image_of_its_own_kind() -> None:
    deep = PolicySpec(("linear.x",), 1, 1, {"front": (8, 12)}, depths={"front": (4, 6), "top": (2, 2)})
    depths = deep.blank().depths
    assert {name: depth.shape for name, depth in depths.items()} == {"front": (4, 6), "top": (2, 2)}
    assert all(depth.dtype == np.float32 and np.isfinite(depth).all() for depth in depths.values())
    assert not TWO.blank().depths


def test_one_that_looks_at_one_image_takes_that_one_wherever_it_stands() -> None:
    seen = image()
    assert ONE.only({"left": image(3, 3), "front": seen}) is seen


@pytest.mark.parametrize(
    ("images", "has"),
    [
        ({}, "no image"),
        ({"left": image()}, "left of 8 x 12"),
        ({"front": image(9)}, "front of 9 x 12"),
        ({"front": image(12, 8)}, "front of 12 x 8"),
    ],
)
def test_an_image_that_is_not_there_at_its_size_is_refused_with_both_lists(
    images: Any, has: str
) -> None:
    with pytest.raises(
        ValueError, match=f"looks through front of 8 x 12, and the observation has {has}; name"
    ):
        ONE.only(images)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": "linear.x"}, "channels are 'linear.x'; give a tuple of names"),
        ({"channels": ["linear.x"]}, "channels are .*; give a tuple of names"),
        ({"state": (1,)}, r"state are \(1,\); give a tuple of names"),
        ({"images": (8, 8)}, r"images are \(8, 8\); give each one's size by its name"),
        (
            {"images": {"front": 224}},
            r"image 'front' has the size 224; give \(height, width\) in pixels",
        ),
        ({"images": {"front": (0, 8)}}, "has the size"),
        ({"images": {"front": (8.0, 8)}}, "has the size"),
        ({"images": {"front": (8, 8, 3)}}, "has the size"),
        ({"depths": (8, 8)}, r"depth images are \(8, 8\); give each one's size by its name"),
        ({"depths": {"front": (0, 8)}}, "depth image 'front' has the size"),
        ({"resize": "zoom"}, "resize is 'zoom'; use one of pad, crop, stretch"),
        ({"steps": 0}, "steps is 0; give a whole number from 1 up"),
        ({"history": 0}, "history is 0; give a whole number from 1 up"),
        ({"history_spacing": -1}, "history_spacing is -1; give whole ns"),
        ({"history_spacing": 0.1}, "history_spacing is 0.1; give whole ns"),
        ({"step": 0.1}, "step is 0.1; give a whole number"),
    ],
)
def test_a_spec_that_is_none_is_refused(changes: dict[str, Any], sentence: str) -> None:
    good: dict[str, Any] = {
        "channels": ("linear.x",),
        "steps": 1,
        "step": 1,
        "images": {"front": (8, 8)},
    }
    PolicySpec(**good)
    with pytest.raises(ValueError, match=sentence):
        PolicySpec(**{**good, **changes})


SEEN = Observation(7, Instruction(0, 5, "go"), {})


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int64])
def test_rows_become_a_chunk_of_the_observation(kind: type) -> None:
    rows = np.array([[1], [2]], kind)
    chunk = ONE.chunk(rows, SEEN, "wander@1")
    assert (chunk.stamp, chunk.instruction_id, chunk.channels, chunk.step, chunk.policy) == (
        7,
        5,
        ("linear.x",),
        100_000_000,
        "wander@1",
    )
    assert chunk.values.dtype == np.float32 and chunk.values.tolist() == [[1.0], [2.0]]


def test_a_policy_may_use_its_array_again() -> None:
    rows = np.array([[0.1]], np.float32)
    chunk = ONE.chunk(rows, SEEN)
    rows[:] = 9.0
    assert chunk.values.tolist() == [[np.float32(0.1)]]


def test_what_float32_cannot_hold_is_infinite_and_nan_stays_for_the_gate_to_find() -> None:
    assert np.isinf(ONE.chunk(np.array([[1e300]]), SEEN).values).all()
    assert np.isnan(ONE.chunk(np.array([[np.nan]]), SEEN).values).all()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (None, "gave a NoneType; predict returns an array of numbers, rows x channels"),
        ([[0.1]], "gave a list;"),
        (np.array([["a"]]), "an array of <U1;"),
        (np.array([[True]]), "an array of bool;"),
        (np.array([[1j]]), "an array of complex128;"),
        (np.array([[None]]), "an array of object;"),
        (np.zeros(1), r"rows of shape \(1,\) for 1 channels"),
        (np.zeros((1, 2)), r"rows of shape \(1, 2\) for 1 channels"),
        (np.zeros((0, 1)), r"rows of shape \(0, 1\) for 1 channels"),
        (np.zeros((1, 1, 1)), r"rows of shape \(1, 1, 1\)"),
    ],
    ids=["none", "list", "text", "bool", "complex", "object", "flat", "wide", "empty", "deep"],
)
def test_what_are_no_rows_gets_a_sentence(rows: object, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        ONE.chunk(rows, SEEN)  # type: ignore[arg-type]
