"""A robot file is checked as a whole, with the value and what to do in the sentence."""
import copy
from pathlib import Path

import pytest

from vla_ros.core.robot import load_robot, parse_robot
from vla_ros.core.robot_channels import TURN_RAD, Channel

ROBOTS = sorted((Path(__file__).parents[2] / "config" / "robots").glob("*.yaml"))
GOOD = {
    "name": "r",
    "channels": {
        "linear.x": {"unit": "m/s", "bounds": [-1.0, 1.0], "limits": [-0.5, 0.5], "acceleration": 1.0, "on_stop": "zero"},
        "gripper": {"unit": "1", "bounds": [0, 1], "limits": [0, 1], "max_speed": 2.0, "on_stop": "hold_commanded"},
    },
    "outputs": [
        {"topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "channels": ["linear.x"]},
        {"topic": "/gripper", "type": "std_msgs/msg/Float64MultiArray", "channels": ["gripper"]},
    ],
}


def changed(*path_and_value):
    *path, last, value = path_and_value
    data = copy.deepcopy(GOOD)
    place = data
    for key in path:
        place = place[key]
    place[last] = value
    return data


@pytest.mark.parametrize("path", ROBOTS, ids=lambda path: path.stem)
def test_the_robots_that_are_shipped_load(path):
    robot = load_robot(path)
    assert all(channel.deceleration >= channel.acceleration for channel in robot.channels if channel.on_stop == "zero")


def test_a_good_robot():
    robot = parse_robot(GOOD)
    assert [channel.name for channel in robot.channels] == ["linear.x", "gripper"]
    assert robot.channel("linear.x").deceleration == 1.0  # as fast as `acceleration` where it is not given


@pytest.mark.parametrize("data, says", [
    (None, "the file is None; give a mapping"),
    ({}, "lacks channels, name, outputs"),
    (changed("colour", "red"), "unknown colour"),
    (changed("channels", {}), "channels has 0 entries; a robot obeys 1 to 64"),
    (changed("channels", "linear.x", "acceleration", 0.0), "'linear.x': acceleration is 0.0; it must be more than 0"),
    (changed("channels", "linear.x", "acceleration", -1), "acceleration is -1"),
    (changed("channels", "linear.x", "acceleration", float("nan")), "acceleration is nan; give a finite number"),
    (changed("channels", "linear.x", "acceleration", "fast"), "acceleration is 'fast'"),
    (changed("channels", "linear.x", "bounds", [1.0, -1.0]), "lowest must be below the highest"),
    (changed("channels", "linear.x", "bounds", [0.0]), "give \\[lowest, highest\\]"),
    (changed("channels", "linear.x", "limits", [-2.0, 0.5]), "limits \\[-2, 0.5\\] reach outside bounds"),
    (changed("channels", "linear.x", "limits", [-0.1, 1.6]), "limits \\[-0.1, 1.6\\] reach outside bounds"),
    (changed("channels", "linear.x", "limits", [0.1, 0.5]), "zero is outside limits"),
    (changed("channels", "linear.x", "on_stop", "coast"), "use one of zero, hold_measured, hold_commanded"),
    (changed("channels", "linear.x", "deadband", -0.1), "deadband is -0.1; it must be at least 0"),
    (changed("outputs", 0, "type", "Twist"), "type is 'Twist'; use one of"),
    (changed("outputs", 0, "channels", ["gripper"]), "a Twist cannot carry 'gripper'"),
    (changed("outputs", 0, "channels", ["linear.q"]), "'linear.q' is not one of gripper, linear.x"),
    (changed("outputs", 0, "channels", ["linear.x", "gripper"]), "a Twist cannot carry 'gripper'"),
    (changed("channels", "linear.x", "on_stop", "hold_measured"), "'linear.x': on_stop is 'hold_measured', but its unit is 'm/s'; zero is for velocities"),
    (changed("outputs", [{**GOOD["outputs"][1], "channels": ["linear.x", "gripper"]}]), "mixes velocities and positions"),
    (changed("channels", "linear.x", "bounds", [-1e39, 1e39]), "bounds is -inf; give a finite number"),
    (changed("channels", {name: {**fields, "joint": "j"} for name, fields in GOOD["channels"].items()}),
     "joint 'j' measures 2 channels"),
    (changed("outputs", []), "'linear.x' is sent by 0 outputs"),
    (changed("outputs", GOOD["outputs"] * 2), "'linear.x' is sent by 2 outputs"),
])
def test_a_bad_robot_gets_a_sentence(data, says):
    with pytest.raises(ValueError, match=says):
        parse_robot(data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.yaml' does not exist"):
        load_robot(tmp_path / "nowhere.yaml")


def test_broken_yaml_names_the_file(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("channels: [")
    with pytest.raises(ValueError, match="broken.yaml"):
        load_robot(path)


@pytest.mark.parametrize("text, says", [
    ("a: &a [1, 1]\nb: [*a, *a]\n", "aliases and anchors"),
    ("name: " + "x" * 10_000_000, "has more than 262144 bytes, the most that is read"),
])
def test_a_file_that_would_fill_the_memory_gets_a_sentence(tmp_path, text, says):
    (tmp_path / "robot.yaml").write_text(text)
    with pytest.raises(ValueError, match=says):
        load_robot(tmp_path / "robot.yaml")


def test_a_folder_is_no_robot_file(tmp_path):
    with pytest.raises(ValueError, match="is a folder; set robot_file to one like"):
        load_robot(tmp_path)


@pytest.mark.parametrize("key", ["bounds", "limits"])
@pytest.mark.parametrize("value", [[-float("inf"), 1.0], [-1.0, float("inf")], [-1.0, float("nan")]])
def test_an_infinite_limit_is_none(key, value):
    with pytest.raises(ValueError, match=f"'linear.x': {key} is -?(inf|nan); give a finite number"):
        parse_robot(changed("channels", "linear.x", key, value))


def test_two_hundred_channels_are_too_many():
    channels = {f"joint_{i}": ELBOW for i in range(200)}
    with pytest.raises(ValueError, match="channels has 200 entries; a robot obeys 1 to 64"):
        parse_robot({**GOOD, "channels": channels})


SEES = {"sensors": [{"topic": "/scan", "type": "sensor_msgs/msg/LaserScan"}]}
FOOT = {"front": 0.3, "back": 0.1, "left": 0.2, "right": 0.2}


def seeing(channel=None, footprint=FOOT, **fields):
    data = {**copy.deepcopy(GOOD), "footprint": footprint, "obstacles": {**SEES, **fields}}
    data["channels"]["linear.x"].update({"deceleration": 2.0, **(channel or {})})
    return data


def test_a_robot_that_sees():
    robot = parse_robot(seeing(stop_distance=0.2))
    assert (robot.footprint.front, robot.obstacles.stop_distance, robot.obstacles.slow_distance) == (0.3, 0.2, 0.6)
    assert not robot.simulated


@pytest.mark.parametrize("data, says", [
    ({**GOOD, "obstacles": SEES}, "obstacles needs a footprint"),
    (seeing(footprint={"front": 0.3}), "footprint lacks back, left, right"),
    (seeing(footprint={**FOOT, "front": -0.1}), "front is -0.1; it must be at least 0"),
    (seeing(sensors=[]), "give a list of sensors"), (seeing(slow_distance=0.3), "it must be more than stop_distance"),
    (seeing(time_to_collision=0.0), "time_to_collision is 0.0; it must be more than 0"),
    (seeing(time_to_collision=10.5), "give at most 10 s"), (seeing(max_age=float("nan")), "give a finite number"),
    (seeing(sensors=[{**SEES["sensors"][0]} for _ in range(2)]), "'/scan' is listed 2 times"),
    (seeing(sensors=[{"topic": "/scan", "type": "sonar"}]), "use one of sensor_msgs/msg/LaserScan"),
    (seeing(sensors=[{**SEES["sensors"][0], "inverted": 1}]), "inverted is 1; give true or false"),
    (seeing({"deceleration": 0.8}), "it must be at least 0.83"),
    ({**GOOD, "simulated": "yes"}, "simulated is 'yes'; give true or false"),
    (changed("channels", "linear.x", "soft_limits", [-0.1, 0.1]), "this has on_stop zero"),
    (changed("channels", "gripper", "soft_limits", [0.1, 0.2]), "this has no joint"),
    (changed("channels", "linear.x", "scale", 3.0), "a Twist is in SI units"),
    (changed("channels", "gripper", "scale", 1.7976931348623157e308), None),
    (changed("channels", "gripper", {**GOOD["channels"]["gripper"], "bounds": [0, 10], "scale": 1e308}), "is not finite"),
    (changed("channels", "linear.x", "acceleration", 10**400), "robot file"),
])
def test_what_would_defeat_a_limit_is_refused(tmp_path, data, says):
    import yaml
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    if says is None:
        load_robot(path)
        return
    with pytest.raises(ValueError, match=says):
        load_robot(path)


def test_wheels_that_are_no_twist_cannot_be_stopped_for_obstacles():
    data = seeing()
    data["outputs"][0].update({"type": "std_msgs/msg/Float64MultiArray"})
    with pytest.raises(ValueError, match="obstacles are for a base whose Twist"):
        parse_robot(data)


@pytest.mark.parametrize("name", ["x" * 300, "."])
def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path, name):
    with pytest.raises(ValueError, match="cannot be read|is a folder"):
        load_robot(tmp_path / name)


ELBOW = {"unit": "rad", "bounds": [-2.0, 2.0], "limits": [-1.9, 1.9], "max_speed": 0.5, "on_stop": "hold_measured", "joint": "elbow"}
TO_ARM = {"topic": "/arm", "type": "trajectory_msgs/msg/JointTrajectory", "channels": ["elbow"]}


def arm(output=TO_ARM, **fields):
    """`fields`: None takes one away."""
    data = copy.deepcopy(GOOD)
    data["channels"]["elbow"] = {name: value for name, value in {**ELBOW, **fields}.items() if value is not None}
    data["outputs"].append(output)
    return data


@pytest.mark.parametrize("data, says", [
    (arm(), None),
    # sent to zero when it stops, an arm would go there
    (arm(max_speed=None), "lacks max_speed: how fast a position may change"),
    (arm(acceleration=1.0), "acceleration is not for a position; give max_speed"),
    (arm(deceleration=1.0), "deceleration is not for a position; give max_speed"),
    (arm(on_stop="zero"), "its unit is 'rad'; zero is for velocities"),
    (arm(on_stop="zero", unit="rad/s", joint=None, max_speed=None, acceleration=0.5), "a JointTrajectory carries positions, and 'elbow' is a velocity"),
    (arm({**TO_ARM, "type": "std_msgs/msg/Float64MultiArray"}, on_stop="zero", unit="rad/s", joint=None, max_speed=None, acceleration=0.5), None),
    (arm(on_stop="hold_measured", unit="rad/s"), "hold_measured and hold_commanded for positions"),
    (changed("channels", "linear.x", "unit", "km/h/s"), "'linear.x' is in km/h/s; a Twist's is in m/s"),
    (arm(wraps=True), None), (arm(wraps=1), "wraps is 1; give true or false"),
    (arm(wraps=True, joint=None), "wraps is for a position that a joint measures"),
    (arm(start=0.5), "start is for a position that nothing measures; this has joint elbow"),
    (arm(start=0.5, joint=None), None), (arm(start=1.91, joint=None), "start is 1.91, outside limits"),
    (arm(max_tracking_error=0.0), "max_tracking_error is 0.0; it must be more than 0"),
    (arm(max_tracking_error=0.1, joint=None), "max_tracking_error is for a position that a joint measures"),
    (arm(tracking_time=-1), "tracking_time is -1; it must be at least 0"),
    (seeing(hold_off=10.5), "hold_off is 10.5 s; give at most 10 s"), (seeing(hold_off=-1), "hold_off is -1"),
    *((seeing(sensors=[{**SEES["sensors"][0], "mask": mask}]), says) for mask, says in (
        ([{**FOOT}], None), ([{**FOOT, "left": -0.1}], None),
        ([{**FOOT, "front": 0.31}], "mask: front is 0.31 m; the footprint reaches only 0.3 m"),
        ([{**FOOT, "right": 0.21}], "mask: right is 0.21 m"), ([{"front": 0.1}], "lacks back, left, right"),
        ([{**FOOT, "left": -0.2}], "left \\+ right 0 m; both must be more than 0"), ("front", "give a list of boxes"))),
])
def test_kinds_of_channel_output_and_unit_fit_together(data, says):
    if says is None:
        parse_robot(data)
        return
    with pytest.raises(ValueError, match=says):
        parse_robot(data)


@pytest.mark.parametrize("count", [64, 65])
def test_a_robot_has_as_many_channels_as_the_gate_can_look_at(count):
    data = copy.deepcopy(GOOD)
    names = [f"joint_{i}" for i in range(count)]
    data["channels"] = {name: {**ELBOW, "joint": name} for name in names}
    data["outputs"] = [{**TO_ARM, "channels": names}]
    if count == 64:
        assert len(parse_robot(data).channels) == 64
    else:
        with pytest.raises(ValueError, match="channels has 65 entries; a robot obeys 1 to 64"):
            parse_robot(data)


@pytest.mark.parametrize("fields, error", [
    ({}, 0.25), ({"max_speed": 0.1}, 0.2), ({"max_tracking_error": 0.05}, 0.05), ({"on_stop": "hold_commanded"}, float("inf")),
    ({"joint": None}, float("inf"))])
def test_what_a_drive_may_lag_behind_by(fields, error):
    """A twentieth of its bounds, or half a second at full speed; a gripper that holds something never arrives."""
    assert parse_robot(arm(**fields)).channel("elbow").max_tracking_error == pytest.approx(error)


@pytest.mark.parametrize("low, high, fits", [(-1.0, 1.0, True), (0.5, 0.5, False), (0.6, 0.5, False)])
def test_the_lowest_bound_lies_below_the_highest(low, high, fits):
    data = changed("channels", "gripper", {**GOOD["channels"]["gripper"], "bounds": [low, high], "limits": [low, high]})
    if fits:
        assert parse_robot(data).channel("gripper").bounds == (low, high)
        return
    with pytest.raises(ValueError, match="the lowest must be below the highest"):
        parse_robot(data)


@pytest.mark.parametrize("wraps, scale, turn", [(True, 1.0, TURN_RAD), (True, 2.0, TURN_RAD / 2), (False, 2.0, 0.0)])
def test_a_whole_turn_is_told_in_the_channel_s_unit(wraps, scale, turn):
    """A value times `scale` is the joint's position in rad, so a turn of the joint is so much less of the value."""
    channel = Channel("wrist", "1", (-9.0, 9.0), (-9.0, 9.0), max_speed=1.0, on_stop="hold_measured", joint="wrist", scale=scale,
                      wraps=wraps)
    assert channel.turn == pytest.approx(turn)
