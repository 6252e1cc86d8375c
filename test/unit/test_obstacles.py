"""Range sensors as points, and how near a motion comes to them."""
import math

import numpy as np
import pytest
from gate_world import EXAMPLES, SAME, rule_inputs
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_obstacles import Footprint, Obstacles, Sensor
from vla_ros.safety.obstacles import (
    Reading,
    _seen_later,
    approach,
    blind,
    cone_angles,
    distances,
    look,
    scan_angles,
    seen_ahead,
)
from vla_ros.safety.rule import RangeReading, Verdict
from vla_ros.safety.rules.obstacle import obstacle
from vla_ros.safety.rules.range_sensors import range_sensors

MS = 1_000_000
BUILTIN = Footprint(front=0.3, back=0.2, left=0.15, right=0.15)
SENSOR = Sensor("/scan", "sensor_msgs/msg/LaserScan")
LIMITS = Obstacles((SENSOR,), stop_distance=0.3, slow_distance=0.6, hysteresis=0.05, time_to_collision=1.0)
SPEED = Channel("linear.x", "m/s", (-1.0, 1.0), (-0.5, 0.5), acceleration=1.0, deceleration=3.0)
TURN = Channel("angular.z", "rad/s", (-1.0, 1.0), (-0.5, 0.5), acceleration=1.0, deceleration=3.0)
AROUND = np.linspace(-math.pi, math.pi, 72)


def robot(**changes):
    return Robot("r", "base_link", (SPEED, TURN), (), BUILTIN, Obstacles(**{**LIMITS.__dict__, **changes}))


def at(*points, valid=True):
    return Reading(0, np.array(points, float).reshape(-1, 2), AROUND, np.full(72, valid))


def ask(row, *points, was_blocked=False, reading=None, **changes):
    return decide([reading or at(*points)], row, was_blocked, **changes)


def decide(readings, row, was_blocked=False, **changes):
    return obstacle(rule_inputs(
        row=row, channels=(SPEED, TURN), robot=robot(**changes), was_blocked=was_blocked,
        points=lambda: np.concatenate([reading.points for reading in readings]),
        readings={str(i): RangeReading(reading, 0, 0) for i, reading in enumerate(readings)}))


@pytest.mark.parametrize("point, distance", [
    ((0.05, 0.0), -0.15), ((0.3, 0.15), 0.0), ((0.29, 0.0), -0.01), ((0.31, 0.0), 0.01), ((-0.25, 0.0), 0.05), ((0.0, 0.25), 0.1),
    ((0.0, -0.25), 0.1), ((0.33, 0.19), 0.05),
])
def test_distance_from_the_footprint(point, distance):
    assert distances(np.array([point]), BUILTIN)[0] == pytest.approx(distance)


@pytest.mark.parametrize("ranges, points, valid", [
    ([1.0], 1, 1), ([math.inf], 0, 1), ([math.nan], 0, 0), ([-math.inf], 2, 2), ([0.0], 0, 0), ([-0.0], 0, 0),
    ([-1.0], 0, 0), ([0.02], 1, 1), ([5.0], 1, 1), ([9.999], 1, 1), ([10.0], 0, 1), ([10.1], 0, 1), ([1e308], 0, 1), ([5e-324], 1, 1), ([], 0, 0),
    ([1.0, math.nan, math.inf], 1, 2),
])
def test_what_a_beam_means(ranges, points, valid):
    """REP 117; the sensor reaches from 0.05 to 10 m, an end that it does not know is none."""
    reading = look(SENSOR, 0, np.array(ranges), np.linspace(0, 1, len(ranges)), 0.05, 10.0)
    assert (len(reading.points), int(reading.valid.sum())) == (points, valid)


@pytest.mark.parametrize("low, high", [(math.nan, 10.0), (0.05, math.nan), (0.05, -1.0), (-1.0, 10.0), (2.0, 1.0), (0.0, 0.0)])
def test_a_sensor_that_does_not_know_its_reach_measures_nothing(low, high):
    assert not look(SENSOR, 0, np.array([1.0]), np.array([0.0]), low, high).valid.any()


@pytest.mark.parametrize("angle", [math.nan, math.inf])
def test_a_beam_without_a_direction_measures_nothing(angle):
    reading = look(SENSOR, 0, np.array([1.0]), np.array([angle]), 0.05, 10.0)
    assert not reading.valid.any() and not len(reading.points)


def test_a_sensor_is_where_the_robot_file_says():
    there = Sensor("/range", "sensor_msgs/msg/Range", x=0.2, y=-0.1, yaw=math.pi / 2, min_range=0.5)
    reading = look(there, 0, np.array([1.0, 0.4]), np.array([0.0, 0.0]), 0.05, 10.0)
    assert reading.points.tolist() == [[pytest.approx(0.2), pytest.approx(0.9)]]  # the other is the robot itself


@pytest.mark.parametrize("near, points", [(0.0, [[0.201, 0.0], [1.0, 0.0]]), (0.5, [[0.201, 0.0], [1.0, 0.0]]), (0.8, [])])
def test_what_is_nearer_than_the_sensor_can_tell_is_anywhere_up_to_what_it_can(near, points):
    there = Sensor("/range", "sensor_msgs/msg/Range", x=0.2, min_range=near)
    reading = look(there, 0, np.array([-math.inf]), np.array([0.0]), 0.8, 10.0)
    assert reading.points.tolist() == [[pytest.approx(x), y] for x, y in points]
    assert reading.valid.all()


def test_something_before_the_bumper_that_a_lidar_in_the_middle_is_too_near_to_see_holds():
    ranges = np.where(np.abs(AROUND) < 0.4, -math.inf, math.inf)
    for x in (-0.05, 0.0, 0.05):
        reading = look(Sensor("/scan", "sensor_msgs/msg/LaserScan", x=x), 0, ranges, AROUND, 0.35, 10.0)
        assert ask((0.3, 0.0), reading=reading).verdict is Verdict.HELD


def test_a_sensor_that_hangs_upside_down_turns_the_other_way():
    reading = look(Sensor("/scan", "x", yaw=0.1, inverted=True), 0, np.array([1.0]), np.array([0.5]), 0.05, 10.0)
    assert reading.angles[0] == pytest.approx(-0.4)


@pytest.mark.parametrize("heading, seen", [(0.0, True), (0.35, True), (0.5, False), (math.pi, False), (-6.2, True)])
def test_a_sensor_sees_where_its_beams_go(heading, seen):
    forward = Reading(0, np.zeros((0, 2)), np.linspace(-0.4, 0.4, 9), np.full(9, True))
    assert (seen_ahead([forward], heading, BUILTIN) > 0.0) == seen


@pytest.mark.parametrize("good, seen", [(5, True), (4, False)])
def test_a_sensor_half_of_whose_beams_fail_is_blind_there(good, seen):
    valid = np.array(([True] * good + [False] * (9 - good)) * 5)
    fan = (np.radians(np.arange(-16, 17, 8))[:, None] + np.linspace(-0.06, 0.06, 9)).ravel()
    assert (seen_ahead([Reading(0, np.zeros((0, 2)), fan, valid)], 0.0, BUILTIN) > 0.0) == seen


@pytest.mark.parametrize("twist, point, comes", [
    ((0.3, 0, 0), (0.7, 0.0), True), ((-0.3, 0, 0), (0.7, 0.0), False), ((0.3, 0, 0), (-0.5, 0.0), False),
    ((-0.3, 0, 0), (-0.5, 0.0), True), ((0.3, 0, 0), (0.0, 0.4), False), ((0, 0.3, 0), (0.0, 0.4), True),
    ((0, -0.3, 0), (0.0, 0.4), False), ((0, 0, 0.5), (0.29, 0.2), True), ((0, 0, -0.5), (0.29, 0.2), False),
    ((0.3, 0, 0), (1.5, 0.0), False),  # far away
])
def test_only_what_a_motion_comes_nearer_to_counts(twist, point, comes):
    gap, direction, _, _ = approach(np.array([point], float), BUILTIN, twist, LIMITS)
    assert math.isfinite(gap) == comes
    if comes:
        assert direction == pytest.approx(math.atan2(point[1], point[0]))


def test_the_time_until_it_touches():
    time = approach(np.array([[0.55, 0.0]]), BUILTIN, (0.5, 0.0, 0.0), LIMITS).touch
    assert 0.35 <= time <= 0.5  # 0.25 m at 0.5 m/s, rather too early than too late
    assert approach(np.array([[0.87, 0.0]]), BUILTIN, (0.5, 0.0, 0.0), LIMITS).touch == math.inf


def test_along_an_arc():
    """0.5 m/s and 1 rad/s lead 0.4 m to the left in a second: to something that straight on would be passed."""
    point = np.array([[0.6, 0.45]])
    assert approach(point, BUILTIN, (0.5, 0.0, 1.0), LIMITS)[2] < 1.0
    assert approach(point, BUILTIN, (0.5, 0.0, 0.0), LIMITS)[2] == math.inf


@pytest.mark.parametrize("gap, verdict", [(0.299, Verdict.HELD), (0.3, Verdict.HELD), (0.301, Verdict.LIMITED),
                                          (0.599, Verdict.LIMITED), (0.601, None)])
def test_the_stop_distance_and_the_slow_zone(gap, verdict):
    finding = ask((0.1, 0.0), (0.3 + gap, 0.0))
    assert (finding.verdict if finding else None) == verdict


def test_in_the_slow_zone_the_whole_motion_slows_down_on_its_path():
    finding = ask((0.2, 0.1), (0.3 + 0.45, 0.0))
    assert finding.row == (pytest.approx(0.1), pytest.approx(0.05))
    assert "0.45 m away; speed is 50%" in finding.reason


@pytest.mark.parametrize("gap, held", [(0.34, True), (0.349, True), (0.351, False)])
def test_after_a_stop_the_way_must_be_free_for_more(gap, held):
    finding = ask((0.1, 0.0), (0.3 + gap, 0.0), was_blocked=True)
    assert (finding.verdict is Verdict.HELD) == held
    assert ask((0.1, 0.0), (0.3 + gap, 0.0)).verdict is Verdict.LIMITED


def test_a_near_collision_slows_a_fast_robot_outside_the_slow_zone():
    finding = ask((0.5, 0.0), (0.3 + 0.35, 0.0), stop_distance=0.1, slow_distance=0.2)
    assert finding.verdict is Verdict.LIMITED
    assert 0.25 <= finding.row[0] <= 0.35  # 0.35 m in a second


def test_away_from_it_and_standing_are_free():
    assert ask((-0.1, 0.0), (0.5, 0.0)) is None
    assert ask((0.0, 0.0), (0.35, 0.0)) is None


def test_a_robot_without_sensors_is_not_asked():
    blind = Robot("r", "base_link", (SPEED, TURN), (), BUILTIN)
    assert obstacle(rule_inputs(row=(0.5, 0.0), channels=(SPEED, TURN), robot=blind, points=list)) is None
    assert range_sensors(rule_inputs(readings={}, robot=blind)) is None


@pytest.mark.parametrize("blind_speed, speed, verdict, row", [
    (0.0, 0.1, Verdict.HELD, None), (0.05, 0.1, Verdict.LIMITED, (0.05, 0.0)), (0.1, 0.1, None, None)])
def test_where_no_sensor_looks(blind_speed, speed, verdict, row):
    backward = Reading(0, np.zeros((0, 2)), np.linspace(3.0, 3.3, 9), np.full(9, True))
    finding = ask((speed, 0.0), reading=backward, max_speed_unobserved=blind_speed)
    assert (finding.verdict if finding else None) == verdict
    assert (finding.row if finding else None) == (row and pytest.approx(row))


def test_turning_needs_no_sensor_that_looks_anywhere_in_particular():
    backward = Reading(0, np.zeros((0, 2)), np.linspace(3.0, 3.3, 9), np.full(9, True))
    assert ask((0.0, 0.5), reading=backward) is None


@pytest.mark.parametrize("reading, arrived, age, says", [
    (None, 0, 0, "nothing was seen by /scan yet"), (at(), 0, 0, None), (at(), 300 * MS, 0, None),
    (at(), 300 * MS + 1, 0, "0.30 s old"), (at(), 0, 300 * MS, None), (at(), 0, 300 * MS + 1, "0.30 s old"),
    (at(), 0, -50 * MS, None), (at(), 0, -50 * MS - 1, "in the future"), (at(valid=False), 0, 0, "is blind"),
    (Reading(0, np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool)), 0, 0, "none of its 0 beams"),
])
def test_a_sensor_that_is_missing_stale_early_or_blind_is_an_obstacle(reading, arrived, age, says):
    finding = range_sensors(rule_inputs(readings={"/scan": RangeReading(reading, arrived, age)} if reading else {}, robot=robot(max_age=0.3)))
    assert (finding is None) == (says is None)
    if says:
        assert finding.verdict is Verdict.HELD and says in finding.reason


@pytest.mark.parametrize("horizon", [0.001, 0.05, 1.0, 10.0])
@pytest.mark.parametrize("speed", [0.01, 0.5, 2.0])
def test_whatever_the_horizon_what_is_in_the_way_is_not_driven_at(horizon, speed):
    for gap in (0.0, 0.01, 0.05, 0.29):
        assert ask((speed, 0.0), (0.3 + gap, 0.0), time_to_collision=horizon).verdict is Verdict.HELD


@pytest.mark.parametrize("lateral, verdict", [(0.15 + 0.09, Verdict.LIMITED), (0.15 + 0.11, None)])
def test_what_is_passed_at_a_distance_is_no_obstacle(lateral, verdict):
    finding = ask((0.1, 0.0), (0.7, lateral), side_clearance=0.1)
    assert (finding.verdict if finding else None) == verdict


def test_a_fast_and_blind_motion_is_asked_for_obstacles_as_well():
    half_blind = Reading(0, np.array([[0.32, 0.0]]), np.linspace(-0.1, 0.1, 9), np.array([True] * 4 + [False] * 5))
    for speed in (0.04, 0.2):
        assert ask((speed, 0.0), reading=half_blind, max_speed_unobserved=0.05).verdict is Verdict.HELD


def test_a_robot_that_backs_up_needs_to_see_behind_itself():
    forward = Reading(0, np.zeros((0, 2)), np.linspace(-0.4, 0.4, 9), np.full(9, True))
    assert ask((-0.1, 0.0), reading=forward).verdict is Verdict.HELD
    assert ask((0.1, 0.0), reading=forward) is None


def test_something_inside_the_footprint_is_not_driven_over():
    assert ask((0.1, 0.0), (0.1, 0.0)).verdict is Verdict.HELD


def test_the_nearest_and_the_soonest_of_all_sensors_count():
    near, far = at((0.3 + 0.4, 0.0)), at((0.3 + 0.55, 0.0))
    for readings in ((near, far), (far, near)):
        finding = decide(readings, (0.1, 0.0))
        assert finding.row[0] == pytest.approx(0.1 * (0.4 - 0.3) / 0.3)
    near, far = at((0.3 + 0.2, 0.0)), at((0.3 + 0.45, 0.0))  # touched after 0.4 and 0.9 s
    for readings in ((near, far), (far, near)):
        finding = decide(readings, (0.5, 0.0), stop_distance=0.01, slow_distance=0.02)
        assert finding.row[0] <= 0.5 * 0.4 + 1e-9


@pytest.mark.parametrize("gap", [0.31, 0.45, 0.59])
def test_a_slow_robot_sees_as_far_as_a_fast_one(gap):
    assert ask((0.02, 0.0), (0.3 + gap, 0.0)).verdict is Verdict.LIMITED


def test_a_turn_reaches_as_far_as_the_corners_do():
    """0.5 rad/s for 10 s sweep a circle of 0.34 m; something at its edge is met, though the base does not move."""
    assert approach(np.array([[0.0, 0.32]]), BUILTIN, (0.0, 0.0, 0.5), LIMITS)[0] == pytest.approx(0.17)


def test_one_sensor_that_sees_the_way_is_enough():
    forward = Reading(0, np.zeros((0, 2)), np.linspace(-0.4, 0.4, 9), np.full(9, True))
    backward = Reading(0, np.zeros((0, 2)), np.linspace(2.8, 3.5, 9), np.full(9, True))
    for speed in (0.2, -0.2):
        assert decide((forward, backward), (speed, 0.0)) is None


def test_the_time_until_it_touches_is_rather_too_early():
    for distance in np.arange(0.02, 0.48, 0.01):
        time = approach(np.array([[0.3 + distance, 0.0]]), BUILTIN, (0.5, 0.0, 0.0), LIMITS).touch
        assert distance / 0.5 - 0.15 <= time <= distance / 0.5 + 1e-9


@pytest.mark.parametrize("twist, point, seen", [
    ((1.0, 0.0, 0.0), (3.0, 1.0), (2.0, 1.0)), ((0.0, 1.0, 0.0), (3.0, 1.0), (3.0, 0.0)),
    ((0.0, 0.0, math.pi / 2), (1.0, 0.0), (0.0, -1.0)), ((0.0, 0.0, math.pi / 2), (0.0, 1.0), (1.0, 0.0)),
    ((0.0, 0.0, -math.pi / 2), (1.0, 0.0), (0.0, 1.0)),
    ((1.0, 0.0, math.pi / 2), (2 / math.pi, 1 + 2 / math.pi), (1.0, 0.0)),  # a quarter of a circle to the left
    ((0.0, 1.0, math.pi / 2), (-2 / math.pi, 1 + 2 / math.pi), (1.0, 0.0)),
])
def test_where_a_point_is_seen_a_second_later(twist, point, seen):
    x, y = _seen_later(np.array([point]), twist, np.array([[1.0]]))
    assert (x[0, 0], y[0, 0]) == (pytest.approx(seen[0]), pytest.approx(seen[1]))


# -- what touches the robot, and what is the robot ------------------------------------------------------------
@pytest.mark.parametrize("off", [-0.05, -0.001, 0.0, 1e-6, 1e-4, 0.001, 0.01, 0.0199])
@pytest.mark.parametrize("place", [(0.3, 0.0), (0.0, 0.15), (0.0, -0.15), (0.3, 0.15)])
def test_something_in_touch_with_the_footprint_holds_every_motion_that_does_not_leave_it(off, place):
    x, y = place[0] + off * np.sign(place[0]), place[1] + off * np.sign(place[1])
    for twist in ((0.3, 0.0), (0.01, 0.0)):
        assert ask(twist, (x, y)).verdict is Verdict.HELD
        assert ask(twist, (x, y), (0.75, 0.0)).verdict is Verdict.HELD  # nor does it hide the wall ahead
    if place == (0.3, 0.0):
        assert ask((-0.1, 0.0), (x, y)) is None  # away


def test_something_nearer_than_a_sensor_at_the_bumper_can_tell_holds():
    sonar = Sensor("/sonar", "sensor_msgs/msg/Range", x=0.3)
    reading = look(sonar, 0, np.full(9, -math.inf), cone_angles(0.5), 0.02, 4.0)
    assert ask((0.1, 0.0), reading=reading).verdict is Verdict.HELD


def test_a_mask_hides_the_robot_s_own_parts_and_nothing_else():
    masked = Sensor("/scan", "sensor_msgs/msg/LaserScan", mask=((0.05, 0.05, 0.05, 0.05), (-0.1, 0.2, 0.1, 0.1)))
    ranges, angles = np.array([0.04, 0.06, 0.15, 0.25, 0.04]), np.array([0.0, 0.0, math.pi, math.pi, 0.0])
    reading = look(masked, 0, ranges, angles, 0.01, 10.0)
    assert reading.points.round(3).tolist() == [[0.06, 0.0], [-0.25, 0.0]]
    assert reading.valid.all()  # they measured


def test_what_is_inside_the_outline_is_not_left_through_the_other_side():
    wide = Footprint(front=0.3, back=0.1, left=0.4, right=0.4)  # the back is the nearest edge of what is in the middle
    for x, held in ((0.05, True), (0.0, True), (-0.01, True), (-0.05, False)):
        assert (approach(np.array([[x, 0.0]]), wide, (0.3, 0.0, 0.0), LIMITS).gap == 0.0) == held


def test_what_is_beside_the_robot_and_comes_no_nearer_slows_nothing():
    assert ask((0.1, 0.0), (-0.1, 0.15 + 0.05)) is None


# -- malformed geometry ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("count, first, last, step, says", [
    (360, -3.14, 3.14, 6.28 / 359, None), (360, -3.14, 3.14, 6.28 / 360, None), (361, -3.14, 3.14, 6.28 / 359, None),
    (362, -3.14, 3.14, 6.28 / 359, "holds 362 ranges"), (359, -3.14, 3.14, 6.28 / 359, None),
    (358, -3.14, 3.14, 6.28 / 359, "holds 358 ranges"), (360, 3.14, -3.14, -6.28 / 359, None),
    (360, 3.14, -3.14, 6.28 / 359, "holds 360 ranges"), (360, -3.14, 3.14, 0.0, "angle_increment is 0"),
    (2, -3.14, 3.14, math.nan, "must be finite"), (2, math.inf, 3.14, 0.1, "must be finite"),
    (1000, 0.0, 9.99, 0.01, "more than a turn"), (1, 0.2, 0.2, 0.0, None), (0, 0.0, 0.0, 0.0, None)])
def test_the_angles_of_a_scan_must_fit_together(count, first, last, step, says):
    if says:
        with pytest.raises(ValueError, match=says):
            scan_angles(count, first, last, step)
    else:
        assert len(scan_angles(count, first, last, step)) == count


def test_beams_point_where_the_message_says():
    assert scan_angles(3, -0.5, 0.5, 0.5).tolist() == [-0.5, 0.0, 0.5]
    assert scan_angles(3, 0.5, -0.5, -0.5).tolist() == [0.5, 0.0, -0.5]
    assert cone_angles(0.5, 3).tolist() == [-0.25, 0.0, 0.25]


@pytest.mark.parametrize("field", [0.0, -1.0, math.nan, math.inf, 6.3])
def test_a_cone_without_width_sees_nothing(field):
    with pytest.raises(ValueError, match="field_of_view"):
        cone_angles(field)


def test_a_blind_sensor_says_why():
    finding = range_sensors(rule_inputs(readings={"/scan": RangeReading(blind(0, "its angles make no sense"), 0, 0)}, robot=robot()))
    assert finding.reason == "/scan is blind: its angles make no sense"


@pytest.mark.parametrize("heading", [0.0, 0.07, -2.0])
def test_a_scan_that_looks_into_one_direction_sees_no_way(heading):
    one = Reading(0, np.zeros((0, 2)), np.full(360, heading) + np.linspace(-0.01, 0.01, 360), np.full(360, True))
    assert seen_ahead([one], heading, BUILTIN) == 0.0


# -- how far a sensor sees ------------------------------------------------------------------------------------
def reaching(reach, origin=(0.0, 0.0)):
    return Reading(0, np.zeros((0, 2)), AROUND, np.full(72, True), reach, origin)


@pytest.mark.parametrize("reach, origin, heading, beyond", [
    (0.35, (0.0, 0.0), 0.0, 0.05), (0.29, (0.0, 0.0), 0.0, 0.0), (0.35, (0.3, 0.0), 0.0, 0.35),
    (0.35, (0.3, 0.0), math.pi, 0.0), (0.7, (0.1, 0.0), math.pi, 0.4), (1.0, (0.0, 0.0), math.pi / 2, 0.85)])
def test_how_far_beyond_the_footprint_a_sensor_sees(reach, origin, heading, beyond):
    assert seen_ahead([reaching(reach, origin)], heading, BUILTIN) == pytest.approx(beyond)


@pytest.mark.parametrize("reach, share", [(0.35, 0.0), (0.6, 0.0), (0.75, 0.5), (0.9, 1.0), (10.0, 1.0)])
def test_a_robot_drives_no_faster_than_it_sees(reach, share):
    """0.6 m is `stop_distance` beyond the bumper, 0.9 m is `slow_distance`: what lies beyond its reach may be an obstacle."""
    finding = ask((0.3, 0.0), reading=reaching(reach))
    if share == 0.0:
        assert finding.verdict is Verdict.HELD and ("ahead" in finding.reason or "no sensor" in finding.reason)
    else:
        assert (finding.row[0] if finding else 0.3) == pytest.approx(0.3 * share)
    assert ask((0.3, 0.0), reading=reaching(reach), max_speed_unobserved=0.1) is None or share > 0.3 or \
        ask((0.3, 0.0), reading=reaching(reach), max_speed_unobserved=0.1).row[0] == pytest.approx(0.1)


# -- properties -----------------------------------------------------------------------------------------------
PLACES = st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
NEAR = st.tuples(st.sampled_from([0.3, -0.2, 0.0, 0.1]), st.sampled_from([0.15, -0.15, 0.0])).flatmap(
    lambda edge: st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03)).map(
        lambda off: (edge[0] + off[0], edge[1] + off[1])))
POINTS = st.lists(PLACES | NEAR, max_size=5)
TWISTS = st.tuples(st.floats(-0.5, 0.5) | st.sampled_from([0.3, 1e-300]), st.floats(-0.5, 0.5) | st.just(0.0))


def severity(finding):
    """From free (0) to held (1)."""
    if finding is None:
        return 0.0
    return 1.0 if finding.verdict is Verdict.HELD else 0.5


@settings(max_examples=EXAMPLES, deadline=None, derandomize=SAME, database=None)
@given(POINTS, PLACES | NEAR, TWISTS, st.booleans())
def test_another_point_never_makes_it_milder(points, more, twist, blocked):
    before, after = ask(twist, *points, was_blocked=blocked), ask(twist, *points, more, was_blocked=blocked)
    assert severity(before) <= severity(after)
    if after and before and after.row and before.row:
        assert math.hypot(*after.row) <= math.hypot(*before.row) + 1e-12


@settings(max_examples=EXAMPLES, deadline=None, derandomize=SAME, database=None)
@given(POINTS, TWISTS)
def test_what_the_motion_sweeps_within_the_stop_distance_holds(points, twist):
    """By hand: the footprint, a rectangle, is moved along in steps of a hundredth of a second."""
    speed = abs(twist[0]) + abs(twist[1]) * 0.34
    if speed < 1e-6:
        return
    for x, y in points:
        at = [math.hypot(max(abs(x - 0.05) - 0.25, 0.0), max(abs(y) - 0.15, 0.0))]
        px, py = x, y
        for _ in range(60):  # 0.6 m along the way
            dt = 0.01 / speed
            turned = -twist[1] * dt
            px, py = px - twist[0] * dt, py
            px, py = px * math.cos(turned) - py * math.sin(turned), px * math.sin(turned) + py * math.cos(turned)
            at.append(math.hypot(max(abs(px - 0.05) - 0.25, 0.0), max(abs(py) - 0.15, 0.0)))
        if 0.03 < at[0] <= 0.29 and min(at) == 0.0:
            assert ask(twist, *points).verdict is Verdict.HELD
