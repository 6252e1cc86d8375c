"""What `vla policy check` holds a policy against: a dataset's rows, and a robot that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.compressed import rgb_of_message
from vla_ros.core.images import as_mounted
from vla_ros.core.robot import Robot
from vla_ros.core.types import Image
from vla_ros.datasets.lerobot.layout import ACTION, STATE
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.policies.check_live import GateLimits, LiveRobot
from vla_ros.policies.training_data import RecordedImages, TrainingData

if TYPE_CHECKING:
    from vla_ros.operator.robot_graph import GraphSnapshot

# Where an episode begins the robot stands as it does now; what it looks like while it works, the
# middle and the end show. Each image may take the decoding of a second of video.
MOST_EPISODES = 12
MOMENTS = (0.0, 0.5, 1.0)  # of an episode
SUITE = "/vla"  # the namespace of its nodes


def training_data(folder: str) -> TrainingData:
    """A LeRobot dataset as plain arrays. Raises ValueError for what is none."""
    dataset = Dataset(folder)
    state: dict[str, NDArray[np.floating]] = {}
    for name, (feature, column) in dataset.inputs.items():
        state[name] = dataset.vector(feature)[:, column]
    actions: dict[str, NDArray[np.floating]] = {}
    for column, name in enumerate(dataset.names[ACTION]):
        actions[name] = dataset.action[:, column]
    starts = np.array([episode.start for episode in dataset.episodes])
    images = {camera: _images(dataset, camera) for camera in dataset.cameras}
    task = dataset.episodes[0].task
    dataset.close()
    return TrainingData(
        folder,
        dataset.fps,
        starts,
        state,
        tuple(dataset.names.get(STATE, ())),
        actions,
        images,
        task,
    )


def _images(dataset: Dataset, camera: str) -> RecordedImages:
    images: list[Image] = []
    episodes: list[int] = []
    last = len(dataset.episodes) - 1
    for number in np.unique(np.linspace(0, last, MOST_EPISODES).astype(int)):
        episode = dataset.episodes[number]
        for moment in MOMENTS:
            frame = episode.start + round(moment * (episode.end - 1 - episode.start))
            images.append(dataset.image(frame, camera))
            episodes.append(episode.index)
    return RecordedImages(images, np.array(episodes, np.int64), dataset.cameras[camera])


# -- the robot that runs -----------------------------------------------------------------
def listen(robot: Robot, seconds: float, wait: float) -> tuple[LiveRobot, GateLimits]:
    """Hears the robot's cameras and state, and asks the suite, where it runs, what it allows."""
    from vla_ros.operator.asked_parameters import ask_numbers
    from vla_ros.operator.client import spinning
    from vla_ros.operator.graph_snapshot import take_snapshot
    from vla_ros.operator.robot_check import heard_topics

    topics = heard_topics(robot)
    with spinning("vla_policy") as node:
        graph = take_snapshot(node, set(topics.values()), seconds, wait, topics)
        gate = ask_numbers(node, f"{SUITE}/safety_validator", ["max_age"])
        inference = ask_numbers(node, f"{SUITE}/inference", ["predict_timeout"])
    return live_robot(robot, graph), gate_limits({**gate, **inference})


def live_robot(robot: Robot, graph: GraphSnapshot) -> LiveRobot:
    """What a snapshot holds of a robot's images and state."""
    from vla_ros.operator.robot_check import MAX_IMAGE_BYTES

    images: dict[str, Image] = {}
    problems: dict[str, str] = {}
    rates: dict[str, float] = {}
    ages: dict[str, float] = {}
    for camera in robot.cameras:
        heard = graph.topic(camera.topic).heard
        if heard is None or not heard.messages:
            domain = os.environ.get("ROS_DOMAIN_ID", "0")
            problems[camera.name] = f"nothing came on {camera.topic} in ROS domain {domain}"
            continue
        try:
            image = rgb_of_message(heard.messages[-1], camera.transport, MAX_IMAGE_BYTES)
            images[camera.name] = as_mounted(image, camera)
        except ValueError as problem:
            problems[camera.name] = str(problem)
        rates[camera.name] = heard.rate
        if heard.age is not None:
            # A driver that goes by simulated time is as old as that says.
            simulated = heard.age if heard.sim_age is None else heard.sim_age
            ages[camera.name] = max(0.0, min(heard.age, simulated, key=abs))
    return LiveRobot(images, problems, rates, ages, dict(_state(robot, graph)))


def _state(robot: Robot, graph: GraphSnapshot) -> Iterator[tuple[str, float]]:
    """Name -> number, the newest last; several publishers may each say some."""
    from vla_ros.core.state_numbers import published_numbers

    for source in robot.state:
        heard = graph.topic(source.topic).heard
        for message in heard.messages if heard else ():
            try:
                said = published_numbers(source.type, message, list(source.names.values()))
            except ValueError:
                continue  # vla robot check says what is wrong with it
            for name, theirs in source.names.items():
                if theirs in said:
                    yield name, source.value(said[theirs])


def gate_limits(asked: Mapping[str, float]) -> GateLimits:
    """What the suite's nodes said of their parameters; of those that did not, the defaults."""
    from vla_ros.nodes.node_parameters import NODE_PARAMETERS

    limits = dict(asked)
    for node in ("safety_validator", "inference"):
        for parameter in NODE_PARAMETERS[node]:
            if isinstance(parameter.default, float):
                limits.setdefault(parameter.name, parameter.default)
    where = "of the gate that runs" if "max_age" in asked else "the default; no gate runs"
    return GateLimits(limits["max_age"], limits["predict_timeout"], where)
