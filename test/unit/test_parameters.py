"""A parameter is declared once; the YAML repeats the table, and a bad value gets a sentence."""
from pathlib import Path

import pytest
import yaml

from vla_ros.cli.parameters import render
from vla_ros.core.parameters import Parameter, check_all
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.safety.rules import PARAMETERS
from vla_ros.safety.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_yaml_is_what_the_table_says():
    assert (ROOT / "config" / "vla.yaml").read_text() == render()


def test_the_yaml_loads_to_the_defaults():
    loaded = yaml.safe_load((ROOT / "config" / "vla.yaml").read_text())
    for node, table in NODE_PARAMETERS.items():
        values = loaded[f"/**/{node}"]["ros__parameters"]
        assert values == {parameter.name: parameter.default for parameter in table}


def test_the_gate_alone_has_the_defaults_of_its_node():
    table = {parameter.name: parameter for parameter in NODE_PARAMETERS["safety_validator"]}
    assert len(PARAMETERS) >= 11 and all(table[limit.name] is limit for limit in PARAMETERS)
    assert {limit.name: Settings()[limit] for limit in PARAMETERS} == {limit.name: limit.default for limit in PARAMETERS}
    assert Settings().period == to_nanoseconds(1 / table["rate"].default)


def test_no_node_has_two_parameters_of_one_name():
    for table in NODE_PARAMETERS.values():
        assert len({parameter.name for parameter in table}) == len(table)


@pytest.mark.parametrize("node", NODE_PARAMETERS)
def test_every_default_is_good_and_every_parameter_is_explained(node):
    check_all(NODE_PARAMETERS[node], {})
    for parameter in NODE_PARAMETERS[node]:
        assert len(parameter.description) > 10
        if isinstance(parameter.default, float):
            assert parameter.unit, f"{parameter.name} is a number and needs a unit"


NUMBER = Parameter("rate", 50.0, "how often", "Hz", 5.0, 500.0)


@pytest.mark.parametrize("value", [5, 5.0, 500, 50.5])
def test_a_number_in_its_range_passes(value):
    assert NUMBER.check(value) == float(value)


@pytest.mark.parametrize("value", [4.999, 500.1, -50.0, float("nan"), float("inf"), "50", True, None, [50.0]])
def test_a_bad_number_is_named_with_its_value_and_its_range(value):
    with pytest.raises(ValueError, match=r"parameter 'rate' is .*; give a number from 5 to 500 Hz"):
        NUMBER.check(value)


def test_a_choice_lists_the_choices():
    with pytest.raises(ValueError, match="'mode' is 'loose'; use one of latched, strict"):
        Parameter("mode", "latched", "how", choices=("latched", "strict")).check("loose")


@pytest.mark.parametrize("default, bad", [(1, 1.5), (1, True), (True, 1), ("a", 1), (["a"], "a"), (["a"], [1])])
def test_a_wrong_type_is_refused(default, bad):
    with pytest.raises(ValueError, match="parameter 'p' is"):
        Parameter("p", default, "some").check(bad)


@pytest.mark.parametrize("value", [True, False])
def test_yes_and_no_are_no_numbers_even_where_0_and_1_are(value):
    with pytest.raises(ValueError, match="parameter 'share' is .*; give a number from 0 to 1"):
        Parameter("share", 0.5, "a share", low=0.0, high=1.0).check(value)
