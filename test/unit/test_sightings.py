"""What is seen around the robot: kept where it stands, counted once it is sure."""
from __future__ import annotations

import math

import numpy as np
import pytest

from vla_ros.policies.progress import SURE_IMAGES
from vla_ros.policies.sightings import (
    MOVED_M,
    OneOfAlike,
    Seen,
    Sightings,
    fused,
    other_cells,
    paint_over,
    patches,
    placed,
    recolour,
    whole,
)
from vla_ros.tasks.choice import Sighting

HERE = {"odom.x": 0.0, "odom.y": 0.0, "odom.yaw": 0.0}


CELLS = np.zeros((4, 8), bool)
RED_BALL = Sighting("red", "ball", 1.0, 0.0)


def after(*things: Sighting, images: int = SURE_IMAGES) -> Sightings:
    sightings = Sightings()
    for _ in range(images):
        sightings.note([Seen(thing, CELLS) for thing in things], HERE)
    return sightings


@pytest.mark.parametrize(("images", "count"), [(SURE_IMAGES - 1, 0), (SURE_IMAGES, 1), (SURE_IMAGES + 1, 1)])
def test_a_thing_counts_once_enough_images_showed_it(images: int, count: int) -> None:
    assert len(after(RED_BALL, images=images).things(HERE)) == count


def test_a_thing_stays_where_it_is_while_the_robot_turns_and_drives() -> None:
    thing, = after(RED_BALL).things({"odom.x": 0.5, "odom.y": 0.0, "odom.yaw": math.pi / 2})
    assert (thing.name, thing.ahead, thing.left) == ("red ball", pytest.approx(0.0, abs=1e-9), pytest.approx(-0.5))


@pytest.mark.parametrize(("moved", "count"), [(MOVED_M - 0.01, 1), (MOVED_M + 0.01, 2)])
def test_a_thing_that_moved_a_little_is_the_same_and_one_far_from_it_is_another(moved: float, count: int) -> None:
    sightings = after(RED_BALL)
    after_that = Sighting("red", "ball", 1.0 + moved, 0.0)
    for _ in range(SURE_IMAGES):
        sightings.note([Seen(after_that, CELLS)], HERE)
    assert after_that in sightings.things(HERE) and len(sightings.things(HERE)) == count


@pytest.mark.parametrize(("column", "count"), [(0, 0), (1, 1), (6, 1), (7, 0)])
def test_what_the_image_s_sides_cut_off_does_not_count(column: int, count: int) -> None:
    cells = CELLS.copy()
    cells[2, column] = True
    sightings = Sightings()
    for _ in range(SURE_IMAGES):
        sightings.note([Seen(RED_BALL, cells)], HERE)
    assert len(sightings.things(HERE)) == count


def test_two_that_look_alike_stay_two() -> None:
    near = Sighting("red", "ball", 1.0, 0.29)
    assert after(RED_BALL, near).things(HERE) == [RED_BALL, near]
    one_before = after(RED_BALL)
    for _ in range(SURE_IMAGES):
        one_before.note([Seen(RED_BALL, CELLS), Seen(near, CELLS)], HERE)
    assert one_before.things(HERE) == [RED_BALL, near]


@pytest.mark.parametrize(("apart", "count"), [(0.19, 1), (0.21, 2)])
def test_two_things_in_one_place_are_the_one_that_more_images_showed(apart: float, count: int) -> None:
    sightings = after(Sighting("orange", "ball", 1.0 + apart, 0.0), RED_BALL)
    sightings.note([Seen(RED_BALL, CELLS)], HERE)
    assert sightings.things(HERE)[0] == RED_BALL and len(sightings.things(HERE)) == count


@pytest.mark.parametrize(("distance", "cells", "two"), [(2.0, 4, False), (2.0, 5, True), (0.5, 10, False), (0.5, 11, True)])
def test_what_covers_more_cells_than_one_thing_can_is_two(distance: float, cells: int, two: bool) -> None:
    ball = Sighting("red", "ball", distance, 0.0)
    covered = np.arange(300).reshape(15, 20) % 20 < 10
    covered &= np.cumsum(covered).reshape(15, 20) <= cells
    covered = np.roll(covered, 3, axis=1)
    assert fused(Seen(ball, covered)) == two
    sightings = Sightings()
    for image in range(4):  # in half of the images
        sightings.note([Seen(ball, covered if image % 2 else CELLS)], HERE)
    assert sightings.is_fused(ball, HERE) == two
    sightings.note([Seen(ball, CELLS)], HERE)
    assert not sightings.is_fused(ball, HERE)


@pytest.mark.parametrize(("colour", "rgb"), [
    ("red", (220, 20, 20)), ("orange", (250, 107, 5)), ("yellow", (242, 212, 13)), ("green", (20, 158, 40)), ("blue", (15, 56, 217)),
    ("purple", (133, 25, 173))])
def test_what_looks_alike_stays_in_the_way_in_another_colour(colour: str, rgb: tuple[int, int, int]) -> None:
    image = np.full((16, 24, 3), 90, np.uint8)
    image[:8, :8] = image[:8, 16:] = rgb
    shown = recolour(image, grid("x..", "..."), colour)
    assert shown[0, 0].argmax() == (1 if colour in ("blue", "purple") else 2) and shown[0, 0].max() == max(rgb)
    assert (shown[:, 8:] == image[:, 8:]).all() and tuple(image[0, 0]) == rgb  # the camera's own is not touched


# -- things that look alike --------------------------------------------------------------------------------------
def grid(*rows: str) -> np.ndarray:
    return np.array([[cell == "x" for cell in row] for row in rows])


@pytest.mark.parametrize(("rows", "count"), [
    (["....", "...."], 0), (["xx..", "xx.."], 1), (["x...", ".x.."], 1), (["x..x", "x..x"], 2), (["x.x.", "...."], 2)])
def test_patches_of_cells_that_touch_are_one(rows: list[str], count: int) -> None:
    found = patches(grid(*rows))
    assert len(found) == count
    assert (np.sum([grid(*rows) & False, *found], axis=0) == grid(*rows)).all()


def test_the_other_patches_are_painted_over_with_their_edges_and_nothing_of_the_kept_one() -> None:
    near, left, right = grid(".x...", "....."), grid("x....", "....."), grid("....x", ".....")
    assert (other_cells([left, near], near) == grid("x....", "xx...")).all()
    image = np.full((16, 40, 3), 90, np.uint8)
    image[:8, :8] = image[:8, 32:] = 250
    shown = paint_over(image, other_cells([left, right], right))
    assert np.abs(shown[:, :32].astype(int) - 90).max() < 5 and (shown[:, 32:] == image[:, 32:]).all()
    assert image[0, 0, 0] == 250  # the camera's image itself is not touched


def test_one_of_two_alike_is_known_by_where_it_stands() -> None:
    other = Seen(Sighting("red", "ball", 1.0, 0.8), grid("..x", "..."))
    mine = Seen(RED_BALL, grid("x..", "..."))
    image = np.full((16, 24, 3), (200, 20, 10), np.uint8)
    one = OneOfAlike(RED_BALL, HERE)
    both = one.shown(image, [other, mine], HERE)
    assert (both[:8, :8] == image[:8, :8]).all() and (both[:8, 16:] != image[:8, 16:]).any()
    assert one.shown(image, [mine], HERE) is image and one.shown(image, [], HERE) is image
    assert (one.shown(image, [other], HERE)[:8, 16:] != image[:8, 16:]).any()  # its own is out of view
    turned = {**HERE, "odom.yaw": 0.5}
    seen = Seen(Sighting("red", "ball", math.cos(0.5), -math.sin(0.5)), mine.cells)
    assert placed(seen.thing, turned) == pytest.approx((1.0, 0.0)) and one.shown(image, [seen], turned) is image


@pytest.mark.parametrize(("part", "colour", "count"), [
    ("x....", "red", 1), ("xx...", "red", 2), ("....x", "red", 2), ("x....", "blue", 2)])
def test_a_few_cells_at_the_edge_of_a_thing_of_their_colour_are_a_part_of_it(part: str, colour: str, count: int) -> None:
    cylinder = Seen(Sighting("red", "cylinder", 1.0, 0.0), grid(".xx..", ".x..."))
    cells = Seen(Sighting(colour, "block", 1.4, 0.0), grid(".....", part))
    assert len(whole([cylinder, cells])) == count and cylinder in whole([cylinder, cells])
