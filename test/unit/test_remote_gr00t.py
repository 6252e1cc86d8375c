"""A GR00T server: what is sent, what comes back, and all that it can do wrong."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

msgpack = pytest.importorskip("msgpack", reason="no msgpack here")
zmq = pytest.importorskip("zmq", reason="no pyzmq here")

from refused_server import refused_twice

from vla_ros.core.types import Instruction, Observation
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.remote.gr00t import Gr00tServer
from vla_ros.policies.remote.options import parse_options
from vla_ros.policies.remote.policy import Remote

SIZE = (8, 12)
PROMPT = "annotation.human.task_description"


def modalities(**changes: Any) -> dict[str, Any]:
    """As a server says what it takes and gives."""
    config = {
        "video": {"delta_indices": [0], "modality_keys": ["front"]},
        "state": {"delta_indices": [0], "modality_keys": ["single_arm", "gripper"]},
        "action": {"delta_indices": list(range(4)), "modality_keys": ["single_arm", "gripper"]},
        "language": {"delta_indices": [0], "modality_keys": [PROMPT]},
        **changes,
    }
    return {kind: {"__ModalityConfig_class__": True, "as_json": entry} for kind, entry in config.items()}


def array(values: Any) -> dict[str, Any]:
    file = io.BytesIO()
    np.save(file, np.asarray(values), allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def rows(question: dict[str, Any]) -> Any:
    return [{"single_arm": array(np.ones((1, 4, 2), np.float32)), "gripper": array(np.full((1, 4, 1), 5.0))}, {}]


def bind_when_free(socket: Any, port: int) -> None:
    """ZeroMQ closes the socket of the server before when it comes to it."""
    end = time.monotonic() + 5.0
    while True:
        try:
            socket.bind(f"tcp://127.0.0.1:{port}")
            return
        except zmq.ZMQError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextmanager
def server(answer: Callable[[dict[str, Any]], Any], config: Any = None, token: str = "", port: int = 0) -> Iterator[str]:
    """A server written from the protocol's description, at a free port; `answer` is get_action's."""
    socket = zmq.Context.instance().socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 50)
    if port:
        bind_when_free(socket, port)
    else:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
    over = threading.Event()

    def talk() -> None:
        while not over.is_set():
            try:
                question = msgpack.unpackb(socket.recv())
            except zmq.Again:
                continue
            if token and question.get("api_token") != token:
                reply: Any = {"error": "Unauthorized: Invalid API token"}
            elif question["endpoint"] == "get_modality_config":
                reply = modalities() if config is None else config
            else:
                reply = answer(question)
            socket.send(reply if isinstance(reply, bytes) else msgpack.packb(reply))
        socket.close()

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{port}"
    over.set()
    thread.join()


def options(url: str = "tcp://127.0.0.1:1", **more: Any) -> dict[str, Any]:
    return {
        "url": url,
        "protocol": "gr00t",
        "images": {"front": "scene"},
        "image_size": list(SIZE),
        "state": {"single_arm": ["a", "b"], "gripper": ["g"]},
        "prompt_key": PROMPT,
        "actions": {"single_arm": ["a", "b"], "gripper": ["g"]},
        "rate": 10,
        "rows": 4,
        "timeout": 0.4,
        "connect_timeout": 2.0,
        **more,
    }


def observation(text: str = "pick up the cube") -> Observation:
    image = np.full((*SIZE, 3), 3, np.uint8)
    return Observation(5, Instruction(5, 1, text), {"scene": image}, {"a": 1.0, "b": 2.0, "g": 3.0})


def unpacked(fields: Any) -> np.ndarray:
    return np.load(io.BytesIO(fields["as_npy"]), allow_pickle=False)


def test_a_question_has_batches_and_moments_and_the_answers_keys_become_columns() -> None:
    asked: list[dict[str, Any]] = []

    def answer(question: dict[str, Any]) -> Any:
        asked.append(question)
        return rows(question)

    with server(answer) as url:
        given = Remote(options(url)).predict(observation())
    assert given.tolist() == [[1.0, 1.0, 5.0]] * 4
    seen = asked[0]["data"]["observation"]
    assert asked[0]["endpoint"] == "get_action" and asked[0]["data"]["options"] is None
    assert unpacked(seen["video"]["front"]).shape == (1, 1, *SIZE, 3)
    assert unpacked(seen["state"]["single_arm"]).tolist() == [[[1.0, 2.0]]]
    assert unpacked(seen["state"]["gripper"]).dtype == np.float32
    assert seen["language"] == {PROMPT: [["pick up the cube"]]}


def test_a_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROOT_TOKEN", "secret")
    with server(rows, token="secret") as url:
        with pytest.raises(ConnectionError, match="Invalid API token"):
            Remote(options(url))
        Remote(options(url, key="GROOT_TOKEN")).predict(observation())


def test_blank_words_are_never_sent() -> None:
    with server(rows) as url, pytest.raises(NotUnderstood):
        Remote(options(url)).predict(observation(""))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"video": {"delta_indices": [0], "modality_keys": ["top"]}}, "has the video top, and .* options front"),
        ({"video": {"delta_indices": [-1, 0], "modality_keys": ["front"]}}, "wants 2 moments of video"),
        ({"action": {"delta_indices": [0], "modality_keys": ["single_arm", "gripper"]}}, "gives 1 rows"),
        ({"state": {"delta_indices": [0], "modality_keys": ["single_arm"]}}, "has the state single_arm"),
        ({"language": {}}, "does not say what its language is"),
    ],
)
def test_a_server_of_another_robot_is_refused_before_it_is_asked(changes: Any, sentence: str) -> None:
    with server(rows, modalities(**changes)) as url, pytest.raises(ValueError, match=sentence):
        Remote(options(url))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"error": "Observation must contain a 'video' key"}, "must contain a 'video' key"),
        ([{"single_arm": "none"}, {}], "gave 'single_arm' as 'none'"),
        ([{"single_arm": array(np.zeros((1, 4, 3))), "gripper": array(np.zeros((1, 4, 1)))}, {}], r"\(1, 4, 3\)"),
        ([{"single_arm": array(np.zeros((1, 4, 2))), "gripper": array(np.zeros((1, 3, 1)))}, {}], "different lengths"),
        ([{"single_arm": array(np.zeros((1, 2, 2))), "gripper": array(np.zeros((1, 2, 1)))}, {}], "gave 2 rows"),
        (b"\xc1garbage", "no message"),
        ([{"single_arm": {"__ndarray_class__": True, "as_npy": b"no file"}}, {}], "no message"),
    ],
)
def test_an_answer_that_does_not_fit_is_the_servers_fault(answer: Any, sentence: str) -> None:
    with server(lambda question: answer) as url, pytest.raises(RuntimeError, match=sentence):
        Remote(options(url)).predict(observation())


def test_an_array_of_objects_is_never_unpickled() -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    answer = [{"single_arm": {"__ndarray_class__": True, "as_npy": file.getvalue()}}, {}]
    with server(lambda question: answer) as url, pytest.raises(RuntimeError, match="no message"):
        Remote(options(url)).predict(observation())


def test_a_server_that_is_not_there_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionError, match=r"no GR00T server at tcp://127\.0\.0\.1:1: .*within 0\.1 s"):
        Remote(options(connect_timeout=0.1))


def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    asked: list[int] = []
    given_up = threading.Event()

    def answer(question: dict[str, Any]) -> Any:
        asked.append(1)
        if len(asked) == 1:
            given_up.wait(60.0)
            return {"error": "late"}
        return rows(question)

    with server(answer) as url:
        policy = Remote(options(url, timeout=0.2))
        with pytest.raises(ConnectionError, match=r"within 0\.2 s"):
            policy.predict(observation())
        given_up.set()
        end = time.monotonic() + 60.0
        while time.monotonic() < end:
            try:
                assert policy.predict(observation()).shape == (4, 3)
                return
            except ConnectionError:  # a busy machine may be late again
                time.sleep(0.1)
        raise AssertionError("it was not found again")


OTHERS = {"delta_indices": list(range(4)), "modality_keys": ["arm", "gripper"]}


def test_another_server_at_the_same_port_is_checked_before_its_rows_are_used() -> None:
    """ZeroMQ connects to it by itself; whoever was refused once is refused the next time, too."""
    with server(rows) as url:
        policy = Remote(options(url))
        policy.predict(observation())
    port = int(url.rpartition(":")[2])
    with server(rows, modalities(action=OTHERS), port=port):
        refused_twice(policy, observation(), "has the action arm, gripper")


def test_a_server_that_went_while_it_was_asked_is_checked_before_its_rows_are_used() -> None:
    with server(rows) as url:
        asking = Gr00tServer(parse_options(options(url)), "")
        asking.open()
    with server(rows, port=int(url.rpartition(":")[2])), pytest.raises(ConnectionError, match="may be another"):
        asking._ask("get_action", {}, 5.0)


def test_a_server_that_did_not_say_what_it_takes_is_not_asked_for_rows() -> None:
    with server(rows, {"error": "not ready"}) as url:
        asking = Gr00tServer(parse_options(options(url)), "")
        for sentence in ("not ready", "tried again in"):
            with pytest.raises(ConnectionError, match=sentence):
                asking.act(observation())
