"""Power mode and temperature in the diagnostics, with a jtop that is not there, works, breaks and hangs."""
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import pytest

from vla_ros.core.cadence import Cadence
from vla_ros.nodes import inference
from vla_ros.nodes.common import jetson

HEAT = {"cpu": {"temp": 48.25, "online": True}, "tj": {"temp": 51.5, "online": True}, "cv0": {"temp": -256, "online": False}}


class Jtop:
    """As much of jtop's client as is used. Each test has a class of its own: threads outlive their test."""
    nvpmodel = SimpleNamespace(name="MAXN")
    temperature = HEAT
    reads = 0
    fails = False
    hangs = threading.Event()

    def __init__(self, interval):
        assert interval == jetson.READ_PERIOD_S

    def __enter__(self):
        if self.fails:
            raise RuntimeError("The jetson_stats.service is not active")
        return self

    def __exit__(self, *args):
        return not any(args)

    def ok(self):
        type(self).reads += 1
        if self.hangs.is_set():
            time.sleep(60.0)
        return not self.fails


@pytest.fixture
def jtop(monkeypatch):
    fresh = type("jtop", (Jtop,), {"hangs": threading.Event()})
    module = ModuleType("jtop")
    module.jtop = fresh
    monkeypatch.setitem(sys.modules, "jtop", module)
    for name, seconds in {"READ_PERIOD_S": 0.05, "RETRY_PERIOD_S": 0.05, "MAX_AGE_S": 0.4}.items():
        monkeypatch.setattr(jetson, name, seconds)
    yield fresh
    fresh.hangs.set()


def wait(condition):
    end = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_without_jtop_there_is_nothing_and_no_thread_stays(monkeypatch):
    monkeypatch.setitem(sys.modules, "jtop", None)
    before = threading.active_count()
    board = jetson.Board()
    wait(lambda: threading.active_count() <= before)
    assert board.values() == {}


def test_power_mode_and_the_hottest_sensor(jtop):
    board = jetson.Board()
    wait(board.values)
    assert board.values() == {"power mode": "MAXN", "temperature": "51.5 C (tj)"}


def test_it_is_read_once_a_period(jtop, monkeypatch):
    monkeypatch.setattr(jetson, "READ_PERIOD_S", 0.2)
    board = jetson.Board()
    wait(board.values)
    began, before = time.monotonic(), jtop.reads
    while time.monotonic() - began < 1.0:
        board.values()
    assert 1 <= jtop.reads - before <= 6


@pytest.mark.parametrize("heat, nvpmodel, values", [
    ({"CPU": 40.0, "GPU": 41.5}, SimpleNamespace(name="15W"), {"power mode": "15W", "temperature": "41.5 C (GPU)"}),  # jtop 3
    ({}, None, {}),
    ({"cpu": {"temp": 48.0}}, None, {"temperature": "48.0 C (cpu)"}),
])
def test_boards_that_tell_less(heat, nvpmodel, values):
    assert jetson._read(SimpleNamespace(temperature=heat, nvpmodel=nvpmodel)) == values


def test_a_service_that_stops_is_asked_again_and_nothing_old_is_told(jtop):
    board = jetson.Board()
    wait(board.values)
    jtop.fails = True
    wait(lambda: not board.values())
    jtop.fails = False
    wait(board.values)


def test_a_service_that_hangs_blocks_nobody(jtop, machine):
    board = jetson.Board()
    wait(board.values)
    jtop.hangs.set()
    wait(lambda: not board.values())
    began = time.monotonic()
    assert board.values() == {} and time.monotonic() - began < 0.5 + machine.late(began)


def test_inference_tells_it(monkeypatch):
    monkeypatch.setattr(inference, "board_values", lambda: {"power mode": "MAXN"})
    node = SimpleNamespace(_worker=None, _role="policy", _hung=lambda: 0, _cadence=Cadence(()))
    assert inference.Inference.diagnose(node)["power mode"] == "MAXN"
