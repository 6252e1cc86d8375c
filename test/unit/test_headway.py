"""A model that wants to move and gets nowhere: that is noticed after a while."""
from __future__ import annotations

import pytest

from vla_ros.policies.headway import IMAGES, STAYED_M, STAYED_RAD, Headway
from vla_ros.policies.progress import Progress


def waver(headway: Headway, progress: Progress, images: int, travelled: float = 0.0, turned: float = 0.0) -> bool:
    """As many images while the robot goes so far and back, wanting to move."""
    stuck = False
    for image in range(images):
        progress.travelled = travelled * (image % 2)
        progress.turned = turned * (image % 2)
        stuck = headway.lost(True, progress)
    return stuck


@pytest.mark.parametrize(("images", "stuck"), [(IMAGES - 1, False), (IMAGES, True)])
def test_it_is_stuck_once_so_many_images_got_it_nowhere(images: int, stuck: bool) -> None:
    assert waver(Headway(), Progress(), images, 0.9 * STAYED_M, 0.9 * STAYED_RAD) == stuck


@pytest.mark.parametrize(("travelled", "turned"), [(STAYED_M, 0.0), (0.0, STAYED_RAD)])
def test_a_robot_that_goes_somewhere_is_not_stuck(travelled: float, turned: float) -> None:
    assert not waver(Headway(), Progress(), 3 * IMAGES, 1.01 * travelled, 1.01 * turned)


def test_a_robot_that_wants_to_stand_is_not_stuck() -> None:
    headway, progress = Headway(), Progress()
    waver(headway, progress, IMAGES - 1)
    headway.lost(False, progress)
    assert not waver(headway, progress, IMAGES - 1)
