"""The suite and the simulated robot with SROS 2 on and enforced, where sros2 and a DDS with security are there.

Everyone has the enclave that config/security gives them; two more are the test's own: one that only listens, and
a stranger with a valid certificate and no rights.
"""
from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")
try:
    import sros2.api._artifact_generation  # noqa: F401
except (ImportError, LookupError) as error:  # LookupError: it is there, but its share folder is not
    pytest.skip(f"sros2 is not installed: it comes with ROS 2, not from PyPI ({error})", allow_module_level=True)

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sros_policy import POLICY, SIMULATOR, read_policy
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.operator.processes import ProcessGroup, node_command, suite_environment, suite_nodes
from vla_ros_msgs.msg import SafetyReport

NODE = re.search(r"<!ENTITY node '(.*?)'>", POLICY.read_text(encoding="utf-8"), re.S).group(1)
OURS = f"""<policy version="0.2.0"><enclaves>
  <enclave path="/test/witness"><profiles><profile ns="/" node="witness">
    {NODE}
    <topics subscribe="ALLOW">
      <topic>/odom</topic><topic>/vla/feedback</topic><topic>/vla/safety_report</topic>
    </topics>
  </profile></profiles></enclave>
  <enclave path="/test/stranger"><profiles><profile ns="/" node="stranger">{NODE}</profile></profiles></enclave>
</enclaves></policy>"""
GENERATE = """
import sys
from pathlib import Path
from sros2.api._artifact_generation import generate_artifacts
generate_artifacts(Path(sys.argv[1]), [], [Path(path) for path in sys.argv[2:]])
"""
UNSECURED = """
import time, rclpy
from std_msgs.msg import Bool
from vla_ros_msgs.msg import SafetyReport
rclpy.init()
node = rclpy.create_node("unsecured")
heard = []
node.create_subscription(SafetyReport, "/vla/safety_report", heard.append, 10)
publisher, end = node.create_publisher(Bool, "/vla/stop", 10), time.monotonic() + 3.0
while time.monotonic() < end:
    publisher.publish(Bool(data=True))
    rclpy.spin_once(node, timeout_sec=0.05)
print(len(heard), publisher.get_subscription_count())
"""


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and permissions for everyone, in a folder that goes with the test."""
    folder = tmp_path_factory.mktemp("sros2")
    (folder / "ours.xml").write_text(OURS, encoding="utf-8")
    policies = (POLICY, SIMULATOR, folder / "ours.xml")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", GENERATE, str(folder / "keys"), *map(str, policies)],
                          capture_output=True, text=True)
    for path in read_policy(*policies):
        assert (folder / "keys" / "enclaves" / path[1:] / "permissions.p7s").is_file(), done.stdout + done.stderr
    return folder / "keys"


@pytest.fixture(scope="module")
def secured(keystore: Path) -> Iterator[dict[str, str]]:
    """The environment in which security is on; this process is in it too. Skips where DDS has none."""
    names = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_KEYSTORE": str(keystore)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**suite_environment(), **names}.items():
            patch.setenv(name, value)
        try:
            with member("/test/witness", "witness"):
                pass
        except Exception as error:
            if "security libraries" in str(error):
                pytest.skip(f"this DDS was built without security: {str(error).splitlines()[0]}")
            raise
        yield dict(os.environ)


@contextmanager
def member(enclave: str, name: str) -> Iterator[Any]:
    """A node of this process in `enclave`; each enclave knows its node's name, too."""
    context = rclpy.Context()
    rclpy.init(args=["--ros-args", "--enclave", enclave], context=context,
               signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node(name, context=context, start_parameter_services=False)
        yield node
        node.destroy_node()
    finally:
        context.try_shutdown()


class Witness:
    """Hears what the robot does and what the gate says of it."""

    def __init__(self, node: Any) -> None:
        self.said: list[str] = []
        self.report: Any = None
        self.pose: tuple[float, float] = (math.nan, math.nan)
        self.speed = math.nan
        node.create_subscription(String, "/vla/feedback", lambda message: self.said.append(message.data), 10)
        node.create_subscription(SafetyReport, "/vla/safety_report", self._on_report, 10)
        node.create_subscription(Odometry, "/odom", self._on_odometry, 10)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    def _on_report(self, message: SafetyReport) -> None:
        self.report = message

    def _on_odometry(self, message: Odometry) -> None:
        self.pose = message.pose.pose.position.x, message.pose.pose.position.y
        self.speed = abs(message.twist.twist.linear.x)

    @property
    def state(self) -> int:
        return self.report.state if self.report else -1

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s; heard: {self.said}"
            self._executor.spin_once(timeout_sec=0.05)


@pytest.fixture(scope="module")
def suite(secured: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    """All up and active, each in its own enclave."""
    logs = tmp_path_factory.mktemp("logs")
    commands = {name: [*command, "--enclave", f"/vla/{name}"] for name, command in suite_nodes().items()}
    commands["simulator"] = [*node_command("simulator", parameters={"seed": 3}), "--enclave", "/robot/simulator"]
    with ProcessGroup() as group, member("/test/witness", "witness") as node:
        for name, command in commands.items():
            group.start(name, command, env=secured, log_path=logs / f"{name}.log", respawn=False)
        witness = Witness(node)
        try:
            witness.wait(lambda: any(said.startswith("ready") for said in witness.said), 60.0, "ready")
            witness.wait(lambda: witness.report is not None and not math.isnan(witness.speed), 10.0, "a report, odometry")
        except BaseException:
            for path in sorted(logs.iterdir()):
                print(f"-- {path.stem}\n{path.read_text(errors='replace')[-2000:]}")
            raise
        yield witness


def vla(environment: dict[str, str], *words: str, enclave: str = "/vla/operator") -> subprocess.CompletedProcess[str]:
    """A verb of the vla command, from an enclave."""
    return subprocess.run([sys.executable, "-m", "vla_ros.cli.main", *words], capture_output=True, text=True,
                          timeout=60, env={**environment, "ROS_SECURITY_ENCLAVE_OVERRIDE": enclave})


@pytest.mark.parametrize("enclave", ["/test/stranger", "/robot/camera"])
@pytest.mark.parametrize(("kind", "topic"), [(Twist, "/cmd_vel"), (Bool, "/vla/stop"), (String, "/vla/instruction"),
                                             (String, "/vla/halt"), (SafetyReport, "/vla/safety_report")])
def test_nobody_else_may_speak(secured: dict[str, str], enclave: str, kind: type, topic: str) -> None:
    with member(enclave, enclave.rsplit("/", 1)[1]) as node, pytest.raises(Exception, match="create"):
        node.create_publisher(kind, topic, 10)


def test_the_operator_may_not_drive(secured: dict[str, str]) -> None:
    with member("/vla/operator", "vla_say") as node:
        node.create_publisher(Bool, "/vla/stop", 10)  # allowed: so it is not the node that is broken
        with pytest.raises(Exception, match="create"):
            node.create_publisher(Twist, "/cmd_vel", 10)


def test_a_stranger_may_not_arm(secured: dict[str, str]) -> None:
    with member("/test/stranger", "stranger") as node, pytest.raises(Exception, match="create"):
        node.create_client(Trigger, "/vla/safety_validator/arm")


def test_a_process_without_keys_is_not_heard_and_hears_nothing(suite: Witness, secured: dict[str, str]) -> None:
    environment = {name: value for name, value in secured.items() if not name.startswith("ROS_SECURITY")}
    done = subprocess.run([sys.executable, "-c", UNSECURED], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.split() == ["0", "0"], done.stdout + done.stderr
    suite.report = None
    suite.wait(lambda: suite.report is not None, 5.0, "a report")
    assert suite.state == SafetyReport.DISARMED, suite.report.reason


def test_the_operator_drives_and_stops_the_robot(suite: Witness, secured: dict[str, str]) -> None:
    armed = vla(secured, "arm")
    assert armed.returncode == 0, armed.stdout + armed.stderr
    start = suite.pose
    said = vla(secured, "say", "go", "forward")
    assert said.returncode == 0, said.stdout + said.stderr
    suite.wait(lambda: math.dist(suite.pose, start) > 0.1, 20.0, "10 cm of way")
    stopped = vla(secured, "stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    suite.wait(lambda: suite.state == SafetyReport.STOPPED and suite.speed < 0.01, 5.0, "standstill")
