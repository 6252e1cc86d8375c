"""Cuts what a running suite says into episodes of evenly spaced frames.

No ROS; times are the messages' stamps, in ns. An episode is one unbroken stretch in which the gate
is ACTIVE for one instruction. Frame k is the observation nearest to k / fps after the first; its
action is what the gate had sent last when the next frame came: the answer to this image has left by
then. It ends with the instruction, when the gate holds or stops, or once nothing moved for REST_S.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vla_ros.core.types import NANOSECONDS, VELOCITIES, Observation
from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.write import DatasetWriter, new_folder

REST_S = 2.0  # that nothing moved: the instruction is done, or given up
SHORTEST_S = 0.5  # less is no demonstration
# Without an image for so long an episode ends; what is missing in less is filled with the image
# before, and counted.
GAP_S = 1.0
MOST_LOST_SHARE = 0.2  # of an episode's frames
# between an image and the newest report, from which on nobody knows what the gate does
SILENCE_S = 0.5
STILL_SI = 1e-3  # m, rad, m/s, rad/s: less is no motion


@dataclass(frozen=True)
class SentCommand:
    """What the gate sent at `stamp`: channel -> SI units, without those it did not command."""

    stamp: int
    active: bool
    instruction_id: int
    values: Mapping[str, float]


class LiveRecorder:
    """Feed it what arrives, in the order of arrival, from one thread; then `close`.

    Args:
        folder: A new or empty one.
        fps: Frames a second that the dataset gets.
        robot_type: As the dataset names it.
        say: Gets a line an episode.

    Raises:
        ValueError: For a folder in use and for observations that no dataset can hold.
    """

    def __init__(
        self,
        folder: str | Path,
        fps: int,
        robot_type: str = "unknown",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        new_folder(Path(folder))
        self._folder = Path(folder)
        self._fps = fps
        self._robot_type = robot_type
        self._say = say
        self._writer: DatasetWriter | None = None
        self._names: set[str] = set()  # of the state, heard of so far
        self._sent: SentCommand | None = None
        self._frame: Observation | None = None  # begun: its action is not known yet
        self._start = 0  # ns, of the episode
        self._tick = 0  # frames from there to the one that was begun
        self._lost = 0  # frames of this episode
        self._still = 0  # frames in a row without motion
        self._before: Mapping[str, float] = {}  # what the frame before was sent
        self._rested: int | None = None  # the instruction_id that came to rest
        self.lost = 0  # frames, in all
        self.dropped = 0  # episodes
        self._dropped = ""  # why the last was

    @property
    def episodes(self) -> int:
        """Saved so far."""
        return self._writer.episodes if self._writer else 0

    @property
    def frames(self) -> int:
        """Saved so far."""
        return self._writer.frames if self._writer else 0

    def on_report(self, sent: SentCommand) -> None:
        """One of the gate's reports."""
        if self._frame:
            instruction_id = self._frame.instruction.instruction_id
            if not sent.active or sent.instruction_id != instruction_id:
                # before the report is taken in: the last frame's action is what was sent until now
                self._end()
        self._sent = sent

    def on_observation(self, observation: Observation) -> None:
        """One of the synchronizer's observations."""
        self._meet(observation.state)
        if self._frame and not self._continues(self._frame, observation):
            self._end()
        if not self._frame:
            self._begin(observation)
            return
        tick = round((observation.stamp - self._start) * self._fps / NANOSECONDS)
        if tick > self._tick:
            self._write(tick - self._tick)
            if not self._frame:  # it did not fit, and the episode was dropped
                return
            self._frame = observation
            self._tick = tick
            if self._still >= REST_S * self._fps:
                self._rested = observation.instruction.instruction_id
                self._end()

    def close(self) -> None:
        """Save the episode that is on, and finish the dataset."""
        self._end()
        if self._writer:
            self._writer.finalize()

    def _continues(self, frame: Observation, observation: Observation) -> bool:
        """Whether the observation belongs to the episode of `frame`."""
        period = NANOSECONDS // self._fps
        return (
            observation.instruction.instruction_id == frame.instruction.instruction_id
            # time that stands still or goes back is a clock that was set
            and 0 < observation.stamp - frame.stamp <= GAP_S * NANOSECONDS + period
            and self._heard(observation)
        )

    def _heard(self, observation: Observation) -> bool:
        """Whether the gate was heard of lately, and obeys this observation's instruction."""
        sent = self._sent
        return (
            sent is not None
            and sent.active
            and sent.instruction_id == observation.instruction.instruction_id
            and abs(observation.stamp - sent.stamp) <= SILENCE_S * NANOSECONDS
        )

    def _begin(self, observation: Observation) -> None:
        """Begins an episode, unless nobody drives or the instruction came to rest already."""
        if not observation.instruction.text.strip() or not self._heard(observation):
            return
        assert self._sent is not None
        rested = observation.instruction.instruction_id == self._rested
        if rested and not self._moves(self._sent.values):
            return
        # a robot's recording may end anyhow: every episode is safe once it is saved
        if self._writer is None:
            spec = DatasetSpec.of(observation, self._sent.values, self._fps, self._robot_type)
            self._writer = DatasetWriter(self._folder, spec, flush_every=1)
            self._names = set(observation.state)
        self._frame = observation
        self._start = observation.stamp
        self._tick = 0
        self._lost = 0
        self._still = 0
        self._before = self._sent.values

    def _meet(self, state: Mapping[str, float]) -> None:
        """Deals with names that the dataset has no place for.

        A publisher that spoke up after the others brings them: the dataset begins anew; once an
        episode is saved, it goes on without them and says so.
        """
        new = sorted(state.keys() - self._names)
        if not self._writer or not new or not state.keys() >= self._names:
            return
        self._names.update(new)
        listed = "'" + "', '".join(new[:5]) + "'"
        if len(new) > 5:
            listed += f" and {len(new) - 5} more"
        if self._writer.episodes:
            self._say(
                f"{listed}: not recorded, nobody spoke of it before the first episode was saved; "
                "another dataset would have it"
            )
            return
        self._drop(f"{listed}: heard of only now; what was recorded without it is dropped")
        self._writer.finalize()
        for path in sorted(self._folder.rglob("*"), reverse=True):  # folders after what is in them
            # what is no empty folder is not ours: the next writer refuses it in a sentence
            with suppress(OSError):
                path.rmdir()
        self._writer = None

    def _moves(self, values: Mapping[str, float]) -> bool:
        """Velocities that are not zero, positions that are not where they were."""
        for name, value in values.items():
            rest = 0.0 if name.startswith(VELOCITIES) else self._before.get(name, math.inf)
            if abs(value - rest) > STILL_SI:
                return True
        return False

    def _write(self, times: int) -> None:
        """The frame with the action that is known now.

        `times` - 1 frames after it were lost and are filled with it. One that does not fit the
        first (a joint is gone, a camera has another size) ends the episode.
        """
        assert self._writer is not None and self._frame is not None and self._sent is not None
        values = self._sent.values
        self._still = 0 if self._moves(values) else self._still + times
        self._before = values
        self._lost += times - 1
        self.lost += times - 1
        try:
            for _ in range(times):
                self._writer.add_frame(self._frame.images, self._frame.state, values)
        except ValueError as problem:
            self._drop(f"'{self._frame.instruction.text}': dropped: {problem}")

    def _end(self) -> None:
        """Saves the episode that is on, or drops it where it is no demonstration."""
        if not self._frame or not self._writer:
            return
        task = self._frame.instruction.text
        instruction_id = self._frame.instruction.instruction_id
        self._write(1)
        if not self._frame:  # this last frame did not fit
            return
        self._frame = None
        length = self._writer.length
        line = f"'{task}': {length} frames, {length / self._fps:.1f} s, {self._lost} lost"
        if length < SHORTEST_S * self._fps:
            self._drop(f"{line}; too short, dropped")
        elif self._lost > MOST_LOST_SHARE * length:
            self._drop(
                f"{line}; dropped: images do not come {self._fps} times a second; "
                "ask for fewer (--fps)"
            )
        else:
            self._writer.save_episode(task, None, instruction_id, self._lost)
            self._say(f"episode {self._writer.episodes - 1}: {line}")

    def _drop(self, line: str) -> None:
        assert self._writer is not None
        self.dropped += self._writer.length > 0
        self._writer.drop_episode()
        self._frame = None
        if line != self._dropped:  # what does not fit comes again with every image
            self._dropped = line
            self._say(line)
