"""Every configuration as a graph: what engines compile is what the model says. test_tensorrt_rtx.py builds each."""
from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from tiny_models import OPTIONS, SAME_GRAPH, inputs, make, tiny
from torch.export import ExportedProgram

from vla_ros.engines.base import SubModel
from vla_ros.engines.compiled_vla import sub_models_of
from vla_ros.engines.export import exported
from vla_ros.models.language.lexicon import LENGTH

CONFIGS: list[dict[str, Any]] = [  # each part is in one
    {"auxiliary": True, "state": ("turned",)},
    {"vision": "clip", "language": "lstm", "fusion": "cross_attention"},
    {"vision": "clip", "language": "llama", "fusion": "late"},
    {"vision": "clip", "fusion": "early", "vision_options": {"pooled": True}},
    {"vision": "resnet18", "language": "static", "fusion": "transformer", "head": "planner"},
    {"vision": "resnet50", "language": "minilm", "model": "modular"},
]
VARIES = (0, 1, 4)  # compiled for any number of images: convolutions, attention and an LSTM are in these, and each head


def configs(varying: bool) -> list[Any]:
    """All of them; as they are compiled, by themselves or for any number of images, in the other way with --full."""
    return [pytest.param(changes, marks=[] if varying == (index in VARIES) else [pytest.mark.full])
            for index, changes in enumerate(CONFIGS)]


def parts(batch: tuple[int, int] = (1, 1), **changes: Any) -> list[SubModel]:
    vla = make(**changes).eval()
    pixels, ids, mask = inputs(batch=2)
    more = LENGTH - ids.shape[1]
    given = {"image": (pixels * 255).byte().permute(0, 2, 3, 1), "ids": torch.nn.functional.pad(ids, (0, more)),
             "mask": torch.nn.functional.pad(mask, (0, more)), "state": torch.rand(2, len(vla.config.state))}
    return [part for part in sub_models_of(vla, given, "key", batch) if part]


@pytest.mark.parametrize("changes", configs(varying=False), ids=str)
def test_every_configuration_is_a_graph_that_says_what_the_model_says(changes: dict[str, Any]) -> None:
    for part in parts(**changes):
        program = used(exported(part))
        for one, wanted in zip(program.module()(*part.examples[1]), part.module(*part.examples[1])):
            assert torch.allclose(one, wanted, atol=1e-5)
        if "image" in part.inputs:  # cast before anything else
            image = next(node for node in program.graph.nodes if node.meta["val"].dtype == torch.uint8)
            assert all("to" in str(user.target) or "assert" in str(user.target) for user in image.users)


def used(program: ExportedProgram) -> ExportedProgram:
    """Itself, where everything that it is given is read: what nothing reads would be copied to a GPU for each image."""
    names = program.graph_signature.user_inputs
    assert all(node.users for node in program.graph.nodes if node.op == "placeholder" and node.name in names)
    return program


def test_no_part_is_left_out() -> None:
    for kind, names in OPTIONS.items():
        assert {getattr(tiny(**changes), kind) for changes in CONFIGS} == set(names) - SAME_GRAPH, kind


@pytest.mark.parametrize("changes", configs(varying=True), ids=str)
def test_every_configuration_is_a_graph_for_any_number_of_images(changes: dict[str, Any]) -> None:
    for part in parts((2, 4), **changes):
        graph = used(exported(part)).module()
        for rows in (1, 3, 4):
            given = part.stacked(rows)
            for one, wanted in zip(graph(*given), part.module(*given)):
                assert one.shape == wanted.shape and torch.allclose(one, wanted, atol=1e-5)


def test_the_small_vla_exports_for_any_number_of_images() -> None:
    model = make(state=("turned",))
    given = (*inputs(batch=3), torch.rand(3, 1))
    batch = torch.export.Dim("batch", min=1, max=16)
    program = torch.export.export(model, given, dynamic_shapes=tuple({0: batch} for _ in given))
    for size in (2, 5):
        other = (*inputs(batch=size, seed=size), torch.rand(size, 1))
        ours, theirs = model(*other), program.module()(*other)
        assert torch.allclose(theirs.actions, ours.actions, atol=1e-6)
        assert torch.allclose(theirs.attention, ours.attention, atol=1e-5)
