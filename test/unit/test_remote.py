"""A policy on a server: what is sent, what comes back, and all that a server can do wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("msgpack", reason="no msgpack here")
pytest.importorskip("websockets.sync.server", reason="no websockets here, or an old one")

import msgpack
from refused_server import refused_twice
from websockets.sync.server import ServerConnection, serve

from vla_ros.core.policy_file import History, PolicyFile
from vla_ros.core.types import Instruction, Observation, Prefix
from vla_ros.policies import file_options, make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood, PolicySpec
from vla_ros.policies.remote import wire
from vla_ros.policies.remote.options import PRESETS, parse_options
from vla_ros.policies.remote.policy import Remote
from vla_ros.policies.remote.server import PolicyServer

Answer = Callable[[ServerConnection, dict[str, Any]], None]
SIZE = (8, 12)


@contextmanager
def server(answer: Answer, greeting: bytes | str = wire.packed({})) -> Iterator[str]:
    """A server that others might have written; its url. `answer` sends what it likes."""

    connections: list[ServerConnection] = []

    def talk(connection: ServerConnection) -> None:
        connections.append(connection)
        connection.send(greeting)
        for question in connection:
            assert isinstance(question, bytes)
            answer(connection, wire.unpacked(question))

    with serve(talk, "127.0.0.1", 0) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        listening.shutdown()
    for connection in connections:  # older versions of websockets leave them open
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)


def rows(connection: ServerConnection, question: dict[str, Any], values: Any = None) -> None:
    given = np.zeros((3, 2)) if values is None else values
    connection.send(wire.packed({"actions": given}))


def options(url: str = "ws://127.0.0.1:1", **more: Any) -> dict[str, Any]:
    return {
        "url": url,
        "images": {"observation/image": "front", "images": {"wrist": "hand"}},
        "state": {"observation/state": ["joint_1", "grip"]},
        "actions": ["joint_1", "grip"],
        "rate": 10.0,
        "rows": 3,
        "image_size": list(SIZE),
        "timeout": 0.5,
        **more,
    }


def observation(text: str = "pick up the cube") -> Observation:
    images = {
        "front": np.full((*SIZE, 3), 1, np.uint8),
        "hand": np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint8).reshape(*SIZE, 3),
    }
    return Observation(5, Instruction(5, 1, text), images, {"joint_1": 0.5, "grip": 1.0})


# -- what is asked, and what comes back --------------------------------------------------
def test_the_message_has_the_servers_keys_and_shapes() -> None:
    seen: list[dict[str, Any]] = []

    def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
        seen.append(question)
        rows(connection, question, np.arange(8.0).reshape(4, 2))

    with server(answer) as url:
        policy = Remote(options(url))
        given = policy.predict(observation())
        assert given.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]  # as many as are wanted
    (question,) = seen
    assert sorted(question) == ["images", "observation/image", "observation/state", "prompt"]
    assert question["prompt"] == "pick up the cube"
    assert question["observation/image"].tolist() == observation().images["front"].tolist()
    assert question["images"]["wrist"].tolist() == observation().images["hand"].tolist()
    assert question["observation/state"].dtype == np.float32
    assert question["observation/state"].tolist() == [0.5, 1.0]


def test_a_server_may_want_colours_first() -> None:
    seen: list[Any] = []

    def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
        seen.append(question["images"]["wrist"])
        rows(connection, question)

    with server(answer) as url:
        Remote(options(url, layout="chw")).predict(observation())
    assert seen[0].shape == (3, *SIZE)
    assert np.array_equal(seen[0].transpose(1, 2, 0), observation().images["hand"])


@pytest.mark.parametrize(
    "answer",
    [
        {b"actions": np.zeros((3, 2))},
        {"actions": np.zeros((1, 3, 2), np.float32)},
        np.zeros((3, 2)),
        {"actions": np.zeros((3, 2)), "server_timing": {"infer_ms": np.float32(1.5)}},
    ],
)
def test_rows_come_in_the_ways_that_servers_have(answer: Any) -> None:
    with server(lambda connection, _: connection.send(msgpack.packb(answer, default=wire._as_map))) as url:
        assert Remote(options(url)).predict(observation()).shape == (3, 2)


@pytest.mark.parametrize("keys", [(b"__ndarray__", b"data", b"dtype", b"shape"), ("__ndarray__", "data", "dtype", "shape")])
def test_arrays_are_read_in_both_dialects(keys: tuple[Any, ...]) -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    packed = msgpack.packb(dict(zip(keys, (True, array.tobytes(), "<f4", [2, 3]))))
    assert np.array_equal(wire.unpacked(packed), array)


def test_msgpack_numpys_own_dialect_is_read() -> None:
    array = np.arange(4, dtype=np.int64)
    packed = msgpack.packb({b"nd": True, b"type": "<i8", b"kind": b"", b"shape": [4], b"data": array.tobytes()})
    assert np.array_equal(wire.unpacked(packed), array)
    number = msgpack.packb({b"nd": False, b"type": "<f8", b"data": np.float64(2.5).tobytes()})
    assert wire.unpacked(number) == 2.5


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dtype": "|O", "shape": [1], "data": b"12345678"}, "numbers are right"),
        ({"dtype": "<c8", "shape": [1], "data": b"12345678"}, "numbers are right"),
        ({"dtype": "<f4", "shape": [3], "data": b"12345678"}, "8 bytes"),
        ({"dtype": "<f4", "shape": [-2], "data": b"12345678"}, "shape"),
        ({"dtype": "<f4", "shape": 2, "data": b"12345678"}, "shape"),
        ({"dtype": "<f4", "shape": [1 << 40], "data": b""}, "0 bytes"),
        ({"dtype": "<f4", "shape": [2], "data": "12345678"}, "shape"),
    ],
)
def test_an_array_that_is_none_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        wire.unpacked(msgpack.packb({"__ndarray__": True, **fields}))


@pytest.mark.parametrize("data", [b"\xc1garbage", b"", b"\x93\x01"])
def test_what_is_no_msgpack_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        wire.unpacked(data)


def test_an_object_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="cannot be sent"):
        wire.packed({"key": object()})


# -- what a server can do wrong ----------------------------------------------------------
def test_blank_words_are_never_sent() -> None:
    asked: list[Any] = []
    with server(lambda connection, question: asked.append(question)) as url:
        policy = Remote(options(url))
        with pytest.raises(NotUnderstood, match="say what"):
            policy.predict(observation("  "))
    assert not asked


def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    late = np.full((3, 2), 9.0)
    asked: list[float] = []
    given_up = threading.Event()

    def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            given_up.wait(60.0)
            rows(connection, question, late)
        else:
            rows(connection, question)

    with server(answer) as url:
        policy = Remote(options(url, timeout=0.2))
        with pytest.raises(ConnectionError, match=r"within 0\.2 s"):
            policy.predict(observation())
        given_up.set()
        policy._server._connection._timeout = 5.0
        for _ in range(3):
            assert policy.predict(observation()).max() == 0.0
            time.sleep(0.2)


def test_a_server_that_does_not_read_the_question_is_left_in_time_and_found_again() -> None:
    """It greets, and then thinks while more lies there than fits between the two."""
    deaf = threading.Event()
    given_up = threading.Event()

    def talk(connection: ServerConnection) -> None:
        connection.send(wire.packed({}))
        if not deaf.is_set():
            deaf.set()
            with connection.protocol_mutex:  # whoever reads wants it
                given_up.wait(60.0)
        for _ in connection:
            rows(connection, {})

    size = (1200, 1600)
    large = replace(observation(), images=dict.fromkeys(("front", "hand"), np.zeros((*size, 3), np.uint8)))
    with serve(talk, "127.0.0.1", 0, max_size=None) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        policy = Remote(options(url, image_size=list(size), timeout=0.5))
        began = time.monotonic()
        with pytest.raises(ConnectionError, match=r"did not answer within 0\.5 s"):
            policy.predict(large)
        assert time.monotonic() - began < 30.0  # not after the 60 s in which the server thinks
        given_up.set()
        assert policy._server._connection._socket is None
        policy._server._connection._timeout = 5.0
        assert policy.predict(large).shape == (3, 2)
        listening.shutdown()


def test_a_server_that_is_not_there_is_a_lost_connection_with_a_remedy() -> None:
    with pytest.raises(ConnectionError, match=r"no policy server at ws://127\.0\.0\.1:1: .*start it"):
        Remote(options())


def test_a_server_that_went_is_asked_anew_after_a_pause_and_found_again() -> None:
    with server(rows) as url:
        policy = Remote(options(url))
        policy.predict(observation())
    port = int(url.rpartition(":")[2])
    with pytest.raises(ConnectionError, match="hung up|no policy server"):
        policy.predict(observation())
    with pytest.raises(ConnectionError, match="no policy server"):
        policy.predict(observation())
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="tried again in"):
        policy.predict(observation())
    assert time.monotonic() - began < 0.3  # nobody was asked

    def talk(connection: ServerConnection) -> None:
        connection.send(wire.packed({}))
        for _ in connection:
            rows(connection, {})

    with serve(talk, "127.0.0.1", port) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        end = time.monotonic() + 10.0
        while time.monotonic() < end:
            try:
                assert policy.predict(observation()).shape == (3, 2)
                break
            except ConnectionError:
                time.sleep(0.1)
        else:
            raise AssertionError("it was not found again")
        listening.shutdown()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"actions": "none"}, "'actions' is right"),
        ({"rows": np.zeros((3, 2))}, "'actions' is right"),
        ({"actions": np.zeros((3, 4))}, r"\(3, 4\); rows x 2 is right for joint_1, grip"),
        ({"actions": np.zeros(6)}, r"\(6,\)"),
        ({"actions": np.zeros((2, 3, 2))}, r"\(2, 3, 2\)"),
        ({"actions": np.zeros((2, 2))}, "gave 2 rows, and the policy file wants 3"),
    ],
)
def test_rows_that_do_not_fit_are_the_servers_fault(answer: Any, sentence: str) -> None:
    with server(lambda connection, _: connection.send(wire.packed(answer))) as url, pytest.raises(RuntimeError, match=sentence):
        Remote(options(url)).predict(observation())


def test_numbers_that_are_none_go_on_to_the_gate_which_refuses_them() -> None:
    values = np.full((3, 2), np.nan)
    with server(lambda connection, question: rows(connection, question, values)) as url:
        assert np.isnan(Remote(options(url)).predict(observation())).all()


def test_an_error_of_the_servers_is_told_by_its_last_line() -> None:
    def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
        connection.send("Traceback (most recent call last):\n  ...\nValueError: policy says no\n")
        connection.close(1011)

    with server(answer) as url, pytest.raises(RuntimeError, match="policy says no"):
        Remote(options(url)).predict(observation())


def test_garbage_is_the_servers_fault() -> None:
    with server(lambda connection, _: connection.send(b"\xc1garbage")) as url, pytest.raises(RuntimeError, match="msgpack|policy server"):
        Remote(options(url)).predict(observation())


@pytest.mark.parametrize("greeting", ["who are you?", wire.packed({"a": 1})[:-1], msgpack.packb([1])])
def test_who_does_not_greet_as_a_policy_server_is_none(greeting: bytes | str) -> None:
    with server(rows, greeting) as url, pytest.raises(ConnectionError, match="no policy server"):
        Remote(options(url))


def test_a_server_of_another_robot_is_refused_before_it_is_asked() -> None:
    with server(rows, wire.packed({"actions": ["joint_2", "grip"]})) as url, pytest.raises(ValueError, match="has the actions joint_2, grip, and the policy file's options joint_1"):
        Remote(options(url))


def test_another_server_at_the_same_port_is_checked_before_its_rows_are_used() -> None:
    """It gives the columns the other way round; whoever was refused once is refused the next time, too."""
    with server(rows, wire.packed({"actions": ["joint_1", "grip"]})) as url:
        policy = Remote(options(url))
        policy.predict(observation())
    asked: list[Any] = []

    def talk(connection: ServerConnection) -> None:
        connection.send(wire.packed({"actions": ["grip", "joint_1"]}))
        for question in connection:
            asked.append(question)
            rows(connection, {})

    with serve(talk, "127.0.0.1", int(url.rpartition(":")[2])) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        def hung_up() -> None:
            assert policy._server._connection._socket is None

        refused_twice(policy, observation(), "has the actions grip, joint_1", hung_up)
        assert not asked
        listening.shutdown()


# -- the options -------------------------------------------------------------------------
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_needs_only_the_url(preset: str) -> None:
    url = "tcp://robot:5555" if preset == "gr00t" else "ws://robot:8000"
    spec = policy_spec("remote", {"url": url, "preset": preset})
    assert len(set(spec.images.values())) == 1
    assert {*spec.units, *spec.kinds} <= {*spec.channels, *spec.state}


def test_droid_gives_joint_velocities() -> None:
    spec = policy_spec("remote", {"url": "ws://robot:8000", "preset": "droid"})
    assert spec.kinds["joint_7"] == "velocity" and "gripper" not in spec.kinds
    assert len(spec.channels) == 8 and spec.step == round(1e9 / 15)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"url": "http://robot"}, "url is 'http://robot'; give ws://HOST:PORT"),
        ({"url": "ws://"}, "give ws://"),
        ({"url": "ws://robot:99999"}, "give ws://"),
        ({"url": 8000}, "give ws://"),
        ({"url": "ws://me:secret@robot"}, "holds a password"),
        ({"protocol": "grpc"}, "protocol is 'grpc'; use one of openpi, gr00t"),
        ({"protocol": "gr00t"}, "give tcp://HOST:PORT"),
        ({"actions": {"arm": ["a"], "hand": ["a"]}}, "'a' 2 times"),
        ({"actions": {3: ["a"]}}, "a key is 3"),
        ({"preset": "roomba"}, "preset is 'roomba'; use one of droid"),
        ({"speed": 1}, "no option 'speed'"),
        ({"images": ["front"]}, "images is"),
        ({"images": {"a": 3}}, "name of an image"),
        ({"state": {"s": "joint_1"}}, "list of names"),
        ({"state": {"s": ["a", "a"]}}, "'a' 2 times"),
        ({"actions": []}, "list of names"),
        ({"rate": 0}, "more than 0"),
        ({"rate": float("nan")}, "finite"),
        ({"rows": 0}, "rows is 0"),
        ({"rows": True}, "rows is True"),
        ({"prompt": "task"}, "no option 'prompt'"),
        ({"prefix": 1}, "prefix is 1; give true or false"),
        ({"timeout": -1}, "more than 0"),
        ({"layout": "hcw"}, "layout is 'hcw'"),
        ({"image_size": [0, 2]}, "image_size"),
        ({"prompt_key": "observation/image"}, "two things"),
        ({"prompt_key": "images"}, "two things"),
        ({"units": {"joint_9": "deg"}}, "units is 'joint_9'"),
        ({"units": {"joint_1": "degrees"}}, "units: joint_1"),
        ({"kinds": {"joint_1": "torque"}}, "kinds: joint_1"),
    ],
)
def test_an_option_that_is_wrong_is_named_with_its_value(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_options(options(**change))


@pytest.mark.parametrize("lacking", ["url", "images", "state", "actions", "rate", "rows"])
def test_what_a_server_does_not_say_is_asked_for(lacking: str) -> None:
    given = options()
    del given[lacking]
    where = "rate of its policy file" if lacking == "rate" else f"the option {lacking}"
    with pytest.raises(ValueError, match=f"lacks {where}"):
        parse_options(given)


@pytest.mark.parametrize(("given", "takes"), [({}, True), ({"prefix": True}, True), ({"prefix": False}, False)])
def test_a_server_that_wants_no_other_keys_is_sent_none(given: dict[str, Any], takes: bool) -> None:
    assert policy_spec("remote", options(**given)).takes_prefix is takes
    gr00t = policy_spec("remote", {"url": "tcp://robot:1", "preset": "gr00t", **given})
    assert not gr00t.takes_prefix


def test_a_horizon_says_how_many_rows_an_answer_has_where_nothing_else_does() -> None:
    given = options(horizon=5)
    assert parse_options(given).rows == 3
    del given["rows"]
    assert parse_options(given).rows == 5


def test_what_is_left_of_the_chunk_before_travels_with_the_question() -> None:
    seen: list[dict[str, Any]] = []

    def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
        seen.append(question)
        rows(connection, question)

    with server(answer) as url:
        policy = Remote(options(url))
        left = np.arange(4.0).reshape(2, 2)
        policy.predict(replace(observation(), prefix=Prefix(left, 1, 3)))
    assert seen[0]["prefix"]["rows"].dtype == np.float32
    assert seen[0]["prefix"]["rows"].tolist() == left.tolist()
    assert (seen[0]["prefix"]["delay"], seen[0]["prefix"]["horizon"]) == (1, 3)


def test_a_history_goes_out_as_moments_oldest_first() -> None:
    seen: list[dict[str, Any]] = []

    def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
        seen.append(question)
        rows(connection, question)

    before = replace(observation(), state={"joint_1": -0.5, "grip": 0.0})
    with server(answer) as url:
        policy = Remote(options(url, history=2, layout="chw"))
        policy.predict(replace(observation(), history=(before,)))
    assert seen[0]["observation/image"].shape == (2, 3, *SIZE)
    assert seen[0]["observation/state"].tolist() == [[-0.5, 0.0], [0.5, 1.0]]


def test_an_answer_that_nobody_asked_for_is_never_taken_for_the_next_one() -> None:
    """As from a server that answers twice: each of its later answers would be an older one."""
    asked: list[Any] = []

    def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
        asked.append(question)
        rows(connection, question, np.full((3, 2), len(asked)))
        if len(asked) == 1:
            rows(connection, question, np.full((3, 2), 99.0))

    with server(answer) as url:
        policy = Remote(options(url))
        assert policy.predict(observation()).max() == 1.0
        time.sleep(0.1)
        with pytest.raises(ConnectionError, match="sent an answer that nobody asked for"):
            policy.predict(observation())
        assert policy.predict(observation()).max() == 2.0


def test_a_key_comes_from_the_environment_and_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="POLICY_KEY is not set"):
        Remote(options(key="POLICY_KEY"))
    monkeypatch.setenv("POLICY_KEY", "secret")
    with ours(key="secret") as (_, file):
        with pytest.raises(ConnectionError, match="401"):
            Remote(file["options"])
        Remote({**file["options"], "key": "POLICY_KEY"})


# -- ours as a server --------------------------------------------------------------------
@contextmanager
def ours(key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """A policy of ours behind a port: the url, and what the policy file that it prints tells the policy."""
    policy = make_policy("color_servo")
    served = PolicyServer(policy, policy_spec("color_servo"), "127.0.0.1", 0, key, lambda text: None)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    try:
        printed = yaml.safe_load(served.policy_file())
        file = PolicyFile(printed["policy"], printed["options"], rate=printed["rate"])
        yield f"ws://127.0.0.1:{served.port}", {"options": file_options(file)}
    finally:
        served.close()
        thread.join()


def test_a_served_policy_says_the_same_as_the_policy_itself() -> None:
    direct = make_policy("color_servo")
    spec = policy_spec("color_servo")
    generator = np.random.default_rng(0)
    with ours() as (_, file):
        assert policy_spec("remote", file["options"]).channels == spec.channels
        remote = Remote(file["options"])
        for text in ("go forward", "turn left", "stop"):
            asked = spec.blank()
            images = {}
            for name, size in spec.images.items():
                images[name] = generator.integers(0, 255, (*size, 3), np.uint8)
            state = dict.fromkeys(spec.state, 0.5)
            asked = Observation(1, Instruction(1, len(text), text), images, state)
            direct.reset()
            assert np.array_equal(remote.predict(asked), np.float32(direct.predict(asked)))


def test_words_that_a_served_policy_does_not_know_are_not_understood() -> None:
    with ours() as (_, file):
        remote = Remote(file["options"])
        spec = policy_spec("remote", file["options"])
        blank = spec.blank()
        unknown = Observation(1, Instruction(1, 2, "sing a song"), blank.images, blank.state)
        with pytest.raises(NotUnderstood, match="sing a song|understand"):
            remote.predict(unknown)
        assert remote.predict(blank).shape == (spec.steps, len(spec.channels))


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"prompt": 3}, "prompt is 3"),
        ({"prompt": "go forward"}, "'camera' is None"),
        ({"prompt": "go forward", "images": {"camera": np.zeros((2, 2, 3), np.uint8)}}, r"\(2, 2, 3\)"),
    ],
)
def test_a_question_that_does_not_fit_is_answered_with_a_sentence(question: dict[str, Any], sentence: str) -> None:
    from vla_ros.policies.remote.openpi import Connection

    with ours() as (url, _):
        connection = Connection(url, "", 2.0, 2.0)
        with pytest.raises(RuntimeError, match=sentence):
            connection.ask(question)
        connection.close()


class Continuing:
    """Gives back what is left of the chunk before, and adds up its joint's history."""

    name = "continuing"

    @classmethod
    def spec(cls, given: Any) -> PolicySpec:
        return PolicySpec(("j",), 2, 100_000_000, {"eye": SIZE}, state=("j",), history=2, takes_prefix=True)

    def predict(self, observation: Observation) -> Any:
        moments = (*observation.history, observation)
        sums = sum(moment.state["j"] + moment.images["eye"].max() for moment in moments)
        left = observation.prefix
        last = [left.rows.sum() + left.delay + left.horizon] if left else [0.0]
        return np.array([[sums], last])

    def reset(self) -> None:
        pass


@contextmanager
def continuing() -> Iterator[Remote]:
    served = PolicyServer(Continuing(), Continuing.spec({}), "127.0.0.1", 0, "", lambda text: None)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    try:
        printed = yaml.safe_load(served.policy_file())
        history = History(**printed["history"])
        yield Remote(file_options(PolicyFile("remote", printed["options"], rate=printed["rate"], history=history)))
    finally:
        served.close()
        thread.join()


def moment(joint: float, bright: int, **more: Any) -> Observation:
    return Observation(1, Instruction(1, 1, "go"), {"eye": np.full((*SIZE, 3), bright, np.uint8)}, {"j": joint}, **more)


def test_a_served_policy_gets_its_history_and_what_is_left_of_the_chunk_before() -> None:
    with continuing() as remote:
        seen = moment(0.5, 10, history=(moment(0.25, 3),))
        assert remote.predict(seen).tolist() == [[13.75], [0.0]]
        left = Prefix(np.array([[1.0], [2.0]], np.float32), 1, 4)
        assert remote.predict(replace(seen, prefix=left)).tolist() == [[13.75], [8.0]]


@pytest.mark.parametrize("change", [{"rows": np.zeros((2, 2))}, {"rows": np.zeros(2)}, {"delay": True}, {"horizon": 2.0}])
def test_a_prefix_that_is_none_is_refused(change: dict[str, Any]) -> None:
    from vla_ros.policies.remote.openpi import Connection

    with continuing() as remote:
        connection = Connection(remote._options.url, "", 2.0, 2.0)
        question = {
            "prompt": "go",
            "images": {"eye": np.zeros((2, *SIZE, 3), np.uint8)},
            "state": np.zeros((2, 1)),
            "prefix": {"rows": np.zeros((2, 1)), "delay": 1, "horizon": 2, **change},
        }
        with pytest.raises(RuntimeError, match="the question's prefix has rows .* are right"):
            connection.ask(question)
        connection.close()


@pytest.mark.parametrize("line", ["horizon: 1", "prompt: go"])
def test_what_only_who_asks_can_do_is_refused_by_who_serves(tmp_path: Path, line: str) -> None:
    from vla_ros.cli import serve
    from vla_ros.cli.main import parse

    place = tmp_path / "policy.yaml"
    place.write_text(f"policy: constant\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="are for who asks this server"):
        serve.run(parse(["serve", "--policy-file", str(place)]))
