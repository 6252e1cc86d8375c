"""A user's file is read within bounds, whatever its path names; what is wrong is said in one short sentence."""
import importlib
import os
import subprocess
import sys
import time

import pytest
import yaml

from vla_ros.core import yaml_file
from vla_ros.core.parameters import Parameter
from vla_ros.core.robot import load_robot, parse_robot
from vla_ros.core.shown import shown
from vla_ros.core.yaml_file import DEEPEST, MOST_BYTES, MOST_NODES

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))


def short(value):
    return shown(value, 20)


@pytest.fixture(params=["libyaml", "Python"])
def reader(request, monkeypatch):
    """With libyaml and without: a Python may lack it."""
    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    yield importlib.reload(yaml_file).read_yaml
    monkeypatch.undo()
    importlib.reload(yaml_file)


@pytest.fixture
def read(tmp_path, reader):
    def read(text):
        path = tmp_path / "some.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return reader(path, "the file", "give another")
    return read


def test_a_list_that_launch_ros_wrote_is_a_list(read):
    """It keeps the lists of a node's parameters as tuples."""
    text = yaml.dump({"/**": {"ros__parameters": {"cameras": ("head", "wrist"), "ages": (0.1, (1, 2))}}})
    assert "python/tuple" in text
    assert read(text) == {"/**": {"ros__parameters": {"cameras": ["head", "wrist"], "ages": [0.1, [1, 2]]}}}


def test_a_tuple_that_is_none_is_refused(read):
    with pytest.raises(ValueError, match="expected a sequence"):
        read("a: !!python/tuple b")


def test_a_good_file_is_a_mapping(read):
    assert read("a: [1, 2.5, true, x]\nb: {c: null}") == {"a": [1, 2.5, True, "x"], "b": {"c": None}}
    assert read("\ufeffa: 1") == {"a": 1}  # with a byte order mark


@pytest.mark.parametrize("text, says", [
    (BOMB, "line 1: aliases and anchors"), ("a: &b 1", "aliases and anchors"), ("a: *b", "aliases and anchors"),
    ("a: 1\nb: 2\na: 3", "line 3: 'a' is given twice"), ("c: {a: 1, 'a': 2}", "'a' is given twice"),
    ("1: x\n0x1: y", "1 is given twice"),
    ("a: " + "[" * (DEEPEST + 1), "nested deeper"), ("[" * 200_000, "nested deeper"), ("{a: " * 60_000, "nested deeper"),
    ("- " * 100_000, "nested deeper"), ("[" + "1," * MOST_NODES + "1]", "more than 10000 values"),
    ("a: 1\n" * (MOST_BYTES // 5 + 1), "has more than 262144 bytes"), (b"\xff\xfea", "is not UTF-8 text (byte 0)"),
    ("a: !!python/object/apply:os.system [true]", "the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
    ("a: !!int ''", "the tag"), ("a: [", "line "), ("a: b: c", "line 1: mapping values are not allowed"),
    ("a: 1\n---\nb: 2", "another document"), ("a: \0", "not allowed"),
    ("a: " + "1:" * 60_000 + "1", "line 1: a number of 120001 characters; at most 200"),
    ("a: 2026-13-45", "month must be in 1..12"), ("? [1]\n: 2", "unhashable"), ("", "no mapping"), ("- 1", "but a list"),
    ("root:x:0:0:root:/root:/bin/bash\nme:x:1:1::/:/bin/sh", "holds no mapping (name: value), but a str"),
], ids=short)
def test_what_is_no_such_file_gets_a_short_sentence_soon(read, text, says):
    begin = time.monotonic()
    with pytest.raises(ValueError) as caught:
        read(text)
    assert time.monotonic() - begin < 5.0  # it was minutes
    sentence = str(caught.value)
    assert sentence.startswith("the file '/") and says in sentence and len(sentence) < 600 and "\n" not in sentence


@pytest.mark.parametrize("path, says", [
    ("", "'' does not exist; set robot_file to one like config/robots/sim.yaml"), ("/", "'/' is a folder; set"),
    ("nowhere.yaml", f"'nowhere.yaml' does not exist, seen from {os.getcwd()}; set"),
    (".", "'.' is a folder"), ("/dev/zero", "is no ordinary file; set"), ("/dev/null", "is no ordinary file"),
    ("/" + "y" * 300, "cannot be read (File name too long)"), ("x" * 10_000_000, "cannot be read"),
    ("/etc/passwd", "holds no mapping"), ("/proc/self/mem", "cannot be read"),
], ids=short)
def test_what_is_no_file_to_read_is_named_and_nothing_of_it_is_said(path, says):
    with pytest.raises(ValueError) as caught:
        load_robot(path)
    assert says in str(caught.value) and "root:" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_pipe_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no ordinary file"):
        load_robot(tmp_path / "pipe")


def test_no_file_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for path in ("/", "/dev/zero", tmp_path, "/nowhere"):
        with pytest.raises(ValueError):
            load_robot(path)
    assert before == 0 or len(os.listdir("/proc/self/fd")) == before


def test_a_bomb_costs_no_memory(tmp_path):
    """In a process of its own, which may have 200 MB more than it has."""
    (tmp_path / "bomb.yaml").write_text(BOMB + "channels: *a9\n")
    code = ("import resource, sys; from vla_ros.core.robot import load_robot\n"
            "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + (200 << 20)\n"
            "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
            "try: load_robot(sys.argv[1])\nexcept ValueError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bomb.yaml")], capture_output=True, text=True, timeout=60)
    assert "aliases and anchors" in done.stdout, done.stderr


@pytest.mark.parametrize("value, text", [
    (1.5, "1.5"), ("go", "'go'"), (None, "None"), ([1, 2], "[1, 2]"), ({"a": [1]}, "{'a': [1]}"), (True, "True"),
])
def test_what_is_short_is_shown_as_it_is(value, text):
    assert shown(value) == text


@pytest.mark.parametrize("value", ["x" * 10_000_000, [["y" * 1000] * 1000] * 1000, {i: i for i in range(100_000)},
                                   10 ** 10_000, b"z" * 1_000_000, [[[[[[[[]]]]]]]] * 9], ids=short)
def test_what_is_long_is_cut(value):
    assert 0 < len(shown(value)) <= 80


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


def test_a_value_that_cannot_be_printed_is_named_by_its_type():
    assert "Rude" in shown(Rude())


@pytest.mark.parametrize("data", [
    "s" * 1_000_000, {"name": "r", "channels": "c" * 1_000_000, "outputs": []},
    {"name": "r", "channels": {"x": {"unit": "m", "bounds": [0, 1], "limits": [0, 1], "acceleration": ["q" * 1_000_000], "on_stop": "zero"}},
     "outputs": []},
], ids=short)
def test_a_robots_values_are_cut(data):
    with pytest.raises(ValueError) as caught:
        parse_robot(data)
    assert len(str(caught.value)) < 300


def test_a_parameters_value_is_cut():
    with pytest.raises(ValueError, match=r"parameter 'p' is 'x.*\.\.\.; give a whole number$") as caught:
        Parameter("p", 1, "some").check("x" * 1_000_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("levels, fits", [(19, True), (20, True), (21, False)])
def test_twenty_levels_are_read(read, levels, fits):
    text = "a: " + "[" * (levels - 1) + "]" * (levels - 1)  # the mapping is the first
    if fits:
        assert read(text)
        return
    with pytest.raises(ValueError, match="nested deeper than 20 levels"):
        read(text)


def test_a_file_that_is_seen_from_a_folder_that_is_gone_is_a_sentence_too(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ValueError, match="does not exist, and neither does the folder that it is seen from"):
        load_robot("nowhere.yaml")
