"""The operator's page over HTTP: what is answered, and what is done to bad requests."""
from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette", reason="vla console needs starlette: python3 -m pip install starlette uvicorn")
pytest.importorskip("uvicorn", reason="vla console needs uvicorn: python3 -m pip install starlette uvicorn")

from vla_ros.cli.main import main
from vla_ros.operator.console.access import MOST_BODY_BYTES, AccessRules, Viewers
from vla_ros.operator.console.connections import MOST_CONNECTIONS
from vla_ros.operator.console.server import (
    ConsoleServer,
    free_port,
    listening_socket,
    missing_libraries,
)

TOKEN = "a secret of this lab"
PRESS = {"X-Vla-Console": "1"}


class Robot:
    """What stands behind the server, and remembers what was asked of it."""

    def __init__(self, viewers=20):
        self.viewers = Viewers(viewers)
        self.newest = SimpleNamespace(sequence=3, jpeg=b"\xff\xd8jpeg", taken=time.monotonic())
        self.refreshed = 0
        self.feeds = {"camera": SimpleNamespace(due=lambda: True, refresh=self.refresh, newest=lambda: self.newest)}
        self.stops = []
        self.outcome = ""
        self.done = []

    def refresh(self):
        self.refreshed += 1

    def state_json(self, known):
        return b'{"now": {"tick": 1}}'

    def plot_json(self):
        return b'{"rows": []}'

    def press_stop(self, who):
        self.stops.append((time.monotonic(), str(who)))
        return len(self.stops)

    def stop_outcome(self, number):
        return self.outcome

    def perform(self, action, who, text, key):
        self.done.append((action, str(who), text, key))
        return {"done": True, "sentence": "armed"}


class Site:
    """A server on a free port, and a client of it."""

    def __init__(self, token="", viewers=20):
        self.robot = Robot(viewers)
        listener = listening_socket("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.server = ConsoleServer(self.robot, AccessRules(token, "127.0.0.1"), listener)

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())

    def press(self, action, body=None, **headers):
        text = body if isinstance(body, (bytes, str)) else json.dumps(body or {})
        status, answer, _ = self.ask("POST", f"/do/{action}", text, **PRESS, **headers)
        return status, json.loads(answer)


@pytest.fixture
def site():
    made = Site()
    yield made
    made.server.end()


@pytest.fixture
def locked():
    made = Site(token=TOKEN)
    yield made
    made.server.end()


@pytest.mark.parametrize("path, part", [("/", b"<h1"), ("/page.js", b"use strict"), ("/page.css", b"#stop")])
def test_the_page_comes_from_here_and_nothing_of_it_from_elsewhere(site, path, part):
    status, body, headers = site.ask("GET", path)
    assert status == 200 and part in body
    assert b"http://" not in body and b"https://" not in body and b"innerHTML" not in body
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"


def test_a_viewer_gets_the_state_and_one_too_many_a_sentence():
    site = Site(viewers=1)
    assert site.ask("GET", "/state?viewer=a")[1] == b'{"now": {"tick": 1}}'
    status, body, _ = site.ask("GET", "/state?viewer=b")
    assert status == 503 and "pages look at this robot already" in json.loads(body)["sentence"]
    assert site.ask("GET", "/image/camera?viewer=b")[0] == 503
    assert site.press("stop")[0] == 200 and len(site.robot.stops) == 1, "STOP works from that page too"
    site.server.end()


def test_an_image_is_sent_once_to_each_viewer_that_asks_for_a_newer_one(site):
    site.ask("GET", "/state?viewer=a")
    status, body, headers = site.ask("GET", "/image/camera?viewer=a&after=2")
    assert (status, body, headers["x-sequence"]) == (200, b"\xff\xd8jpeg", "3")
    assert site.ask("GET", "/image/camera?viewer=a&after=3")[0] == 204
    site.robot.newest = None
    assert site.ask("GET", "/image/camera?viewer=a&after=")[0] == 204
    assert site.ask("GET", "/image/other?viewer=a")[0] == 404


def test_an_action_says_who_and_what(site):
    answer = site.press("say", {"name": "Anne", "text": "go to the red ball"})
    assert answer == (200, {"done": True, "sentence": "armed"})
    site.press("arm", {"key": "k"})
    assert site.robot.done == [("say", "Anne (127.0.0.1)", "go to the red ball", ""), ("arm", "somebody (127.0.0.1)", "", "k")]


def test_a_stop_needs_no_words(site):
    assert site.press("stop?name=Anne", b"")[0] == 200
    assert site.press("stop", b"this is no JSON")[0] == 200
    assert [who for _, who in site.robot.stops] == ["Anne (127.0.0.1)", "somebody (127.0.0.1)"]


@pytest.mark.parametrize("outcome, said", [("no memory", "no memory"), (None, "it was not published within 0.1 s")])
def test_a_stop_that_was_not_sent_is_not_said_to_be(site, outcome, said):
    site.robot.outcome = outcome
    assert site.press("stop") == (503, {"done": False, "sentence": said}) and len(site.robot.stops) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff\xfe", b'{"text": "\\ud800"}', b"[" * 10_000, b'{"text": 7}', b'{"key": []}'])
def test_what_is_no_request_is_refused_with_a_sentence(site, body):
    status, answer = site.press("say", body)
    assert status == 400 and not answer["done"] and answer["sentence"] and not site.robot.done


@pytest.mark.parametrize("size, status", [(MOST_BODY_BYTES, 200), (MOST_BODY_BYTES + 1, 413)])
def test_a_request_has_no_more_bytes_than_a_sentence(site, size, status):
    body = json.dumps({"text": ""}).encode()
    assert site.press("say", body[:-2] + b"x" * (size - len(body)) + body[-2:])[0] == status


def test_ten_megabytes_of_text_are_refused_before_they_are_all_here(site):
    with socket.create_connection(("127.0.0.1", site.port), 5.0) as client:
        client.sendall(b"POST /do/say HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vla-Console: 1\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 100_000)
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    assert site.press("stop")[0] == 200 and not site.robot.done


@pytest.mark.parametrize("action", ["", "fly", "../state", "x" * 1000])
def test_there_are_no_other_buttons(site, action):
    assert site.ask("POST", f"/do/{action}", "{}", **PRESS)[0] == 404 and not site.robot.done


@pytest.mark.parametrize("path", ["/do/stop", "/do/say", "/do/arm"])
def test_a_button_is_not_pressed_by_following_a_link(site, path):
    assert site.ask("GET", path, **PRESS)[0] == 405
    assert not site.robot.stops and not site.robot.done


@pytest.mark.parametrize("headers", [
    {}, {"Origin": "http://evil.example", **PRESS}, {"Sec-Fetch-Site": "cross-site", **PRESS}, {"Content-Type": "text/plain"}])
def test_a_foreign_page_presses_nothing(site, headers):
    for action in ("stop", "say", "arm"):
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5.0)
        connection.request("POST", f"/do/{action}", "{}", headers)
        assert connection.getresponse().status == 403
    assert not site.robot.stops and not site.robot.done


def test_a_name_that_somebody_points_here_reads_nothing(site):
    status, body, headers = site.ask("GET", "/state?viewer=a", Host="evil.example")
    assert status == 421 and b"no name of this machine" in body
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_another_sites_page_takes_no_viewers_place(site):
    assert site.ask("GET", "/state?viewer=a", Sec_Fetch_Site="cross-site")[0] == 403
    assert site.robot.viewers.names(time.monotonic()) == []
    assert site.ask("GET", "/", Sec_Fetch_Site="cross-site")[0] == 200, "a link leads here"


def test_with_a_token_nothing_is_shown_or_done_without_it(locked):
    for path in ("/state?viewer=a", "/plot", "/image/camera"):
        assert locked.ask("GET", path)[0] == 403
    status, body, _ = locked.ask("GET", "/")
    assert status == 200 and b"type=\"password\"" in body and b"id=\"stop\"" not in body
    assert locked.ask("POST", "/do/stop", "{}", **PRESS)[0] == 403 and not locked.robot.stops


def test_the_token_opens_the_page_and_is_in_no_address(locked):
    assert locked.ask("GET", f"/?token={TOKEN.replace(' ', '+')}")[2].get("set-cookie") is None
    right = json.dumps({"token": TOKEN})
    assert locked.ask("POST", "/token", right)[0] == 403, "a foreign page's form"
    assert locked.ask("POST", "/token", right, Sec_Fetch_Site="cross-site", **PRESS)[0] == 403
    for _ in range(20):
        assert locked.ask("POST", "/token", json.dumps({"token": "wrong"}), **PRESS)[0] == 403
    assert locked.ask("POST", "/token", "[", **PRESS)[0] == 400
    status, _, headers = locked.ask("POST", "/token", right, **PRESS)
    assert status == 200
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    shown = {"Cookie": cookie.partition(";")[0]}
    assert b'id="stop"' in locked.ask("GET", "/", **shown)[1]
    assert locked.press("stop", **shown)[0] == 200 and len(locked.robot.stops) == 1


def test_clients_that_never_read_keep_nobody_from_stopping(site):
    site.ask("GET", "/state?viewer=a")
    site.robot.newest = SimpleNamespace(sequence=4, jpeg=bytes(4_000_000), taken=time.monotonic())
    idle = []
    for _ in range(50):
        client = socket.create_connection(("127.0.0.1", site.port), 5.0)
        client.sendall(b"GET /image/camera?viewer=a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        idle.append(client)
    for _ in range(50):  # and those that ask for nothing
        idle.append(socket.create_connection(("127.0.0.1", site.port), 5.0))
    began = time.monotonic()
    assert site.press("stop")[0] == 200
    assert site.robot.stops[0][0] - began < 2.0
    for client in idle:
        client.close()


def test_a_thousand_connections_keep_nobody_from_stopping(site):
    idle = [socket.create_connection(("127.0.0.1", site.port), 5.0) for _ in range(MOST_CONNECTIONS + 200)]
    assert site.press("stop")[0] == 200
    assert len(site.server._server.server_state.connections) <= MOST_CONNECTIONS
    for client in idle:
        client.close()


@pytest.mark.parametrize("first", [b"", b"GET / HT", b"GET /page.css HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["nothing", "half a request", "a second that stays half"])
def test_who_asks_for_nothing_is_cut_off(site, first, monkeypatch):
    monkeypatch.setattr("vla_ros.operator.console.connections.REQUEST_WITHIN_S", 0.3)
    with socket.create_connection(("127.0.0.1", site.port), 5.0) as client:
        client.sendall(first)
        if first.endswith(b"\n"):
            time.sleep(0.5)
            assert b"200 OK" in client.recv(1 << 20)
            time.sleep(0.5)
            client.sendall(b"GET / HT")
        with contextlib.suppress(ConnectionResetError):
            while client.recv(1 << 20):  # b"" or a reset: it was closed; socket.timeout: it was not
                pass


def test_a_slow_button_does_not_hold_up_the_stop(site):
    slow = threading.Event()
    site.robot.perform = lambda *_: (slow.wait(5.0), {"done": False, "sentence": ""})[1]
    thread = threading.Thread(target=site.press, args=("reset",))
    thread.start()
    time.sleep(0.1)
    assert site.press("stop")[0] == 200 and not slow.is_set()
    slow.set()
    thread.join(5.0)


def test_a_port_that_is_taken_is_a_sentence_and_the_demo_takes_another(site):
    with pytest.raises(ValueError, match=f"cannot listen at 127.0.0.1:{site.port}: .*; give another console_port"):
        listening_socket("127.0.0.1", site.port)
    assert free_port(site.port) != site.port
    with pytest.raises(ValueError, match="is no address here|cannot listen"):
        listening_socket("192.0.2.1", 0)


def test_a_server_that_ended_frees_its_port():
    site = Site()
    site.server.end()
    listening_socket("127.0.0.1", site.port).close()


def test_what_is_not_installed_is_named_with_the_command(monkeypatch):
    assert missing_libraries() == ""
    monkeypatch.setattr("vla_ros.operator.console.server.find_spec", lambda name: None)
    assert missing_libraries().endswith("python3 -m pip install starlette uvicorn")


@pytest.mark.parametrize("words, sentence", [
    (["--host", "0.0.0.0"], "other machines reach: give token_file"), (["--port", "70000"], "--port is 70000; give 0 to 65535"),
    (["--token-file", "/no/such"], "token_file '/no/such' cannot be read")])
def test_the_verb_says_what_is_wrong_before_anything_is_started(capsys, words, sentence):
    assert main(["console", *words]) == 2
    assert sentence in capsys.readouterr().err
