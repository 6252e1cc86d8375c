"""inference: one worker thread runs the policy on the newest observation; the executor never waits for it."""
from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.core.mailbox import Mailbox
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Command, Observation
from vla_ros.nodes import convert
from vla_ros.nodes.base import ManagedNode
from vla_ros.nodes.options import policy_options
from vla_ros.nodes.qos import LATEST, PICTURES
from vla_ros.nodes.run import run
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import Policy, PolicySpec
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Observation as ObservationMessage


class Inference(ManagedNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("inference", **options)
        self._mailbox: Mailbox[tuple[int, ObservationMessage]] = Mailbox()
        self._worker: threading.Thread | None = None
        self._sequence = 0
        self._generation = 0
        self._said = ""
        self._policy: Policy | None = None

    def configure(self) -> None:
        options = policy_options(self.p)
        self._spec = policy_spec(self.p["policy"], options)
        self._check_channels(self._spec)
        self._policy = make_policy(self.p["policy"], options)
        for _ in range(self.p["warm_up"]):
            self._warm_up(self._policy)
        self._policy.reset()
        self._chunks = self.speak(ActionChunkMessage, "action_chunk", LATEST)
        self.listen(ObservationMessage, "observation", self._on_observation, PICTURES)

    def activate(self) -> None:
        self._mailbox = Mailbox()
        self._worker = threading.Thread(target=self._work, args=(self._mailbox,), name="policy", daemon=True)
        self._worker.start()

    def deactivate(self) -> None:
        self._mailbox.close()
        if self._worker:
            self._worker.join(timeout=1.0)  # a policy that hangs is left behind, and speaks to nobody

    def release(self) -> None:
        self._policy = None

    def _check_channels(self, spec: PolicySpec) -> None:
        robot = load_robot(self.p["robot_file"])
        known = {channel.name for channel in robot.channels}
        for name in spec.channels:
            if name not in known:
                raise ValueError(f"policy '{self.p['policy']}' commands '{name}', but robot '{robot.name}' "
                                 f"obeys {', '.join(sorted(known))}")

    def _warm_up(self, policy: Policy) -> None:
        picture = np.zeros((*self._spec.image_size, 3), np.uint8)
        try:
            policy.predict(Observation(0, Command(0, 0, "go forward"), {"camera": picture}))
        except ValueError:
            pass  # it does not know these words or lacks the state; it ran

    def _on_observation(self, message: ObservationMessage) -> None:
        now = time.monotonic_ns()
        self.stats.tick("observation", now)
        if self._mailbox.put((now, message)):
            self.stats.drop("observation replaced by a newer one")
        time.sleep(0)  # gives the worker the interpreter now, not after the executor's housekeeping

    def _work(self, mailbox: Mailbox[tuple[int, ObservationMessage]]) -> None:
        """The worker: ends when its own mailbox is closed, so that two never speak."""
        while True:
            letter = mailbox.take()
            if letter is None:
                return
            self.guard(self._answer, mailbox, *letter)

    def _answer(self, mailbox: Mailbox[Any], arrived: int, message: ObservationMessage) -> None:
        assert self._policy is not None
        try:
            observation = convert.observation(message)
            if observation.command.generation != self._generation:
                self._generation, self._said = observation.command.generation, ""
                self._policy.reset()
            chunk = self._policy.predict(observation)
            if chunk.values.ndim != 2 or chunk.values.shape[1] != len(chunk.channels):  # flat, it could pass for right
                raise ValueError(f"policy '{self._policy.name}' gave values of shape {chunk.values.shape} "
                                 f"for {len(chunk.channels)} channels; rows x channels is right")
        except ValueError as error:
            self._say(error)
            return
        if mailbox.closed:
            return
        self._sequence += 1
        done = time.monotonic_ns()
        # Whatever the policy says of itself, the action belongs to the observation it was given.
        self._chunks.publish(convert.chunk_message(replace(
            chunk, stamp=observation.stamp, generation=observation.command.generation,
            sequence=self._sequence, policy=self._policy.name, latency=done - arrived)))
        self.trouble = ""
        self.stats.tick("action_chunk", done)
        self.stats.latency(done - arrived)

    def _say(self, error: ValueError) -> None:
        """To the operator, once an instruction."""
        self.trouble = str(error)
        self.stats.drop("the policy refused")
        if self.trouble != self._said:
            self._said = self.trouble
            self.tell(f"not understood: {error}")

    def diagnose(self) -> dict[str, str]:
        return {"policy": self._policy.name if self._policy else "none"}


def main() -> None:
    run(Inference)


if __name__ == "__main__":
    main()
