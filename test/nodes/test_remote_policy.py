"""inference with a policy on a server: its numbers are the robot's, and a lost server is a communication fault."""
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="no msgpack here")
pytest.importorskip("websockets.sync.server", reason="no websockets here, or an old one")

from websockets.sync.server import serve

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.types import Instruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATEST
from vla_ros.nodes.inference import Inference
from vla_ros.policies.remote import wire
from vla_ros_msgs.msg import ActionChunk, Fault, Observation

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")


@contextmanager
def server(port=0):
    """Drives at as many cm/s as the prompt has letters, and at 90 deg/s; hangs up when told to."""

    connections = []

    def talk(connection):
        connections.append(connection)
        connection.send(wire.packed({}))
        for question in connection:
            row = [len(wire.unpacked(question)["prompt"]), 90.0]
            connection.send(wire.packed({"actions": np.array([row, row], np.float32)}))

    with serve(talk, "127.0.0.1", port) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.socket.getsockname()[1]
        listening.shutdown()
    for connection in connections:  # older versions of websockets leave them open
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)


def policy_file(folder, port):
    options = {"url": f"ws://127.0.0.1:{port}", "images": {"image": "front"}, "state": {}, "image_size": [8, 8],
               "actions": ["forward", "turn"], "rows": 2, "timeout": 1.0}
    return write_policy_file(
        folder / "policy.yaml", "remote", options=options, rate=10, images={"front": {"camera": "camera"}},
        actions=[{"name": "forward", "to": "linear.x", "closed": 0, "open": 100},
                 {"name": "turn", "to": "angular.z", "unit": "deg/s", "kind": "velocity"}])


class World:
    def __init__(self, around):
        self.around, self.count = around, 0
        self.chunks = around.hear(ActionChunk, "action_chunk", LATEST)
        self.faults = around.hear(Fault, "fault", EVENTS)
        self.speaker = around.speaker(Observation, "observation", IMAGES)

    def show(self, text="go"):
        self.count += 1
        image = np.zeros((8, 8, 3), np.uint8)
        self.speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), Instruction(1, self.count, text), {"camera": image}, {})))
        return True

    def answered(self):
        """Shows images until one is answered, as a camera would."""
        del self.chunks[:]
        for _ in range(100):
            self.show()
            try:
                return self.around.wait(lambda: self.chunks and self.chunks[-1], 0.3)
            except AssertionError:
                continue
        raise AssertionError("no answer")


def test_a_server_s_rows_become_the_robot_s_channels_in_si_units(around, tmp_path):
    with server() as port:
        world = World(around)
        around.start(Inference, policy_file=policy_file(tmp_path, port), robot_file=SIM)
        around.wait(world.speaker.get_subscription_count)
        chunk = convert.chunk(world.answered())
        assert chunk.channels == ("linear.x", "angular.z")
        assert chunk.values == pytest.approx(np.array([[0.02, np.pi / 2]] * 2))
        assert chunk.policy.startswith("remote ws://")


def test_a_lost_server_is_a_communication_fault_and_is_found_again(around, tmp_path):
    world = World(around)
    with server() as port:
        around.start(Inference, policy_file=policy_file(tmp_path, port), robot_file=SIM)
        around.wait(world.speaker.get_subscription_count)
        world.answered()
    around.wait(lambda: world.show() and world.faults and world.faults[-1].kind == "communication", 10.0)
    assert "policy server" in world.faults[-1].text
    with server(port):
        world.answered()


def test_a_server_that_is_not_there_refuses_configure_with_its_address(around, tmp_path):
    node = around.make(Inference, policy_file=policy_file(tmp_path, 1), robot_file=SIM)
    assert node.trigger_configure().name != "SUCCESS"
    assert "no policy server at ws://127.0.0.1:1" in node.problem
