"""inference and its chunks: the horizon, what is left of a chunk, the history, the words, and what was executed."""
import gc
import threading
import time
from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import SetBool

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.types import Instruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATEST
from vla_ros.nodes.inference import Inference
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec
from vla_ros_msgs.msg import ActionChunk, Observation, SafetyReport

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
STEP_NS = 100_000_000
ROWS = np.arange(16.0).reshape(8, 2) / 100.0


class Planner:
    """Eight rows, each unlike the others; remembers what it was shown."""

    name = "planner@test"
    seen: list = []
    may_answer = threading.Event()
    made: WeakSet = WeakSet()

    @classmethod
    def spec(cls, options):
        return PolicySpec(("linear.x", "angular.z"), 8, STEP_NS, {"camera": (8, 8)}, history=2, takes_prefix=True)

    def __init__(self, options):
        Planner.seen = []
        Planner.made.add(self)

    def predict(self, observation):
        Planner.seen.append(observation)
        assert Planner.may_answer.wait(5.0)
        return ROWS + 0.1 * observation.instruction.instruction_id

    def reset(self):
        pass


class Veteran(Planner):
    """Looks back for a quarter of a minute."""

    @classmethod
    def spec(cls, options):
        return PolicySpec(("linear.x", "angular.z"), 8, STEP_NS, {"camera": (8, 8)}, history=16, history_spacing=10**9)


class World:
    """A camera and a gate; times are ms after the first image."""

    def __init__(self, around, node):
        self.around, self.node = around, node
        self.chunks = around.hear(ActionChunk, "action_chunk", LATEST)
        self.images = around.speaker(Observation, "observation", IMAGES)
        self.reports = around.speaker(SafetyReport, "safety_report", EVENTS)
        around.wait(lambda: self.images.get_subscription_count() and self.reports.get_subscription_count())
        Planner.seen.clear()
        self.start = time.time_ns()
        self.set_clock(0)
        node.now = lambda: self.start + self.moment * 1_000_000 + time.monotonic_ns() - self.set_at

    def set_clock(self, moment):
        """It goes on from there."""
        self.moment, self.set_at = moment, time.monotonic_ns()

    def publish(self, moment, text="go", instruction_id=1):
        self.set_clock(moment)
        image = np.full((8, 8, 3), moment // 100, np.uint8)
        self.images.publish(convert.observation_message(CoreObservation(
            self.start + moment * 1_000_000, Instruction(1, instruction_id, text), {"camera": image}, {})))

    def show(self, moment, text="go", instruction_id=1, patience=0.5):
        """An image whose brightness is its moment; whether it is answered."""
        before = len(self.chunks)
        self.publish(moment, text, instruction_id)
        try:
            self.around.wait(lambda: len(self.chunks) > before, patience)
        except AssertionError:
            return False
        return True

    def execute(self, sequence, first, last):
        """The gate plays that chunk."""
        for moment in range(first, last, 20):
            report = SafetyReport(state=SafetyReport.ACTIVE, verdict=SafetyReport.PASSED, sequence=sequence)
            report.header.stamp = convert.time_message(self.start + moment * 1_000_000)
            self.set_clock(moment)
            self.reports.publish(report)
            time.sleep(0.002)
        time.sleep(0.05)  # reports and images come by different ways


@pytest.fixture
def start(around, monkeypatch, tmp_path):
    monkeypatch.setitem(POLICIES, "planner", f"{__name__}:Planner")
    monkeypatch.setitem(POLICIES, "veteran", f"{__name__}:Veteran")
    Planner.may_answer.set()

    def start(warm_up=1, policy="planner", **keys):
        policy_file = write_policy_file(tmp_path / "policy.yaml", policy, **keys)
        return World(around, around.start(Inference, policy_file=policy_file, robot_file=SIM, warm_up=warm_up))
    return start


def test_the_next_chunk_is_computed_when_the_horizon_is_nearly_executed_and_continues_the_one_before(around, start):
    world = start(horizon=6, prompt="please {instruction}")
    assert world.show(0)
    chunk = convert.chunk(world.chunks[0])
    assert chunk.values == pytest.approx(ROWS[:6] + 0.1)  # the horizon's
    (first,) = Planner.seen
    assert first.instruction.text == "please go" and first.prefix is None
    assert len(first.history) == 1 and first.history[0].stamp == first.stamp  # nothing was before it
    # the horizon is over at 600 ms: an answer to the next image is there in time, until 500 ms
    for begin, moment in ((0, 200), (200, 300), (300, 400)):
        world.execute(chunk.sequence, begin, moment)
        assert not world.show(moment, patience=0.25)
    world.execute(chunk.sequence, 400, 520)
    assert world.show(500)
    newest = Planner.seen[-1]
    assert newest.prefix.rows == pytest.approx(ROWS[5:] + 0.1) and newest.prefix.horizon == 6
    assert newest.prefix.delay >= 1
    assert newest.history[0].stamp == world.start + 400_000_000 and newest.history[0].images["camera"].max() == 4
    # other words are answered at once, and continue nothing
    world.execute(convert.chunk(world.chunks[-1]).sequence, 520, 580)
    assert world.show(560, "stay", instruction_id=2)
    assert Planner.seen[-1].prefix is None and Planner.seen[-1].instruction.text == "please stay"


def test_without_a_gate_that_moves_the_robot_each_image_is_answered_and_nothing_is_continued(around, start):
    world = start(horizon=6)
    for moment in (0, 100, 200):
        assert world.show(moment)
    assert [seen.prefix for seen in Planner.seen] == [None] * 3


def test_what_came_while_a_chunk_was_computed_is_judged_by_that_chunk(around, start):
    """Else chunks came in pairs, and the second took over from one that had just begun."""
    world = start(horizon=6)
    assert world.show(0)
    sequence = convert.chunk(world.chunks[0]).sequence
    world.execute(sequence, 0, 520)
    Planner.may_answer.clear()
    world.publish(500)
    around.wait(lambda: len(Planner.seen) == 2)
    world.publish(560)
    world.execute(sequence, 520, 580)  # the first, still
    Planner.may_answer.set()
    around.wait(lambda: len(world.chunks) == 2)
    time.sleep(0.2)
    assert len(Planner.seen) == len(world.chunks) == 2


def test_a_chunk_continues_the_one_that_is_on_its_way_not_the_one_that_it_takes_over_from(around, start):
    world = start()
    assert world.show(0)
    world.execute(convert.chunk(world.chunks[0]).sequence, 0, 220)
    assert world.show(200) and world.show(300)
    first, second, third = (seen.prefix for seen in Planner.seen)
    assert first is None and second.rows == pytest.approx(ROWS[2:] + 0.1) and third.rows == pytest.approx(ROWS[1:] + 0.1)


def test_a_gate_that_is_not_heard_any_more_is_not_waited_for(around, start):
    world = start(horizon=6)
    assert world.show(0)
    world.execute(convert.chunk(world.chunks[0]).sequence, 0, 120)
    assert not world.show(200, patience=0.25)
    assert world.show(320) and world.show(340)
    assert [seen.prefix for seen in Planner.seen] == [None] * 3


def test_a_policy_that_was_reset_or_replaced_answers_the_next_image(around, start, tmp_path):
    write_policy_file(tmp_path / "spare.yaml", "planner", horizon=6)
    world = start(horizon=6, fallback="spare.yaml")
    switch = around.node.create_client(SetBool, "inference/switch_to_fallback")
    assert switch.wait_for_service(5.0)
    assert world.show(0)
    world.execute(convert.chunk(world.chunks[0]).sequence, 0, 120)
    assert not world.show(100, patience=0.25)
    assert around.call("inference/reset_policy").success
    assert world.show(140)
    world.execute(convert.chunk(world.chunks[1]).sequence, 140, 240)
    assert not world.show(200, patience=0.25)
    around.wait(switch.call_async(SetBool.Request(data=True)).done)
    assert world.show(260)
    assert [seen.prefix for seen in Planner.seen] == [None] * 3


def test_a_history_that_is_not_there_may_be_refused_and_the_robot_holds(around, start):
    world = start(history={"missing": "refuse"})
    assert not world.show(0)
    around.wait(lambda: around.said("inference: the policy wants 2 observations, 0.1 s apart, and there is none"))
    assert world.show(100)


def test_a_history_of_a_quarter_of_a_minute_is_there_though_images_come_thirty_times_a_second(around, start):
    world = start(policy="veteran", history={"missing": "refuse"})
    for image in range(15 * 30):
        world.node._on_observation(convert.observation_message(CoreObservation(
            world.start + image * 1_000_000_000 // 30, Instruction(1, 1, "go"), {"camera": np.zeros((8, 8, 3), np.uint8)}, {})))
    world.publish(15_000)
    around.wait(lambda: Planner.seen and Planner.seen[-1].stamp == world.start + 15_000_000_000)
    seen = Planner.seen[-1]
    ages = [(seen.stamp - before.stamp) / 1e9 for before in seen.history]
    assert ages == pytest.approx(range(15, 0, -1), abs=0.15)


def test_a_run_ends_with_what_was_executed_and_says_so_meanwhile(around, start):
    world = start()
    reports = around.hear(DiagnosticArray, "/diagnostics", EVENTS)
    assert world.show(0)
    world.execute(convert.chunk(world.chunks[0]).sequence, 100, 300)

    def told():
        for report in reports:
            values = {pair.key: pair.value for status in report.status for pair in status.values}
            if values.get("rows executed") == "2 of 1 chunks":
                return values
        return None
    values = around.wait(told)
    assert values["rows dropped late"] == "1" and values["chunk lasts"] == "0.80 s"
    world.node.trigger_deactivate()
    around.wait(lambda: around.said("inference: 2 rows of 1 chunks executed, 1 dropped late; starved 0 times"))


@pytest.mark.parametrize("warm_up, counted", [(0, [0, 1]), (1, [1, 2])])
def test_the_first_answer_of_a_policy_that_was_not_warmed_up_is_in_no_estimate(start, warm_up, counted):
    world = start(warm_up=warm_up)
    for moment, count in zip((0, 100), counted):
        assert world.show(moment)
        world.around.wait(lambda count=count: len(world.node.stats._latencies) == count)


@pytest.mark.parametrize("asks", [False, True])
def test_nothing_keeps_a_policy_after_cleanup_whether_it_was_asked_or_not(around, start, tmp_path, asks):
    gc.collect()
    before = set(Planner.made)
    write_policy_file(tmp_path / "spare.yaml", "planner")
    world = start(warm_up=0, fallback="spare.yaml")
    if asks:
        assert world.show(0)
    assert len(set(Planner.made) - before) == 2
    world.node.trigger_deactivate()
    world.node.trigger_cleanup()
    gc.collect()
    assert set(Planner.made) <= before
