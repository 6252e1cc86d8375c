"""How an instruction is followed, by a model and eyes that do as they are told: steps, which thing is meant, refusals."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.following import LOOK_IMAGES, MOST_CLAIMED_IMAGES, TURN_RAD_S, Following
from vla_ros.policies.headway import IMAGES
from vla_ros.policies.progress import Progress
from vla_ros.policies.sightings import Seen
from vla_ros.policies.steps import DONE_IMAGES, named
from vla_ros.tasks.choice import Sighting
from vla_ros.tasks.meaning import meaning_of

RED_BLOCK = Sighting("red", "block", 1.0, 0.0)
RED_BALL = Sighting("red", "ball", 1.0, -0.4)
RED_BALL_LEFT = Sighting("red", "ball", 0.8, 0.4)
CELLS = np.arange(64).reshape(8, 8) == np.arange(9, 63, 9)[:, None, None]  # each thing is in another cell
WIDE = np.zeros((8, 8), bool)
WIDE[2:4, 2:5] = True
BLUE_BALL = Sighting("blue", "ball", 1.5, 0.5)


class Robot:
    """Follows an instruction; the model drives as `speed` says, the eyes see `view`."""

    def __init__(self, notation: str, *view: Sighting, last: str | None = None) -> None:
        self.progress = Progress()
        self.view = view
        self.image = np.zeros((8, 8, 3), np.uint8)
        self.speed = (0.2, 0.0)
        self.later: tuple[float, float] | None = None  # of the second row; None: the same
        self.completion = 0.0
        self.told: list[str] = []
        self.looks = 0
        self.wide = False  # what it sees covers more cells than one thing can
        self.pose = [0.0, 0.0, 0.0]
        self.joint: float | None = 0.1  # m; None: nobody measures it
        self.following = Following(meaning_of(notation), self.progress, self._drive, self._look, 3, last)

    def _drive(self, words: str, image: Any, measured: Any) -> Any:
        self.shown = image
        self.told.append(words)
        rows = np.tile(np.array([*self.speed, 1.0], np.float32), (3, 1))
        if self.later is not None:
            rows[1, :2] = self.later
        return rows, self.completion

    def _look(self, image: Any) -> tuple[Seen, ...]:
        self.looks += 1
        return tuple(Seen(thing, WIDE if self.wide else CELLS[index]) for index, thing in enumerate(self.view))

    def see(self, images: int = 1, turn: float = 0.0) -> Any:
        for _ in range(images):
            self.pose[2] = math.remainder(self.pose[2] + turn, 2 * math.pi)
            measured = dict(zip(("odom.x", "odom.y", "odom.yaw"), self.pose))
            if self.joint is not None:
                measured["gripper_joint"] = self.joint
            self.progress.move(measured)
            rows = self.following.predict(self.image, measured)
        return rows

    def be_done(self) -> None:
        amount = self.progress.amount
        if amount is not None:  # odometry says so
            covered = getattr(self.progress, amount.feature)
            setattr(self.progress, amount.feature, covered + amount.left(covered))
        self.speed, self.completion = (0.0, 0.0), 0.9
        self.see(DONE_IMAGES)
        self.speed, self.completion = (0.2, 0.0), 0.0


# -- steps -----------------------------------------------------------------------------------------------------
def test_one_step_follows_another_and_each_begins_anew() -> None:
    robot = Robot("turn_left ; forward:0.3m ; open")
    robot.see(3, turn=0.3)
    assert robot.progress.turned == pytest.approx(0.6)
    robot.be_done()
    assert robot.progress.turned == 0.0 and robot.progress.amount.feature == "travelled"
    robot.see()
    robot.be_done()
    robot.see()
    assert list(dict.fromkeys(robot.told)) == ["turn left", "go forward", "open the gripper"]
    robot.be_done()
    assert robot.following.announced == (
        "step 1 of 3: turn left", "step 2 of 3: go forward 0.3 m", "step 3 of 3: open the gripper", "all 3 steps are done")


def test_after_a_reset_no_step_is_done_twice() -> None:
    robot = Robot("open ; turn_left ; forward:0.3m")
    robot.see()
    assert not robot.following.interrupt()  # nothing is done yet: it may begin again
    robot.be_done()
    assert robot.following.interrupt()
    assert robot.following.announced == ()
    with pytest.raises(NotUnderstood, match="^the policy was reset in 'step 2 of 3: turn left'; say what is left to do$"):
        robot.see()


@pytest.mark.parametrize(("travelled", "half_done"), [(0.003, False), (0.005, True), (-0.005, True)])
def test_a_way_counts_as_begun_from_a_few_millimetres_on(travelled: float, half_done: bool) -> None:
    robot = Robot("forward:0.3m")
    robot.see()
    robot.progress.travelled = travelled
    assert robot.following.interrupt() == half_done


def test_a_grip_outlasts_its_step() -> None:
    robot = Robot("close ; turn_left")
    robot.see()
    robot.progress.command, robot.joint = 0.0, 0.065
    robot.see()
    robot.be_done()
    robot.see()
    assert robot.progress.command == 0.0 and robot.told[-1] == "turn left"


@pytest.mark.parametrize(("speed", "completion"), [((0.2, 0.0), 0.9), ((0.0, 0.2), 0.9), ((0.0, 0.0), 0.5)])
def test_a_step_is_not_done_while_the_robot_moves_or_the_model_says_no(speed: tuple[float, float], completion: float) -> None:
    robot = Robot("grab:red block ; stop")
    robot.progress.command, robot.joint = 0.0, 0.065
    robot.speed, robot.completion = speed, completion
    robot.see(4 * DONE_IMAGES)
    assert set(robot.told) == {"grab the red block"}
    robot.speed, robot.completion = (0.0, 0.0), 0.51
    robot.see(DONE_IMAGES + 1)
    assert robot.told[-1] == "stop"


@pytest.mark.parametrize(("turned", "done"), [(0.4, False), (1.48, True), (1.66, True), (1.68, False)])
def test_a_turn_is_done_where_odometry_says_so_whatever_the_model_says(turned: float, done: bool) -> None:
    robot = Robot("turn_left ; stop")
    robot.see()
    robot.progress.turned = turned
    robot.speed = (0.0, 0.0)
    robot.see(DONE_IMAGES + 1)
    assert (robot.told[-1] == "stop") == done


@pytest.mark.parametrize(("notation", "covered", "later", "step", "done"), [
    ("forward:0.1m ; stop", 0.08, (0.02, 0.0), 0.0, True),
    ("forward:0.1m ; stop", 0.08, (0.02, 0.0), 0.002, False),  # it moves still
    ("forward:0.1m ; stop", 0.07, (0.02, 0.0), 0.0, False),  # too far from the end
    ("turn_left ; stop", 1.5, (0.0, 0.1), 0.0, True)])
def test_a_robot_that_stands_near_the_end_is_there_though_a_later_row_asks_for_more(
        notation: str, covered: float, later: tuple[float, float], step: float, done: bool) -> None:
    """Newer rows come before that one's turn, and ask for the same."""
    robot = Robot(notation)
    robot.see()
    setattr(robot.progress, robot.progress.amount.feature, covered)
    robot.speed, robot.later = (0.0, 0.0), later
    for _ in range(DONE_IMAGES + 2):
        robot.progress.travelled += step
        robot.see()
    assert (robot.told[-1] == "stop") == done


@pytest.mark.parametrize(("notation", "command", "joint", "done"), [
    ("grab:red block", 0.0, 0.0, False), ("grab:red block", 0.0, 0.019, False), ("grab:red block", 0.0, 0.021, True),
    ("grab:red block", 1.0, 0.065, False), ("grab:red block", 0.0, None, True), ("open", 1.0, 0.0, False),
    ("open", 1.0, 0.084, False), ("open", 1.0, 0.086, True), ("close", 0.0, 0.1, False), ("close", 0.0, 0.065, True),
    ("close", 0.0, 0.0, True)])
def test_a_grip_is_done_where_the_gripper_measures_it_and_not_before_the_model_says_so(
        notation: str, command: float, joint: float | None, done: bool) -> None:
    robot = Robot(f"{notation} ; stop")
    robot.progress.command, robot.joint = command, joint
    robot.speed, robot.completion = (0.0, 0.0), 0.9
    robot.see(LOOK_IMAGES + DONE_IMAGES + 1)
    assert (robot.told[-1] == "stop") == done


def test_fingers_on_their_way_hold_nothing_yet() -> None:
    robot = Robot("grab:red block ; stop")
    robot.progress.command, robot.completion, robot.speed = 0.0, 0.9, (0.0, 0.0)
    for image in range(LOOK_IMAGES + DONE_IMAGES):
        robot.joint = 0.08 - 0.005 * image
        robot.see()
    assert robot.told[-1] == "grab the red block"


@pytest.mark.parametrize(("notation", "sentence"), [
    ("grab:red block", "the policy takes 'grab the red block' for done, and the gripper is open to 0 percent"),
    ("open", "the policy takes 'open the gripper' for done, and the gripper is open to 0 percent"),
    ("forward:0.05m", "the robot stands with 0.05 m of 'go forward 0.05 m' left; say what is left"),
    ("turn_left:5deg", "the robot stands with 5 degrees of 'turn left 5 degrees' left; say what is left")])
def test_what_the_model_claims_and_no_measurement_shows_ends_with_a_sentence(notation: str, sentence: str) -> None:
    robot = Robot(f"{notation} ; back:1m")
    robot.progress.command, robot.joint = 0.0, 0.0
    robot.speed, robot.completion = (0.0, 0.0), 0.9
    robot.see(MOST_CLAIMED_IMAGES + (LOOK_IMAGES - 1) * notation.startswith("grab"))
    assert "back up" not in robot.told
    with pytest.raises(NotUnderstood, match=f"^step 1 of 2: .*{sentence}"):
        robot.see()


def test_what_is_over_is_not_claimed_any_more() -> None:
    robot = Robot("turn_left")
    robot.see()
    robot.be_done()
    robot.progress.turned = 0.0  # pushed back
    robot.see(2 * MOST_CLAIMED_IMAGES)


# -- which thing is meant ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("view", [(RED_BLOCK,), ()])
def test_what_is_named_is_driven_to_once_a_few_images_showed_no_other_like_it(view: tuple[Sighting, ...]) -> None:
    robot = Robot("go_to:red block", *view)
    assert not robot.see(LOOK_IMAGES - 1)[:, :2].any() and not robot.told
    assert robot.see()[0, 0] == np.float32(0.2)
    robot.see(2 * LOOK_IMAGES)
    assert set(robot.told) == {"go to the red block"} and robot.looks == LOOK_IMAGES


@pytest.mark.parametrize(("notation", "thing"), [
    ("go_to:nearest object", "red block"), ("go_to:ball left_of red block", "blue ball"), ("go_to:blue object", "blue ball"),
    ("go_to:ball not red", "blue ball"), ("go_to:rightmost ball", "red ball")])
def test_a_thing_is_chosen_while_the_robot_stands(notation: str, thing: str) -> None:
    robot = Robot(notation, RED_BLOCK, RED_BALL, BLUE_BALL)
    assert not robot.see(LOOK_IMAGES - 1)[:, :2].any() and not robot.told
    robot.see()
    assert robot.told == [f"go to the {thing}"]
    assert robot.following.announced == (f"the {named(meaning_of(notation)[0])}: it is the {thing}",)


def test_a_thing_out_of_view_is_looked_for_by_turning() -> None:
    robot = Robot("go_to:ball left_of red block", RED_BALL)
    rows = robot.see(LOOK_IMAGES)
    assert rows.shape == (3, 3) and np.allclose(rows[:, 1], TURN_RAD_S) and not rows[:, 0].any()
    robot.view = (RED_BLOCK,)
    robot.see(1, turn=-0.2)
    robot.view = (BLUE_BALL,)  # what was seen before is remembered where it stood
    robot.see(2, turn=1.0)
    robot.view = (RED_BLOCK, BLUE_BALL)
    robot.see(3)
    assert robot.told[-1] == "go to the blue ball"


def turn_in_vain(robot: Robot) -> str:
    with pytest.raises(NotUnderstood) as refusal:
        robot.see(20, turn=0.4)
    assert robot.progress.turned == pytest.approx(2 * math.pi, abs=0.4)
    return str(refusal.value)


def test_after_a_full_circle_it_says_what_it_saw() -> None:
    robot = Robot("go_to:ball left_of red block")
    robot.see(LOOK_IMAGES)
    sentence = turn_in_vain(robot)
    assert "did not see the ball left of the red block; it saw nothing that it knows" in sentence
    with pytest.raises(NotUnderstood, match="did not see"):  # and for every image after it
        robot.see()


def test_the_nearest_is_known_once_all_around_was_seen() -> None:
    robot = Robot("go_to:nearest ball")
    robot.see(LOOK_IMAGES)
    robot.view = (BLUE_BALL,)
    robot.see(3)
    robot.view = ()
    robot.see(8, turn=0.4)
    robot.view = (RED_BALL,)
    robot.see(3)
    robot.view = ()
    assert not robot.told
    robot.see(8, turn=0.4)
    assert robot.told[-1] == "go to the red ball"


def test_words_that_may_mean_several_things_are_asked_about() -> None:
    robot = Robot("go_to:ball", RED_BLOCK, RED_BALL, BLUE_BALL)
    with pytest.raises(NotUnderstood, match="the ball may be the blue ball or the red ball; say which"):
        robot.see(LOOK_IMAGES)
    assert not robot.told


def test_two_things_that_look_alike_are_asked_about() -> None:
    robot = Robot("go_to:red ball", RED_BALL, RED_BALL_LEFT)
    assert not robot.see(LOOK_IMAGES - 1)[:, :2].any()
    with pytest.raises(NotUnderstood, match="the red ball may be the red ball on the left or the red ball on the right; say which"):
        robot.see()
    assert not robot.told  # it never moved


@pytest.mark.parametrize(("notation", "images"), [("go_to:red block", LOOK_IMAGES), ("go_to:block", LOOK_IMAGES), ("go_to:any block", LOOK_IMAGES)])
def test_two_that_look_alike_and_touch_in_the_image_are_not_taken_for_one(notation: str, images: int) -> None:
    robot = Robot(notation, RED_BLOCK)
    robot.wide = True
    robot.see(images - 1)
    with pytest.raises(NotUnderstood, match="^what looks like the red block may be two of them, too close to tell apart; move one away"):
        robot.see()
    assert not robot.told


@pytest.mark.parametrize("relation", ["nearest", "farthest"])
def test_of_one_alone_all_around_is_looked_at_before_it_is_taken_for_the_nearest(relation: str) -> None:
    robot = Robot(f"go_to:{relation} ball", BLUE_BALL)
    assert robot.see(LOOK_IMAGES)[0, 1] == np.float32(TURN_RAD_S)
    robot.view = ()
    robot.see(8, turn=0.4)
    robot.view = (RED_BALL,)
    robot.see(3)
    robot.view = ()
    assert not robot.told
    robot.see(8, turn=0.4)
    assert robot.told[-1] == f"go to the {'red' if relation == 'nearest' else 'blue'} ball"


def test_of_two_that_look_alike_the_model_is_shown_the_one_that_is_meant() -> None:
    robot = Robot("go_to:leftmost ball", RED_BALL, RED_BALL_LEFT)
    robot.image[1, 1] = robot.image[2, 2] = (200, 0, 0)
    robot.see(LOOK_IMAGES + 3, turn=0.0)
    assert robot.told[-1] == "go to the red ball"
    assert robot.shown[1, 1].argmax() == 2 and robot.shown[1, 1].max() == 200  # the other one is blue, and there
    assert robot.shown[2, 2].tolist() == [200, 0, 0]
    robot.view = (RED_BALL,)  # only the other one is in view
    robot.see()
    assert robot.shown[1, 1].argmax() == 2
    robot.view = (RED_BALL_LEFT,)
    robot.see()
    assert robot.shown is robot.image


def test_the_other_one_is_not_the_one_before() -> None:
    robot = Robot("go_to:red ball ; face:other ball", RED_BALL, BLUE_BALL)
    robot.see(LOOK_IMAGES)
    robot.be_done()
    robot.see(LOOK_IMAGES)
    assert robot.told[-1] == "face the blue ball"
    later = Robot("face:other ball", RED_BALL, BLUE_BALL, last=robot.following.last)
    later.see(LOOK_IMAGES)
    assert later.told == ["face the red ball"]


def test_the_other_one_of_nothing_is_refused() -> None:
    robot = Robot("go_to:other ball", RED_BALL)
    with pytest.raises(NotUnderstood, match="^no thing was meant before the other ball; say which one you mean$"):
        robot.see(LOOK_IMAGES)
    assert not robot.told


@pytest.mark.parametrize(("joint", "goes"), [(0.065, "red ball"), (0.01, "red block")])
def test_what_the_gripper_holds_is_not_what_is_nearest(joint: float, goes: str) -> None:
    robot = Robot("go_to:nearest object", Sighting("red", "block", 0.25, 0.0), BLUE_BALL, RED_BALL)
    robot.progress.command = 0.0
    robot.joint = joint  # closed on something, or on nothing
    robot.see(LOOK_IMAGES)
    assert robot.told == [f"go to the {goes}"]


def test_a_robot_that_does_not_measure_its_gripper_holds_nothing() -> None:
    robot = Robot("go_to:nearest object", Sighting("red", "block", 0.25, 0.0), BLUE_BALL)
    robot.progress.command = 0.0
    robot.joint = None
    robot.see(LOOK_IMAGES)
    assert robot.told == ["go to the red block"] and robot.shown is robot.image


def test_what_the_gripper_holds_is_not_shown_to_the_model_unless_it_is_the_target() -> None:
    held = Sighting("red", "block", 0.25, 0.0)
    for target, hidden in (("blue ball", True), ("red block", False)):
        robot = Robot(f"go_to:{target}", held, BLUE_BALL)
        robot.progress.command, robot.joint = 0.0, 0.065
        robot.image[1, 1] = 200
        robot.see(LOOK_IMAGES)
        assert (robot.shown[1, 1].max() < 150) == hidden


def test_a_robot_that_gets_nowhere_says_so_and_moves_nothing_on_its_own() -> None:
    robot = Robot("go_to:red block")  # the gate may hold it: a person stands in front
    robot.see(LOOK_IMAGES - 1)
    for _ in range(IMAGES - 1):
        assert robot.see()[0, 0] == np.float32(0.2)
    with pytest.raises(NotUnderstood, match="^the robot gets no nearer to the red block; clear its way and say it again$"):
        robot.see()
    assert not robot.following.announced


def test_the_step_that_failed_is_named() -> None:
    robot = Robot("turn_left ; go_to:ball", RED_BALL, BLUE_BALL)
    robot.be_done()
    with pytest.raises(NotUnderstood, match="^step 2 of 2: go to the ball: the ball may be"):
        robot.see(LOOK_IMAGES)
