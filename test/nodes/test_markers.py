"""vla markers beside a suite that is played here: what the gate sees and the policy plans is drawn."""
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import LaserScan
from visualization_msgs.msg import MarkerArray

from vla_ros.core.types import ActionChunk, to_nanoseconds
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import LATEST, STATE
from vla_ros.operator.markers import show
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage

ROBOT = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")


class Interrupt:
    pressed = False

    def check(self):
        if self.pressed:
            raise KeyboardInterrupt("SIGINT")


def test_what_is_seen_and_planned_is_drawn_as_long_as_it_is_new(around):
    heard, interrupt, codes = around.hear(MarkerArray, "markers", LATEST), Interrupt(), []
    scans, chunks = around.speaker(LaserScan, "/scan", STATE), around.speaker(ActionChunkMessage, "action_chunk", LATEST)
    around.spin()
    thread = threading.Thread(target=lambda: codes.append(show("", ROBOT, 20.0, interrupt)))
    thread.start()
    try:
        end = time.monotonic() + 10.0
        names = set()
        while not {"planned rows", "obstacles /scan"} <= names and time.monotonic() < end:
            scan = LaserScan(angle_min=-0.5, angle_max=0.5, angle_increment=0.5, range_min=0.05, range_max=10.0)
            scan.header.stamp = convert.time_message(time.time_ns())
            scan.ranges = convert.float_array([1.0, 2.0, 1.0])
            scans.publish(scan)
            rows = np.array([[0.2, 0.1]] * 4, np.float32)
            plan = ActionChunk(time.time_ns(), 1, ("linear.x", "angular.z"), rows, to_nanoseconds(0.1))
            chunks.publish(convert.chunk_message(plan))
            time.sleep(0.05)
            names = {marker.ns for array in heard[-3:] for marker in array.markers}
        assert {"footprint", "planned rows", "target", "obstacles /scan"} <= names
        time.sleep(1.3)  # nobody says anything
        assert {marker.ns for marker in heard[-1].markers} == {"footprint", "stop distance", "slow distance"}
    finally:
        interrupt.pressed = True
        thread.join(timeout=5.0)
    assert codes == [0]


def test_nobody_who_says_which_robot_it_is_is_a_sentence(around):
    with pytest.raises(ValueError, match="no gate in / says which robot this is"):
        show("", "", 5.0, Interrupt())
