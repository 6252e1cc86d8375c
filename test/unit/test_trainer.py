"""The loop of every training: its schedule, its files, and that a killed run goes on to the bit."""
import copy
import csv
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from vla_ros.training import checkpointing
from vla_ros.training.log import TrainingLog
from vla_ros.training.prefetch import ahead_of
from vla_ros.training.settings import OptimizerSettings
from vla_ros.training.trainer import Trainer


class Noise:
    """Batches of a line with noise: 16 x 3 and 16."""

    def batch(self, index):
        rng = np.random.default_rng((3, index))
        x = rng.normal(size=(16, 3)).astype(np.float32)
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(x @ np.float32([1.0, -2.0, 0.5]))}


def net(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.ReLU(), torch.nn.Linear(8, 1))


def loss(model, batch):
    return {"error": (model(batch["x"])[:, 0] - batch["y"]).square().mean()}


def settings(steps=6, **changes):
    return OptimizerSettings(steps, **({"learning_rate": 0.02, "warmup": 2, "average": 0.9, "log_every": 2, "checkpoint_every": 2,
                               "seed": 5} | changes))


def trainer(folder, model=None, resume=False, **changes):
    return Trainer(model or net(), loss, Noise(), settings(**changes), folder, resume=resume,
                   log=TrainingLog(folder, 6, board=False))


def state(one):
    return {name: value.clone() for name, value in one.model.state_dict().items()}


@pytest.fixture(autouse=True)
def fresh_accelerate():
    from accelerate.state import AcceleratorState
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, {"accumulate": 2}, {"average": 0.0, "ahead": 0}])
def test_three_steps_a_kill_and_three_more_are_six_steps_to_the_bit(tmp_path, changes):
    straight = trainer(tmp_path / "straight", **changes)
    straight.run()
    trainer(tmp_path / "killed", **changes).run(3)
    again = trainer(tmp_path / "killed", net(seed=9), resume=True, **changes)  # other weights, until they are read back
    assert again.step == 3
    again.run()
    for name, value in state(straight).items():
        assert torch.equal(value, state(again)[name]), name
    if straight.average is not None:
        for name, value in straight.average.values.items():
            assert torch.equal(value, again.average.values[name]), name


def test_a_process_killed_in_the_middle_goes_on_from_its_last_checkpoint(tmp_path):
    code = ("import os, sys; sys.path.insert(0, sys.argv[1]); import test_trainer as t; from pathlib import Path\n"
            "class Dies(t.Noise):\n"
            "    def batch(self, index):\n"
            "        if index == 5: os.kill(os.getpid(), 9)\n"
            "        return super().batch(index)\n"
            "t.Trainer(t.net(), t.loss, Dies(), t.settings(ahead=0), Path(sys.argv[2]), log=t.TrainingLog(Path(sys.argv[2]), 6, board=False)).run()")
    done = subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__), str(tmp_path / "killed")],
                          env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}, capture_output=True)
    assert done.returncode == -9, done.stderr
    again = trainer(tmp_path / "killed", resume=True)
    assert again.step == 4
    again.run()
    straight = trainer(tmp_path / "straight")
    straight.run()
    assert all(torch.equal(value, state(again)[name]) for name, value in state(straight).items())
    with (tmp_path / "killed" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2.0", "4.0", "6.0"]


def test_what_the_folder_holds(tmp_path):
    one = trainer(tmp_path)
    one.evaluate = lambda model: {"success": 0.25 if not model.training else 1.0}
    object.__setattr__(one.settings, "evaluate_every", 4)
    last = one.run()
    assert last["success"] == 0.25 and one.model.training
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["success"] for row in rows] == ["", "0.25", "0.25"]  # a column that came later
    assert float(rows[0]["loss"]) == float(rows[0]["error"])
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-0000006"]
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".csv", ".png", ".json", ".safetensors"}


def test_the_loss_falls_and_the_average_is_used_and_given_back(tmp_path):
    one = trainer(tmp_path, steps=80)
    one.run()
    assert one._log.rows[-1]["loss"] < 0.3 * one._log.rows[0]["loss"]
    trained = state(one)
    with one.averaged() as model:
        assert not model.training
        assert all(torch.equal(value, one.trained[name]) for name, value in model.named_parameters())
        assert not all(torch.equal(value, trained[name]) for name, value in model.named_parameters())
    assert all(torch.equal(value, state(one)[name]) for name, value in trained.items())


def test_accumulated_gradients_are_those_of_the_larger_batch(tmp_path):
    model = torch.nn.Linear(3, 1)
    before = copy.deepcopy(model)
    one = trainer(tmp_path, model, accumulate=2, average=0.0, clip=1e9)
    found = []
    optimizer_step = one._optimizer.step
    one._optimizer.step = lambda: (found.append(model.weight.grad.clone()), optimizer_step())
    one.run(1)
    both = [Noise().batch(index) for index in (0, 1)]
    loss(before, {name: torch.cat([batch[name] for batch in both]) for name in ("x", "y")})["error"].backward()
    torch.testing.assert_close(found[0], before.weight.grad)


def test_rate_warms_up_and_falls_to_its_floor():
    one = OptimizerSettings(100, learning_rate=0.1, warmup=10, floor=0.1)
    assert one.rate(0) == pytest.approx(0.01) and one.rate(4) == pytest.approx(0.05 * (0.9 * 0.5 * (1 + math.cos(0.04 * math.pi)) + 0.1))
    assert one.rate(50) == pytest.approx(0.1 * 0.55) and one.rate(100) == pytest.approx(0.01)
    assert max(one.rate(step) for step in range(100)) < 0.1


def test_factors_scale_the_rate_of_parameters_by_name(tmp_path):
    one = Trainer(net(), loss, Noise(), settings(), tmp_path, factors={"3.": 10.0})
    one._log.show = False
    one.run(1)
    rates = {id(value): group["lr"] for group in one._optimizer.param_groups for value in group["params"]}
    assert rates[id(one.model[3].weight)] == pytest.approx(10 * rates[id(one.model[0].weight)])


def test_batches_come_in_order_and_an_error_comes_through():
    with ahead_of(lambda index: index * index, range(3, 8), 3) as batches:
        assert list(batches) == [9, 16, 25, 36, 49]

    def fails(index):
        if index == 2:
            raise ValueError("frame 2 is gone")
        return index

    with ahead_of(fails, range(5), 2) as batches, pytest.raises(ValueError, match="frame 2"):
        list(batches)


@pytest.mark.parametrize(("changes", "said"), [
    ({"steps": 0}, "steps is 0"), ({"learning_rate": 0.0}, "learning_rate is 0"), ({"precision": "fp8"}, "fp8"),
    ({"average": 1.0}, "average is 1"), ({"log_every": 0}, "log_every is 0"), ({"checkpoint_every": 3}, "checkpoint_every is 3, and log_every 2"), ({"learning_rate": math.nan}, "learning_rate is nan")])
def test_settings_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        settings(**changes)


def test_what_does_not_fit_is_refused_before_any_step(tmp_path):
    trainer(tmp_path).run(2)
    with pytest.raises(ValueError, match="holds a training at step 2"):
        trainer(tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate 0\.02, and now it is 0\.03"):
        trainer(tmp_path, resume=True, learning_rate=0.03)
    with pytest.raises(ValueError, match="another model"):
        trainer(tmp_path, torch.nn.Linear(3, 1), resume=True)
    frozen = net()
    frozen[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match="other frozen weights"):
        trainer(tmp_path, frozen, resume=True)
    (checkpointing.newest(tmp_path) / "state.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="not whole"):
        trainer(tmp_path, resume=True)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="needs a GPU"):
            trainer(tmp_path / "fp16", precision="fp16")


def test_a_loss_that_is_no_number_ends_the_training_and_leaves_the_last_checkpoint(tmp_path):
    one = trainer(tmp_path)
    one.run(2)
    one.source.batch = lambda index: {"x": torch.full((4, 3), math.nan), "y": torch.zeros(4)}
    with pytest.raises(ValueError, match="the loss is nan at step 4"):
        one.run()
    assert json.loads((checkpointing.newest(tmp_path) / "state.json").read_text())["step"] == 2
