"""`vla train`: what does not fit is said in a sentence, before any time is spent."""
import pytest

from vla_ros.cli.main import main

for module in ("torch", "accelerate", "av", "pyarrow", "mujoco"):
    pytest.importorskip(module)


@pytest.mark.parametrize(("words", "said"), [
    (["behaviour_cloning"], "needs --data FOLDER"),
    (["behaviour_cloning", "--data", "nowhere"], "nowhere"),
    (["behaviour_cloning", "--data", "nowhere", "--smoke"], "--smoke is for vla train dagger and words, and this is behaviour_cloning"),
    (["dagger", "--data", "here"], "--data is for vla train behaviour_cloning, and this is dagger"),
    (["--gradient-checkpointing"], "--gradient-checkpointing is for vla train behaviour_cloning, and this is dagger"),
    (["reinforce", "--task", "face"], "needs --checkpoint FOLDER and --task KIND"),
    (["reinforce", "--task", "dance", "--checkpoint", "x"], "the task is 'dance'; it is one of go_to"),
    (["reinforce", "--task", "face", "--checkpoint", "nowhere"], "there is no checkpoint nowhere"),
    (["--seed", "-1"], "the seed is -1"),
])
def test_bad_input(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words, "--out", "out"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["dance"], ["--steps", "0"], ["--precision", "int8"]])
def test_words_that_are_no_arguments(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", *words])
    assert end.value.code == 2 and capsys.readouterr().err
