"""Amounts, relations, sequences and refusals: in scenes in which they are clear and can be done."""
from __future__ import annotations

import math
import re

import pytest

from vla_ros.core.instructions import STOP_WORDS, is_stop
from vla_ros.evaluation import plan as plans
from vla_ros.evaluation.clear_scenes import (
    CLEAR_BEARING_RAD,
    FREE_AHEAD_M,
    FREE_BEHIND_M,
    MIN_APART_RAD,
    can_be_done,
    free_way,
    meant_thing,
    seen,
    sightings,
)
from vla_ros.evaluation.refusals import REFUSALS
from vla_ros.evaluation.word_plan import (
    AMBIGUOUS,
    DRIVES_M,
    ORDERS,
    RELATIONS,
    TURNS_DEG,
    WORD_SPLITS,
    refusal_sentences,
    seconds_for,
    sort_of_refusal,
)
from vla_ros.sim.scene import ROOM_M, Placement, Scene, sample_scene
from vla_ros.tasks.choice import chosen
from vla_ros.tasks.intent import THING_RELATIONS, Intent
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.objects import PASSING_CLEARANCE
from vla_ros.tasks.phrases import OBJECT_KINDS
from vla_ros.tasks.sequence import IntentSequence, Judging, meant_by, steps_of
from vla_ros.tasks.success import TURN_TOLERANCE_RAD
from vla_ros.tasks.world_state import ObjectState, WorldState

PLANS = {split: plans.success(80, [split]) for split in WORD_SPLITS}


def scene(*things: tuple[str, float, float], robot: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Scene:
    objects = []
    for name, x, y in things:
        colour, _, shape = name.partition(" ")
        objects.append(Placement(0, shape, colour, x, y, 0.0, 0.06, 0.06))
    return Scene(robot, tuple(objects))


def truth(room: Scene) -> WorldState:
    objects = tuple(ObjectState(thing.name, thing.colour, thing.shape, thing.x, thing.y, 0.03, 0.0, 0.06, 0.06) for thing in room.objects)
    return WorldState(0.0, *room.robot, 0.0, 0.0, 0.1, objects)


# -- the plans -------------------------------------------------------------------------


@pytest.mark.parametrize("split", WORD_SPLITS)
def test_each_split_is_asked_for_alone_and_gives_the_same_every_time(split: str) -> None:
    plan = PLANS[split]
    assert len({episode.seed for episode in plan}) == 80 and {episode.split for episode in plan} == {split}
    assert plan[:10] == plans.success(10, [split]) and min(episode.seed for episode in plan) >= plans.FIRST_SEED


@pytest.mark.parametrize("split", ["amounts", "relations", "sequences"])
def test_nothing_is_done_before_it_begins_and_all_can_be_done(split: str) -> None:
    for episode in PLANS[split]:
        room = sample_scene(episode.seed)
        assert can_be_done(steps_of(episode.meant), room)
        start = truth(room)
        assert not Judging(episode.meant, start)(start).done, episode


def test_amounts_are_said_and_are_more_than_their_tolerance() -> None:
    kinds = {episode.meant.kind for episode in PLANS["amounts"]}
    assert kinds == {"turn_left", "turn_right", "forward", "back"}
    for episode in PLANS["amounts"]:
        amount = episode.meant.amount
        if episode.meant.kind.startswith("turn"):
            assert round(math.degrees(amount)) in TURNS_DEG
        else:
            assert amount in DRIVES_M
        named = re.search(r"\d|ten|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|fifteen|half|metre|turn", episode.text)
        assert named, episode.text
    assert math.radians(min(TURNS_DEG)) > TURN_TOLERANCE_RAD and max(TURNS_DEG) < 180


def test_every_relation_is_asked_for_of_one_thing_in_sight() -> None:
    asked = set()
    for episode in plans.success(160, ["relations"]):
        intent = steps_of(episode.meant)[-1]
        asked.add(intent.which.relation if intent.which else "not")
        if isinstance(episode.meant, IntentSequence):
            continue
        room = sample_scene(episode.seed)
        target = meant_thing(intent, room)
        assert target is not None
        if intent.which is not None and intent.which.relation != "any":
            sighted = sightings(room)[room.objects.index(target)]
            assert seen(sighted)
            # of the things in sight alone, the same one is meant
            assert chosen(intent, list(filter(seen, sightings(room)))) == [sighted]
    assert asked == set(RELATIONS)


def test_sequences_have_two_and_three_steps_and_time_for_each() -> None:
    lengths = {len(episode.meant.intents) for episode in PLANS["sequences"]}
    assert lengths == {2, 3} == set(map(len, ORDERS))
    for episode in PLANS["sequences"]:
        named = [(step.colour, step.shape) for step in episode.meant.intents if step.kind in OBJECT_KINDS]
        assert len(set(named)) == len(named)
        assert episode.seconds == sum(seconds_for(step) for step in episode.meant.intents)


def test_the_kinds_that_are_asked_for_can_be_chosen() -> None:
    assert {episode.meant.kind for episode in plans.success(8, ["amounts"], ["back", "grab"])} == {"back"}
    with pytest.raises(ValueError, match="'amounts' is about amounts, and none of grab names one; add one of turn_left"):
        plans.success(8, ["amounts"], ["grab"])
    with pytest.raises(ValueError, match="'relations' is about objects, and none of back names one"):
        plans.success(8, ["relations"], ["back"])
    assert plans.success(8, ["refusals", "sequences"], ["grab"])  # they have kinds of their own
    # without splits, those that have something to ask of the kinds
    found = {episode.split for episode in plans.success(16, kinds=["grab"])}
    assert found == {"known", "recombined", "unseen_words", "pairs", "relations", "sequences", "refusals"}


def test_the_arm_has_none_of_them() -> None:
    with pytest.raises(ValueError, match="unknown split 'amounts'; known are: known, recombined, unseen_words, pairs"):
        plans.success(8, ["amounts"], robot=plans.robot_named("arm"))


# -- what is to be refused -------------------------------------------------------------


def test_there_are_two_hundred_sentences_to_refuse_each_once_and_none_with_a_stop_word() -> None:
    sentences = refusal_sentences()
    assert len(sentences) == len(set(sentences)) >= 200 and len(REFUSALS) == 8
    assert not [text for text in sentences if is_stop(text, STOP_WORDS)]
    assert all(sort_of_refusal(text) in REFUSALS for text in sentences) and sort_of_refusal("turn left") == AMBIGUOUS


def test_refusals_are_said_in_turn_so_that_few_hold_every_sort() -> None:
    first = [episode.text for episode in PLANS["refusals"][: len(REFUSALS)]]
    assert [sort_of_refusal(text) for text in first] == list(REFUSALS)
    ours = [episode.text for episode in PLANS["refusals"] if sort_of_refusal(episode.text) != AMBIGUOUS]
    assert len(ours) == len(set(ours)) == 72
    assert all(episode.meant == IntentSequence(()) and episode.meant.kind == "refuse" for episode in PLANS["refusals"])


def test_every_tenth_refusal_is_of_one_of_two_things_in_sight_and_does_not_say_which() -> None:
    found = PLANS["refusals"][9::10]
    assert len(found) == 8
    for episode in found:
        shape, = [word for word in ("block", "ball", "cylinder") if re.search(rf"\b{word}\b", episode.text)]
        alike = [thing for thing in sightings(sample_scene(episode.seed)) if thing.shape == shape and seen(thing)]
        assert len(alike) > 1 and not any(thing.colour in episode.text for thing in alike)
        assert sort_of_refusal(episode.text) == AMBIGUOUS


# -- clear scenes ----------------------------------------------------------------------

BEHIND = (("red ball", 1.0, 0.0), ("blue block", 1.5, -0.15), ("green block", 1.0, 0.6))


@pytest.mark.parametrize("notation, things, name", [
    ("go_to:block behind red ball", BEHIND, "blue block"),
    ("go_to:block left_of red ball", BEHIND, "green block"),
    ("go_to:red ball", BEHIND, "red ball"),
    ("go_to:block", BEHIND, None),  # two fit
    ("go_to:ball behind blue block", BEHIND, None),  # none stands there
    ("go_to:purple ball", BEHIND, None),
    # two blocks stand left of it: which is meant?
    ("go_to:block left_of red ball", (*BEHIND, ("purple block", 1.5, 0.9)), None),
    # "the ball behind it" where there is but one ball: the relation would tell nothing
    ("go_to:ball behind blue block", (("red ball", 1.5, 0.0), ("blue block", 1.0, 0.0)), None),
    # ... but with its colour it is said as people say it
    ("go_to:red ball behind blue block", (("red ball", 1.5, 0.0), ("blue block", 1.0, 0.0)), "red ball"),
    ("go_to:any block", BEHIND, "green block"),
])
def test_a_thing_is_meant_where_it_is_clear(notation: str, things: tuple, name: str | None) -> None:
    target = meant_thing(meaning_of(notation)[0], scene(*things))
    assert (target.name if target else None) == name


@pytest.mark.parametrize("degrees, clear", [(4 + 2, False), (4 + 5 + 1, True)])
def test_a_side_is_clear_from_a_margin_on(degrees: float, clear: bool) -> None:
    assert math.isclose(CLEAR_BEARING_RAD, math.radians(5))
    angle = math.radians(degrees)
    room = scene(("red ball", 1.0, 0.0), ("green block", math.cos(angle), math.sin(angle)), ("blue block", 1.5, -0.9))
    assert (meant_thing(meaning_of("go_to:block left_of red ball")[0], room) is not None) is clear


def test_what_stands_behind_the_robot_is_not_clear() -> None:
    room = scene(("red ball", -1.0, 0.0), ("green block", -1.0, -0.6), ("blue block", 1.0, 0.0))
    assert meant_thing(meaning_of("go_to:block left_of red ball")[0], room) is None


@pytest.mark.parametrize("relation", THING_RELATIONS)
def test_turning_the_room_around_changes_nothing(relation: str) -> None:
    for seed in range(60):
        room = sample_scene(seed)
        x, y, yaw = room.robot
        turned = Scene((-x, -y, yaw + math.pi), tuple(
            Placement(t.slot, t.shape, t.colour, -t.x, -t.y, t.yaw, t.size, t.height) for t in room.objects))
        for mark in room.objects:
            intent = meaning_of(f"go_to:object {relation} {mark.name}")[0]
            first, second = meant_thing(intent, room), meant_thing(intent, turned)
            assert (first and first.name) == (second and second.name)


# -- the way ---------------------------------------------------------------------------


@pytest.mark.parametrize("way, x, free", [
    (0.5, ROOM_M / 2 - 0.5 - FREE_AHEAD_M - 0.01, True), (0.5, ROOM_M / 2 - 0.5 - FREE_AHEAD_M + 0.01, False),
    (-0.5, -ROOM_M / 2 + 0.5 + FREE_BEHIND_M + 0.01, True), (-0.5, -ROOM_M / 2 + 0.5 + FREE_BEHIND_M - 0.01, False),
])
def test_a_drive_ends_before_the_wall(way: float, x: float, free: bool) -> None:
    assert free_way(scene(), (x, 0.0, 0.0), way) is free


@pytest.mark.parametrize("y, free", [(PASSING_CLEARANCE - 0.01, False), (PASSING_CLEARANCE + 0.01, True)])
def test_what_stands_in_the_way_of_a_drive(y: float, free: bool) -> None:
    room = scene(("red ball", 0.6, y))
    assert free_way(room, (0.0, 0.0, 0.0), 0.5) is free
    assert free_way(room, (0.0, 0.0, 0.0), -0.5)  # it is ahead, and the robot backs off
    assert free_way(room, (0.0, 0.0, 0.0), 0.5, held="red ball")


def test_a_step_is_planned_from_where_the_one_before_ends() -> None:
    room = scene(("red ball", 1.0, 0.0))
    assert not can_be_done(meaning_of("go_to:red ball ; forward:0.5m"), room)  # it stands before the robot
    assert can_be_done(meaning_of("go_to:red ball ; back:0.5m"), room)
    assert can_be_done(meaning_of("turn_around ; forward:0.5m"), room)
    assert not can_be_done(meaning_of("forward:0.5m"), room)
    far = scene(("red ball", 0.7, 0.0), robot=(-1.0, 0.0, 0.0))  # the way is free until the robot stands before it
    assert can_be_done(meaning_of("forward:0.5m"), far)
    assert not can_be_done(meaning_of("go_to:red ball ; forward:0.5m"), far)


@pytest.mark.parametrize("degrees, possible", [(math.degrees(MIN_APART_RAD) - 1, False), (math.degrees(MIN_APART_RAD) + 1, True)])
def test_what_is_faced_already_is_not_asked_to_be_faced(degrees: float, possible: bool) -> None:
    angle = math.radians(degrees)
    room = scene(("red ball", math.cos(angle), math.sin(angle)))
    assert can_be_done(meaning_of("face:red ball"), room) is possible
    later = scene(("red ball", -math.sin(angle), math.cos(angle)))  # as far to the side, after a turn to the left
    assert can_be_done(meaning_of("turn_left ; face:red ball"), later)


@pytest.mark.parametrize("notation, seconds", [
    ("go_to:red ball", 30.0), ("open", 15.0), ("turn_left", 15.0), ("turn_left:170deg", 7.5 + math.radians(170) / 0.35),
    ("go_to:nearest ball", 45.0), ("refuse", 8.0), ("open ; go_to:red ball", 45.0),
])
def test_how_long_it_may_take(notation: str, seconds: float) -> None:
    assert seconds_for(meant_by(meaning_of(notation))) == pytest.approx(seconds)


def test_an_intent_without_a_relation_needs_one_thing_alone() -> None:
    assert meant_thing(Intent("go_to", "red"), scene(("red ball", 1.0, 0.0), ("red block", 0.0, 1.0))) is None
    assert meant_thing(Intent("go_to", "red"), scene(("red ball", -1.0, 0.0))) is not None
