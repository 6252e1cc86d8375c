"""config/security: who may say and hear what. Read as text: sros2 is not needed, except for its own schema."""
from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sros_policy import (
    ACTION_RIGHTS,
    ACTION_SERVICES,
    ACTION_TOPICS,
    COMPOSED,
    POLICY,
    RIGHTS,
    SECURITY,
    SIMULATOR,
    Enclave,
    read_policy,
    who,
)

from vla_ros.core.composed import PROGRAM
from vla_ros.core.robot import load_robot
from vla_ros.core.robot_clouds import Cloud
from vla_ros.nodes.enclaves import composed_policy_for, policy_for
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.safety.rules import RULES

yaml = pytest.importorskip("yaml", reason="the robot files need PyYAML")

ENCLAVES = read_policy(POLICY)
PATHS = {path.stem: path for path in sorted((SECURITY.parent / "robots").glob("*.yaml"))}
ROBOTS = {name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}
DECLARED = {source.topic for rule in RULES for source in rule.sources}
GATE, OPERATOR, SUPERVISOR = "/vla/safety_validator", "/vla/operator", "/vla/supervisor"
TELEOP, STICK = "/vla/teleop", "/robot/stick"
RECORDER = "/vla/blackbox"
CONSOLE = "/vla/console"  # an operator's hands too
FILES = sorted(SECURITY.glob("*.xml"))
Robot = tuple[dict[str, Any], dict[str, Enclave]]


def test_every_node_and_everyone_around_them_has_an_enclave() -> None:
    nodes = {f"/vla/{name}" for name in NODE_PARAMETERS}
    assert len(nodes) == 9
    assert set(ENCLAVES) == nodes | {OPERATOR, "/robot/driver", "/robot/camera", STICK}
    assert set(read_policy(SIMULATOR)) == {"/robot/simulator", "/robot/arm_simulator"}


@pytest.mark.parametrize("name", PATHS)
def test_the_composed_process_may_exactly_what_its_nodes_may(name: str, tmp_path: Path) -> None:
    known = load_robot(PATHS[name])
    policy, composed = tmp_path / "policy.xml", tmp_path / "composed.xml"
    policy.write_text(policy_for(POLICY.read_text(encoding="utf-8"), known), encoding="utf-8")
    composed.write_text(composed_policy_for(policy.read_text(encoding="utf-8"), known), encoding="utf-8")
    nodes = [*known.camera_nodes.values(), "synchronizer", "inference"]
    (path, rights), = read_policy(composed).items()
    assert path == f"/vla/{PROGRAM}"
    for right in RIGHTS:
        assert rights[right] == set().union(*(read_policy(policy)[f"/vla/{node}"][right] for node in nodes))
    profiles = ET.parse(composed).getroot().findall("enclaves/enclave/profiles/profile")
    assert [(profile.attrib["ns"], profile.attrib["node"]) for profile in profiles] == [("/vla", node) for node in nodes]


def test_the_shipped_composed_policy_is_the_simulated_robots() -> None:
    text = composed_policy_for(POLICY.read_text(encoding="utf-8"), load_robot(PATHS["sim"]))
    assert COMPOSED.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("gone", ['node="inference"', "<!DOCTYPE"])
def test_a_policy_that_lacks_what_the_composed_one_is_made_of_is_refused(gone: str) -> None:
    with pytest.raises(ValueError, match="take it as shipped"):
        composed_policy_for(POLICY.read_text(encoding="utf-8").replace(gone, ""), load_robot(PATHS["sim"]))


@pytest.mark.parametrize("path", [POLICY, SIMULATOR], ids=lambda path: path.name)
def test_the_file_is_what_sros2_reads(path: Path) -> None:
    root = ET.parse(path, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))).getroot()
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    enclaves = root.find("enclaves")
    assert enclaves is not None
    assert "XInclude" not in {element.tag.split("}")[0].rsplit("/")[-1] for element in root.iter()
                              if isinstance(element.tag, str)}, "with included parts sros2 crashes now and then"
    for child in enclaves:  # sros2 takes a comment here for an enclave, and stops
        assert child.tag == "enclave", f"between two enclaves: {child.text}"
        name = child.attrib["path"]
        assert re.fullmatch(r"(/[a-z][a-z0-9_]*)+", name)
        profiles = child.findall("profiles/profile")
        assert [profile.attrib["node"] for profile in profiles] == [name.rsplit("/", 1)[1]], "~ would be another node"
        assert profiles[0].attrib["ns"] == ("/vla" if name.startswith("/vla/") else "/")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_exact_names_are_allowed(path: Path) -> None:
    for element in ET.parse(path).getroot().iter():
        if element.tag in ("topic", "service", "action"):
            assert re.fullmatch(r"(~/|/)?[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*", (element.text or "").strip()), element.text
        assert "DENY" not in element.attrib.values(), "what is not allowed is denied; a DENY hides who is allowed"


def test_the_shipped_policy_is_the_simulated_robots() -> None:
    text = POLICY.read_text(encoding="utf-8")
    assert policy_for(text, load_robot(PATHS["sim"])) == text


@pytest.fixture(params=PATHS)
def robot(request: pytest.FixtureRequest, tmp_path: Path) -> Robot:
    """A robot of the package, what its file says as plain YAML, and its policy."""
    name = request.param
    path = tmp_path / "policy.xml"
    path.write_text(policy_for(POLICY.read_text(encoding="utf-8"), load_robot(PATHS[name])), encoding="utf-8")
    return ROBOTS[name], read_policy(path)


def state_of(data: dict[str, Any], every: bool) -> set[str]:
    """The topics of its state: of every entry, or of those without which it may not move."""
    return {entry["topic"] for entry in data["state"] if every or entry.get("required", True)}


def ranges_of(data: dict[str, Any]) -> set[str]:
    return {sensor["topic"] for sensor in data.get("obstacles", {}).get("sensors", [])}


def test_only_the_gate_commands_the_robot(robot: Robot) -> None:
    data, enclaves = robot
    for output in data["outputs"]:
        assert who(enclaves, "publish", output["topic"]) == {GATE}
        heard = set() if output.get("type", "").partition("/")[2].startswith("action/") else {RECORDER}
        assert who(enclaves, "subscribe", output["topic"]) == {"/robot/driver"} | heard


def test_the_gate_hears_the_robots_sensors_from_its_driver_and_nothing_else(robot: Robot) -> None:
    data, enclaves = robot
    heard = state_of(data, every=False) | ranges_of(data) | DECLARED
    for topic in heard:
        assert who(enclaves, "publish", topic) == {"/robot/driver"}
    assert {topic for topic in enclaves[GATE]["subscribe"] if not topic.startswith("/vla/")} == heard | {"/clock"}


def test_the_synchronizer_hears_the_robots_state_and_its_cameras_frames(robot: Robot) -> None:
    data, enclaves = robot
    beyond = {topic for topic in enclaves["/vla/synchronizer"]["subscribe"] if not topic.startswith("/vla/")}
    assert beyond == state_of(data, every=True) | {"/clock", "/diagnostics"}
    for topic in state_of(data, every=True):
        assert who(enclaves, "publish", topic) == {"/robot/driver"}
    frames = {topic for topic in enclaves["/vla/synchronizer"]["subscribe"] if topic.endswith("frame")}
    deep = [camera for camera in data["cameras"].values() if "depth" in camera]
    assert len(frames) == len(data["cameras"]) + len(deep)


def test_the_synchronizer_hears_the_robots_point_clouds(tmp_path: Path) -> None:
    robot = replace(load_robot(PATHS["sim"]), clouds=(Cloud("scene", "/points"),))
    path = tmp_path / "policy.xml"
    path.write_text(policy_for(POLICY.read_text(encoding="utf-8"), robot), encoding="utf-8")
    enclaves = read_policy(path)
    assert who(enclaves, "subscribe", "/points") == {"/vla/synchronizer"}
    assert who(enclaves, "publish", "/points") == {"/robot/driver"}


def test_each_camera_has_a_node_with_an_enclave_of_its_own(robot: Robot) -> None:
    data, enclaves = robot
    nodes = sorted(path for path in enclaves if path.startswith("/vla/camera_ingest"))
    assert len(nodes) == len(data["cameras"])
    for node, camera in zip(nodes, sorted(data["cameras"])):
        topic = data["cameras"][camera]["topic"]
        assert who(enclaves, "subscribe", topic) == {node, CONSOLE} and who(enclaves, "publish", topic) == {"/robot/camera"}
        frames = {topic for topic in enclaves[node]["publish"] if topic.endswith("frame")}
        assert [who(enclaves, "publish", topic) for topic in frames] == [{node}] * len(frames)
        depth = data["cameras"][camera].get("depth")
        assert len(frames) == (2 if depth else 1)
        assert not depth or who(enclaves, "subscribe", depth) == {node}
        assert f"{node}/change_state" in enclaves[SUPERVISOR]["request"]


def test_the_gate_speaks_to_the_robot_on_nothing_else(robot: Robot) -> None:
    data, enclaves = robot
    beyond = {topic for topic in enclaves[GATE]["publish"] if not topic.startswith("/vla/")}
    outputs = {output["topic"] for output in data["outputs"]}
    assert beyond == outputs | {"/diagnostics", "/parameter_events", "/rosout"}


def test_a_policy_that_is_not_as_it_was_shipped_is_refused_with_a_sentence() -> None:
    text = POLICY.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="has no enclave /vla/camera_ingest; take it as shipped"):
        policy_for(text.replace("/vla/camera_ingest", "/vla/eye"), load_robot(PATHS["sim"]))
    with pytest.raises(ValueError, match="has no list for its state; take it as shipped"):
        policy_for(text.replace("robot: its state", "its state"), load_robot(PATHS["sim"]))


@pytest.mark.parametrize("topic", ["stop", "instruction"])
def test_only_an_operators_hands_stop_and_say(topic: str) -> None:
    assert who(ENCLAVES, "publish", f"/vla/{topic}") == {OPERATOR, CONSOLE}


@pytest.mark.parametrize(("topic", "speaker"), [
    ("halt", SUPERVISOR), ("instruction/accepted", "/vla/command_ingest"),
    ("frame", "/vla/camera_ingest"), ("observation", "/vla/synchronizer"), ("action_chunk", "/vla/inference"),
    ("safety_report", GATE)])
def test_only_one_may_say_it(topic: str, speaker: str) -> None:
    assert who(ENCLAVES, "publish", f"/vla/{topic}") == {speaker}


@pytest.mark.parametrize("service", ["arm", "disarm", "reset"])
def test_only_the_operator_arms(service: str) -> None:
    assert who(ENCLAVES, "request", f"{GATE}/{service}") == {OPERATOR, CONSOLE}
    assert who(ENCLAVES, "reply", f"{GATE}/{service}") == {GATE}


def test_the_gate_s_stop_is_the_operator_s_to_ask_for() -> None:
    assert who(ENCLAVES, "request", f"{GATE}/stop") == {OPERATOR}
    assert who(ENCLAVES, "reply", f"{GATE}/stop") == {GATE}


@pytest.mark.parametrize("service", ACTION_SERVICES)
def test_only_the_operator_gives_goals_to_command_ingest(service: str) -> None:
    assert who(ENCLAVES, "request", f"/vla/run_policy/_action/{service}") == {OPERATOR}
    assert who(ENCLAVES, "reply", f"/vla/run_policy/_action/{service}") == {"/vla/command_ingest"}


def test_only_the_supervisor_leads_the_nodes() -> None:
    alone = ("supervisor", "teleop", "blackbox", "console")  # nobody leads these
    led = {f"/vla/{name}/change_state" for name in NODE_PARAMETERS if name not in alone}
    asked = ENCLAVES[SUPERVISOR]["request"]
    assert asked == led | {"/vla/inference/reset_policy", "/vla/inference/switch_to_fallback"}
    others = {name for path, rights in ENCLAVES.items() if path != SUPERVISOR for name in rights["request"]}
    assert asked & others == {"/vla/inference/reset_policy"}, "which teleop asks for before it gives the robot back"
    assert who(ENCLAVES, "request", "/vla/inference/reset_policy") == {SUPERVISOR, TELEOP}


def test_a_person_s_rows_are_the_stick_s_and_go_to_the_gate_alone() -> None:
    for topic in ("joy", "teleop_twist", "teleop_joints"):
        assert who(ENCLAVES, "publish", f"/vla/{topic}") == {STICK}
        assert who(ENCLAVES, "subscribe", f"/vla/{topic}") == {TELEOP, RECORDER}
    assert who(ENCLAVES, "publish", "/vla/teleop/action_chunk") == {TELEOP}
    assert who(ENCLAVES, "subscribe", "/vla/teleop/action_chunk") == {GATE}
    assert who(ENCLAVES, "request", f"{GATE}/give_back") == {TELEOP}
    assert who(ENCLAVES, "request", "/vla/teleop/give_back") == {OPERATOR, CONSOLE}


def test_nobody_sets_parameters_at_run_time() -> None:
    asked = {name for rights in ENCLAVES.values() for name in rights["request"]}
    read = {f"{GATE}/get_parameters"}  # by the console, which asks for the robot file
    assert {name for name in asked if "parameter" in name} == read
    assert who(ENCLAVES, "request", *read) == {CONSOLE}


def test_a_service_has_one_who_answers() -> None:
    for name in {name for rights in ENCLAVES.values() for name in (*rights["request"], *rights["reply"])}:
        # `vla record` is started by hand, and has no enclave
        assert len(who(ENCLAVES, "reply", name)) == (0 if name.startswith("/vla/record/") else 1), name


def test_nobody_listens_to_a_topic_that_nobody_may_speak_on() -> None:
    spoken, heard = ({name for rights in ENCLAVES.values() for name in rights[right]} for right in RIGHTS if
                     right in ("publish", "subscribe"))
    assert heard - spoken == {"/clock"}, "only a simulation moves the clock"
    assert who(read_policy(SIMULATOR), "publish", "/clock") == {"/robot/simulator", "/robot/arm_simulator"}


def test_the_arms_simulator_takes_what_an_arms_drivers_take_and_nothing_of_the_suites() -> None:
    arm = read_policy(SIMULATOR)["/robot/arm_simulator"]
    robot = load_robot(SECURITY.parent / "robots" / "sim_arm.yaml")
    assert arm["subscribe"] - {"/clock"} == {output.topic for output in robot.outputs}
    assert {camera.topic for camera in robot.cameras} <= arm["publish"]
    assert not arm["request"] and not any(name.startswith("/vla") for name in arm["publish"])


def test_the_simulator_may_do_what_driver_and_camera_may_and_nothing_of_the_suites() -> None:
    simulator = read_policy(SIMULATOR)["/robot/simulator"]
    both = ENCLAVES["/robot/driver"], ENCLAVES["/robot/camera"]
    more = simulator["publish"] - both[0]["publish"] - both[1]["publish"]
    assert more == {"/clock", "/sim/objects"}
    assert simulator["subscribe"] <= both[0]["subscribe"]
    assert not simulator["request"]


@pytest.mark.parametrize("path", [POLICY, SIMULATOR], ids=lambda path: path.name)
def test_it_is_valid_by_sros2s_own_schema(path: Path) -> None:
    pytest.importorskip("lxml", reason="lxml is not installed: it comes with sros2")
    policy = pytest.importorskip("sros2.policy", reason="sros2 is not installed: it comes with ROS 2, not from PyPI")
    tree = policy.load_policy(path)  # raises RuntimeError with what is wrong
    names = [element.get("path") for element in tree.iterfind("enclaves/enclave")]
    assert names == list(read_policy(path))
    ours = {path: {right: len(found) for right, found in rights.items()} for path, rights in read_policy(path).items()}
    of_action = {right: (with_it, len(parts)) for with_it, rights in ACTION_RIGHTS.items()
                 for right, parts in zip(rights, (ACTION_SERVICES, ACTION_TOPICS))}
    theirs = {enclave.get("path"): {right: len(enclave.findall(f".//{tag}[@{right}='ALLOW']/{child}"))
                                    + of_action[right][1] * len(enclave.findall(f".//actions[@{of_action[right][0]}='ALLOW']/action"))
                                    for right, (tag, child) in RIGHTS.items()}
              for enclave in tree.iterfind("enclaves/enclave")}
    assert theirs == ours, "the file says something else to sros2 than to these tests"


def test_an_action_is_called_by_the_gate_and_executed_by_the_driver_and_is_no_topic() -> None:
    robot = load_robot(PATHS["sim"])
    twist, gripper = robot.outputs
    action = replace(gripper, topic="/hand/gripper_cmd", type="control_msgs/action/GripperCommand")
    root = ET.fromstring(policy_for(POLICY.read_text(encoding="utf-8"), replace(robot, outputs=(twist, action))))
    rights = {}
    for enclave in root.iterfind("enclaves/enclave"):
        assert "/hand/gripper_cmd" not in [topic.text for topic in enclave.iter("topic")]
        for actions in enclave.iter("actions"):
            if [name.text for name in actions] != ["run_policy"]:  # the suite's own
                rights[enclave.attrib["path"]] = actions.attrib, [name.text for name in actions]
    assert rights == {GATE: ({"call": "ALLOW"}, ["/hand/gripper_cmd"]), "/robot/driver": ({"execute": "ALLOW"}, ["/hand/gripper_cmd"])}
