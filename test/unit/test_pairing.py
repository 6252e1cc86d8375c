"""The synchronizer pairs images, an instruction and the robot's state by their stamps."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.pairing import Pairing, PairingWatch
from vla_ros.core.types import Frame, Instruction

MS = 1_000_000
S = 1000 * MS
IMAGE = np.zeros((2, 2, 3), np.uint8)


def pairing(mode="latched", cameras=("camera",), max_skew=100 * MS, instruction_ttl=10 * S, **bounds):
    return Pairing(cameras, mode, max_skew, instruction_ttl, **bounds)


def show(sync, stamp, camera="camera", now=None):
    sync.add_frame(Frame(stamp, camera, IMAGE), stamp if now is None else now)


def test_an_image_without_an_instruction_makes_no_observation():
    sync = pairing()
    show(sync, S)
    assert sync.read(S) is None
    assert sync.waiting_for == "no instruction"


def test_a_latched_instruction_holds_for_every_later_image():
    sync = pairing()
    sync.add_instruction(Instruction(S, 7, "go"))
    for i in range(3):
        show(sync, 2 * S + i * 33 * MS)
        observation = sync.read(2 * S + i * 33 * MS + 5 * MS)
        assert observation.instruction.instruction_id == 7
        assert observation.stamp == 2 * S + i * 33 * MS


def test_an_image_is_read_once():
    sync = pairing()
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, S)
    assert sync.read(S) is not None
    assert sync.read(S) is None


def test_an_empty_instruction_cancels():
    sync = pairing()
    sync.add_instruction(Instruction(S, 1, "go"))
    sync.add_instruction(Instruction(S, 2, ""))
    show(sync, S)
    assert sync.read(S) is None


@pytest.mark.parametrize("age, holds", [(10 * S - 1, True), (10 * S, True), (10 * S + 1, False)])
def test_an_instruction_older_than_its_ttl_no_longer_holds(age, holds):
    sync = pairing()
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, S + age)
    assert (sync.read(S + age) is not None) == holds


@pytest.mark.parametrize("apart, pairs", [(99 * MS, True), (100 * MS, True), (100 * MS + 1, False)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_strict_pairs_stamps_within_max_skew_and_says_the_difference(apart, pairs, sign):
    sync = pairing("strict")
    show(sync, 5 * S)
    sync.add_instruction(Instruction(5 * S + sign * apart, 1, "go"))
    observation = sync.read(6 * S)
    assert (observation is not None) == pairs
    if pairs:
        assert observation.skew == apart
    else:
        assert "0.100 s apart" in sync.waiting_for


def test_strict_pairs_also_when_the_words_come_after_the_image():
    sync = pairing("strict")
    show(sync, 5 * S)
    assert sync.read(5 * S) is None
    sync.add_instruction(Instruction(5 * S + 50 * MS, 1, "go"))
    assert sync.read(5 * S + 60 * MS) is not None


@pytest.mark.parametrize("apart, pairs", [(99 * MS, True), (100 * MS, True), (100 * MS + 1, False)])
def test_two_cameras_pair_within_max_skew(apart, pairs):
    sync = pairing(cameras=("left", "right"))
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, S, "left")
    assert sync.read(S) is None
    show(sync, S + apart, "right")
    observation = sync.read(S + apart)
    assert (observation is not None) == pairs
    if observation:
        assert list(observation.images) == ["left", "right"]
        assert (observation.stamp, observation.skew) == (S, apart)


def test_a_fast_camera_is_paired_at_the_slow_one_s_stamp():
    sync = pairing(cameras=("slow", "fast"))
    sync.add_instruction(Instruction(S, 1, "go"))
    for i in range(6):
        show(sync, S + i * 10 * MS, "fast")
    show(sync, S + 21 * MS, "slow", now=S + 60 * MS)
    observation = sync.read(S + 60 * MS)
    assert observation.skew == 1 * MS


def test_an_image_from_before_the_last_pair_is_dropped_and_counted():
    sync = pairing()
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, 2 * S)
    assert sync.read(2 * S)
    show(sync, 2 * S - 1, now=2 * S)
    show(sync, 2 * S, now=2 * S)
    assert sync.read(2 * S) is None
    assert sync.drops["image out of order"] == 2


def test_images_that_arrive_out_of_order_are_paired_by_stamp():
    sync = pairing(cameras=("left", "right"))
    sync.add_instruction(Instruction(S, 1, "go"))
    for stamp in (3 * S, 2 * S + 950 * MS):
        show(sync, stamp, "left", now=3 * S)
    show(sync, 2 * S + 950 * MS, "right", now=3 * S)
    assert sync.read(3 * S).skew == 0


@pytest.mark.parametrize("late", ["fast", "slow"])
def test_a_camera_whose_images_arrive_late_is_paired_all_the_same(late):
    """90 and 15 Hz, one of them 220 ms late: ten frames of the fast one are only 111 ms."""
    sync = pairing(cameras=("fast", "slow"))
    sync.add_instruction(Instruction(S, 1, "go"))
    arrivals = sorted((S + i * S // hz + (220 * MS if camera == late else 0), S + i * S // hz, camera)
                      for camera, hz in (("fast", 90), ("slow", 15)) for i in range(3 * hz))
    skews = []
    for now, stamp, camera in arrivals:
        show(sync, stamp, camera, now)
        if observation := sync.read(now):
            skews.append(observation.skew)
    assert len(skews) >= 43
    assert max(skews[4:]) <= 6 * MS


def test_cameras_that_once_paired_askew_find_each_other_again():
    """After a frame that never came, 33 ms apart would be within max_skew for ever."""
    sync = pairing(cameras=("left", "right"))
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, S, "right")
    skews = []
    for i in range(1, 30):
        for camera, late in (("left", 0), ("right", MS)):
            stamp = S + i * 33 * MS
            show(sync, stamp, camera, now=stamp + late)
            if observation := sync.read(stamp + late):
                skews.append(observation.skew)
    assert len(skews) >= 27 and not any(skews[4:])


def test_a_camera_whose_clock_is_behind_is_named_by_the_difference():
    sync = pairing(cameras=("left", "right"))
    sync.add_instruction(Instruction(S, 1, "go"))
    for i in range(20):
        for camera, behind in (("left", 0), ("right", S)):
            show(sync, 5 * S + i * 33 * MS - behind, camera, now=5 * S + i * 33 * MS)
            assert sync.read(5 * S + i * 33 * MS) is None
    assert "s apart; at most 0.100 s (max_skew)" in sync.waiting_for
    assert sync.drops["cameras too far apart"]


@pytest.mark.parametrize("phase", [1, 8, 16, 17, 25, 32])
def test_cameras_out_of_phase_pair_with_the_nearest_at_their_full_rate(phase):
    sync = pairing(cameras=("left", "right"))
    sync.add_instruction(Instruction(S, 1, "go"))
    found = []
    for i in range(60):
        for camera, late in (("left", 0), ("right", phase * MS)):
            stamp = S + i * 33 * MS + late
            show(sync, stamp, camera)
            if observation := sync.read(stamp):
                found.append((observation.skew, stamp - observation.stamp))
    assert len(found) >= 57
    assert all(skew <= 17 * MS and age <= 17 * MS for skew, age in found[5:])


def test_a_camera_that_is_silent_costs_no_more_memory_than_the_span_of_the_others():
    sync = pairing(cameras=("left", "right"), span=300 * MS, size=60)
    for i in range(1000):
        show(sync, S + i * 11 * MS, "left")
    assert len(sync._frames["left"]) == 28
    for i in range(1000):
        show(sync, 20 * S + i, "left")
    assert len(sync._frames["left"]) == 60


def test_frames_that_no_later_pair_can_want_are_not_kept():
    sync = pairing(cameras=("fast", "slow"))  # and nobody has said anything
    for i in range(90):
        show(sync, S + i * 11 * MS, "fast")
        if i % 6 == 0:
            show(sync, S + i * 11 * MS, "slow")
        assert sync.read(S + i * 11 * MS) is None
        assert len(sync._frames["fast"]) <= 7 and len(sync._frames["slow"]) == 1


def test_a_clock_that_steps_back_flushes_and_pairing_goes_on():
    sync = pairing()
    sync.add_instruction(Instruction(100 * S, 1, "go"))
    show(sync, 100 * S)
    assert sync.read(100 * S)
    show(sync, 100 * S + 1)
    assert sync.read(50 * S) is None
    assert sync.drops["clock stepped back"] == 1
    show(sync, 50 * S + MS)
    assert sync.read(50 * S + MS).instruction.instruction_id == 1


def test_the_image_that_comes_first_after_a_step_back_is_paired():
    sync = pairing()
    sync.add_instruction(Instruction(100 * S, 1, "go"))
    show(sync, 100 * S)
    assert sync.read(100 * S)
    show(sync, 50 * S)
    assert sync.read(50 * S).stamp == 50 * S


@pytest.mark.parametrize("cameras", [("camera",), ("camera", "wrist")])
def test_a_straggler_from_before_a_bag_began_again_blocks_nothing(cameras):
    sync = pairing(cameras=cameras)
    sync.add_instruction(Instruction(5 * S, 1, "go"))
    for camera in cameras:
        show(sync, 10 * S, camera)
    assert sync.read(10 * S)
    show(sync, 10 * S + 33 * MS, "camera", now=5 * S)
    assert sync.read(5 * S) is None
    assert sync.drops["image from the future"] == 1
    for i in range(1, 30):
        for camera in cameras:
            show(sync, 5 * S + i * 33 * MS, camera)
        assert sync.read(5 * S + i * 33 * MS).stamp == 5 * S + i * 33 * MS


@pytest.mark.parametrize("ahead, dropped", [(500 * MS - 1, False), (500 * MS, False), (500 * MS + 1, True)])
def test_an_image_from_the_future_is_dropped_and_the_instruction_stays(ahead, dropped):
    sync = pairing(instruction_ttl=60 * S)
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, S + ahead, now=S)
    assert (sync.read(S) is None) == dropped
    assert sync.drops["image from the future"] == dropped
    show(sync, S + ahead + MS)
    assert sync.read(S + ahead + MS).instruction.instruction_id == 1


def test_an_image_a_little_ahead_of_the_clock_does_not_push_out_those_that_are_in_time():
    sync = pairing(cameras=("left", "right"))
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, 2 * S - 20 * MS, "left", now=2 * S)
    show(sync, 2 * S + 490 * MS, "left", now=2 * S)
    show(sync, 2 * S - 10 * MS, "right", now=2 * S)
    assert sync.read(2 * S).skew == 10 * MS


def test_the_state_goes_with_the_pair():
    sync, state = pairing(), {"odom.x": 2.0, "gripper_joint": 0.1}
    sync.add_instruction(Instruction(S, 1, "go"))
    show(sync, S)
    observation = sync.read(S, state)
    state.clear()
    assert observation.state == {"odom.x": 2.0, "gripper_joint": 0.1}


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10**10)), max_size=60), st.integers(1, 5))
def test_buffers_stay_bounded_and_no_pair_is_given_twice(events, size):
    sync = pairing(size=size)
    now, seen = 0, []
    for is_frame, stamp in events:
        now = max(now, stamp)
        if is_frame:
            show(sync, stamp, now=now)
        else:
            sync.add_instruction(Instruction(stamp, len(seen) + 1, "go"))
        observation = sync.read(now)
        if observation:
            seen.append(observation.stamp)
        assert all(len(frames) <= size for frames in sync._frames.values())
    assert seen == sorted(set(seen))


STEPS = st.sampled_from([0, 1, -1, MS, 33 * MS, -33 * MS, S, -S, 3600 * S, -3600 * S]) | st.integers(-2 * S, 2 * S)
NEAR = st.sampled_from([0, 1, 400 * MS, 500 * MS, 501 * MS, 5 * S, -5 * S, 2**62, -(2**62)]) | st.integers(-S, S)


@pytest.mark.parametrize("cameras", [("a",), ("a", "b"), ("a", "b", "c")])
@given(events=st.lists(st.tuples(STEPS, st.integers(0, 2), NEAR), max_size=40), mode=st.sampled_from(["latched", "strict"]),
       lates=st.lists(st.integers(0, 220), min_size=3, max_size=3))
def test_whatever_stamps_came_before_good_frames_are_paired_again(cameras, events, mode, lates):
    """A clock that does anything, and stamps near and far from it; then 30 frames a second from every camera, late by
    less than the span. What came before costs those within `max_future`, and a few more for their rate to be known."""
    sync, now = pairing(mode, cameras, instruction_ttl=10**6 * S), 5000 * S
    sync.add_instruction(Instruction(now, 1, "go"))
    for step, camera, ahead in events:
        now = max(S, now + step)
        show(sync, now + ahead, cameras[camera % len(cameras)], now)
        sync.read(now)
    start, paired = now, []
    arrivals = sorted((start + i * 33 * MS + late * MS, start + i * 33 * MS, camera)
                      for camera, late in zip(cameras, lates) for i in range(60))
    for now, stamp, camera in arrivals:
        show(sync, stamp, camera, now)
        sync.add_instruction(Instruction(stamp, 1, "go"))
        if observation := sync.read(now):
            paired.append(observation.stamp)
    settled = start + sync.max_future + 5 * 33 * MS
    assert [stamp for stamp in paired if stamp > settled] == [
        start + i * 33 * MS for i in range(60) if start + i * 33 * MS > settled]


@pytest.mark.parametrize("later, lost", [(0, True), (3600 * MS - 1, True), (3600 * MS, False)])
def test_frames_are_lost_on_the_way_only_while_their_number_grows(later, lost):
    """The last report that the camera hands frames on counts for three of its periods of 1.2 s."""
    watch = PairingWatch(["front"])
    watch.begin(0)
    watch.handed_on("front", 10, 0)
    watch.handed_on("front", 20, 3 * S)
    assert ("no frame of 'front' has come" in watch.look(3 * S + later, S, "")) == lost
