"""One way to run one model, in a process of its own: each stage's time, the memory, the start.

`python -m vla_ros.bench.policy_trial CONFIG WAY PRECISION RUNS CACHE THREADS BATCH` prints one line
of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_ros.bench.policy_models import CONFIGS, halves_of, model_of
from vla_ros.core.images import resize
from vla_ros.core.policy_file import load_policy_file
from vla_ros.engines.compiled_vla import sub_models_of
from vla_ros.engines.select import EngineRequest, load_engine
from vla_ros.models.language.lexicon import encode
from vla_ros.models.vla import VLA
from vla_ros.policies import file_options, file_spec, make_policy

WARM_UP = 5  # runs that no figure contains
TEXT = "go to the red block"
SEEN = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)  # what a camera gives
# model(**inputs) on each image, words and all; the same behind torch.compile
PLAIN = ("plain", "torch.compile")
AS_IT_IS = ("auto", "auto")  # of a policy that runs on no engine of ours


def timed(run: Callable[[], Any], runs: int) -> dict[str, float]:
    """ms at p50, p95 and p99."""
    found = []
    warm_up = min(WARM_UP, runs)
    for index in range(warm_up + runs):
        began = time.perf_counter_ns()
        run()
        if index >= warm_up:
            found.append((time.perf_counter_ns() - began) / 1e6)
    return {f"p{share}": float(np.percentile(found, share)) for share in (50, 95, 99)}


def on_engine(
    vla: VLA, given: dict[str, Tensor], key: str, request: EngineRequest, runs: int, batch: int
) -> dict[str, Any]:
    """Each stage by itself, and the whole of an image whose words are known; and, of several at
    once, one's share."""
    reading, acting = sub_models_of(vla, given, key)
    began = time.monotonic()
    language = load_engine(reading, request) if reading else None
    both = load_engine(acting, request)
    started = time.monotonic() - began
    size = vla.config.image_size
    others = acting.examples[0][1:]

    def whole() -> None:
        both.engine(torch.from_numpy(resize(SEEN, size, "pad"))[None], *others)

    began = time.monotonic()
    whole()  # what a robot's first image takes
    first = 1e3 * (time.monotonic() - began)
    stages = {
        "preprocess": timed(lambda: resize(SEEN, size, "pad"), runs),
        "whole": timed(whole, runs),
    }
    for name, part in zip(("vision", "fusion and action"), halves_of(acting)):
        with suppress(ValueError):  # a half may differ by more than the whole, which is what runs
            stages[name] = timed(
                partial(load_engine(part, request).engine, *part.examples[0]), runs
            )
    if language and reading:
        known = {TEXT: language.engine(*reading.examples[0])}
        stages |= {
            "language, miss": timed(lambda: language.engine(*reading.examples[0]), runs),
            "language, hit": timed(lambda: known[TEXT], runs),
        }
    if batch > 1:
        many = load_engine(sub_models_of(vla, given, key, (batch, 2 * batch))[1], request)
        at_once = timed(partial(many.engine, *acting.stacked(batch)), runs)
        stages["one of a batch"] = {share: taken / batch for share, taken in at_once.items()}
    if request.place != "cpu":
        stages["copy in and out"] = timed(
            lambda: [one.to(request.place).cpu() for one in acting.examples[0]], runs
        )
    return {
        "stages": stages,
        "start": started,
        "cached": both.cached and (language is None or language.cached),
        "first": first,
        "difference": max(one.difference for one in (language, both) if one),
    }


def plainly(vla: VLA, compiled: bool, runs: int) -> dict[str, Any]:
    """The way of today: words read anew for each image, on the GPU where there is one."""
    began = time.monotonic()
    size = vla.config.image_size
    place = EngineRequest().place
    vla = vla.to(place)
    model = torch.compile(vla) if compiled else vla
    state = torch.zeros(1, len(vla.config.state), device=place) if vla.config.state else None

    def once() -> None:
        image = torch.from_numpy(resize(SEEN, size, "pad")).to(place)
        pixels = image.permute(2, 0, 1)[None].float() / 255
        ids = torch.tensor([encode(TEXT)], device=place)
        with torch.inference_mode():
            actions = model(pixels, ids, ids > 0, state).actions
        actions.cpu()  # a GPU is done when its answer is here

    once()
    started = time.monotonic() - began
    return {"stages": {"whole": timed(once, runs)}, "start": started, "cached": False}


def of_file(path: str, way: tuple[str, str], runs: int, cache: str, threads: int) -> dict[str, Any]:
    """A policy file's policy, from an observation of its sizes to its rows."""
    file = load_policy_file(path)
    options = file_options(file)
    if way != AS_IT_IS:
        options["threads"] = threads
    engine = {
        "engine": way[0],
        "precision": way[1],
        "engine_fallbacks": (),
        "engine_cache": cache,
    }
    began = time.monotonic()
    policy = make_policy(file.policy, options, engine)
    started = time.monotonic() - began
    seen = file_spec(file).blank()
    began = time.monotonic()
    policy.predict(seen)
    first = 1e3 * (time.monotonic() - began)
    whole = timed(lambda: policy.predict(seen), runs)
    return {"stages": {"whole": whole}, "start": started, "first": first, "cached": False}


def main(argv: list[str]) -> None:
    name, way, precision, runs, cache, threads, batch = argv
    torch.set_num_threads(int(threads))
    if name not in CONFIGS:
        figures = of_file(name, (way, precision), int(runs), cache, int(threads))
        _print(figures)
        return
    vla, given, key = model_of(name)
    if way in PLAIN:
        figures = plainly(vla, way != "plain", int(runs))
    else:
        request = EngineRequest(way, precision, (), cache=cache)
        figures = on_engine(vla, given, key, request, int(runs), int(batch))
    _print(figures)


def _print(figures: dict[str, Any]) -> None:
    figures["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
