"""The synchronizer pairs images, an instruction and the robot's state by their stamps."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.pairing import Synchronizer
from vla_ros.core.types import Command, Frame

MS = 1_000_000
S = 1000 * MS
PICTURE = np.zeros((2, 2, 3), np.uint8)


def pairing(mode="latched", cameras=("camera",), max_skew=100 * MS, command_ttl=10 * S, size=10):
    return Synchronizer(cameras, mode, max_skew, command_ttl, size)


def frame(stamp, camera="camera"):
    return Frame(stamp, camera, PICTURE)


def test_an_image_without_an_instruction_makes_no_observation():
    sync = pairing()
    sync.add_frame(frame(S))
    assert sync.read(S) is None
    assert sync.waiting_for == "no instruction"


def test_a_latched_instruction_holds_for_every_later_image():
    sync = pairing()
    sync.add_command(Command(S, 7, "go"))
    for i in range(3):
        sync.add_frame(frame(2 * S + i * 33 * MS))
        observation = sync.read(2 * S + i * 33 * MS + 5 * MS)
        assert observation.command.generation == 7
        assert observation.stamp == 2 * S + i * 33 * MS


def test_an_image_is_read_once():
    sync = pairing()
    sync.add_command(Command(S, 1, "go"))
    sync.add_frame(frame(S))
    assert sync.read(S) is not None
    assert sync.read(S) is None


def test_an_empty_instruction_cancels():
    sync = pairing()
    sync.add_command(Command(S, 1, "go"))
    sync.add_command(Command(S, 2, ""))
    sync.add_frame(frame(S))
    assert sync.read(S) is None


@pytest.mark.parametrize("age, holds", [(10 * S - 1, True), (10 * S, True), (10 * S + 1, False)])
def test_an_instruction_older_than_its_ttl_no_longer_holds(age, holds):
    sync = pairing()
    sync.add_command(Command(S, 1, "go"))
    sync.add_frame(frame(S + age))
    assert (sync.read(S + age) is not None) == holds


@pytest.mark.parametrize("apart, pairs", [(99 * MS, True), (100 * MS, True), (100 * MS + 1, False)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_strict_pairs_stamps_within_max_skew_and_says_the_difference(apart, pairs, sign):
    sync = pairing("strict")
    sync.add_frame(frame(5 * S))
    sync.add_command(Command(5 * S + sign * apart, 1, "go"))
    observation = sync.read(6 * S)
    assert (observation is not None) == pairs
    if pairs:
        assert observation.skew == apart
    else:
        assert "0.100 s apart" in sync.waiting_for


def test_strict_pairs_also_when_the_words_come_after_the_image():
    sync = pairing("strict")
    sync.add_frame(frame(5 * S))
    assert sync.read(5 * S) is None
    sync.add_command(Command(5 * S + 50 * MS, 1, "go"))
    assert sync.read(5 * S + 60 * MS) is not None


@pytest.mark.parametrize("apart, pairs", [(99 * MS, True), (100 * MS, True), (100 * MS + 1, False)])
def test_two_cameras_pair_within_max_skew(apart, pairs):
    sync = pairing(cameras=("left", "right"))
    sync.add_command(Command(S, 1, "go"))
    sync.add_frame(frame(S, "left"))
    assert sync.read(S) is None
    sync.add_frame(frame(S + apart, "right"))
    observation = sync.read(S + apart)
    assert (observation is not None) == pairs
    if observation:
        assert list(observation.images) == ["left", "right"]
        assert (observation.stamp, observation.skew) == (S, apart)


def test_a_fast_camera_is_paired_at_the_slow_one_s_stamp():
    sync = pairing(cameras=("slow", "fast"))
    sync.add_command(Command(S, 1, "go"))
    for i in range(6):
        sync.add_frame(frame(S + i * 10 * MS, "fast"))
    sync.add_frame(frame(S + 21 * MS, "slow"))
    observation = sync.read(S + 60 * MS)
    assert observation.skew == 1 * MS


def test_an_image_out_of_order_is_dropped_and_counted():
    sync = pairing()
    sync.add_frame(frame(2 * S))
    sync.add_frame(frame(S))
    assert sync.drops["image out of order"] == 1


def test_a_clock_that_steps_back_flushes_and_pairing_goes_on():
    sync = pairing()
    sync.add_command(Command(100 * S, 1, "go"))
    sync.add_frame(frame(100 * S))
    assert sync.read(100 * S)
    sync.add_frame(frame(100 * S + 1))
    assert sync.read(50 * S) is None
    assert sync.drops["clock stepped back"] == 1
    sync.add_frame(frame(50 * S + MS))
    assert sync.read(50 * S + MS).command.generation == 1


@pytest.mark.parametrize("ahead, dropped", [(10 * S - 1, False), (10 * S, False), (10 * S + 1, True)])
def test_an_image_from_the_future_is_dropped_and_the_instruction_stays(ahead, dropped):
    sync = pairing(command_ttl=60 * S)
    sync.add_command(Command(S, 1, "go"))
    sync.add_frame(frame(S + ahead))
    assert (sync.read(S) is None) == dropped
    assert sync.drops["image from the future"] == dropped
    sync.add_frame(frame(S + ahead + MS))
    assert sync.read(S + ahead).command.generation == 1


def test_the_state_holds_every_source_s_newest_numbers():
    sync = pairing()
    sync.add_command(Command(S, 1, "go"))
    sync.add_state("odom", S, {"odom.x": 1.0})
    sync.add_state("odom", S, {"odom.x": 2.0})
    sync.add_state("joint_states", S, {"gripper_joint": 0.1})
    sync.add_frame(frame(S))
    assert sync.read(S).state == {"odom.x": 2.0, "gripper_joint": 0.1}


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10**10)), max_size=60), st.integers(1, 5))
def test_buffers_stay_bounded_and_no_pair_is_given_twice(events, size):
    sync = pairing(size=size)
    now, seen = 0, []
    for is_frame, stamp in events:
        now = max(now, stamp)
        if is_frame:
            sync.add_frame(frame(stamp))
        else:
            sync.add_command(Command(stamp, len(seen) + 1, "go"))
        observation = sync.read(now)
        if observation:
            seen.append(observation.stamp)
        assert all(len(frames) <= size for frames in sync._frames.values())
    assert seen == sorted(set(seen))
