"""Which nodes a robot's suite has, as its robot file says; for launch and for who starts processes.

No ROS here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vla_ros.core.policy_file import PolicyFile, chosen_policy
from vla_ros.core.robot import CAMERA_NODE, Robot, load_robot
from vla_ros.core.robot_fields import topic_name
from vla_ros.nodes.node_parameters import ALL, NODES
from vla_ros.policies import file_spec
from vla_ros.policies.views import Views

SEEING = (CAMERA_NODE, "inference")  # what is told the policy: it says which images it wants
# What a robot's topics are called where the file does not say otherwise, and who hears them.
ROBOT_TOPICS = ("joint_states", "odom")
HEARS_STATE = ("safety_validator", "synchronizer")


@dataclass(frozen=True)
class PlannedNode:
    """A node of the suite, as it is to be started.

    Attributes:
        executable: a name in NODES or ONLOOKER_NODES.
        parameters: name -> value; they overrule a parameter file.
        remaps: name -> name.
    """

    name: str
    executable: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    remaps: Mapping[str, str] = field(default_factory=dict)


def planned_nodes(
    robot_file: str,
    policy: str = "",
    policy_file: str = "",
    camera_topic: str = "",
    topics: Mapping[str, str] | None = None,
    teleop: bool = False,
    onlookers: Sequence[str] = (),
) -> list[PlannedNode]:
    """The nodes of a robot's suite, the gate first, and a camera_ingest for each camera.

    A camera that the policy does not look through has none, where the policy is known here.

    Args:
        robot_file: a path.
        policy, policy_file: what drives, as the parameters of these names.
        camera_topic: instead of the file's topic; for a robot of one camera.
        topics: one of ROBOT_TOPICS -> where the robot really has it.
        teleop: a person may take over: one node more, which brings itself up.
        onlookers: of ONLOOKER_NODES, those that run as well; they come last.

    Raises:
        ValueError: a file is wrong, or the policy looks through a camera that is not there.
    """
    robot = load_robot(robot_file)
    seen, clouds = _seen(robot, chosen_policy(policy, policy_file))
    cameras = [ALL] if len(seen) == len(robot.cameras) else seen
    everyone = {"robot_file": robot_file}
    of_policy = {"policy": policy, "policy_file": policy_file}
    remaps = {}
    for name, topic in (topics or {}).items():
        if topic:
            remaps[f"/{name}"] = topic_name(topic, name)
    planned: list[PlannedNode] = []
    for executable in NODES:
        parameters: dict[str, object] = {}
        if executable != "command_ingest":
            parameters |= everyone
        if executable in SEEING:
            parameters |= of_policy
        elif executable != "command_ingest":
            parameters["cameras"] = cameras
        if executable == "synchronizer" and robot.clouds:
            parameters["clouds"] = clouds or [""]  # a list without a text has no type in ROS
        if executable == CAMERA_NODE:
            planned += _camera_nodes(robot, seen, parameters, camera_topic)
        else:
            heard = remaps if executable in HEARS_STATE else {}
            planned.append(PlannedNode(executable, executable, parameters, heard))
    if teleop:
        gate = planned[NODES.index("safety_validator")]
        planned[NODES.index("safety_validator")] = replace(
            gate, parameters={**gate.parameters, "teleop": True}
        )
        planned.append(PlannedNode("teleop", "teleop", everyone, remaps))
    for name in onlookers:
        planned.append(PlannedNode(name, name, {**everyone, "cameras": cameras}, remaps))
    return planned


def _seen(robot: Robot, chosen: PolicyFile) -> tuple[list[str], list[str]]:
    """The cameras and the point clouds that the policy looks at, in the robot file's order."""
    try:
        spec = file_spec(chosen)
    except ValueError:
        # What starts the nodes may lack what the policy is made of; if they do too, they say so.
        return list(robot.camera_nodes), [cloud.name for cloud in robot.clouds]
    views = Views(spec, chosen.images)
    views.check(robot.camera_nodes, robot.depth_cameras, robot.clouds)
    clouds = [cloud.name for cloud in robot.clouds if cloud.name in views.clouds.values()]
    return [camera.name for camera in robot.cameras if camera.name in views.cameras], clouds


def _camera_nodes(
    robot: Robot, cameras: Sequence[str], parameters: Mapping[str, object], topic: str
) -> list[PlannedNode]:
    """The node of each of `cameras`; `topic`, where it is given, is the only one's."""
    if topic and len(robot.cameras) > 1:
        raise ValueError(
            f"camera_topic is '{topic}', and robot '{robot.name}' has {len(robot.cameras)} "
            "cameras; give their topics in its robot file"
        )
    planned: list[PlannedNode] = []
    for camera in cameras:
        remaps: dict[str, str] = {}
        if topic:
            remaps[robot.camera(camera).topic] = topic_name(topic, "camera_topic")
        own = {**parameters, "camera": camera}
        planned.append(PlannedNode(robot.camera_nodes[camera], CAMERA_NODE, own, remaps))
    return planned
