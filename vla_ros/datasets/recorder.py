"""Cuts what a running suite says into episodes of evenly spaced frames.

No ROS; times are the messages' stamps, in ns. An episode is one unbroken stretch in which the gate
is ACTIVE for one instruction. Frame k is the observation nearest to k / fps after the first; its
action is what the gate had sent last when the next frame came: the answer to this image has left by
then. It ends with the instruction, when the gate holds or stops, or once nothing moved for REST_S.

Or a person says where it begins and ends (`start`, `stop`, `mark`, `discard`, `again`): such an
episode goes on while the gate holds and through other instructions, so that it holds a whole try,
in which policy and person have the robot by turns. One with a gap in it is no whole try, and is
dropped.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from vla_ros.core.types import NANOSECONDS, POLICY, TELEOP, VELOCITIES, Observation
from vla_ros.core.whole_file import write_whole
from vla_ros.datasets.lerobot import layout
from vla_ros.datasets.lerobot.append import FolderLock, clear_left
from vla_ros.datasets.lerobot.episodes import read_info
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
MOST_REPORTS = 1000  # between two images; a gate at 100 Hz sends 200 until the gap is too long
NOTE_CHARACTERS = 500  # of one; what is longer is cut
STILL_SI = 1e-3  # m, rad, m/s, rad/s: less is no motion


@dataclass(frozen=True)
class SentCommand:
    """What the gate sent at `stamp`: channel -> SI units, without those it did not command.

    `requested`: what it was asked for, likewise; `source`: who had the robot, policy or teleop.
    """

    stamp: int
    active: bool
    instruction_id: int
    values: Mapping[str, float]
    requested: Mapping[str, float] = field(default_factory=dict)
    source: str = POLICY


Answer = tuple[bool, str]  # whether it was done, and a sentence


class LiveRecorder:
    """Feed it what arrives, in the order of arrival, from one thread; then `close`.

    Args:
        folder: A new or empty one; with `append`, also one with a dataset that goes on.
        fps: Frames a second that the dataset gets.
        robot_type: As the dataset names it.
        say: Gets a line an episode.
        append: What is in the folder stays; of a recording that was killed, the episode under way
            is lost, and said.
        by_hand: Episodes begin and end as `start` and the others say. Without, they do so once
            `start` was called.

    Attributes:
        contract: What the episodes are recorded with, as JSON knows it; kept with the first one.

    Raises:
        ValueError: For a folder in use and for observations that no dataset can hold.
    """

    def __init__(
        self,
        folder: str | Path,
        fps: int,
        robot_type: str = "unknown",
        say: Callable[[str], None] = lambda line: None,
        *,
        append: bool = False,
        by_hand: bool = False,
    ) -> None:
        if not append:
            new_folder(Path(folder))
        self._lock = FolderLock(Path(folder))
        if append and (left := clear_left(Path(folder))):
            say(left)
        self._append = append
        self._whole_before = 0  # episodes that were there
        if append and (Path(folder) / layout.INFO).is_file():
            self._whole_before = int(read_info(Path(folder))["total_episodes"])
        self.by_hand = by_hand
        self.contract: Mapping[str, Any] = {}
        self._waiting = False  # by hand: it begins once the gate lets something through
        self._folder = Path(folder)
        self._fps = fps
        self._robot_type = robot_type
        self._say = say
        self._writer: DatasetWriter | None = None
        self._names: set[str] = set()  # of the state, heard of so far
        self._sent: SentCommand | None = None
        # the newest when the frame began, and those since
        self._reports: deque[SentCommand] = deque(maxlen=MOST_REPORTS)
        self._seen: Observation | None = None  # the newest
        self._frame: Observation | None = None  # begun: its action is not known yet
        self._first: Observation | None = None  # the episode's
        self._instructions: set[int] = set()  # of the episode
        self._notes: list[dict[str, Any]] = []  # of the episode under way
        self._strangers: set[str] = set()  # channels that the dataset has no place for, said
        self._start = 0  # ns, of the episode
        self._tick = 0  # frames from there to the one that was begun
        self._lost = 0  # frames of this episode
        self._still = 0  # frames in a row without motion
        self._before: Mapping[str, float] = {}  # what the frame before was sent
        self._rested: int | None = None  # the instruction_id that came to rest
        self.saved = 0  # episodes that this one recorded
        self.saved_frames = 0
        self.lost = 0  # frames, in all
        self.dropped = 0  # episodes
        self._outcome = ""  # of the last one

    @property
    def recording(self) -> bool:
        """Whether an episode is under way."""
        return self._frame is not None

    @property
    def episode(self) -> int:
        """The number of the one under way, or of the next."""
        return self._writer.episodes if self._writer else self._whole_before

    @property
    def length(self) -> int:
        """Frames of the episode under way."""
        return self._writer.length if self._writer and self._frame else 0

    @property
    def seconds(self) -> float:
        """Of the episode under way."""
        return self.length / self._fps

    @property
    def control_source(self) -> str:
        """Who had the robot at the last report; empty: none was heard."""
        return self._sent.source if self._sent else ""

    # -- what a person says ------------------------------------------------------------
    def start(self) -> Answer:
        """An episode, from the next observation on at which the gate lets something through."""
        if self._frame or self._waiting:
            return False, f"episode {self.episode} is being recorded; stop or discard it first"
        if self._seen is None:
            return False, "nothing was seen yet; does the suite run, and is it active?"
        if not self._seen.instruction.text.strip():
            return False, "no instruction holds; say what the robot is to do first (vla say)"
        self.by_hand = True
        self._waiting = True
        self._outcome = ""
        sentence = f"recording: '{self._seen.instruction.text}'"
        if self._sent is None or not self._sent.active:
            sentence += ", from when the gate lets the robot move"
        return True, sentence

    def stop(self) -> Answer:
        """End the episode and keep it, as neither a success nor a failure."""
        return self._stop(None)

    def mark(self, success: bool) -> Answer:
        """End the episode and keep it, as a success or as a failure."""
        return self._stop(success)

    def discard(self) -> Answer:
        """End the episode and forget it."""
        waiting = self._waiting
        self._waiting = False
        if self._frame is None:
            return waiting, "nothing had begun yet" if waiting else self._none()
        sentence = f"episode {self.episode}: discarded, {self.length} frames"
        self._drop(sentence)
        return True, sentence

    def again(self) -> Answer:
        """Forget the episode, and begin it anew."""
        discarded = f"{self.discard()[1]}; " if self._frame else ""
        done, sentence = self.start()
        return done, discarded + sentence

    def note(self, text: str) -> str:
        """Keep a note with the episode under way, else with the last one; a sentence says where."""
        text = " ".join(text.split())[:NOTE_CHARACTERS]
        if not text:
            return "an empty note is not kept"
        if self._frame is not None or not self.episode:
            self._notes.append({"frame": self.length, "text": text})
            return f"noted with episode {self.episode}: {text}"
        self._keep_notes(self.episode - 1, [{"frame": None, "text": text}])
        return f"noted with episode {self.episode - 1}: {text}"

    def _stop(self, success: bool | None) -> Answer:
        self._waiting = False
        if self._frame is None:
            return False, self._none()
        if self._sent and self._sent.stamp - self._frame.stamp > self._longest_gap:
            self._drop_for(self._gap(self._frame, self._sent.stamp))
            return False, self._outcome
        before = self.saved
        sentence = self._end(success)
        return self.saved > before, sentence

    def _none(self) -> str:
        """That there is nothing to end, and what came of what there was."""
        outcome = f"; the last one: {self._outcome}" if self._outcome else ""
        return f"no episode is being recorded{outcome}"

    # -- what arrives ------------------------------------------------------------------

    def on_report(self, sent: SentCommand) -> None:
        """One of the gate's reports."""
        ends = self._frame and not (sent.active and _obeys(sent, self._frame))
        if ends and not self.by_hand:
            # before the report is taken in: the last frame's action is what was sent until now
            self._end()
        self._sent = sent
        self._reports.append(sent)

    def on_observation(self, observation: Observation) -> None:
        """One of the synchronizer's observations."""
        self._meet(observation.state)
        self._seen = observation
        if self._frame and self.by_hand and (gap := self._gap(self._frame, observation.stamp)):
            self._drop_for(gap)
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
            self._instructions.add(observation.instruction.instruction_id)
            self._tick = tick
            if self._still >= REST_S * self._fps and not self.by_hand:
                self._rested = observation.instruction.instruction_id
                self._end()

    def close(self) -> None:
        """Save the episode that is on, and finish the dataset."""
        self._end()
        if self._writer:
            self._writer.finalize()
        self._lock.release()

    def _continues(self, frame: Observation, observation: Observation) -> bool:
        """Whether the observation belongs to the episode of `frame`."""
        same = observation.instruction.instruction_id == frame.instruction.instruction_id
        return (
            (same or self.by_hand)
            and not self._gap(frame, observation.stamp)
            and self._heard(observation)
        )

    @property
    def _longest_gap(self) -> int:
        """ns."""
        return round(GAP_S * NANOSECONDS) + NANOSECONDS // self._fps

    def _gap(self, frame: Observation, stamp: int) -> str:
        """What is missing between `frame` and `stamp`; empty: nothing."""
        passed = stamp - frame.stamp
        if passed <= 0:
            return "the clock stood still or was set back"
        if passed > self._longest_gap:
            return f"no image for {passed / NANOSECONDS:.1f} s"
        if self._sent is None or abs(stamp - self._sent.stamp) > SILENCE_S * NANOSECONDS:
            return "the gate fell silent"
        return ""

    def _drop_for(self, gap: str) -> None:
        """By hand: half a try, which nobody can judge, is no demonstration."""
        self._drop(
            f"episode {self.episode}: dropped after {self.length} frames: {gap}; record anew"
        )

    def _heard(self, observation: Observation) -> bool:
        """Whether the gate was heard of lately, and obeys this observation's instruction.

        By hand, an episode that began goes on while the gate holds.
        """
        sent = self._sent
        if sent is None or abs(observation.stamp - sent.stamp) > SILENCE_S * NANOSECONDS:
            return False
        if self.by_hand:
            return sent.active or self._frame is not None
        return sent.active and _obeys(sent, observation)

    def _begin(self, observation: Observation) -> None:
        """Begins an episode, unless nobody drives or the instruction came to rest already."""
        if not observation.instruction.text.strip() or not self._heard(observation):
            return
        if self.by_hand and not self._waiting:
            return
        assert self._sent is not None
        rested = observation.instruction.instruction_id == self._rested and not self.by_hand
        if rested and not self._moves(self._sent.values):
            return
        # a robot's recording may end anyhow: every episode is safe once it is saved
        if self._writer is None:
            spec = DatasetSpec.of(
                observation,
                self._sent.values,
                self._fps,
                self._robot_type,
                layout.GATED,
                requested=True,
            )
            self._writer = DatasetWriter(
                self._folder, spec, append=self._append, lock=self._lock, flush_every=1
            )
            self._names = set(observation.state)
        self._note_under_way(observation)
        self._waiting = False
        self._frame = observation
        self._first = observation
        self._instructions = {observation.instruction.instruction_id}
        self._start = observation.stamp
        self._tick = 0
        self._lost = 0
        self._still = 0
        self._before = self._sent.values
        self._reports.clear()
        self._reports.append(self._sent)

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
        self._waiting = self.by_hand and self._frame is not None  # a person's goes on, anew
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

        `times` - 1 frames after it were lost and are filled with its image, each with what was sent
        at its own time. One that does not fit the first (a joint is gone, a camera has another
        size) ends the episode.
        """
        assert self._writer is not None and self._frame is not None and self._sent is not None
        self._lost += times - 1
        self.lost += times - 1
        try:
            for number in range(1, times):
                next_tick = self._start + (self._tick + number) * NANOSECONDS // self._fps
                self._add(self._frame, self._sent_until(next_tick))
            self._add(self._frame, self._sent)
        except ValueError as problem:
            self._drop(f"'{self._frame.instruction.text}': dropped: {problem}")
        self._reports.clear()
        self._reports.append(self._sent)

    def _sent_until(self, stamp: int) -> SentCommand:
        """What the gate had sent last at `stamp`, ns, of what it sent since the frame began."""
        while len(self._reports) > 1 and self._reports[1].stamp <= stamp:
            self._reports.popleft()
        return self._reports[0]

    def _add(self, frame: Observation, sent: SentCommand) -> None:
        """Raises ValueError for a frame that does not fit."""
        assert self._writer is not None
        values = self._whole(sent.values) if self.by_hand else sent.values
        self._still = 0 if self._moves(values) else self._still + 1
        self._before = values
        self._writer.add_frame(
            frame.images,
            frame.state,
            values,
            # where nothing was asked for, the gate acted by itself
            requested={**values, **sent.requested},
            marks={
                layout.INTERVENTION: sent.active and sent.source == TELEOP,
                layout.CONTROL_SOURCE: sent.source,
                layout.HELD: not sent.active,
            },
            task=frame.instruction.text.strip(),
        )

    def _whole(self, values: Mapping[str, float]) -> dict[str, float]:
        """With the channels that the gate leaves alone now: velocities 0, positions as they were.

        Raises nothing: a channel that the dataset has no place for is said once.
        """
        assert self._writer is not None
        names = self._writer.spec.action
        for name in sorted(values.keys() - set(names) - self._strangers):
            self._strangers.add(name)
            self._say(f"'{name}': not recorded, nobody commanded it when the first episode began")
        whole: dict[str, float] = {}
        for name in names:
            rest = 0.0 if name.startswith(VELOCITIES) else self._before.get(name, 0.0)
            whole[name] = values.get(name, rest)
        return whole

    def _end(self, success: bool | None = None) -> str:
        """Saves the episode that is on, or drops it where it is no demonstration; says which."""
        if not self._frame or not self._writer or not self._first:
            return ""
        task = self._first.instruction.text
        instruction_id = self._first.instruction.instruction_id
        self._write(1)
        if not self._frame:  # this last frame did not fit
            return self._outcome
        self._frame = None
        length = self._writer.length
        more = len(self._instructions) - 1
        line = f"'{task}'{f' and {more} more' if more else ''}"
        line += f": {length} frames, {length / self._fps:.1f} s, {self._lost} lost"
        if length < SHORTEST_S * self._fps:
            line += "; too short, dropped"
            self._drop(line)
        elif self._lost > MOST_LOST_SHARE * length:
            line += (
                f"; dropped: images do not come {self._fps} times a second; ask for fewer (--fps)"
            )
            self._drop(line)
        else:
            number = self._writer.episodes
            self._writer.save_episode(task, success, instruction_id, self._lost)
            self._keep_contract(number)
            self._keep_notes(number, self._notes)
            self._forget_under_way()
            self.saved += 1
            self.saved_frames += length
            judged = "" if success is None else (", a success" if success else ", a failure")
            line = f"episode {number}: {line}{judged}"
            self._outcome = line
            self._say(line)
        return line

    def _drop(self, line: str) -> None:
        assert self._writer is not None
        self.dropped += self._writer.length > 0
        self._writer.drop_episode()
        self._frame = None
        self._forget_under_way()
        if line != self._outcome:  # what does not fit comes again with every image
            self._outcome = line
            self._say(line)

    # -- beside the frames -------------------------------------------------------------
    def _note_under_way(self, observation: Observation) -> None:
        """What a later start says was lost, where this process is killed before the end."""
        began = datetime.fromtimestamp(observation.stamp / NANOSECONDS)
        held = {
            "episode": self.episode,
            "task": observation.instruction.text,
            "began": began.isoformat(" ", "seconds"),
        }
        path = self._folder / layout.UNDER_WAY
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(held, ensure_ascii=False))

    def _forget_under_way(self) -> None:
        """The episode is whole, or dropped."""
        self._notes = []
        path = self._folder / layout.UNDER_WAY
        path.unlink(missing_ok=True)
        with suppress(OSError):  # only where nothing was ever saved, it is empty
            path.parent.rmdir()

    def _keep_notes(self, episode: int, notes: list[dict[str, Any]]) -> None:
        if not notes:
            return
        with open(self._folder / layout.NOTES, "a", encoding="utf-8") as file:
            for note in notes:
                file.write(json.dumps({"episode": episode, **note}, ensure_ascii=False) + "\n")

    def _keep_contract(self, episode: int) -> None:
        """What the episodes from this one on are recorded with, behind what was before."""
        if not self.contract:
            return
        path = self._folder / layout.CONTRACT
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        entry = {"from_episode": episode, **self.contract}
        write_whole(path, json.dumps([*before, entry], indent=2, ensure_ascii=False))
        self.contract = {}  # once


def _obeys(sent: SentCommand, observation: Observation) -> bool:
    """Whether it answers the observation's instruction; a person answers whichever holds."""
    same = sent.instruction_id == observation.instruction.instruction_id
    return same or sent.source == TELEOP
