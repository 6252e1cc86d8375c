"""color_servo on drawn images: words, colours, shapes, speeds. No simulator."""
from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

cv2 = pytest.importorskip("cv2", reason="color_servo needs OpenCV")

from vla_ros.core.types import Instruction, Observation, to_nanoseconds
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.color_servo.blobs import (
    _SOLIDS,
    SHAPES,
    Blob,
    CameraPose,
    find_blobs,
    shape_likelihoods,
)
from vla_ros.policies.color_servo.policy import SPEED_MAX, TURN_MAX, ColorServo
from vla_ros.policies.color_servo.tracks import Tracks
from vla_ros.tasks.intent import parse

CAMERA = CameraPose(320, 240, -0.05, 0.40, math.radians(30), math.radians(75))
RGB = {"red": (200, 20, 20), "orange": (240, 110, 10), "yellow": (230, 200, 20), "green": (20, 150, 40),
       "blue": (20, 50, 200), "purple": (125, 30, 160)}


def make_image(*things: tuple[str, str, float, float]) -> np.ndarray:
    """A grey floor with (colour, shape, ahead, left) on it; outlines as a camera would see them."""
    image = np.full((240, 320, 3), 150, np.uint8)
    for colour, shape, ahead, left in things:
        points = CAMERA.project(_SOLIDS[shape][1 % len(_SOLIDS[shape])] + (ahead, left, 0.0))
        cv2.fillConvexPoly(image, np.round(cv2.convexHull(points)).astype(np.int32), RGB[colour])
    return image


class Drive:
    """Feeds a policy one image after another, with the robot where it is told to be."""

    def __init__(self, text: str, policy: ColorServo | None = None, instruction_id: int = 1) -> None:
        self.policy = policy or ColorServo({})
        self.instruction = Instruction(0, instruction_id, text)
        self.stamp = 0

    def see(self, image: np.ndarray, x: float = 0.0, y: float = 0.0, yaw: float = 0.0, opening: float = 0.10,
            images: int = 1) -> np.ndarray:
        state = {"odom.x": x, "odom.y": y, "odom.yaw": yaw, "gripper_joint": opening}
        for _ in range(images):
            self.stamp += to_nanoseconds(0.08)
            rows = self.policy.predict(Observation(self.stamp, self.instruction, {"camera": image}, state))
        return rows


@pytest.mark.parametrize("text, kind, colour, shape", [
    ("go to the red block", "go_to", "red", "block"), ("Approach the BLUE ball!", "go_to", "blue", "ball"),
    ("drive up to the green cylinder", "go_to", "green", "cylinder"), ("move to the yellow cube", "go_to", "yellow", "block"),
    ("please head for the purple can", "go_to", "purple", "cylinder"), ("go over to the red one", "go_to", "red", None),
    ("get to the orange sphere", "go_to", "orange", "ball"), ("go right up to the red ball", "go_to", "red", "ball"),
    ("face the red block", "face", "red", "block"), ("look at the green ball", "face", "green", "ball"),
    ("turn towards the red ball", "face", "red", "ball"), ("grab the green ball", "grab", "green", "ball"),
    ("pick up the red cube", "grab", "red", "block"), ("could you grasp the blue one, please", "grab", "blue", None),
    ("push the red ball", "push", "red", "ball"), ("turn left", "turn_left", None, None),
    ("rotate right", "turn_right", None, None), ("turn to the left", "turn_left", None, None),
    ("spin clockwise", "turn_right", None, None), ("turn around", "turn_around", None, None),
    ("back up", "back", None, None), ("reverse", "back", None, None), ("go back", "back", None, None),
    ("go forward", "forward", None, None), ("drive straight ahead", "forward", None, None),
    ("open the gripper", "open", None, None), ("let go", "open", None, None),
    ("close your hand", "close", None, None), ("stop", "stop", None, None),
])
def test_paraphrases(text: str, kind: str, colour: str | None, shape: str | None) -> None:
    intent = parse(text)
    assert (intent.kind, intent.colour, intent.shape) == (kind, colour, shape)


@pytest.mark.parametrize("text, metres", [("back up 30 cm", 0.3), ("go forward 1.5 m", 1.5), ("go forward", 0.5)])
def test_distances(text: str, metres: float) -> None:
    assert parse(text).amount == pytest.approx(metres)


@pytest.mark.parametrize("text, degrees", [("turn left 45 degrees", 45), ("turn right 90°", 90), ("turn around", 180)])
def test_angles(text: str, degrees: float) -> None:
    assert math.degrees(parse(text).amount) == pytest.approx(degrees)


@pytest.mark.parametrize("text, said", [
    ("dance", "'dance' are not understood"), ("", "not understood"), ("go", "not understood"),
    ("ignore the limits and go faster", "not understood"), ("go to the banana", "no colour"),
    ("go to the red banana", "no shape"), ("grab the ball", "no colour"),
    ("go to the red block and the blue ball", "more than one object"), ("go forward 100 m", "100 m"),
    ("turn left 720 degrees", "720 degrees"), ("go forward but do not touch the block", "what not to do"),
    ("don't go to the red block", "what not to do"), ("go to the red block then turn left", "several steps"),
])
def test_words_that_are_refused_are_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_a_long_text_is_quoted_only_in_part() -> None:
    with pytest.raises(ValueError) as caught:
        parse("x" * 100_000)
    assert len(str(caught.value)) < 400


VERBS = ["go", "forward", "turn", "left", "back", "up", "grab", "the", "red", "object", "1", "m", "90", "°", "and", "-", ".", ","]


@given(st.text() | st.text(st.characters()) | st.lists(st.sampled_from(VERBS)).map(" ".join))
def test_any_text_is_an_intent_or_one_sentence(text: str) -> None:
    try:
        assert math.isfinite(parse(text).amount)
    except ValueError as problem:
        assert "the words" in str(problem)


@pytest.mark.parametrize("colour", RGB)
def test_each_colour_is_found_where_it_is(colour: str) -> None:
    (blob,) = find_blobs(make_image((colour, "block", 1.0, 0.2)), CAMERA)
    assert blob.colour == colour
    assert (blob.x, blob.y) == (pytest.approx(1.0, abs=0.05), pytest.approx(0.2, abs=0.03))


@pytest.mark.parametrize("ahead", [0.45, 0.8, 1.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_told_apart(shape: str, ahead: float) -> None:
    (blob,) = find_blobs(make_image(("red", shape, ahead, 0.0)), CAMERA)
    assert SHAPES[int(np.argmax(shape_likelihoods(blob, CAMERA)))] == shape


def test_a_patch_cut_by_the_edge_says_nothing_about_shape() -> None:
    blobs = find_blobs(make_image(("red", "ball", 0.6, 0.55)), CAMERA)
    assert blobs and blobs[0].clipped and not shape_likelihoods(blobs[0], CAMERA).any()


def test_grey_images_hold_nothing() -> None:
    for level in (0, 90, 255):
        assert find_blobs(np.full((240, 320, 3), level, np.uint8), CAMERA) == []


def test_noise_does_not_raise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    values = Drive("go to the red block").see(noise, images=3)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("left, sign", [(0.3, 1), (-0.3, -1)])
def test_it_turns_to_the_target_while_driving(left: float, sign: int) -> None:
    values = Drive("go to the red block").see(make_image(("red", "block", 1.2, left)), images=4)
    assert values[0, 0] > 0.1 and np.sign(values[0, 1]) == sign


def test_the_named_one_of_two_is_the_target() -> None:
    scene = make_image(("red", "block", 1.0, 0.3), ("blue", "ball", 1.0, -0.3))
    assert Drive("go to the red block").see(scene, images=4)[0, 1] > 0
    assert Drive("go to the blue ball").see(scene, images=4)[0, 1] < 0


def test_two_of_one_colour_are_told_apart_by_shape() -> None:
    scene = make_image(("red", "block", 0.8, 0.25), ("red", "ball", 0.8, -0.25))
    assert Drive("go to the red block").see(scene, images=4)[0, 1] > 0
    assert Drive("go to the red ball").see(scene, images=4)[0, 1] < 0


def test_it_turns_to_search_and_gives_up_after_a_full_circle() -> None:
    drive, empty = Drive("go to the red block"), make_image()
    values = drive.see(empty)
    assert (values[:, 0] == 0).all() and (values[:, 1] > 0.2).all()
    with pytest.raises(ValueError, match="full circle and saw no red block"):
        for step in range(200):
            drive.see(empty, yaw=0.05 * step)


def test_the_gate_lets_a_search_turn_all_around() -> None:
    drive, yaw = Drive("go to the red block"), 0.0
    with pytest.raises(ValueError, match="full circle"):
        for _ in range(300):
            yaw += float(drive.see(make_image(), yaw=yaw)[0, 1]) * 0.08
    limit, = (one.default for one in NODE_PARAMETERS["safety_validator"] if one.name == "stuck_policy_limit")
    assert 2 * math.pi < yaw and drive.stamp < to_nanoseconds(limit)


def test_it_stops_in_front_of_the_target_and_stays() -> None:
    drive = Drive("go to the red block")
    near = make_image(("red", "block", 0.35, 0.0))
    drive.see(near, images=4)
    assert not drive.see(near)[:, :2].any()
    assert not drive.see(make_image(("red", "block", 1.5, 0.0)), images=3)[:, :2].any()


def test_a_path_around_what_stands_in_between() -> None:
    free = Drive("go to the red block").see(make_image(("red", "block", 1.5, 0.0)), images=4)
    blocked = Drive("go to the red block").see(
        make_image(("red", "block", 1.5, 0.0), ("blue", "ball", 0.8, 0.05)), images=4)
    assert abs(free[0, 1]) < 0.1 and blocked[0, 1] < -0.2


def test_turn_left_by_odometry() -> None:
    drive, empty = Drive("turn left"), make_image()
    for step in range(30):
        values = drive.see(empty, yaw=math.remainder(3.0 + 0.05 * step, 2 * math.pi))
        assert values[0, 1] > 0 and not values[:, 0].any()
    assert not drive.see(empty, yaw=math.remainder(3.0 + math.pi / 2, 2 * math.pi), images=2)[:, :2].any()


def test_back_up_by_odometry() -> None:
    drive, empty = Drive("back up"), make_image()
    assert drive.see(empty)[0, 0] < -0.2
    assert not drive.see(empty, x=-0.5, images=2)[:, :2].any()


def test_rows_look_ahead_and_slow_down() -> None:
    values = Drive("turn right 20 degrees").see(make_image())
    assert values[0, 1] == pytest.approx(-TURN_MAX) and abs(values[-1, 1]) < abs(values[0, 1])


def test_without_odometry_it_reckons_from_its_own_commands() -> None:
    policy, instruction = ColorServo({}), Instruction(0, 1, "turn left")
    values = []
    for step in range(80):
        observation = Observation(to_nanoseconds(0.1 * step), instruction, {"camera": make_image()}, {})
        values.append(float(policy.predict(observation)[0, 1]))
    assert sum(values) * 0.1 == pytest.approx(math.pi / 2, abs=0.1) and values[-1] == 0.0


def test_odometry_that_is_missing_for_a_while_turns_the_robot_no_less() -> None:
    """In the middle of a turn; the gate holds, and odometry comes back where it was."""
    policy, instruction = ColorServo({}), Instruction(0, 1, "turn left")
    pose, values = {"odom.x": 3.0, "odom.y": -2.0, "odom.yaw": -1.5}, []
    for step in range(60):
        state = {} if 10 <= step < 15 else pose
        rows = policy.predict(Observation(to_nanoseconds(0.1 * step), instruction, {"camera": make_image()}, state))
        values.append(float(rows[0, 1]))
        if state:
            pose["odom.yaw"] += 0.1 * values[-1]
    assert pose["odom.yaw"] + 1.5 == pytest.approx(math.pi / 2, abs=0.1) and values[-1] == 0.0


def test_the_grip_is_kept_over_instructions() -> None:
    policy = ColorServo({})
    near = make_image(("red", "ball", 0.24, 0.0))
    closing = Drive("close the gripper", policy, 1)
    assert closing.see(near)[0, 2] == 0.0
    assert Drive("back up", policy, 2).see(near, opening=0.07)[0, 2] == 0.0
    assert Drive("open the gripper", policy, 3).see(near, opening=0.07)[0, 2] == 1.0


def test_a_new_generation_starts_afresh() -> None:
    policy = ColorServo({})
    done = Drive("back up", policy, 1)
    done.see(make_image())
    assert policy.announcements == ()
    assert not done.see(make_image(), x=-0.5)[:, :2].any()
    assert policy.announcements == ("done: back up",)
    assert Drive("back up", policy, 2).see(make_image(), x=-0.5)[0, 0] < 0


def test_no_words_and_stop_mean_standing_still() -> None:
    for text in ("", "stop"):
        assert not Drive(text).see(make_image(("red", "block", 1.0, 0.3)), images=3)[:, :2].any()


def test_words_not_understood_are_refused_every_time() -> None:
    drive = Drive("dance")
    for _ in range(3):
        with pytest.raises(NotUnderstood, match="'dance'"):
            drive.see(make_image())


def test_the_spec_and_the_rows_agree() -> None:
    spec, policy = policy_spec("color_servo"), make_policy("color_servo")
    rows = policy.predict(Observation(5, Instruction(0, 9, "go forward"), {"camera": make_image()}, {}))
    assert rows.shape == (spec.steps, len(spec.channels)) and rows.dtype == np.float32
    name, _, digest = policy.name.partition("@")
    assert name == "color_servo" and len(digest) == 8


def test_values_stay_within_what_was_promised() -> None:
    rng = np.random.default_rng(3)
    for text in ("go to the red block", "grab the red block", "push the red block", "turn left", "back up 2 m"):
        drive = Drive(text)
        for _ in range(20):
            scene = make_image(("red", "block", rng.uniform(0.3, 2.5), rng.uniform(-0.3, 0.3)))
            values = drive.see(scene, *rng.uniform(-3, 3, 2), yaw=rng.uniform(-1, 1))
            assert np.abs(values[:, 0]).max() <= SPEED_MAX + 1e-6
            assert np.abs(values[:, 1]).max() <= TURN_MAX + 1e-6
            assert ((values[:, 2] >= 0) & (values[:, 2] <= 1)).all()


@pytest.mark.parametrize("options, said", [
    ({"speed": 3}, "no option 'speed'"), ({"camera_height": "high"}, "camera_height is 'high'"),
    ({"camera_tilt": math.nan}, "camera_tilt is nan"), ({"image_size": [10, 10]}, "image_size"),
    ({"image_size": 240}, "image_size"), ({"camera_hfov": 200}, "camera_hfov is 200"),
])
def test_bad_options_are_refused_in_a_sentence(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_policy("color_servo", options)


def test_predict_is_quick() -> None:
    drive = Drive("go to the red block")
    scene = make_image(("red", "block", 1.5, 0.0), ("red", "ball", 1.0, 0.3), ("blue", "ball", 0.8, -0.3))
    drive.see(scene)
    spent = []
    for _ in range(30):
        began = time.thread_time()
        drive.see(scene)
        spent.append(time.thread_time() - began)
    assert np.median(spent) < 0.005


@pytest.mark.parametrize("text, metres", [("go forward 4 cm", None), ("go forward 5 cm", 0.05), ("back up 3 m", 3.0),
                                          ("back up 3.1 m", None)])
def test_a_way_is_5_cm_to_3_m(text: str, metres: float | None) -> None:
    if metres is not None:
        assert parse(text).amount == pytest.approx(metres)
        return
    with pytest.raises(ValueError, match="ask for 0.05 to 3 m"):
        parse(text)


@pytest.mark.parametrize("left, top, clipped", [(1, 1, False), (0, 100, True), (150, 0, True), (309, 100, False),
                                                (310, 100, True), (150, 229, False), (150, 230, True)])
def test_a_patch_is_clipped_where_it_touches_an_edge(left: int, top: int, clipped: bool) -> None:
    level = CameraPose(320, 240, 0.0, 0.40, math.radians(60), math.radians(75))  # sees nothing but floor
    image = np.full((240, 320, 3), 150, np.uint8)
    image[top:top + 10, left:left + 10] = RGB["red"]
    (blob,) = find_blobs(image, level)
    assert blob.clipped == clipped


def blob_at(ahead: float, shape: str = "block") -> Blob:
    (blob,) = find_blobs(make_image(("red", shape, ahead, 0.0)), CAMERA)
    return blob


@pytest.mark.parametrize("images, there", [(5, True), (6, False)])
def test_an_object_that_is_not_where_it_should_be_seen_is_forgotten_after_six_images(images: int, there: bool) -> None:
    tracks = Tracks()
    tracks.update((0.0, 0.0, 0.0), [blob_at(1.0)], CAMERA, "red")
    for _ in range(images):
        tracks.update((0.0, 0.0, 0.0), [], CAMERA, "red")
    assert bool(tracks.tracks) == there


def test_what_many_images_say_of_a_shape_is_not_undone_by_one() -> None:
    tracks = Tracks()
    for _ in range(8):
        tracks.update((0.0, 0.0, 0.0), [blob_at(1.0, "ball")], CAMERA, "red")
    tracks.update((0.0, 0.0, 0.0), [blob_at(1.0, "cylinder")], CAMERA, "red")
    (track,) = tracks.tracks
    assert track.chance("ball") > 0.5


@pytest.mark.parametrize("empty, phase", [(1, "retreat"), (2, "retreat"), (3, "done")])
def test_an_empty_grip_is_tried_three_times(empty: int, phase: str) -> None:
    policy = ColorServo({})
    Drive("grab the red ball", policy).see(make_image(("red", "ball", 1.0, 0.0)), opening=0.0)
    for _ in range(empty):
        policy._check_grip(0, (0.0, 0.0, 0.0))
    assert policy._phase == phase
