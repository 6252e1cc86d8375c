"""Batches: asked for by number, made ahead.

A batch is a tensor, or a (named) tuple, list or dict of them.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol


class BatchSource(Protocol):
    """Where batches come from."""

    def batch(self, index: int) -> Any:
        """The same for the same index, whatever was asked before."""
        ...


@contextmanager
def ahead_of(make: Callable[[int], Any], indices: range, ahead: int) -> Iterator[Iterator[Any]]:
    """`make` of each index in their order; a thread makes `ahead` of them before they are due.

    No DataLoader: its workers are processes, forked beside torch's threads and MuJoCo's renderer,
    and the sentence of a dataset that does not fit would arrive inside a traceback.
    """
    if not ahead:
        yield map(make, indices)
        return
    interval = sys.getswitchinterval()
    # else each of a step's operations may wait 5 ms for this thread's Python
    sys.setswitchinterval(1e-4)
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
