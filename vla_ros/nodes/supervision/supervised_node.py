"""What the supervisor knows of one node, from its heartbeats and its answers.

Times are steady ns.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from lifecycle_msgs.msg import Transition

from vla_ros.core import process_identity

# state -> the transition that brings a node further, its number, and the state it ends in
UP = {
    "unconfigured": ("configure", Transition.TRANSITION_CONFIGURE, "inactive"),
    "inactive": ("activate", Transition.TRANSITION_ACTIVATE, "active"),
}
DOWN = {
    "active": ("deactivate", Transition.TRANSITION_DEACTIVATE, "inactive"),
    "inactive": ("cleanup", Transition.TRANSITION_CLEANUP, "unconfigured"),
}
MINUTE_NS = 60_000_000_000
PROCESS_SENTENCES = {
    process_identity.GONE: ": its process has ended",
    process_identity.STOPPED: ": its process is stopped",
    process_identity.TRACED: ": its process is held by a debugger",
    process_identity.ALIVE: ": its process lives, but hangs",
    process_identity.UNKNOWN: "",
}


@dataclass
class Asked:
    """A transition that was asked for, and not answered yet."""

    verb: str
    target: str
    since: int
    future: Any


@dataclass
class SupervisedNode:
    """One of the nodes that the supervisor looks after.

    Attributes:
        kind: of the node's faults; empty: none of the four.
        state: the heartbeat's, or unseen, missing, lost.
        missed: not heard from since the supervisor itself was away.
    """

    name: str
    kind: str
    client: Any
    state: str = "unseen"
    state_before: str = ""  # the state in which it fell silent
    life: str = ""  # which process it is
    # when it came back as another process
    lives: deque[int] = field(default_factory=lambda: deque(maxlen=1001))
    seen: int = 0
    missed: bool = False
    settled: int = 0  # until then heartbeats may still speak of the state before a transition
    asked: Asked | None = None
    failures: int = 0  # since it was last active
    unheard: int = 0  # requests that it did not hear, since it last did or came back
    broken: int = 0  # transitions that ever failed
    retry: int = 0
    reported: int = 0  # when its loss was last reported as a fault
    down: bool = False  # on its way to unconfigured, from where it is brought up again
    left_alone: bool = False  # someone took it down by hand
    given_up: bool = False  # its process ended too often
    ended: str = ""  # the life that was ended because it hung
    told: str = ""

    @property
    def active(self) -> bool:
        return self.state == "active" and not self.down

    @property
    def absent(self) -> bool:
        return self.state in ("lost", "missing", "finalized")

    @property
    def hopeless(self) -> bool:
        """The nodes after it need not wait for it."""
        return self.failures > 0 or self.left_alone or self.given_up or self.absent

    @property
    def way(self) -> tuple[str, int, str] | None:
        """The transition that it needs next."""
        return (
            None
            if self.left_alone or self.given_up
            else (DOWN if self.down else UP).get(self.state)
        )

    def beat(self, state: str, now: int) -> None:
        self.seen = now
        self.missed = False
        if now >= self.settled or self.absent:
            self.state = state

    def reach(self, state: str, settled: int) -> None:
        """A transition was answered."""
        self.asked = None
        self.state = state
        self.settled = settled
        self.unheard = 0
        self.down = self.down and state != "unconfigured"

    def come_back(self, life: str, now: int) -> int:
        """Another process than before; how often that was within the last minute."""
        self.life = life
        self.asked = None
        self.left_alone = False
        self.down = False
        self.told = ""
        self.unheard = 0
        self.lives.append(now)
        while now - self.lives[0] > MINUTE_NS:
            self.lives.popleft()
        return len(self.lives)

    def lose(self) -> str:
        """It fell silent. How, as far as that can be known."""
        self.state_before = self.state
        self.state = "lost"
        self.asked = None
        self.down = False
        return PROCESS_SENTENCES[process_identity.state(self.life)]

    def forgive(self, nanoseconds: int, now: int) -> None:
        """The supervisor itself was away for so long: nobody was silent, it did not listen."""
        self.seen = min(self.seen + nanoseconds, now) if self.seen else 0
        self.missed = True
        if self.asked:
            self.asked.since += nanoseconds
