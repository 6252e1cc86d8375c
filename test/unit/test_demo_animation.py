"""The animation for the README: short, small, and in the film's colours."""
import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
Pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

from vla_ros.demo.animation import FRAMES_PER_SECOND, SPEED_UP, WIDTH_PIXELS, main


def test_a_film_becomes_a_short_animation_that_keeps_a_colour_seen_late(tmp_path):
    film = tmp_path / "demo.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"mp4v"), 16, (640, 320))
    for number in range(160):  # ten seconds; red only in the last two
        writer.write(np.full((320, 640, 3), (0, 0, 230) if number > 128 else (90, 90, 90), np.uint8))
    writer.release()
    assert main([str(film), str(tmp_path / "demo.gif")]) == 0
    with Pillow.open(tmp_path / "demo.gif") as animation:
        assert animation.size == (WIDTH_PIXELS, WIDTH_PIXELS // 2)
        assert animation.n_frames * 1.0 <= 10 * FRAMES_PER_SECOND / SPEED_UP  # equal frames are stored once
        animation.seek(animation.n_frames - 1)
        red, green, blue = animation.convert("RGB").getpixel((5, 5))
    assert red > 180 and green < 60 and blue < 60


def test_what_is_no_film_is_a_sentence(tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no\.mp4 is no film"):
        main([str(tmp_path / "no.mp4"), str(tmp_path / "out.gif")])
