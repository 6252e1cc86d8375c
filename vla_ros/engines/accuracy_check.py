"""Does an engine compute what the model computes? Compared on real inputs, output by output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import starmap

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel

# The largest difference, in the largest size that the model itself gives to that output.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 5e-2, "int8": 0.15, "fp8": 0.15}


class Differs(ValueError):
    """It computes something else."""


def compare(
    part: SubModel, run: Callable[..., Sequence[Tensor]], precision: str
) -> dict[str, float]:
    """The largest difference of each output from the model's, over all examples.

    Args:
        part: The model, and the examples to compare on.
        run: The engine: tensors named as `part.inputs` in, tensors named as `part.outputs` out.
        precision: Whose tolerance holds.

    Returns:
        By the output's name, as a share of the model's largest value there.

    Raises:
        Differs: With the figures, beyond the tolerance; for outputs of another number or shape; for
            a value that is no finite number.
    """
    return check(part.outputs, _outputs_of(part, part.module), _outputs_of(part, run), precision)


def check(
    names: Sequence[str], references: Sequence[Tensor], outputs: Sequence[Tensor], precision: str
) -> dict[str, float]:
    """As `compare`, of outputs that are there already, fp32."""
    differences = {}
    if len(outputs) != len(names):  # else those that it lacks would not be compared
        raise Differs(f"it has {len(outputs)} outputs, the model {len(names)}")
    for name, wanted, given in zip(names, references, outputs):
        if wanted.shape != given.shape:
            raise Differs(
                f"its {name} has shape {tuple(given.shape)}, the model's {tuple(wanted.shape)}"
            )
        # Asked first: no comparison with NaN is true, so one would pass the tolerance.
        if not bool(torch.isfinite(given).all()):
            raise Differs(f"its {name} has values that are no finite numbers")
        differences[name] = difference(given, wanted)
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > TOLERANCE[precision]:
        raise Differs(
            f"its {worst} differs from the model's by {differences[worst]:.3g} of the largest "
            f"value; at {precision} at most {TOLERANCE[precision]:g} is allowed"
        )
    return differences


def difference(given: Tensor, wanted: Tensor) -> float:
    """The largest of an output's values, as a share of the largest that is wanted of it."""
    size = wanted.abs().max().clamp_min(1e-6)  # an output may be 0 throughout
    return float((given - wanted).abs().max() / size)


def _outputs_of(part: SubModel, run: Callable[..., Sequence[Tensor]]) -> list[Tensor]:
    """Each output in fp32, its rows for all examples one below the other."""
    calls = list(part.examples)
    if part.batch[1] > 1:  # what is right about single rows may mix up those of a batch
        calls.append(part.stacked(part.batch[1]))
    with torch.inference_mode():
        results = list(starmap(run, calls))
    return [torch.cat(rows).float() for rows in zip(*results)]
