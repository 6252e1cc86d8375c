"""Does an engine compute what the model computes? Compared on real inputs, output by output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    """The difference of each output over all examples. Raises Differs, with the figures, beyond the
    precision's tolerance or where a value is no finite number."""
    found = {}
    for name, wanted, given in zip(
        part.outputs, *(_gathered(part, one) for one in (part.module, run))
    ):
        if wanted.shape != given.shape:
            raise Differs(
                f"its {name} has shape {tuple(given.shape)}, the model's {tuple(wanted.shape)}"
            )
        if not bool(torch.isfinite(given).all()):
            raise Differs(f"its {name} has values that are no finite numbers")
        found[name] = float((given - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6))
    worst = max(found, key=lambda name: found[name])
    if found[worst] > TOLERANCE[precision]:
        raise Differs(
            f"its {worst} differs from the model's by {found[worst]:.3g} of the largest value; at "
            f"{precision} at most {TOLERANCE[precision]:g} is allowed"
        )
    return found


def _gathered(part: SubModel, run: Callable[..., Sequence[Tensor]]) -> list[Tensor]:
    """Each output, over all examples, one by one; where more go at once, so many as well."""
    with torch.inference_mode():
        outputs = [run(*example) for example in part.examples]
        outputs += [run(*part.stacked(part.batch[1]))] if part.batch[1] > 1 else []
    return [torch.cat([one.float() for one in each]) for each in zip(*outputs)]
