"""`constant` says the same for every observation, or what it is told to aim at."""
import numpy as np
import pytest

from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.constant import parse_target

VALUES = {"joint_1": 0.5, "joint_2": -1.0}


def test_it_aims_where_it_is_told_and_at_its_own_values_otherwise():
    policy = make_policy("constant", {"values": VALUES})
    blank = policy_spec("constant", {"values": VALUES}).blank()
    assert np.array_equal(policy.predict(blank), np.array([[0.5, -1.0]], np.float32))
    policy.aim({"joint_2": 0.25})
    assert np.array_equal(policy.predict(blank), np.array([[0.5, 0.25]], np.float32))
    policy.aim({})
    assert np.array_equal(policy.predict(blank), np.array([[0.5, -1.0]], np.float32))


@pytest.mark.parametrize("text, target", [
    ("", {}), ("  ", {}), ("joint_1=0.5", {"joint_1": 0.5}), ("a = 1, b=-2e-1", {"a": 1.0, "b": -0.2})])
def test_a_target_is_channels_with_values(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["joint_1", "joint_1=", "=1", "joint_1=fast", "a=nan", "a=inf", "a=1,", ",", "a=1=2"])
def test_a_target_that_is_none_gets_a_sentence(text):
    with pytest.raises(ValueError, match="give channel=value, a finite number"):
        parse_target(text)
