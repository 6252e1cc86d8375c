"""What episodes are recorded with: the robot file, the policy file, and how frames are made.

A dataset outlives the files on the robot: whoever trains or replays it a year later needs them as
they were.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

LIVE_METHOD = (
    "frame k is the observation nearest to k / fps after the first; its action is what the gate "
    "had sent last when the next frame came, gate.requested what it was asked for then"
)


def contract(
    robot_file: str = "", policy_file: str = "", policy: str = "", fps: int = 0
) -> dict[str, Any]:
    """For JSON: `robot`, `policy` (each a file's name, text and SHA-256, or why not), `resampling`.

    Args:
        robot_file: a path; empty: nobody said which.
        policy_file: a path; empty: `policy` says who drives.
        policy: a name; both empty: nobody said which.
        fps: frames a second.
    """
    held: dict[str, Any] = {"robot": _file(robot_file)}
    if policy_file:
        held["policy"] = _file(policy_file)
    else:
        held["policy"] = {"text": f"policy: {policy}\n"} if policy else _file("")
    held["resampling"] = {"fps": fps, "method": LIVE_METHOD}
    return held


def _file(path: str) -> dict[str, str]:
    """A file as it is now; where it cannot be read, the reason: recording goes on without."""
    if not path:
        return {"missing": "no node said which"}
    try:
        data = Path(path).expanduser().read_bytes()
        text = data.decode("utf-8")
    except (OSError, ValueError) as problem:
        return {"file": Path(path).name, "missing": f"cannot be read here: {problem}"}
    return {"file": Path(path).name, "sha256": hashlib.sha256(data).hexdigest(), "text": text}
