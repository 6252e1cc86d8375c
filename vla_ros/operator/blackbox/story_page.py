"""The story as one page: no scripts, nothing from elsewhere, the images inside it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from vla_ros.operator.blackbox.story import StoryLine, clock

# Of what happened, and as many of drives: a policy's images have some 10 kB each, and a long drive
# leaves room for the stop at its end.
MOST_IMAGES = 60
# of lines: a browser shows no more of a 20 GB file in a useful way
MOST_LINES = 5000

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c1c1c; }}
h1 {{ font-size: 1.5rem; }}
ol {{ list-style: none; padding: 0; }}
li {{ border-left: 4px solid #ddd; margin: .35rem 0; padding: .1rem .7rem; overflow-wrap: anywhere; }}
time {{ color: #555; font-variant-numeric: tabular-nums; margin-right: .7rem; }}
img {{ display: block; max-width: 20rem; margin: .3rem 0; }}
.moves {{ border-color: #00704a; }} .held {{ border-color: #d99a00; }} .said {{ border-color: #2a5db0; }}
.stopped, .fault, .clock {{ border-color: #b3400a; font-weight: 600; }}
</style>
</head>
<body>
"""  # noqa: E501


def page(title: str, facts: Sequence[str], lines: Iterable[StoryLine]) -> Iterator[str]:
    """The page in pieces, so that a long story is never in memory as a whole.

    Args:
        title: its heading.
        facts: sentences above the story.
        lines: the story.
    """
    yield HEAD.format(title=escape(title))
    yield f"<h1>{escape(title)}</h1>\n"
    for fact in facts:
        yield f"<p>{escape(fact)}</p>\n"
    yield "<ol>\n"
    images: Counter[bool] = Counter()  # of drives, and of all else
    shown = b""
    left_out = 0
    for number, line in enumerate(lines):
        if number >= MOST_LINES:
            left_out += 1
            continue
        # the same image is shown once
        moves = line.kind == "moves"
        with_image = bool(line.image) and line.image != shown and images[moves] < MOST_IMAGES
        yield story_item(line, with_image)
        if with_image:
            images[moves] += 1
            shown = line.image
    yield "</ol>\n"
    if left_out:
        yield f"<p>{left_out} more lines are in the text, without --html.</p>\n"
    yield "</body>\n</html>\n"


def story_item(line: StoryLine, with_image: bool) -> str:
    """A line of the story as an item of a list."""
    image = ""
    if with_image:
        data = base64.b64encode(line.image).decode()
        image = f'<img alt="what the camera saw last" src="data:image/jpeg;base64,{data}">'
    moment = clock(line.begin)
    return f'<li class="{line.kind}"><time>{moment}</time>{escape(line.text)}{image}</li>\n'
