"""Draws one image of the demo's video: the camera's, and around it words, action and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# pixels
WIDTH = 640
CAMERA_HEIGHT = 480
HEADER = 40
PANEL = 120
# width, height in pixels; both multiples of 16, for the codec
SIZE = (WIDTH, HEADER + CAMERA_HEIGHT + PANEL)
Colour = tuple[int, int, int]  # rgb
INK = (240, 240, 245)
PAPER = (24, 26, 31)
FAINT = (150, 155, 165)
RULE = (70, 74, 84)
STATE_COLOURS = {
    "DISARMED": (120, 124, 134),
    "HOLDING": (70, 130, 220),
    "ACTIVE": (46, 160, 67),
    "STOPPED": (218, 54, 51),
}
VERDICT_COLOURS = {
    "PASSED": (46, 160, 67),
    "LIMITED": (201, 138, 4),
    "HELD": (70, 130, 220),
    "STOPPED": (218, 54, 51),
}
UNITS = {"linear.x": "m/s", "linear.y": "m/s", "angular.z": "rad/s", "gripper": ""}  # a joint: rad
RANGES = {  # what a bar's whole length stands for, in the channel's unit
    "linear.x": (-1.0, 1.0),
    "linear.y": (-1.0, 1.0),
    "angular.z": (-1.0, 1.0),
    "gripper": (0.0, 1.0),
}
ANGLE_RANGE = (-2.0, 2.0)  # rad, of a joint: RANGES does not know its name
BARS_MAX = 3  # that fit into the panel


@dataclass(frozen=True)
class Moment:
    """What was true when a camera image arrived.

    `requested` and `emitted` are in the channels' units; `target` is where the thing is that the
    words name, in metres and radians from the robot.
    """

    seconds: float = 0.0  # since the demo began
    caption: str = ""
    instruction: str = ""
    state: str = "DISARMED"
    verdict: str = "HELD"
    rule: str = ""
    reason: str = ""
    channels: tuple[str, ...] = ()
    requested: tuple[float, ...] = ()
    emitted: tuple[float, ...] = ()
    target: tuple[float, float] | None = None

    @property
    def outcome(self) -> str:
        """What the gate makes of an action: PASSED or LIMITED; empty in a state that lets none."""
        return self.verdict if self.state == "ACTIVE" else ""


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which comes with matplotlib; Pillow's own where it does not."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    try:
        import matplotlib

        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        return ImageFont.truetype(str(fonts / name), size)
    except (ImportError, OSError):
        return ImageFont.load_default()


@lru_cache(maxsize=256)
def _mask(text: str, size: int, bold: bool) -> Image.Image:
    """The letters as a grey image, kept: most words stay the same from image to image."""
    _, _, width, height = font(size, bold).getbbox(text or " ")
    mask = Image.new("L", (int(width) + 2, int(height) + 2))
    ImageDraw.Draw(mask).text((0, 0), text, 255, font(size, bold))
    return mask


def _text(
    image: Image.Image, x: float, y: float, text: str, colour: Colour, size: int, bold: bool = False
) -> float:
    """Write at `x`, `y` (left, top; pixels); returns the width."""
    mask = _mask(text, size, bold)
    image.paste(colour, (int(x), int(y)), mask)
    return float(mask.width)


@lru_cache(maxsize=256)
def wrap(text: str, size: int, width: int, lines: int) -> list[str]:
    """`text` in at most `lines` lines of `width` pixels; what does not fit ends in an ellipsis."""
    letters = font(size)
    wrapped: list[str] = []
    words = text.split()
    while words and len(wrapped) < lines:
        line = words.pop(0)
        while words and letters.getlength(f"{line} {words[0]}") <= width:
            line += f" {words.pop(0)}"
        wrapped.append(line)
    if words:
        wrapped[-1] += " …"
    # a word may be longer than a line, and so may the last line with its ellipsis
    for index, line in enumerate(wrapped):
        while len(line) > 1 and letters.getlength(line) > width:
            line = line[:-2].rstrip(" …") + "…"
        wrapped[index] = line
    return wrapped


def draw(camera: NDArray[np.uint8], moment: Moment) -> NDArray[np.uint8]:
    """`camera` (480 x 640 x 3, rgb8) -> an image (640 x 640 x 3, rgb8).

    Raises:
        ValueError: The camera's image has another shape.
    """
    if camera.shape != (CAMERA_HEIGHT, WIDTH, 3):
        raise ValueError(
            f"the camera's image is {camera.shape}; the video wants {(CAMERA_HEIGHT, WIDTH, 3)}"
        )
    image = Image.new("RGB", SIZE, PAPER)
    image.paste(Image.fromarray(camera), (0, HEADER))
    _header(image, moment)
    _verdict(image, moment)
    _bars(image, moment)
    return np.asarray(image)


def _header(image: Image.Image, moment: Moment) -> None:
    right = f"{moment.caption}   {moment.seconds:5.1f} s"
    width = font(14).getlength(right)
    _text(image, WIDTH - 12 - width, 12, right, FAINT, 14)
    # the instruction has the room that is left beside it
    room = int(WIDTH - width - 80)
    if moment.instruction:
        _text(image, 12, 7, wrap(f"“{moment.instruction}”", 20, room, 1)[0], INK, 20, bold=True)
    else:
        _text(image, 12, 7, wrap("no instruction", 20, room, 1)[0], FAINT, 20)


def _chip(image: Image.Image, x: int, y: int, text: str, colour: Colour) -> int:
    """A coloured label; returns where it ends."""
    end = x + _mask(text, 14, True).width + 18
    ImageDraw.Draw(image).rounded_rectangle((x, y, end, y + 25), 6, colour)
    _text(image, x + 10, y + 4, text, (255, 255, 255), 14, True)
    return end


def _verdict(image: Image.Image, moment: Moment) -> None:
    top = HEADER + CAMERA_HEIGHT
    x = _chip(image, 12, top + 10, moment.state, STATE_COLOURS.get(moment.state, RULE))
    if moment.outcome:
        _text(image, x + 8, top + 13, "›", FAINT, 16, True)
        _chip(image, x + 24, top + 10, moment.outcome, VERDICT_COLOURS.get(moment.outcome, RULE))
    reason = ": ".join(filter(None, (moment.rule, moment.reason)))
    for row, line in enumerate(wrap(reason or "as asked for", 13, 290, 4)):
        _text(image, 12, top + 42 + 18 * row, line, INK if reason else FAINT, 13)


def _share(channel: str, value: float) -> float:
    """Where `value` lies in the channel's range, 0 … 1."""
    if not np.isfinite(value):
        return 0.0
    low, high = RANGES.get(channel, ANGLE_RANGE)
    return (min(max(value, low), high) - low) / (high - low)


def _bars(image: Image.Image, moment: Moment) -> None:
    """A bar a channel: a frame for what the policy asked for, filled by what the robot got."""
    pen = ImageDraw.Draw(image)
    top = HEADER + CAMERA_HEIGHT
    pen.line((316, top + 12, 316, top + PANEL - 12), RULE)
    colour = VERDICT_COLOURS.get(moment.verdict, RULE)
    rows = list(zip(moment.channels, moment.requested, moment.emitted))
    if len(rows) > BARS_MAX:  # of an arm the first joints, and the last channel: its gripper
        rows = [*rows[: BARS_MAX - 1], rows[-1]]
    for row, (channel, asked, got) in enumerate(rows):
        y = top + 10 + 29 * row
        _bar(image, y, channel, asked, got, colour)
    if rows:  # what the frame and the filling mean
        pen.rectangle((328, top + 102, 340, top + 110), None, INK)
        _text(image, 346, top + 98, "asked for", FAINT, 12)
        pen.rectangle((418, top + 102, 430, top + 110), colour)
        _text(image, 436, top + 98, "given to the robot", FAINT, 12)


def _bar(
    image: Image.Image, y: int, channel: str, asked: float, got: float, colour: Colour
) -> None:
    """One channel's bar, with its name and what the robot got; `y` is its top, pixels."""
    pen = ImageDraw.Draw(image)
    left = 404
    right = 544

    def column(value: float) -> float:
        return left + _share(channel, value) * (right - left)

    _text(image, 328, y + 3, channel, INK, 13)
    pen.rectangle((left, y + 3, right, y + 19), (40, 43, 50))
    zero = column(0.0)
    # A value that is no number has no place on the bar; the text beside it tells.
    if np.isfinite(got):
        ends = sorted((zero, column(got)))
        pen.rectangle((ends[0], y + 6, ends[1], y + 16), colour)
    if np.isfinite(asked):
        ends = sorted((zero, column(asked)))
        pen.rectangle((ends[0], y + 3, ends[1], y + 19), None, INK)
    pen.line((zero, y, zero, y + 22), FAINT)
    unit = UNITS.get(channel, "rad")
    # "+ 0.0": a rounded -0.001 is no "-0.00"
    value = f"{round(got, 2) + 0.0:+.2f} {unit}" if unit else f"{got:.2f}"
    _text(image, right + 10, y + 3, value, INK, 13)
