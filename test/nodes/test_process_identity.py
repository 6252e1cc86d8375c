"""Which process a node lives in: dead, stopped and hung are told apart, and no foreign process is ever ended."""
import os
import signal
import subprocess
import sys
import time

import pytest

from vla_ros.core import process_identity

pytestmark = pytest.mark.skipif(not process_identity.host(), reason="/proc is needed to know of processes")
CODE = "import time; print('up', flush=True); time.sleep(60)"
NODE = ("-m", "vla_ros.nodes.camera_ingest", "--ros-args", "-p", "policy:=constant")
SCRIPT = "{here}/lib/vla_ros/camera_ingest"


@pytest.fixture
def child(tmp_path):
    """Processes with the command lines of nodes, in a folder that has programs of their names."""
    children = []
    for program in ("vla_ros/nodes/camera_ingest.py", "vla_ros/bench/faults/faulty_policies.py", "lib/vla_ros/camera_ingest",
                    "vla_ros/nodes/composed.py", "lib/vla_ros/composed", "other/lib/camera_ingest", "vla_ros_too/nodes/camera_ingest.py", "clone/vla_ros/look.py"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text(CODE)
    for package in ("vla_ros", "vla_ros/nodes", "vla_ros/bench", "vla_ros/bench/faults"):
        (tmp_path / package / "__init__.py").touch()  # or the real package would be found before it

    def start(*arguments):
        words = [word.format(here=tmp_path) for word in arguments]
        process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, cwd=tmp_path)
        children.append(process)
        assert process.stdout.readline()  # it runs its own command line by now
        return process, f"{process.pid}.{process_identity._stat(process.pid)[1]:x}.{process_identity.host()}"
    yield start
    for process in children:
        process.kill()
        process.wait()
        process.stdout.close()


def eventually(process_life, state):
    end = time.monotonic() + 5.0
    while process_identity.state(process_life) != state and time.monotonic() < end:
        time.sleep(0.01)
    return process_identity.state(process_life) == state


def test_our_own_life_is_alive_and_holds_no_slash():
    assert process_identity.state(process_identity.own()) == process_identity.ALIVE
    assert process_identity.own() == process_identity.own() and "/" not in process_identity.own()
    assert process_identity.own().split(".")[0] == str(os.getpid())


def test_a_stopped_process_is_stopped_and_a_dead_one_gone(child):
    process, its = child(*NODE)
    assert process_identity.state(its) == process_identity.ALIVE
    process.send_signal(signal.SIGSTOP)
    assert eventually(its, process_identity.STOPPED)
    process.kill()
    assert eventually(its, process_identity.GONE)  # a zombie: nobody has waited for it
    process.wait()
    assert process_identity.state(its) == process_identity.GONE


@pytest.mark.parametrize("number", [None, signal.SIGSTOP])
def test_a_node_that_hangs_is_ended(child, number):
    process, its = child(*NODE)
    if number:
        process.send_signal(number)
    assert process_identity.end(its, "camera_ingest") == ""
    assert process.wait(5.0) == -signal.SIGKILL


@pytest.mark.parametrize("name, arguments", [
    ("camera_ingest", ("-m", "vla_ros.nodes.camera_ingest")),
    ("camera_ingest", (SCRIPT,)),
    ("camera_ingest", (SCRIPT, "--ros-args", "-r", "__node:=camera_ingest", "-r", "__ns:=/vla", "--params-file", "x")),
    ("camera_left", (SCRIPT, "--ros-args", "--remap", "__node:=camera_left")),
    ("inference", ("-m", "vla_ros.bench.faults.faulty_policies", "--ros-args", "-r", "__node:=inference")),
    ("synchronizer", ("{here}/lib/vla_ros/composed", "--ros-args", "-r", "__ns:=/vla")),
    ("camera_left", ("-m", "vla_ros.nodes.composed", "camera_ingest", "--ros-args", "-r", "__node:=camera_left", "--", "inference")),
    ("inference", ("-m", "vla_ros.nodes.composed", "camera_ingest", "--ros-args", "-r", "__node:=camera_left", "--", "inference")),
])
def test_every_way_to_start_a_node_is_known(child, name, arguments):
    process, its = child(*arguments)
    assert process_identity.end(its, name) == ""
    assert process.wait(5.0) == -signal.SIGKILL


def test_a_reused_pid_is_gone_and_is_not_ended(child):
    process, its = child(*NODE)
    pid, start, host = its.split(".")
    other = f"{pid}.{int(start, 16) - 1:x}.{host}"
    assert process_identity.state(other) == process_identity.GONE
    assert process_identity.end(other, "camera_ingest") == "its process ended meanwhile"
    assert process.poll() is None


@pytest.mark.parametrize("arguments, name", [
    (NODE, "inference"),
    ((SCRIPT,), "vla_ros"),
    ((SCRIPT, "--ros-args", "-r", "__node:=camera_left"), "camera_ingest"),
    ((SCRIPT, "--ros-args", "-p", "__node:=camera_left"), "camera_left"),
    (("-c", CODE, "vla_ros/camera_ingest"), "camera_ingest"),
    (("-c", CODE, "-m", "vla_ros.nodes.camera_ingest"), "camera_ingest"),
    (("-c", CODE, SCRIPT), "camera_ingest"),
    (("{here}/clone/vla_ros/look.py", "camera_ingest"), "camera_ingest"),  # README's own folder
    (("{here}/clone/vla_ros/look.py", "-r", "__node:=camera_ingest"), "camera_ingest"),
    (("{here}/vla_ros/nodes/camera_ingest.py",), "camera_ingest"),
    (("{here}/other/lib/camera_ingest",), "camera_ingest"),
    (("lib/vla_ros/camera_ingest",), "camera_ingest"),
    (("-m", "vla_ros_too.nodes.camera_ingest"), "camera_ingest"),
    (("-m", "vla_ros.nodes.composed", "camera_ingest", "--ros-args", "-r", "__node:=camera_left", "--"), "camera_ingest"),
    (("-m", "vla_ros.nodes.composed", "camera_ingest"), "inference"),
    (("-m", "vla_ros.nodes.composed"), "composed"),
    (("-m", "vla_ros.nodes.composed"), "safety_validator"),
])
def test_a_process_that_is_not_the_node_is_not_ended(child, arguments, name):
    process, its = child(*arguments)
    assert "does not look like a node of vla_ros" in process_identity.end(its, name)
    assert process.poll() is None


def test_another_program_with_a_nodes_arguments_is_not_ended(child, tmp_path):
    """`tail -f .../lib/vla_ros/camera_ingest`, an editor, a debugger."""
    (tmp_path / "vla_ros.nodes.camera_ingest").write_text("echo up; read line")
    process = subprocess.Popen(["sh", "-m", "vla_ros.nodes.camera_ingest"], cwd=tmp_path, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline()
        its = f"{process.pid}.{process_identity._stat(process.pid)[1]:x}.{process_identity.host()}"
        assert "does not look like a node of vla_ros" in process_identity.end(its, "camera_ingest")
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize("its", [
    "", "another process", "7", "1.2.3", f"{os.getpid()}.1f", f"-1.1f.{process_identity.host()}", f"0.0.{process_identity.host()}",
    f"1.1f.{process_identity.host()}", f"{os.getpid()}.zz.{process_identity.host()}", "1e400.1.x", f"{process_identity.own()}.more",
], ids=["empty", "words", "a pid", "three numbers", "no host", "negative", "zero", "pid 1", "no start", "a float", "four parts"])
def test_a_life_that_is_none_or_of_another_machine_is_unknown_and_nothing_is_ended(its):
    assert process_identity.state(its) == process_identity.UNKNOWN
    assert "not one that can be ended from here" in process_identity.end(its, "camera_ingest")


def test_we_never_end_ourselves():
    assert "not one that can be ended from here" in process_identity.end(process_identity.own(), "vla_ros")


def test_a_pid_that_is_gone_for_good():
    assert process_identity.state(f"4194304.1f.{process_identity.host()}") == process_identity.GONE  # above the kernel's largest
    assert process_identity.end(f"4194304.1f.{process_identity.host()}", "camera_ingest").startswith("process 4194304 cannot be ended")
