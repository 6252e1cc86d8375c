"""Who may look at the operator's page, and who may press."""
from __future__ import annotations

import socket

import pytest

from vla_ros.operator.console.access import (
    MIN_TOKEN_CHARACTERS,
    VIEWER_FOR_S,
    WRONG_TOKENS_A_MINUTE,
    AccessRules,
    Viewers,
    is_loopback,
    read_token,
)

TOKEN = "a secret of this lab"


def rules(token="", host="127.0.0.1", clock=lambda: 0.0):
    return AccessRules(token, host, clock)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_the_loopback_needs_no_token(host):
    assert is_loopback(host) and read_token("", host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "robot.lab", ""])
def test_any_other_address_needs_one(host):
    with pytest.raises(ValueError, match="other machines reach: give token_file"):
        read_token("", host)


@pytest.mark.parametrize("length, good", [(0, False), (MIN_TOKEN_CHARACTERS - 1, False), (MIN_TOKEN_CHARACTERS, True)])
def test_a_token_is_no_shorter_than_can_be_guessed(tmp_path, length, good):
    path = tmp_path / "token"
    path.write_text("t" * length + "\nnot this line\n")
    if good:
        assert read_token(str(path), "0.0.0.0") == "t" * length
    else:
        with pytest.raises(ValueError, match=f"has {length} characters; give {MIN_TOKEN_CHARACTERS} or more"):
            read_token(str(path), "127.0.0.1")


def test_a_token_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="token_file '.*none' cannot be read: "):
        read_token(str(tmp_path / "none"), "127.0.0.1")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(ValueError, match="cannot be read"):
        read_token(str(tmp_path / "bytes"), "127.0.0.1")


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "10.0.0.7", "LOCALHOST"])
def test_this_machines_names_and_any_address_are_answered(host):
    assert rules().problem_of_host(host) == ""
    assert rules().problem_of_host(f"{socket.gethostname()}:1") == ""


@pytest.mark.parametrize("host", ["evil.example", "evil-localhost", "127.0.0.1.evil.example:8080", "localhost.evil.example", "", "[", "a\nb", "x" * 10_000])
def test_a_name_that_its_owner_points_here_is_not(host):
    problem = rules().problem_of_host(host)
    assert "is no name of this machine" in problem and len(problem) < 250


GOOD = {"x-vla-console": "1", "host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}


def test_the_consoles_own_page_may_press():
    assert rules().problem_of_action(GOOD) == ""
    without = {key: value for key, value in GOOD.items() if key not in ("origin", "sec-fetch-site")}
    assert rules().problem_of_action(without) == "", "a program that is no browser"


@pytest.mark.parametrize("changes", [
    {"origin": "http://evil.example"}, {"origin": "http://127.0.0.1:9090"}, {"origin": "null"}, {"origin": "http://localhost:8080"},
    {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}])
def test_a_foreign_page_may_not(changes):
    assert "may not press buttons here" in rules().problem_of_action({**GOOD, **changes})


@pytest.mark.parametrize("site, answered", [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)])
def test_another_sites_page_does_not_even_look(site, answered):
    assert (rules().problem_of_site({"sec-fetch-site": site}) == "") is answered
    assert rules().problem_of_site({}) == "", "a browser of before 2020"


def test_what_a_foreign_form_could_send_is_not_carried_out():
    form = {key: value for key, value in GOOD.items() if key != "x-vla-console"}
    assert "only the console's own page sends it" in rules().problem_of_action(form)


def test_a_browser_that_has_shown_the_token_is_known_also_after_a_restart():
    shown = rules(TOKEN)
    assert shown.token_wanted and shown.problem_of_token(TOKEN, "10.0.0.7") == ""
    assert rules(TOKEN).knows(shown.cookie)
    assert not rules("another secret").knows(shown.cookie)
    assert TOKEN not in shown.cookie


@pytest.mark.parametrize("cookie", ["", "guess", TOKEN, "\ud800", "ü" * 100])
def test_a_browser_that_has_not_is_unknown(cookie):
    assert not rules(TOKEN).knows(cookie)
    assert rules().knows(cookie), "without a token, all are"


def test_wrong_tokens_are_counted_by_address_and_keep_nobody_out_who_has_the_right_one():
    now = [0.0]
    access = rules(TOKEN, clock=lambda: now[0])
    for number in range(WRONG_TOKENS_A_MINUTE):
        assert "this is not the token" in access.problem_of_token(f"guess {number}", "10.0.0.7")
    now[0] = 59.9
    assert "wait a minute" in access.problem_of_token("guess", "10.0.0.7")
    assert "this is not the token" in access.problem_of_token("guess", "10.0.0.8")
    assert access.problem_of_token(TOKEN, "10.0.0.7") == ""
    now[0] = 60.0
    assert "this is not the token" in access.problem_of_token("guess", "10.0.0.7")


def test_one_page_more_than_allowed_is_told_so_until_another_closes():
    viewers = Viewers(2)
    assert viewers.admit("a", "Anne", 0.0) == viewers.admit("b", "Bert", 0.0) == ""
    assert "2 pages look at this robot already" in viewers.admit("c", "Carl", 0.0)
    assert not viewers.knows("c") and viewers.names(0.0) == ["Anne", "Bert"]
    assert viewers.admit("a", "Anne", VIEWER_FOR_S) == "", "it looks on"
    assert "already" in viewers.admit("c", "Carl", VIEWER_FOR_S)
    assert viewers.admit("c", "Carl", VIEWER_FOR_S + 0.1) == ""
    assert viewers.names(VIEWER_FOR_S + 0.1) == ["Anne", "Carl"]
