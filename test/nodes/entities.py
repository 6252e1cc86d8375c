"""What a node has made."""
from typing import Any

from rclpy.node import Node


def subscriptions_of(node: Any) -> list[Any]:
    """All of them; a ManagedNode's own property leaves out those that no executor attends."""
    return list(Node.subscriptions.fget(node))
