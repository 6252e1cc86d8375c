"""Every command that README.md, CONTRIBUTING.md and doc/ print is one: understood as printed, and run where it can be.

They are collected from the pages, so a new one is tried without a word here. A command in a block of code is taken
exactly as printed; an example in a sentence may leave out what a verb requires ("vla quantize --to static").
"""
from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from vla_ros.cli.bench import BENCHES
from vla_ros.cli.main import VERBS, add_arguments, main, parse
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.operator.processes import MODULES

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md",
         *sorted(path for path in (ROOT / "doc").rglob("*.md") if path.stem != "architecture"))
TOPICS = (ROOT / "doc" / "topics.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
MATRIX = (ROOT / ".ci" / "matrix").read_text(encoding="utf-8")
SHELLS = ("", "sh", "bash", "shell", "console")  # kinds of code
MAIN = "vla_ros.cli.main"
ENDS = ("&&", "||", ";", "|", "&")
# What makes a run small, after all that is printed; and why a verb is not run here. A verb must stand in one of both.
SMALLER = {
    "memory": "", "doctor": "", "parameters": "", "policy": "", "robot": "", "quantize": "--runs 1 --episodes 1", "record": "--episodes 1",
    "dataset info": "", "dataset convert": "",
    "evaluate": "--episodes 1 --kinds open go_to --parts success --scenarios none --jobs 1", "train behaviour_cloning": "--steps 1 --batch 1",
}
NOT_RUN = {
    "dataset bag": "wants a bag: test_bag_convert.py",
    "blackbox": "wants a recording: test_blackbox_story.py", "replay": "wants a recording: test_replay.py",
    "report": "wants a recording: test_day_report.py",
    "demo": "a minute of real time and ROS: test/system, make demo", "train dagger": "minutes: test_training_box.py",
    "train reinforce": "minutes: test_reinforce.py", "train words": "wants the encoder: test_reading_training.py", "bench": "measures in real time: test_bench_*.py",
    "compile": "minutes: test_compiled.py", "serve": "ends with Ctrl-C: test_remote.py",
    "console": "ends with Ctrl-C: test_console_server.py",
    "sim": "wants a simulator of somebody else's: test/nodes/test_env_node.py",
    **dict.fromkeys(("robot init", "robot check"), "looks at a robot that runs: test/nodes/test_robot_graph.py"),
    **dict.fromkeys(("say", "stop", "arm", "disarm", "reset", "trace", "markers"), "talks to a suite that runs: test/system"),
}
# The others share what is imported: for most, half of their time. What torch keeps of earlier tests makes `memory`'s many
# small operations nine times as slow.
AS_PROCESSES = ("doctor", "parameters", "memory")
# Of the published models, whose sizes are test_memory.py's: two layers where there are dozens.
FEWER_LAYERS = """
from vla_ros.models import memory
for name, preset in memory.PRESETS.items():
    options = "vision_options" if "vision" in preset else "language_options"
    memory.PRESETS[name] = {**preset, options: {**preset.get(options, {}), "layers": 2}}
"""


class Printed(NamedTuple):
    page: str
    words: tuple[str, ...]
    block: bool  # of code; else in a sentence

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def commands(line: str) -> list[tuple[str, ...]]:
    """The commands of a line of shell, without comments, redirections and the variables set before them."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return []  # something with an apostrophe, and no command
    found: list[list[str]] = [[]]
    for word in words:
        if word in ENDS:
            found.append([])
        else:
            found[-1].append(word)
    return [tuple(one) for one in map(bare, found) if one]


def bare(words: list[str]) -> list[str]:
    words = words[: words.index(">")] if ">" in words else words
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if "-m" in words and MAIN in words:  # the same verbs by another way, as accelerate starts them
        return ["vla", *words[words.index(MAIN) + 1:]]
    return words


def printed() -> list[Printed]:
    found = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for index, part in enumerate(re.split(r"^( *)```", text, flags=re.M)[::2]):
            if index % 2 == 0:  # sentences
                spans = [span for paragraph in part.split("\n\n") for span in re.findall(r"`([^`]+)`", paragraph)]
                found += [Printed(name, one, False) for span in spans for one in commands(span.replace("\n", " "))]
            elif part.partition("\n")[0].strip() in SHELLS:
                lines = textwrap.dedent(part.partition("\n")[2]).splitlines()
                found += [Printed(name, one, True) for line in lines if line[:1].strip() for one in commands(line)]
    return list(dict.fromkeys(found))


ALL = printed()


def of(program: str, least: int = 2) -> Any:
    chosen = [one for one in ALL if one.words[0] == program and len(one.words) >= least]
    return pytest.mark.parametrize("one", chosen, ids=str)


def test_the_pages_are_read() -> None:
    printed_as = {one.words for one in ALL if one.block}
    assert ("vla", "memory", "clip-l14", "llama-7b") in printed_as and ("make", "demo") in printed_as
    assert ("vla", "stop", "--release") in printed_as and ("vla", "reset") in printed_as  # both of one line
    assert ("vla", "arm") in printed_as  # behind a variable, in security.md
    assert ("vla", "train", "behaviour_cloning", "--data", "demonstrations", "--out", "mine") in printed_as  # accelerate launch
    assert not any("#" in word for one in ALL if one.block for word in one.words)
    assert len([one for one in ALL if one.words[0] == "vla" and one.block]) >= 25


@of("vla")
def test_its_verb_understands_it_as_printed(one: Printed, capsys: pytest.CaptureFixture[str]) -> None:
    if one.block:
        understand(list(one.words[1:]), one, capsys)
    else:
        understand([word for word in one.words[1:] if word not in ("…", "...")], one, capsys, lenient=True)


def understand(words: list[str], one: Printed, capsys: pytest.CaptureFixture[str], lenient: bool = False) -> None:
    verb = words[0]
    assert verb in VERBS, f"{one}: there is no verb {verb}"
    try:
        if lenient and verb != "bench":
            parser = argparse.ArgumentParser()
            add_arguments(parser, verb)
            for action in parser._actions:
                action.required = False
                action.nargs = "*" if action.nargs == "+" and not action.option_strings else action.nargs
            parser.parse_args(words[1:])
        else:
            parse(words)
    except ModuleNotFoundError as missing:  # a bench's arguments are in its module
        if str(missing.name).startswith("vla_ros."):
            raise
        pytest.skip(f"{missing.name} is not installed")
    except SystemExit as end:
        pytest.fail(f"{one}: {capsys.readouterr().err}" if end.code else "it only prints help")


@of("make")
def test_make_can_make_it(one: Printed, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> None:
    targets = [word for word in one.words[1:] if "=" not in word]
    arguments = [word.partition("=")[2] for word in one.words[1:] if word.startswith("ARGS=")]
    for target in targets:
        rule = re.search(rf"^{re.escape(target)}:.*\n((?:\t.*\n)*)", MAKEFILE, re.M)
        assert rule, f"{one}: make knows no {target}"
        for given in (shlex.split(text) for text in arguments):
            if verb := re.search(r"vla (\w+(?: \w+)?) \$\(ARGS\)", rule[1]):
                understand([*verb[1].split(), *given], one, capsys)
            elif ".ci/matrix $(ARGS)" in rule[1]:
                assert all(f"    [{name}]=" in MATRIX for name in given), f"{one}: .ci/matrix has no such environment"
            elif ".ci/test $(ARGS)" in rule[1]:
                assert not pytestconfig._parser.parse_known_and_unknown_args(given)[1]
            else:
                assert "$(ARGS)" in rule[1], f"{one}: {target} takes no ARGS"


@of("python3")
@pytest.mark.filterwarnings("ignore")
def test_python_finds_the_module(one: Printed) -> None:
    if "-m" in one.words and (name := one.words[one.words.index("-m") + 1]).startswith("vla_ros"):
        assert find_spec(name), one
    elif "-c" in one.words:
        compile(one.words[one.words.index("-c") + 1], str(one), "exec")


# -- ros2: what it is told about the suite is there; that ros2 itself understands it cannot be seen without it ---------
def ros2_launch(package: str, file: str, *given: str) -> None:
    assert package == "vla_ros"
    text = (ROOT / "launch" / file).read_text(encoding="utf-8")
    known = set(re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', text))
    for word in given:
        name, assigned, _ = word.partition(":=")
        assert word in ("--show-args", "…") or (assigned and name in known), f"{word}; {file} has {', '.join(known)}"


def ros2_service(what: str, name: str, kind: str, *request: str) -> None:
    _, _, node, service = name.split("/")
    place = MODULES[node].replace(".", "/")
    code = (ROOT / f"{place}.py").read_text(encoding="utf-8")
    assert what == "call" and kind.split("/")[-1] in code and re.search(rf"~/{service}\b|[\"']{service}[\"']", code)


def ros2_topic(what: str, *words: str) -> None:
    numbered = ("--rate", "--times")
    plain = [word for before, word in zip(("", *words), words) if not word.startswith("--") and before not in numbered]
    name, *rest = plain
    bare = name.removeprefix("/vla/")
    assert f"`{bare}`" in TOPICS, f"doc/topics.md has no topic {bare}"
    if len(rest) == 2 and rest[1] != "…":
        values = yaml.safe_load(rest[1])
        package, _, kind = rest[0].split("/")
        if find_spec(package):
            fields = getattr(import_module(f"{package}.msg"), kind).get_fields_and_field_types()
            assert set(values) <= set(fields), f"{kind} has {', '.join(fields)}"


def ros2_action(what: str, *words: str) -> None:
    name, kind, goal = [word for word in words if not word.startswith("--")]
    assert what == "send_goal" and f"`{name}`" in TOPICS, f"doc/topics.md has no action {name}"
    package, folder, title = kind.split("/")
    assert (package, folder) == ("vla_ros_msgs", "action")
    text = (ROOT / "msg" / folder / f"{title}.action").read_text(encoding="utf-8").split("---")[0]
    assert set(yaml.safe_load(goal)) <= set(re.findall(r"^\S+ (\w+)", text, re.M))


def ros2_param(what: str, node: str, name: str, *value: str) -> None:
    assert name in {one.name for one in NODE_PARAMETERS[node.rpartition("/")[2]]}


ROS2 = {"launch": ros2_launch, "service": ros2_service, "topic": ros2_topic, "param": ros2_param, "action": ros2_action}
NOT_OURS = ("pkg", "security", "run", "control", "lifecycle", "node", "bag", "interface", "doctor", "daemon")


@of("ros2", 3)
def test_what_ros2_is_told_about_is_there(one: Printed) -> None:
    verb = one.words[1]
    assert verb in ROS2 or verb in NOT_OURS, one
    if verb in ROS2:
        ROS2[verb](*one.words[2:])


# -- run ------------------------------------------------------------------------------------------------------------
def kind_of(one: Printed) -> str:
    given = parse(one.words[1:])
    if one.words[1] == "robot" and given.file in ("init", "check"):
        return f"robot {given.file}"
    if one.words[1] == "dataset":
        return f"dataset {'bag' if one.words[2] == 'convert' and given.robot else one.words[2]}"
    return f"train {given.recipe}" if one.words[1] == "train" else one.words[1]


def runs() -> list[Any]:
    """Of each verb the first one, the others with --full."""
    found, seen = [], set()
    for one in (one for one in ALL if one.block and one.words[0] == "vla" and "--help" not in one.words):
        try:
            kind = kind_of(one)
        except (SystemExit, ValueError, ModuleNotFoundError):
            continue  # which the test above says
        of_its_kind = kind, bool(why_not(one, kind))
        marks = [pytest.mark.full] if of_its_kind in seen else []
        seen.add(of_its_kind)
        found.append(pytest.param(one, kind, id=str(one), marks=marks))
    return found


def why_not(one: Printed, kind: str) -> str:
    if one.words[1] == "record" and "--sim" not in one.words:
        return "records a suite that runs: test_record.py, test/system"
    if "--live" in one.words:
        return "listens to a robot that runs: test/nodes/test_policy_check_graph.py"
    if "--nodes" in one.words:
        return "through the nodes, in real time: test/system"
    if {"--phrasings", "--say"} & set(one.words):
        return "says what somebody brought: test_phrasings.py, test_evaluation_plan.py"
    return NOT_RUN.get(kind, "")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty at first; an engine that one command built is there for the next."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def vla(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
        ) -> Iterator[Callable[[Sequence[str], bool], tuple[int, str, str]]]:
    """Runs a command in an empty folder, in this process or one of its own: exit code, output, errors."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)

    def run(words: Sequence[str], as_process: bool) -> tuple[int, str, str]:
        if as_process:
            before = FEWER_LAYERS if words[0] == "memory" else ""
            code = f"{before}\nimport sys\nfrom {MAIN} import main\nsys.exit(main(sys.argv[1:]))"
            done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=280)
            return done.returncode, done.stdout, done.stderr
        code = main(words)
        return code, *capfd.readouterr()

    torch = import_module("torch") if find_spec("torch") else None
    threads = torch.get_num_threads() if torch else 0
    yield run
    if torch:  # which a verb may change for all that follows
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("one", "kind"), runs())
def test_it_runs_small(one: Printed, kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if why := why_not(one, kind):
        pytest.skip(f"not run here: {why}")
    assert kind in SMALLER, f"{one}: say in SMALLER how it is run small, or in NOT_RUN why it is not run"
    surroundings(tmp_path, one.words)
    if kind == "memory":
        pytest.importorskip("torch")
    vla = request.getfixturevalue("vla")
    code, output, errors = vla([*one.words[1:], *SMALLER[kind].split()], kind in AS_PROCESSES)
    if "needs the Python module" in errors:
        pytest.skip(errors.strip())
    assert code in ((0, 1) if kind == "doctor" else (0,)), output + errors
    assert "Traceback" not in errors and output


def surroundings(folder: Path, words: tuple[str, ...]) -> None:
    """What the pages' commands find where a reader runs them: checkpoints, demonstrations."""
    checkpoint = ROOT / "vla_ros" / "models" / ("pretrained_arm" if "arm" in words else "pretrained")
    for name, following in zip(words, words[1:]):
        if name == "--checkpoint":
            (folder / following).parent.mkdir(parents=True, exist_ok=True)
            (folder / following).symlink_to(checkpoint)
        if name == "policy":
            shutil.copytree(ROOT / "config", folder / "config", dirs_exist_ok=True)
        if name == "robot":
            shutil.copy(ROOT / "config" / "robots" / "sim.yaml", folder / following)
        if name == "--data" or (words[1] == "dataset" and name in ("info", "convert")):
            pytest.importorskip("av")
            pytest.importorskip("pyarrow")
            import demonstrations
            demonstrations.write(folder / following, replace(demonstrations.SPEC, cameras={"front": (64, 96)}))
            if "--only-interventions" in words:
                demonstrations.add_feature(folder / following, "intervention", [frame < 5 for frame in range(20)], dtype="bool",
                                           shape=[1], names=None)
        if name == "--config":
            pytest.importorskip("torch")
            from vla_ros.datasets.lerobot.read import Dataset
            from vla_ros.training.recipes.behaviour_cloning import config_for
            data = Dataset(folder / words[words.index("--data") + 1])
            (folder / following).write_text(json.dumps(config_for(data).to_dict()))


def test_every_verb_and_bench_is_in_one_of_both_lists() -> None:
    known = {kind.split()[0] for kind in (*SMALLER, *NOT_RUN)}
    assert known == set(VERBS) and not set(SMALLER) & set(NOT_RUN)
    assert all(find_spec(module) for module in BENCHES.values())
