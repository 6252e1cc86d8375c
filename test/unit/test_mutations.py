"""test/safety/mutate.py fits the code: each text that it breaks stands there, once, and some test looks at its file."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "test" / "safety"))

from mutate import MUTATIONS, TESTS


@pytest.mark.parametrize(("file", "old", "new"), MUTATIONS)
def test_a_mutation_changes_one_place_and_the_code_is_code_still(file: str, old: str, new: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    compile(text.replace(old, new), file, "exec")
    assert any(file.startswith(place) for place in TESTS)
