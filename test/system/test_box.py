"""The built-in policy, in the bare simulator, in scenes that its training never saw: it does what the words say, and only that."""
from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the learned policy needs torch")
pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")

from vla_ros.evaluation import plan, runner
from vla_ros.policies.builtin import BUILTIN

pytestmark = [pytest.mark.timeout(600), pytest.mark.computes]
KNOWN, SWAPPED = 16, 8  # every kind of instruction once; `vla evaluate` takes hundreds


@pytest.fixture(scope="module")
def records() -> list[runner.Record]:
    """Episodes of known phrasings, every kind in turn, and of object tasks with another colour named."""
    success = plan.success(2 * KNOWN, ["known"])
    swapped = [one for one in plan.counterfactuals(success, SWAPPED) if one.part == "swapped"]
    return runner.run([*success[:KNOWN], *(replace(one, number=100 + index, seconds=15.0) for index, one in enumerate(swapped))],
                        runner.PolicyChoice("builtin", {}, (320, 240)), 1)


def test_it_does_what_known_words_say(records: list[runner.Record]) -> None:
    known = [one for one in records if one.episode.part == "success"]
    failed = [f"{one.episode.seed} '{one.episode.text}': {one.sentence}" for one in known if not one.done]
    assert len(known) == KNOWN and len(failed) <= 1, failed


def test_another_colour_is_another_object(records: list[runner.Record]) -> None:
    swapped = [one for one in records if one.episode.part == "swapped"]
    done = [f"{one.episode.seed} '{one.episode.text}': {one.sentence}" for one in swapped if one.done]
    assert len(swapped) == SWAPPED and len(done) <= 1, done


def test_the_box_is_small_and_holds_no_pickle() -> None:
    files = sorted(path.name for path in BUILTIN.iterdir())
    assert "model.safetensors" in files and not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert sum(path.stat().st_size for path in BUILTIN.iterdir()) < 4_000_000
