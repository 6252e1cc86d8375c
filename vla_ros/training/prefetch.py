"""Batches: asked for by number, made ahead, moved to a device."""
from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor


class Source(Protocol):
    """Where batches come from. `batch(index)` gives the same for the same index, whatever was asked before."""

    def batch(self, index: int) -> Any: ...


@contextmanager
def ahead_of(make: Callable[[int], Any], indices: range, ahead: int) -> Iterator[Iterator[Any]]:
    """`make` of each index in their order, `ahead` of them made by one thread before they are asked for."""
    if not ahead:
        yield map(make, indices)
        return
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # else each of a step's operations may wait 5 ms for this thread's Python
    with ThreadPoolExecutor(1, "batches") as pool:
        waiting: deque[Future[Any]] = deque()

        def batches() -> Iterator[Any]:
            for index in indices:
                waiting.append(pool.submit(make, index))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        try:
            yield batches()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            sys.setswitchinterval(interval)


def to_device(batch: Any, device: torch.device) -> Any:
    """A tensor, or a dataclass, dict, list or tuple of them, there."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{one.name: to_device(getattr(batch, one.name), device) for one in fields(batch)})
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
