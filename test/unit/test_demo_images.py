"""The demo's film and images, drawn from made-up data: right sizes, something on them, nothing lost."""
import json
import math
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vla_ros.core.drawing import drawing
from vla_ros.demo.film import FPS, Film, image_pixels, still_score
from vla_ros.demo.overlay import SIZE, Moment, draw, font, wrap
from vla_ros.demo.plots import (
    DriveRecord,
    PathPoint,
    Stop,
    Thing,
    draw_latency,
    draw_path,
    latency_summary,
    stood_still,
    summary_lines,
    was_seen,
)

CHANNELS = ("linear.x", "angular.z", "gripper")
MOMENT = Moment(3.0, "instruction 1 of 3", "go to the red block", "ACTIVE", "LIMITED", "limits",
                "linear.x 0.80 m/s is over the limit of 0.50 m/s", CHANNELS, (0.8, -0.2, 1.0), (0.5, -0.2, 0.9), (0.7, 0.0))


def grey() -> np.ndarray:
    return np.full((480, 640, 3), 128, np.uint8)


def read(path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, f"{path} is no image"
    assert image.std() > 5, f"{path} is blank"
    return image


def test_an_image_of_the_film_holds_the_camera_untouched_between_words_and_verdict():
    camera = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    image = draw(camera, MOMENT)
    assert image.shape == (SIZE[1], SIZE[0], 3) and image.dtype == np.uint8
    assert np.array_equal(image[40:520], camera)
    assert image[:40].std() > 5 and image[520:].std() > 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_values_that_are_no_numbers_are_drawn_without_a_fall(bad):
    moment = Moment(channels=CHANNELS, requested=(bad,) * 3, emitted=(bad,) * 3)
    assert draw(grey(), moment).shape == (SIZE[1], SIZE[0], 3)


def test_of_an_arm_the_film_shows_the_last_channel_too():
    joints = Moment(channels=("a", "b", "c", "gripper"), requested=(0.5,) * 4, emitted=(0.5,) * 4)
    for channel, seen in ((1, True), (2, False), (3, True)):
        emitted = [0.5] * 4
        emitted[channel] = 0.0
        assert np.array_equal(draw(grey(), joints), draw(grey(), replace(joints, emitted=tuple(emitted)))) != seen


def test_what_the_gate_does_has_a_colour_of_its_own():
    images = [draw(grey(), Moment(state="ACTIVE", verdict=verdict)) for verdict in ("PASSED", "LIMITED")]
    images += [draw(grey(), Moment(state=state, verdict="HELD")) for state in ("HOLDING", "DISARMED")]
    for index, one in enumerate(images):
        assert all(not np.array_equal(one, other) for other in images[:index])


def test_a_camera_of_another_size_is_a_sentence():
    with pytest.raises(ValueError, match=r"\(10, 10, 3\)"):
        draw(np.zeros((10, 10, 3), np.uint8), MOMENT)


@pytest.mark.parametrize("text", ["", "short", "many words " * 50, "x" * 500])
def test_wrapped_text_fits(text):
    lines = wrap(text, 13, 290, 4)
    assert len(lines) <= 4
    assert all(font(13).getlength(line) <= 310 for line in lines)
    assert len(text) < 100 or lines[-1].endswith("…")


def test_the_film_keeps_real_time_over_a_gap_and_keeps_the_best_still(tmp_path):
    film = Film(tmp_path / "demo.mp4")
    far = Moment(state="HOLDING", channels=CHANNELS, requested=(0, 0, 0), emitted=(0, 0, 0))
    for index, at in enumerate((0.0, 0.1, 0.2, 2.0)):
        film.add(100.0 + at, grey(), MOMENT if index == 1 else far)
        time.sleep(0.05)
    film.close()
    assert film.dropped == 0 and not film.problem
    assert film.frames == 2 * FPS + 1
    video = cv2.VideoCapture(str(tmp_path / "demo.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == SIZE
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == film.frames
    good, frame = video.read()
    assert good and frame.std() > 5
    assert film.save_still(tmp_path / "still.png")
    assert np.array_equal(read(tmp_path / "still.png")[..., ::-1], draw(grey(), MOMENT))


def test_a_film_that_lags_drops_images_and_never_waits(tmp_path):
    def slow(image):
        time.sleep(0.2)
        return image

    film = Film(tmp_path / "demo.mp4", slow)
    began = time.monotonic()
    for index in range(50):
        film.add(index / 15, grey(), MOMENT)
    assert time.monotonic() - began < 0.15
    assert film.dropped > 30
    film.close()


def test_the_film_wants_fifteen_images_a_second_of_thirty(tmp_path):
    film = Film(tmp_path / "demo.mp4")
    wanted = 0
    for index in range(90):
        if film.wants(50.0 + index / 30):
            wanted += 1
            film.add(50.0 + index / 30, grey(), MOMENT)
    film.close()
    assert 43 <= wanted <= 48


def test_an_image_that_cannot_be_decoded_is_told_and_the_film_goes_on(tmp_path):
    def decode(image):
        if image is None:
            raise ValueError("the camera sends '16UC1'; the film takes rgb8")
        return image

    film = Film(tmp_path / "demo.mp4", decode)
    film.add(0.0, None, MOMENT)
    film.add(0.1, grey(), MOMENT)
    film.close()
    assert film.frames == 1 and "16UC1" in film.problem


def test_no_film_where_nothing_can_be_written(tmp_path):
    with pytest.raises(ValueError, match="cannot write a video"):
        Film(tmp_path / "missing" / "demo.mp4")


def test_a_still_on_the_way_beats_one_that_stands():
    standing = replace(MOMENT, state="HOLDING", emitted=(0, 0, 0))
    aside = replace(MOMENT, target=(0.7, 0.5))
    nothing = replace(MOMENT, target=None)
    assert still_score(MOMENT) > still_score(aside) > still_score(nothing) > still_score(standing)


def test_image_pixels_drops_the_padding_of_rows():
    class Message:
        encoding, height, width, step = "rgb8", 2, 3, 12
        data = bytes(range(24))

    pixels = image_pixels(Message)
    assert pixels.shape == (2, 3, 3) and pixels[1, 0, 0] == 12
    Message.encoding = "mono8"
    with pytest.raises(ValueError, match="mono8"):
        image_pixels(Message)


def a_track() -> DriveRecord:
    ball = Thing("green ball", -0.6, -1.0, 0.07, (0.1, 0.6, 0.2))
    block = Thing("red block", 1.0, 0.3, 0.06, (0.9, 0.1, 0.1), 0.4)
    path = [PathPoint(i / 10, -0.8 + i * 0.02, -0.2, 0.0, 1 + i // 30) for i in range(60)]
    return DriveRecord(path, [Stop("the word", -0.2, -0.2, 0.2, True, 1)], [float(i % 30) for i in range(300)],
                 {"green ball": ball, "red block": block},
                 {"green ball": Thing("green ball", -0.4, -0.9, 0.07, (0.1, 0.6, 0.2)), "red block": block})


def test_the_path_is_drawn_in_each_instructions_colour(tmp_path):
    draw_path(a_track(), ["go to the red block", "turn left"], [True, False], 3.6, tmp_path / "path.png")
    image = read(tmp_path / "path.png")
    for blue, green, red in ((0xB2, 0x72, 0x00), (0x00, 0x5E, 0xD5)):  # the first two paths' colours
        assert (np.abs(image.astype(int) - (blue, green, red)).sum(axis=2) < 30).sum() > 200


def test_images_of_a_run_that_never_moved(tmp_path):
    draw_path(DriveRecord(), ["go to the red block"], [], 3.6, tmp_path / "path.png")
    draw_latency([], tmp_path / "latency.png")
    read(tmp_path / "path.png")
    read(tmp_path / "latency.png")


@pytest.mark.parametrize("latencies", [[5.0], [5.0] * 100, [float(i) for i in range(200)], [1.0] * 500 + [900.0]])
def test_the_latency_is_drawn(tmp_path, latencies):
    draw_latency(latencies, tmp_path / "latency.png")
    read(tmp_path / "latency.png")


def test_an_image_that_fails_is_a_sentence_and_leaves_no_half_of_it(tmp_path, capsys):
    with drawing(tmp_path / "path.png"):
        (tmp_path / "path.png").write_bytes(b"half")
        raise AttributeError("no property 'rotation_point'")
    assert not (tmp_path / "path.png").exists()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "path.png could not be drawn (AttributeError: no property" in said


def test_an_interrupt_while_drawing_is_none_of_its_business(tmp_path):
    with pytest.raises(KeyboardInterrupt), drawing(tmp_path / "path.png"):
        raise KeyboardInterrupt


def test_the_latency_in_numbers():
    assert latency_summary([float(i) for i in range(101)]) == {"count": 101, "p50_ms": 50.0, "p95_ms": 95.0,
                                                               "p99_ms": 99.0}
    json.dumps(latency_summary([]), allow_nan=False)


def speeds(moving_until: float, end: float = 2.0):
    return [(i / 50, 0.3 if i / 50 < moving_until else 0.0, 0.0) for i in range(int(end * 50))]


@pytest.mark.parametrize("moving_until, still", [(0.9, True), (1.2, True), (1.49, True), (1.6, False), (9.0, False)])
def test_stood_still_in_time(moving_until, still):
    found, last = stood_still(speeds(moving_until), at=1.0)
    assert found is still
    assert last == pytest.approx(max(0.0, min(moving_until, 1.98) - 1.0), abs=0.03)


def test_a_robot_that_starts_again_did_not_stand_still():
    after = speeds(1.1)
    after[85] = (after[85][0], 0.0, 0.3)
    assert stood_still(after, at=1.0)[0] is False


def test_silence_is_no_proof_of_standing_still():
    assert stood_still([], at=1.0) == (False, 0.0)
    assert stood_still(speeds(0.5, end=1.4), at=1.0)[0] is False


@pytest.mark.parametrize("count, seen", [(4, False), (5, True)])
def test_a_robot_of_which_too_little_was_heard_was_not_seen_to_stand_and_that_is_said(count, seen):
    after = [(1.6 + 0.2 * number, 0.0, 0.0) for number in range(count)]
    assert was_seen(after, 1.0) is seen is stood_still(after, at=1.0)[0]
    stop = Stop("the button", 0.0, 0.0, 0.1, seen, 1, seen)
    assert ("too little was heard" in stop.sentence) is not seen and ("still after 0.10 s" in stop.sentence) is seen
    assert Stop("the button", 0.0, 0.0, 0.9, False).sentence == "it still moved after 0.90 s"


def test_summary_lines_say_done_or_not_with_distance_and_time():
    lines = summary_lines([
        {"text": "go to the red block", "done": True, "seconds": 7.25, "driven_m": 1.0, "distance_m": 0.21,
         "why": "near"},
        {"text": "turn left", "done": False, "seconds": 40.0, "driven_m": 0.0, "distance_m": None, "why": "far off"}])
    assert lines[0] == "done      1. “go to the red block” in 7.2 s, moved 1.00 m, 0.21 m from it: near"
    assert lines[1].startswith("NOT DONE  2. “turn left” in 40.0 s")
