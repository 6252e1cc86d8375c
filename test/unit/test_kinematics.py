"""Where the tool is, by the gate's kinematics: beside products of matrices, and beside MuJoCo, which reads URDF itself."""
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from tool_world import NAMES, PARSED, PLACES, PLANAR, arm, planar, tool_at, urdf_text

from vla_ros.core.urdf import parse_urdf
from vla_ros.safety.kinematics import ForwardKinematics, tool_speed, turned
from vla_ros.safety.tool import Tool

SPEED = {"tool": "tool", "max_tool_speed": 1.0}
SLIDING = tuple(("prismatic", *place[1:]) if i in (1, 4) else place for i, place in enumerate(PLACES))


@pytest.mark.parametrize("places", [PLACES, SLIDING], ids=["turning", "sliding"])
def test_the_tool_is_where_a_product_of_matrices_has_it(places, tmp_path):
    robot = arm(tmp_path, SPEED, urdf_text(places))
    tool = Tool(robot)
    places = np.random.default_rng(0).uniform(-1.9, 1.9, (50, 6))
    for values, point in zip(places, tool.points(list(places))):
        assert point == pytest.approx(tool_at(robot, dict(zip(NAMES, values))), abs=1e-12)


@pytest.mark.parametrize("places", [PLACES, SLIDING], ids=["turning", "sliding"])
def test_the_tool_is_where_mujoco_has_it(places):
    mujoco = pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    text = urdf_text(places).replace("<robot name='six'>", "<robot name='six'><mujoco><compiler fusestatic='false'/></mujoco>")
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    kinematics = ForwardKinematics(parse_urdf(urdf_text(places)).chain("base_link", "tool"))
    for values in np.random.default_rng(1).uniform(-2.0, 2.0, (50, 6)):
        for joint, value in zip(kinematics.joints, values):
            data.qpos[model.joint(joint).qposadr[0]] = value
        mujoco.mj_kinematics(model, data)
        # base_link is welded to MuJoCo's world.
        assert kinematics.points(values[None])[0] == pytest.approx(data.body("tool").xpos, abs=1e-9)


def test_a_turntable_with_a_slide_by_hand():
    kinematics = ForwardKinematics(parse_urdf(PLANAR).chain("base_link", "tool"))
    points = kinematics.points(np.array([[0.0, 0.0], [0.0, 0.2], [math.pi / 2, 0.1], [-math.pi, 0.4]]))
    assert points == pytest.approx(np.array([[0.3, 0, 0], [0.5, 0, 0], [0, 0.4, 0], [-0.7, 0, 0]]), abs=1e-12)


def test_roll_pitch_and_yaw_turn_about_the_axes_that_stand_still():
    assert turned((math.pi / 2, 0, 0)) @ (0, 1, 0) == pytest.approx((0, 0, 1))
    assert turned((0, math.pi / 2, 0)) @ (0, 0, 1) == pytest.approx((1, 0, 0))
    assert turned((0, 0, math.pi / 2)) @ (1, 0, 0) == pytest.approx((0, 1, 0))
    assert turned((math.pi / 2, 0, math.pi / 2)) @ (0, 1, 0) == pytest.approx((0, 0, 1))  # roll first


@pytest.mark.parametrize("scale, offset, value", [(0.4, 0.0, 0.5), (-0.4, 0.4, 0.5), (1.0, 0.1, 0.1)])
def test_values_are_made_positions_of_the_joint_by_the_channel_s_scale_and_offset(scale, offset, value, tmp_path):
    robot = planar(tmp_path, max_tool_speed=1.0)
    slide = replace(robot.channel("joint_2"), scale=scale, offset=offset)
    robot = replace(robot, channels=(robot.channels[0], slide))
    assert Tool(robot).points([np.array([0.0, value])])[0] == pytest.approx((0.5, 0, 0))


@pytest.mark.parametrize("moved, elapsed, speed", [(0.02, 20_000_000, 1.0), (0.0, 0, 0.0), (1e-9, 0, math.inf)])
def test_a_tool_s_speed_is_its_way_over_the_time(moved, elapsed, speed):
    assert tool_speed(np.zeros(3), np.array([0.0, moved, 0.0]), elapsed) == pytest.approx(speed)


def test_it_is_fast_enough_for_the_gate():
    """60 us on a quiet machine for six joints; a busy one is allowed ten times that, at its best of many."""
    kinematics = ForwardKinematics(PARSED.chain("base_link", "tool"))
    place = np.zeros((1, 6))
    best = math.inf
    for _ in range(200):
        begin = time.perf_counter()
        kinematics.points(place)
        best = min(best, time.perf_counter() - begin)
    assert best < 600e-6
