"""The small default as a graph: what an engine compiles is what the model says."""
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from tiny_models import inputs, make  # noqa: E402


def test_the_small_vla_exports_for_any_number_of_pictures() -> None:
    model = make(state=("turned",))
    given = (*inputs(batch=3), torch.rand(3, 1))
    batch = torch.export.Dim("batch", min=1, max=16)
    program = torch.export.export(model, given, dynamic_shapes=tuple({0: batch} for _ in given))
    for size in (2, 5):
        other = (*inputs(batch=size, seed=size), torch.rand(size, 1))
        ours, theirs = model(*other), program.module()(*other)
        assert torch.allclose(theirs.actions, ours.actions, atol=1e-6)
        assert torch.allclose(theirs.attention, ours.attention, atol=1e-5)
