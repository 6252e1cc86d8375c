"""Joint states of any number of publishers are one table, and a message that contradicts itself changes nothing."""
import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_ros.core.joint_states import LONGEST_NAME, MOST_JOINTS, JointTable

MS = 1_000_000
S = 1000 * MS
JOINTS = ("shoulder", "elbow", "wrist", "finger")
POSITIONS = st.floats(-7.0, 7.0)
EXAMPLES = int(os.environ["VLA_PROPERTY_EXAMPLES"])
THOROUGH = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_arm_and_gripper_from_two_publishers_are_one_state():
    table = JointTable()
    assert table.update(["elbow", "shoulder"], [0.2, 0.1], S, S) == 2
    assert table.update(["finger"], [0.04], S, S + MS) == 1
    assert table.positions(S + MS, 100 * MS) == {"elbow": 0.2, "finger": 0.04, "shoulder": 0.1}


def test_each_joint_has_an_age_of_its_own():
    table = JointTable()
    table.update(["shoulder"], [0.1], 7, S)
    table.update(["finger"], [0.04], 8, S + 200 * MS)
    assert table.age("shoulder", S + 300 * MS) == 300 * MS
    assert table.age("finger", S + 300 * MS) == 100 * MS
    assert table.age("elbow", S) is None and table.reading("elbow") is None
    assert table.reading("shoulder") == (0.1, 7, S)
    assert table.positions(S + 300 * MS, 299 * MS) == {"finger": 0.04}
    assert table.positions(S + 300 * MS, 300 * MS) == {"finger": 0.04, "shoulder": 0.1}
    assert table.stale(S + 300 * MS, 299 * MS) == ["shoulder"]


def test_joints_that_nobody_asked_for_are_passed_over_and_bring_nothing():
    table = JointTable(["finger", "elbow"])
    assert table.update(["left_wheel", "right_wheel"], [3.0, math.nan], S, S) == 0
    assert table.positions(S, S) == {}
    assert table.update(["elbow", "left_wheel", "finger"], [0.2, math.nan, 0.04], S, S) == 2
    assert list(table.positions(S, S)) == ["finger", "elbow"]


@pytest.mark.parametrize("names", [[], ["elbow"], ["elbow", "wrist"]])
def test_a_message_without_positions_brings_nothing_and_is_no_fault(names):
    table = JointTable()
    table.update(["elbow"], [0.2], S, S)
    assert table.update(names, [], 2 * S, 2 * S) == 0
    assert table.reading("elbow") == (0.2, S, S)


def test_a_joint_without_a_position_does_not_silence_the_others():
    """ros2_control's joint_state_broadcaster says NaN for a joint that has a velocity only."""
    table = JointTable()
    assert table.update(["wheel", "elbow"], [math.nan, 0.2], S, S) == 1
    assert table.positions(S, S) == {"elbow": 0.2}


@pytest.mark.parametrize("joints", [None, JOINTS])
@pytest.mark.parametrize("names, positions, says", [
    ([f"joint_{i}" for i in range(7)], [0.1] * 6, "7 names and 6 positions"),
    (["elbow"], [0.1, 0.2], "1 names and 2 positions"),
    ([], [0.1], "0 names and 1 positions"),
    (["elbow", "wrist", "elbow"], [0.1, 0.2, 0.3], "joint 'elbow' twice"),
    (["wheel", "elbow", "wheel"], [0.1, 0.2, 0.3], "joint 'wheel' twice"),
    (["elbow", "wrist"], [0.1, math.inf], "says inf for the position of 'wrist'"),
    (["elbow", "wrist"], [0.1, -math.inf], "says -inf for the position of 'wrist'"),
    (["elbow"] + [f"{i}" for i in range(MOST_JOINTS)], [0.1] * (MOST_JOINTS + 1), "has 257 joints"),
    (["elbow", "x" * (LONGEST_NAME + 1)], [0.1, 0.2], "101 characters"),
    (["elbow", "x" * 10_000_000], [0.1, 0.2], "10000000 characters"),
])
def test_a_message_that_cannot_be_true_is_refused_whole(joints, names, positions, says):
    table = JointTable(joints)
    table.update(["elbow"], [0.9], S, S)
    with pytest.raises(ValueError) as error:
        table.update(names, positions, 2 * S, 2 * S)
    assert says in str(error.value) and len(str(error.value)) < 200
    assert table.positions(2 * S, 2 * S) == {"elbow": 0.9} and table.age("elbow", 2 * S) == S


def test_no_number_for_a_joint_that_was_asked_for_refuses_the_whole_message():
    table = JointTable(["elbow", "finger"])
    with pytest.raises(ValueError, match="says nan for the position of 'finger'"):
        table.update(["elbow", "finger"], [0.2, math.nan], S, S)
    assert table.positions(S, S) == {}


def test_as_many_joints_and_as_long_a_name_as_are_allowed_pass():
    names = [f"{i:0{LONGEST_NAME}d}" for i in range(MOST_JOINTS)]
    assert JointTable().update(names, [0.1] * MOST_JOINTS, S, S) == MOST_JOINTS


def test_names_without_end_do_not_fill_the_memory_and_the_newest_joints_stay():
    table = JointTable()
    for i in range(3 * MOST_JOINTS):
        table.update([f"made_up_{i}"], [0.1], S, S + 2 * i)
        table.update(["elbow"], [0.2], S, S + 2 * i + 1)
    assert len(table.positions(10 * S, 10 * S)) == MOST_JOINTS
    assert table.reading("elbow") and table.reading(f"made_up_{3 * MOST_JOINTS - 1}")


@THOROUGH
@given(owners=st.fixed_dictionaries({joint: st.integers(0, 3) for joint in JOINTS}),
       updates=st.lists(st.tuples(st.sampled_from(JOINTS), POSITIONS), max_size=12), data=st.data())
def test_order_and_number_of_publishers_change_nothing(owners, updates, data):
    """One publisher a joint, any number of joints a publisher; how they are packed and interleaved is chance."""
    whole, split = JointTable(), JointTable()
    for joint, position in updates:
        whole.update([joint], [position], 0, S)
    queues = [[update for update in updates if owners[update[0]] == owner] for owner in range(4)]
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        first = next((i for i, (joint, _) in enumerate(queue) if joint in dict(queue[:i])), len(queue))
        message = [queue.pop(0) for _ in range(data.draw(st.integers(1, first)))]
        message = data.draw(st.permutations(message))
        split.update([joint for joint, _ in message], [position for _, position in message], 0, S)
    assert list(split.positions(S, 0).items()) == list(whole.positions(S, 0).items())
    assert split.positions(S, 0) == dict(updates)


@THOROUGH
@given(st.lists(st.tuples(st.lists(st.sampled_from([*JOINTS, "", "wheel"]), max_size=4),
                          st.lists(POSITIONS | st.sampled_from([math.nan, math.inf]), max_size=4)), max_size=8))
def test_a_message_is_taken_whole_or_not_at_all(messages):
    table = JointTable(JOINTS)
    for now, (names, positions) in enumerate(messages):
        before = table.positions(now, now)
        try:
            brought = table.update(names, positions, 0, now)
        except ValueError:
            assert table.positions(now, now) == before
        else:
            fresh = table.positions(now, 0) if now else {}
            assert not now or fresh == {n: p for n, p in zip(names, positions) if n in JOINTS}
            assert brought == len(set(names) & set(JOINTS)) if positions else brought == 0
