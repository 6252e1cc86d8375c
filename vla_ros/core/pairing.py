"""Pairs images, an instruction and the robot's state by their stamps. No clock: `now` is passed in."""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from vla_ros.core.types import Command, Frame, Observation, to_seconds

MODES = ("latched", "strict")
REPORT_DELAY = 1_200_000_000  # ns; /diagnostics comes once a second


class Synchronizer:
    """Bounded buffers of frames and commands; `read` gives the newest pair, once.

    `latched`: an instruction holds until it is replaced, cancelled or older than `command_ttl`.
    `strict`: image and command stamps lie within `max_skew`. Cameras pair within `max_skew` of each
    other in both. A clock that steps back flushes images and state; the instruction stays, for its age and
    the gate to judge. An image stamped more than `max_future` ahead is dropped. Times in ns.
    """

    def __init__(self, cameras: Sequence[str], mode: str, max_skew: int, command_ttl: int,
                 size: int = 10, max_future: int = 10_000_000_000) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is '{mode}'; use one of {', '.join(MODES)}")
        self._frames: dict[str, deque[Frame]] = {camera: deque(maxlen=size) for camera in cameras}
        self._commands: deque[Command] = deque(maxlen=size)
        self._strict = mode == "strict"
        self.max_skew = max_skew
        self.command_ttl = command_ttl
        self._max_future = max_future
        self._state: dict[str, tuple[int, Mapping[str, float]]] = {}
        self._now = 0
        self._done = 0
        self.drops: Counter[str] = Counter()
        self.waiting_for = "no image yet"
        self.expired = 0  # the generation of an instruction that grew too old

    def add_frame(self, frame: Frame) -> None:
        frames = self._frames[frame.camera]
        if frames and frame.stamp <= frames[-1].stamp:
            self.drops["image out of order"] += 1
            return
        frames.append(frame)  # a full buffer drops its oldest

    def add_command(self, command: Command) -> None:
        self._commands.append(command)

    def add_state(self, source: str, stamp: int, values: Mapping[str, float]) -> None:
        """The newest numbers of one source (`odom`, `joint_states`); each source replaces its own."""
        self._state[source] = (stamp, values)

    def flush(self, reason: str) -> None:
        for frames in self._frames.values():
            frames.clear()
        self._state.clear()
        self._done = 0
        self.drops[reason] += 1
        self.waiting_for = reason

    def read(self, now: int) -> Observation | None:
        """The newest pair that was not read before, or None; then `waiting_for` says why."""
        if now < self._now:
            self._now = now
            self.flush("clock stepped back")
            return None
        self._now = now
        chosen = self._newest_frames(now)
        if chosen is None:
            return None
        stamps = [frame.stamp for frame in chosen]
        command = self._command_for(min(stamps), now)
        if command is None:
            return None
        self._forget(chosen)
        skews = stamps + [command.stamp] if self._strict else stamps
        return Observation(
            stamp=min(stamps), command=command, images={frame.camera: frame.image for frame in chosen},
            state={name: value for _, values in self._state.values() for name, value in values.items()},
            skew=max(skews) - min(skews))

    def instructed(self, now: int) -> bool:
        """Whether each frame ought to give a pair: an instruction holds (latched; a strict one is soon over)."""
        newest = self._commands[-1] if self._commands else None
        return (not self._strict and newest is not None and bool(newest.text)
                and now - newest.stamp <= self.command_ttl)

    def _newest_frames(self, now: int) -> list[Frame] | None:
        """One frame a camera, all near the newest stamp that every camera has reached."""
        for camera, frames in self._frames.items():
            while frames and frames[-1].stamp - now > self._max_future:
                frames.pop()
                self.drops["image from the future"] += 1
            if not frames:
                self.waiting_for = f"no image from '{camera}'"
                return None
        target = min(frames[-1].stamp for frames in self._frames.values())
        chosen = [min(frames, key=lambda frame: abs(frame.stamp - target)) for frames in self._frames.values()]
        stamps = [frame.stamp for frame in chosen]
        if min(stamps) <= self._done:
            self.waiting_for = "no newer image"
            return None
        if max(stamps) - min(stamps) > self.max_skew:
            self.drops["cameras too far apart"] += 1
            self.waiting_for = (f"the cameras' stamps are {to_seconds(max(stamps) - min(stamps)):.3f} s apart; "
                                f"at most {to_seconds(self.max_skew):.3f} s (max_skew)")
            return None
        return chosen

    def _command_for(self, stamp: int, now: int) -> Command | None:
        newest = self._commands[-1] if self._commands else None
        if newest is None or not newest.text:
            self.waiting_for = "no instruction"
            return None
        if self._strict:
            apart = abs(newest.stamp - stamp)
            if apart > self.max_skew:
                self.drops["instruction and image too far apart"] += 1
                self.waiting_for = (f"instruction and image are {to_seconds(apart):.3f} s apart; "
                                    f"at most {to_seconds(self.max_skew):.3f} s (max_skew)")
                return None
        elif now - newest.stamp > self.command_ttl:
            self.drops["instruction too old"] += 1
            self.expired = newest.generation
            self.waiting_for = (f"the instruction is {to_seconds(now - newest.stamp):.1f} s old; "
                                f"it holds for {to_seconds(self.command_ttl):.1f} s (command_ttl)")
            return None
        return newest

    def _forget(self, chosen: Sequence[Frame]) -> None:
        """Frames up to the ones read are done with; newer ones of a faster camera stay."""
        self._done = min(frame.stamp for frame in chosen)
        for frame in chosen:
            frames = self._frames[frame.camera]
            while frames and frames[0].stamp <= frame.stamp:
                frames.popleft()


class Watch:
    """Notices on the steady clock (ns) that frames are lost on the way, or come and give no pair."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self._frames = dict.fromkeys(cameras, 0)
        self._totals: dict[str, tuple[int, int]] = {}  # camera -> frames handed on, when that number grew
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
        """A sentence about what is wrong, or an empty one. `waiting_for`: why there is no pair though an
        instruction holds; empty where none does."""
        for camera, last in self._frames.items():
            grew = self._totals.get(camera, (0, 0))[1]
            # A report may speak of frames that came before `last`: only one from well after it counts.
            if now - last > patience and grew - last > REPORT_DELAY and now - grew < 3 * REPORT_DELAY:
                return (f"no frame of '{camera}' has come for {to_seconds(now - last):.1f} s, "
                        "though its camera_ingest hands them on")
        if any(now - last > patience for last in self._frames.values()):
            self._paired = now  # nothing to pair: the camera's business
            return ""
        if not waiting_for:
            self._paired = now
        if now - self._paired > patience:
            return f"frames and an instruction, but no pair for {to_seconds(now - self._paired):.1f} s: {waiting_for}"
        return ""
