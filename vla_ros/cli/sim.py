"""`vla sim`: any gymnasium environment as a robot, behind a robot file's topics."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vla_ros.cli.argument_types import positive, seed
from vla_ros.core.shown import shown

if TYPE_CHECKING:
    from vla_ros.core.robot import Robot
    from vla_ros.sim.env.offer import EnvOffer
    from vla_ros.sim.env.plan import EnvPlan


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env",
        required=True,
        metavar="PACKAGE:ENV",
        help="what is imported, and the environment that gymnasium then makes, as "
        "gym_aloha:gym_aloha/AlohaInsertion-v0",
    )
    parser.add_argument(
        "--robot-file", metavar="FILE", help="the robot that it is to be, like config/robots/*.yaml"
    )
    parser.add_argument(
        "--env-args",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="of the environment's constructor, as obs_type=pixels_agent_pos (values as in YAML)",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="CAMERA=KEY",
        help="the observation's key of a camera; render() is what the environment draws for "
        "people (default: the key that ends with the camera's name, or the only image)",
    )
    parser.add_argument(
        "--state",
        default="",
        metavar="KEY,KEY[7:14]",
        help="which of its numbers are the file's state, in the file's order (default: agent_pos, "
        "observation.state, state or qpos, or the only ones)",
    )
    parser.add_argument(
        "--action",
        default="",
        metavar="CHANNEL,CHANNEL,0.5",
        help="which channel each of its action's numbers is; a number stands for itself "
        "(default: the file's channels in their order)",
    )
    parser.add_argument(
        "--rate",
        type=positive,
        metavar="HZ",
        help="its steps in a second (default: its metadata's render_fps)",
    )
    parser.add_argument(
        "--camera-rate",
        type=positive,
        default=30.0,
        metavar="HZ",
        help="images a second of each camera, at most (default %(default)g)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="of the first episode (default %(default)s)"
    )
    parser.add_argument(
        "--plain-drawing",
        action="store_true",
        help="a MuJoCo environment draws without shadows and multisampling: many times as fast "
        "where there is no GPU",
    )
    parser.add_argument(
        "--no-noise",
        action="store_true",
        help="images as the environment gives them; a scene that stands still then looks like a "
        "frozen camera",
    )
    parser.add_argument(
        "--clock", action="store_true", help="publish /clock with its time, and stamp with it"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="say what it shows and takes, and how the robot file fits; start nothing",
    )


def run(options: argparse.Namespace) -> int:
    """0: ended by a signal, or the list fits; 1: the list does not fit, or the run failed."""
    if not options.robot_file and not options.list:
        raise ValueError("--robot-file is missing; --list says what the environment has for one")
    from vla_ros.core.robot import load_robot
    from vla_ros.sim.env.plan import doubts, fit_env
    from vla_ros.sim.env.world import EnvWorld

    images = dict(_pair(text, "--image") for text in options.image)
    robot = load_robot(options.robot_file) if options.robot_file else None
    world = EnvWorld(
        options.env,
        env_arguments(options.env_args),
        options.rate,
        options.seed,
        plain=options.plain_drawing,
    )
    if options.list:
        for line in offer_lines(world.offer):
            print(line)
    if robot is None:
        return 0
    try:
        plan = fit_env(robot, world.offer, images, options.state, options.action)
    except ValueError as problem:
        if not options.list:
            raise
        print(f"\nit does not fit {robot.name}: {problem}")
        return 1
    for line in plan_lines(robot, world.offer, plan):
        print(line)
    for sentence in doubts(robot, world.offer, plan):
        print(f"look at this: {sentence}")
    if options.list:
        return 0
    sys.stdout.flush()
    parameters = {
        "seed": options.seed,
        "camera_rate": options.camera_rate,
        "publish_clock": options.clock,
    }
    from vla_ros.operator.processes import ros_arguments
    from vla_ros.sim.env.node import run_env  # needs ROS

    words = ros_arguments(parameters=parameters)
    return run_env(world, robot, plan, words, noise=not options.no_noise)


def env_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Of the constructor, from key=value; values are as in YAML: numbers, true, lists, texts."""
    import yaml

    given: dict[str, Any] = {}
    for text in texts:
        key, value = _pair(text, "--env-args")
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError as problem:
            raise ValueError(f"--env-args {shown(text)} is no YAML after the =") from problem
    return given


def _pair(text: str, option: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"{option} has {shown(text)}; give KEY=VALUE")
    return key, value


def offer_lines(offer: EnvOffer) -> list[str]:
    """What an environment shows and takes, line by line."""
    lines = [
        f"{offer.name}, {1.0 / offer.step_s:g} steps a second",
        f"  images:  {offer.image_text}",
        f"  numbers: {offer.numbers_text}",
        f"  action:  {len(offer.low)} numbers",
    ]
    for index, (low, high) in enumerate(zip(offer.low.tolist(), offer.high.tolist())):
        lines.append(f"    {index}: {low:g} to {high:g}")
    for other in offer.others:
        lines.append(f"  not used: {other}")
    return lines


def plan_lines(robot: Robot, offer: EnvOffer, plan: EnvPlan) -> list[str]:
    """How a robot file and an environment go together, line by line."""
    lines = [f"{robot.name} is {offer.name}"]
    for camera in robot.cameras:
        lines.append(f"  camera {camera.name}: {plan.images[camera.name]} on {camera.topic}")
    flat = []
    for part in plan.numbers:
        flat += [f"{part.key}[{index}]" for index in range(part.first, part.end)]
    for topic, entry in plan.topics.items():
        for name, index in zip(entry.names, entry.indices):
            lines.append(f"  state {name}: {flat[index]} on {topic}")
    for index, action in enumerate(plan.action):
        meaning = f"always {action:g}" if isinstance(action, float) else f"channel {action}"
        lines.append(f"  action[{index}]: {meaning}")
    return lines
