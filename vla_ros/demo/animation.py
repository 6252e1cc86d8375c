"""A short animated image of a demo's film, for a page.

python3 -m vla_ros.demo.animation demo/demo.mp4 demo.gif
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from vla_ros.core.types import Image

PALETTE_COLOURS = (
    128  # of the palette: the room has few, and each bit less saves an eighth of the file
)
SPEED_UP = 4  # times as fast as it was: a reader looks for some seconds
FRAMES_PER_SECOND = 8
WIDTH_PIXELS = 480


def frames(film: Path) -> Iterator[Image]:
    """Every frame that is shown, H x W x 3 (rgb8), `WIDTH_PIXELS` wide.

    Raises:
        ValueError: The file is no film.
    """
    video = cv2.VideoCapture(str(film))
    every = max(1, round(video.get(cv2.CAP_PROP_FPS) * SPEED_UP / FRAMES_PER_SECOND))
    count = 0
    # a frame that is only grabbed is not decoded: most are left out
    while video.grab():
        if count % every == 0:
            good, frame = video.retrieve()
            if good:
                height = round(frame.shape[0] * WIDTH_PIXELS / frame.shape[1])
                small = cv2.resize(frame, (WIDTH_PIXELS, height), interpolation=cv2.INTER_AREA)
                yield cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
        count += 1
    video.release()
    if not count:
        raise ValueError(f"{film} is no film that OpenCV can read; make one with vla demo")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the animation; returns 0."""
    from PIL import Image as Pillow  # wanted by this alone

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("film", type=Path, help="demo.mp4, as vla demo leaves it")
    parser.add_argument("out", type=Path, help="the animation, a .gif")
    options = parser.parse_args(argv)
    shown = list(frames(options.film))
    # One palette for all, from all: colours that change from frame to frame flicker, and are stored
    # anew. A sixteenth of the pixels is enough to choose it.
    strip = Pillow.fromarray(np.concatenate([frame[::4, ::4] for frame in shown]))
    # maximum coverage; the names of both moved between versions
    palette = strip.quantize(PALETTE_COLOURS, method=1)
    plain = getattr(Pillow, "Dither", Pillow).NONE  # Ubuntu 22.04's Pillow keeps it elsewhere
    flat = []
    for frame in shown:
        # without dithering: its dots change with each frame, and do not compress
        flat.append(Pillow.fromarray(frame).quantize(palette=palette, dither=plain))
    flat[0].save(
        options.out,
        save_all=True,
        append_images=flat[1:],
        duration=1000 // FRAMES_PER_SECOND,
        loop=0,
    )
    print(f"{options.out}: {len(flat)} frames, {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
