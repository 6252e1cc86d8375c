"""The thread that runs a policy.

One that hangs is left behind: it shares nothing with the next, and is not heard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from vla_ros.core.mailbox import Mailbox
from vla_ros.core.types import to_nanoseconds
from vla_ros.policies.base import LOADING_TIMEOUT_S, Policy

LOADING_TIMEOUT_NS = to_nanoseconds(LOADING_TIMEOUT_S)
T = TypeVar("T")


class Worker(Generic[T]):
    """Answers the newest letter of its mailbox with its policy, until it is closed.

    `obtain` gives the policy, in the worker's thread: loading may take long. `answer(worker,
    letter)` and `failed(worker, error)` are called there too. `role` says which of the node's
    policies it is.
    """

    def __init__(
        self,
        role: str,
        obtain: Callable[[Worker[T]], Policy],
        answer: Callable[[Worker[T], T], None],
        failed: Callable[[Worker[T], BaseException], None],
    ) -> None:
        self.role = role
        self.policy: Policy | None = None
        self.instruction_id = 0  # of the instruction that the policy works on
        self.reset_wanted = False
        self.hung = False  # left behind at work for too long
        self._obtain = obtain
        self._answer = answer
        self._failed = failed
        self._mailbox: Mailbox[T] = Mailbox()
        self._since = time.monotonic_ns()  # at work since then (steady ns); 0: waiting for a letter
        self._loading = True
        self.thread = threading.Thread(target=self._work, name=f"policy {role}", daemon=True)
        self.thread.start()

    @property
    def closed(self) -> bool:
        return self._mailbox.closed

    @property
    def name(self) -> str:
        return self.policy.name if self.policy else self.role

    @property
    def useless(self) -> bool:
        """Its policy could not be loaded."""
        return self.policy is None and not self._loading

    def put(self, letter: T) -> bool:
        """Whether an unread letter was replaced."""
        return self._mailbox.put(letter)

    def close(self) -> None:
        self._mailbox.close()

    def overdue(self, now: int, limit: int) -> int:
        """For how long (ns) it has been at work, where that is too long; else 0.

        Too long is more than `limit`, or LOADING_TIMEOUT_NS while it loads.
        """
        since = self._since
        spent = now - since if since and self.thread.is_alive() else 0
        return spent if spent > (LOADING_TIMEOUT_NS if self._loading else limit) else 0

    def _work(self) -> None:
        self._try(self._load)
        self._since = 0
        self._loading = False
        while (letter := self._mailbox.take()) is not None:
            self._since = time.monotonic_ns()
            self._try(self._answer, self, letter)
            self._since = 0

    def _load(self) -> None:
        self.policy = self._obtain(self)

    def _try(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:  # also a policy that calls sys.exit
            self._failed(self, error)
