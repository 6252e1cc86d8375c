"""What is asked of an arm, in words, and when it is done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks import phrases
from vla_ros.tasks.arm.intent import ARM_KINDS, PUT_KINDS, ArmIntent, Named, parse_arm
from vla_ros.tasks.arm.judged_meaning import judged_arm_meaning
from vla_ros.tasks.arm.phrases import TABLE_SLOTS, TABLE_TEMPLATES, UNSEEN_TABLE_PAIRS, say_arm
from vla_ros.tasks.arm.sequence import UNTOUCHED_M, ArmJudging, arm_untouched
from vla_ros.tasks.arm.success import (
    HAND_OVER_M,
    HOME_RAD,
    LIFTED_M,
    MAX_CLOSED_M,
    MAX_MOVED_M,
    MIN_OPEN_M,
    MIN_PUSH_M,
    REACH_ABOVE_M,
    REACH_ASIDE_M,
    STILL_RAD_S,
    judge_arm,
    things_meant,
)
from vla_ros.tasks.arm.table import HAND_OVER, SHAPES, TableObject, TableState
from vla_ros.tasks.intent import plain_words
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.sequence import IntentSequence

RED = Named("red", "block")
BLUE_CUP = Named("blue", "cup")
GREEN_BOWL = Named("green", "bowl")
EPSILON = 1e-6


# -- words --
@pytest.mark.parametrize(
    "words, intent",
    [
        ("pick up the red block", ArmIntent("pick", RED)),
        ("Pick the red cube up, please!", ArmIntent("pick", RED)),
        ("could you grab the blue mug", ArmIntent("pick", BLUE_CUP)),
        ("get the red object", ArmIntent("pick", Named("red"))),
        ("lift the cup", ArmIntent("pick", Named(None, "cup"))),
        ("reach for the green bowl", ArmIntent("reach", GREEN_BOWL)),
        ("go to the red block", ArmIntent("reach", RED)),
        ("put the red block into the green bowl", ArmIntent("put_into", RED, GREEN_BOWL)),
        ("drop the red block in the bowl", ArmIntent("put_into", RED, Named(None, "bowl"))),
        ("stack the red block on the blue one", ArmIntent("put_onto", RED, Named("blue"))),
        (
            "put the red block on top of the yellow block",
            ArmIntent("put_onto", RED, Named("yellow", "block")),
        ),
        ("place the red block next to the blue cup", ArmIntent("put_beside", RED, BLUE_CUP)),
        ("push the green bowl away", ArmIntent("push", GREEN_BOWL)),
        ("hand me the red block", ArmIntent("hand_over", RED)),
        ("give the blue cup to me", ArmIntent("hand_over", BLUE_CUP)),
        ("open the gripper", ArmIntent("open")),
        ("drop it", ArmIntent("open")),
        ("close your hand", ArmIntent("close")),
        ("go home", ArmIntent("home")),
        ("go back to the start", ArmIntent("home")),
        ("stop", ArmIntent("stop")),
        ("hold still", ArmIntent("stop")),
    ],
)
def test_words_mean(words: str, intent: ArmIntent) -> None:
    assert parse_arm(words) == intent


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("", "are not understood"),
        ("sing a song", "are not understood; try 'pick up the red block'"),
        ("drive forward", "are not understood"),
        ("do not pick up the red block", "say what not to do"),
        ("pick up the red block and put it into the bowl", "name several steps"),
        ("pick up the red block then stop", "name several steps"),
        ("pick up the red block or the cup", "name more than one object"),
        ("pick up the red and the blue block", "name more than one object"),
        ("pick it up", "name nothing that is known here"),
        ("pick up the red dog", "name nothing that is known here"),
        ("pick up the tartan cup", "name nothing that is known here; name a colour \\(red, orange"),
        ("pick up the green bowl", "ask to hold a bowl, which is wider than the gripper"),
        ("hand me the bowl", "ask to hold a bowl"),
        ("put the green bowl beside the red block", "ask to hold a bowl"),
        (
            "put the red block into the blue cup",
            "put something into a cup; it can be put into a bowl",
        ),
        (
            "put the red block on the green bowl",
            "put something onto a bowl; it can be put onto a block",
        ),
        ("put the red block beside the red block", "name the same object twice"),
        ("put the red block on the table", "name nothing that is known here"),
    ],
)
def test_words_that_mean_nothing_here_are_refused_with_a_sentence(
    words: str, sentence: str
) -> None:
    with pytest.raises(NotUnderstood, match=sentence):
        parse_arm(words)


def example(kind: str, rng: np.random.Generator) -> ArmIntent:
    if kind not in (*PUT_KINDS, "reach", "pick", "push", "hand_over"):
        return ArmIntent(kind)
    thing = Named(COLOURS[rng.integers(6)], ("block", "cup")[rng.integers(2)])
    place = None
    if kind in PUT_KINDS:
        shape = {"put_into": "bowl", "put_onto": "block"}.get(kind, "bowl")
        place = Named(next(colour for colour in COLOURS if colour != thing.colour), shape)
    return ArmIntent(kind, thing, place)


@pytest.mark.parametrize("split", phrases.SPLITS)
@pytest.mark.parametrize("kind", ARM_KINDS)
def test_what_people_say_means_what_they_want(kind: str, split: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        intent = example(kind, rng)
        text = say_arm(rng, intent, split)
        assert parse_arm(text) == intent, text


def test_the_splits_share_no_text() -> None:
    rng = np.random.default_rng(1)
    texts: dict[str, set[str]] = {split: set() for split in ("known", "recombined", "unseen_words")}
    for split, said in texts.items():
        for kind in ARM_KINDS:
            said.update(say_arm(rng, example(kind, rng), split) for _ in range(60))
    politeness = set(" ".join((*phrases.POLITE_BEFORE, *phrases.POLITE_AFTER)).split())
    # without politeness; "stop now" is a phrasing of its own
    plain = {
        split: {plain_words(text) for text in said if "block" in text or "cu" in text}
        for split, said in texts.items()
    }
    assert not plain["known"] & plain["recombined"]
    assert not plain["known"] & plain["unseen_words"]
    known_words = set(" ".join(texts["known"]).split())
    assert all(set(text.split()) - known_words for text in texts["unseen_words"])
    assert not set(" ".join(texts["recombined"]).split()) - known_words - politeness


def test_no_word_is_of_training_and_held_out() -> None:
    trained, held = set(), set()
    for known, unknown in TABLE_SLOTS.values():
        trained.update(known.split())
        held.update(unknown.split())
    assert not trained & held
    assert set(TABLE_TEMPLATES) == set(ARM_KINDS)
    assert all(shape in SHAPES and colour in COLOURS for colour, shape in UNSEEN_TABLE_PAIRS)


def test_a_split_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="split is 'new'; use one of known"):
        say_arm(np.random.default_rng(0), ArmIntent("stop"), "new")


# -- truth --
def block(colour: str, x: float, y: float, bottom: float = 0.0) -> TableObject:
    return TableObject(f"{colour} block", colour, "block", x, y, bottom + 0.02, 0.0, 0.04, 0.04)


TABLE = TableState(
    time=0.0,
    joints=(0.0,) * 6,
    home=(0.0,) * 6,
    speed=0.0,
    tool=(0.3, 0.0, 0.2),
    tool_yaw=1.57,
    opening=0.08,
    objects=(
        block("red", 0.3, 0.1),
        block("yellow", 0.3, -0.1),
        TableObject("green bowl", "green", "bowl", 0.4, 0.2, 0.02, 0.0, 0.13, 0.04),
    ),
)


def with_red(state: TableState = TABLE, **changes: float) -> TableState:
    red = replace(state.objects[0], **changes)
    return replace(state, objects=(red, *state.objects[1:]))


def done(words: str, now: TableState, start: TableState = TABLE) -> bool:
    verdict = judge_arm(words, start, now)
    assert verdict.done == (verdict.distance == 0.0) or now.speed > STILL_RAD_S
    assert verdict.sentence
    return verdict.done


@pytest.mark.parametrize(
    "aside, above, moved, expected",
    [
        (REACH_ASIDE_M - EPSILON, 0.04, 0.0, True),
        (REACH_ASIDE_M + EPSILON, 0.04, 0.0, False),
        (0.0, REACH_ABOVE_M[1] - EPSILON, 0.0, True),
        (0.0, REACH_ABOVE_M[1] + EPSILON, 0.0, False),
        (0.0, REACH_ABOVE_M[0] + EPSILON, 0.0, True),
        (0.0, REACH_ABOVE_M[0] - EPSILON, 0.0, False),
        (0.0, 0.04, MAX_MOVED_M - EPSILON, True),
        (0.0, 0.04, MAX_MOVED_M + EPSILON, False),
    ],
)
def test_reach_is_over_a_thing_that_was_not_moved(
    aside: float, above: float, moved: float, expected: bool
) -> None:
    now = with_red(replace(TABLE, tool=(0.3 + moved, 0.1 + aside, 0.04 + above)), x=0.3 + moved)
    assert done("reach for the red block", now) == expected


@pytest.mark.parametrize(
    "lift, held, expected",
    [
        (LIFTED_M + EPSILON, "red block", True),
        (LIFTED_M - EPSILON, "red block", False),
        (LIFTED_M + EPSILON, None, False),
        (LIFTED_M + EPSILON, "yellow block", False),
    ],
)
def test_pick_is_held_above_the_table(lift: float, held: str | None, expected: bool) -> None:
    now = with_red(replace(TABLE, held=held), z=lift + 0.02)
    assert done("pick up the red block", now) == expected


@pytest.mark.parametrize(
    "away, held, expected",
    [
        (HAND_OVER_M - EPSILON, "red block", True),
        (HAND_OVER_M + EPSILON, "red block", False),
        (0.0, None, False),
    ],
)
def test_hand_over_is_held_where_a_person_takes_it(
    away: float, held: str | None, expected: bool
) -> None:
    now = with_red(
        replace(TABLE, held=held, tool=(HAND_OVER[0], HAND_OVER[1] + away, HAND_OVER[2])), z=0.2
    )
    assert done("hand me the red block", now) == expected


@pytest.mark.parametrize(
    "x, bottom, held, expected",
    [
        (0.4 + 0.75 * 0.065 - EPSILON, 0.006, None, True),
        (0.4 + 0.75 * 0.065 + EPSILON, 0.006, None, False),
        (0.4, 0.032 - EPSILON, None, True),
        (0.4, 0.032 + EPSILON, None, False),
        (0.4, 0.006, "red block", False),
    ],
)
def test_into_is_within_the_bowl_and_let_go(
    x: float, bottom: float, held: str | None, expected: bool
) -> None:
    now = with_red(replace(TABLE, held=held), x=x, y=0.2, z=bottom + 0.02)
    assert done("put the red block into the green bowl", now) == expected


@pytest.mark.parametrize(
    "x, bottom, held, expected",
    [
        (0.32 - EPSILON, 0.04, None, True),
        (0.32 + EPSILON, 0.04, None, False),
        (0.3, 0.04 + 0.012 - EPSILON, None, True),
        (0.3, 0.04 + 0.012 + EPSILON, None, False),
        (0.3, 0.0, None, False),
        (0.3, 0.04, "red block", False),
    ],
)
def test_onto_is_at_the_lower_block_s_height(
    x: float, bottom: float, held: str | None, expected: bool
) -> None:
    now = with_red(replace(TABLE, held=held), x=x, y=-0.1, z=bottom + 0.02)
    assert done("put the red block onto the yellow block", now) == expected


@pytest.mark.parametrize(
    "gap, bottom, expected",
    [
        (0.06 - EPSILON, 0.0, True),
        (0.06 + EPSILON, 0.0, False),
        (0.03, 0.012 + EPSILON, False),
    ],
)
def test_beside_is_near_and_on_the_table(gap: float, bottom: float, expected: bool) -> None:
    now = with_red(y=-0.1 + 0.04 + gap, z=bottom + 0.02)
    assert done("put the red block beside the yellow block", now) == expected


def test_what_something_is_put_to_must_stay_where_it_was() -> None:
    now = with_red(x=0.3, y=-0.1 + 0.09)
    moved = replace(now.objects[1], x=0.3 + MAX_MOVED_M + EPSILON)
    assert done("put the red block beside the yellow block", now)
    assert not done(
        "put the red block beside the yellow block", replace(now, objects=(now.objects[0], moved))
    )


@pytest.mark.parametrize(
    "way, expected", [(MIN_PUSH_M + EPSILON, True), (MIN_PUSH_M - EPSILON, False)]
)
def test_push_moves_a_thing_over_the_table(way: float, expected: bool) -> None:
    assert done("push the red block", with_red(x=0.3 + way)) == expected


def test_what_was_carried_or_lies_on_something_was_not_pushed() -> None:
    assert not done("push the red block", with_red(x=0.4, z=0.06))
    assert not done("push the red block", with_red(replace(TABLE, held="red block"), x=0.4))


def test_open_close_home_and_stop() -> None:
    assert done("open the gripper", replace(TABLE, opening=MIN_OPEN_M + EPSILON))
    assert not done("open the gripper", replace(TABLE, opening=MIN_OPEN_M - EPSILON))
    assert done("close the gripper", replace(TABLE, opening=MAX_CLOSED_M - EPSILON))
    assert not done("close the gripper", replace(TABLE, opening=MAX_CLOSED_M + EPSILON))
    assert done("close the gripper", replace(TABLE, opening=0.04, held="red block"))
    assert not done("open the gripper", replace(TABLE, tool=(0.3, 0.101, 0.2)))
    assert done("go home", replace(TABLE, joints=(0.0, HOME_RAD - EPSILON, 0.0, 0.0, 0.0, 0.0)))
    assert not done("go home", replace(TABLE, joints=(0.0, HOME_RAD + EPSILON, 0.0, 0.0, 0.0, 0.0)))
    assert done("stop", replace(TABLE, speed=STILL_RAD_S - EPSILON))
    assert not done("stop", replace(TABLE, speed=STILL_RAD_S + EPSILON))


def test_nothing_is_done_while_the_arm_moves() -> None:
    now = replace(with_red(x=0.3 + MIN_PUSH_M + 0.01), speed=STILL_RAD_S + EPSILON)
    verdict = judge_arm("push the red block", TABLE, now)
    assert not verdict.done and "the arm still moves (0.08 rad/s)" in verdict.sentence


def test_any_thing_that_words_could_mean_will_do() -> None:
    yellow = replace(TABLE.objects[1], x=0.4)
    now = replace(TABLE, objects=(TABLE.objects[0], yellow, TABLE.objects[2]))
    assert done("push the block", now)
    assert not done("push the red block", now)


def test_steps_are_judged_one_after_another_each_from_where_the_one_before_was_done() -> None:
    meant, as_read = judged_arm_meaning("pick up the red block, then go home")
    assert meant == IntentSequence((ArmIntent("pick", RED), ArmIntent("home"))) and as_read
    away = (0.0, HOME_RAD + EPSILON, 0.0, 0.0, 0.0, 0.0)
    start = replace(TABLE, joints=away)
    held = with_red(replace(start, held="red block"), z=LIFTED_M + 0.03)
    judge = ArmJudging(meant, start)
    first = judge(start)
    assert not first.done and first.sentence.startswith("step 1 of 2: ")
    assert not judge(TABLE).done  # at home, which is the second step alone
    assert not judge(replace(held, speed=STILL_RAD_S + EPSILON)).done
    assert judge(held).sentence.endswith("; that step is done")
    assert judge(held).sentence.startswith("step 2 of 2: ") and not judge(held).done
    assert judge(replace(held, joints=TABLE.joints)).done
    assert not judge(held).done  # the last is judged to the end


def test_a_step_is_judged_from_where_the_one_before_ended() -> None:
    push = ArmIntent("push", RED)
    judge = ArmJudging(IntentSequence((push, push)), TABLE)
    once = with_red(x=0.3 + MIN_PUSH_M + EPSILON)
    assert not judge(once).done and not judge(once).done
    assert judge(with_red(x=0.3 + 2 * (MIN_PUSH_M + EPSILON))).done


def test_what_a_later_step_names_and_the_table_has_not_is_said() -> None:
    judge = ArmJudging(IntentSequence((ArmIntent("home"), ArmIntent("pick", BLUE_CUP))), TABLE)
    judge(TABLE)
    with pytest.raises(ValueError, match="the table has no blue cup for that"):
        judge(TABLE)


def test_several_steps_have_no_judge_without_a_memory() -> None:
    with pytest.raises(NotUnderstood, match="have 2 steps; give them one at a time"):
        judge_arm("pick up the red block, then go home", TABLE, TABLE)
    one = judge_arm("pick up the red block", TABLE, TABLE)
    assert ArmJudging(ArmIntent("pick", RED), TABLE)(TABLE) == one


# -- what is to be refused --
def test_what_is_to_be_refused_is_never_done() -> None:
    judge = ArmJudging(IntentSequence(()), TABLE)
    assert not judge(TABLE).done
    verdict = judge(replace(TABLE, tool=(0.3, 0.04, 0.2)))
    assert not verdict.done and verdict.sentence == "the words were to be refused; the tool moved 4.0 cm"


@pytest.mark.parametrize("way, is_so", [(0.0, True), (UNTOUCHED_M - EPSILON, True), (UNTOUCHED_M + EPSILON, False)])
def test_untouched_is_what_one_could_not_see(way: float, is_so: bool) -> None:
    changed = (replace(TABLE, tool=(0.3, way, 0.2)), replace(TABLE, opening=0.08 - way), with_red(y=0.1 + way), with_red(z=TABLE.objects[0].z + way))
    for moment in changed:
        assert arm_untouched(TABLE, [moment]) is is_so
        assert arm_untouched(TABLE, [moment, TABLE]) is is_so  # it came back


@pytest.mark.parametrize("now", [replace(TABLE, held="red block"), replace(TABLE, speed=STILL_RAD_S + EPSILON)])
def test_an_arm_that_took_something_or_moves_did_something(now: TableState) -> None:
    assert not arm_untouched(TABLE, [TABLE, now])
    assert arm_untouched(TABLE, [TABLE, replace(TABLE, speed=STILL_RAD_S)])


def test_what_the_table_does_not_have_is_said() -> None:
    with pytest.raises(
        ValueError,
        match="the table has no blue block for that; it has red block, yellow block, green",
    ):
        judge_arm("pick up the blue block", TABLE, TABLE)
    with pytest.raises(ValueError, match="the table has no green object for that"):
        things_meant(ArmIntent("pick", Named("green")), TABLE)  # a bowl is not held
    with pytest.raises(ValueError, match="the table has nothing but the red block"):
        judge_arm("put the red block beside the red one", TABLE, TABLE)
