"""A point cloud is a range sensor: its height band, itself left out, of any layout, in bounded time; a bad one is blind."""
import math
import time
from dataclasses import replace

import numpy as np
import pytest

from vla_ros.core.point_cloud import CloudField, CloudLayout
from vla_ros.core.robot import parse_robot
from vla_ros.core.robot_obstacles import Sensor
from vla_ros.safety.clouds import (
    DIRECTIONS,
    MOST_LOOKED_AT,
    MOST_POINTS,
    cloud_points,
    look_at_cloud,
)

SENSOR = Sensor("/cloud", "sensor_msgs/msg/PointCloud2", height=(0.1, 1.5), max_range=4.0)
XYZ = tuple(CloudField(name, 4 * i, 7, 1) for i, name in enumerate("xyz"))


def packed(points, kind="<f4", fields=XYZ, step=16, rows=1, padding=0):
    """The bytes and the layout of K x 3 points."""
    points = np.asarray(points, float).reshape(rows, -1, 3)
    row = points.shape[1] * step + padding
    data = np.zeros((rows, row), np.uint8)
    for axis, field in enumerate(fields):
        for i in range(points.shape[1]):
            place = i * step + field.offset
            size = np.dtype(kind).itemsize
            data[:, place:place + size] = points[:, i, axis:axis + 1].astype(kind).view(np.uint8)
    return data.tobytes(), CloudLayout(points.shape[1], rows, step, row, kind.startswith(">"), fields)


POINTS = np.arange(1.0, 25.0).reshape(8, 3) / 8.0
WIDE = tuple(CloudField(name, 8 * i + 3, 8, 1) for i, name in enumerate("xyz"))
MIXED = (CloudField("intensity", 0, 7, 1), CloudField("z", 12, 7, 1), CloudField("y", 8, 7, 0), CloudField("x", 4, 7, 1))


@pytest.mark.parametrize("layout", [
    {}, {"step": 12}, {"kind": ">f4"}, {"kind": "<f8", "fields": WIDE, "step": 30}, {"kind": ">f8", "fields": WIDE, "step": 27},
    {"rows": 4}, {"rows": 4, "padding": 7}, {"rows": 8}], ids=str)
def test_points_are_read_from_any_layout(layout):
    assert cloud_points(*packed(POINTS, **layout)) == pytest.approx(POINTS)


def test_fields_are_known_by_their_names_in_any_order():
    data, layout = packed(POINTS[:, ::-1], fields=(CloudField("z", 12, 7, 1), CloudField("y", 8, 7, 1), CloudField("x", 4, 7, 1)))
    assert cloud_points(data, layout._replace(fields=MIXED)) == pytest.approx(POINTS)


GOOD, LAYOUT = packed(POINTS)


@pytest.mark.parametrize("change, says", [
    ({"fields": XYZ[:2]}, "it has no field z; its fields are x, y"), ({"fields": ()}, "it has no field x; its fields are none"),
    ({"fields": (XYZ[0]._replace(datatype=5), *XYZ[1:])}, "its field x has type 5 and count 1; one FLOAT32"),
    ({"fields": (XYZ[0]._replace(elements=3), *XYZ[1:])}, "its field x has type 7 and count 3"),
    ({"fields": (XYZ[0]._replace(offset=13), *XYZ[1:])}, "its field x at byte 13 reaches beyond a point of 16 bytes"),
    ({"fields": (XYZ[0]._replace(offset=2**32 - 1), *XYZ[1:])}, "reaches beyond a point"),
    ({"point_step": 0}, "its field x at byte 0 reaches beyond a point of 0 bytes"),
    ({"point_step": 17}, "its 8 points of 17 bytes are more than a row of 128 bytes"),
    ({"row_step": 127}, "its 8 points of 16 bytes are more than a row of 127 bytes"),
    ({"height": 2}, "its 2 rows of 128 bytes are more than the 128 bytes of its data"),
    ({"row_step": 2**32 - 1}, "rows of 4294967295 bytes are more than"),
    ({"width": 2_000_000}, "a cloud of 2000000 points is too large; at most 400000: downsample it"),
    ({"width": 2**32 - 1, "height": 2**32 - 1}, "is too large"),
])
def test_a_cloud_that_contradicts_itself_is_refused_in_one_sentence(change, says):
    with pytest.raises(ValueError, match=says):
        cloud_points(GOOD, LAYOUT._replace(**change))


@pytest.mark.parametrize("width, height", [(MOST_POINTS, 1), (1, MOST_POINTS), (800, 500), (MOST_LOOKED_AT + 1, 1), (2, 150_000)])
def test_of_very_many_points_a_regular_share_is_looked_at(width, height):
    data = np.zeros((height, width, 3), "<f4")
    data[..., 0] = np.arange(width)
    data[..., 1] = np.arange(height)[:, None]
    points = cloud_points(data.tobytes(), CloudLayout(width, height, 12, 12 * width, False, XYZ))
    assert MOST_LOOKED_AT / 4 < len(points) <= 2 * MOST_LOOKED_AT
    if min(width, height) > 2:  # both ways alike
        assert len(np.unique(points[:, 0])) / width == pytest.approx(len(np.unique(points[:, 1])) / height, rel=0.1)


def test_an_empty_cloud_and_one_without_a_number_are_blind():
    for points in (np.zeros((0, 3)), np.full((9, 3), math.nan), np.zeros((9, 3)), np.full((9, 3), math.inf)):
        reading = look_at_cloud(SENSOR, 5, points)
        assert reading.fault == f"0 of its {len(points)} points were measured" and reading.stamp == 5
        assert not reading.valid.any() and not len(reading.points)
    assert cloud_points(b"", CloudLayout(0, 1, 16, 0, False, XYZ)).shape == (0, 3)


@pytest.mark.parametrize("measured, blind", [(4, True), (5, False), (10, False)])
def test_a_cloud_of_which_less_than_half_was_measured_is_blind(measured, blind):
    points = np.full((10, 3), math.nan)
    points[:measured] = 1.0
    assert bool(look_at_cloud(SENSOR, 0, points).fault) == blind


@pytest.mark.parametrize("z, hit", [(0.099, False), (0.1, True), (0.8, True), (1.5, True), (1.501, False)])
def test_what_lies_in_the_height_band_is_an_obstacle_and_its_direction_is_seen_in_any_case(z, hit):
    reading = look_at_cloud(SENSOR, 0, np.array([[1.0, 0.5, z]]))
    assert len(reading.points) == hit and not reading.fault
    assert reading.angles == pytest.approx([math.atan2(0.5, 1.0)], abs=math.pi / DIRECTIONS)
    assert reading.valid.all() and reading.reach == 4.0
    if hit:
        assert reading.points[0] == pytest.approx((1.0, 0.5))


@pytest.mark.parametrize("x, hit", [(0.19, False), (0.2, True), (3.99, True), (4.0, False)])
def test_the_robot_itself_and_what_is_too_far_is_none(x, hit):
    assert len(look_at_cloud(replace(SENSOR, min_range=0.2, height=(-1.0, 1.0)), 0, np.array([[x, 0.0, 0.0]])).points) == hit


def test_a_mask_hides_the_robot():
    masked = replace(SENSOR, x=0.2, mask=((0.5, -0.3, 0.1, 0.1),))  # x 0.3 to 0.5
    points = np.array([[0.2, 0.0, 0.5], [0.2, 0.2, 0.5], [0.5, 0.01, 0.5]])
    assert look_at_cloud(masked, 0, points).points == pytest.approx(np.array([[0.7, 0.01], [0.4, 0.2]]), abs=1e-9)


def test_a_camera_s_optical_frame_is_turned_into_the_base_s():
    """Optical: x right, y down, z ahead. Roll -90 and yaw -90 degrees; it sits 0.3 m ahead, 1 m high."""
    camera = replace(SENSOR, x=0.3, z=1.0, roll=-math.pi / 2, yaw=-math.pi / 2)
    reading = look_at_cloud(camera, 0, np.array([[-0.4, 0.6, 2.0]]))  # left, below, ahead
    assert reading.points == pytest.approx(np.array([[2.3, 0.4]])) and reading.origin == (0.3, 0.0)
    assert not len(look_at_cloud(camera, 0, np.array([[-0.4, 0.95, 2.0]])).points)  # 5 cm above the floor


def test_of_what_lies_in_one_direction_the_nearest_counts():
    points = np.array([[2.0, 0.0, 0.5], [1.0, 0.0, 0.5], [3.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    found = look_at_cloud(SENSOR, 0, points).points
    assert sorted(map(tuple, found.tolist())) == [(0.0, 1.0), (1.0, 0.0)]


def test_a_full_camera_s_cloud_takes_a_bounded_time_and_leaves_few_points():
    rng = np.random.default_rng(0)
    data = np.zeros((480, 640, 8), "<f4")
    data[..., :3] = rng.uniform(-3.0, 3.0, (480, 640, 3))
    layout = CloudLayout(640, 480, 32, 32 * 640, False, XYZ)
    packed_bytes = data.tobytes()
    best = math.inf
    for _ in range(5):
        begin = time.perf_counter()
        reading = look_at_cloud(SENSOR, 0, cloud_points(packed_bytes, layout))
        best = min(best, time.perf_counter() - begin)
    assert len(reading.points) <= DIRECTIONS and len(reading.angles) <= DIRECTIONS
    assert best < 0.05  # 3 ms on a quiet machine


WHEELS = {"unit": "m/s", "bounds": [-1.0, 1.0], "limits": [-0.5, 0.5], "acceleration": 1.0, "on_stop": "zero"}


def seeing(**keys):
    sensor = {"topic": "/cloud", "type": "sensor_msgs/msg/PointCloud2", "height": [0.05, 1.2], "max_range": 3.0, **keys}
    return {"name": "r", "channels": {"linear.x": {**WHEELS, "deceleration": 3.0}},
            "outputs": [{"topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "channels": ["linear.x"]}],
            "footprint": {"front": 0.3, "back": 0.3, "left": 0.2, "right": 0.2},
            "obstacles": {"sensors": [{key: value for key, value in sensor.items() if value is not None}]}}


def test_a_robot_file_says_where_the_cloud_is_and_what_of_it_is_an_obstacle():
    sensor, = parse_robot(seeing(z=0.6, roll=-1.57, pitch=0.1, yaw=-1.57, min_range=0.1)).sensors
    assert (sensor.z, sensor.roll, sensor.pitch, sensor.yaw, sensor.max_range) == (0.6, -1.57, 0.1, -1.57, 3.0)
    assert sensor.height == pytest.approx((0.05, 1.2))


@pytest.mark.parametrize("keys, says", [
    ({"height": None}, "'/cloud' lacks height, which a PointCloud2 needs"), ({"max_range": None}, "lacks max_range"),
    ({"height": [1.0, 0.1]}, "height is .* the lowest must be below"), ({"max_range": 0.0}, "it must be more than 0"),
    ({"max_range": math.inf}, "give a finite number"), ({"inverted": True}, "give roll, pitch and yaw"),
    ({"roll": math.nan}, "roll is nan; give a finite number"),
    ({"type": "sensor_msgs/msg/LaserScan"}, "'/cloud': height is for a PointCloud2, and this is a sensor_msgs/msg/LaserScan")])
def test_a_robot_file_that_says_it_wrongly_is_refused(keys, says):
    with pytest.raises(ValueError, match=says):
        parse_robot(seeing(**keys))
