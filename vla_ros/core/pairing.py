"""Pairs images and an instruction by their stamps. No clock: `now` is passed in."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vla_ros.core.types import (
    CloudPoints,
    Depth,
    Frame,
    Image,
    Instruction,
    Observation,
    to_seconds,
)

MODES = ("latched", "strict")
REPORT_DELAY_NS = 1_200_000_000  # /diagnostics comes once a second
KEPT_STAMPS = 4  # of a camera: they say how far apart its images are
NO_STATE: Mapping[str, float] = MappingProxyType({})


CLOUD_END = "/cloud"  # of a cloud's stream; a camera's name has no slash


def cloud_stream(cloud: str) -> str:
    """What a cloud's frames are called beside the cameras'."""
    return f"{cloud}{CLOUD_END}"


def is_cloud(stream: str) -> bool:
    return stream.endswith(CLOUD_END)


def cloud_of(stream: str) -> str:
    """The cloud's name."""
    return stream.removesuffix(CLOUD_END)


class Pairing:
    """Buffers of frames, bounded in time and number; `read` gives the newest pair, once.

    No stamp blocks for longer than `max_future` what comes after it: frames are kept by stamp, not
    by arrival, one that is further ahead of the clock is dropped, and a clock that steps back
    flushes them. The instruction stays then, for its age and the gate to judge.

    Args:
        cameras: whose images make a pair together, within `max_skew` of each other.
        clouds: whose point clouds belong to it, as an image does; each a Frame of `cloud_stream`.
        mode: `latched`: an instruction holds until it is replaced, cancelled or older than
            `instruction_ttl`; `strict`: it and the images lie within `max_skew` of each other.
        max_skew, instruction_ttl, max_future: ns.
        size: frames that are kept of a camera, whatever their stamps.
        span: how much later than another camera's the images of one may arrive, ns.
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
        clouds: Sequence[str] = (),
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is '{mode}'; use one of {', '.join(MODES)}")
        self._frames: dict[str, list[Frame]] = {}  # of each camera, by stamp
        self._last: dict[str, deque[int]] = {}  # their newest stamps
        for camera in (*cameras, *map(cloud_stream, clouds)):
            self._frames[camera] = []
            self._last[camera] = deque(maxlen=KEPT_STAMPS)
        self._instruction: Instruction | None = None
        self._strict = mode == "strict"
        self._size = size
        self._span = span
        self.max_skew = max_skew
        self.instruction_ttl = instruction_ttl
        self.max_future = max_future
        self._now = 0
        self._done = 0  # the stamp of the newest pair that was read
        self.drops: Counter[str] = Counter()
        self.waiting_for = "no image yet"
        self.expired = 0  # the instruction_id of an instruction that grew too old

    def add_frame(self, frame: Frame, now: int) -> None:
        """Takes an image; what is too early, too late or there already is dropped, and counted."""
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
            # One from ahead of the clock costs none that is in time.
            newest = min(frames[-1].stamp, now)
            del frames[: bisect_left(frames, newest - self._span, key=_stamp)]
            del frames[: -self._size]

    def add_instruction(self, instruction: Instruction) -> None:
        """Takes the newest instruction; one with an empty text cancels the one before."""
        self._instruction = instruction

    def flush(self, reason: str) -> None:
        """Forgets all images; `reason` is counted among the drops."""
        for frames in self._frames.values():
            frames.clear()
        for last in self._last.values():
            last.clear()
        self._done = 0
        self.drops[reason] += 1

    def read(
        self,
        now: int,
        state: Mapping[str, float] = NO_STATE,
        ages: Mapping[str, float] = NO_STATE,
    ) -> Observation | None:
        """The newest pair that was not read before, with `state` and its `ages` (s).

        None: there is none yet, and `waiting_for` says why.
        """
        self._look_at_clock(now)
        chosen = self._newest_frames()
        if chosen is None:
            return None
        stamps = [frame.stamp for frame in chosen]
        instruction = self._instruction_for(min(stamps), now)
        if instruction is None:
            return None
        self._done = min(stamps)
        images: dict[str, Image] = {}
        depths: dict[str, Depth] = {}
        clouds: dict[str, CloudPoints] = {}
        for frame in chosen:
            del self._frames[frame.camera][0]
            if is_cloud(frame.camera):
                clouds[cloud_of(frame.camera)] = frame.image
            else:
                images[frame.camera] = frame.image
            if frame.depth is not None:
                depths[frame.camera] = frame.depth
        skews = stamps + [instruction.stamp] if self._strict else stamps
        return Observation(
            stamp=min(stamps),
            instruction=instruction,
            images=images,
            depths=depths,
            clouds=clouds,
            state=dict(state),
            skew=max(skews) - min(skews),
            ages=dict(ages),
        )

    def instructed(self, now: int) -> bool:
        """Whether each frame ought to give a pair, since an instruction holds.

        Only where it is latched: a strict one is soon over.
        """
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
        """One frame a camera, all near the newest stamp that every camera has reached.

        Older ones are forgotten. None: `waiting_for` says why.
        """
        for camera, frames in self._frames.items():
            if not frames:
                self.waiting_for = f"no image from '{camera}'"
                if is_cloud(camera):
                    self.waiting_for = f"no point cloud from '{cloud_of(camera)}'"
                return None
        target, behind = min((frames[-1].stamp, camera) for camera, frames in self._frames.items())
        chosen: list[Frame] = []
        for frames in self._frames.values():
            nearest = min(frames, key=lambda frame: abs(frame.stamp - target))
            chosen.append(nearest)
            # The target only grows: what is older will never be nearer to it.
            del frames[: bisect_left(frames, nearest.stamp, key=_stamp)]
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
        # The camera that is behind will soon have an image that fits the others' better.
        if max(stamps) - target > self._period(behind) / 2:
            self.waiting_for = f"an image from '{behind}' that is nearer to the other cameras'"
            return None
        return chosen

    def _period(self, camera: str) -> float:
        """The longest of the last gaps between a camera's stamps, ns; infinity: not known.

        The longest, so that bursts are no period.
        """
        stamps = list(self._last[camera])
        if len(stamps) < KEPT_STAMPS:
            return math.inf
        return max(after - before for before, after in zip(stamps, stamps[1:]))

    def _instruction_for(self, stamp: int, now: int) -> Instruction | None:
        """The instruction that goes with images of `stamp`; None: `waiting_for` says why."""
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


class PairingWatch:
    """Notices that frames are lost on the way, or come and give no pair. Times in steady ns."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self._frames = dict.fromkeys(cameras, 0)  # when each camera's last one came
        # Camera -> frames handed on, and when that number grew; 0: it has not yet.
        self._totals: dict[str, tuple[int, int]] = {}
        self._paired = 0

    def begin(self, now: int) -> None:
        """What came before is of no account."""
        self._frames = dict.fromkeys(self._frames, now)
        self._totals.clear()
        self._paired = now

    def frame(self, camera: str, now: int) -> None:
        """A frame of this camera came."""
        self._frames[camera] = now

    def pair(self, now: int) -> None:
        """Frames and an instruction gave a pair."""
        self._paired = now

    def handed_on(self, camera: str, total: int, now: int) -> None:
        """A camera_ingest says how many frames it has published."""
        before = self._totals.get(camera)
        if before is None or total != before[0]:
            self._totals[camera] = (total, now if before and total > before[0] else 0)

    def look(self, now: int, patience: int, waiting_for: str) -> str:
        """A sentence about what is wrong, or an empty one.

        Args:
            now: steady ns.
            patience: how long nothing may come, ns.
            waiting_for: why there is no pair though an instruction holds; empty: none does.
        """
        for camera, last in self._frames.items():
            grew = self._totals.get(camera, (0, 0))[1]
            # A report may speak of frames that came before `last`: only one from well after it
            # counts.
            lost = grew - last > REPORT_DELAY_NS and now - grew < 3 * REPORT_DELAY_NS
            if now - last > patience and lost:
                return (
                    f"no frame of '{camera}' has come for {to_seconds(now - last):.1f} s, "
                    "though its camera_ingest hands them on"
                )
        if now - min(self._frames.values(), default=now) > patience:
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
