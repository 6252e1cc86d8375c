"""Where a point lies in the image, against MuJoCo's; and what changes how the room looks, and gives it back."""
from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from vla_ros.sim import scene as scenes
from vla_ros.sim.domain_randomization import Look, apply, random_look
from vla_ros.sim.projection import in_view, project
from vla_ros.sim.world import World

WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope="module")
def drawn() -> World:
    world = World(0, width=WIDTH, height=HEIGHT)
    try:
        world.render()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    return world


@pytest.fixture
def world(drawn: World) -> World:
    """The robot in a corner, looking along the diagonal; every object behind it, where no camera looks."""
    drawn.reset(0)
    apply(drawn, Look())
    for index, placed in enumerate(drawn.scene.objects):
        drawn.place_object(placed.name, 5.0 + index, 5.0)
    drawn.place_robot(-1.2, -1.2, math.pi / 4)
    return drawn


def wear(world: World, look: Look) -> None:
    """Apply the look, and move the sun and the camera."""
    apply(world, look)
    state = world.state()
    world.place_robot(state.x, state.y, state.yaw)


def put(world: World, ahead: float, left: float) -> None:
    """The scene's first object there, seen from the robot."""
    state = world.state()
    cos, sin = math.cos(state.yaw), math.sin(state.yaw)
    world.place_object(world.scene.objects[0].name, state.x + ahead * cos - left * sin,
                       state.y + ahead * sin + left * cos)


def pixels_of(world: World, ahead: float, left: float) -> Any:
    """Rows and columns of the pixels that the object changes when it stands there."""
    put(world, 0.0, 9.0)
    without = world.render().astype(int)
    put(world, ahead, left)
    return np.nonzero(np.abs(world.render() - without).sum(-1) > 30)


# -- view ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ahead, left", [(0.25, 0.0), (0.5, 0.2), (0.8, -0.45), (1.2, 0.6), (2.0, 0.0)])
def test_an_object_is_drawn_where_it_is_projected(world: World, ahead: float, left: float) -> None:
    rows, columns = pixels_of(world, ahead, left)
    column, row, depth = project(np.array(ahead), np.array(left), world.scene.objects[0].height / 2)
    assert len(rows) > 4 and depth > 0
    assert (column + 1) / 2 * WIDTH - 0.5 == pytest.approx(columns.mean(), abs=1.0)
    assert (row + 1) / 2 * HEIGHT - 0.5 == pytest.approx(rows.mean(), abs=1.5)


@pytest.mark.parametrize("ahead", [0.3, 0.8, 1.5])
@pytest.mark.parametrize("side", [-1, 1])
def test_in_view_ends_at_the_image_s_border(world: World, ahead: float, side: int) -> None:
    lefts = np.arange(0.0, 2.5, 1e-3)
    border = side * float(lefts[in_view(np.full_like(lefts, ahead), side * lefts)].max())
    assert abs(project(np.array(ahead), np.array(border))[0]) == pytest.approx(1.0, abs=0.01)
    _, columns = pixels_of(world, ahead, border)  # half of it is in the image
    assert (columns.min() if side > 0 else WIDTH - 1 - columns.max()) == 0
    assert not len(pixels_of(world, ahead, border + side * 0.06)[1])


def test_what_is_behind_or_under_the_camera_is_out_of_view() -> None:
    ahead, left = np.array([-0.5, -0.06, 0.0, 0.3, 3.0]), np.zeros(5)
    assert in_view(ahead, left).tolist() == [False, False, False, True, True]
    assert not in_view(np.array([np.nan]), np.array([0.0])).any()


def test_points_keep_their_shape_and_precision() -> None:
    grid = np.full((2, 3), 0.7, np.float32)
    column, row, depth = project(grid, 0 * grid)
    assert column.shape == row.shape == depth.shape == (2, 3) and column.dtype == np.float32


# -- placed by hand ------------------------------------------------------------------------------------------
def test_objects_and_fingers_go_where_they_are_put(world: World) -> None:
    thing = world.scene.objects[1]
    world.place_object(thing.name, 0.3, -0.4, 0.5)
    there = world.state().objects[1]
    assert (there.x, there.y, there.z, there.yaw) == pytest.approx((0.3, -0.4, thing.height / 2, 0.5))
    for opening in (0.0, 0.06):
        world.place_gripper(opening)
        assert world.joint_states()["gripper_joint"] == pytest.approx(opening)
        world.step(0.2)  # and they stay
        assert world.joint_states()["gripper_joint"] == pytest.approx(opening, abs=0.003)


@pytest.mark.parametrize("change", [lambda world: world.place_object("pink block", 0, 0),
                                    lambda world: world.paint("pink block", (1, 1, 1))])
def test_an_object_that_is_not_in_the_scene_is_named_with_those_that_are(world: World, change: Any) -> None:
    with pytest.raises(ValueError, match=f"no 'pink block'; it has .*{world.scene.objects[0].name}"):
        change(world)


# -- look ----------------------------------------------------------------------------------------------------
CHANGES = {"light": 0.6, "sun": 1.5, "floor": (0.5, 0.5, 0.5), "wall": (0.2, 0.3, 0.4),
           "shift": tuple((-0.2, 0.2, 0.1) for _ in scenes.slots()), "camera": (0.02, 0.0, 0.0), "tilt": 0.05}


@pytest.mark.parametrize("name", CHANGES)
def test_a_look_changes_the_image_and_the_plain_look_gives_it_back(world: World, name: str) -> None:
    put(world, 0.6, 0.0)
    plain = world.render()
    wear(world, replace(Look(), **{name: CHANGES[name]}))
    assert (world.render() != plain).mean() > 0.002
    wear(world, Look())
    assert np.array_equal(world.render(), plain)


def test_a_reset_and_the_plain_look_give_the_room_back_bit_for_bit() -> None:
    fresh, used = World(3, width=32, height=24), World(3, width=32, height=24)
    for seed in range(3):
        wear(used, random_look(np.random.default_rng(seed), 3.0))
        assert not np.array_equal(used.render(), fresh.render())
    used.step(0.1)
    used.reset(3)
    wear(used, Look())
    assert np.array_equal(used.render(), fresh.render())
    for name in ("geom_rgba", "mat_rgba", "light_diffuse", "light_dir", "cam_pos", "cam_quat"):
        assert np.array_equal(getattr(used.model, name), getattr(fresh.model, name)), name
    used.close(), fresh.close()


def test_a_reset_alone_keeps_the_light_and_gives_objects_plain_colours(world: World) -> None:
    apply(world, replace(Look(), light=0.5, shift=CHANGES["shift"]))
    dark = world.model.light_diffuse.copy()
    placed = world.scene.objects[0]
    geom = world.model.geom(f"object{placed.slot}").id
    assert not np.allclose(world.model.geom_rgba[geom, :3], scenes.RGB[placed.colour])
    world.reset(0)
    assert np.array_equal(world.model.light_diffuse, dark)
    np.testing.assert_allclose(world.model.geom_rgba[geom], [*scenes.RGB[placed.colour], 1.0], rtol=1e-6)


def test_the_camera_moves_and_tilts_the_way_it_says(world: World) -> None:
    def middle(look: Look) -> Any:
        wear(world, look)
        rows, columns = pixels_of(world, 0.8, 0.0)
        return np.array([rows.mean(), columns.mean()])

    row, column = middle(Look())
    assert middle(Look(tilt=0.05))[0] < row - 3  # down: what is there moves up
    assert middle(Look(camera=(0.0, 0.05, 0.0)))[1] > column + 3  # to the left: it moves right
    assert middle(Look(camera=(0.0, 0.0, 0.05)))[0] > row + 2  # up: it moves down
    assert middle(Look(camera=(0.05, 0.0, 0.0)))[0] > row + 1  # ahead: it comes nearer, so down


def test_the_sun_goes_round(world: World) -> None:
    plain = world.model.light_dir.copy()
    wear(world, Look(sun=math.pi / 2))
    turned = world.model.light_dir
    np.testing.assert_allclose(turned, np.column_stack([-plain[:, 1], plain[:, 0], plain[:, 2]]), atol=1e-12)


def test_random_looks_are_their_seed_s_and_as_strong_as_asked_for() -> None:
    one, same, other = (random_look(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other and len(one.shift) == len(scenes.slots())
    nothing = random_look(np.random.default_rng(1), 0.0)
    assert replace(nothing, shift=()) == Look() and not np.any(nothing.shift)
    lights = [random_look(np.random.default_rng(seed), 0.5).light for seed in range(200)]
    assert 1 - 0.175 <= min(lights) < 0.85 and 1.15 < max(lights) <= 1 + 0.175
