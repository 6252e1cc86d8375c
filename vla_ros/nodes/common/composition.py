"""What the nodes of one process share: messages that go from one to the other in memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from vla_ros.nodes.common.heart import Pulse

# After the executor was kept busy by one node, what the others missed meanwhile is no fault. Faults
# last, and are reported again.
RESUMING_TIME_S = 1.0
Topic = tuple[type, str]  # message type, full name


class Inlet:
    """A subscription that hears the publishers of its own process in memory, or all others by DDS.

    Never both: the same message would come twice. As long as a node of the process publishes on the
    topic, nobody else is heard there.

    Args:
        node: whose it is.
        callback: is given each message, in the executor's thread.
        depth: so many messages wait for it; a newer one takes the oldest one's place. 0: all.
        subscribe: makes the subscription of DDS.
    """

    def __init__(
        self,
        node: Node,
        callback: Callable[[Any], None],
        depth: int,
        subscribe: Callable[[], Any],
    ) -> None:
        self.node = node
        self.callback = callback
        self.waiting: deque[Any] = deque(maxlen=depth or None)
        self._subscribe = subscribe
        self._subscription: Any = None

    def hear_dds(self, wanted: bool) -> None:
        if wanted and self._subscription is None:
            self._subscription = self._subscribe()
        elif not wanted and self._subscription is not None:
            self.node.destroy_subscription(self._subscription)
            self._subscription = None


class Outlet:
    """A publisher whose messages are handed to the process' own subscriptions as they are.

    Whoever publishes gives the message away, and makes a new one for the next time. By DDS it goes
    to all others, and only where there are any: that is what an image costs most for.
    """

    def __init__(self, composition: Composition, topic: Topic, publisher: Any) -> None:
        self.topic = topic
        self.publisher = publisher
        self._composition = composition

    def publish(self, message: Any) -> None:
        inside = self._composition.hand_over(self, message)
        if not inside or self.get_subscription_count():
            self.publisher.publish(message)

    def get_subscription_count(self) -> int:
        """How many hear it by DDS, as of a publisher."""
        return int(self.publisher.get_subscription_count())


class Composition:
    """Brings the outlets and inlets of one process together, by topic.

    What a callback publishes is delivered as soon as it has returned, without a turn of the
    executor, which would take as long as the smaller nodes themselves. What another thread
    publishes waits for the executor's next turn.
    """

    def __init__(self) -> None:
        self.pulse = Pulse()  # one executor runs them all
        self._inlets: dict[Topic, tuple[Inlet, ...]] = {}
        self._outlets: dict[Topic, tuple[Outlet, ...]] = {}
        self._due: deque[Inlet] = deque()  # one entry for each message that waits
        self._lock = threading.Lock()
        self._attending = 0  # the thread that delivers once the callback it is in has returned

    @property
    def resuming(self) -> bool:
        """Whether the executor was kept busy by one of the nodes until a moment ago."""
        return time.monotonic() - self.pulse.resumed < RESUMING_TIME_S

    def open_outlet(self, topic: Topic, publisher: Any) -> Outlet:
        outlet = Outlet(self, topic, publisher)
        self._outlets[topic] = (*self._outlets.get(topic, ()), outlet)
        self._balance(topic)
        return outlet

    def close_outlet(self, outlet: Outlet) -> None:
        others = [each for each in self._outlets[outlet.topic] if each is not outlet]
        self._outlets[outlet.topic] = tuple(others)
        self._balance(outlet.topic)

    def open_inlet(self, topic: Topic, inlet: Inlet) -> None:
        self._inlets[topic] = (*self._inlets.get(topic, ()), inlet)
        self._balance(topic)

    def close_inlet(self, topic: Topic, inlet: Inlet) -> None:
        others = [each for each in self._inlets[topic] if each is not inlet]
        self._inlets[topic] = tuple(others)
        inlet.waiting.clear()
        inlet.hear_dds(False)

    def _balance(self, topic: Topic) -> None:
        """DDS is for a topic on which nobody of this process publishes."""
        for inlet in self._inlets.get(topic, ()):
            inlet.hear_dds(not self._outlets.get(topic))

    def hand_over(self, outlet: Outlet, message: Any) -> int:
        """To the process' own subscriptions; returns how many there are."""
        if outlet not in self._outlets[outlet.topic]:
            return 0
        inlets = self._inlets.get(outlet.topic, ())
        for inlet in inlets:
            with self._lock:
                waited = len(inlet.waiting)
                inlet.waiting.append(message)
                if len(inlet.waiting) > waited:
                    self._due.append(inlet)
            if self._attending != threading.get_ident() and inlet.node.executor:
                inlet.node.executor.create_task(self.attend)
        return len(inlets)

    def attend(self, *guarded: Callable[[], None]) -> None:
        """Callbacks by the executor that cannot raise, then the deliveries of what is published."""
        self._attending = threading.get_ident()
        try:
            for callback in guarded:
                callback()
            while due := self._next():
                inlet, message = due
                inlet.callback(message)
        finally:
            self._attending = 0

    def _next(self) -> tuple[Inlet, Any] | None:
        with self._lock:
            while self._due:
                inlet = self._due.popleft()
                if inlet.waiting:  # not closed meanwhile
                    return inlet, inlet.waiting.popleft()
        return None
