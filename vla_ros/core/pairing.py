"""Pairs images and an instruction by their stamps. No clock: `now` is passed in."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vla_ros.core.types import Frame, Instruction, Observation, to_seconds

MODES = ("latched", "strict")
REPORT_DELAY = 1_200_000_000  # ns; /diagnostics comes once a second
LAST = 4  # stamps of a camera that say how far apart its images are
NO_STATE: Mapping[str, float] = MappingProxyType({})


class Synchronizer:
    """Buffers of frames, bounded in time and number; `read` gives the newest pair, once. Times in
    ns.

    `latched`: an instruction holds until it is replaced, cancelled or older than `instruction_ttl`.
    `strict`: image and instruction stamps lie within `max_skew`. Cameras pair within `max_skew` of
    each other in both.

    `span`: how much later than another camera's the images of one may arrive. `size`: frames a
    camera, whatever their stamps. No stamp blocks for longer than `max_future` what comes after it:
    frames are kept by stamp, not by arrival, one that is further ahead of the clock is dropped, and
    a clock that steps back flushes them. The instruction stays then, for its age and the gate to
    judge.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        mode: str,
        max_skew: int,
        instruction_ttl: int,
        size: int = 60,
        max_future: int = 500_000_000,
        span: int = 500_000_000,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is '{mode}'; use one of {', '.join(MODES)}")
        self._frames: dict[str, list[Frame]] = {camera: [] for camera in cameras}  # by stamp
        # their newest stamps
        self._last: dict[str, deque[int]] = {camera: deque(maxlen=LAST) for camera in cameras}
        self._instruction: Instruction | None = None
        self._strict = mode == "strict"
        self._size = size
        self._span = span
        self.max_skew = max_skew
        self.instruction_ttl = instruction_ttl
        self.max_future = max_future
        self._now = 0
        self._done = 0
        self.drops: Counter[str] = Counter()
        self.waiting_for = "no image yet"
        self.expired = 0  # the instruction_id of an instruction that grew too old

    def add_frame(self, frame: Frame, now: int) -> None:
        self._look_at_clock(now)
        frames = self._frames[frame.camera]
        place = bisect_left(frames, frame.stamp, key=_stamp)
        if frame.stamp - now > self.max_future:
            self.drops["image from the future"] += 1
        elif frame.stamp <= self._done or (
            place < len(frames) and frames[place].stamp == frame.stamp
        ):
            self.drops["image out of order"] += 1
        else:
            frames.insert(place, frame)
            last = self._last[frame.camera]
            if not last or frame.stamp > last[-1]:
                last.append(frame.stamp)
            # one from ahead of the clock costs none that is in time
            newest = min(frames[-1].stamp, now)
            del frames[: bisect_left(frames, newest - self._span, key=_stamp)]
            del frames[: -self._size]

    def add_instruction(self, instruction: Instruction) -> None:
        self._instruction = instruction

    def flush(self, reason: str) -> None:
        for frames in self._frames.values():
            frames.clear()
        for last in self._last.values():
            last.clear()
        self._done = 0
        self.drops[reason] += 1

    def read(self, now: int, state: Mapping[str, float] = NO_STATE) -> Observation | None:
        """The newest pair that was not read before, with `state`; or None, then `waiting_for` says
        why."""
        self._look_at_clock(now)
        chosen = self._newest_frames()
        if chosen is None:
            return None
        stamps = [frame.stamp for frame in chosen]
        instruction = self._instruction_for(min(stamps), now)
        if instruction is None:
            return None
        self._done = min(stamps)
        for frame in chosen:
            del self._frames[frame.camera][0]
        skews = stamps + [instruction.stamp] if self._strict else stamps
        return Observation(
            stamp=min(stamps),
            instruction=instruction,
            images={frame.camera: frame.image for frame in chosen},
            state=dict(state),
            skew=max(skews) - min(skews),
        )

    def instructed(self, now: int) -> bool:
        """Whether each frame ought to give a pair: an instruction holds (latched; a strict one is
        soon over)."""
        instruction = self._instruction
        return (
            not self._strict
            and instruction is not None
            and bool(instruction.text)
            and now - instruction.stamp <= self.instruction_ttl
        )

    def _look_at_clock(self, now: int) -> None:
        if now < self._now:
            self.flush("clock stepped back")
        self._now = now

    def _newest_frames(self) -> list[Frame] | None:
        """One frame a camera, all near the newest stamp that every camera has reached; older ones
        are forgotten."""
        for camera, frames in self._frames.items():
            if not frames:
                self.waiting_for = f"no image from '{camera}'"
                return None
        target, behind = min((frames[-1].stamp, camera) for camera, frames in self._frames.items())
        chosen = [
            min(frames, key=lambda frame: abs(frame.stamp - target))
            for frames in self._frames.values()
        ]
        for frame in chosen:  # the target only grows: what is older will never be nearer to it
            frames = self._frames[frame.camera]
            del frames[: bisect_left(frames, frame.stamp, key=_stamp)]
        stamps = [frame.stamp for frame in chosen]
        if min(stamps) <= self._done:
            self.waiting_for = "no newer image"
            return None
        if max(stamps) - min(stamps) > self.max_skew:
            self.drops["cameras too far apart"] += 1
            self.waiting_for = (
                f"the cameras' stamps are {to_seconds(max(stamps) - min(stamps)):.3f} s apart; "
                f"at most {to_seconds(self.max_skew):.3f} s (max_skew)"
            )
            return None
        if max(stamps) - target > self._period(behind) / 2:
            self.waiting_for = f"an image from '{behind}' that is nearer to the other cameras'"
            return None
        return chosen

    def _period(self, camera: str) -> float:
        """The longest of the last gaps between a camera's stamps, so that bursts are no period;
        infinity: not known."""
        last = self._last[camera]
        return (
            max(after - before for before, after in zip(last, list(last)[1:]))
            if len(last) == LAST
            else math.inf
        )

    def _instruction_for(self, stamp: int, now: int) -> Instruction | None:
        newest = self._instruction
        if newest is None or not newest.text:
            self.waiting_for = "no instruction"
            return None
        if self._strict:
            apart = abs(newest.stamp - stamp)
            if apart > self.max_skew:
                self.drops["instruction and image too far apart"] += 1
                self.waiting_for = (
                    f"instruction and image are {to_seconds(apart):.3f} s apart; "
                    f"at most {to_seconds(self.max_skew):.3f} s (max_skew)"
                )
                return None
        elif now - newest.stamp > self.instruction_ttl:
            self.drops["instruction too old"] += 1
            self.expired = newest.instruction_id
            self.waiting_for = (
                f"the instruction is {to_seconds(now - newest.stamp):.1f} s old; "
                f"it holds for {to_seconds(self.instruction_ttl):.1f} s (instruction_ttl)"
            )
            return None
        return newest


def _stamp(frame: Frame) -> int:
    return frame.stamp


class Watch:
    """Notices on the steady clock (ns) that frames are lost on the way, or come and give no
    pair."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self._frames = dict.fromkeys(cameras, 0)
        # camera -> frames handed on, when that number grew
        self._totals: dict[str, tuple[int, int]] = {}
        self._paired = 0

    def begin(self, now: int) -> None:
        """What came before is of no account."""
        self._frames = dict.fromkeys(self._frames, now)
        self._totals.clear()
        self._paired = now

    def frame(self, camera: str, now: int) -> None:
        self._frames[camera] = now

    def pair(self, now: int) -> None:
        self._paired = now

    def handed_on(self, camera: str, total: int, now: int) -> None:
        """A camera_ingest says how many frames it has published."""
        before = self._totals.get(camera)
        if before is None or total != before[0]:
            self._totals[camera] = (total, now if before and total > before[0] else 0)

    def look(self, now: int, patience: int, waiting_for: str) -> str:
        """A sentence about what is wrong, or an empty one. `waiting_for`: why there is no pair
        though an instruction holds; empty where none does."""
        for camera, last in self._frames.items():
            grew = self._totals.get(camera, (0, 0))[1]
            # A report may speak of frames that came before `last`: only one from well after it
            # counts.
            if (
                now - last > patience
                and grew - last > REPORT_DELAY
                and now - grew < 3 * REPORT_DELAY
            ):
                return (
                    f"no frame of '{camera}' has come for {to_seconds(now - last):.1f} s, "
                    "though its camera_ingest hands them on"
                )
        if any(now - last > patience for last in self._frames.values()):
            self._paired = now  # nothing to pair: the camera's business
            return ""
        if not waiting_for:
            self._paired = now
        if now - self._paired > patience:
            return (
                "frames and an instruction, but no pair for "
                f"{to_seconds(now - self._paired):.1f} s: {waiting_for}"
            )
        return ""
