"""For tests of policies on servers: one that is another than before is refused, and again."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def refused_twice(policy: Any, observation: Any, sentence: str, then: Callable[[], None] = lambda: None) -> None:
    """Asks until it was refused twice, with `sentence`; `then` looks after each refusal."""
    refused = 0
    end = time.monotonic() + 10.0
    while refused < 2 and time.monotonic() < end:
        try:
            policy.predict(observation)
            raise AssertionError("rows of another server")
        except ValueError as error:
            assert sentence in str(error)
            then()
            refused += 1
        except ConnectionError:  # it is not asked with every image
            time.sleep(0.1)
    assert refused == 2
