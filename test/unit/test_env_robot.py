"""A gymnasium environment as a robot: how a robot file fits it, its drivers and its episodes; no ROS."""
from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="environments need gymnasium")

from tiny_env import ARM, CART, arm_robot, cart_robot

from vla_ros.cli import main, sim
from vla_ros.core.robot import parse_robot
from vla_ros.operator.processes import ros_arguments
from vla_ros.sim.env.offer import make_env, offer_of, pixels_of
from vla_ros.sim.env.plan import doubts, fit_env
from vla_ros.sim.env.world import EnvWorld
from vla_ros.sim.trajectory import DRIVER_TIMEOUT_S

LISTS = "The file's state: elbow, roll, opening (3); the environment's numbers: agent_pos (3), velocities (3)"


@pytest.fixture
def world() -> Iterator[EnvWorld]:
    world = EnvWorld(ARM)
    robot = parse_robot(arm_robot())
    world.connect(robot, fit_env(robot, world.offer))
    yield world
    world.close()


def offer(name: str = ARM, rate: float | None = None, **arguments: Any) -> Any:
    return offer_of(name, make_env(name, arguments), rate)


# -- what an environment offers
def test_images_numbers_and_actions_are_found_in_nested_dicts() -> None:
    tiny = offer(render_mode="rgb_array")
    assert tiny.images == {"pixels.front": (48, 64), "pixels.wrist": (32, 32), "render()": None}
    assert tiny.numbers == {"agent_pos": 3, "velocities": 3}
    assert tiny.others == ("task: Discrete(3)",)
    assert (tiny.low.tolist(), tiny.high.tolist(), tiny.step_s) == ([-1.0] * 3, [1.0] * 3, 0.02)


def test_an_observation_that_is_no_dict_is_numbers_and_a_rate_may_be_given() -> None:
    cart = offer(CART, rate=10.0)
    assert (cart.images, cart.numbers, cart.step_s) == ({}, {"observation": 2}, 0.1)


@pytest.mark.parametrize("name, arguments, sentence", [
    ("tiny_env", {}, "--env is 'tiny_env'; give PACKAGE:ENV"),
    ("tiny_env:tiny/Leg-v0", {}, r"registers no environment 'tiny/Leg-v0'; it has tiny/Arm-v0, tiny/Cart-v0"),
    (ARM, {"size": 4}, r"cannot be made with \{'size': 4\}: ValueError: size is 4"),
    (ARM, {"colour": "red"}, "cannot be made with {'colour': 'red'}: TypeError: .*colour"),
    (CART, {"kind": "discrete"}, r"the actions of .* are Discrete\(4\); a Box of 1 to 256 numbers"),
    (CART, {}, r"the rate of .* is None .*--rate 50"),
])
def test_an_environment_that_can_be_no_robot_is_refused(name: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        offer(name, **arguments)


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        make_env("no_such_package:Arm-v0", {})


def test_a_gymnasium_of_before_1_0_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, old in (("0.29.1", True), ("1.0.0", False)):
        monkeypatch.setattr("gymnasium.__version__", version)
        if old:
            with pytest.raises(ValueError, match="gymnasium 0.29.1 is too old; install 1.0"):
                make_env(ARM, {})
        else:
            make_env(ARM, {})


@pytest.mark.parametrize("rate, good", [(0.05, False), (0.1, True), (1000.0, True), (1001.0, False), (math.nan, False)])
def test_a_rate_is_within_reason(rate: float, good: bool) -> None:
    if good:
        assert offer(CART, rate=rate).step_s == pytest.approx(1.0 / rate)
    else:
        with pytest.raises(ValueError, match="--rate 50"):
            offer(CART, rate=rate)


def test_images_come_as_rows_of_pixels_whatever_their_order() -> None:
    assert pixels_of(np.zeros((3, 8, 10), np.uint8)).shape == (8, 10, 3)
    for wrong in (np.zeros((8, 10, 3)), np.zeros((8, 10), np.uint8), None):
        with pytest.raises(ValueError, match="an image of the environment has the shape"):
            pixels_of(wrong)


# -- how a robot file fits it
def test_names_and_order_say_how_a_file_fits() -> None:
    plan = fit_env(parse_robot(arm_robot()), offer())
    assert plan.images == {"front": "pixels.front"}
    assert {topic: entry.names for topic, entry in plan.topics.items()} == {"/joint_states": ["elbow", "roll"], "/grip": ["opening"]}
    assert [(part.key, part.first, part.end) for part in plan.numbers] == [("agent_pos", 0, 3)]
    assert plan.action == ("elbow", "roll", "gripper")


def test_what_the_names_do_not_say_is_said_by_arguments() -> None:
    cameras = {"left": {"topic": "/left"}, "people": {"topic": "/people"}}
    state = [{"topic": "/joint_states", "type": "sensor_msgs/msg/JointState", "names": {"elbow": "j2"}, "unit": "rad"}]
    channels = {"elbow": {**arm_robot()["channels"]["elbow"]}}
    outputs = [{"topic": "/arm", "type": "trajectory_msgs/msg/JointTrajectory", "channels": ["elbow"]}]
    robot = parse_robot(arm_robot(cameras=cameras, state=state, channels=channels, outputs=outputs))
    plan = fit_env(robot, offer(render_mode="rgb_array"), {"left": "pixels.wrist", "people": "render()"},
                   "velocities[1:2]", "0.5,elbow,-1")
    assert plan.images == {"left": "pixels.wrist", "people": "render()"}
    assert plan.action == (0.5, "elbow", -1.0)
    assert plan.measured(robot.channel("elbow")) == 0
    assert plan.topics["/joint_states"].names == ["j2"]


def test_an_only_image_is_the_only_camera_s() -> None:
    robot = parse_robot(cart_robot(cameras={"ahead": {"topic": "/ahead"}}))
    with pytest.raises(ValueError, match=r"render\(\) with render_mode=rgb_array"):
        fit_env(robot, offer(CART, rate=10.0))
    tiny = offer(render_mode="rgb_array")
    only = type(tiny)(tiny.name, {"render()": None}, {}, {}, (), tiny.low[:2], tiny.high[:2], 0.1)
    assert fit_env(robot, only).images == {"ahead": "render()"}


@pytest.mark.parametrize("parts, chosen, sentence", [
    ({"cameras": {"top": {"topic": "/top"}}}, {}, r"camera 'top' is no image .*--image top=KEY. The file's cameras: top; "
     r"the environment's images: pixels.front \(48 x 64\), pixels.wrist \(32 x 32\)"),
    ({}, {"images": {"front": "pixels.top"}}, r"--image front=pixels.top: that is no camera, or no image"),
    ({}, {"images": {"back": "pixels.front"}}, r"--image back=pixels.front: that is no camera"),
    ({"cameras": {"front": {"topic": "/f", "size": [64, 48]}}}, {}, r"the size \[64, 48\] .*pixels.front is \[48, 64\]"),
    ({"cameras": {"front": {"topic": "/f", "depth": "/d"}}}, {}, "camera 'front' has depth"),
    ({"state": arm_robot()["state"][:1]}, {}, r"agent_pos are 3 numbers, and the robot file's state has 2"),
    ({}, {"state": "effort"}, r"--state has 'effort'; give KEY, .*" + LISTS.replace("(", r"\(").replace(")", r"\)")),
    ({}, {"state": "agent_pos[1:9]"}, r"--state has 'agent_pos\[1:9\]', and agent_pos has 3 numbers"),
    ({}, {"state": "agent_pos[2:2]"}, r"agent_pos has 3 numbers"),
    ({}, {"state": "agent_pos[:2]"}, r"are 2 numbers, and the robot file's state has 3"),
    ({"state": [{"topic": "/odom", "type": "nav_msgs/msg/Odometry"}]}, {}, "state '/odom' is a nav_msgs/msg/Odometry"),
    ({}, {"action": "elbow,roll"}, r"action has 3 numbers, and they are to be elbow, roll \(2\).*channels: elbow, roll, gripper"),
    ({}, {"action": "elbow,elbow,gripper"}, "name each of the file's channels once"),
    ({}, {"action": "elbow,roll,gripper,0"}, r"\(4\)"),
    ({}, {"action": "elbow,roll,grip"}, "to be elbow, roll, grip"),
    ({"outputs": [arm_robot()["outputs"][0], {"topic": "/g", "type": "control_msgs/action/GripperCommand", "channels": ["gripper"]}]},
     {}, "output '/g' is a control_msgs/action/GripperCommand; an environment is driven by one of"),
])
def test_what_does_not_fit_is_refused_with_both_lists(parts: dict[str, Any], chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        fit_env(parse_robot(arm_robot(**parts)), offer(), **chosen)


def test_a_sensor_of_obstacles_is_not_to_be_had() -> None:
    obstacles = {"sensors": [{"topic": "/scan", "type": "sensor_msgs/msg/LaserScan"}]}
    footprint = dict.fromkeys(("front", "back", "left", "right"), 0.2)
    with pytest.raises(ValueError, match="obstacles want /scan, which an environment does not give"):
        fit_env(parse_robot(cart_robot(obstacles=obstacles, footprint=footprint)), offer(CART, rate=10.0))


def test_a_position_that_nobody_measures_needs_a_start() -> None:
    channels = arm_robot()["channels"]
    del channels["gripper"]["start"]
    with pytest.raises(ValueError, match="channel 'gripper' is a position that no joint measures"):
        fit_env(parse_robot(arm_robot(channels=channels)), offer())


def test_limits_beyond_the_box_are_said() -> None:
    robot = parse_robot(arm_robot())
    assert doubts(robot, offer(), fit_env(robot, offer())) == [
        f"channel '{name}' is sent as -1.9 to 1.9, and number {index} of the action's Box goes from -1 to 1"
        for index, name in enumerate(("elbow", "roll"))]


# -- driven
def test_a_robot_that_is_told_nothing_holds_where_it_is_measured(world: EnvWorld) -> None:
    before = world.numbers()
    for _ in range(3):
        world.step(0.02)
    assert world.action() == pytest.approx([0.25, -0.5, 0.75])  # the gripper at the file's start
    assert world.numbers()[:2] == pytest.approx(before[:2])
    assert world.time == pytest.approx(0.06)


def test_a_trajectory_is_followed_in_simulated_time_until_the_time_out(world: EnvWorld) -> None:
    world.follow("/arm", [1.0], np.array([[1.25, -0.5]]))  # a rad a second
    for _ in range(10):
        world.step(0.02)
    assert world.action()[0] == pytest.approx(0.25 + 0.22, abs=1e-4)
    for _ in range(60):
        world.step(0.02)
    assert world.action()[0] == pytest.approx(0.25 + DRIVER_TIMEOUT_S, abs=0.021)
    assert world.numbers()[0] == pytest.approx(world.action()[0], abs=1e-4)


def test_positions_hold_and_velocities_stop_when_commands_cease(world: EnvWorld) -> None:
    world.command("/gripper", [0.5])
    robot = parse_robot(cart_robot())
    cart = EnvWorld(CART, rate=10.0)
    cart.connect(robot, fit_env(robot, cart.offer))
    cart.command("/cmd_vel", [0.5, -0.25])
    for _ in range(4):  # 0.1 s each
        cart.step(0.1)
    assert cart.action() == pytest.approx([0.5, -0.25])
    cart.step(0.1)
    cart.step(0.1)
    assert cart.action() == pytest.approx([0.0, 0.0])
    for _ in range(50):
        world.step(0.02)
    assert world.action()[2] == pytest.approx(0.5)
    cart.close()


@pytest.mark.parametrize("values", [[], [0.1], [0.1, 0.2, 0.3], [math.nan, 0.0], [0.0, math.inf]])
def test_a_velocity_that_is_none_stops_the_robot(values: list[float]) -> None:
    robot = parse_robot(cart_robot())
    cart = EnvWorld(CART, rate=10.0)
    cart.connect(robot, fit_env(robot, cart.offer))
    cart.command("/cmd_vel", [0.5, 0.5])
    with pytest.raises(ValueError, match=r"/cmd_vel stands: it was told .*; send 2 finite numbers: linear.x, angular.z"):
        cart.command("/cmd_vel", values)
    assert cart.action() == pytest.approx([0.0, 0.0])
    cart.close()


def test_a_trajectory_that_is_none_makes_the_joints_hold(world: EnvWorld) -> None:
    world.follow("/arm", [1.0], np.array([[1.25, -0.5]]))
    world.step(0.02)
    held = world.action()
    with pytest.raises(ValueError, match="/arm holds: it was told .*; send rows of 2 finite positions at growing times, and name elbow, roll"):
        world.follow("/arm", [1.0], np.zeros((0, 2)))
    world.step(0.02)
    assert world.action() == pytest.approx(held)
    with pytest.raises(ValueError, match="/gripper holds: it was told"):
        world.command("/gripper", [math.nan])
    assert world.action()[2] == pytest.approx(0.75)


# -- episodes
def test_an_episode_ends_with_the_environment_s_word_and_the_next_begins_where_it_starts(world: EnvWorld) -> None:
    while not world.counts.episodes:
        world.follow("/arm", [0.02], np.array([[2.0, -0.5]]))
        world.step(0.02)
    assert (world.seed, world.counts.successes, world.counts.success) == (1, 1, True)
    assert world.counts.reward > 1.5
    assert world.numbers()[0] == pytest.approx(0.25)
    assert world.action() == pytest.approx([0.25, -0.5, 0.75])  # what was commanded is forgotten
    assert world.counts.total == 0.0


def test_no_time_limit_makes_the_robot_jump_unless_it_is_asked_for(world: EnvWorld) -> None:
    for _ in range(9):  # three times the environment's own max_episode_steps
        world.step(0.02)
    assert world.counts.episodes == 0
    limited = EnvWorld(ARM, {"max_episode_steps": 3})
    robot = parse_robot(arm_robot())
    limited.connect(robot, fit_env(robot, limited.offer))
    for _ in range(9):
        limited.step(0.02)
    assert (limited.counts.episodes, limited.counts.successes) == (3, 0)
    limited.close()


def test_a_reset_takes_the_seed_and_goes_on_in_time(world: EnvWorld) -> None:
    world.step(0.02)
    world.reset(7)
    assert world.seed == 7 and world.time == pytest.approx(0.02)


def test_images_are_the_observation_s_or_what_is_drawn() -> None:
    robot = parse_robot(arm_robot(cameras={"front": {"topic": "/f"}, "wrist": {"topic": "/w"}, "people": {"topic": "/p"}}))
    world = EnvWorld(ARM, {"render_mode": "rgb_array"})
    world.connect(robot, fit_env(robot, world.offer, {"people": "render()"}))
    assert [world.image(name).shape for name in ("front", "wrist", "people")] == [(48, 64, 3), (32, 32, 3), (30, 40, 3)]
    world.close()


def test_a_fault_of_the_environment_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    robot = parse_robot(arm_robot())
    world = EnvWorld(ARM, {"breaks": True})
    world.connect(robot, fit_env(robot, world.offer))
    with pytest.raises(RuntimeError, match="the environment tiny_env:tiny/Arm-v0 failed after 0 steps: KeyError: 'a fault of theirs'"):
        world.step(0.02)
    assert "tiny_env.py" in capsys.readouterr().err  # where in their code
    world.close()


def test_plain_drawing_is_for_mujoco() -> None:
    with pytest.raises(ValueError, match="--plain-drawing is for an environment with a MuJoCo model"):
        EnvWorld(ARM, plain=True)


# -- the verb
def test_the_list_says_what_there_is_and_whether_the_file_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(arm_robot()), encoding="utf-8")  # which is YAML, too
    assert main.main(["sim", "--env", ARM, "--list"]) == 0
    assert "numbers: agent_pos (3), velocities (3)" in capsys.readouterr().out
    assert main.main(["sim", "--env", ARM, "--robot-file", str(path), "--list"]) == 0
    shown = capsys.readouterr().out
    for line in ("camera front: pixels.front on /front/image", "state roll: agent_pos[1] on /joint_states", "action[2]: channel gripper",
                 "look at this: channel 'elbow' is sent as"):
        assert line in shown
    assert main.main(["sim", "--env", ARM, "--robot-file", str(path), "--list", "--action", "elbow"]) == 1
    assert "it does not fit tiny: the environment's action has 3 numbers" in capsys.readouterr().out
    assert main.main(["sim", "--env", ARM, "--robot-file", str(path), "--action", "elbow"]) == 2
    assert main.main(["sim", "--env", ARM]) == 2
    assert "--robot-file is missing" in capsys.readouterr().err


def test_constructor_arguments_are_read_as_yaml() -> None:
    assert sim.env_arguments(["obs_type=pixels_agent_pos", "n=3", "image=true", "size=[48, 64]", "text=a=b"]) == {
        "obs_type": "pixels_agent_pos", "n": 3, "image": True, "size": [48, 64], "text": "a=b"}
    for wrong, sentence in ((["size"], "--env-args has 'size'; give KEY=VALUE"), (["a=[1"], "is no YAML after the =")):
        with pytest.raises(ValueError, match=sentence):
            sim.env_arguments(wrong)


def test_the_verb_s_arguments_are_parsed() -> None:
    parser = argparse.ArgumentParser()
    sim.arguments(parser)
    options = parser.parse_args(["--env", ARM, "--env-args", "a=1", "b=2", "--image", "x=y", "--image", "z=w", "--rate", "20"])
    assert (options.env_args, options.image, options.rate) == (["a=1", "b=2"], ["x=y", "z=w"], 20.0)
    assert ros_arguments(parameters={"seed": 3, "publish_clock": True}) == ["--ros-args", "-p", "seed:=3", "-p", "publish_clock:=true"]
