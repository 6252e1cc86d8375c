"""For tests that export graphs: what torch.onnx makes anew for each is made once."""
from __future__ import annotations

import copy
import sys
from functools import cache
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def operators_are_listed_once() -> None:
    """The operators that torch.onnx knows: listing them takes as long as exporting a tiny model does."""
    module: Any = sys.modules.get("torch.onnx._internal.exporter._registration")
    known = getattr(module, "ONNXRegistry", None)
    if known is None or not isinstance(vars(known).get("from_torchlib"), classmethod):
        return  # torch is not here, has not exported yet, or is patched
    listed = cache(known.from_torchlib)

    def from_torchlib(**options: Any) -> Any:
        registry = copy.copy(listed(**options))
        registry.functions = {name: list(functions) for name, functions in registry.functions.items()}
        return registry

    known.from_torchlib = staticmethod(from_torchlib)
