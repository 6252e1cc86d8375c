"""Images beside results: one that cannot be drawn costs a sentence, never the results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def drawing(path: Path) -> Iterator[None]:
    """Around what writes the image `path`: whatever it raises becomes a sentence.

    No half of the image stays.
    """
    try:
        yield
    # Any exception: plotting libraries differ between releases in more than can be listed.
    except Exception as problem:
        path.unlink(missing_ok=True)
        print(
            f"{path} could not be drawn ({type(problem).__name__}: {problem}); everything else is "
            "there",
            flush=True,
        )
