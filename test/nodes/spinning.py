"""Nodes that are spun in a thread of their own, and an end that takes nothing away from under the spin."""
from __future__ import annotations

import threading

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future


class Spinning:
    """From now on, until `close`, which destroys the nodes too."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = nodes
        self.executor = SingleThreadedExecutor()
        for node in nodes:
            self.executor.add_node(node)
        self.ended = Future()  # as in conftest.py: a shutdown in another thread would take away what its spin waits on
        self.thread = threading.Thread(target=self.executor.spin_until_future_complete, args=(self.ended,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.ended.set_result(None)
        self.thread.join(timeout=1.0)
        self.executor.shutdown(timeout_sec=1.0)
        for node in self.nodes:
            node.destroy_node()
