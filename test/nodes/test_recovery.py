"""supervisor: what it does about each kind of fault, with real nodes in this process and faults as they come."""
import time
from pathlib import Path

import pytest
from std_srvs.srv import Trigger

from vla_ros.core.faults import STRATEGIES
from vla_ros.core.policy_file import write_policy_file
from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.qos import EVENTS, LATCHED
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros.nodes.supervisor import Supervisor
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros_msgs.msg import Fault, Halt

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
POLICY = {"policy": "constant", "robot_file": SIM, "warm_up": 0}
SHORT = {f"{kind}_recovery": 1.0 for kind in ("vision", "language", "action", "communication")}


@pytest.fixture
def with_fallback(tmp_path):
    write_policy_file(tmp_path / "fallback.yaml", "constant", options={"values": {"linear.x": 0.05, "angular.z": 0.0}})
    policy_file = write_policy_file(tmp_path / "policy.yaml", "constant", fallback="fallback.yaml")
    return {"policy_file": policy_file, "robot_file": SIM, "warm_up": 0}


class Patient:
    """Nodes, a supervisor that has brought them up, and whoever reports faults."""

    def __init__(self, around, *makes, **parameters):
        self.around = around
        self.nodes = [around.make(kind, **values) for kind, values in makes]
        self.stages = {node.get_name(): [] for node in self.nodes}
        for node in self.nodes:
            for verb in ("configure", "activate", "deactivate", "release"):
                self.note(node, verb)
        self.halts = around.hear(Halt, "halt", LATCHED)
        self.speaker = around.speaker(Fault, "fault", EVENTS)
        self.watcher = around.start(Supervisor, nodes=list(self.stages), **{**SHORT, **parameters})
        around.wait(lambda: around.said("ready: all nodes are active") and self.speaker.get_subscription_count(), 10.0)
        for said in self.stages.values():
            said.clear()

    def note(self, node, verb):
        work = getattr(node, verb)

        def noted():
            self.stages[node.get_name()].append(verb)
            work()
        setattr(node, verb, noted)

    def report(self, name, kind, message="it is broken"):
        self.speaker.publish(Fault(kind=kind, source=name, text=message))

    def until(self, condition, name, kind, seconds=10.0):
        """The fault lasts: it is reported ten times a second, until `condition`."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, [message.data for message in self.around.feedback]
            self.report(name, kind)
            time.sleep(0.1)

    def count(self, part):
        return sum(part in message.data for message in self.around.feedback)

    @property
    def halt(self):
        return self.halts[-1].reason if self.halts else None

    @property
    def steps(self):
        return [message.data.split(". ")[1] for message in self.around.feedback if ". Step" in message.data]


CYCLE = ["deactivate", "release", "configure", "activate"]


def test_vision_the_camera_node_is_cycled_with_growing_waits_then_the_robot_is_halted_until_it_is_well(around):
    patient = Patient(around, (CameraIngest, {"policy": "constant", "fault_after": 60.0}), vision_restarts=2)
    assert around.wait(lambda: patient.halts) and patient.halt == ""
    node, cycles = patient.nodes[0], []
    begin = node.deactivate
    node.deactivate = lambda: (cycles.append(time.monotonic()), begin())
    patient.until(lambda: patient.halt, "camera_ingest", "vision")
    halted = time.monotonic()
    assert patient.stages["camera_ingest"] == 2 * CYCLE
    assert 1.0 < cycles[1] - cycles[0] < 2.0 < halted - cycles[1] < 3.2
    assert patient.halt == "vision fault: camera_ingest: it is broken"
    assert around.said("vision fault: camera_ingest: it is broken. Step 1 of 2: camera_ingest is taken down and brought "
                       "up again; the robot holds")
    assert around.said("the robot is halted: vision fault: camera_ingest: it is broken")
    assert patient.watcher.diagnose()["vision faults"] == "3"
    assert patient.watcher.diagnose()["camera_ingest: last vision fault"] == "halted: camera_ingest: it is broken"
    assert patient.watcher.problem == patient.halt
    around.wait(lambda: patient.halt == "", 3.0)
    assert around.said("camera_ingest has been well for 1 s; the gate may be reset, by a person")
    assert node.active and not patient.count("by hand")


def test_a_flood_of_faults_changes_nothing(around):
    patient = Patient(around, (CameraIngest, {"policy": "constant", "fault_after": 60.0}))
    for _ in range(2000):
        patient.report("camera_ingest", "vision")
    around.wait(lambda: patient.stages["camera_ingest"] == CYCLE)
    time.sleep(0.5)
    assert patient.stages["camera_ingest"] == CYCLE and len(patient.steps) == 1


def test_action_the_policy_is_reset_then_the_fallback_takes_over_then_the_robot_is_halted(around, with_fallback):
    patient = Patient(around, (Inference, with_fallback), action_recovery=3.0)
    node = patient.nodes[0]
    patient.until(lambda: node._worker.reset_wanted, "safety_validator", "action")  # the gate reports it
    assert node.diagnose()["role"] == "policy" and patient.halt == ""
    patient.until(lambda: node.diagnose()["role"] == "fallback policy", "inference", "action")
    patient.until(lambda: patient.halt, "inference", "action")
    assert [step[:11] for step in patient.steps] == ["Step 1 of 2", "Step 2 of 2"]
    assert patient.stages["inference"] == []  # nothing was restarted


def test_action_without_a_fallback_says_so_and_halts(around):
    patient = Patient(around, (Inference, POLICY), action_recovery=3.0)
    patient.until(lambda: patient.halt, "inference", "action")
    assert patient.halt == ("action fault: inference: it is broken; "
                            "no fallback policy is configured ('fallback' in the policy file)")


def test_communication_falls_back_where_there_is_a_fallback(around, with_fallback):
    patient = Patient(around, (Synchronizer, {}), (Inference, with_fallback))
    patient.report("synchronizer", "communication")
    around.wait(lambda: patient.nodes[1].diagnose()["role"] == "fallback policy")
    assert patient.stages["synchronizer"] == []


def test_communication_cycles_the_synchronizer_where_there_is_none_then_halts(around):
    patient = Patient(around, (Synchronizer, {}), (Inference, POLICY))
    patient.report("synchronizer", "communication")
    around.wait(lambda: patient.stages["synchronizer"] == CYCLE)
    assert around.said("it is broken; no fallback policy is configured")
    patient.until(lambda: patient.halt, "synchronizer", "communication")
    assert patient.stages["synchronizer"] == CYCLE


def test_language_the_operator_is_asked_to_repeat_when_the_node_is_back(around):
    patient = Patient(around, (CommandIngest, {}))
    node = patient.nodes[0]
    turn, node._turn_timer.callback = node._turn_timer.callback, lambda: None  # as where a callback hangs
    around.wait(lambda: patient.steps)
    assert around.said("language fault: command_ingest was lost. Step 1 of 2: say the instruction again")
    time.sleep(0.3)
    assert not around.said("is back")
    node._turn_timer.callback = turn
    around.wait(lambda: around.said("command_ingest is back: say the instruction again"))
    assert patient.stages["command_ingest"] == []


def test_a_halt_stops_the_gate_and_only_a_person_resets_it(around):
    patient = Patient(around, (SafetyValidator, {"robot_file": SIM}), (CommandIngest, {}))
    reset = around.node.create_client(Trigger, "safety_validator/reset")
    assert reset.wait_for_service(5.0)
    gate = patient.nodes[0]

    def answer():
        future = reset.call_async(Trigger.Request())
        around.wait(future.done)
        return future.result().success
    patient.until(lambda: patient.halt, "command_ingest", "language")
    around.wait(lambda: gate.diagnose()["state"] == "STOPPED")
    assert "language fault" in gate.diagnose()["cause"] and not answer()
    around.wait(lambda: patient.halt == "", 5.0)
    time.sleep(0.3)
    assert gate.diagnose()["state"] == "STOPPED"  # the supervisor resets nothing
    assert answer() and gate.diagnose()["state"] == "DISARMED"


def test_a_node_that_does_not_come_back_halts_the_robot_until_it_does(around):
    patient = Patient(around, (CommandIngest, {}), return_timeout=0.5)
    node = patient.nodes[0]
    turn, node._turn_timer.callback = node._turn_timer.callback, lambda: None  # as where a callback hangs
    around.wait(lambda: patient.halt)
    assert patient.halt.endswith("command_ingest did not come back within 0.5 s")
    time.sleep(1.5)
    assert patient.halt  # longer than its recovery time: it is still lost
    node._turn_timer.callback = turn
    around.wait(lambda: patient.halt == "", 3.0)


def test_a_camera_node_that_cannot_be_configured_again_halts_the_robot(around):
    patient = Patient(around, (CameraIngest, {"policy": "constant", "fault_after": 60.0}), vision_restarts=1)
    node = patient.nodes[0]

    def broken():
        raise ValueError("the lens is gone")
    configure, node.configure = node.configure, broken
    patient.report("camera_ingest", "vision")
    around.wait(lambda: patient.halt, 5.0)
    assert patient.halt.endswith("camera_ingest could not be brought up again")
    node.configure = configure
    around.wait(lambda: patient.halt == "", 8.0)


def test_a_node_that_a_person_took_down_is_not_touched_by_faults(around):
    patient = Patient(around, (CommandIngest, {}))
    time.sleep(0.4)
    patient.nodes[0].trigger_deactivate()
    around.wait(lambda: around.said("by hand"))
    for _ in range(3):
        patient.report("command_ingest", "language")
    time.sleep(0.3)
    assert not patient.steps and patient.halt == ""


@pytest.mark.parametrize("kind, name", [("taste", "command_ingest"), ("", ""), ("vision", "camera_ingest"), ("x" * 5000, "y" * 5000)])
def test_a_fault_that_nobody_knows_is_counted_and_changes_nothing(around, kind, name):
    patient = Patient(around, (CommandIngest, {}))
    patient.report(name, kind, "z" * 100_000)
    around.wait(lambda: patient.watcher.stats.drops["bad fault message"] == 1)
    assert not patient.steps and patient.halt == ""


def test_a_long_message_is_cut(around):
    patient = Patient(around, (CommandIngest, {}))
    patient.report("command_ingest" * 100, "language", "z" * 100_000)
    around.wait(lambda: patient.steps)
    assert max(len(message.data) for message in around.feedback) < 600


def test_the_kinds_in_the_message_are_those_that_something_is_done_about():
    assert {Fault.VISION, Fault.LANGUAGE, Fault.ACTION, Fault.COMMUNICATION} == set(STRATEGIES)


def test_before_all_nodes_were_active_once_nothing_is_recovered(around):
    camera = around.make(CameraIngest, policy="constant", fault_after=60.0)
    watcher = around.start(Supervisor, nodes=["camera_ingest", "inference"], **SHORT)
    speaker = around.speaker(Fault, "fault", EVENTS)
    around.wait(lambda: camera.active and speaker.get_subscription_count())
    speaker.publish(Fault(kind="vision", source="camera_ingest"))
    time.sleep(0.3)
    assert camera.active and watcher.diagnose()["vision faults"] == "0"


def test_several_cameras_are_known_by_their_names_and_only_the_faulty_one_is_cycled(around):
    assert Supervisor  # both run as one class under two names
    names = iter(("camera_front", "camera_rear"))

    class Camera(CameraIngest):
        def get_name(self):
            return self.own

        def __init__(self, **options):
            self.own = next(names)
            super().__init__(cli_args=["--ros-args", "-r", f"__node:={self.own}"], **options)
    patient = Patient(around, *2 * [(Camera, {"policy": "constant", "fault_after": 60.0})])
    patient.report("camera_rear", "vision")
    around.wait(lambda: patient.stages["camera_rear"] == CYCLE)
    assert patient.stages["camera_front"] == []


@pytest.mark.parametrize("kinds, says", [
    (["camera"], "parameter 'kinds' holds 'camera'; give entries like camera=vision"),
    (["camera=taste"], "with one of vision, language, action, communication"), (["=vision"], "holds '=vision'"),
])
def test_kinds_that_are_none_fail_configure(around, kinds, says):
    watcher = around.make(Supervisor, kinds=kinds)
    watcher.trigger_configure()
    assert watcher.state == "unconfigured" and says in watcher.problem
