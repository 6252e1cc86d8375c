"""Which process a node lives in: dead, stopped and hung are told apart, and no foreign process is ever ended."""
import os
import signal
import subprocess
import sys
import time

import pytest

from vla_ros.nodes import life

pytestmark = pytest.mark.skipif(not life.host(), reason="/proc is needed to know of processes")
CODE = "import time; print('up', flush=True); time.sleep(60)"
NODE = ("-c", CODE, "vla_ros/camera_ingest")


@pytest.fixture
def child():
    children = []

    def start(*arguments):
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE)
        children.append(process)
        assert process.stdout.readline()  # it runs its own command line by now
        return process, f"{process.pid}.{life._stat(process.pid)[1]:x}.{life.host()}"
    yield start
    for process in children:
        process.kill()
        process.wait()
        process.stdout.close()


def eventually(process_life, state):
    end = time.monotonic() + 5.0
    while life.state(process_life) != state and time.monotonic() < end:
        time.sleep(0.01)
    return life.state(process_life) == state


def test_our_own_life_is_alive_and_holds_no_slash():
    assert life.state(life.own()) == life.ALIVE
    assert life.own() == life.own() and "/" not in life.own()
    assert life.own().split(".")[0] == str(os.getpid())


def test_a_stopped_process_is_stopped_and_a_dead_one_gone(child):
    process, its = child(*NODE)
    assert life.state(its) == life.ALIVE
    process.send_signal(signal.SIGSTOP)
    assert eventually(its, life.STOPPED)
    process.kill()
    assert eventually(its, life.GONE)  # a zombie: nobody has waited for it
    process.wait()
    assert life.state(its) == life.GONE


@pytest.mark.parametrize("number", [None, signal.SIGSTOP])
def test_a_node_that_hangs_is_ended(child, number):
    process, its = child(*NODE)
    if number:
        process.send_signal(number)
    assert life.end(its, "camera_ingest") == ""
    assert process.wait(5.0) == -signal.SIGKILL


def test_a_reused_pid_is_gone_and_is_not_ended(child):
    process, its = child(*NODE)
    pid, start, host = its.split(".")
    other = f"{pid}.{int(start, 16) - 1:x}.{host}"
    assert life.state(other) == life.GONE
    assert life.end(other, "camera_ingest") == "its process ended meanwhile"
    assert process.poll() is None


@pytest.mark.parametrize("arguments, name", [
    (("-c", CODE, "someone/else"), "camera_ingest"), (NODE, "inference"), (("-c", CODE, "other/camera_ingest"), "camera_ingest"),
])
def test_a_process_that_is_not_the_node_is_not_ended(child, arguments, name):
    process, its = child(*arguments)
    assert "does not look like a node of vla_ros" in life.end(its, name)
    assert process.poll() is None


@pytest.mark.parametrize("its", [
    "", "another process", "7", "1.2.3", f"{os.getpid()}.1f", f"-1.1f.{life.host()}", f"0.0.{life.host()}",
    f"1.1f.{life.host()}", f"{os.getpid()}.zz.{life.host()}", "1e400.1.x", f"{life.own()}.more",
])
def test_a_life_that_is_none_or_of_another_machine_is_unknown_and_nothing_is_ended(its):
    assert life.state(its) == life.UNKNOWN
    assert "not one that can be ended from here" in life.end(its, "camera_ingest")


def test_we_never_end_ourselves():
    assert "not one that can be ended from here" in life.end(life.own(), "vla_ros")


def test_a_pid_that_is_gone_for_good():
    assert life.state(f"4194304.1f.{life.host()}") == life.GONE  # above the kernel's largest
    assert life.end(f"4194304.1f.{life.host()}", "camera_ingest").startswith("process 4194304 cannot be ended")
