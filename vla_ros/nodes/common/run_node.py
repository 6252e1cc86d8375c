"""Runs a node, or several, as a process, with an end that SIGINT and SIGTERM cannot make untidy."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from vla_ros.core import process_identity
from vla_ros.nodes.common.base import SUCCESS, ManagedNode

PARENT_CHECK_PERIOD_S = 0.5
SEGMENTS = ("fastrtps_", "fastdds_")  # Fast DDS 2's names in /dev/shm, and Fast DDS 3's (Kilted)


def run(
    *make_nodes: Callable[[], ManagedNode],
    start: bool = False,
    argv: Sequence[str] | None = None,
) -> None:
    """Spins nodes until SIGINT or SIGTERM, or until whoever started them is gone.

    Args:
        make_nodes: classes of nodes, say; one executor runs them all, that of the first.
        start: it configures and activates itself.
        argv: the arguments that hold for all of them; default: the process'.
    """
    _clear_left_segments()
    _keep_memory()
    sys.setswitchinterval(0.001)  # the gate's thread must not wait 5 ms for the executor's
    signals = {signal.SIGINT, signal.SIGTERM}
    # a terminal that is gone; with nohup it is ignored
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.add(signal.SIGHUP)
    # Blocked, so that only sigwait below takes them: a Python handler would run only after the
    # executor's wait in C returns.
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job comes with it ignored
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    nodes = [make() for make in make_nodes]
    executor = make_executor(nodes[0].get_parameter("executor").value)
    for node in nodes:
        executor.add_node(node)
        if start and node.trigger_configure() == SUCCESS:
            node.trigger_activate()
    failed: list[BaseException] = []
    spinner = threading.Thread(target=_spin, args=(executor, failed), name="executor", daemon=True)
    spinner.start()
    if process_identity.PARENT in os.environ:
        threading.Thread(
            target=_end_with_parent, args=nodes[:1], name="parent", daemon=True
        ).start()
    signal.sigwait(signals)
    # a second one would find a library's thread, older than the block, and end us before we left
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    # DDS says goodbye and gives its shared memory back as the interpreter ends; but whatever hangs
    # from here on (a callback, most likely) must not keep the process alive.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(5)
    for node in nodes:
        node.leave()
    signal.alarm(2)
    rclpy.try_shutdown()
    spinner.join(timeout=0.5)
    if not spinner.is_alive():
        for node in nodes:
            node.destroy_node()
    sys.exit(1 if failed else 0)


def make_executor(kind: object) -> Executor:
    """The one of node_parameters.EXECUTORS, as far as this rclpy has it.

    The events executor wakes for one entity, and does not build a wait set of all of them. Beside
    the other (`vla bench pipeline --only ours,ours_single`) the suite took 0.84 of the latency and
    0.65 of the processor time.
    """
    if kind == "events":
        try:
            from rclpy.experimental.events_executor import EventsExecutor
        except ImportError:  # Humble
            return SingleThreadedExecutor()
        return EventsExecutor()
    return SingleThreadedExecutor()


def spin(executor: Executor) -> None:
    """Runs callbacks until the context is shut down, which raises or returns."""
    if isinstance(executor, SingleThreadedExecutor):
        executor.spin()
        return
    try:
        # The events executor's own `spin` keeps the GIL in rclpy 7.1, and no other thread would
        # run. How long one turn waits does not matter: a shutdown wakes it.
        while rclpy.ok():
            executor.spin_once(timeout_sec=1.0)
    finally:
        # It lets go of the node's entities now, and not when they are gone: DDS would call into it.
        executor.shutdown()


def _end_with_parent(node: ManagedNode) -> None:
    """Ends the node when whoever started it is gone.

    `ros2 launch` ends on SIGTERM without a word to its nodes: they would drive the robot on where
    no Ctrl-C reaches them. (Not with sigtimedwait: CPython takes its end after a SIGSTOP for a
    signal.)
    """
    while not process_identity.orphaned():
        time.sleep(PARENT_CHECK_PERIOD_S)
    node.get_logger().error("the process that started this node has ended; the node ends too")
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _clear_left_segments(folder: str = "/dev/shm") -> None:
    """Removes Fast DDS' shared memory of processes that were killed: 34 MB each, for good.

    Its owner holds a lock on the segment's `_el` file from shortly after it was made, as long as it
    lives.
    """
    locks = (Path(folder).glob(name + "[0-9a-f]" * 16 + "_el") for name in SEGMENTS)
    for lock in chain.from_iterable(locks):
        try:
            if time.time() - lock.stat().st_mtime < 10.0:
                continue  # just made, perhaps not locked yet
            with open(lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
        except OSError:
            continue  # in use, another user's, or gone already


def _keep_memory() -> None:
    """Lets glibc keep the memory of images.

    It hands each image's memory back to the kernel and fetches it again, a page fault every 4 KiB:
    two thirds of what it costs to receive one. Where there is no glibc, nothing happens.
    """
    # malloc.h
    trim_threshold = -1
    mmap_threshold = -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 64 << 20)


def _spin(executor: Executor, failed: list[BaseException]) -> None:
    try:
        spin(executor)
    except ExternalShutdownException:
        pass
    except BaseException as error:
        if not rclpy.ok():
            return  # a callback that the shutdown overtook
        failed.append(error)
        traceback.print_exc()
        os.kill(os.getpid(), signal.SIGTERM)  # a node that no longer spins must not look alive
