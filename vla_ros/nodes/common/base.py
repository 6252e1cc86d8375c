"""What all six nodes share: parameters, transitions that speak, heartbeat, diagnostics."""

from __future__ import annotations

import difflib
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from vla_ros.core import process_identity
from vla_ros.core.machine import keep_to, take_priority
from vla_ros.core.parameters import check_all
from vla_ros.core.shown import shown
from vla_ros.core.stats import Stats
from vla_ros.nodes.common.composition import Composition, Inlet
from vla_ros.nodes.common.descriptors import descriptor_of
from vla_ros.nodes.common.events import PublisherEventCallbacks, SubscriptionEventCallbacks
from vla_ros.nodes.common.heart import HEARTBEAT_PERIOD_S, Heart
from vla_ros.nodes.common.qos import (
    EVENTS,
    FEEDBACK,
    IMAGES,
    LATCHED,
    LATEST,
    PULSE,
    WORDS,
    WORDS_LOOSE,
)
from vla_ros.nodes.common.reader import Reader, Unattended
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros_msgs.msg import Fault, Heartbeat

FAULT_PERIOD_NS = 1_000_000_000  # between two reports of one kind of fault
RCLPY_PARAMETERS = {"use_sim_time", "start_type_description_service"}
# One file may hold parameters for all nodes; only what none of them knows is a mistake.
KNOWN_PARAMETERS = RCLPY_PARAMETERS | {
    parameter.name for table in NODE_PARAMETERS.values() for parameter in table
}
SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE


def _in_memory(qos: QoSProfile) -> bool:
    """Whether nodes of one process hand it over; a late joiner asks DDS for what is kept."""
    return qos.durability == DurabilityPolicy.VOLATILE


class ManagedNode(LifecycleNode):
    """A lifecycle node. Subclasses fill in `configure`, `activate`, `deactivate` and `release`.

    `configure` raises ValueError for what a user can mend; the sentence goes to the log, to
    /diagnostics and nowhere near the robot. Callbacks made with `add_subscription` and `add_timer`
    cannot end the process: an exception is logged with its traceback and counted. `self.params`
    holds the checked parameters.

    Args:
        kind: its name, and its table of parameters.
        composition: of the process, where that holds several nodes.
        options: rclpy's.

    Published topics:
        feedback (std_msgs/String): sentences for the operator.
        heartbeat (vla_ros_msgs/Heartbeat): ten times a second, for as long as the executor turns.
        fault (vla_ros_msgs/Fault): for the supervisor, as long as the fault lasts.
        /diagnostics (diagnostic_msgs/DiagnosticArray): "node: state", and a status for each rate.

    Services:
        those of every lifecycle node, and rclpy's for parameters.

    Parameters:
        `diagnostics_period`, and the node's own table in nodes/node_parameters.py; one that is not
        known, or not in its range, is refused with a sentence.
    """

    def __init__(self, kind: str, composition: Composition | None = None, **options: Any) -> None:
        self._composition = composition  # of the process, where it holds more nodes than this
        self.table = {parameter.name: parameter for parameter in NODE_PARAMETERS[kind]}
        # Undeclared ones: refused below, with a sentence that rclpy does not have.
        super().__init__(
            kind,
            allow_undeclared_parameters=True,
            automatically_declare_parameters_from_overrides=True,
            **options,
        )
        for parameter in self.table.values():
            descriptor = descriptor_of(parameter)
            if self.has_parameter(parameter.name):
                self.set_descriptor(parameter.name, descriptor)
            else:
                self.declare_parameter(parameter.name, parameter.default, descriptor)
        self.params: dict[str, Any] = {}
        self.state = "unconfigured"
        self.stats = Stats()
        self.problem = ""  # a sentence for /diagnostics; empty when all is well
        self._priority = ""  # what the parameters asked for, or why it was refused
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []
        self._action_servers: list[Any] = []
        self.add_on_set_parameters_callback(self._on_set_parameters)
        # rclpy raises on a transition that its state does not know, and the process would end.
        self._service_change_state.callback = self._answer_safely(
            self._service_change_state.callback
        )
        self._feedback = self._quiet_publisher(String, "feedback", FEEDBACK)
        self._heartbeat = self._quiet_publisher(Heartbeat, "heartbeat", PULSE)
        self._diagnostics = self._quiet_publisher(DiagnosticArray, "/diagnostics", EVENTS)
        self._faults = self._quiet_publisher(Fault, "fault", EVENTS)
        self._reported: dict[str, int] = {}  # kind of fault -> when last, steady ns
        # tells a respawned process from the one before, and which one it is
        self._life = process_identity.own()
        self._report_timer = self.steady_timer(1.0, lambda: self.guard(self._report))
        self._heart = Heart(
            lambda: self.guard(self._beat),
            lambda: self.guard(self._report),
            composition.pulse if composition else None,
        )
        self._turn_timer = self.steady_timer(HEARTBEAT_PERIOD_S, self._heart.turn)

    # -- what subclasses fill in -------------------------------------------------------
    def configure(self) -> None:
        """Makes publishers, subscriptions and whatever takes long.

        Raises:
            ValueError: what a user can mend, as a sentence.
        """

    def activate(self) -> None: ...

    def deactivate(self) -> None: ...

    def release(self) -> None: ...

    def diagnose(self) -> dict[str, str]:
        """More keys and values for /diagnostics."""
        return {}

    # -- what subclasses use -----------------------------------------------------------
    def now(self) -> int:
        """ns on the ROS clock."""
        nanoseconds: int = self.get_clock().now().nanoseconds
        return nanoseconds

    @property
    def subscriptions(self) -> Iterator[Any]:
        """Those that an executor attends: without the readers', which are read when needed.

        rclpy's EventsExecutor takes the messages of all that it is shown, whatever their group.
        """
        for subscription in super().subscriptions:
            if not isinstance(subscription.callback_group, Unattended):
                yield subscription

    @property
    def clients(self) -> Iterator[Any]:
        """Those whose answers an executor takes: without those that wait for one themselves."""
        for client in super().clients:
            if not isinstance(client.callback_group, Unattended):
                yield client

    @property
    def active(self) -> bool:
        return self.state == "active"

    def add_subscription(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        always: bool = False,
        raw: bool = False,
        read: Callable[[bytes], Any] | None = None,
    ) -> None:
        """A subscription whose callback cannot raise, and runs only while active.

        Args:
            always: it runs in every state.
            raw: it is given bytes.
            read: makes a message of the bytes that came by DDS; None: rclpy does.
        """

        def guarded(message: Any) -> None:
            if always or self.active:
                self.guard(callback, message)

        def guarded_bytes(data: bytes) -> None:
            if read and (always or self.active):
                self.guard(lambda: callback(read(data)))

        by_dds = guarded_bytes if read else guarded

        # Between our own nodes both ends agree on the QoS, and words are heard either way; rclpy's
        # watch for mismatches would cost a share of every wake-up.
        ours = any(qos is own for own in (IMAGES, LATEST, LATCHED, WORDS, WORDS_LOOSE))
        events = SubscriptionEventCallbacks(use_default_callbacks=False) if ours else None

        def subscribe(heard: Callable[[Any], None]) -> Any:
            return self.create_subscription(
                kind, topic, heard, qos, event_callbacks=events, raw=raw or read is not None
            )

        composition = self._composition
        if composition is None:
            self._entities.append((self.destroy_subscription, subscribe(by_dds)))
            return

        def attended(message: Any) -> None:
            composition.attend(partial(by_dds, message))

        if raw or not _in_memory(qos):
            self._entities.append((self.destroy_subscription, subscribe(attended)))
            return
        inlet = Inlet(self, guarded, qos.depth, partial(subscribe, attended))
        full_name = kind, self.resolve_topic_name(topic)
        composition.open_inlet(full_name, inlet)
        self._entities.append((partial(composition.close_inlet, full_name), inlet))

    def add_reader(
        self,
        kind: type,
        topic: str,
        qos: QoSProfile,
        raw: bool = False,
        most_bytes: int = 0,
        read: Callable[[bytes], Any] | None = None,
    ) -> Reader:
        """A topic to be read when it is needed."""
        reader = Reader(self, kind, topic, qos, raw, most_bytes, read)
        self._entities.append((self.destroy_subscription, reader.subscription))
        return reader

    def add_publisher(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        publisher = self._quiet_publisher(kind, topic, qos)
        self._entities.append((self.destroy_publisher, publisher))
        if self._composition is None or not _in_memory(qos):
            return publisher
        outlet = self._composition.open_outlet((kind, self.resolve_topic_name(topic)), publisher)
        self._entities.append((self._composition.close_outlet, outlet))  # before its publisher
        return outlet

    def _quiet_publisher(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        """Without rclpy's watch for mismatched QoS: a subscriber learns of it at its own end."""
        return self.create_publisher(
            kind, topic, qos, event_callbacks=PublisherEventCallbacks(use_default_callbacks=False)
        )

    def add_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        timer = self.steady_timer(seconds, lambda: self.guard(callback))
        self._entities.append((self.destroy_timer, timer))

    def steady_timer(self, seconds: float, callback: Callable[[], None]) -> Any:
        """On the steady clock, whatever becomes of the ROS clock.

        A simulation may be paused, and a system clock set back by an hour.
        """
        return self.create_timer(seconds, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def add_service(self, kind: type, name: str, callback: Callable[[Any, Any], Any]) -> None:
        service = self.create_service(kind, name, self._answer_safely(callback))
        self._entities.append((self.destroy_service, service))

    def add_client(self, kind: type, name: str, attended: bool = True) -> Any:
        """A client of another node's service; not `attended`: whoever asks takes the answers."""
        group = None if attended else Unattended()
        client = self.create_client(kind, name, callback_group=group)
        self._entities.append((self.destroy_client, client))
        return client

    def keep_action_server(self, action_server: Any) -> None:
        """One that goes with what the node was configured for, or with the node."""
        self._action_servers.append(action_server)

    def _answer_safely(self, callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """A request that raises is answered with success false, and logged."""

        def answer(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:
                self.reject(
                    "bad request", f"{type(request).__name__} failed while {self.state}: {error}"
                )
                response.success = False
                return response

        return answer

    def guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Calls it, and whatever it raises is logged, counted and told to `fail`."""
        try:
            callback(*arguments)
        except Exception as error:
            if not self.context.ok():
                return  # the shutdown overtook it
            self.stats.drop(f"exception {type(error).__name__}")
            self.get_logger().error(
                f"a callback failed: {error}\n{traceback.format_exc()}", throttle_duration_sec=1.0
            )
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """A callback raised `error`. The gate stops here; the others go on."""

    def reject(self, reason: str, sentence: object) -> None:
        """Bad input: counted under `reason`, said once a second in full."""
        self.stats.drop(reason)
        self.get_logger().warning(f"{reason}: {sentence}", throttle_duration_sec=1.0)

    def notify_operator(self, sentence: str) -> None:
        """To the operator, on `feedback`."""
        self._feedback.publish(String(data=sentence))

    def report_fault(self, kind: str, sentence: str) -> None:
        """To the supervisor, on `fault`, at most once a second a kind, from any thread.

        Say it as long as the fault lasts.

        Args:
            kind: one of Fault's: vision, language, action, communication.
            sentence: what is wrong.
        """
        if self._composition and self._composition.resuming:
            return
        now = time.monotonic_ns()
        if now - self._reported.get(kind, -FAULT_PERIOD_NS) < FAULT_PERIOD_NS:
            return
        self._reported[kind] = now
        self.stats.tick(f"{kind} fault", now)
        stamp = self.get_clock().now().to_msg()
        self._faults.publish(Fault(stamp=stamp, kind=kind, source=self.get_name(), text=sentence))

    @contextmanager
    def announcing(self) -> Iterator[Callable[[str], None]]:
        """For a configure that may take minutes: heartbeat and /diagnostics go on.

        They say "configuring" and, from the first sentence about the work that is told to what this
        gives, "building".
        """
        before = self.state
        trouble = self.problem
        self.state = Heartbeat.CONFIGURING

        def say(text: str) -> None:
            self.get_logger().info(text)
            self.notify_operator(f"{self.get_name()}: {text}")
            self.state = Heartbeat.BUILDING
            self.problem = text

        try:
            with self._heart.excused():
                yield say
        finally:
            self.state = before
            self.problem = trouble

    # -- parameters --------------------------------------------------------------------
    def _read_parameters(self) -> dict[str, Any]:
        given = {name: parameter.value for name, parameter in self._parameters.items()}
        unknown = sorted(name for name in given if name not in KNOWN_PARAMETERS and "." not in name)
        if unknown:
            raise ValueError(self._not_known(unknown[0]))
        return check_all(self.table.values(), given)

    def _not_known(self, name: str) -> str:
        near = difflib.get_close_matches(name[:100], self.table, 1)
        return (
            f"parameter {shown(name)} is not known{f'; is it {near[0]!r}?' if near else ''}; known "
            f"are {', '.join(sorted(self.table))}"
        )

    def describe_parameter(self, name: str) -> ParameterDescriptor:
        """With the range, which rclpy is not to know.

        It would refuse with a sentence that names no unit, let pass what is nearly inside, and end
        the node where a file's value is outside.
        """
        described = super().describe_parameter(name)
        if name not in self.table:
            return described
        told = descriptor_of(self.table[name], ranged=True)
        told.name = name
        told.type = described.type
        return told

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """All or none: a bad value, or one that cannot change now, refuses the whole set."""
        changed: dict[str, Any] = {}
        for parameter in parameters:
            ours = self.table.get(parameter.name)
            if ours is None:
                # rclpy declares the latter where a connection is made whose QoS may be overridden
                if parameter.name in RCLPY_PARAMETERS or parameter.name.startswith(
                    "qos_overrides."
                ):
                    continue
                return SetParametersResult(successful=False, reason=self._not_known(parameter.name))
            try:
                changed[ours.name] = ours.check(parameter.value)
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if self.state != "unconfigured" and not ours.live:
                return SetParametersResult(
                    successful=False,
                    reason=(
                        f"parameter '{ours.name}' cannot change while the node is {self.state}; "
                        "clean it up first"
                    ),
                )
        if self.state != "unconfigured" and changed:
            merged = {**self.params, **changed}
            try:
                self.apply(merged)
            except Exception as error:  # one that left here would end the node
                return SetParametersResult(successful=False, reason=str(error))
            self.params = merged
        return SetParametersResult(successful=True)

    def apply(self, parameters: dict[str, Any]) -> None:
        """Live parameters are about to change to `parameters`. ValueError keeps the old ones."""

    # -- transitions -------------------------------------------------------------------
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.params = self._read_parameters()
            if self.params["cpus"]:
                keep_to(self.params["cpus"])
            self._take_priority()
            self._report_timer.timer_period_ns = int(self.params["diagnostics_period"] * 1e9)
            self.configure()
        except Exception as error:
            self._transition_failed("configured", error)
            self._drop_entities()
            return FAILURE
        self.state = "inactive"
        self.problem = ""
        return SUCCESS

    def _take_priority(self) -> None:
        """As the parameters say; without the right to it the node runs all the same."""
        nice = self.params["nice"]
        realtime = self.params["realtime_priority"]
        self._priority = ""
        if nice or realtime:
            self._priority = f"SCHED_FIFO {realtime}" if realtime else f"nice {nice}"
        try:
            take_priority(nice, realtime)
        except ValueError as error:
            self._priority = f"refused: {error}"
            self.get_logger().warning(f"on a busy machine it may be late: {error}")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("activated", self.activate, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("deactivated", self.deactivate, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("cleaned up", self._clean, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.leave()
        return self._transition("shut down", self._clean, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.leave()
        return self._transition("recovered", self._clean, "unconfigured")

    def leave(self) -> None:
        """The process is about to end, or went wrong: what must be seen on the wire goes out."""
        if self.active:
            self.state = "inactive"
            self.guard(self.deactivate)

    def _transition(
        self, verb: str, work: Callable[[], None], state: str
    ) -> TransitionCallbackReturn:
        try:
            work()
        except Exception as error:  # rclpy would swallow it
            self._transition_failed(verb, error)
            return FAILURE
        self.state = state
        return SUCCESS

    def _transition_failed(self, verb: str, error: Exception) -> None:
        self.problem = f"{self.get_name()} could not be {verb}: {error}"
        self.get_logger().error(self.problem)
        if not isinstance(error, ValueError):
            self.get_logger().error(traceback.format_exc())
        self.notify_operator(self.problem)
        self._report()

    def _clean(self) -> None:
        self.release()
        self._drop_entities()

    def destroy_node(self) -> None:
        self._heart.stop()
        # rclpy leaves them, and with them the node in DDS' graph and its shared memory.
        self._drop_action_servers()
        super().destroy_node()

    def _drop_action_servers(self) -> None:
        for server in self._action_servers:
            server.destroy()
        self._action_servers.clear()

    def _drop_entities(self) -> None:
        self._drop_action_servers()
        for destroy, entity in reversed(self._entities):
            destroy(entity)
        self._entities.clear()

    # -- heartbeat and diagnostics -----------------------------------------------------
    def _beat(self) -> None:
        stamp = self.get_clock().now().to_msg()
        self._heartbeat.publish(
            Heartbeat(stamp=stamp, node=self.get_name(), state=self.state, process=self._life)
        )

    def _report(self) -> None:
        """A status for each task, called "node: task" as by diagnostic_updater with use_fqn.

        "state" says how the node is; each rate has a status of its own. diagnostic_updater itself
        is not on PyPI beside the ROS 2 wheels, and wants a clock and a parameter of its own.
        """
        now = time.monotonic_ns()
        level = DiagnosticStatus.OK
        if self.problem:
            unconfigured = self.state == Heartbeat.UNCONFIGURED
            level = DiagnosticStatus.ERROR if unconfigured else DiagnosticStatus.WARN
        values = {**self.stats.values(), **self.diagnose()}
        if self._priority:
            values["priority"] = self._priority
        statuses = [self._status("state", level, self.problem or self.state, values)]
        for name, rate in list(self.stats.rates.items()):
            hertz = f"{rate.hertz(now):.1f} Hz"
            statuses.append(self._status(name, DiagnosticStatus.OK, hertz, rate.values(now)))
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _status(
        self, task: str, level: bytes, sentence: str, values: dict[str, str]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=f"{self.get_fully_qualified_name()}: {task}",
            level=level,
            message=sentence,
            hardware_id="none",  # what diagnostic_updater wants where there is no device
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
