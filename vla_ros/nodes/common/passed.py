"""When an image or an observation was handed on, told to who asks where the time goes."""

from __future__ import annotations

from std_msgs.msg import Header

from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.convert import time_message
from vla_ros.nodes.common.qos import EVENTS

TOPIC = "passed"


class Passed:
    """Publishes what was handed on, without its pixels, and only while somebody listens.

    A listener on the images themselves would have each of them written once more, and in a composed
    process serialised for nobody else.

    Args:
        node: that hands it on.
        what: `frame` or `observation`.
    """

    def __init__(self, node: ManagedNode, what: str) -> None:
        self._publisher = node.add_publisher(Header, TOPIC, EVENTS)
        self._what = what

    def tell(self, stamp: int) -> None:
        """Right after it was published; `stamp` is its own, ns."""
        if self._publisher.get_subscription_count():
            self._publisher.publish(Header(stamp=time_message(stamp), frame_id=self._what))
