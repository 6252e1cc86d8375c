"""What it takes to go on with a dataset: what a killed recording left, and whether it fits."""

from __future__ import annotations

import fcntl
import json
import os
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.datasets.lerobot import episodes as tables
from vla_ros.datasets.lerobot import layout
from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.datasets.statistics import PixelStatistics

# of a camera, whose levels stand for all of them: decoding each would take as long as recording
SAMPLED_IMAGES = 100
# where a writer of ours puts files; nothing else in the folder is touched
OURS = (
    "data/chunk-*/file-*.parquet",
    "meta/episodes/chunk-*/file-*.parquet",
    "videos/*/chunk-*/file-*.mp4",
)
UNFINISHED = (*(f"{pattern}.part" for pattern in OURS), "videos/*/episode.part", "meta/*.part")
ASIDE = ".left"  # behind the name of a whole file that no episode needs


class FolderLock:
    """Nobody else records into `folder`, which is made, until `release` or the process ends.

    A file system that cannot lock a folder (NFS) has no such lock.

    Raises:
        ValueError: another recording holds it, or the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as problem:
            raise ValueError(
                f"cannot write to {folder}: {problem.strerror}; give another folder"
            ) from None
        self.release = weakref.finalize(self, os.close, held)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another recording is going on in {folder}; end it first, or give another folder"
            ) from None
        except OSError:
            pass


def clear_left(folder: Path) -> str:
    """Takes away what a killed recording left of the episode under way; first lock the folder.

    Only what ends in .part is removed; whole files that no episode is in get ASIDE behind their
    names.

    Returns:
        A sentence that says what was lost; nothing where it came to its end, and where there is
        no dataset.

    Raises:
        ValueError: the files are a dataset whose description is missing, in whole or in part.
    """
    finished: list[Path] = []
    for pattern in OURS:
        finished += sorted(folder.glob(pattern))
    whole = 0
    kept: set[Path] = set()
    if (folder / layout.INFO).is_file():
        info = tables.read_info(folder)
        whole = int(info["total_episodes"])
        kept = _files_of(folder, info, whole)
    elif finished:
        raise ValueError(
            f"{folder} has no description of its dataset ({layout.INFO}), but files of it "
            f"({finished[0].relative_to(folder)}); bring the rest of it, or give another folder"
        )
    unfinished: list[Path] = []
    for pattern in UNFINISHED:
        unfinished += folder.glob(pattern)
    under_way = folder / layout.UNDER_WAY
    lost = _under_way(under_way)
    if under_way.is_file():
        unfinished.append(under_way)
    # it was killed between their names and info.json
    aside = [path for path in finished if path not in kept]
    for path in aside:
        _put_aside(path)
    for path in unfinished:
        path.unlink()
        if not whole:  # not even its first one was whole
            _remove_empty(path.parent, folder)
    if not aside and not unfinished:
        return ""
    line = (
        f"the last recording in {folder} was cut off{lost}; that episode is lost, and the "
        f"{whole} before it are whole"
    )
    return f"{line}; {len(aside)} files of it now end in {ASIDE}" if aside else line


def _put_aside(path: Path) -> None:
    free = path.with_name(path.name + ASIDE)
    number = 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}{ASIDE}{number}")
    path.rename(free)


def _files_of(folder: Path, info: Mapping[str, Any], whole: int) -> set[Path]:
    """The files that hold the first `whole` episodes. Raises ValueError where a row is missing."""
    kept: set[Path] = set()
    episodes: set[int] = set()
    for path in sorted((folder / "meta" / "episodes").glob("*/*.parquet")):
        for row in tables.rows_of(path):
            if row["episode_index"] >= whole:
                continue
            episodes.add(row["episode_index"])
            kept.add(path)
            data, clips = tables.places_of(folder, info, row)
            kept.add(data)
            kept.update(clip.path for clip in clips.values())
    if len(episodes) < whole:
        raise ValueError(
            f"{folder} has {whole} episodes, and meta/episodes describes {len(episodes)} of them; "
            "bring the rest of it, or give another folder"
        )
    return kept


def _under_way(path: Path) -> str:
    """What the recorder had written of the episode that it was at."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        held = json.loads(path.read_text(encoding="utf-8"))
        return f" in episode {held['episode']} ({held['task']!r}, begun {held['began']})"
    return ""


def _remove_empty(place: Path, folder: Path) -> None:
    """Takes away `place` and the folders above it, below `folder`, as far as nothing is in them."""
    with suppress(OSError):  # the first one that is not empty ends it
        while folder in place.parents:
            place.rmdir()
            place = place.parent


def check_same(info: Mapping[str, Any], spec: DatasetSpec, folder: Path) -> None:
    """Raises ValueError where frames of `spec` are not like those that the dataset has."""
    given = {name: _described(feature) for name, feature in info["features"].items()}
    wanted = {name: _described(feature) for name, feature in spec.features().items()}
    if float(info["fps"]) != spec.fps:
        raise ValueError(
            f"{folder} has {info['fps']} frames a second, and now there would be {spec.fps}; "
            "give the same rate, or another folder"
        )
    for name in [*given, *wanted]:
        if given.get(name) != wanted.get(name):
            raise ValueError(
                f"{folder} cannot go on: its '{name}' is {given.get(name, 'not there')}, and now "
                f"it would be {wanted.get(name, 'left out')}; give another folder"
            )


def _described(feature: Mapping[str, Any]) -> tuple[Any, ...]:
    return feature["dtype"], tuple(feature["shape"]), tuple(feature["names"] or ())


def sampled_pixels(dataset: Dataset, camera: str) -> PixelStatistics:
    """The levels of a camera's images, by SAMPLED_IMAGES of them, evenly out of all."""
    pixels = PixelStatistics()
    places = np.linspace(0, len(dataset) - 1, min(SAMPLED_IMAGES, len(dataset)))
    for index in places.astype(np.int64).tolist():
        pixels.update(dataset.image(index, camera))
    # so that each image that comes counts as one of all, not as one of the sample
    pixels.counts = pixels.counts * len(dataset) // pixels.images
    pixels.images = len(dataset)
    return pixels
