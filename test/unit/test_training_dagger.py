"""The recipe of the built-in policy, in a size of seconds."""
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("mujoco")

from vla_ros.models.checkpoint import from_pretrained
from vla_ros.training.recipes import dagger

RECIPE = dagger.Recipe(placed=24, parts=2, rounds=1, driven=6, driven_parts=1, first_steps=24, round_steps=8, images=8,
                    instructions=3, nonsense=4, learning_rate=5e-3, warmup=2, precision="no", log_every=4, average=0.9, checked=0,
                    model={"image_size": (24, 32), "width": 16, "vision_options": {"channels": (8, 8)}})


@pytest.fixture(autouse=True)
def fresh_accelerate(monkeypatch):
    from accelerate.state import AcceleratorState

    from vla_ros.training import log
    AcceleratorState._reset_state()
    monkeypatch.setattr(log.importlib.util, "find_spec", lambda name: None)  # no TensorBoard: it takes seconds
    yield
    AcceleratorState._reset_state()


def test_the_loss_falls_and_a_killed_run_goes_on_to_the_same_policy(tmp_path, monkeypatch):
    straight = dagger.train_dagger(RECIPE, tmp_path / "straight", workers=1, say=lambda _: None)
    losses = [row["loss"] for row in straight.metrics]
    assert straight.step == RECIPE.steps == 32 and losses[-1] < 0.9 * losses[0]

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dagger, "_driven", dies)  # in the middle: images placed, trained, nothing driven yet
        dagger.train_dagger(RECIPE, tmp_path / "killed", workers=1, say=lambda _: None)
    again = dagger.train_dagger(RECIPE, tmp_path / "killed", workers=1, resume=True, say=lambda _: None)
    assert [row["step"] for row in again.metrics] == [4, 8, 12, 16, 20, 24, 28, 32]
    one, other = (from_pretrained(tmp_path / name / "policy") for name in ("straight", "killed"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    with pytest.raises(ValueError, match="add --resume"):
        dagger.train_dagger(RECIPE, tmp_path / "killed")
    with pytest.raises(ValueError, match="has seed 0, and now it is 1"):
        dagger.train_dagger(replace(RECIPE, seed=1), tmp_path / "killed", resume=True)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty"):
        dagger.train_dagger(RECIPE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("changes", "said"), [
    ({"parts": 5}, "placed is 24, and parts is 5"), ({"images": 25}, "more than the 24"), ({"driven": 0}, "driven is 0")])
def test_recipes_that_do_not_add_up_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        replace(RECIPE, **changes)
