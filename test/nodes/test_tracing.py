"""`vla trace`: one observation's way, from what a suite publishes."""
from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from std_msgs.msg import Header

from vla_ros.cli.trace import table
from vla_ros.core.types import ActionChunk
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.passed import Passed
from vla_ros.operator.trace_view import draw, durations
from vla_ros.operator.tracing import (
    MAX_CAMERA_NS,
    STAGES,
    ObservationWay,
    Trace,
    chrome_events,
)
from vla_ros_msgs.msg import SafetyReport

MS = 1_000_000
STAMP = 1_700_000_000_123_456_789
CHUNK = ActionChunk(STAMP, 7, ("linear.x",), np.zeros((1, 1), np.float32), 100 * MS, sequence=3, latency=4 * MS)


def passed(what):
    return Header(stamp=convert.time_message(STAMP), frame_id=what)


def heard(verdict=SafetyReport.PASSED, command=STAMP + 21 * MS):
    """A trace of one observation: 10 ms camera, 2 synchronizer, 1 hop, 4 policy, 4 gate."""
    trace = Trace()
    trace.on_passed(passed("frame"), STAMP + 10 * MS)
    trace.on_passed(passed("observation"), STAMP + 12 * MS)
    trace.on_chunk(convert.chunk_message(CHUNK), STAMP + 17 * MS)
    if command:
        trace.on_command(command)
    trace.on_report(SafetyReport(sequence=3, verdict=verdict), STAMP + 22 * MS)
    return trace


def test_an_observations_way_is_cut_into_stages():
    way, = heard().complete()
    assert [(end - begin) // MS for begin, end in way.stages().values()] == [10, 2, 1, 4, 4]
    assert tuple(way.stages()) == STAGES
    assert (way.total, way.sequence, way.instruction_id) == (21 * MS, 3, 7)


def test_the_first_report_that_obeys_the_action_ends_the_way():
    trace = heard()
    trace.on_command(STAMP + 41 * MS)
    trace.on_report(SafetyReport(sequence=3), STAMP + 42 * MS)
    assert trace.complete()[0].command == STAMP + 21 * MS


@pytest.mark.parametrize("verdict, counts", [(SafetyReport.LIMITED, 1), (SafetyReport.HELD, 0), (SafetyReport.STOPPED, 0)])
def test_an_action_that_is_held_or_stopped_leads_to_no_command(verdict, counts):
    assert len(heard(verdict).complete()) == counts


@pytest.mark.parametrize("command", [0, STAMP + 16 * MS, STAMP + 23 * MS])
def test_where_the_command_was_not_heard_in_time_the_report_stands_for_it(command):
    assert heard(command=command).complete()[0].command == STAMP + 22 * MS


@pytest.mark.parametrize("late, left_out", [(MAX_CAMERA_NS - 1, False), (MAX_CAMERA_NS, True), (-MAX_CAMERA_NS, True)])
def test_a_camera_on_another_clock_is_left_out(late, left_out):
    way = ObservationWay(STAMP, frame=STAMP + late)
    assert (STAGES[0] not in way.stages()) is left_out


def test_of_several_cameras_the_last_frame_counts():
    trace = Trace()
    for sent in (5, 9, 7):
        trace.on_passed(passed("frame"), STAMP + sent * MS)
    assert trace.ways[STAMP].frame == STAMP + 9 * MS


def test_a_header_is_told_only_while_somebody_listens():
    counts = [0, 1]
    sent = []
    publisher = SimpleNamespace(get_subscription_count=lambda: counts.pop(0), publish=sent.append)
    tell = Passed(SimpleNamespace(add_publisher=lambda *arguments: publisher), "frame").tell
    tell(STAMP)
    assert sent == []
    tell(STAMP)
    assert sent == [passed("frame")]


def test_chrome_is_given_a_line_a_stage_and_an_event_a_span():
    events = json.loads(json.dumps(chrome_events(heard().complete())))
    names = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    spans = [(event["name"], event["ts"], event["dur"]) for event in events if event["ph"] == "X"]
    assert names == list(STAGES)
    assert spans == [(STAGES[0], 0, 10_000), (STAGES[1], 10_000, 2000), (STAGES[2], 12_000, 1000),
                     (STAGES[3], 13_000, 4000), (STAGES[4], 17_000, 4000)]


def test_durations_are_in_ms_and_end_with_all():
    times = durations(heard().complete())
    assert {name: list(values) for name, values in times.items()} == {
        STAGES[0]: [10], STAGES[1]: [2], STAGES[2]: [1], STAGES[3]: [4], STAGES[4]: [4], "all": [21]}


def test_it_is_shown_and_drawn(tmp_path, capsys):
    ways = heard().complete() * 3
    table(ways)
    assert "policy" in capsys.readouterr().out
    draw(ways, tmp_path / "trace.png")
    assert (tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG")
