"""The command line of a process that holds several nodes."""
from __future__ import annotations

import pytest

from vla_ros.core.composed import KINDS, join, node_name, split

LEFT = ["--ros-args", "-r", "__node:=camera_left", "-p", "camera:=left"]
ALL = ["--ros-args", "-r", "__ns:=/vla", "--params-file", "vla.yaml"]


@pytest.mark.parametrize("for_all", [[], ALL])
@pytest.mark.parametrize("nodes", [
    [("synchronizer", [])],
    [("camera_ingest", LEFT), ("camera_ingest", []), ("synchronizer", []), ("inference", ["--ros-args", "-p", "warm_up:=0"])],
])
def test_what_was_joined_is_split_again(nodes: list[tuple[str, list[str]]], for_all: list[str]) -> None:
    assert split([*join(nodes), *for_all]) == (nodes, for_all)


@pytest.mark.parametrize("words", [[], ALL])
def test_without_a_list_it_is_one_of_each(words: list[str]) -> None:
    assert split(words) == ([(kind, []) for kind in KINDS], words)


def test_arguments_without_an_end_are_for_all() -> None:
    assert split(["inference", *ALL]) == ([("inference", [])], ALL)


def test_a_node_is_called_as_its_first_rule_says_or_as_its_kind() -> None:
    assert node_name("camera_ingest", LEFT) == "camera_left"
    assert node_name("camera_ingest", [*LEFT, "-r", "__node:=other"]) == "camera_left"
    assert node_name("camera_ingest", ["--ros-args", "-p", "__node:=other"]) == "camera_ingest"


@pytest.mark.parametrize("words, sentence", [
    (["supervisor"], "'supervisor' is no node; use camera_ingest, synchronizer, inference, then --ros-args"),
    (["inference", "safety_validator", *ALL], "'safety_validator' is no node"),
    (["--ros-args", "-r", "__node:=x"], "'__node:=x' would name every node of the process; give it to one: composed camera_ingest"),
    (["inference", "--ros-args", "--remap", "__name:=x"], "'__name:=x' would name every node")])
def test_what_is_no_node_and_a_name_for_all_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        split(words)
