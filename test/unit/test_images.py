"""Camera images: their stamps are checked, they fit what the policy asks, and a camera that is ill is noticed."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.images import CameraHealth, check_stamp, resize

S = 1_000_000_000


@pytest.mark.parametrize("stamp, says", [
    (0, "the stamp is 0"), (-1, "the stamp is -1"),
    (10 * S + S // 10 + 1, "in the future"), (9 * S - 1, "1.000 s old"),
])
def test_a_bad_stamp_gets_a_sentence(stamp, says):
    with pytest.raises(ValueError, match=says):
        check_stamp(stamp, 10 * S, S // 10, S)


@pytest.mark.parametrize("stamp", [10 * S + S // 10, 10 * S, 9 * S])
def test_a_stamp_at_its_limits_passes(stamp):
    check_stamp(stamp, 10 * S, S // 10, S)


def test_padding_keeps_the_aspect_and_fills_with_black():
    out = resize(np.full((480, 640, 3), 200, np.uint8), (224, 224), "pad")
    assert out.shape == (224, 224, 3)
    assert out[:28].max() == 0 and out[-28:].max() == 0
    assert (out[28:196] == 200).all()


def test_crop_keeps_the_centre():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 80:560] = 255  # exactly the centre square
    assert (resize(image, (240, 240), "crop") == 255).all()


def test_stretch_uses_the_whole_image():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 10:] = 100
    out = resize(image, (10, 10), "stretch")
    assert (out[:, :5] == 0).all() and (out[:, 5:] == 100).all()


def test_an_unknown_mode_lists_the_known():
    with pytest.raises(ValueError, match="pad, crop, stretch"):
        resize(np.zeros((4, 4, 3), np.uint8), (2, 2), "squash")


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(1, 70),
       st.sampled_from(["pad", "crop", "stretch"]))
def test_any_size_becomes_the_size_asked_for(height, width, out_height, out_width, mode):
    out = resize(np.full((height, width, 3), 9, np.uint8), (out_height, out_width), mode)
    assert out.shape == (out_height, out_width, 3) and out.dtype == np.uint8
    assert out.max() == 9


@pytest.mark.parametrize("mode", ["pad", "crop", "stretch"])
def test_one_pixel_is_an_image_too(mode):
    pixel = np.array([[[10, 20, 30]]], np.uint8)
    assert resize(pixel, (1, 1), mode).tolist() == pixel.tolist()
    assert (resize(pixel, (4, 4), mode) == pixel).all()
    assert resize(np.full((40, 40, 3), 7, np.uint8), (1, 1), mode).tolist() == [[[7, 7, 7]]]
    assert resize(np.broadcast_to(pixel, (2, 1, 3)), (1, 1), mode).tolist() == pixel.tolist()


def test_a_black_camera_is_noticed():
    assert "black" in CameraHealth(S, 2.0).look(np.zeros((16, 16, 3), np.uint8), S)


@pytest.mark.parametrize("later, frozen", [(S - 1, False), (S, True), (S + 1, True)])
def test_a_frozen_camera_is_noticed_after_its_time(later, frozen):
    health = CameraHealth(S, 2.0)
    image = np.full((16, 16, 3), 50, np.uint8)
    assert health.look(image, 5 * S) == ""
    assert ("frozen" in health.look(image, 5 * S + later)) == frozen
    assert health.look(image + 1, 5 * S + later) == ""


def test_halving_averages_so_that_no_pixel_is_passed_over():
    """Nearest or linear interpolation would see every second or fourth pixel: a thin edge would flicker."""
    board = np.zeros((16, 16, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    for size in ((8, 8), (4, 4), (2, 2)):  # halved by interpolation, and before it once and twice by averaging
        assert (resize(board, size, "stretch") == 100).all()
    column = np.zeros((32, 32, 3), np.uint8)
    column[:, 5] = 160
    assert resize(column, (4, 4), "stretch")[0, :, 0].tolist() == [20, 0, 0, 0]  # an eighth of its width


def test_between_two_pixels_a_larger_image_has_what_lies_between_them():
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 100
    assert resize(image, (4, 4), "stretch")[0, :, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("mean, black", [(0, True), (1, True), (2, False), (3, False)])
def test_an_image_is_black_below_the_threshold(mean, black):
    assert ("black" in CameraHealth(S, 2.0).look(np.full((16, 16, 3), mean, np.uint8), S)) == black


def test_a_clock_that_steps_back_starts_the_time_of_a_frozen_camera_anew():
    health = CameraHealth(S, 2.0)
    image = np.full((16, 16, 3), 50, np.uint8)
    assert health.look(image, 9 * S) == ""
    assert health.look(image, 3 * S) == ""
    assert health.look(image, 4 * S - 1) == ""
    assert "frozen" in health.look(image, 4 * S)
