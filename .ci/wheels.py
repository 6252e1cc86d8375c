"""Points the CMake files of the ROS wheels in an environment at this machine's include folders.

The wheels name those of the machine that built them: /opt/python/cp311-cp311/include/python3.11 and
the ones of the numpy there.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

# A folder of the machine that built them, up to what ends a path in CMake -> the one here.
FOLDERS = (
    (
        re.compile(r"/opt/[^\";\s]*/include/python3\.\d+(?=[\";\s]|$)"),
        sysconfig.get_path("include"),
    ),
    (re.compile(r"/opt/[^\";\s]*/numpy/(?:_core|core)/include(?=[\";\s]|$)"), numpy.get_include()),
)


def rewrite(text: str) -> str:
    """A CMake file's text, with this machine's folders."""
    for pattern, here in FOLDERS:
        text = pattern.sub(here.replace("\\", r"\\"), text)
    return text


def main(prefix: Path) -> int:
    """0: all were rewritten; 1: some still name a folder that is not here."""
    changed = 0
    left = []
    for path in sorted(prefix.glob("share/*/cmake/*.cmake")):
        before = path.read_text(encoding="utf-8")
        after = rewrite(before)
        if after != before:
            # A new file, not the old one written over: pip may have hard-linked it from its cache.
            path.unlink()
            path.write_text(after, encoding="utf-8")
            changed += 1
        if "/opt/python/" in after:
            left.append(str(path))
    if left:
        print(
            "setup: these still name folders of the machine that built the wheels:",
            *left,
            file=sys.stderr,
        )
        return 1
    print(
        f"            {changed} CMake files of the wheels now name this machine's include folders"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
