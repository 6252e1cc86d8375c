"""Policy gradient: returns, advantages and gradients by hand, and a toy on which the return rises."""
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("mujoco")

from vla_ros.policies.builtin import STILL_SPEEDS
from vla_ros.training.log import TrainingLog
from vla_ros.training.recipes import reinforce as rl
from vla_ros.training.settings import OptimizerSettings
from vla_ros.training.trainer import Trainer
from vla_ros.training.vector_env import EpisodeRecord, VectorEnv


@pytest.fixture(autouse=True)
def fresh_accelerate():
    from accelerate.state import AcceleratorState
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


class Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 3 * 2)
        self.register_buffer("scale", torch.tensor([0.5, 2.0]))

    def forward(self, features):
        return torch.tanh(self.layer(features)).unflatten(-1, (3, 2)) * self.scale


class Tiny(torch.nn.Module):
    """What the actor needs of a VLA; `vision` is what it must not touch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.vision = torch.nn.Linear(2, 2)
        self.trunk = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Dropout(0.5))
        self.head, self.value = Head(), torch.nn.Linear(8, 1)


class Bandit:
    """One image an episode; the reward is how near the first channel of the two rows comes to the first input."""

    def play(self, tasks, rng, choose):
        episodes = len(tasks)
        inputs = torch.from_numpy(rng.uniform(-0.4, 0.4, (episodes, 2)).astype(np.float32))
        with torch.no_grad():
            chunks = choose(inputs, rng)
        errors = (chunks[:, :2, 0] - inputs[:, :1]).abs().sum(1)
        return [EpisodeRecord([inputs[row]], [chunks[row]], [-float(errors[row])], bool(errors[row] < 0.3), [0.0, 0.0]) for row in range(episodes)]


def test_returns_by_hand():
    assert rl.discounted([1.0, 0.0, 2.0], 0.5) == [1.5, 1.0, 2.0]
    assert rl.discounted([], 0.9) == []
    torch.testing.assert_close(rl.normalised(torch.tensor([1.0, 3.0])), torch.tensor([-1.0, 1.0]), rtol=1e-5, atol=1e-5)
    assert rl.normalised(torch.tensor([2.0, 2.0])).tolist() == [0.0, 0.0]


def test_a_reward_of_13_images_later_counts_more_than_half_and_of_14_less():
    """The discount where nobody gives one: about a second of driving."""
    gamma = rl.Reinforcement("grab").gamma
    assert gamma**13 > 0.5 > gamma**14


def test_trying_more_lowers_the_loss_and_what_is_only_told_does_not_count():
    weights = rl.weights_of(rl.Reinforcement("grab", entropy=0.01, value=0.3, keep=7.0))
    assert weights == {"policy": 1.0, "value": 0.3, "entropy": -0.01, "keep": 7.0, "reward": 0.0, "success": 0.0,
                       "length": 0.0}


def test_episodes_become_one_batch():
    episodes = [EpisodeRecord([torch.zeros(2)] * 2, [torch.zeros(3, 2)] * 2, [0.0, 1.0], True, [0.0] * 3),
                EpisodeRecord([torch.ones(2)], [torch.ones(3, 2)], [-1.0], False, [0.0] * 2)]
    batch = rl.gathered(episodes, 0.5)
    torch.testing.assert_close(batch.returns, rl.normalised(torch.tensor([0.5, 1.0, -1.0])))
    assert (batch.reward, batch.success, batch.length) == (0.0, 0.5, 1.5)
    assert batch.inputs.shape == (3, 2) and not len(batch.keep_inputs)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_how_far_away_a_task_begins_is_no_merit(gamma):
    far, near = (EpisodeRecord(rewards=[start - 0.5, 0.5 + 1.0], lacking=[start, 0.5, 0.0]) for start in (2.0, 0.7))  # both done
    for one in (far, near):
        assert rl.shaped(one, gamma) == pytest.approx([gamma, 1.0])  # the bonus alone, a step later
    stands = EpisodeRecord(rewards=[0.0, 0.0], lacking=[0.4] * 3)
    assert rl.shaped(stands, gamma) == pytest.approx([-0.4 * gamma**2, -0.4 * gamma])


def test_log_probability_and_its_gradient_by_hand():
    actor = rl.Actor(Tiny(), 0.1)
    mean = torch.zeros(1, 3, 2, requires_grad=True)
    chunk = torch.tensor([[[0.05, 0.2], [0.0, -0.1], [9.0, 9.0]]])  # the third row is never obeyed
    spread = torch.tensor([0.05, 0.2])  # 0.1 of the halves of the ranges
    torch.testing.assert_close(actor.spread(), spread)
    found = actor.log_probability(mean, chunk)
    z = (chunk[0, :2] / spread)
    torch.testing.assert_close(found[0], (-0.5 * z.square() - spread.log() - 0.5 * math.log(2 * math.pi)).sum())
    found.sum().backward()
    torch.testing.assert_close(mean.grad[0, :2], chunk[0, :2] / spread.square())
    assert not mean.grad[0, 2].any()


def test_the_loss_pushes_towards_what_was_better_than_expected():
    actor = rl.Actor(Tiny(), 0.1).train()
    inputs = torch.tensor([[0.1, -0.3], [0.2, 0.2]])
    mean, value = actor(inputs)
    chunks = mean.detach() + torch.tensor([0.03, 0.05])[:, None, None]
    batch = rl.RolloutBatch(inputs, chunks, torch.tensor([1.0, -1.0]), inputs[:0], chunks[:0], *torch.zeros(3))
    parts = rl.policy_loss(actor, batch)
    advantage = rl.normalised(batch.returns - value.detach())
    torch.testing.assert_close(parts["policy"], -(actor.log_probability(mean, chunks) * advantage).mean())
    torch.testing.assert_close(parts["value"], (value - batch.returns).square().mean())
    mean_gradient, = torch.autograd.grad(-(actor.log_probability(mean, chunks) * advantage).mean(), mean)
    pull = -mean_gradient[:, 0, 0]  # where the mean would go
    assert torch.equal(pull.sign(), advantage.sign())  # towards the action done where it was better
    off = batch._replace(returns=batch.returns + 3.0)
    torch.testing.assert_close(rl.policy_loss(actor, off)["policy"], parts["policy"])  # all alike better says nothing


def test_the_noise_moves_a_robot_that_means_to_stand():
    speed = 0.5  # m/s and rad/s, half the range of the box's speeds
    assert rl.Reinforcement("grab").deviation * speed > max(STILL_SPEEDS)


def test_only_trunk_and_heads_learn_and_values_do_not_pull_at_the_trunk():
    actor = rl.Actor(Tiny(), 0.1).train()
    assert {name for name, one in actor.named_parameters() if not one.requires_grad} == {
        "vla.vision.weight", "vla.vision.bias", "log_deviation"}
    assert not actor.vla.trunk.training  # no dropout: what was done must have the probability that it had
    actor(torch.ones(4, 2))[1].sum().backward()
    assert actor.vla.trunk[0].weight.grad is None and actor.vla.value.weight.grad is not None
    assert rl.Actor(Tiny(), 0.1, learned=True).log_deviation.requires_grad


def test_the_return_rises_on_a_toy_and_a_resume_is_to_the_bit(tmp_path):
    plan = rl.Reinforcement("face", episodes=64, deviation=0.2, keep=0.0)

    def trainer(folder, resume=False):
        actor = rl.Actor(Tiny(), plan.deviation, learned=True)
        return Trainer(actor, rl.policy_loss, rl.Rollouts(actor, Bandit(), plan, 1),
                       OptimizerSettings(120, learning_rate=1e-2, warmup=0, log_every=10, checkpoint_every=60, ahead=0), folder,
                       weights=rl.weights_of(plan), factors={"vla.value": 3.0}, resume=resume,
                       log=TrainingLog(folder, 120, board=False))

    straight = trainer(tmp_path / "straight")
    straight.run()
    rewards = [row["reward"] for row in straight.metrics]
    assert rewards[-1] > 0.6 * rewards[0] and rewards[0] < -0.3  # errors: they shrink by two fifths and more
    trainer(tmp_path / "killed").run(30)
    again = trainer(tmp_path / "killed", resume=True)
    again.run(60)
    halfway = trainer(tmp_path / "half")
    halfway.run(60)
    for name, value in halfway.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_the_expert_s_actions_for_other_tasks_are_kept():
    actor = rl.Actor(Tiny(), 0.1)
    inputs = torch.tensor([[0.1, -0.3]])
    mean = actor(inputs)[0].detach()
    batch = rl.RolloutBatch(inputs, mean, torch.zeros(1), inputs, mean + torch.tensor([0.25, 0.0]), *torch.zeros(3))
    assert rl.policy_loss(actor, batch)["keep"].item() == pytest.approx((0.5 - 0.05) / 2)  # smooth L1, halves of the range


def test_robots_in_lockstep_are_judged_by_the_truth():
    from vla_ros.models import build
    from vla_ros.training.recipes.dagger import Recipe
    torch.manual_seed(0)
    vla = build(Recipe(model={"image_size": (24, 32), "width": 16, "vision_options": {"channels": (8, 8)}}).config()).eval()
    vector_env = VectorEnv(vla, count=2, longest=6.0)
    try:
        def turn(speed, images):
            """A quarter at 0.4 rad/s is 49 images, 0.08 s apart."""
            left = [images]

            def choose(inputs, rng):
                chunks = torch.zeros(len(inputs), 8, 3)
                chunks[..., 1], chunks[..., 2] = speed * (left[0] > 0), 1.0
                left[0] -= 1
                return chunks
            return choose

        good = vector_env.play(["turn_left"] * 2, np.random.default_rng(0), turn(0.4, 49))
        wrong = vector_env.play(["turn_left"] * 2, np.random.default_rng(0), turn(-0.4, 49))
    finally:
        vector_env.close()
    assert [one.success for one in good] == [True] * 2 and [one.success for one in wrong] == [False] * 2
    assert all(len(one.inputs) == len(one.chunks) == len(one.rewards) for one in good + wrong)
    assert min(sum(one.rewards) for one in good) > 1.5 > 0 > max(sum(one.rewards) for one in wrong)
    with pytest.raises(ValueError, match="the task is 'dance'"):
        rl.Reinforcement("dance")


def test_no_batch_is_made_ahead_whatever_the_settings(tmp_path, monkeypatch):
    from vla_ros.models import build
    from vla_ros.models.checkpoint import save_pretrained
    from vla_ros.training import log
    from vla_ros.training.recipes.dagger import Recipe
    monkeypatch.setattr(log.importlib.util, "find_spec", lambda name: None)  # no TensorBoard: it takes seconds
    torch.manual_seed(0)
    vla = build(Recipe(model={"image_size": (24, 32), "width": 16, "vision_options": {"channels": (8, 8)}}).config())
    save_pretrained(vla, tmp_path / "policy")
    plan = rl.Reinforcement("stop", episodes=1, worlds=1, longest=0.4, keep=0.0, checked=1)
    settings = OptimizerSettings(2, warmup=0, log_every=1)
    assert settings.ahead == 3  # a thread would draw with the worlds of the one that evaluates
    trainer = rl.reinforce(tmp_path / "policy", tmp_path / "out", plan, settings)
    assert trainer.settings.ahead == 0
    assert trainer.step == 2
    assert "without_noise" in trainer.metrics[-1]
