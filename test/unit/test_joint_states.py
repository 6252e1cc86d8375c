"""A joint state brings the joints that are asked for; one that contradicts itself is refused whole."""
import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_ros.core.joint_states import LONGEST_NAME, MOST_JOINTS, joint_positions
from vla_ros.core.robot_state import JOINT_STATE, StateSource
from vla_ros.core.state_table import StateTable

S = 1_000_000_000
JOINTS = ("shoulder", "elbow", "wrist", "finger")
POSITIONS = st.floats(-7.0, 7.0)
EXAMPLES = int(os.environ["VLA_PROPERTY_EXAMPLES"])
THOROUGH = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_joints_that_nobody_asked_for_are_passed_over_and_bring_nothing():
    assert joint_positions(["left_wheel", "right_wheel"], [3.0, math.nan], ["finger", "elbow"]) == {}
    brought = joint_positions(["elbow", "left_wheel", "finger"], [0.2, math.nan, 0.04], ["finger", "elbow"])
    assert brought == {"elbow": 0.2, "finger": 0.04}


def test_a_joint_without_a_position_does_not_silence_the_others():
    """ros2_control's joint_state_broadcaster says NaN for a joint that has a velocity only."""
    assert joint_positions(["wheel", "elbow"], [math.nan, 0.2], JOINTS) == {"elbow": 0.2}


@pytest.mark.parametrize("joints", [(), JOINTS])
@pytest.mark.parametrize("names, positions, says", [
    ([f"joint_{i}" for i in range(7)], [0.1] * 6, "7 names and 6 positions"),
    (["elbow"], [0.1, 0.2], "1 names and 2 positions"),
    ([], [0.1], "0 names and 1 positions"),
    (["elbow", "wrist"], [], "2 names and no positions"), ([], [], "0 names and no positions"),
    (["elbow", "wrist", "elbow"], [0.1, 0.2, 0.3], "joint 'elbow' twice"),
    (["wheel", "elbow", "wheel"], [0.1, 0.2, 0.3], "joint 'wheel' twice"),
    (["elbow", "wrist"], [0.1, math.inf], "says inf for the position of 'wrist'"),
    (["elbow", "wrist"], [0.1, -math.inf], "says -inf for the position of 'wrist'"),
    (["elbow"] + [f"{i}" for i in range(MOST_JOINTS)], [0.1] * (MOST_JOINTS + 1), "has 257 joints"),
    (["elbow", "x" * (LONGEST_NAME + 1)], [0.1, 0.2], "101 characters"),
    (["elbow", "x" * 10_000_000], [0.1, 0.2], "10000000 characters"),
])
def test_a_message_that_cannot_be_true_is_refused_whole(joints, names, positions, says):
    with pytest.raises(ValueError) as error:
        joint_positions(names, positions, joints)
    assert says in str(error.value) and len(str(error.value)) < 200


def test_no_number_for_a_joint_that_was_asked_for_refuses_the_whole_message():
    with pytest.raises(ValueError, match="says nan for the position of 'finger'"):
        joint_positions(["elbow", "finger"], [0.2, math.nan], ["elbow", "finger"])


def test_as_many_joints_and_as_long_a_name_as_are_allowed_pass():
    names = [f"{i:0{LONGEST_NAME}d}" for i in range(MOST_JOINTS)]
    assert len(joint_positions(names, [0.1] * MOST_JOINTS, names)) == MOST_JOINTS


@THOROUGH
@given(owners=st.fixed_dictionaries({joint: st.integers(0, 3) for joint in JOINTS}),
       updates=st.lists(st.tuples(st.sampled_from(JOINTS), POSITIONS), max_size=12), data=st.data())
def test_order_and_number_of_publishers_change_nothing(owners, updates, data):
    """One publisher a joint, any number of joints a publisher; how they are packed and interleaved is chance."""
    source = StateSource("/joint_states", JOINT_STATE, dict(zip(JOINTS, JOINTS)), "rad")
    table = StateTable([source])
    queues = [[update for update in updates if owners[update[0]] == owner] for owner in range(4)]
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        first = next((i for i, (joint, _) in enumerate(queue) if joint in dict(queue[:i])), len(queue))
        message = [queue.pop(0) for _ in range(data.draw(st.integers(1, first)))]
        message = data.draw(st.permutations(message))
        names, positions = zip(*message)
        table.update(source, joint_positions(names, positions, JOINTS), S)
    assert table.values(S, 0) == dict(updates)
    assert list(table.values(S, 0)) == [joint for joint in JOINTS if joint in dict(updates)]
