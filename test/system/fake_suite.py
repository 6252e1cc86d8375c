"""The topics and services of the suite and the simulator in one small process: a robot without physics.

`python fake_suite.py MODE`: `good` does what the words say; `deaf` does too, but never stops;
`lazy` accepts every word and does nothing.
"""
from __future__ import annotations

import math
import sys
import time
from array import array

import rclpy
from geometry_msgs.msg import Twist
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from vla_ros_msgs.msg import Instruction, SafetyReport

NODES = ("camera_ingest", "command_ingest", "synchronizer", "inference", "safety_validator")
OBJECTS = {"red block": (1.0, 0.4), "green ball": (0.9, -0.9)}
COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.6, 0.2)}
PERIOD = 0.02
DRIVE, TURN = 0.4, 1.5  # m/s, rad/s


class Fake(Node):
    def __init__(self, mode: str) -> None:
        super().__init__("fake_suite")
        self.mode, self.state, self.pressed = mode, SafetyReport.DISARMED, False
        self.x = self.y = self.yaw = self.v = self.w = self.left_to_turn = 0.0
        self.held, self.target, self.tick = "", "", 0
        self.instruction = Instruction()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        loose = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.commands = self.create_publisher(Instruction, "/vla/instruction/accepted", latched)
        self.feedback = self.create_publisher(String, "/vla/feedback", 10)
        self.reports = self.create_publisher(SafetyReport, "/vla/safety_report", 10)
        self.twists = self.create_publisher(Twist, "/cmd_vel", 1)
        self.odometry = self.create_publisher(Odometry, "/odom", 10)
        self.joints = self.create_publisher(JointState, "/joint_states", 10)
        self.objects = self.create_publisher(MarkerArray, "/sim/objects", 1)
        self.images = self.create_publisher(Image, "/camera/image_raw", loose)
        self.create_subscription(String, "/vla/instruction", self.on_words, 10)
        self.create_subscription(Bool, "/vla/stop", self.on_stop, 10)
        for name in NODES:
            self.create_service(GetState, f"/vla/{name}/get_state", self.on_state)
        self.create_service(Trigger, "/vla/safety_validator/arm", self.on_arm)
        self.create_service(Trigger, "/vla/safety_validator/disarm", self.on_reset)
        self.create_service(Trigger, "/vla/safety_validator/reset", self.on_reset)
        self.create_timer(PERIOD, self.step)

    def on_state(self, _, answer):
        answer.current_state.label = "active"
        return answer

    def on_arm(self, _, answer):
        answer.success = not self.pressed and self.state != SafetyReport.STOPPED
        answer.message = "armed" if answer.success else "refused"
        if self.state == SafetyReport.DISARMED and answer.success:  # twice is as good as once, as with the real gate
            self.state = SafetyReport.HOLDING
        return answer

    def on_reset(self, _, answer):
        answer.success = not self.pressed
        answer.message = "disarmed" if answer.success else "the stop is still pressed"
        self.state = SafetyReport.DISARMED if answer.success else self.state
        return answer

    def on_stop(self, message):
        self.pressed = message.data
        if message.data and self.mode != "deaf":
            self.state, self.target, self.left_to_turn = SafetyReport.STOPPED, "", 0.0

    def on_words(self, message):
        words = message.data
        if "nonsense" in words:
            self.feedback.publish(String(data=f"'{words}' is not understood"))
            return
        if words == "stop" and self.mode == "deaf":
            words = self.instruction.text
        self.instruction = Instruction(instruction_id=max(time.time_ns() // 1_000_000, self.instruction.instruction_id + 1),
                               text="" if words == "stop" else words)
        self.instruction.header.stamp = self.get_clock().now().to_msg()
        self.commands.publish(self.instruction)
        self.feedback.publish(String(data=f"heard '{words}'"))
        if "wall" in words:  # accepted, and then the policy says no
            self.feedback.publish(String(data="not understood: nothing of it is done: 'the wall' is no thing"))
            return
        self.target = next((name for name in OBJECTS if name in self.instruction.text), "")
        self.left_to_turn = math.pi / 2 if "left" in self.instruction.text and not self.left_to_turn else 0.0
        if self.state in (SafetyReport.HOLDING, SafetyReport.ACTIVE):
            self.state = SafetyReport.ACTIVE if self.instruction.text else SafetyReport.HOLDING

    def step(self):
        self.v = self.w = 0.0
        if self.state == SafetyReport.ACTIVE and self.mode != "lazy":
            self.move()
        self.yaw += self.w * PERIOD
        self.x += self.v * math.cos(self.yaw) * PERIOD
        self.y += self.v * math.sin(self.yaw) * PERIOD
        self.publish()

    def move(self):
        if self.left_to_turn > 0:
            self.w = TURN
            self.left_to_turn = max(0.0, self.left_to_turn - self.w * PERIOD)
        elif self.target:
            x, y = OBJECTS[self.target]
            bearing = math.remainder(math.atan2(y - self.y, x - self.x) - self.yaw, 2 * math.pi)
            if abs(bearing) > 0.05:
                self.w = math.copysign(TURN, bearing)
            elif math.hypot(x - self.x, y - self.y) > 0.35:
                self.v = DRIVE
            elif "grab" in self.instruction.text:
                self.held = self.target

    def publish(self):
        self.tick += 1
        now = self.get_clock().now().to_msg()
        self.twists.publish(self.twist())
        odometry = Odometry()
        odometry.header.stamp, odometry.twist.twist = now, self.twist()
        self.odometry.publish(odometry)
        report = SafetyReport(state=self.state, reason="as told", instruction_id=self.instruction.instruction_id,
                              sequence=self.tick, channels=["linear.x", "angular.z"],
                              requested=array("f", [self.v, self.w]), emitted=array("f", [self.v, self.w]))
        report.header.stamp, report.age.nanosec = now, 7_000_000
        self.reports.publish(report)
        if self.tick % 5 == 0:
            self.joints.publish(JointState(name=["gripper_joint"], position=[0.1]))
            self.objects.publish(MarkerArray(markers=[self.robot(), *map(self.thing, OBJECTS)]))
        if self.tick % 6 == 0:
            image = Image(height=480, width=640, encoding="rgb8", step=1920)
            image.header.stamp = now
            image.data = array("B", bytes([self.tick % 256]) * (480 * 1920))
            self.images.publish(image)

    def twist(self):
        twist = Twist()
        twist.linear.x, twist.angular.z = self.v, self.w
        return twist

    def robot(self):
        marker = Marker(ns="robot", text=self.held)
        marker.pose.position.x, marker.pose.position.y = self.x, self.y
        marker.pose.orientation.z, marker.pose.orientation.w = math.sin(self.yaw / 2), math.cos(self.yaw / 2)
        return marker

    def thing(self, name):
        marker = Marker(ns=name)
        marker.pose.position.x, marker.pose.position.y = OBJECTS[name]
        marker.scale.x = marker.scale.y = marker.scale.z = 0.06
        marker.color.r, marker.color.g, marker.color.b = COLOURS[name.split()[0]]
        return marker


if __name__ == "__main__":
    rclpy.init()
    try:
        rclpy.spin(Fake(sys.argv[1]))
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        sys.exit(0)
