"""`vla replay`: a recording through the present gate and policy says what they would do otherwise."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mcap", reason="the flight recorder needs mcap")
pytest.importorskip("rosbags", reason="its files are read by rosbags")
from blackbox_bags import SECOND, START, Bag

from vla_ros.cli.main import main
from vla_ros.core.robot import Robot, load_robot
from vla_ros.core.types import ActionChunk, Instruction
from vla_ros.datasets.bag_stream import BagStream
from vla_ros.nodes.gate.gate_settings import gate_settings
from vla_ros.operator.replay.gate_parameters import checked, files_of_command, read_gate_parameters
from vla_ros.operator.replay.gate_replay import Difference, GateReplay, ReplayResult
from vla_ros.safety.gate import STOP_PRESSED, Gate, LatestInputs

ROBOT = """
name: cart
cameras:
  camera: {topic: /camera/image_raw}
channels:
  linear.x: {unit: m/s, bounds: [-0.5, 0.5], limits: [-0.2, 0.3], acceleration: 0.5, deceleration: 1.0, on_stop: zero}
  angular.z: {unit: rad/s, bounds: [-1.0, 1.0], limits: [-0.5, 0.5], acceleration: 1.0, deceleration: 2.0, on_stop: zero}
outputs:
  - {topic: /cmd_vel, type: geometry_msgs/msg/Twist, channels: [linear.x, angular.z]}
"""
PARAMETERS = {"required_nodes": ["inference"]}
ARMED_AT, TOLD_AT, NUMBER = 1.8, 2.0, 7
PERIOD_S = 0.02


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT, encoding="utf-8")
    return load_robot(path)


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def drive(robot: Robot, seconds: float = 6.0, parameters: dict[str, Any] = PARAMETERS,
          change: Callable[[float, LatestInputs, Bag, Gate], None] = lambda *_: None, skew: int = 0,
          chunk_lead: float = 0.002, report_delay: float = 0.0) -> Bag:
    """What a flight recorder keeps of a gate that is armed, told to go, and asked for a little too much."""
    gate, inputs, bag = Gate(robot, gate_settings(checked(parameters), robot)), LatestInputs(), Bag()
    sequence = 0
    inputs.instruction = Instruction(at(0.0), 1, "")
    bag.instruction(0.0, 1, "")
    for tick in range(1, round(seconds / PERIOD_S)):
        now = tick * PERIOD_S
        if tick % 5 == 0:
            bag.heartbeat(now - 0.005, "inference")
            inputs.seen["node inference"] = at(now)
        if abs(now - ARMED_AT) < 1e-6:
            assert gate.arm(at(now), at(now) + skew, inputs)[0]
        if abs(now - TOLD_AT) < 1e-6:
            inputs.instruction = Instruction(at(now - 0.003), NUMBER, "go")
            bag.instruction(now - 0.003, NUMBER, "go")
        if tick % 5 == 0:
            sequence += 1
            values = np.array([[0.1 + 0.01 * sequence % 0.25, 0.05 * np.sin(sequence)]], np.float32)
            stamp = now - 0.05
            inputs.chunk = ActionChunk(at(stamp), NUMBER if now >= TOLD_AT else 1, ("linear.x", "angular.z"), values, SECOND // 10,
                                       sequence, process="7.1.here")
            inputs.chunk_sources = ("7.1.here",)
            bag.chunk(now - chunk_lead, inputs.chunk.instruction_id, values, sequence, stamp)
        change(now, inputs, bag, gate)
        _, report = gate.step(at(now), at(now) + skew, inputs)
        bag.report(now, report.state, report.verdict, report.rule, report.reason, number=report.instruction_id,
                   sequence=report.sequence, requested=report.requested, emitted=report.emitted)
        last = bag.messages[-1]
        sent = last.published + 400_000 + round(report_delay * SECOND) * (tick % 2)
        bag.messages[-1] = type(last)(last.topic, last.data, last.arrived, sent, sent)
    return bag


def replay_of(robot: Robot, parameters: dict[str, Any] = PARAMETERS) -> GateReplay:
    values = checked(parameters)
    return GateReplay(robot, gate_settings(values, robot), values["required_nodes"])


def replayed(path: Path, robot: Robot, parameters: dict[str, Any] = PARAMETERS) -> tuple[list[Difference], ReplayResult]:
    replay = replay_of(robot, parameters)
    return list(replay.differences(BagStream(path, replay.wanted))), replay.result


def test_the_same_gate_does_the_same(tmp_path: Path, robot: Robot) -> None:
    differences, result = replayed(drive(robot).write(tmp_path), robot)
    assert differences == [] and result.notes == []
    assert result.compared == result.same > 240
    assert result.verdicts["LIMITED"] > 20 and result.verdicts["PASSED"] > 20, "the drive shows nothing"


def test_a_chunk_that_came_a_moment_before_the_tick_counts_as_the_recorded_gate_counted_it(tmp_path: Path, robot: Robot) -> None:
    differences, _ = replayed(drive(robot, chunk_lead=0.0001).write(tmp_path), robot)
    assert differences == []


def test_a_chunk_that_was_on_its_way_at_the_tick_comes_with_the_next(tmp_path: Path, robot: Robot) -> None:
    """It was sent a millisecond before a tick whose report still names the one before."""
    bag = drive(robot)
    for place, each in enumerate(bag.messages):
        if each.topic.endswith("action_chunk"):
            bag.messages[place] = type(each)(each.topic, each.data, each.arrived, each.received - 19_000_000,
                                             each.published - 19_000_000)
    bag.messages.sort(key=lambda each: each.received)
    differences, _ = replayed(bag.write(tmp_path), robot)
    assert differences == []


def test_a_report_that_was_published_late_is_of_its_own_tick(tmp_path: Path, robot: Robot) -> None:
    differences, _ = replayed(drive(robot, report_delay=0.012).write(tmp_path), robot)
    assert differences == []


def test_twice_the_same_file_gives_the_same(tmp_path: Path, robot: Robot) -> None:
    path = drive(robot).write(tmp_path)
    tight = {**PARAMETERS, "max_age": 0.1}
    first, second = replayed(path, robot, tight), replayed(path, robot, tight)
    assert list(map(str, first[0])) == list(map(str, second[0])) and first[0]
    assert first[1] == second[1]


def test_a_tighter_limit_is_shown_where_it_would_have_held(tmp_path: Path, robot: Robot) -> None:
    path = drive(robot).write(tmp_path)
    differences, result = replayed(path, robot, {**PARAMETERS, "max_age": 0.1})
    assert any("HELD observation_age: the image behind the action is" in each.replayed for each in differences)
    assert any(kind.endswith("HOLDING HELD observation_age") for kind in result.kinds)
    assert result.compared > result.same > 0


@pytest.mark.parametrize("limit, differs", [(0.3, False), (0.25, True)])
def test_another_robot_file_is_shown_where_it_limits(tmp_path: Path, robot: Robot, limit: float, differs: bool) -> None:
    path = drive(robot).write(tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text(ROBOT.replace("limits: [-0.2, 0.3]", f"limits: [-0.2, {limit}]"), encoding="utf-8")
    _, result = replayed(path, load_robot(other))
    assert (result.compared > result.same) == differs


def test_a_stop_that_is_pressed_and_what_a_person_does_then_is_played_again(tmp_path: Path, robot: Robot) -> None:
    def press(now: float, inputs: LatestInputs, bag: Bag, gate: Gate) -> None:
        if abs(now - 3.0) < 1e-6 or abs(now - 3.2) < 1e-6:
            inputs.stop_pressed = now < 3.1
        if abs(now - 3.4) < 1e-6:
            assert gate.reset(at(now), inputs)[0]
        if abs(now - 3.6) < 1e-6:
            assert gate.arm(at(now), at(now), inputs)[0]
        if abs(now - 3.8) < 1e-6:
            inputs.instruction = Instruction(at(now - 0.003), NUMBER, "go")
    differences, result = replayed(drive(robot, change=press).write(tmp_path), robot)
    assert differences == [] and result.verdicts["STOPPED"] == 20


def test_a_disarming_and_a_press_between_two_ticks_are_played_again(tmp_path: Path, robot: Robot) -> None:
    def happen(now: float, inputs: LatestInputs, bag: Bag, gate: Gate) -> None:
        if abs(now - 3.0) < 1e-6:
            gate.disarm()
        if abs(now - 3.5) < 1e-6:
            assert gate.arm(at(now), at(now), inputs)[0]
        if abs(now - 4.0) < 1e-6:  # too short for a tick to see it; the node latches
            gate.latch(STOP_PRESSED)
    differences, result = replayed(drive(robot, change=happen).write(tmp_path), robot)
    assert differences == [] and result.verdicts["STOPPED"] == 100


def test_other_commands_under_the_same_rule_are_a_difference(tmp_path: Path, robot: Robot) -> None:
    path = drive(robot).write(tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text(ROBOT.replace("acceleration: 0.5,", "acceleration: 0.4,"), encoding="utf-8")
    _, result = replayed(path, load_robot(other))
    assert any(kind.endswith("LIMITED rate_limit → other commands to linear.x") for kind in result.kinds)


def test_an_arming_that_would_be_refused_now_is_told(tmp_path: Path, robot: Robot) -> None:
    path = drive(robot).write(tmp_path)
    _, result = replayed(path, robot, {"required_nodes": ["inference", "synchronizer"]})
    assert len(result.notes) == 1 and "a person is refused now: " in result.notes[0] and "synchronizer" in result.notes[0]


def test_a_recording_that_begins_in_the_middle_of_a_drive_goes_on_from_there(tmp_path: Path, robot: Robot) -> None:
    bag = drive(robot, 8.0)
    early = [each for each in bag.messages if each.received < at(3.0) and each.topic != "/vla/instruction/accepted"]
    bag.messages = [each for each in bag.messages if each not in early]
    differences, result = replayed(bag.write(tmp_path), robot)
    assert differences == [] and result.compared == result.same > 190


@pytest.mark.parametrize("jump", [-3600, 7200])
def test_a_clock_that_jumps_inside_a_recording_stops_this_gate_too_and_is_told(tmp_path: Path, robot: Robot, jump: int) -> None:
    bag = drive(robot)
    moved = Bag()
    moved.types = bag.types
    for each in bag.messages:
        if each.received < at(4.0):
            moved.messages.append(each)
    late = drive(robot, skew=jump * SECOND)
    for each in late.messages:
        if each.received >= at(4.0) and not each.topic.endswith("report"):
            moved.messages.append(type(each)(each.topic, each.data, each.arrived, each.received + jump * SECOND,
                                             each.published + jump * SECOND))
    for tick in range(201, 299):
        moved.report(tick * PERIOD_S + jump + 0.0004, 3, 3, "stop", f"the ROS clock jumped by {jump:+.2f} s", number=NUMBER)
    before = sum(each.received < at(4.0) for each in bag.messages)
    moved.messages[before:] = sorted(moved.messages[before:], key=lambda each: each.received)
    replay = replay_of(robot)
    list(replay.differences(BagStream(moved.write(tmp_path), replay.wanted)))
    assert any("the clock jumps by" in note for note in replay.result.notes)
    assert replay.result.verdicts["STOPPED"] > 50
    assert replay._gate.cause.startswith("the ROS clock jumped by"), "and it did not stand still itself"


def test_what_only_the_graph_says_is_counted_apart(tmp_path: Path, robot: Robot) -> None:
    def listen(now: float, inputs: LatestInputs, bag: Bag, gate: Gate) -> None:
        inputs.missing_listeners = ("nobody listens to /cmd_vel",) if 4.0 <= now < 4.5 else ()
    _, result = replayed(drive(robot, change=listen).write(tmp_path), robot)
    assert result.unknowable == 25


def test_a_recording_too_short_to_compare_says_so(tmp_path: Path, robot: Robot) -> None:
    _, result = replayed(drive(robot, 0.9).write(tmp_path), robot)
    assert result.compared == 0 and "there was nothing to compare" in result.notes[0]


# -- the command -----------------------------------------------------------------------
def recorded(folder: Path, robot: Robot, **more: Any) -> str:
    return str(drive(robot).write(folder, robot_file=ROBOT, parameters=PARAMETERS, **more))


def test_the_robot_file_and_the_parameters_come_from_the_recording(tmp_path: Path, robot: Robot,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", recorded(tmp_path, robot)]) == 0
    assert ", 0 differ, 0 rest on what no recording holds" in capsys.readouterr().out


def test_a_parameter_a_parameter_file_and_a_robot_file_take_their_place(tmp_path: Path, robot: Robot,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded(tmp_path, robot)
    parameters = tmp_path / "vla.yaml"
    parameters.write_text("/**/safety_validator:\n  ros__parameters:\n    max_age: 0.1\n/**/inference:\n"
                          "  ros__parameters:\n    max_age: 0.01\n", encoding="utf-8")
    assert main(["replay", path, "--params-file", str(parameters)]) == 1
    assert "at most 0.100 s (max_age)" in capsys.readouterr().out
    assert main(["replay", path, "--params-file", str(parameters), "--set", "max_age=0.4"]) == 0
    other = tmp_path / "other.yaml"
    other.write_text(ROBOT.replace("limits: [-0.2, 0.3]", "limits: [-0.2, 0.1]"), encoding="utf-8")
    out = tmp_path / "out.json"
    assert main(["replay", path, "--robot-file", str(other), "--json", str(out)]) == 1
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["compared"] > told["same"] and told["differences"][0]["recorded"]


@pytest.mark.parametrize("more, says", [
    (["--set", "max_age"], "--set is 'max_age'; write NAME=VALUE"),
    (["--set", "max_agee=1"], "the gate has no parameter 'max_agee'"),
    (["--set", "max_age=soon"], "parameter 'max_age' is 'soon'; give a number"),
    (["--robot-file", "nowhere.yaml"], "nowhere.yaml' does not exist"),
    (["--policy", "nobody"], "unknown policy 'nobody'")])
def test_what_does_not_fit_is_a_sentence(tmp_path: Path, robot: Robot, more: list[str], says: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", recorded(tmp_path, robot), *more]) == 2
    assert says in capsys.readouterr().err


def test_a_robot_s_urdf_comes_with_the_recording_and_a_stranger_s_writes_nowhere_else(tmp_path: Path, robot: Robot) -> None:
    from vla_ros.cli.replay import robot_of
    from vla_ros.datasets.bag_stream import bag_head
    folder = Path(__file__).parents[2] / "config" / "robots"
    beside = {"sim_arm.urdf": (folder / "sim_arm.urdf").read_bytes(), "../outside": b"x", str(tmp_path / "absolute"): b"x"}
    text = (folder / "sim_arm.yaml").read_text(encoding="utf-8")
    head, _ = bag_head(drive(robot, 0.5).write(tmp_path / "bag", robot_file=text, beside=beside))
    assert robot_of("", head).name == load_robot(folder / "sim_arm.yaml").name
    assert not (tmp_path / "absolute").exists()


def test_a_halt_that_was_on_its_way_at_a_tick_comes_with_the_next(tmp_path: Path, robot: Robot) -> None:
    def halt(now: float, inputs: LatestInputs, bag: Bag, gate: Gate) -> None:
        if abs(now - 3.0) < 1e-6:
            bag.halt(now - 0.021, "too many faults")  # before the tick at 2.98, which did not have it
            inputs.halt = "too many faults"
    bag = drive(robot, change=halt)
    bag.messages.sort(key=lambda each: each.received)
    differences, _ = replayed(bag.write(tmp_path), robot)
    assert differences == []


def test_a_halt_that_was_taken_back_between_two_ticks_stops_this_gate_too(tmp_path: Path, robot: Robot) -> None:
    def halt(now: float, inputs: LatestInputs, bag: Bag, gate: Gate) -> None:
        if abs(now - 3.0) < 1e-6:
            bag.halt(now - 0.015, "too many faults")
            bag.halt(now - 0.010, "")
            gate.latch("the supervisor stops the robot: too many faults")
    differences, result = replayed(drive(robot, change=halt).write(tmp_path), robot)
    assert differences == [] and result.verdicts["STOPPED"] > 100


def test_a_stop_by_service_is_played_again(tmp_path: Path, robot: Robot) -> None:
    def stop(now: float, inputs: LatestInputs, bag: Bag, gate: Gate) -> None:
        if abs(now - 3.0) < 1e-6:
            assert gate.stop()[0]
    differences, result = replayed(drive(robot, change=stop).write(tmp_path), robot)
    assert differences == [] and result.verdicts["STOPPED"] > 100


def test_a_bag_without_a_robot_file_asks_for_one(tmp_path: Path, robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(drive(robot).write(tmp_path))
    assert main(["replay", path]) == 2
    assert "holds no robot file; give the robot's with --robot-file" in capsys.readouterr().err


def test_a_recording_that_is_cut_off_is_played_as_far_as_it_goes(tmp_path: Path, robot: Robot,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(recorded(tmp_path, robot))
    path.write_bytes(path.read_bytes()[:-60])
    assert main(["replay", str(path)]) == 1
    printed = capsys.readouterr()
    assert ", 0 differ" in printed.out and "cut off or damaged" in printed.err


def test_parameter_files_are_found_in_a_command_line() -> None:
    words = ["node", "--ros-args", "--params-file", "a.yaml", "-p", "x:=1", "--params-file", "b.yaml"]
    assert files_of_command(words) == ["a.yaml", "b.yaml"]


@pytest.mark.parametrize("text, found", [
    ("/**/safety_validator: {ros__parameters: {max_age: 0.2}}", {"max_age": 0.2}),
    ("safety_validator: {ros__parameters: {max_age: 0.2}}", {"max_age": 0.2}),
    ("/**: {ros__parameters: {max_age: 0.2, unheard_of: 1}}", {"max_age": 0.2}),
    ("/vla/inference: {ros__parameters: {max_age: 0.2}}", {})])
def test_a_parameter_file_gives_the_gate_what_is_the_gates(tmp_path: Path, text: str, found: dict[str, float]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_gate_parameters(path) == found


def test_a_parameter_file_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("safety_validator: 7", encoding="utf-8")
    with pytest.raises(ValueError, match="'safety_validator' has no ros__parameters"):
        read_gate_parameters(path)


# -- the policy ------------------------------------------------------------------------
class Brightness:
    """Drives as fast as the image is bright."""

    name = "brightness@1"
    factor = 1.0

    @classmethod
    def spec(cls, options: Any) -> Any:
        from vla_ros.policies.base import PolicySpec
        return PolicySpec(("linear.x",), 1, SECOND // 10, {"camera": (16, 16)})

    def __init__(self, options: Any) -> None: ...

    def predict(self, observation: Any) -> Any:
        from vla_ros.policies.base import NotUnderstood
        if observation.instruction.text == "sing":
            raise NotUnderstood("it does not sing")
        return np.array([[observation.images["camera"].mean() / 255.0 * 0.3 * self.factor]], np.float32)

    def reset(self) -> None: ...


def watched(folder: Path, text: str = "go") -> Path:
    import cv2
    bag = Bag().instruction(0.0, NUMBER, text)
    for number in range(20):
        grey = 10 * number
        _, encoded = cv2.imencode(".jpg", np.full((16, 16, 3), grey, np.uint8))
        bag.image(number * 0.1, encoded.tobytes())
        bag.chunk(number * 0.1 + 0.03, NUMBER, [[grey / 255.0 * 0.3]], number + 1, number * 0.1, channels=("linear.x",))
        bag.chunk(number * 0.1 + 0.06, NUMBER, [[0.0]], number + 1, number * 0.1 + 0.05, channels=("linear.x",))
    return bag.write(folder)


def asked(path: Path, robot: Robot) -> Any:
    from vla_ros.core.policy_file import PolicyFile
    from vla_ros.operator.replay.policy_replay import PolicyReplay
    replay = PolicyReplay(robot, PolicyFile(f"{__name__}:Brightness"))
    return replay.play(BagStream(path, replay.wanted))


def test_the_same_policy_acts_the_same_where_its_image_was_kept(tmp_path: Path, robot: Robot) -> None:
    result = asked(watched(tmp_path), robot)
    assert (result.compared, result.same, result.skipped) == (20, 20, 20)
    assert result.largest["linear.x"] < 0.005


def test_another_policy_is_shown_by_channel_and_by_how_much(tmp_path: Path, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brightness, "factor", 0.5)
    result = asked(watched(tmp_path), robot)
    assert result.compared == 20 and result.same < 10
    assert result.largest["linear.x"] == pytest.approx(190 / 255 * 0.15, abs=0.005)
    assert "“go”: linear.x 0.224 recorded, 0.112 now" in result.told[-1]


def test_words_that_the_present_policy_does_not_know_are_counted(tmp_path: Path, robot: Robot) -> None:
    result = asked(watched(tmp_path, "sing"), robot)
    assert result.compared == 0 and result.problems == {"not understood: it does not sing": 20}


def test_what_a_person_drove_is_not_compared_and_the_policy_is_taken_up_from_where_it_is_then(tmp_path: Path, robot: Robot) -> None:
    bag = drive(robot)
    for place, each in enumerate(bag.messages):
        if each.topic.endswith("safety_report") and at(3.0) <= each.received < at(4.0):
            person = Bag().report(each.received / SECOND - START / SECOND, source="teleop", emitted=(-0.1, 0.4))
            bag.messages[place] = type(each)(each.topic, person.messages[0].data, each.arrived, each.received, each.published)
    _, result = replayed(bag.write(tmp_path), robot)
    assert result.unknowable == 50
    assert result.compared - result.same - result.unknowable <= 2
