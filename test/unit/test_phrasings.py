"""Lists of phrasings: how they are read, planned, scored and written down."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("scipy", reason="the intervals are scipy's")

from vla_ros.cli import evaluate
from vla_ros.cli import main as command_line
from vla_ros.core.instructions import HALTING_THRESHOLD, NotUnderstood
from vla_ros.evaluation import plan as plans
from vla_ros.evaluation import report, words
from vla_ros.evaluation.phrasings import MAX_FILE_BYTES, Phrasing, plan_phrasings, read_phrasings
from vla_ros.evaluation.plan import FIRST_SEED, PlannedEpisode
from vla_ros.evaluation.runner import PolicyChoice, Record, refused_rightly
from vla_ros.sim.episode import Outcome
from vla_ros.sim.scene import sample_scene
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.sequence import meant_by
from vla_ros.tasks.success import Judgement
from vla_ros.tasks.world_state import ObjectState, WorldState

LIST = """\
# how people say it
go to the red block\tgo_to:red block

kindly roll over to the red cube\tgo_to:red block
spin left 45 degrees, then back up\tturn_left:45deg ; back
knit me a jumper\trefuse
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def phrasing(text: str, notation: str, line: int = 1) -> Phrasing:
    return Phrasing(line, text, notation, meant_by(meaning_of(notation)))


# -- reading the file ------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_is_sentences_with_what_is_meant(tmp_path: Path, end: str) -> None:
    found = read_phrasings(write(tmp_path, LIST.replace("\n", end)))
    assert [one.line for one in found] == [2, 4, 5, 6]
    assert found[0] == phrasing("go to the red block", "go_to:red block", 2)
    assert found[3].meant.kind == "refuse"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert read_phrasings(write(tmp_path, b"\xef\xbb\xbfopen\topen\n"))[0].text == "open"


@pytest.mark.parametrize("content, sentence", [
    (b"", "holds no sentence; write one a line: sentence, tab, meaning"),
    (b"# only a remark\n\n", "holds no sentence"),
    (b"x" * (1 << 20), f"has 1048576 bytes; a list has at most {MAX_FILE_BYTES}; split it"),
    (b"open\topen\ncaf\xe9\trefuse\n", "is not UTF-8 in line 2; save it as UTF-8"),
    (b"open\topen\ngo to the red block\n", r"line 2 \('go to the red block'\): it is not: sentence, tab, meaning"),
    (b"open\topen\nfly\tfly\n", r"line 2 \('fly.tfly'\): 'fly' begins with 'fly'; it is one of go_to"),
    (b"\topen\n", "line 1"), (b"open\t\n", "line 1"),
    (b"y" * 201 + b"\topen\n", "its sentence has 201 characters; at most 200"),
    (b"a\tfly\n" * 8, "; and 3 more"),
])
def test_what_is_no_list_gets_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        read_phrasings(write(tmp_path, content))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000


def test_a_file_that_is_not_there_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none.tsv: No such file"):
        read_phrasings(tmp_path / "none.tsv")
    with pytest.raises(ValueError, match="cannot read .*: Is a directory"):
        read_phrasings(tmp_path)


@pytest.mark.parametrize("sentence, notation, read, right", [
    ("back off a little", "back", "back:0.2m", True), ("back off a little", "back", "back", True),
    ("back off a little", "back", "back:0.7m", False), ("back off a little", "back", "forward:0.2m", False),
    ("back off", "back", "back:0.2m", False), ("Slightly left", "turn_left", "turn_left:20deg", True),
    ("turn left and go on a bit", "turn_left ; forward", "turn_left ; forward:0.2m", True),
    ("a tad to the left, 40 degrees", "turn_left:40deg", "turn_left:20deg", False),
    ("a little push for the red ball", "push:red ball", "push:red ball", True),
])
def test_a_bit_is_any_amount_up_to_the_usual_one(tmp_path: Path, sentence: str, notation: str, read: str, right: bool) -> None:
    found, = read_phrasings(write(tmp_path, f"{sentence}\t{notation}\n"))
    assert words.same_meaning(found.meant, meant_by(meaning_of(read))) is right


# -- planning --------------------------------------------------------------------------


def test_each_sentence_is_run_in_scenes_of_its_own_that_hold_what_it_is_about() -> None:
    mine = [phrasing("to the red block", "go_to:red block"), phrasing("hello", "refuse"), phrasing("go", "forward:0.5m")]
    plan, without = plan_phrasings(mine, 3, FIRST_SEED)
    assert not without and [episode.group for episode in plan] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for group in range(3):
        assert len({episode.seed for episode in plan if episode.group == group}) == 3
    for episode in plan[:3]:
        assert "red block" in [thing.name for thing in sample_scene(episode.seed).objects]


def test_a_sentence_without_a_scene_is_told_and_the_others_are_run() -> None:
    mine = [phrasing("drive on and on", "forward:3m"), phrasing("open up", "open")]
    plan, without = plan_phrasings(mine, 1, FIRST_SEED)
    assert [episode.text for episode in plan] == ["open up"] and without == [mine[0]]


# -- meanings --------------------------------------------------------------------------


@pytest.mark.parametrize("first, second, same", [
    ("turn_left:45deg", "turn_left:49deg", True), ("turn_left:45deg", "turn_left:51deg", False), ("turn_left", "turn_right", False),
    ("forward:0.5m", "forward:0.54m", True), ("forward:0.5m", "forward:0.56m", False),
    ("turn_around", "turn_right:180deg", True), ("turn_left:180deg", "turn_right:180deg", True),
    ("open ; close", "open ; close", True), ("open ; close", "close ; open", False), ("open", "open ; close", False),
    ("go_to:ball left_of red block", "go_to:ball left_of blue block", False), ("go_to:block not red", "go_to:block not red", True),
    ("go_to:block not red", "go_to:block", False), ("refuse", "refuse", True), ("refuse", "stop", False),
])
def test_two_meanings_are_the_same_or_not(first: str, second: str, same: bool) -> None:
    assert words.same_meaning(meant_by(meaning_of(first)), meant_by(meaning_of(second))) is same


@pytest.mark.parametrize("notation, sort", [
    ("turn_left", "turn_left"), ("turn_left:45deg", "amounts"), ("go_to:red ball", "go_to"), ("go_to:nearest ball", "relations"),
    ("go_to:ball not red", "relations"), ("open ; close", "sequence"), ("refuse", "refuse"),
])
def test_sorts_of_sentences(notation: str, sort: str) -> None:
    assert words.sort_of(meant_by(meaning_of(notation))) == sort


# -- reading ---------------------------------------------------------------------------


class ByHand:
    """Reads what it is told to: text -> notation; what it is not told, it refuses."""

    def __init__(self, known: dict[str, str], halting: dict[str, float] | None = None) -> None:
        self.known = known
        self.sure = halting or {}

    def read(self, text: str) -> tuple[Intent, ...]:
        if text not in self.known:
            raise NotUnderstood(f"the words {text!r} are not understood")
        return meaning_of(self.known[text])

    def halting(self, text: str) -> float:
        return self.sure.get(text, 0.0)

    def forget(self) -> None:
        """Nothing is remembered."""


MINE = [phrasing("a", "go_to:red block"), phrasing("b", "go_to:red block"), phrasing("c", "turn_left"), phrasing("d", "refuse"),
        phrasing("e", "refuse"), phrasing("please halt", "stop"), phrasing("whoa", "stop"), phrasing("hey", "stop")]
READER = ByHand({"a": "go_to:red block", "b": "go_to:blue ball", "e": "turn_right", "please halt": "stop", "whoa": "stop", "hey": "stop"},
                {"whoa": HALTING_THRESHOLD, "hey": HALTING_THRESHOLD - 0.01, "c": 0.9})


def test_a_reader_is_scored_by_what_it_read() -> None:
    found = words.score(READER, MINE)
    rates = {name: (rate["successes"], rate["trials"]) for name, rate in found["all"].items()}
    assert rates == {"right": (5, 8), "refused": (1, 8), "wrongly": (2, 8)}
    assert found["by_kind"]["go_to"]["right"]["rate"] == 0.5 and found["by_kind"]["turn_left"]["refused"]["rate"] == 1.0
    assert found["by_kind"]["refuse"]["right"]["rate"] == 0.5 and found["by_kind"]["refuse"]["refused"]["rate"] == 0.0
    assert list(found["by_kind"]) == ["go_to", "turn_left", "stop", "refuse"]
    assert [entry["text"] for entry in found["misread"]] == ["b", "c", "e"]
    assert found["misread"][0]["read"] == "go to the blue ball" and found["misread"][1]["read"] is None
    json.dumps(found, allow_nan=False)


def test_halting_counts_the_list_and_the_reader_and_what_stops_wrongly() -> None:
    found = words.score(READER, MINE)["halting"]
    assert (found["stopped"]["successes"], found["stopped"]["trials"]) == (2, 3)
    assert found["by_list"]["successes"] == 1 and (found["wrongly"]["successes"], found["wrongly"]["trials"]) == (1, 5)
    # whether "go there, then stop" stops is neither right nor wrong: it holds a stop word
    assert words.score(READER, [*MINE, phrasing("go there and stop", "go_to:red block ; stop")])["halting"] == found
    loose = words.score(READER, MINE, threshold=0.1)["halting"]
    assert loose["stopped"]["successes"] == 3


def test_confusions_are_of_kinds_and_of_things() -> None:
    found = words.score(READER, MINE)["confusion"]
    kinds = found["kinds"]
    at = kinds["names"].index
    assert kinds["counts"][at("turn_left")][at("refuse")] == 1 and kinds["counts"][at("refuse")][at("turn_right")] == 1
    assert sum(map(sum, kinds["counts"])) == len(MINE)
    colours = found["colours"]
    red, blue = colours["names"].index("red"), colours["names"].index("blue")
    assert colours["counts"][red][red] == colours["counts"][red][blue] == 1
    assert sum(map(sum, found["shapes"]["counts"])) == 2


# -- what was done ---------------------------------------------------------------------

RED = ObjectState("red block", "red", "block", 1.0, 0.0, 0.03, 0.2, 0.06, 0.06)
STATE = WorldState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.10, (RED,))


def record(notation: str, done: bool = False, split: str = "phrasings", **more: Any) -> Record:
    meant = meant_by(meaning_of(notation))
    text = more.pop("text", "as it was said")
    group = more.pop("group", 0)
    fields: dict[str, Any] = {"distance": 0.0, "seconds": 4.4, "sentence": "as it was", "reached": [], "refused": False, "gave_up": False,
                              "chunks": (1, 1, 1), "predict": [], "path": [], "start": STATE, "end": STATE, "policy": "hand@1"}
    return Record(PlannedEpisode(0, "success", split, FIRST_SEED, meant, text, 30.0, group=group), done, **{**fields, **more})


@pytest.mark.parametrize("notation, done, more, outcome", [
    ("go_to:red block", True, {}, "right"), ("go_to:red block", False, {"refused": True}, "refused"),
    ("go_to:red block", False, {"gave_up": True}, "refused"), ("go_to:red block", False, {}, "wrongly"),
    # what was done before the sentence came is no refusal
    ("grab:red block", False, {"gave_up": True, "reached": ["green ball"]}, "wrongly"),
    ("go_to:red block", False, {"refused": True, "reached": ["green ball"]}, "wrongly"),
    ("face:red block", False, {"gave_up": True, "reached": ["green ball"]}, "refused"),  # it looked around, and stands so
    ("turn_left ; grab:red block", False, {"gave_up": True, "end": replace(STATE, held="green ball")}, "wrongly"),
    ("grab:red block", False, {"gave_up": True, "path": [(0.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.09, 0.0, 6.2)]}, "refused"),
    ("grab:red block", False, {"gave_up": True, "path": [(0.0, 0.0, 0.0), (0.06, -0.07, 0.0), (0.09, 0.0, 0.0)]}, "refused"),
    ("grab:red block", False, {"gave_up": True, "path": [(0.0, 0.0, 0.0), (0.0, 0.11, 0.0), (0.0, 0.0, 0.0)]}, "wrongly"),
    ("refuse", True, {"refused": True}, "right"), ("refuse", False, {}, "wrongly"), ("refuse", False, {"gave_up": True}, "wrongly"),
])
def test_done_refused_and_done_wrongly_are_told_apart(notation: str, done: bool, more: dict, outcome: str) -> None:
    assert words.outcome_of(record(notation, done, **more)) == outcome


@pytest.mark.parametrize("way, end, rightly", [
    ([], STATE, True), ([replace(STATE, yaw=yaw) for yaw in (1.0, 3.0, -2.0)], STATE, False),  # a full circle
    ([replace(STATE, x=0.2)], STATE, False), ([], replace(STATE, x=0.02, linear=0.3), False),  # it only begins to move
])
def test_a_refusal_is_right_where_nothing_was_done_on_the_way_to_it(way: list[WorldState], end: WorldState, rightly: bool) -> None:
    verdict = Judgement(False, 0.0, "the policy gave up: the words 'x' are not understood")
    outcome = Outcome("x", FIRST_SEED, verdict, 4.0, (0.01,), (STATE, *way))
    assert refused_rightly(record("refuse").episode, outcome, STATE, end) is rightly
    assert not refused_rightly(record("turn_left").episode, outcome, STATE, end)


def test_outcomes_by_split_by_kind_and_by_sort_of_refusal() -> None:
    found = words.driven([
        record("turn_left:45deg", True), record("go_to:red block", False, refused=True), record("go_to:red block", True, "known"),
        record("refuse", True, "refusals", text="good morning robot"), record("refuse", False, "refusals", text="fly over the red block")])
    assert list(found["by_split"]) == ["known", "refusals", "phrasings"]
    assert found["by_split"]["phrasings"]["right"]["rate"] == 0.5 and found["by_split"]["refusals"]["wrongly"]["rate"] == 0.5
    assert list(found["phrasings_by_kind"]) == ["go_to", "amounts"]
    assert found["refusals_by_sort"]["small talk"]["right"]["rate"] == 1.0 and found["refusals_by_sort"]["impossible"]["right"]["rate"] == 0.0
    lines = list(report.words_lines(found))
    assert any(line.startswith("  phrasings        0.500 right (0.09 to 0.91, n = 2), 0.500 refused, 0.000 neither") for line in lines)


def test_an_amount_counts_where_it_was_met_and_the_instruction_done() -> None:
    exactly = WorldState(0.0, 0.0, 0.0, 0.785, 0.0, 0.0, 0.10, (RED,))
    found = words.driven([record("turn_left:45deg", True, "amounts", end=exactly), record("turn_left:45deg", True, "amounts"),
                          record("turn_left:45deg", False, "amounts", end=exactly, refused=True)])
    assert (found["amounts_exact"]["successes"], found["amounts_exact"]["trials"]) == (1, 3)


def test_what_it_was_done_with_is_confused_by_colour_and_by_shape() -> None:
    found = words.driven([record("push:red block", True, reached=["blue ball", "red block"]), record("push:red block", reached=["blue ball"]),
                          record("push:red block"), record("push:nearest block", reached=["red block"])])["confusion"]
    red, blue = found["colours"]["names"].index("red"), found["colours"]["names"].index("blue")
    assert found["colours"]["counts"][red][red] == 1 and found["colours"]["counts"][red][blue] == 1
    assert sum(map(sum, found["shapes"]["counts"])) == 2


def test_a_table_says_of_each_sentence_what_came_of_it() -> None:
    mine = [phrasing("to the | red block", "go_to:red block"), phrasing("hello", "refuse"), phrasing("grab it", "grab:red ball"),
            phrasing("drive on", "forward:3m"), phrasing("turn left", "turn_left")]
    gave_up = "the policy gave up: the words 'x' are not understood"
    text = words.table(mine, [
        record("go_to:red block", True, group=0), record("go_to:red block", False, group=0, sentence="the red block is 0.80 m away"),
        record("refuse", True, group=1, refused=True, sentence=gave_up),
        record("grab:red ball", False, group=2, refused=True, sentence=gave_up), record("turn_left", True, group=4)])
    assert text.splitlines() == [
        "| said | meant | what came of it |", "|---|---|---|",
        "| to the \\| red block | go to the red block | **not done** (1 of 2): the red block is 0.80 m away |",
        "| hello | nothing that the robot may do | refused: the words 'x' are not understood |",
        "| grab it | grab the red ball | **refused**: the words 'x' are not understood |",
        "| drive on | forward 3 m | not tried: no scene is for it |",
        "| turn left | turn left 90 degrees | done in 4 s |"]


# -- the command -----------------------------------------------------------------------


def test_read_only_reads_a_list_and_drives_nothing(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert command_line.main(["evaluate", "--phrasings", str(write(tmp_path, LIST)), "--read-only", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "as read, without driving:" in said and f"reading: {out / 'reading.json'}" in said
    assert json.loads((out / "reading.json").read_text())["by_kind"]["refuse"]["right"]["rate"] == 1.0


def test_read_only_without_a_list_reads_the_plan_s_sentences(tmp_path: Path, capsys: Any) -> None:
    assert command_line.main(["evaluate", "--read-only", "--splits", "refusals", "known", "--episodes", "40", "--parts", "success", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "reading.json").read_text())
    # two of twenty refusals are about what is in sight, which no reading tells
    assert numbers["by_kind"]["refuse"]["right"]["trials"] == 18 and 30 < numbers["all"]["right"]["trials"] <= 38


def test_a_list_for_the_arm_is_read_by_the_arm_s_reader(tmp_path: Path, capsys: Any) -> None:
    text = "pick up the red block\tpick:red block\npick up the red block\tpick:blue block\npaint the fence\trefuse\ndon't move\tstop\n"
    given = ["evaluate", "--robot", "arm", "--read-only", "--phrasings", str(write(tmp_path, text)), "--out", str(tmp_path)]
    assert command_line.main(given) == 0
    numbers = json.loads((tmp_path / "reading.json").read_text())
    assert [numbers["all"][name]["successes"] for name in words.OUTCOMES] == [3, 0, 1]
    assert numbers["misread"][0]["meant"] == "pick up the blue block" and numbers["misread"][0]["read"] == "pick up the red block"
    assert numbers["halting"]["stopped"]["successes"] == 1 and "cup" in numbers["confusion"]["shapes"]["names"]


def test_a_list_for_the_arm_is_driven_at_tables_that_have_what_it_is_about(tmp_path: Path) -> None:
    text = ("pick up the red block\tpick:red block\npick up the red block, then go home\tpick:red block ; home\n"
            "go home, then push the red block\thome ; push:red block\npush it\tpush:red block\npaint the fence\trefuse\n")
    phrasings = read_phrasings(write(tmp_path, text), "arm")
    plan, without = plan_phrasings(phrasings, 2, FIRST_SEED, "arm")
    assert [(episode.text, episode.robot) for episode in plan] == [
        ("pick up the red block", "arm")] * 2 + [("pick up the red block, then go home", "arm")] * 2 + [("paint the fence", "arm")] * 2
    assert plan[2].seconds > plan[0].seconds
    assert all(plans.robot_named("arm").allows(episode.meant, episode.seed) for episode in plan)
    assert [one.text for one in without] == ["go home, then push the red block", "push it"]


def test_a_reader_is_not_compared_with_itself() -> None:
    builtin = PolicyChoice("builtin")
    plan = plans.said(["turn left"], 1, FIRST_SEED, plans.CART)
    said = SimpleNamespace(robot="cart", say=["turn left"], phrasings=None)
    drawn = SimpleNamespace(robot="cart", say=None, phrasings=None)
    assert evaluate.read_words(said, plan, builtin) is None  # type: ignore[arg-type]
    assert evaluate.read_words(drawn, plan, builtin)["all"]["right"]["trials"] == 1  # type: ignore[arg-type,index]


@pytest.mark.parametrize("given, sentence", [
    (["--phrasings", "LIST", "--splits", "known"], "phrasings stands beside splits"),
    (["--phrasings", "LIST", "--say", "turn left"], "stands beside"),
    (["--phrasings", "LIST", "--episodes", "0"], "episodes is 0; run each sentence in at least 1 scene"),
    (["--phrasings", "LIST", "--read-only", "--robot", "arm"], "'go_to'; it is one of reach, pick"),
    (["--phrasings", "LIST", "--read-only", "--nodes"], "read-only drives nothing, so there is nothing for --nodes"),
    (["--phrasings", "LIST", "--read-only", "--table", "x.md"], "there is nothing for --table"),
    (["--say", "turn left", "--read-only"], "which nobody said of --say"),
    (["--table", "x.md", "--episodes", "1"], "give it with --phrasings"),
    (["--phrasings", "LIST", "--table", "none.md"], "table: cannot read none.md"),
    (["--phrasings", "LIST", "--table", "LIST"], "has no '<!-- phrasings -->' with '<!-- end of phrasings -->' below"),
])
def test_options_that_do_not_fit_get_a_sentence(tmp_path: Path, capsys: Any, given: list[str], sentence: str) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("jinja2")
    path = str(write(tmp_path, LIST))
    arguments = [path if word == "LIST" else word for word in given]
    assert command_line.main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
