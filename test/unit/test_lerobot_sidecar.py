"""LeRobot's own process beside ours: how it starts, all that it can do wrong, and that it surely ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="no msgpack here")
pytest.importorskip("websockets.sync.server", reason="no websockets here, or an old one")

from fake_sidecar import SIZE, checkpoint, fake_environment

from vla_ros.cli.main import main
from vla_ros.core.types import Instruction, Observation
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.lerobot.environment import environment_python, make_environment
from vla_ros.policies.lerobot.sidecar import MOST_LATE_ANSWERS

ROOT = Path(__file__).parents[2]


def options(tmp_path: Path, behaviour: str = "good", **more: Any) -> dict[str, Any]:
    sidecar = {"env": str(fake_environment(tmp_path / "env", behaviour)), "timeout": 0.3, "start_timeout": 60.0}
    sidecar.update(more.pop("sidecar", {}))
    names = {"state": ["a", "b"], "actions": ["a", "b"], "rate": 10.0}
    return {"checkpoint": str(checkpoint(tmp_path / "checkpoint")), **names, "sidecar": sidecar, **more}


def made(tmp_path: Path, behaviour: str = "good", **more: Any) -> Any:
    return make_policy("lerobot", options(tmp_path, behaviour, **more))


def seen(a: float = 0.5, text: str = "pick up the cube") -> Observation:
    images = {"front": np.zeros((*SIZE, 3), np.uint8)}
    before = Observation(1, Instruction(1, 1, text), images, {"a": a - 1.0, "b": 1.0})
    return Observation(2, Instruction(1, 1, text), images, {"a": a, "b": 1.0}, history=(before,))


def process_of(policy: Any) -> int:
    pid: int = policy._runner._keeper._process.pid
    return pid


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def soon(is_so: Callable[[], Any], seconds: float = 15.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := is_so():
            return result
        time.sleep(0.05)
    raise AssertionError("not in time")


def asked_again(policy: Any) -> Any:
    """Its rows once it answers again."""

    def ask() -> Any:
        try:
            return policy.predict(seen())
        except ConnectionError:
            return None

    def rows() -> Any:
        given = ask()
        return None if given is None else [given]

    return soon(rows)[0]


# -- as it should be ---------------------------------------------------------------------
def test_it_is_started_asked_and_named_by_what_it_runs(tmp_path: Path) -> None:
    policy = made(tmp_path)
    assert policy.name == "lerobot fake@12345678"
    rows = policy.predict(seen(a=7.0))
    assert rows.shape == (4, 2) and rows[:, 1].tolist() == [6.0, 7.0, 7.0, 7.0]  # with its history
    assert policy.describe()["engine"] == f"LeRobot in the sidecar (process {process_of(policy)})"


def test_a_reset_is_said_with_the_next_question_once(tmp_path: Path) -> None:
    policy = made(tmp_path)
    assert policy.predict(seen())[0, 0] == 0.0
    policy.reset()
    assert policy.predict(seen())[0, 0] == 1.0
    assert policy.predict(seen())[0, 0] == 1.0
    assert policy.predict(seen(text="put it down"))[0, 0] == 2.0  # other words are another instruction


def test_without_words_it_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(NotUnderstood, match="say what"):
        made(tmp_path).predict(seen(text=" "))


def test_its_spec_is_read_from_the_config_alone(tmp_path: Path) -> None:
    spec = policy_spec("lerobot", options(tmp_path))
    assert (spec.steps, spec.step, dict(spec.images)) == (4, 100_000_000, {"front": SIZE})
    assert spec.history == 2 and not spec.takes_prefix


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        ({"type": "smolvla", "chunk_size": 50, "n_action_steps": 10}, 50),
        ({"type": "vqbet", "action_chunk_size": 5}, 5),
        ({"type": "tdmpc", "n_action_steps": 1, "n_action_repeats": 2}, 2),
        ({"type": "tdmpc", "n_action_steps": 3, "n_action_repeats": 1}, 3),
    ],
)
def test_a_chunk_is_as_long_as_the_type_makes_it(tmp_path: Path, config: dict[str, Any], rows: int) -> None:
    given = options(tmp_path)
    given["checkpoint"] = str(checkpoint(tmp_path / "other", **config))
    assert policy_spec("lerobot", given).steps == rows


def test_cameras_that_a_type_fills_up_by_itself_are_not_asked_of_the_robot(tmp_path: Path) -> None:
    features = json.loads((checkpoint(tmp_path / "plain") / "config.json").read_text())["input_features"]
    features["observation.images.empty_camera_0"] = {"type": "VISUAL", "shape": [3, 480, 640]}
    given = options(tmp_path)
    given["checkpoint"] = str(checkpoint(tmp_path / "other", input_features=features))
    assert list(policy_spec("lerobot", given).images) == ["front"]


# -- what it can do wrong ----------------------------------------------------------------
def test_one_that_dies_is_a_lost_connection_at_once_and_comes_back(tmp_path: Path) -> None:
    policy = made(tmp_path, "dies")
    policy.predict(seen())
    first = process_of(policy)
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="hung up|not ready"):
        policy.predict(seen())
    soon(lambda: not runs(first))
    with pytest.raises(ConnectionError):
        policy.predict(seen())
    assert time.monotonic() - began < 1.0
    assert asked_again(policy).shape == (4, 2)
    assert process_of(policy) != first and (tmp_path / "env" / "starts").read_text() == "2"


def test_one_that_hangs_is_ended_after_so_many_late_answers_and_started_anew(tmp_path: Path) -> None:
    policy = made(tmp_path, "hangs")
    policy.predict(seen())
    first = process_of(policy)
    for _ in range(MOST_LATE_ANSWERS):
        assert runs(first)
        with pytest.raises(ConnectionError, match=r"within 0\.3 s; a policy that needs longer has timeout in sidecar"):
            policy.predict(seen())
    soon(lambda: not runs(first))
    with pytest.raises(ConnectionError, match="not ready"):
        policy.predict(seen())
    assert asked_again(policy).shape == (4, 2)


def test_a_late_answer_is_never_taken_for_the_next_one(tmp_path: Path) -> None:
    policy = made(tmp_path, "late")
    policy.predict(seen())
    first = process_of(policy)
    with pytest.raises(ConnectionError, match="within"):
        policy.predict(seen(a=8.0))
    for a in (9.0, 10.0, 11.0):
        time.sleep(0.3)
        rows = policy.predict(seen(a=a))
        assert rows[1, 1] == a and rows[0, 0] < 100.0
    assert process_of(policy) == first  # once is a busy machine


def test_one_that_never_comes_up_is_ended_in_time(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"not ready within 1 s \(start_timeout\)"):
        made(tmp_path, "silent", sidecar={"start_timeout": 1.0})


@pytest.mark.parametrize("seconds", [181.0, 1e9])
def test_a_start_that_would_count_as_hung_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ValueError, match="start_timeout is .* s; a policy that loads for longer than 180 s counts as hung"):
        made(tmp_path, "good", sidecar={"start_timeout": seconds})


@pytest.mark.parametrize(
    ("behaviour", "error", "sentence"),
    [
        ("crashes", ConnectionError, r"it ended \(exit code 3\)"),
        ("problem", ValueError, "the weights are upside down; turn them"),
        ("babbles", ValueError, "'Loading weights.*', which is no announcement"),
    ],
)
def test_one_that_does_not_start_says_why(tmp_path: Path, behaviour: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        made(tmp_path, behaviour)


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("fails", "the policy says no"),
        ("short", "gave 1 rows, and 4 are expected"),
        ("wide", r"\(4, 3\); rows x 2 is right for a, b"),
    ],
)
def test_rows_that_do_not_fit_are_its_fault(tmp_path: Path, behaviour: str, sentence: str) -> None:
    policy = made(tmp_path, behaviour)
    policy.predict(seen())
    with pytest.raises(RuntimeError, match=sentence):
        policy.predict(seen())


def test_numbers_that_are_none_go_on_to_the_gate_which_refuses_them(tmp_path: Path) -> None:
    policy = made(tmp_path, "nan")
    policy.predict(seen())
    assert np.isnan(policy.predict(seen())).all()


def test_a_stranger_on_this_machine_is_not_answered(tmp_path: Path) -> None:
    from vla_ros.policies.remote.openpi import Connection

    policy = made(tmp_path)
    port, key = policy._runner._keeper.address()
    with pytest.raises(ConnectionError, match="401"):
        Connection(f"ws://127.0.0.1:{port}", "", 1.0, 1.0).open()
    friend = Connection(f"ws://127.0.0.1:{port}", key, 1.0, 1.0)
    friend.open()
    assert friend.metadata["type"] == "diffusion"
    friend.close()


# -- it ends -----------------------------------------------------------------------------
def test_it_ends_with_the_policy(tmp_path: Path) -> None:
    policy = made(tmp_path)
    pid = process_of(policy)
    del policy
    gc.collect()
    soon(lambda: not runs(pid))


def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import json, sys, time\n"
        "from vla_ros.policies import make_policy\n"
        "policy = make_policy('lerobot', json.loads(sys.argv[1]))\n"
        "print(policy._runner._keeper._process.pid, flush=True)\n"
        "time.sleep(60.0)\n"
    )
    given = json.dumps(options(tmp_path))
    parent = subprocess.Popen(
        [sys.executable, "-c", code, given], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert runs(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    soon(lambda: not runs(pid), 5.0)


# -- what is refused before anything is started ------------------------------------------
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sidecar": 3}, r"sidecar is 3; give a mapping of env, device"),
        ({"sidecar": {"speed": 1}}, "no option 'speed'"),
        ({"sidecar": {"timeout": 0}}, "sidecar: timeout"),
        ({"sidecar": {"device": 0}}, "sidecar: device is 0; give a text"),
        ({"sidecar": {"seed": 0.5}}, "sidecar: seed is 0.5; give a whole number"),
        ({"sidecar": {"env": "/nowhere"}}, "`vla serve --make-env /nowhere` makes it"),
        ({"engine": "onnxruntime"}, "no engine; take engine and precision out"),
        ({"checkpoint": "/nowhere"}, "config.json does not exist"),
        ({"state": ["a"]}, "2 numbers of state, and a are given"),
    ],
)
def test_an_option_that_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    given = {**options(tmp_path), **change}
    with pytest.raises(ValueError, match=sentence):
        make_policy("lerobot", given)
    assert not (tmp_path / "env" / "starts").exists()


def test_an_environment_that_lacks_a_package_is_refused_with_the_command(tmp_path: Path) -> None:
    place = fake_environment(tmp_path / "env", "good")
    (place / "lib" / "python3.12" / "site-packages" / "websockets" / "__init__.py").unlink()
    with pytest.raises(ValueError, match=f"has no websockets; `vla serve --make-env {place}` adds"):
        environment_python(place)


def test_without_a_name_it_is_looked_for_among_the_users_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"lerobot-0\.6\.1; `vla serve --make-env` makes it"):
        environment_python()
    fake_environment(tmp_path / "vla_ros" / "lerobot-0.6.1", "good")
    assert environment_python().parent.name == "bin"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickled_weights_are_refused(tmp_path: Path, name: str) -> None:
    given = options(tmp_path)
    (tmp_path / "checkpoint" / "model.safetensors").rename(tmp_path / "checkpoint" / name)
    with pytest.raises(ValueError, match=f"has no model.safetensors, but {name}: pickles, which run code"):
        make_policy("lerobot", given)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"class": "os.system"}, "names a class, 'os.system', which may be any code"),
        ({"registry_name": "normalizer_processor", "state_file": "../other.safetensors"}, "a file beside it is right"),
        ({"registry_name": "normalizer_processor", "state_file": "state.pt"}, "a file beside it is right"),
    ],
)
@pytest.mark.parametrize("file", ["policy_preprocessor.json", "policy_postprocessor.json"])
def test_a_step_that_could_run_code_is_refused(tmp_path: Path, file: str, step: dict[str, Any], sentence: str) -> None:
    given = options(tmp_path)
    (tmp_path / "checkpoint" / file).write_text(json.dumps({"steps": [step]}))
    with pytest.raises(ValueError, match=sentence):
        make_policy("lerobot", given)


def test_an_adapter_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    given = options(tmp_path)
    given["checkpoint"] = str(checkpoint(tmp_path / "adapter", use_peft=True))
    with pytest.raises(ValueError, match="is an adapter"):
        make_policy("lerobot", given)


# -- the sidecar's own script ------------------------------------------------------------
def test_its_script_finds_the_package_without_a_path_and_says_what_is_lacking(tmp_path: Path) -> None:
    given = options(tmp_path)
    script = ROOT / "vla_ros" / "policies" / "lerobot" / "sidecar_main.py"
    request = {"options": given, "host": "127.0.0.1", "port": 0, "key": "", "parent": os.getpid()}
    process = subprocess.Popen(
        [sys.executable, "-I", script, json.dumps(request)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path,
    )
    with process:
        assert process.stdout is not None
        assert "has no LeRobot; `vla serve --make-env`" in json.loads(process.stdout.readline())["problem"]
        assert process.wait(timeout=30.0) == 2


# -- vla serve --lerobot -----------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "file", "sentence"),
    [
        ([], "", "2 numbers of state, and no names are given"),
        (["--policy", "constant"], "", "--policy and --lerobot are both given"),
        ([], "policy: constant\n", "is of policy 'constant'; beside --lerobot"),
        ([], "policy: lerobot\noptions: {state: [a, b], actions: [a, b]}\n", "how many rows there are in a second"),
        ([], "policy: lerobot\nhorizon: 2\n", "are for who asks this server"),
        (["--key", "NO_SUCH_VARIABLE"], "", "an environment variable that is not set"),
        (["--env", "/nowhere"], "policy: lerobot\nrate: 10\noptions: {state: [a, b], actions: [a, b]}\n", "there is no environment"),
    ],
)
def test_what_can_be_said_before_lerobot_is_started_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], file: str, sentence: str
) -> None:
    place = checkpoint(tmp_path / "checkpoint")
    if file:
        (tmp_path / "policy.yaml").write_text(file)
        words = [*words, "--policy-file", str(tmp_path / "policy.yaml")]
    assert main(["serve", "--lerobot", str(place), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_dataset_without_a_checkpoint_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--dataset", "somewhere"]) == 2
    assert "--dataset is for --lerobot DIR" in capsys.readouterr().err


# -- the command that makes the environment ----------------------------------------------
def python_of(folder: Path, name: str, version: str) -> None:
    """A Python on PATH that says that version, and notes what it is asked to do."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\ncase "$*" in *version_info*) echo {version};; *) echo "$@" >> {folder}/asked;; esac\n')
    path.chmod(0o755)


def test_a_python_that_is_too_old_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python_of(tmp_path / "bin", "python3", "3 10")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"3\.12 or newer, and here are python3 \(3\.10\); install one"):
        make_environment(tmp_path / "env", lambda text: None)
    python_of(tmp_path / "bin", "python3.12", "3 12")
    with pytest.raises(ValueError, match="cannot be run"):
        make_environment(tmp_path / "env", lambda text: None)  # this one makes nothing
    assert (tmp_path / "bin" / "asked").read_text().split() == ["-I", "-m", "venv", str(tmp_path / "env")]


def test_one_that_pyenv_keeps_is_found_behind_a_shim_that_runs_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python_of(tmp_path / "bin", "python3.12", "")
    kept = tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin"
    kept.parent.mkdir(parents=True)
    python_of(kept, "python3.12", "3 12")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match="cannot be run"):
        make_environment(tmp_path / "env", lambda text: None)
    assert "-m venv" in (kept / "asked").read_text()


def test_what_is_there_is_added_to_and_not_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = fake_environment(tmp_path / "env", "good")
    python_of(place / "bin", "python", "3 12")
    heard: list[str] = []
    assert make_environment(place, heard.append) == place
    asked = (place / "bin" / "asked").read_text().splitlines()
    assert asked[0].startswith("-I -m pip install lerobot[") and len(asked) == 2
    assert "is there already, with Python 3.12" in heard[0]


def test_an_environment_of_an_old_python_and_another_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    python_of(tmp_path / "env" / "bin", "python", "3 10")
    with pytest.raises(ValueError, match=r"environment of Python 3\.10, and LeRobot 0\.6\.1 wants 3\.12"):
        make_environment(tmp_path / "env", lambda text: None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ValueError, match="holds something else than an environment"):
        make_environment(tmp_path / "other", lambda text: None)
