"""A policy's numbers as the robot's: names, units, kinds and gripper ends, or both lists and a refusal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_ros.core.policy_file import PolicyFile, PolicyNumber, load_policy_file
from vla_ros.core.robot import Robot, parse_robot
from vla_ros.core.types import Instruction, Observation, to_nanoseconds
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.numbers import Numbers


def channel(joint: str, **more: Any) -> dict[str, Any]:
    fields = {"unit": "rad", "bounds": [-3, 3], "limits": [-3, 3], "max_speed": 1.0, "on_stop": "hold_measured"}
    return {**fields, "joint": joint, **more}


def robot(**channels: Any) -> Robot:
    """An arm of two joints with a gripper, whose driver publishes degrees and 0 to 100."""
    channels = channels or {
        "shoulder": channel("shoulder", sent_unit="deg"),
        "elbow": channel("elbow", sent_unit="deg"),
        "gripper": channel("jaw", unit="1", bounds=[0, 1], limits=[0, 1], sent_unit="0..100"),
    }
    return parse_robot(
        {
            "name": "arm",
            "channels": channels,
            "outputs": [
                {"topic": "/arm", "type": "std_msgs/msg/Float64MultiArray", "channels": list(channels)}
            ],
            "state": [
                {
                    "topic": "/joint_states",
                    "type": "sensor_msgs/msg/JointState",
                    "names": ["shoulder", "elbow"],
                    "unit": "deg",
                },
                {
                    "topic": "/joint_states",
                    "type": "sensor_msgs/msg/JointState",
                    "names": ["jaw"],
                    "unit": "0..100",
                },
            ],
        }
    )


def spec(*channels: str, **more: Any) -> PolicySpec:
    fields = {"state": (), "step": to_nanoseconds(0.1), **more}
    return PolicySpec(channels or ("shoulder", "elbow", "gripper"), 2, images={}, **fields)


def file(**more: Any) -> PolicyFile:
    return PolicyFile("mine", **more)


def observed(**state: float) -> Observation:
    return Observation(7, Instruction(7, 3, "go"), {}, state)


# -- the policy file ---------------------------------------------------------------------
def written(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text("policy: mine:Mine\n" + text, encoding="utf-8")
    return path


def test_what_feeds_what_is_read_from_the_file(tmp_path: Path) -> None:
    read = load_policy_file(
        written(
            tmp_path,
            "state:\n  - {name: shoulder.pos, from: shoulder, unit: deg}\n"
            "actions:\n  - {name: shoulder.pos, to: shoulder, unit: deg, kind: relative}\n"
            "  - {name: gripper.pos, to: gripper, closed: 0, open: 100}\n  - {name: spare, to: }\n",
        )
    )
    assert read.state == (PolicyNumber("shoulder.pos", "shoulder", "deg"),)
    assert read.actions == (
        PolicyNumber("shoulder.pos", "shoulder", "deg", "relative"),
        PolicyNumber("gripper.pos", "gripper", "", "", 0.0, 100.0),
        PolicyNumber("spare", ""),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("state: {a: b}", "state is {'a': 'b'}; give a list"),
        ("state: [a]", "state, entry 1 is 'a'; give a mapping of name, from"),
        ("state: [{from: a}]", "entry 1 lacks name"),
        ("state: [{name: a, to: b}]", "has the key 'to'; known are name, from"),
        ("state: [{name: a, from: }]", "from is None; give a text"),
        ("state: [{name: a, unit: degrees}]", r"unit is 'degrees'; use one of rad, deg"),
        ("state: [{name: a}, {name: a}]", "state has 'a' 2 times"),
        ("actions: [{name: a, kind: torque}]", "kind is 'torque'; use one of position, velocity, delta, relative"),
        ("actions: [{name: a, closed: 1}]", "closed stands alone"),
        ("actions: [{name: a, closed: 1, open: 1}]", "are both 1; they must differ"),
        ("actions: [{name: a, closed: .nan, open: 1}]", "closed is nan"),
        ("actions: [{name: a, closed: 0, open: 1, unit: deg}]", "unit stands beside closed and open"),
        ("actions: [{name: a, to: ''}]", "to is empty"),
    ],
)
def test_a_mistake_in_it_is_named_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_policy_file(written(tmp_path, text))


# -- state -------------------------------------------------------------------------------
def test_equal_names_and_units_need_no_line() -> None:
    numbers = Numbers(spec(state=("shoulder",)), file(), robot())
    seen = observed(shoulder=0.5)
    assert numbers.state(seen) is seen
    assert numbers.channels == ("shoulder", "elbow", "gripper")


def test_a_policy_gets_the_robots_numbers_by_its_own_names_and_in_its_units() -> None:
    numbers = Numbers(
        spec(state=("shoulder.pos", "elbow", "gripper.pos"), units={"elbow": "deg"}),
        file(
            state=(
                PolicyNumber("shoulder.pos", "shoulder", "deg"),
                PolicyNumber("gripper.pos", "jaw", closed=0.85, open=0.0),
            )
        ),
        robot(),
    )
    state = numbers.state(observed(shoulder=math.pi / 2, elbow=math.pi, jaw=0.25)).state
    assert state["shoulder.pos"] == pytest.approx(90.0)
    assert state["elbow"] == pytest.approx(180.0)  # by the spec: no line of the file
    assert state["gripper.pos"] == pytest.approx(0.85 * 0.75)
    assert state["shoulder"] == math.pi / 2  # the robot's own stay


def test_what_is_not_measured_does_not_appear() -> None:
    numbers = Numbers(
        spec(state=("a", "elbow"), units={"elbow": "deg"}),
        file(state=(PolicyNumber("a", "shoulder"),)),
        robot(),
    )
    assert dict(numbers.state(observed(jaw=1.0)).state) == {"jaw": 1.0}


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (PolicyNumber("wrist", "wrist"), "has no 'wrist' in its state, as its policy file says; it has a"),
        (PolicyNumber("a", "wrist"), "takes 'a' from 'wrist' .*state of robot 'arm' has shoulder, elbow, jaw"),
    ],
)
def test_state_that_does_not_fit_is_refused_with_both_lists(entry: PolicyNumber, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Numbers(spec(state=("a",)), file(state=(entry,)), robot())


# -- actions -----------------------------------------------------------------------------
def chunk(numbers: Numbers, rows: Any, **state: float) -> list[list[float]]:
    values = numbers.chunk(np.asarray(rows, np.float32), observed(**state), "mine").values
    assert values.dtype == np.float32
    return [[pytest.approx(value, abs=1e-6) for value in row] for row in values.tolist()]


def test_rows_become_the_robots_channels_in_its_units() -> None:
    numbers = Numbers(
        spec("j1", "spare", "grip"),
        file(
            actions=(
                PolicyNumber("j1", "elbow", "deg", "position"),
                PolicyNumber("spare", ""),
                PolicyNumber("grip", "gripper", closed=100.0, open=0.0),
            )
        ),
        robot(),
    )
    assert numbers.channels == ("elbow", "gripper")
    assert chunk(numbers, [[90, 5, 100], [-180, 5, 25]]) == [[math.pi / 2, 0.0], [-math.pi, 0.75]]


def test_the_chunk_is_the_observations_whatever_the_policy_says() -> None:
    made = Numbers(spec(), file(), robot()).chunk(np.zeros((2, 3)), observed(), "mine")
    assert (made.stamp, made.instruction_id, made.policy, made.step) == (7, 3, "mine", 100_000_000)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("position", [[10.0], [20.0]]),
        ("relative", [[40.0], [50.0]]),  # from where the joint was at the observation
        ("delta", [[40.0], [60.0]]),  # from row to row
        ("velocity", [[31.0], [33.0]]),  # degrees a second, over rows of 0.1 s
    ],
)
def test_each_kind_of_number_says_where_the_joint_goes(kind: str, wanted: list[list[float]]) -> None:
    numbers = Numbers(
        spec("elbow"), file(actions=(PolicyNumber("elbow", "elbow", "deg", kind),)), robot()
    )
    radians = [[math.radians(value) for value in row] for row in wanted]
    assert chunk(numbers, [[10.0], [20.0]], elbow=math.radians(30.0)) == radians


def test_a_change_counts_from_the_channel_and_not_from_the_drivers_number() -> None:
    """A gripper whose driver closes with a growing angle, published in degrees with an offset."""
    turned = robot(
        gripper=channel("jaw", unit="1", bounds=[0, 1], limits=[0, 1], scale=-1.5, offset=1.5, sent_unit="0..100")
    )
    file_ = file(actions=(PolicyNumber("gripper", "gripper", kind="delta"),))
    numbers = Numbers(spec("gripper"), file_, turned)
    # the state's jaw is 0.3 in SI; published as 30; the channel reads (30 - 1.5) / -1.5
    at = turned.channels[0].measured(0.3 / 0.01)
    assert chunk(numbers, [[0.1], [0.1]], jaw=0.3) == [[at + 0.1], [at + 0.2]]


def test_a_change_of_a_gripper_with_ends_has_no_offset() -> None:
    numbers = Numbers(
        spec("gripper"),
        file(actions=(PolicyNumber("gripper", "gripper", kind="relative", closed=100.0, open=0.0),)),
        robot(),
    )
    assert chunk(numbers, [[10.0], [-20.0]], jaw=0.5) == [[0.4], [0.7]]


def test_a_change_without_a_measured_joint_moves_nothing() -> None:
    numbers = Numbers(
        spec("elbow"), file(actions=(PolicyNumber("elbow", "elbow", kind="delta"),)), robot()
    )
    with pytest.raises(ValueError, match="'elbow' is not measured"):
        numbers.chunk(np.zeros((2, 1)), observed(shoulder=1.0))


def test_a_velocity_of_a_channel_that_takes_velocities_goes_through() -> None:
    speeds = {"unit": "rad/s", "bounds": [-3, 3], "limits": [-3, 3], "acceleration": 1.0, "on_stop": "zero"}
    numbers = Numbers(
        spec("wheel"),
        file(actions=(PolicyNumber("wheel", "wheel", "deg/s", "velocity"),)),
        robot(wheel=speeds),
    )
    assert chunk(numbers, [[180.0], [0.0]]) == [[math.pi], [0.0]]


def test_numbers_that_are_none_reach_the_gate_as_they_are() -> None:
    numbers = Numbers(spec("elbow"), file(actions=(PolicyNumber("elbow", "elbow", kind="delta"),)), robot())
    values = numbers.chunk(np.array([[0.0], [np.inf]]), observed(elbow=0.0)).values
    assert np.isinf(values[1, 0])


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ((), "commands 'wrist', but robot 'arm' obeys elbow, gripper, shoulder"),
        ((PolicyNumber("hand", "elbow"),), "has no 'hand' in its actions, as its policy file says; it has wrist, elbow"),
        ((PolicyNumber("wrist", "elbow"),), "commands 'elbow' by 'wrist' and by 'elbow'"),
        ((PolicyNumber("wrist", ""), PolicyNumber("elbow", "")), "commands nothing"),
        ((PolicyNumber("wrist", "shoulder", kind="delta"),), None),
    ],
)
def test_actions_that_do_not_fit_are_refused_with_both_lists(
    entries: tuple[PolicyNumber, ...], sentence: str | None
) -> None:
    if sentence is None:
        Numbers(spec("wrist", "elbow"), file(actions=entries), robot())
        return
    with pytest.raises(ValueError, match=sentence):
        Numbers(spec("wrist", "elbow"), file(actions=entries), robot())


def test_a_position_for_a_channel_that_takes_velocities_is_refused() -> None:
    speeds = {"unit": "rad/s", "bounds": [-3, 3], "limits": [-3, 3], "acceleration": 1.0, "on_stop": "zero"}
    entries = (PolicyNumber("wheel", "wheel", kind="position"),)
    with pytest.raises(ValueError, match="gives 'wheel' as a position, and the robot's channel is a velocity"):
        Numbers(spec("wheel"), file(actions=entries), robot(wheel=speeds))


def test_a_change_of_a_joint_that_the_state_does_not_have_is_refused() -> None:
    entries = (PolicyNumber("lift", "lift", kind="relative"),)
    with pytest.raises(ValueError, match="the robot file's state has no lift_joint of /joint_states"):
        Numbers(spec("lift"), file(actions=entries), robot(lift=channel("lift_joint")))


def test_a_kind_that_a_policys_own_spec_makes_up_is_refused() -> None:
    with pytest.raises(ValueError, match="of kind 'torque'"):
        Numbers(spec("elbow", kinds={"elbow": "torque"}), file(), robot())


def test_rows_of_another_width_are_the_policys_fault() -> None:
    with pytest.raises(TypeError, match=r"rows of shape \(2, 2\) for 3 channels"):
        Numbers(spec(), file(), robot()).chunk(np.zeros((2, 2)), observed())


# -- chunks --------------------------------------------------------------------------------
def kinds(**kind: str) -> Numbers:
    entries = tuple(PolicyNumber(name, name, kind=value) for name, value in kind.items())
    return Numbers(spec(*kind), file(actions=entries, horizon=2), robot())


def test_as_many_rows_are_sent_as_the_horizon_says() -> None:
    numbers = Numbers(spec("elbow"), file(horizon=1), robot())
    assert numbers.chunk(np.zeros((2, 1)), observed()).values.shape == (1, 1)
    assert Numbers(spec("elbow"), file(), robot()).chunk(np.zeros((2, 1)), observed()).values.shape == (2, 1)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("position", [0.1, 0.2, 0.3]),  # there at 0 and at 100 ms
        ("relative", [0.6, 0.7, 0.8]),
        ("delta", [0.52, 0.6, 0.66]),  # there by 100 ms and by 200 ms
        ("velocity", [0.502, 0.51, 0.516]),
    ],
)
def test_a_position_goes_from_row_to_row_by_time(kind: str, wanted: list[float]) -> None:
    numbers = kinds(elbow=kind)
    seen = observed(elbow=0.5)
    made = numbers.resampled(numbers.chunk(np.array([[0.1], [0.3]]), seen), seen)
    assert made.step == 20_000_000 and len(made.values) == 10
    values = made.values[:, 0]
    middle = (values[2] + values[3]) / 2.0
    at = [values[0], middle, values[5]] if kind in ("position", "relative") else [values[0], values[4], values[5]]
    assert at == pytest.approx(wanted, abs=1e-6)


def test_positions_of_a_policy_that_learned_so_hold_and_what_leads_somewhere_does_not() -> None:
    seen = observed(elbow=0.5)
    rows = np.array([[0.1], [0.3]])
    held = Numbers(spec("elbow", state=("elbow",), holds=True), file(), robot())
    sent = held.chunk(rows, seen)
    assert held.resampled(sent, seen) is sent
    changes = Numbers(spec("elbow", state=("elbow",), holds=True, kinds={"elbow": "delta"}), file(), robot())
    made = changes.resampled(changes.chunk(rows, seen), seen)
    assert len(made.values) == 10 and made.values[4, 0] == pytest.approx(0.6)


def test_a_gripper_holds_what_it_is_told_until_the_next_row() -> None:
    grasping = robot(
        gripper=channel("jaw", unit="1", bounds=[0, 1], limits=[0, 1], on_stop="hold_commanded", sent_unit="0..100"),
        elbow=channel("elbow", sent_unit="deg"),
    )
    numbers = Numbers(spec("gripper", "elbow"), file(), grasping)
    seen = observed()
    made = numbers.resampled(numbers.chunk(np.array([[0.0, 0.0], [1.0, 1.0]]), seen), seen)
    assert made.values[:, 0].tolist() == [0.0] * 5 + [1.0] * 5
    assert made.values[:5, 1] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def later(stamp: int, **state: float) -> Observation:
    return Observation(7 + stamp, Instruction(7, 3, "go"), {}, state)


def test_what_is_left_is_for_the_new_observations_moments() -> None:
    numbers = kinds(elbow="position", shoulder="velocity")
    rows = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [2.5, 4.0]])
    left = numbers.prefix(rows, observed(elbow=0.0, shoulder=0.0), later(150_000_000, elbow=9.0, shoulder=0.0), 110_000_000)
    assert left is not None
    assert left.rows.tolist() == [[1.5, 2.0], [2.25, 3.0], [2.5, 4.0]]
    assert (left.delay, left.horizon) == (2, 2) and left.rows.dtype == np.float32


def test_what_counts_from_the_observed_state_counts_from_the_new_one() -> None:
    """0.4 rad from 0.5 rad is the same place as 0.2 rad from 0.7 rad; a step from row to row stays one."""
    numbers = kinds(elbow="relative", shoulder="delta")
    rows = np.array([[0.4, 0.1], [0.4, 0.1]])
    left = numbers.prefix(rows, observed(elbow=0.5, shoulder=0.5), later(100_000_000, elbow=0.7, shoulder=0.6), 0)
    assert left is not None and left.rows.tolist() == [[pytest.approx(0.2), pytest.approx(0.1)]]


@pytest.mark.parametrize(("kind", "rows", "left"), [
    ("relative", [[0.05], [0.05]], [0.05 - 0.02]),  # it moved by 0.02 rad, through where it wraps
    ("position", [[3.1], [-3.1]], [3.141593])])
def test_what_is_left_of_a_joint_that_turns_without_end_goes_the_shorter_way_round(
    kind: str, rows: list[list[float]], left: list[float]
) -> None:
    in_degrees = {"wraps": True, "bounds": [-4, 4], "limits": [-4, 4]}
    entries = (PolicyNumber("elbow", "elbow", unit="deg", kind=kind),)
    numbers = Numbers(spec("elbow"), file(actions=entries), robot(elbow=channel("elbow", sent_unit="deg", **in_degrees)))
    turned = later(50_000_000, elbow=0.01 - math.pi)
    prefix = numbers.prefix(np.rad2deg(rows), observed(elbow=math.pi - 0.01), turned, 0)
    assert prefix is not None and np.deg2rad(prefix.rows[0]) == pytest.approx(left, abs=1e-5)


@pytest.mark.parametrize(("stamp", "left"), [(-1, 0), (0, 2), (100_000_000, 1), (199_999_999, 1), (200_000_000, 0)])
def test_of_a_chunk_that_is_over_or_of_a_later_image_nothing_is_left(stamp: int, left: int) -> None:
    prefix = kinds(elbow="position").prefix(np.zeros((2, 1)), observed(), later(stamp), 0)
    assert (0 if prefix is None else len(prefix.rows)) == left


def test_the_delay_is_never_longer_than_what_is_left() -> None:
    prefix = kinds(elbow="position").prefix(np.zeros((2, 1)), observed(), later(0), 9_000_000_000)
    assert prefix is not None and prefix.delay == 2
