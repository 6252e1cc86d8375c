"""What the operator's page shows, from what the suite says."""
from __future__ import annotations

import json
import math
import time

import pytest

from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import load_robot
from vla_ros.core.step_words import all_done, step_begins
from vla_ros.operator.console.actions import (
    ARM_NOT_BEFORE_S,
    ARM_WITHIN_S,
    ActionLog,
    Confirmation,
    Who,
    person,
)
from vla_ros.operator.console.gate_words import DONE_STILL_S, STILL_S, STOP_PRESSED
from vla_ros.operator.console.sentences import (
    ANSWER_WITHIN_S,
    MOST_CHARACTERS,
    MOST_SENTENCES,
    REPORTS_WITHIN_S,
    SentenceHistory,
)
from vla_ros.operator.console.state import (
    GATE_SILENT_S,
    NODE_SILENT_S,
    ConsoleState,
    HeardReport,
    HeardStatus,
)
from vla_ros.operator.console.stop_publisher import HELD_FOR_S, PERIOD_S, StopPublisher
from vla_ros.safety.rules import RULES

ANNE = "Anne (127.0.0.1)"


def report(**changes):
    told = HeardReport(2, 0, "", "", "policy", 7, 1, ("linear.x", "angular.z", "gripper"), (0.3, 0.1, 1.0), (0.2, 0.1, 1.0), 0.02)
    return told._replace(**changes)


# -- the gate --------------------------------------------------------------------------
@pytest.mark.parametrize("silent, alive", [(0.0, True), (GATE_SILENT_S, True), (GATE_SILENT_S + 0.01, False)])
def test_a_gate_that_is_silent_is_gone_and_nothing_of_it_is_shown(silent, alive):
    state = ConsoleState()
    state.on_report(report(), 100.0)
    gate = state.now(100.0 + silent)["gate"]
    assert gate["alive"] is alive
    assert ("state" in gate) is alive and ("channels" in gate) is alive


def test_a_gate_that_was_never_heard_is_gone():
    assert ConsoleState().now(1e6)["gate"] == {"alive": False, "silent_s": None}


@pytest.mark.parametrize("number, name, says", [
    (0, "DISARMED", "disarmed: the robot cannot move"), (1, "HOLDING", "holding: the image is old"),
    (2, "ACTIVE", "doing "), (3, "STOPPED", "stopped: the image is old. Next: ")])
def test_each_state_has_plain_words(number, name, says):
    state = ConsoleState()
    state.on_report(report(state=number, reason="the image is old"), 0.0)
    gate = state.now(0.0)["gate"]
    assert gate["state"] == name and gate["meaning"].startswith(says)


def test_a_state_of_another_release_is_shown_as_unknown():
    state = ConsoleState()
    state.on_report(report(state=9, verdict=9), 0.0)
    gate = state.now(0.0)["gate"]
    assert (gate["state"], gate["meaning"], gate["detail"]) == ("unknown (9)", "", "")


def test_it_says_that_a_person_drives():
    state = ConsoleState()
    state.on_report(report(control_source="teleop"), 0.0)
    assert state.now(0.0)["gate"]["activity"] == "a person drives"
    assert state.now(0.0)["gate"]["meaning"].startswith("a person drives the robot; the policy waits")
    state.on_report(report(control_source="teleop", state=1), 0.0)
    assert state.now(0.0)["gate"]["activity"] == "a person has the robot"
    assert state.now(0.0)["gate"]["meaning"].startswith("holding: a person has the robot")


@pytest.mark.parametrize("changes, detail", [
    ({"verdict": 1, "reason": "linear.x 0.9 m/s was limited to 0.5 m/s"}, "limited: linear.x 0.9 m/s was limited to 0.5 m/s"),
    ({"state": 1, "reason": "the image is old"}, ""), ({"state": 1, "control_source": "teleop", "reason": "the deadman was let go"}, "the deadman was let go"),
    ({"state": 0, "reason": "the gate is disarmed; arm it"}, "")], ids=["limited", "said", "in other words", "disarmed"])
def test_what_the_sentence_says_already_is_not_said_again(changes, detail):
    state = ConsoleState()
    state.on_report(report(**changes), 0.0)
    assert state.now(0.0)["gate"]["detail"] == detail


# -- what is being done now ------------------------------------------------------------
def told(text="go to the red ball"):
    """An armed robot that was told something, and acts on it."""
    state = ConsoleState()
    state.know_robot(load_robot(str(config_folder() / "robots" / "sim.yaml")))
    state.sentences.say(text, ANNE, 0.0, 1000.0)
    state.sentences.accept(7, text, 0.1, 1000.1)
    state.on_report(report(), 1.0)
    return state


STANDS = {"requested": (0.0, 0.0, 1.0), "emitted": (0.0, 0.0, 1.0)}


def meaning(state, now):
    return state.now(now)["gate"]["meaning"]


def outcome(state):
    return state.sentences.page()[0]["outcome"]


def test_it_says_what_is_being_done_and_which_step_it_is():
    state = told()
    assert meaning(state, 1.0) == "doing 'go to the red ball'" and state.now(1.0)["gate"]["activity"] == "the policy drives"
    state.on_feedback(step_begins(2, 3, "turn around"), 1001.0)
    assert meaning(state, 1.0) == "doing step 2 of 3: turn around"
    assert state.sentences.page()[0]["step"] == "step 2 of 3: turn around" and outcome(state) == "doing"


@pytest.mark.parametrize("count", [1, 3])
def test_it_stands_by_once_the_policy_says_that_all_is_done(count):
    state = told()
    state.on_feedback(all_done(count, "turn around"), 1001.0)
    assert outcome(state) == "done" and meaning(state, 1.0).startswith("doing "), "it moves still"
    state.on_report(report(**STANDS), 1.1)
    state.on_report(report(**STANDS), 1.2 + DONE_STILL_S)
    gate = state.now(1.2 + DONE_STILL_S)["gate"]
    assert gate["meaning"] == "standing by: the last instruction is done ('go to the red ball')"
    assert (gate["state"], gate["activity"]) == ("ACTIVE", "standing by")


@pytest.mark.parametrize("stands, after, says", [
    (STANDS, STILL_S, "doing"), (STANDS, STILL_S + 0.1, "standing by: the policy asks for no motion ('go to the red ball')"),
    ({"emitted": (0.0, 0.01, 1.0)}, STILL_S + 0.1, "doing"), ({"emitted": (0.0, 0.0, 0.5)}, STILL_S + 0.1, "doing"),
    ({"emitted": (0.0, 0.0, 0.995)}, STILL_S + 0.1, "standing by")], ids=["soon", "stands", "turns", "gripper", "noise"])
def test_of_a_policy_that_never_says_so_what_is_sent_tells_that_it_stands_by(stands, after, says):
    state = told()  # the last that moves, at 1.0
    state.on_report(report(**{**STANDS, **stands}), 1.0 + after)
    assert meaning(state, 1.0 + after).startswith(says)


def test_who_begins_by_looking_around_does_not_stand_by():
    state = told()
    state.on_report(report(state=1, **STANDS), 2.0)
    state.on_report(report(state=1, **STANDS), 60.0)
    state.on_report(report(**STANDS), 60.1)
    assert meaning(state, 60.1).startswith("doing")
    state.on_report(report(**STANDS), 70.0)
    assert meaning(state, 70.0).startswith("standing by")
    state.sentences.accept(8, "turn left", 70.0, 0.0)
    state.on_report(report(instruction_id=8, **STANDS), 70.1)
    assert meaning(state, 70.1) == "doing 'turn left'"


def test_why_it_holds_is_what_the_policy_said_and_not_what_follows_from_it():
    state = told("sing")
    state.on_feedback("not understood: 'sing' is not known", 1001.0)
    state.on_report(report(state=1, rule="chunk_end", reason="the action's last row was over 0.3 s ago"), 2.0)
    assert meaning(state, 2.0) == "holding: 'sing' was stopped: 'sing' is not known"
    state.on_report(report(state=1, rule="instruction_match", reason="no instruction"), 3.0)
    state.sentences.accept(8, "", 3.0, 0.0)
    assert meaning(state, 3.0) == "holding: there is no instruction; tell the robot what to do"


def test_what_was_said_before_the_arming_is_to_be_said_again_and_not_to_be_armed_for():
    state = ConsoleState()
    state.sentences.accept(7, "turn left", 0.0, 0.0)
    state.on_report(report(state=0), 1.0)
    assert state.sentences.page()[0]["remarks"] == ["the robot is not armed: press ARM twice, then say it again"]
    reason = "'turn left' was given before the arming; give the instruction again"
    state.on_report(report(state=1, rule="instruction_match", reason=reason), 2.0)
    assert meaning(state, 2.0) == f"holding: {reason}"


# -- the stop: what state it is in, and what comes next -------------------------------------
STOP = {"state": 3, "rule": "stop", "reason": STOP_PRESSED}


def after_stop(*pressed, **how):
    state = ConsoleState()
    state.on_report(report(**{**STOP, **how.pop("fields", {})}), 0.0)
    for each in pressed:
        state.on_stop(each)
    now = state.now(0.0, **how)
    return now["stop_pressed"], now["gate"]["meaning"]


@pytest.mark.parametrize("presses, how, offered, says", [
    ([True], {"stop_here": True}, True, "stopped: the stop is pressed at this page. Next: RESET, then ARM twice"),
    ([True], {}, True, "stopped: the stop is pressed, and not by this page. Next: let go of it"),
    ([], {}, True, "stopped: the stop is pressed, and not by this page. Next: let go of it"),
    ([True, False], {}, False, "stopped: the stop is let go, and the robot stays stopped. Next: RESET"),
    ([True, False], {"reset_refused": True}, True, "stopped: the stop is pressed, and not by this page"),
    ([], {"fields": {"reason": "the camera is gone"}}, False, "stopped: the camera is gone. Next: see to that; then RESET"),
    ([True], {"fields": {"reason": "the camera is gone"}}, False, "stopped: the camera is gone. Next: see to that, and let go of the stop; then"),
], ids=["here", "elsewhere", "console restarted", "let go", "the gate knows better", "another cause", "two causes"])
def test_of_the_stop_it_says_its_state_and_what_is_next(presses, how, offered, says):
    shown, sentence = after_stop(*presses, **how)
    assert shown is offered and sentence.startswith(says)


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_comes_with_the_words_of_the_pages_on_the_gate(rule):
    state = ConsoleState()
    state.on_report(report(rule=rule, reason="because"), 0.0)
    gate = state.now(0.0)["gate"]
    assert gate["reason"] == "because" and gate["holds_when"] and "`" not in gate["holds_when"]


def test_bars_have_the_robot_files_limits_and_units():
    state = ConsoleState()
    state.know_robot(load_robot(str(config_folder() / "robots" / "sim.yaml")))
    state.on_report(report(), 0.0)
    first, _, gripper = state.now(0.0)["gate"]["channels"]
    assert first == {"name": "linear.x", "unit": "m/s", "low": -0.5, "high": 0.5, "requested": 0.3, "emitted": 0.2}
    assert (gripper["low"], gripper["high"], gripper["unit"]) == (0.0, 1.0, ""), "a share has no unit"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_number_on_the_page_either(value):
    state = ConsoleState()
    state.on_report(report(requested=(value, 0.0, 0.0)), 0.0)
    text = json.dumps([state.now(0.0), state.plot(0.0)], allow_nan=False)
    assert '"requested": null' in text


def test_rows_shorter_than_the_channels_are_shown_as_far_as_they_go():
    state = ConsoleState()
    state.on_report(report(requested=(), emitted=(0.1,)), 0.0)
    channels = state.now(0.0)["gate"]["channels"]
    assert [(channel["requested"], channel["emitted"]) for channel in channels] == [(None, 0.1), (None, None), (None, None)]


def test_the_latency_is_an_actions_age_when_it_first_drives():
    state = ConsoleState()
    for sequence, age in ((1, 0.010), (1, 0.030), (2, 0.020), (2, 0.5)):
        state.on_report(report(sequence=sequence, age_s=age), 0.0)
    state.on_report(report(sequence=3, age_s=9.0, state=1), 0.0)  # HOLDING: it drives nothing
    stage = state.more(0.0)["latency"][-1]
    assert stage["stage"] == "camera to command" and stage["p50"] == 15.0


def test_the_plot_has_five_rows_a_second_of_the_last_minute_and_no_more():
    state = ConsoleState()
    for tick in range(50 * 90):  # the gate's fifty a second
        state.on_report(report(), tick / 50)
    plot = state.plot(90.0)
    assert plot["channels"] == ["linear.x", "angular.z", "gripper"]
    assert 270 <= len(plot["rows"]) <= 300
    assert max(age for age, _, _ in plot["rows"]) <= 60.0


# -- nodes, faults, what is bounded ----------------------------------------------------
def test_a_node_is_healthy_while_it_is_active_and_says_so():
    state = ConsoleState()
    state.on_heartbeat("inference", "active", 10.0)
    state.on_heartbeat("synchronizer", "inactive", 10.0)
    state.on_status("inference: state", HeardStatus(0, "active", {}), 10.0)
    healthy = {node["name"]: node["healthy"] for node in state.more(10.0 + NODE_SILENT_S)["nodes"]}
    assert healthy == {"inference": True, "synchronizer": False}
    (first, _) = state.more(10.0 + NODE_SILENT_S + 1.0)["nodes"]
    assert not first["healthy"] and first["state"] == "silent for 2 s"


def test_a_node_that_complains_is_not_healthy_and_its_sentence_is_shown():
    state = ConsoleState()
    state.on_heartbeat("camera_ingest", "active", 0.0)
    state.on_status("camera_ingest: state", HeardStatus(1, "the camera is black", {}), 0.0)
    (node,) = state.more(0.0)["nodes"]
    assert not node["healthy"] and node["message"] == "the camera is black"


def test_times_and_rates_are_those_of_diagnostics_while_they_are_fresh():
    state = ConsoleState()
    state.on_status("inference: state", HeardStatus(0, "", {"p50 (ms)": "4.2", "p95 (ms)": "6.0"}), 0.0)
    state.on_status("inference: action_chunk", HeardStatus(0, "", {"Actual frequency (Hz)": "29.8"}), 0.0)
    state.on_status("gate: command", HeardStatus(0, "", {"Actual frequency (Hz)": "what"}), 0.0)
    assert state.more(1.0)["latency"] == [{"stage": "inference", "p50": 4.2, "p95": 6.0}]
    assert state.more(1.0)["cadence"] == [{"node": "inference", "what": "action_chunk", "hertz": 29.8}]
    assert state.more(6.0)["latency"] == state.more(6.0)["cadence"] == []


def test_a_fault_that_is_reported_each_second_is_one_line_that_counts():
    state = ConsoleState()
    for second in range(5):
        state.on_fault("vision", "camera_ingest", f"no image for {second} s", float(second))
    state.on_fault("action", "inference", "it hangs", 9.0)
    newest, vision = state.more(0.0)["faults"]
    assert newest["text"] == "it hangs"
    assert (vision["count"], vision["text"], vision["when"]) == (5, "no image for 4 s", 4.0)


@pytest.mark.parametrize("halted, reason, shown", [(True, "it hangs", True), (True, "", True), (False, "left over", True), (False, "", False)])
def test_a_halt_is_shown_as_long_as_it_lasts(halted, reason, shown):
    state = ConsoleState()
    state.on_halt(halted, reason)
    assert bool(state.more(0.0)["halt"]) is shown


@pytest.mark.parametrize("name", ["recorder: state", "recorder", "/vla/recorder"])
def test_the_recorder_is_shown_where_it_is(name):
    state = ConsoleState()
    assert state.more(0.0)["recorder"] is None
    state.on_status(name, HeardStatus(0, "", {"recording": "yes", "episode": "3"}), 0.0)
    assert state.more(0.0)["recorder"] == {"recording": "yes", "episode": "3"}
    assert state.more(10.0)["recorder"] is None


def test_nothing_grows_without_bound():
    state = ConsoleState()
    for number in range(3000):
        state.on_heartbeat(f"node_{number}", "active", 0.0)
        state.on_status(f"node_{number}: state", HeardStatus(0, "", {}), 0.0)
        state.on_fault("vision", f"node_{number}", "x" * 10_000, 0.0)
        state.on_feedback("y" * 10_000, 0.0)
        state.sentences.say("z" * MOST_CHARACTERS, ANNE, 0.0, 0.0)
    assert len(json.dumps(state.more(0.0))) < 100_000


# -- words -------------------------------------------------------------------------------
def said(*texts):
    history = SentenceHistory()
    for text in texts:
        history.say(text, ANNE, 0.0, 1000.0)
    return history


def outcomes(history):
    return [sentence["outcome"] for sentence in history.page()]


def test_words_that_were_accepted_say_so_until_a_word_stops_them():
    history = said("Go  to the red ball")
    history.accept(4, "Go to the red ball", 0.1, 1000.1)
    history.remark("accepted: Go to the red ball")
    (sentence,) = history.page()
    assert (sentence["outcome"], sentence["who"], sentence["remarks"]) == ("accepted", ANNE, [])
    history.say("stop", ANNE, 1.0, 1001.0)
    history.accept(5, "", 1.1, 1001.1)
    assert outcomes(history) == ["done", "stopped"]
    assert history.instruction == ""


def test_other_words_replace_what_is_not_done_and_nothing_of_what_is():
    history = said("turn left")
    history.accept(1, "turn left", 0.0, 0.0)
    history.accept(2, "turn right", 1.0, 0.0)
    history.follow(2)
    history.remark(all_done(1, "turn right"))
    history.accept(3, "go back", 2.0, 0.0)
    assert outcomes(history) == ["accepted", "done", "replaced"]


def test_the_last_word_about_the_instruction_before_is_not_taken_for_this_one():
    history = said("turn left")
    history.accept(1, "turn left", 0.0, 0.0)
    history.follow(1)
    history.accept(2, "turn right", 1.0, 0.0)
    history.remark(all_done(1, "turn left"))
    assert outcomes(history) == ["accepted", "replaced"]


def test_words_that_the_policy_refuses_have_one_outcome_and_it_is_that():
    history = said("sing")
    history.accept(1, "sing", 0.1, 0.0)
    history.remark("not understood: 'sing' is not known")
    (sentence,) = history.page()
    assert (sentence["outcome"], sentence["remarks"]) == ("refused", ["'sing' is not known"])
    history.follow(1)  # a report of before
    assert outcomes(history) == ["refused"]


def test_what_the_policy_gives_up_halfway_was_stopped_and_says_why():
    history = said("go to the red ball")
    history.accept(1, "go to the red ball", 0.1, 0.0)
    history.follow(1)
    assert outcomes(history) == ["doing"]
    history.remark(step_begins(1, 2, "go to the red ball"))
    history.remark("not understood: step 1 of 2: it is not there")
    (sentence,) = history.page()
    assert (sentence["outcome"], sentence["step"], sentence["remarks"]) == ("stopped", "", ["step 1 of 2: it is not there"])


@pytest.mark.parametrize("begun, state, reason, said_then", [
    (True, 3, STOP_PRESSED, ("stopped", STOP_PRESSED)), (True, 0, "", ("stopped", "the robot was disarmed")),
    (False, 0, "", ("refused", "the robot is not armed: press ARM twice, then say it again")),
    (False, 3, STOP_PRESSED, ("refused", "the robot is stopped: RESET, then ARM twice, then say what it is to do"))])
def test_what_the_gate_lets_move_nothing_any_more_is_over(begun, state, reason, said_then):
    console = ConsoleState()
    console.sentences.accept(7, "turn left", 10.0, 0.0)
    if begun:
        console.on_report(report(), 10.0)
    console.on_report(report(state=state, reason=reason), 10.0 + REPORTS_WITHIN_S - 0.01)
    assert outcome(console) == ("doing" if begun else "accepted"), "a report of before may come late"
    console.on_report(report(state=state, reason=reason), 10.0 + REPORTS_WITHIN_S)
    (sentence,) = console.sentences.page()
    assert (sentence["outcome"], sentence["remarks"][0]) == said_then


def test_words_that_have_to_be_given_again_are_over():
    console = told()
    reason = "node inference was lost; give the instruction again"
    console.on_report(report(state=1, rule="instruction_match", reason=reason), 5.0)
    (sentence,) = console.sentences.page()
    assert (sentence["outcome"], sentence["remarks"]) == ("stopped", [reason])


def test_a_hold_that_passes_by_itself_is_not_the_end_of_what_is_done():
    console = told()
    console.on_feedback("inference: the model never saw this", 1001.0)
    console.on_report(report(state=1, rule="obstacle", reason="the way is not free"), 5.0)
    assert outcome(console) == "doing" and meaning(console, 5.0) == "holding: the way is not free"


def test_words_that_were_refused_come_with_the_reason():
    history = said("x" * 300)
    history.remark("not accepted: the instruction has 300 characters; at most 200 are accepted")
    (sentence,) = history.page()
    assert sentence["outcome"] == "refused"
    assert sentence["remarks"] == ["the instruction has 300 characters; at most 200 are accepted"]


def test_what_the_policy_remarks_later_belongs_to_the_newest_words():
    history = said("sing")
    history.accept(1, "sing", 0.1, 0.0)
    for _ in range(3):
        history.remark("inference: 'sing' is not known")
    assert history.page()[0]["remarks"] == ["inference: 'sing' is not known"]


@pytest.mark.parametrize("after, outcome", [(ANSWER_WITHIN_S, "sent"), (ANSWER_WITHIN_S + 0.1, "unanswered")])
def test_words_that_nobody_answers_say_so(after, outcome):
    history = said("go")
    history.look(after)
    assert history.page()[0]["outcome"] == outcome


def test_words_that_came_from_elsewhere_are_shown_and_the_latched_ones_once():
    history = SentenceHistory()
    for _ in range(2):
        history.accept(3, "go home", 0.0, 1000.0)
    (sentence,) = history.page()
    assert sentence["who"] == "another program" and sentence["outcome"] == "accepted"


@pytest.mark.parametrize("text", ["", "  ", "x" * (MOST_CHARACTERS + 1)])
def test_words_that_are_none_or_too_many_are_refused(text):
    with pytest.raises(ValueError, match="words|characters"):
        said(text)


def test_as_many_words_are_kept_as_a_page_can_show():
    history = said(*(f"go {number}" for number in range(100)))
    assert len(history.page()) == MOST_SENTENCES and history.page()[0]["text"] == "go 99"


# -- who did what, and arming ------------------------------------------------------------
@pytest.mark.parametrize("name, shown", [("Anne", ANNE), ("  An\nne\x00 ", ANNE), (None, "somebody (127.0.0.1)"), (7, "somebody (127.0.0.1)")])
def test_a_name_is_one_line_whatever_was_typed(name, shown):
    assert str(person(name, "127.0.0.1")) == shown


def test_a_long_name_is_cut():
    assert len(person("n" * 10_000_000, "::1").name) == 40


def test_every_action_is_logged_and_shown_with_who_and_when():
    log = ActionLog()
    log.add(5.0, Who("Anne", "10.0.0.7"), "ARM", True, "armed")
    assert log.take_lines() == ["ARM by Anne (10.0.0.7): armed"] and log.take_lines() == []
    assert log.page() == [{"when": 5.0, "who": "Anne (10.0.0.7)", "what": "ARM", "done": True, "answer": "armed"}]


@pytest.mark.parametrize("after, counts", [(0.0, False), (ARM_NOT_BEFORE_S - 0.01, False), (ARM_NOT_BEFORE_S, True), (ARM_WITHIN_S, True), (ARM_WITHIN_S + 0.01, False)])
def test_only_a_second_press_in_time_arms(after, counts):
    arming = Confirmation("arming")
    key = arming.first(0.0)
    assert (arming.second(key, after) == "") is counts


def test_a_key_arms_once_and_a_made_up_one_never():
    arming = Confirmation("arming")
    key = arming.first(0.0)
    assert "two presses" in arming.second("made up", 1.0)
    assert arming.second(key, 1.0) == ""
    assert "two presses" in arming.second(key, 1.0)


# -- the stop ------------------------------------------------------------------------------
@pytest.fixture
def published():
    sent = []
    stop = StopPublisher(lambda pressed: sent.append((time.monotonic(), pressed)))
    yield stop, sent
    stop.end()


def test_a_press_is_published_at_once_and_repeated_for_as_long_as_it_is_held(published):
    stop, sent = published
    began = time.monotonic()
    stop.press()
    time.sleep(HELD_FOR_S + 2 * PERIOD_S)
    assert sent[0][0] - began < 0.1 and stop.pressed
    assert 2 <= len(sent) <= HELD_FOR_S / PERIOD_S + 2
    assert all(pressed for _, pressed in sent)
    count = len(sent)
    time.sleep(2 * PERIOD_S)
    assert len(sent) == count, "another's release must not be undone for ever"


def test_letting_go_is_published_once_and_ends_the_repeats(published):
    stop, sent = published
    stop.press()
    time.sleep(0.05)
    stop.release()
    time.sleep(3 * PERIOD_S)
    assert [pressed for _, pressed in sent] == [True, False] and not stop.pressed


def test_a_stop_that_was_not_pressed_publishes_nothing(published):
    _, sent = published
    time.sleep(2 * PERIOD_S)
    assert sent == []


def test_a_stop_that_could_not_be_sent_is_sent_again_while_it_is_held():
    sent = []

    def publish(pressed):
        sent.append(pressed)
        if len(sent) == 1:
            raise RuntimeError("no memory")

    stop = StopPublisher(publish)
    stop.press()
    time.sleep(3 * PERIOD_S)
    stop.end()
    assert len(sent) >= 2 and stop.problem == "", "the second one was sent"


def test_who_presses_hears_whether_it_was_published():
    problems = ["", "no memory"]

    def publish(pressed):
        if problems[-1]:
            raise RuntimeError(problems[-1])

    stop = StopPublisher(publish)
    refused = stop.press()
    time.sleep(0.05)
    assert stop.outcome(refused) == "no memory" and stop.outcome(refused + 1) is None
    problems.append("")
    sent = stop.press()
    time.sleep(0.05)
    assert stop.outcome(sent) == ""
    stop.release()
    stop.end()
    assert stop.outcome(stop.press()) == "the console is ending" and not stop.pressed
