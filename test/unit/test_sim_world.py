"""The simulated room: scenes, driver, gripper, lidar, camera."""
from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from vla_ros.sim import scene as scenes
from vla_ros.sim.world import ANGULAR_RATE, DRIVER_TIMEOUT_S, LINEAR_MAX, LINEAR_RATE, World
from vla_ros.tasks.objects import OPENING_MAX, SHAPES


@pytest.fixture(scope="module")
def shared() -> World:
    return World(0, width=160, height=120)


@pytest.fixture
def world(shared: World) -> World:
    shared.reset(0)
    return shared


@pytest.fixture
def open_floor(world: World) -> World:
    """A world whose robot has free way ahead: in a corner, looking along the wall, where no object stands."""
    world.place_robot(-1.45, -1.45, 0.0)
    return world


def drive(world: World, linear: float, angular: float, seconds: float) -> None:
    for _ in range(round(seconds / 0.02)):
        world.command(linear, angular)
        world.step(0.02)


def make_image(world: World, draw: Callable[[], np.ndarray]) -> np.ndarray:
    try:
        return draw()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")


def test_the_same_seed_gives_the_same_scene() -> None:
    assert scenes.sample_scene(7) == scenes.sample_scene(7)
    assert scenes.sample_scene(7) != scenes.sample_scene(8)


@pytest.mark.parametrize("seed", range(0, 200, 7))
def test_scenes_are_fair(seed: int) -> None:
    scene = scenes.sample_scene(seed)
    names = [placed.name for placed in scene.objects]
    assert 4 <= len(names) <= 6 and len(set(names)) == len(names)
    for index, placed in enumerate(scene.objects):
        assert max(abs(placed.x), abs(placed.y)) <= scenes.ROOM_M / 2 - 0.6
        assert math.dist((placed.x, placed.y), scene.robot[:2]) >= 0.75
        for other in scene.objects[index + 1:]:
            assert math.dist((placed.x, placed.y), (other.x, other.y)) > 0.4


def test_every_object_fits_the_open_gripper() -> None:
    for shape, size, _ in scenes.slots():
        widest = size * math.sqrt(2) if shape == "block" else size
        assert widest < OPENING_MAX


def test_an_impossible_scene_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="scene of 40 objects"):
        scenes.sample_scene(0, 40)


def test_a_reset_repeats_the_world(world: World) -> None:
    before = world.state()
    drive(world, 0.4, 0.5, 1.0)
    world.reset(0)
    after = world.state()
    assert after.objects == before.objects and (after.x, after.y, after.yaw) == (before.x, before.y, before.yaw)
    assert after.time > before.time  # a clock that stepped back would look like a fault to the nodes


def test_the_robot_drives_as_far_as_it_was_told(open_floor: World) -> None:
    start = open_floor.odometry()
    drive(open_floor, 0.4, 0.0, 2.0)
    there = open_floor.odometry()
    assert there.x - start.x == pytest.approx(0.8, abs=0.04)
    assert there.linear == pytest.approx(0.4, abs=0.01)


def test_the_robot_turns_as_far_as_it_was_told(world: World) -> None:
    start = world.odometry()
    drive(world, 0.0, 0.5, 2.0)
    there = world.odometry()
    assert math.remainder(there.yaw - start.yaw, 2 * math.pi) == pytest.approx(1.0, abs=0.06)
    assert math.dist((there.x, there.y), (start.x, start.y)) < 0.01


def test_the_robot_never_moves_sideways(open_floor: World) -> None:
    previous = open_floor.odometry()
    for _ in range(75):
        drive(open_floor, 0.4, 0.3, 0.02)
        here = open_floor.odometry()
        heading = (here.yaw + previous.yaw) / 2
        sideways = -(here.x - previous.x) * math.sin(heading) + (here.y - previous.y) * math.cos(heading)
        assert abs(sideways) < 2e-4
        previous = here


def test_speed_grows_no_faster_than_the_motors_can(open_floor: World) -> None:
    drive(open_floor, 1.0, 0.0, 0.1)
    assert open_floor.odometry().linear <= LINEAR_RATE * 0.1 + 0.01
    drive(open_floor, 0.0, 2.0, 0.1)
    assert open_floor.odometry().angular <= ANGULAR_RATE * 0.1 + 0.02


def test_wheels_follow_the_motion(open_floor: World) -> None:
    drive(open_floor, 0.4, 0.0, 1.0)
    joints = open_floor.joint_states()
    driven = open_floor.odometry().x + 1.45
    assert joints["left_wheel_joint"] * scenes.WHEEL_RADIUS_M == pytest.approx(driven, abs=0.005)
    assert joints["right_wheel_joint"] == pytest.approx(joints["left_wheel_joint"], abs=0.01)


def test_without_commands_the_driver_stops_after_its_time_out(open_floor: World) -> None:
    drive(open_floor, 0.3, 0.0, 1.0)
    open_floor.step(DRIVER_TIMEOUT_S - 0.1)
    assert open_floor.odometry().linear == pytest.approx(0.3, abs=0.01)
    open_floor.step(0.1 + 0.3 / LINEAR_RATE + 0.06)
    assert abs(open_floor.odometry().linear) < 0.01


def test_the_gripper_holds_without_commands(world: World) -> None:
    world.command_gripper(0.05)
    world.step(2.0)
    assert world.joint_states()["gripper_joint"] == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize("linear, angular", [(math.nan, 0.0), (0.0, math.inf), (-math.inf, 0.1)])
def test_wild_numbers_stop_the_wheels(open_floor: World, linear: float, angular: float) -> None:
    drive(open_floor, 0.3, 0.0, 0.5)
    with pytest.raises(ValueError, match="stopped the wheels"):
        open_floor.command(linear, angular)
    open_floor.step(0.3)
    assert abs(open_floor.odometry().linear) < 0.01


def test_a_wild_gripper_command_is_ignored(world: World) -> None:
    world.command_gripper(0.06)
    with pytest.raises(ValueError, match="gripper holds"):
        world.command_gripper(math.nan)
    world.step(1.0)
    assert world.joint_states()["gripper_joint"] == pytest.approx(0.06, abs=0.003)


def test_commands_beyond_the_motors_are_cut(open_floor: World) -> None:
    drive(open_floor, 50.0, 0.0, 1.0)
    assert open_floor.odometry().linear == pytest.approx(LINEAR_MAX, abs=0.02)


def test_a_wall_stops_the_robot(world: World) -> None:
    world.place_robot(-1.2, -1.45, math.pi)
    drive(world, 0.5, 0.0, 3.0)
    assert world.odometry().x > -scenes.ROOM_M / 2 + 0.1
    assert abs(world.odometry().linear) < 0.02


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gripper_closes_on_an_object_and_drags_it(world: World, shape: str) -> None:
    seed = next(seed for seed in range(50) if any(one.shape == shape for one in scenes.sample_scene(seed).objects))
    world.reset(seed)
    thing = next(one for one in world.state().objects if one.shape == shape)
    angle = math.atan2(-thing.y, -thing.x) + math.pi  # from the middle of the room outwards
    world.place_robot(thing.x - 0.45 * math.cos(angle), thing.y - 0.45 * math.sin(angle), angle)
    drive(world, 0.2, 0.0, 1.05)
    world.step(0.6)
    assert world.state().held is None
    world.command_gripper(0.0)
    world.step(1.0)
    assert world.state().held == thing.name
    drive(world, -0.3, 0.0, 1.5)
    state = world.state()
    dragged = next(one for one in state.objects if one.name == thing.name)
    assert state.held == thing.name and math.dist((dragged.x, dragged.y), (thing.x, thing.y)) > 0.3
    world.command_gripper(0.1)
    world.step(1.0)
    assert world.state().held is None


def test_balls_do_not_roll_away(world: World) -> None:
    world.reset(0)
    before = world.state().objects
    world.step(10.0)
    for old, new in zip(before, world.state().objects):
        assert math.dist((old.x, old.y), (new.x, new.y)) < 0.01


def test_the_lidar_sees_the_walls_and_not_the_objects(world: World) -> None:
    world.place_robot(0.0, 0.0, 0.0)
    scan = world.scan()
    half = scenes.ROOM_M / 2
    for degrees in (-90, 0, 46, 90):
        index = round((math.radians(degrees) - scan.angle_min) / scan.angle_increment)
        expected = half / max(abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees))))
        assert scan.ranges[index] == pytest.approx(expected, abs=0.02)
    assert np.all((scan.ranges >= half - 0.01) & (scan.ranges <= half * math.sqrt(2) + 0.01))


def test_the_scan_turns_with_the_robot(world: World) -> None:
    world.place_robot(0.8, 0.0, math.pi / 2)  # looks north; the east wall is on its right
    scan = world.scan()
    right = round((-math.pi / 2 - scan.angle_min) / scan.angle_increment)
    assert scan.ranges[right] == pytest.approx(scenes.ROOM_M / 2 - 0.8, abs=0.02)


def test_the_camera_sees_an_object_in_its_colour(world: World) -> None:
    thing = world.state().objects[0]
    world.place_robot(thing.x - 0.5, thing.y, 0.0)
    image = make_image(world, world.render)
    assert image.shape == (120, 160, 3) and image.dtype == np.uint8
    patch = image[40:110, 65:95].reshape(-1, 3).astype(int)
    vivid = patch[np.argmax(patch.max(axis=1) - patch.min(axis=1))]
    wanted = np.array(scenes.RGB[thing.colour])
    assert np.argmax(vivid) == np.argmax(wanted) and vivid.max() - vivid.min() > 80


def test_an_object_between_the_fingers_is_in_view(world: World) -> None:
    thing = world.state().objects[0]
    world.place_robot(thing.x - 0.24, thing.y, 0.0)
    image = make_image(world, world.render).astype(int)
    vivid = (image.max(axis=2) - image.min(axis=2)) > 80
    assert vivid[60:118, 60:100].sum() > 60


def test_the_view_from_above_and_its_pixels_agree(world: World) -> None:
    image = make_image(world, lambda: world.render_top(240)).astype(int)
    for thing in world.state().objects:
        column, row = world.top_pixel(thing.x, thing.y, 240)
        near = image[row - 2:row + 3, column - 2:column + 3].reshape(-1, 3)
        assert (near.max(axis=1) - near.min(axis=1)).max() > 80, thing.name


def test_drawing_in_a_thread_while_physics_runs() -> None:
    world = World(1, width=64, height=48)
    problems: list[BaseException] = []

    def draw() -> None:
        try:
            for _ in range(20):
                world.render()
            world.close()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=draw)
    thread.start()
    while thread.is_alive():
        world.step(0.02)
    if problems and isinstance(problems[0], RuntimeError):
        pytest.skip(f"neither EGL nor OSMesa draws here: {problems[0]}")
    assert not problems


def test_a_tiny_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="8x8"):
        World(0, width=8, height=8)
