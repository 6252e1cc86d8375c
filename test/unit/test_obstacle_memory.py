"""What flickers in a scan is there all the time: it counts for a while, where it stands."""
import math
from dataclasses import replace

import numpy as np
import pytest
from gate_world import MS, ROBOT, S, World, scan

from vla_ros.safety.obstacle_memory import MOST_POINTS, ObstacleMemory

FRONT = ROBOT.footprint.front


def seen(memory, points, now, topic="/scan", robot=ROBOT):
    memory.see({topic: (scan(now, points), now)}, robot, now, now)
    return sorted(map(tuple, memory.points().round(4).tolist()))


def test_a_point_counts_for_the_hold_off_time_after_it_was_seen_last():
    memory = ObstacleMemory()
    assert seen(memory, [[0.5, 0.0]], 0) == [(0.5, 0.0)]
    for now in (100 * MS, 500 * MS, S):
        assert seen(memory, [], now) == [(0.5, 0.0)]
    assert seen(memory, [], S + 1) == []
    seen(memory, [[0.5, 0.0]], 2 * S)
    seen(memory, [[0.4, 0.1]], 2 * S + 500 * MS)
    seen(memory, [], 2 * S + 600 * MS)
    assert seen(memory, [], 3 * S + 1) == [(0.4, 0.1)]


def test_each_sensor_has_its_own_newest_look():
    memory = ObstacleMemory()
    memory.see({"/scan": (scan(0, [[0.5, 0.0]]), 0), "/sonar": (scan(0, [[0.4, 0.1]]), 0)}, ROBOT, 0, 0)
    assert len(memory.points()) == 2


@pytest.mark.parametrize("twist, place", [
    ((0.5, 0.0, 0.0), (0.25, 0.0)), ((0.0, 0.0, 1.0), (0.5 * math.cos(0.5), -0.5 * math.sin(0.5))),
    ((0.0, 0.2, 0.0), (0.5, -0.1))])
def test_it_stays_where_it_stands_while_the_robot_moves(twist, place):
    memory = ObstacleMemory()
    seen(memory, [[0.5, 0.0]], 0)
    for _ in range(25):  # half a second
        memory.move(twist, 20 * MS)
    assert memory.points()[0] == pytest.approx(place, abs=1e-9)
    assert seen(memory, [], 500 * MS) == [pytest.approx(place, abs=1e-4)]


def test_it_was_seen_from_where_the_robot_was_then():
    memory = ObstacleMemory()
    seen(memory, [[0.6, 0.1]], 180 * MS)
    memory.move((0.5, 0.0, 0.0), 20 * MS)
    memory.see({"/scan": (scan(0, [[0.5, 0.0]]), 200 * MS)}, ROBOT, 200 * MS, 200 * MS)  # 0.2 s old when it came
    assert memory.points().tolist() == [[pytest.approx(0.59), pytest.approx(0.1)], [pytest.approx(0.4), 0.0]]


def test_a_very_fine_scan_is_one_point_a_cell():
    memory = ObstacleMemory()
    fine = np.column_stack([np.full(20_000, 0.6), np.linspace(-0.5, 0.5, 20_000)])
    assert len(seen(memory, fine, 0)) <= 52


def test_a_wall_that_is_seen_again_and_again_is_kept_once():
    memory, wall = ObstacleMemory(), np.column_stack([np.full(50, 0.6), np.linspace(-0.5, 0.5, 50)])
    for i in range(20):
        seen(memory, wall + 0.001 * (i % 2), i * 50 * MS)
    assert len(memory.points()) <= 50 + 2 * 51


def test_another_point_takes_the_place_of_none():
    memory = ObstacleMemory()
    seen(memory, [[0.5001, 0.0001]], 0)
    seen(memory, [[0.519, 0.019]], 100 * MS)  # in the same cell, farther away
    assert (0.5001, 0.0001) in seen(memory, [], 200 * MS)


def test_what_is_kept_is_bounded_and_the_nearest_stays():
    memory = ObstacleMemory()
    x, y = np.meshgrid(np.arange(-1.0, 1.0, 0.021), np.arange(-1.0, 1.0, 0.021))
    seen(memory, np.column_stack([x.ravel(), y.ravel()]), 0)
    seen(memory, [], 20 * MS)
    assert len(memory.points()) <= MOST_POINTS
    assert (np.abs(memory.points() - [0.32, 0.0]).max(axis=1) < 0.02).any()


def test_what_is_far_away_is_not_kept():
    memory = ObstacleMemory()
    seen(memory, [[1e6, 0.0], [1e308, 0.0]], 0)
    assert seen(memory, [], 20 * MS) == []


@pytest.mark.parametrize("every", [2, 3, 4, 5])
@pytest.mark.parametrize("period", [50 * MS, 100 * MS])
def test_a_robot_does_not_creep_up_to_an_obstacle_that_flickers(every, period):
    """At 0.3 m/s to something that each second to fifth scan shows."""
    world, at, scans = World().moving(), 2.0, 0
    world.alive = False
    for _ in range(1000):
        at -= world.action["linear.x"] * 0.02
        world.inputs.seen["odom"] = world.now + 20 * MS
        world.inputs.measured["gripper"] = (1.0, world.now + 20 * MS)
        if world.now % period < 20 * MS:
            scans += 1
            visible = [[at, 0.0]] if scans % every == 0 else []
            stamp = world.now + 20 * MS + world.offset
            world.inputs.readings["/scan"] = (scan(stamp, visible), world.now + 20 * MS)
        world.values["linear.x"] = 0.3 + 0.001 * (scans % 2)
        world.tick()
    assert at - FRONT > 0.25
    assert world.action["linear.x"] == 0.0


def test_what_was_seen_comes_nearer_while_the_robot_drives():
    world, at = World().moving(), FRONT + 0.56
    world.points = [[at, 0.0]]
    world.tick()
    world.points = []
    for _ in range(40):
        at -= world.action["linear.x"] * 0.02
        world.tick()
    gap = at - FRONT
    assert 0.3 < gap < 0.45
    assert world.action["linear.x"] == pytest.approx(0.3 * (gap - 0.3) / 0.3, abs=0.02)


def test_less_hold_off_is_looser():
    world = World().moving()
    with pytest.raises(ValueError, match="hold_off"):
        world.gate.change(replace(ROBOT, obstacles=replace(ROBOT.obstacles, hold_off=0.5)), world.gate.settings)
