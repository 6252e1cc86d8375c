"""The model that the default time_from_start was chosen by."""
import pytest

from vla_ros.bench.trajectory_controller import (
    AHEAD_PERIODS,
    HELD_UP_S,
    PERIOD_S,
    SAG_RAD,
    SPEED_RAD_S,
    Setup,
    TrajectoryController,
    drive,
    row,
)


def test_a_point_is_reached_in_its_time_along_a_straight_line():
    controller = TrajectoryController(Setup(from_desired=True, ahead=2, update_rate=1000.0))
    controller.take(0.0, 1.0, 0.04)
    for now, desired in ((0.01, 0.25), (0.02, 0.5), (0.04, 1.0), (0.05, 1.0)):
        controller.update(now)
        assert controller.desired == pytest.approx(desired)


def test_the_next_point_is_begun_from_what_was_wanted_or_from_what_is_measured():
    for from_desired in (True, False):
        controller = TrajectoryController(Setup(from_desired, 2, lag=0.1))
        controller.take(0.0, 1.0, 0.04)
        controller.update(0.02)
        start = controller.desired if from_desired else controller.joint
        controller.take(0.02, 1.0, 0.04)
        controller.update(0.02)
        assert controller.desired == pytest.approx(start)
    assert start < 0.2


def test_a_forward_controller_takes_a_point_at_once():
    controller = TrajectoryController(Setup(True, 0))
    controller.take(0.0, 1.0, 0.0)
    controller.update(0.0)
    assert controller.desired == 1.0


@pytest.mark.parametrize("rate", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("lag", [0.01, 0.03, 0.1])
def test_two_periods_from_what_was_wanted_are_even(rate, lag):
    """The default: no slower and no faster than asked by more than 15 percent, and no load adds up."""
    motion = drive(Setup(True, 2, rate, lag))
    assert motion.fastest < 1.15 and motion.slowest > 0.85 and motion.beyond == pytest.approx(0.0, abs=1e-9)
    assert drive(Setup(True, 2, rate, lag, SAG_RAD)).short == pytest.approx(SAG_RAD, abs=1e-3)
    # one period leaves nothing for a point that comes late, and is no more even; five are later
    assert drive(Setup(True, 1, rate, lag)).slowest < motion.slowest + 0.005
    held_up = [drive(Setup(True, ahead, rate, lag, lateness=HELD_UP_S)).slowest for ahead in (1, 2)]
    assert held_up[0] < held_up[1]
    assert drive(Setup(True, 5, rate, lag)).late > motion.late + 2.9 * PERIOD_S


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_from_what_is_measured_no_time_helps(ahead):
    """It stutters, overshoots the rate, and a load's sag is multiplied by the periods."""
    motion = drive(Setup(False, ahead))
    assert motion.fastest > 1.6 and motion.slowest < 0.5
    assert motion.fastest * SPEED_RAD_S == pytest.approx(0.85, abs=0.03)
    assert drive(Setup(False, ahead, sag=SAG_RAD)).short > SAG_RAD * ahead


def test_the_table_has_a_row_for_each_time():
    cells = [row(True, ahead) for ahead in AHEAD_PERIODS]
    assert cells[0][:2] == ("forward controller", "–") and [cell[1] for cell in cells[1:]] == ["1", "2", "3", "5", "7", "10"]
