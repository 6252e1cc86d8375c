"""The vla command: whatever is wrong is one sentence, never a traceback."""
from __future__ import annotations

from pathlib import Path

import pytest

from vla_ros.cli import main as command
from vla_ros.cli.main import VERBS, main, parse


def test_no_verb_and_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2 and "usage: vla" in capsys.readouterr().out
    assert main(["dance"]) == 2 and capsys.readouterr().err.startswith("vla: unknown verb 'dance'; known are: demo, ")


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"bench"}))
def test_every_verb_has_a_parser_of_its_own(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse([verb, "--help"])
    assert end.value.code == 0 and f"usage: vla {verb}" in capsys.readouterr().out


def test_a_bench_s_arguments_are_its_own() -> None:
    pytest.importorskip("rclpy", reason="the bench's module needs ROS 2 (rclpy)")
    pytest.importorskip("lifecycle_msgs", reason="the bench's module needs ROS 2's messages")
    assert parse(["bench", "faults", "--list"]).list
    with pytest.raises(ValueError, match="unknown bench 'nope'"):
        parse(["bench", "nope"])
    with pytest.raises(ValueError, match="--repeat is 0; give 1 or more"):
        parse(["bench", "faults", "--repeat", "0"])


@pytest.mark.parametrize("name", ["/vla", "vla", "/", "", "/a/b_1", "/a/"])
def test_namespaces(name: str) -> None:
    assert parse(["arm", "--namespace", name]).namespace == name


@pytest.mark.parametrize("name", ["a b", "//x", "/1a", "a-b", "/a//b", "ä"])
def test_what_is_no_namespace_is_said_before_ros_is_asked(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["say", "go", "--namespace", name])
    assert f"'{name}' is no namespace; give names joined by /" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                             tmp_path: Path) -> None:
    def write(arguments: object) -> int:
        (tmp_path / "nowhere" / "x").write_text("")
        return 0

    monkeypatch.setattr(command, "lookup", lambda *_: write)
    assert main(["doctor"]) == 2
    error = capsys.readouterr().err
    assert error == f"vla: {tmp_path}/nowhere/x: No such file or directory; is the path right, and may you write there?\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: object) -> int:
        raise OSError("no file is in it")

    monkeypatch.setattr(command, "lookup", lambda *_: broken)
    with pytest.raises(OSError, match="no file"):
        main(["doctor"])
