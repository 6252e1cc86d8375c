"""Plans: what is asked for, where, and with which words. Pure: no physics."""
from __future__ import annotations

import math

import pytest

from vla_ros.evaluation import plan as plans
from vla_ros.evaluation.clear_scenes import can_be_done
from vla_ros.evaluation.plan import FIRST_SEED, PlannedEpisode
from vla_ros.sim.scene import sample_scene
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, SLOTS, SPLITS, UNSEEN_PAIRS
from vla_ros.tasks.sequence import IntentSequence

PLAN = plans.success(240, SPLITS)
WORDS = {colour: {word for held in SLOTS[colour] for word in held.split()}
         for colour in ("red", "orange", "yellow", "green", "blue", "purple")}


def test_seeds_are_not_training_s_and_every_scene_is_its_own() -> None:
    seeds = [one.seed for one in PLAN]
    assert min(seeds) >= FIRST_SEED and len(set(seeds)) == len(PLAN) == 240
    assert plans.success(240, SPLITS) == PLAN  # the same every time
    assert plans.success(60, SPLITS) == PLAN[:60]  # a longer plan begins with the shorter one


def test_splits_and_kinds_are_even() -> None:
    for split in SPLITS:
        found = [one for one in PLAN if one.split == split]
        kinds = OBJECT_KINDS if split == "pairs" else KINDS
        assert len(found) == 60 and {one.meant.kind for one in found} == set(kinds)
        counts = [sum(one.meant.kind == kind for one in found) for kind in kinds]
        assert max(counts) - min(counts) <= 1


def test_a_target_is_there_alone_and_belongs_to_the_split() -> None:
    for one in PLAN:
        if one.meant.kind not in OBJECT_KINDS:
            continue
        found = [thing for thing in sample_scene(one.seed).objects
                 if thing.colour == one.meant.colour and one.meant.shape in (None, thing.shape)]
        assert len(found) == 1
        assert ((found[0].colour, found[0].shape) in UNSEEN_PAIRS) == (one.split == "pairs")
        assert WORDS[found[0].colour] & set(one.text.split())


def test_face_is_not_done_before_it_begins() -> None:
    faces = [one for one in PLAN if one.meant.kind == "face"]
    assert faces
    for one in faces:
        scene = sample_scene(one.seed)
        x, y, yaw = scene.robot
        target = next(thing for thing in scene.objects if thing.colour == one.meant.colour and one.meant.shape in (None, thing.shape))
        assert abs(math.remainder(math.atan2(target.y - y, target.x - x) - yaw, 2 * math.pi)) >= plans.MIN_APART_RAD


def test_a_swap_changes_the_colour_and_only_the_colour() -> None:
    found = plans.counterfactuals(PLAN, 40)
    swapped = [one for one in found if one.part == "swapped"]
    right = {one.number: one for one in PLAN}
    assert len(swapped) == 40 and {one.meant.kind for one in swapped} == set(OBJECT_KINDS)
    for one in swapped:
        first = right[one.group]
        assert one.meant == first.meant and one.seed == first.seed and one.seconds == first.seconds
        before, after = first.text.split(), one.text.split()
        differing = [(a, b) for a, b in zip(before, after) if a != b]
        assert len(before) == len(after) and len(differing) == 1
        old, new = differing[0]
        assert old in WORDS[str(one.meant.colour)] and new in WORDS and new != one.meant.colour


def test_a_swapped_colour_is_one_that_is_there_but_not_in_the_same_direction() -> None:
    there = 0
    for one in (one for one in plans.counterfactuals(PLAN, 60) if one.part == "swapped"):
        scene = sample_scene(one.seed)
        target = next(thing for thing in scene.objects if thing.colour == one.meant.colour and one.meant.shape in (None, thing.shape))
        new = next(word for word in one.text.split() if word in WORDS)
        named = [thing for thing in scene.objects if thing.colour == new]
        assert all(plans.apart(scene, thing, target) >= plans.MIN_APART_RAD for thing in named)
        there += any(thing.shape == target.shape for thing in named)
    assert there > 20


def test_blank_words_are_blank_and_judged_by_what_was_meant() -> None:
    blank = [one for one in plans.counterfactuals(PLAN, 20) if one.part == "blank"]
    assert len(blank) == 20 and all(one.text == "" and one.meant.colour for one in blank)


def test_paraphrases_say_the_same_in_other_words() -> None:
    found = plans.paraphrases(PLAN, 12)
    right = {one.number: one for one in PLAN}
    assert len(found) == 12 * plans.PARAPHRASES
    for group in {one.group for one in found}:
        texts = [one.text for one in found if one.group == group]
        assert len(set(texts)) == plans.PARAPHRASES and right[group].text not in texts
        assert {(one.meant, one.seed) for one in found if one.group == group} == {(right[group].meant, right[group].seed)}
    assert len({one.meant.kind for one in found}) == 12  # kinds in turn


def test_a_scenario_keeps_scenes_and_words_unless_it_is_about_the_number_of_objects() -> None:
    right = {one.number: one for one in PLAN}
    for one in plans.scenario(PLAN, "noise", None, 10):
        assert (one.seed, one.text, one.meant) == (right[one.group].seed, right[one.group].text, right[one.group].meant)
    crowded = plans.scenario(PLAN, "distractors", 9, 10)
    assert len(crowded) == 10
    for one in crowded:
        if one.meant.kind in OBJECT_KINDS:
            fits = [thing for thing in sample_scene(one.seed, 9).objects
                    if thing.colour == one.meant.colour and one.meant.shape in (None, thing.shape)]
            assert len(fits) == 1


@pytest.mark.parametrize("change, sentence", [
    ({"episodes": 0}, "episodes is 0; run at least 1"),
    ({"splits": ["knwon"]}, "unknown split 'knwon'; known are: known, recombined, unseen_words, pairs, amounts"),
    ({"kinds": ["fly"]}, "unknown kind 'fly'; known are: go_to"),
    ({"kinds": []}, "no kind is named"),
    ({"splits": ["pairs"], "kinds": ["stop"]}, "about objects, and none of stop names one"),
    ({"first_seed": 999_999}, "seed is 999999, and training uses the seeds below 1000000"),
])
def test_a_plan_that_cannot_be_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plans.success(**{"episodes": 4, "splits": SPLITS, "kinds": KINDS, "first_seed": FIRST_SEED, **change})


def test_words_without_a_colour_cannot_be_swapped() -> None:
    scene = sample_scene(FIRST_SEED)
    thing = scene.objects[0]
    episode = PlannedEpisode(0, "success", "known", FIRST_SEED, Intent("go_to", thing.colour, thing.shape), "go there", 30.0)
    with pytest.raises(ValueError, match="names its colour 0 times"):
        plans.swap_colour(episode)


def test_sentences_of_the_user_s_own_are_said_in_scenes_that_have_what_they_name() -> None:
    texts = ["face the red block", "turn left", "grab the green ball"]
    plan = plans.said(texts, 30, FIRST_SEED, plans.CART)
    assert [episode.text for episode in plan[:4]] == [*texts, texts[0]] and len(plan) == 30
    assert {episode.split for episode in plan} == {plans.SAID} and len({episode.seed for episode in plan}) == 30
    for episode in plan:
        things = [(thing.colour, thing.shape) for thing in sample_scene(episode.seed).objects]
        if episode.meant.kind == "face":
            assert ("red", "block") in things
        if episode.meant.kind == "grab":
            assert ("green", "ball") in things


def test_sentences_of_several_steps_are_said_where_all_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = IntentSequence(meaning_of("go_to:red block ; back"))
    monkeypatch.setattr(plans, "CART", plans.replace(plans.CART, parse=lambda text: (steps, True)))
    plan = plans.said(["to the red block and back"], 5, FIRST_SEED, plans.CART)
    assert all(can_be_done(steps.intents, sample_scene(episode.seed)) for episode in plan)
    assert {(episode.meant, episode.seconds) for episode in plan} == {(steps, 45.0)}


def test_sentences_that_only_the_reader_understands_stand_apart_and_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def read(self, text: str) -> tuple[Intent, ...]:
            return (Intent("go_to", "blue", "ball"),)

    monkeypatch.setattr(plans, "_reader", Wrong)
    plan = plans.said(["go to the red block", "knit me a jumper"], 2, FIRST_SEED, plans.CART)
    assert [(episode.split, episode.meant) for episode in plan] == [
        ("said", Intent("go_to", "red", "block")), ("said, as the reader read it", Intent("go_to", "blue", "ball"))]


def test_a_sentence_that_means_nothing_or_names_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="'fly'"):
        plans.said(["turn left", "fly"], 4, FIRST_SEED, plans.CART)
    nowhere = plans.replace(plans.CART, allows=lambda meant, seed: False)
    with pytest.raises(ValueError, match="none of 1000 scenes has what 'face the red block' names"):
        plans.said(["face the red block"], 1, FIRST_SEED, nowhere)


def test_the_arm_s_sentences_are_said_at_tables_where_they_can_be_done() -> None:
    arm = plans.robot_named("arm")
    plan = plans.said(["pick up the red block", "put the green block into the blue bowl"], 12, FIRST_SEED, arm)
    from vla_ros.sim.arm.scene import sample_table
    for episode in plan:
        things = {(thing.colour, thing.shape) for thing in sample_table(episode.seed).objects}
        wanted = {("red", "block")} if episode.meant.kind == "pick" else {("green", "block"), ("blue", "bowl")}
        assert wanted <= things and episode.robot == "arm"
    for words in ("push the red block", "go home, then push the red block"):
        with pytest.raises(ValueError, match="of the kind 'push', which is not evaluated"):
            plans.said([words], 1, FIRST_SEED, arm)


def test_an_arm_s_steps_are_said_where_all_of_them_can_be_done_and_have_the_time_of_all() -> None:
    arm = plans.robot_named("arm")
    words = "put the red block into the blue bowl, then reach for the green cup"
    episode, = plans.said([words], 1, FIRST_SEED, arm)
    from vla_ros.sim.arm.scene import sample_table
    things = {(thing.colour, thing.shape) for thing in sample_table(episode.seed).objects}
    assert {("red", "block"), ("blue", "bowl"), ("green", "cup")} <= things
    assert [step.kind for step in episode.meant.intents] == ["put_into", "reach"]
    one, = plans.said(["pick up the red block"], 1, FIRST_SEED, arm)
    assert episode.seconds == 2 * one.seconds and episode.split == plans.SAID_AS_READ
