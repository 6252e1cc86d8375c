"""What a node says of its parameters and lets be set; the table itself is in unit/test_parameters.py."""
import pytest
from rcl_interfaces.msg import Parameter as Message
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter

from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.nodes.synchronizer import Synchronizer


def call(around, kind, service, request):
    client = around.node.create_client(kind, service)
    assert client.wait_for_service(5.0)
    future = client.call_async(request)
    around.wait(future.done)
    return future.result()


def set_remotely(around, node, name, **value):
    """As `ros2 param set` does."""
    kinds = {"double_value": ParameterType.PARAMETER_DOUBLE, "integer_value": ParameterType.PARAMETER_INTEGER,
             "string_value": ParameterType.PARAMETER_STRING, "bool_value": ParameterType.PARAMETER_BOOL}
    message = ParameterValue(type=kinds[next(iter(value))], **value)
    request = SetParameters.Request(parameters=[Message(name=name, value=message)])
    return call(around, SetParameters, f"{node.get_name()}/set_parameters", request).results[0]


@pytest.mark.parametrize("stage", ["unconfigured", "active"])
def test_a_misspelt_name_is_refused_when_it_is_set_and_the_node_configures(around, stage):
    node = around.start(Synchronizer) if stage == "active" else around.make(Synchronizer)
    around.spin()
    refused = set_remotely(around, node, "max_skev", double_value=0.2)
    assert not refused.successful
    assert refused.reason.startswith("parameter 'max_skev' is not known; is it 'max_skew'?; known are ")
    if stage == "active":
        node.trigger_deactivate()
        node.trigger_cleanup()
    node.trigger_configure()
    assert node.state == "inactive", node.problem
    assert "max_skev" not in node._parameters


@pytest.mark.parametrize("name", ["predict_timeout", "x" * 1_000_000, "some.thing", "max_skew ", ""])
def test_what_this_node_does_not_read_cannot_be_set(around, name):
    node = around.start(Synchronizer)
    refused = node.set_parameters([Parameter(name, value=1.0)])[0]
    assert not refused.successful and "is not known" in refused.reason and len(refused.reason) < 1000


def test_a_file_for_all_nodes_configures_each(around):
    others = {parameter.name: parameter.default for table in NODE_PARAMETERS.values() for parameter in table}
    node = around.make(CommandIngest, **others, **{"qos_overrides./x.subscription.depth": 3})
    node.trigger_configure()
    assert node.state == "inactive", node.problem


@pytest.mark.parametrize("name, value", [("use_sim_time", True), ("max_skew", 0.2), ("max_skew", 1)])
def test_what_it_knows_can_be_set(around, name, value):
    node = around.start(Synchronizer)
    assert node.set_parameters([Parameter(name, value=value)])[0].successful


def test_a_value_outside_is_refused_with_our_sentence_and_so_is_one_that_is_nearly_inside(around):
    node = around.start(Synchronizer)
    for value in (99.0, -1e-12, 10.0 + 1e-9):
        refused = set_remotely(around, node, "max_skew", double_value=value)
        assert not refused.successful and refused.reason.endswith("give a number from 0 to 10 s")
    refused = set_remotely(around, node, "max_skew", string_value="wide")
    assert refused.reason == "parameter 'max_skew' is 'wide'; give a number from 0 to 10 s"
    assert set_remotely(around, node, "max_skew", double_value=10.0).successful


@pytest.mark.parametrize("value", [99.0, "wide", True])
def test_a_bad_value_in_a_file_fails_in_configure_with_our_sentence(around, value):
    node = around.make(Synchronizer, max_skew=value)
    node.trigger_configure()
    assert node.state == "unconfigured" and "give a number from 0 to 10 s" in node.problem


def describe(around, node, *names):
    request = DescribeParameters.Request(names=names)
    return call(around, DescribeParameters, f"{node.get_name()}/describe_parameters", request).descriptors


def test_a_parameter_says_its_range_its_unit_and_whether_it_is_live(around):
    camera = around.start(CameraIngest, policy="constant")
    age, size, executor, black = describe(around, camera, "max_age", "max_bytes", "executor", "frozen_after")
    assert age.name == "max_age" and age.type == ParameterType.PARAMETER_DOUBLE
    assert age.description == "an older image is refused (s)"
    assert [(one.from_value, one.to_value) for one in age.floating_point_range] == [(0.01, 60.0)]
    assert age.additional_constraints == "live: may change while the node is active"
    assert [(one.from_value, one.to_value) for one in size.integer_range] == [(1, 2**31)]
    assert executor.additional_constraints == ("one of events, single_threaded; changes while the node is unconfigured: "
                                               "clean it up first")
    assert not any(one.read_only for one in (age, size, executor, black))
    assert not executor.floating_point_range and not executor.integer_range


@pytest.mark.parametrize("kind", [CommandIngest, Synchronizer])
def test_every_parameter_is_described(around, kind):
    node = around.make(kind)
    around.spin()
    table = NODE_PARAMETERS[node.get_name()]
    for parameter, told in zip(table, describe(around, node, *(one.name for one in table))):
        assert told.description.startswith(parameter.description) and parameter.unit in told.description
        assert told.additional_constraints
        assert bool(told.floating_point_range) == (isinstance(parameter.default, float))
