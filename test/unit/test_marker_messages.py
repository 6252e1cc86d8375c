"""What RViz is shown: outlines, obstacles, boxes and the way that the planned rows lead."""
import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("visualization_msgs", reason="markers need ROS 2's messages")
pytest.importorskip("vla_ros_msgs", reason="and ours: colcon build, then source install/setup.bash")

from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk, to_nanoseconds
from vla_ros.nodes.marker_messages import LIFETIME_NS, RobotMarkers, floor_way
from vla_ros.safety.obstacles import Reading

SECOND = 1_000_000_000
ROOT = Path(__file__).parents[2]


def robot(name):
    return load_robot(config_folder() / "robots" / f"{name}.yaml")


def chunk(channels, rows, step=0.5):
    return ActionChunk(0, 1, channels, np.array(rows, np.float32), to_nanoseconds(step))


def shown(name, readings=None, plan=None, standing=None):
    """Marker's name -> marker."""
    array = RobotMarkers(robot(name)).array(5 * SECOND, readings or {}, plan, standing or {})
    assert len({marker.id for marker in array.markers}) == len(array.markers)
    return {marker.ns: marker for marker in array.markers}


def points(marker):
    return [(round(point.x, 3), round(point.y, 3), round(point.z, 3)) for point in marker.points]


def test_a_base_has_its_outline_and_the_distances_around_it():
    markers = shown("sim")
    assert set(markers) == {"footprint", "stop distance", "slow distance"}
    assert points(markers["footprint"])[:2] == [(0.31, 0.16, 0.0), (0.31, -0.16, 0.0)]
    assert points(markers["stop distance"])[0] == (0.61, 0.46, 0.0)  # 0.3 m farther out
    for marker in markers.values():
        assert marker.header.frame_id == "base_link" and marker.header.stamp.sec == 5
        assert marker.lifetime.sec * SECOND + marker.lifetime.nanosec == LIFETIME_NS  # gone with its node
        assert marker.pose.orientation.w == 1.0


def test_what_a_sensor_hit_are_points_and_of_a_blind_one_nothing():
    reading = Reading(0, np.array([[1.0, 0.5], [2.0, -0.5]]), np.zeros(2), np.ones(2, bool))
    blind = Reading(0, np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool))
    markers = shown("sim", {"/scan": reading, "/other": blind})
    assert points(markers["obstacles /scan"]) == [(1.0, 0.5, 0.0), (2.0, -0.5, 0.0)]
    assert "obstacles /other" not in markers


def test_the_way_of_a_base_is_each_row_for_a_step():
    straight = floor_way(chunk(("gripper", "linear.x"), [[1.0, 0.2]] * 3))
    np.testing.assert_allclose(straight, [[0.1 * row, 0.0, 0.0] for row in range(4)], atol=1e-7)
    turning = floor_way(chunk(("linear.x", "angular.z"), [[0.1, math.pi / 100]] * 200, step=0.5))
    # half a circle to the left, of a length of 10 m
    np.testing.assert_allclose(turning[-1], [0.0, 2 * 10.0 / math.pi, 0.0], atol=0.01)
    sideways = floor_way(chunk(("linear.y",), [[0.2]]))
    np.testing.assert_allclose(sideways[-1], [0.0, 0.1, 0.0], atol=1e-7)


def test_the_plan_ends_in_its_target():
    markers = shown("sim", plan=chunk(("linear.x", "angular.z"), [[0.2, 0.0]] * 2))
    assert points(markers["planned rows"]) == [(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.2, 0.0, 0.0)]
    assert points(markers["target"]) == [(0.2, 0.0, 0.0)]


@pytest.mark.parametrize("plan", [
    None, chunk(("gripper",), [[1.0]]), chunk(("linear.x",), [[math.nan]]), ActionChunk(0, 1, ("linear.x", "angular.z"), np.zeros(3, np.float32), 1)])
def test_a_plan_that_leads_nowhere_is_not_drawn(plan):
    assert not {"planned rows", "target"} & set(shown("sim", plan=plan))


def test_an_arm_has_its_workspace_and_where_its_tool_will_be():
    arm = robot("sim_arm")
    joints = [channel.name for channel in arm.channels if channel.joint and channel.name != "gripper"]
    rows = [[0.1 * row] * len(joints) for row in range(3)]
    markers = shown("sim_arm", plan=chunk(tuple(joints), rows), standing=dict.fromkeys(joints, 0.0))
    boxes = [name for name in markers if name.startswith("workspace")]
    assert len(boxes) == len(arm.workspace.inside) + len(arm.workspace.outside) and boxes
    first = arm.workspace.inside[0]
    marker = markers[f"workspace inside {first.name}".strip()]
    assert marker.scale.z == pytest.approx(min(first.max[2], 10.0) - max(first.min[2], -10.0))
    way = points(markers["planned rows"])
    assert len(way) == 3 and way[0] != way[-1] and points(markers["target"]) == [way[-1]]


def topics_of(layout):
    """Every topic and service that a layout names."""
    found = set()
    for config in layout["configById"].values():
        found |= {config.get("serviceName"), config.get("topicName"), config.get("topicToRender"), config.get("topicPath")}
        found |= {config.get("imageMode", {}).get("imageTopic"), *config.get("topics", {})}
        found |= {path["value"] for path in config.get("paths", ())}
    return {topic.partition(".")[0] for topic in found if topic}


def placed(node):
    return {node} if isinstance(node, str) else placed(node["first"]) | placed(node["second"])


def test_the_layouts_show_topics_that_there_are():
    folder = ROOT / "config"
    page = (ROOT / "doc" / "topics.md").read_text()
    layout = json.loads((folder / "foxglove.json").read_text())
    assert placed(layout["layout"]) == set(layout["configById"])
    displays = yaml.safe_load((folder / "vla.rviz").read_text())["Visualization Manager"]["Displays"]
    rviz = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    for topic in topics_of(layout) | rviz:
        name = topic.removeprefix("/vla/")
        assert name in page or name.rpartition("/")[2] in page, topic
    assert "/vla/markers" in rviz & topics_of(layout)
