"""The simulated arm: its tables, its drivers, what it holds, what its cameras see."""
from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from vla_ros.sim.arm.chain import (
    FINGER,
    FINGER_SPEED_M_S,
    FINGER_TRAVEL_M,
    HOME,
    LIMITS,
    NAMES,
    SPEEDS,
)
from vla_ros.sim.arm.domain_randomization import TableLook, apply_look, random_table_look
from vla_ros.sim.arm.model import SCENE_CAMERA_M, SCENE_TARGET_M
from vla_ros.sim.arm.scene import FARTHEST_M, GAP_M, NEAREST_M, POOL, WIDEST, sample_table
from vla_ros.sim.arm.world import CAMERAS, DRIVER_TIMEOUT_S, ArmWorld
from vla_ros.sim.mujoco_world import GRIP_FORCE_N
from vla_ros.tasks.arm.table import OPENING_MAX


@pytest.fixture(scope="module")
def shared() -> Iterator[ArmWorld]:
    world = ArmWorld(0, (64, 64))
    yield world
    world.close()


@pytest.fixture
def world(shared: ArmWorld) -> ArmWorld:
    apply_look(shared, TableLook())
    shared.reset(0)
    shared.place_arm(HOME, OPENING_MAX)
    return shared


def angles(world: ArmWorld) -> np.ndarray:
    states = world.joint_states()
    return np.array([states[name] for name in NAMES])


# -- tables --
def test_the_same_seed_gives_the_same_table() -> None:
    assert sample_table(7) == sample_table(7)
    assert sample_table(7) != sample_table(8)


def test_every_table_has_blocks_a_cup_and_a_bowl_within_reach_and_apart() -> None:
    for seed in range(60):
        things = sample_table(seed).objects
        shapes = [thing.shape for thing in things]
        assert shapes.count("block") in (2, 3) and "cup" in shapes and "bowl" in shapes and len(things) <= 6
        assert len({thing.name for thing in things}) == len(things)
        assert len({thing.slot for thing in things}) == len(things)
        for thing in things:
            assert NEAREST_M <= math.hypot(thing.x, thing.y) <= FARTHEST_M
            assert abs(math.atan2(thing.y, thing.x)) <= WIDEST
            for other in things:
                apart = math.dist((thing.x, thing.y), (other.x, other.y))
                assert other is thing or apart >= (thing.size + other.size) / 2 + GAP_M


def test_things_stay_where_they_stand(world: ArmWorld) -> None:
    world.step(1.0)
    for thing, standing in zip(world.state().objects, world.scene.objects):
        assert math.dist((thing.x, thing.y), (standing.x, standing.y)) < 0.002
        assert abs(thing.bottom) < 0.003


# -- drivers --
def test_the_arm_stands_still_untold(world: ArmWorld) -> None:
    before = angles(world)
    world.step(1.0)
    np.testing.assert_allclose(angles(world), before, atol=0.003)
    assert world.state().speed < 0.01


def test_a_command_is_reached_in_its_time(world: ArmWorld) -> None:
    goal = HOME + np.array([0.1, 0.05, -0.05, 0.1, 0.1, -0.1])
    world.command(goal, 0.4)
    world.step(0.2)
    np.testing.assert_allclose(world.told()[0], (HOME + goal) / 2, atol=0.002)  # half of the way
    world.step(0.4)
    np.testing.assert_allclose(angles(world), goal, atol=0.005)


def test_a_trajectory_goes_through_its_points(world: ArmWorld) -> None:
    first = HOME + 0.1
    second = HOME - 0.05
    world.follow([0.2, 0.4], np.stack((first, second)))
    world.step(0.2)
    np.testing.assert_allclose(world.told()[0], first, atol=0.002)
    world.step(0.2)
    np.testing.assert_allclose(world.told()[0], second, atol=0.002)


def test_no_joint_turns_faster_than_its_motor(world: ArmWorld) -> None:
    world.command(HOME + 1.0, 0.0)
    fastest = np.zeros(6)
    for _ in range(20):
        before = angles(world)
        world.step(0.02)
        fastest = np.maximum(fastest, np.abs(angles(world) - before) / 0.02)
    assert (fastest > 0.8 * SPEEDS).all() and (fastest < 1.15 * SPEEDS).all()


def test_a_joint_stops_at_its_limit(world: ArmWorld) -> None:
    for _ in range(10):
        world.command(np.array([9.0, *HOME[1:]]), 0.1)
        world.step(0.3)
    assert angles(world)[0] == pytest.approx(LIMITS[0, 1], abs=0.01)
    assert world.told()[0][0] == LIMITS[0, 1]  # the servo does not press against its stop


def test_an_arm_that_hears_no_more_holds_after_the_time_out(world: ArmWorld) -> None:
    world.command(HOME + np.array([1.0, 0, 0, 0, 0, 0]), 2.0)  # half a rad a second
    world.step(DRIVER_TIMEOUT_S + 0.2)
    held = angles(world)
    assert held[0] - HOME[0] == pytest.approx(0.5 * DRIVER_TIMEOUT_S, abs=0.01)
    world.step(1.0)
    np.testing.assert_allclose(angles(world), held, atol=0.003)


@pytest.mark.parametrize("times, points", [
    ([0.1], [[math.nan] * 6]),
    ([0.1], [[0.0] * 5]),
    ([], np.zeros((0, 6))),
    ([0.2, 0.1], np.zeros((2, 6))),
    ([-0.1], np.zeros((1, 6))),
    ([math.inf], np.zeros((1, 6))),
    ([0.1, 0.2], np.zeros((1, 6))),
])
def test_a_trajectory_that_is_none_makes_the_arm_hold(world: ArmWorld, times: list[float], points: object) -> None:
    world.command(HOME + 0.5, 0.5)
    world.step(0.1)
    with pytest.raises(ValueError, match="the arm holds: it was told"):
        world.follow(times, points)
    told = world.told()[0]
    world.step(0.3)
    np.testing.assert_array_equal(world.told()[0], told)


def test_the_gripper_moves_at_its_speed_and_within_its_travel(world: ArmWorld) -> None:
    world.command_gripper(-1.0)
    world.step(0.2)
    assert world.told()[1] == pytest.approx(FINGER_TRAVEL_M - 0.2 * FINGER_SPEED_M_S, abs=1e-6)
    world.step(1.0)
    assert world.joint_states()[FINGER] < 0.001
    world.command_gripper(1.0)
    world.step(1.5)
    assert world.state().opening == pytest.approx(OPENING_MAX, abs=0.002)


def test_a_gripper_s_command_that_is_no_number_is_refused_and_it_holds(world: ArmWorld) -> None:
    with pytest.raises(ValueError, match="the gripper holds: it was told to open to nan m"):
        world.command_gripper(math.nan)
    world.step(0.5)
    assert world.state().opening == pytest.approx(OPENING_MAX, abs=0.002)


# -- what it holds --
def test_fingers_on_both_sides_of_a_block_hold_it_and_lift_it(world: ArmWorld) -> None:
    x, y, z = world.state().tool
    block = next(thing for thing in world.scene.objects if thing.shape == "block")
    assert world.state().held is None
    world.place_thing(block.name, x, y, z, math.pi / 2)
    world.command_gripper(0.0)
    for _ in range(4):  # it falls on; the fingers are faster where it lies on nothing for a moment
        world.place_thing(block.name, x, y, z, world.state().tool_yaw)
        world.step(0.08)
    world.step(0.5)
    assert world.state().held == block.name
    assert world.state().opening == pytest.approx(block.size, abs=0.003)
    world.command_gripper(FINGER_TRAVEL_M)
    world.step(1.0)
    assert world.state().held is None
    assert world.state().object(block.name).z < z - 0.05


def finger_force(world: ArmWorld) -> float:
    """N on the finger that is pressed on the less."""
    import mujoco

    force = np.zeros(6)
    total = {"left_finger": 0.0, "right_finger": 0.0}
    for index in range(world.data.ncon):
        for geom in world.data.contact[index].geom:
            body = world.model.body(int(world.model.geom_bodyid[geom])).name
            if body in total:
                mujoco.mj_contactForce(world.model, world.data, index, force)
                total[body] += float(force[0])
    return min(total.values())


def test_closed_fingers_that_push_a_thing_do_not_hold_it(world: ArmWorld) -> None:
    world.place_arm(HOME, 0.0)
    x, y, z = world.state().tool
    block = next(thing for thing in world.scene.objects if thing.shape == "block")
    touched = 0.0
    for _ in range(20):  # pressed against both closed fingers, from across their way
        world.place_thing(block.name, x + 0.006 + block.size / 2, y, z)
        world.step(0.004)
        touched = max(touched, finger_force(world))
        assert world.state().held is None
    assert touched > GRIP_FORCE_N


def test_a_thing_that_is_not_there_is_said(world: ArmWorld) -> None:
    with pytest.raises(ValueError, match="the scene has no 'pink cow'; it has "):
        world.place_thing("pink cow", 0.3, 0.0, 0.1)


# -- cameras --
@pytest.fixture
def drawn(world: ArmWorld) -> ArmWorld:
    try:
        world.render()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    return world


def test_both_cameras_see_the_table_and_its_things(drawn: ArmWorld) -> None:
    images = drawn.render()
    assert tuple(images) == CAMERAS
    for image in images.values():
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert image.std() > 20.0
    # take the things away, and both see it
    for standing in drawn.scene.objects:
        drawn.place_thing(standing.name, 0.0, 5.0, 0.1)
    without = drawn.render()
    for camera in CAMERAS:
        assert (np.abs(images[camera].astype(int) - without[camera]) > 30).any(axis=2).mean() > 0.02


def test_the_scene_camera_sees_every_place_where_things_stand(drawn: ArmWorld) -> None:
    thing = next(standing for standing in drawn.scene.objects if standing.shape == "bowl")
    drawn.place_arm(np.array([0.0, -0.9, -1.0, 0.0, 0.0, 0.0]), OPENING_MAX)  # out of the way
    for other in drawn.scene.objects:
        drawn.place_thing(other.name, 0.0, 5.0, 0.1)
    plain = drawn.render()["scene"].astype(int)
    for radius in (NEAREST_M, FARTHEST_M):
        for bearing in (-WIDEST, 0.0, WIDEST):
            drawn.place_thing(thing.name, radius * math.cos(bearing), radius * math.sin(bearing), 0.03)
            changed = np.abs(drawn.render()["scene"].astype(int) - plain).max(axis=2) > 25
            rows, columns = np.nonzero(changed)
            assert len(rows) > 15, (radius, bearing)
            assert rows.min() > 0 and rows.max() < 63 and columns.min() > 0 and columns.max() < 63


def test_depth_is_how_far_away_what_the_image_shows_is(drawn: ArmWorld) -> None:
    """The middle of the scene camera's image is the point of the table that it looks at."""
    drawn.place_arm(np.array([0.0, -0.9, -1.0, 0.0, 0.0, 0.0]), OPENING_MAX)  # out of the way
    for standing in drawn.scene.objects:
        drawn.place_thing(standing.name, 0.0, 5.0, 0.1)
    before = drawn.render()["scene"]
    depth = drawn.render_depth("scene")
    assert depth.shape == (64, 64) and depth.dtype == np.float32
    table = SCENE_CAMERA_M[2] / (SCENE_CAMERA_M[2] - SCENE_TARGET_M[2]) * math.dist(SCENE_CAMERA_M, SCENE_TARGET_M)
    assert depth[31:33, 31:33].mean() == pytest.approx(table, abs=0.005)
    bowl = next(standing for standing in drawn.scene.objects if standing.shape == "bowl")
    drawn.place_thing(bowl.name, 0.25, 0.0, 0.03)
    changed = np.abs(drawn.render()["scene"].astype(int) - before).max(axis=2) > 25
    nearer = depth - drawn.render_depth("scene") > 0.003
    assert nearer.sum() > 15 and changed[nearer].mean() > 0.5  # where it is drawn, it is nearer
    assert (drawn.render()["scene"].shape) == (64, 64, 3)  # colours again


def test_people_s_view_has_any_size(drawn: ArmWorld) -> None:
    assert drawn.render_room(160, 120).shape == (120, 160, 3)


def test_cameras_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("cameras of 15x16 pixels are too small; use at least 16x16")):
        ArmWorld(0, (16, 15))


# -- how it looks --
def test_a_look_changes_both_images_and_the_plain_one_changes_them_back(drawn: ArmWorld) -> None:
    plain = drawn.render()
    apply_look(drawn, random_table_look(np.random.default_rng(3)))
    varied = drawn.render()
    apply_look(drawn, TableLook())
    back = drawn.render()
    for camera in CAMERAS:
        assert np.abs(plain[camera].astype(int) - varied[camera]).mean() > 5.0
        np.testing.assert_array_equal(plain[camera], back[camera])


def test_an_amount_of_nothing_is_the_plain_look() -> None:
    look = random_table_look(np.random.default_rng(4), 0.0)
    assert look == TableLook()
    assert len(look.things) == len(POOL)


def test_the_same_random_numbers_give_the_same_look() -> None:
    assert random_table_look(np.random.default_rng(5)) == random_table_look(np.random.default_rng(5))


def test_a_camera_s_turn_keeps_its_quaternion_a_unit(drawn: ArmWorld) -> None:
    for seed in range(5):
        apply_look(drawn, random_table_look(np.random.default_rng(seed)))
        np.testing.assert_allclose(np.linalg.norm(drawn.model.cam_quat, axis=1), 1.0, atol=1e-6)
