"""The modular VLA: tasks, skills, and their decoders mixed."""
from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from tiny_models import inputs, make, tiny

from vla_ros.models.modular import ModularVLA, SkillMixture


def modular(**changes: Any) -> Any:
    return make(model="modular", **changes)


def test_tasks_skills_and_actions() -> None:
    model, (pixels, ids, mask) = modular(), inputs()
    output = model(pixels, ids, mask)
    assert isinstance(model, ModularVLA)
    assert output.actions.shape == (2, 4, 3) and output.tasks.shape == (2, 10) and output.skills.shape == (2, 5)
    assert torch.allclose(output.skills.sum(-1), torch.ones(2))
    (output.actions.sum() + output.tasks.sum() + output.completion.sum() + output.value.sum()).backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing
    assert all(bool(parameter.grad.any()) for parameter in model.head.parameters() if parameter.ndim > 1)


def test_the_action_is_its_skills_mixed_by_their_weights() -> None:
    mixture = SkillMixture(tiny(model="modular"), 6).eval()
    features, pooled, task = torch.randn(3, 6), torch.randn(3, 16), torch.tensor([0, 4, 9])
    found = mixture(features, pooled, task)
    views = torch.stack([torch.relu(pooled[row] @ mixture.views[one]) for row, one in enumerate(task)])
    wanted = torch.zeros(3, 4, 3)
    for skill, decoder in enumerate(mixture.decoders):
        wanted += found.skills[:, skill, None, None] * decoder(torch.cat([features, views], -1))
    assert torch.allclose(found.actions, wanted, atol=1e-5)
    assert torch.allclose(found.skills, (mixture.skill_selector(features) + mixture.mapping[task]).softmax(-1))


def test_a_task_unknown_is_the_mean_of_tasks_by_their_likelihood() -> None:
    mixture = SkillMixture(tiny(model="modular"), 6).eval()
    features, pooled = torch.randn(2, 6), torch.randn(2, 16)
    with torch.no_grad():
        mixture.task_selector[-1].bias[7] = 100.0  # as good as certain
    assert torch.allclose(mixture(features, pooled).actions, mixture(features, pooled, torch.tensor([7, 7])).actions, atol=1e-6)
    assert not torch.allclose(mixture(features, pooled).actions, mixture(features, pooled, torch.tensor([1, 1])).actions)


def test_a_mapping_sends_a_task_to_its_skill() -> None:
    model = modular(model_options={"tasks": 4, "skills": 3, "mapping": [2, 0, 1, 2]})
    pixels, ids, mask = inputs()
    for task, skill in enumerate((2, 0, 1, 2)):
        output = model(pixels, ids, mask, task=torch.tensor([task, task]))
        assert output.skills.argmax(-1).tolist() == [skill, skill] and bool((output.skills.max(-1).values > 0.8).all())


def test_mixed_actions_stay_within_the_bounds() -> None:
    torch.manual_seed(0)
    mixture = SkillMixture(tiny(model="modular", low=(-0.1, 0.3, 0.0), high=(0.3, 0.7, 0.1)), 6).eval()
    for size in (1.0, 1e4, 1e20):
        values = mixture(size * torch.randn(200, 6), torch.randn(200, 16)).actions.double()
        assert bool((values >= torch.tensor((-0.1, 0.3, 0.0), dtype=torch.float64)).all())
        assert bool((values <= torch.tensor((0.3, 0.7, 0.1), dtype=torch.float64)).all())


@pytest.mark.parametrize("task", [-1, 10])
def test_a_task_that_is_none_is_refused(task: int) -> None:
    with pytest.raises(ValueError, match=rf"task is \[0, {task}\]; give numbers from 0 to 9"):
        modular()(*inputs(), task=torch.tensor([0, task]))


def test_there_is_one_language_trunk_however_many_tasks() -> None:
    few, many = (modular(model_options={"tasks": tasks}) for tasks in (1, 10))
    count = [sum(weight.numel() for weight in model.language.parameters()) for model in (few, many)]
    assert count[0] == count[1]
    each = (sum(weight.numel() for weight in many.parameters()) - sum(weight.numel() for weight in few.parameters())) / 9
    assert each < 0.05 * count[0]
