"""Any amount of turning and driving, by a model that learned one amount of each kind."""
from __future__ import annotations

import math

import pytest

from vla_ros.policies.amounts import MOST_BEYOND, AmountLeft
from vla_ros.policies.progress import SCALES, Progress
from vla_ros.tasks.intent import Intent

QUARTER = math.pi / 2


@pytest.mark.parametrize(("wanted", "turned", "told"), [
    (math.pi / 6, 0.0, math.pi / 3),  # it begins where 30 degrees of its 90 are left
    (math.pi / 6, math.pi / 6, QUARTER),
    (math.pi / 6, math.pi / 6 + 0.1, QUARTER + 0.1),  # too far: it comes back
    (math.pi, 0.0, 0.0),
    (math.pi, QUARTER - 0.01, 0.0),  # below, at and above where its own amount begins
    (math.pi, QUARTER, 0.0),
    (math.pi, QUARTER + 0.01, 0.01),
    (math.pi, math.pi, QUARTER),
    (2 * math.pi, 2 * math.pi - 0.2, QUARTER - 0.2),
    (math.pi, -0.3, -0.3),  # turned the wrong way first
])
@pytest.mark.parametrize(("kind", "sign"), [("turn_left", 1.0), ("turn_right", -1.0)])
def test_the_last_stretch_of_a_turn_looks_like_that_of_a_quarter(
        kind: str, sign: float, wanted: float, turned: float, told: float) -> None:
    amount = AmountLeft(Intent(kind, amount=wanted))
    assert amount.feature == "turned"
    assert amount.told(sign * turned) == pytest.approx(sign * told)
    assert amount.left(sign * turned) == pytest.approx(wanted - turned)


@pytest.mark.parametrize(("wanted", "travelled", "told"), [
    (0.3, 0.0, 0.2), (0.3, 0.1, 0.3), (0.3, 0.3, 0.5), (0.3, 0.35, 0.55), (3.0, 2.4, 0.0), (3.0, 2.5, 0.0), (3.0, 2.6, 0.1)])
@pytest.mark.parametrize(("kind", "sign"), [("forward", 1.0), ("back", -1.0)])
def test_the_last_stretch_of_a_drive_looks_like_that_of_half_a_metre(
        kind: str, sign: float, wanted: float, travelled: float, told: float) -> None:
    amount = AmountLeft(Intent(kind, amount=wanted))
    assert amount.feature == "travelled"
    assert amount.told(sign * travelled) == pytest.approx(sign * told)


@pytest.mark.parametrize("amount", [0.0, QUARTER])
@pytest.mark.parametrize("turned", [-0.2, 0.0, 1.0, 2.0])
def test_of_the_usual_amount_it_is_told_what_it_turned(amount: float, turned: float) -> None:
    assert AmountLeft(Intent("turn_left", amount=amount)).told(turned) == pytest.approx(turned)


def test_a_turn_to_the_other_side_of_half_a_circle_is_a_turn_around() -> None:
    assert AmountLeft(Intent("turn_around", amount=math.pi / 2)).told(0.0) == pytest.approx(math.pi / 2)


def test_the_progress_tells_the_amount_of_its_instruction_alone() -> None:
    progress = Progress()
    progress.amount = AmountLeft(Intent("turn_left", amount=math.pi / 6))
    assert progress.features()["turned"] == pytest.approx(math.pi / 3 / SCALES["turned"])
    assert progress.features()["travelled"] == 0.0 and progress.turned == 0.0
    progress.start()  # the next instruction
    assert progress.amount is None and progress.features()["turned"] == 0.0


@pytest.mark.parametrize(("kind", "wanted", "covered", "there"), [
    ("forward", 0.05, 0.0, False), ("forward", 0.05, 0.037, False), ("forward", 0.05, 0.038, True), ("back", 0.05, -0.063, False),
    ("back", 0.05, -0.062, True), ("turn_left", math.radians(5), 0.0, False), ("turn_left", math.radians(5), math.radians(3.8), True),
    ("turn_left", QUARTER, QUARTER - 0.101, False), ("turn_left", QUARTER, QUARTER - 0.099, True),
    ("forward", 1.0, 0.939, False), ("forward", 1.0, 0.941, True)])
def test_an_amount_is_reached_by_a_quarter_of_it_or_as_near_as_models_stop(kind: str, wanted: float, covered: float, there: bool) -> None:
    assert AmountLeft(Intent(kind, amount=wanted)).reached(covered) == there


@pytest.mark.parametrize(("missing", "moves"), [(0.019, False), (0.021, True), (-0.021, True)])
def test_what_is_missing_once_the_robot_stands_moves_the_aim(missing: float, moves: bool) -> None:
    amount = AmountLeft(Intent("turn_left", amount=1.0))
    amount.stand(1.0 - missing - 0.01)  # it still moves
    amount.stand(1.0 - missing)
    before = amount.told(1.0)
    amount.stand(1.0 - missing)
    assert before == QUARTER and amount.told(1.0) == pytest.approx(QUARTER - missing * moves)


def test_a_model_that_stands_far_from_its_aim_is_not_driven_on_for_ever() -> None:
    amount = AmountLeft(Intent("back", amount=1.0))
    for _ in range(20):
        amount.stand(-0.4)
    assert amount.told(-0.4) == pytest.approx(0.0) and amount.told(-1.0) == pytest.approx(-(0.5 - MOST_BEYOND["travelled"]))
