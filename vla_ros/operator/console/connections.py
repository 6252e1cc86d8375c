"""Connections: few enough that one is always left for a stop, and none that asks for nothing."""

from __future__ import annotations

import resource
from collections import Counter
from typing import Any

REQUEST_WITHIN_S = 5.0  # a connection's first request, or the rest of a later one
MOST_CONNECTIONS = 400  # below what a process may open, which is 1024 as a rule
BACKLOG = 128  # accepted at once, before any is counted


def raise_file_limit() -> int:
    """The process may open as many files as the system lets it; gives how many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, hard // 2)


def limited_protocol(most: int) -> Any:
    """uvicorn's protocol with no more than `most` connections, and a time limit for requests.

    A new connection is never refused, for it may bring a stop: the oldest of the address that has
    the most makes room. So who opens a thousand closes his own.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class LimitedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.opened = self.loop.time()
            self.seen = self.cycle  # of the newest request whose head was here
            self.deadline = self.loop.call_later(REQUEST_WITHIN_S, transport.abort)
            if len(self.connections) > most:
                oldest = _oldest_of_busiest(self.connections)
                # at once: in a burst the next one must not choose it again
                self.connections.discard(oldest)
                oldest.transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not self.seen:  # a head is complete; the body has its own limit
                self.seen = self.cycle
                self.deadline.cancel()
            elif self.cycle and self.cycle.response_complete and self.deadline.cancelled():
                self.deadline = self.loop.call_later(REQUEST_WITHIN_S, self.transport.abort)

        def connection_lost(self, problem: Exception | None) -> None:
            self.deadline.cancel()
            super().connection_lost(problem)

    return LimitedProtocol


def _oldest_of_busiest(connections: set[Any]) -> Any:
    counts = Counter(connection.client and connection.client[0] for connection in connections)
    busiest = counts.most_common(1)[0][0]
    mine = [each for each in connections if (each.client and each.client[0]) == busiest]
    return min(mine, key=lambda connection: connection.opened)
