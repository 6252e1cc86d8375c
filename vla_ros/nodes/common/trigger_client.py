"""Asks another node's Trigger service, and waits for the answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from std_srvs.srv import Trigger

from vla_ros.nodes.common.base import ManagedNode

POLL_PERIOD_S = 0.005  # between two looks for an answer


class TriggerClient:
    """A client of one service, for a callback that goes on with the answer: no executor takes it.

    Args:
        node: whose client it is; it goes with the node's other connections.
        service: its name.
    """

    def __init__(self, node: ManagedNode, service: str) -> None:
        self._service = service
        self._client = node.add_client(Trigger, service, attended=False)

    def ask(
        self, timeout_s: float, meanwhile: Callable[[], None] = lambda: None
    ) -> tuple[bool, str]:
        """What was answered; where nothing was, false and a sentence.

        Args:
            meanwhile: called while the answer is waited for, every few milliseconds.
        """
        if not self._client.service_is_ready():
            return False, f"nobody offers {self._service}"
        handle = self._client.handle
        with handle:
            number = handle.send_request(Trigger.Request())
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with handle:
                header, answer = handle.take_response(Trigger.Response)
            # One to an earlier request, which came too late, is thrown away.
            if answer is not None and header.request_id.sequence_number == number:
                return answer.success, answer.message
            meanwhile()
            time.sleep(POLL_PERIOD_S)
        return False, f"{self._service} did not answer within {timeout_s:g} s"
