"""What the simulated robots' gymnasium environments share: one episode of one instruction."""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.episode import Reward
from vla_ros.tasks.success import Judgement

MAX_CHARACTERS = 120  # of an instruction
# that may stand in an instruction: gymnasium's Text space wants them listed
CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " °"
MAX_TRIES = 200  # scenes, until one has what the words name


class InstructedEnv(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """A robot in a scene, with an instruction; an episode ends when that was followed.

    A subclass says what is drawn, obeyed, seen and judged, and sets what is named here.
    """

    SCENE: str  # room or table: an option of `reset`, which fixes it, and its number in `info`
    STEP_S: float  # an action is obeyed for so long
    DONE_FOR_S: float  # that it must stay done

    channels: tuple[str, ...]  # what an action's numbers are
    world: Any
    intent: Any = None  # as long as no episode has begun
    _fixed: str | None  # the instruction of every episode
    _seconds: float
    _reward: Reward
    _verdict: Judgement
    _began: float  # simulated s
    _done_since: float

    @abstractmethod
    def _begin(self, scene: int | None, instruction: str | None) -> None:
        """Set all up for an episode; what is None is drawn, until both fit."""

    @abstractmethod
    def _obey(self, values: NDArray[np.float32]) -> None:
        """Give the robot an action that is within its bounds."""

    @abstractmethod
    def _judged(self) -> Judgement:
        """Whether the instruction was followed by now."""

    @abstractmethod
    def _observation(self) -> dict[str, Any]: ...

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The first observation of an episode, and its info.

        Args:
            seed: From which the scene and the words are drawn; the same gives the same.
            options: May fix them: `room` or `table`, the scene's seed, and `instruction`.

        Raises:
            ValueError: For words without a meaning, or for what the scene does not have.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        known = (self.SCENE, "instruction")
        if unknown := set(given) - set(known):
            raise ValueError(
                f"reset has no option {', '.join(sorted(unknown))}; it has {', '.join(known)}"
            )
        self._begin(given.get(self.SCENE), given.get("instruction", self._fixed))
        return self._observation(), self._info()

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Obey `action`, a number for each of `channels`, for STEP_S.

        Raises:
            ValueError: For an action outside its bounds, which nothing has obeyed then.
        """
        if self.intent is None:
            raise gymnasium.error.ResetNeeded(
                f"the {self.SCENE} has no instruction yet; call reset first"
            )
        values = np.asarray(action, np.float32)
        if not self.action_space.contains(values):
            raise ValueError(
                f"the action is {values.tolist()}; give a finite number within its "
                f"bounds for each of {', '.join(self.channels)} "
                "(gymnasium.wrappers.ClipAction clips)"
            )
        self._obey(values)
        self.world.step(self.STEP_S)
        before = self._verdict
        self._verdict = self._judged()
        if not self._verdict.done:
            self._done_since = self.world.time
        # 1e-6 s: simulated time is a sum of steps, and may be a little less than their number
        terminated = self.world.time - self._done_since >= self.DONE_FOR_S - 1e-6
        late = self.world.time - self._began >= self._seconds - 1e-6
        lacking = self._verdict.lacking
        reward = self._reward.of(before.lacking, lacking, self.STEP_S, terminated)
        return self._observation(), reward, terminated, late and not terminated, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Robot and scene for people, 480 x 640 x 3; None without a render_mode."""
        return self.world.render_room() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        self.world.close()

    def _info(self) -> dict[str, Any]:
        return {
            "is_success": self._verdict.done,
            "distance": self._verdict.distance,
            "sentence": self._verdict.sentence,
            self.SCENE: self.world.seed,
        }


def check_characters(instruction: str) -> None:
    """Raises ValueError for what the observation's `instruction` cannot hold."""
    if not 0 < len(instruction) <= MAX_CHARACTERS or set(instruction) - set(CHARACTERS):
        raise ValueError(
            f"the instruction is {instruction[:MAX_CHARACTERS]!r}; give 1 to "
            f"{MAX_CHARACTERS} letters, digits and signs"
        )
