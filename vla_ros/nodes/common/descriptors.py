"""What a node says of its parameters: `ros2 param describe`, and the sliders of rqt_reconfigure."""

from __future__ import annotations

import math

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from vla_ros.core.parameters import Parameter


def descriptor_of(parameter: Parameter, ranged: bool = False) -> ParameterDescriptor:
    """What rclpy is told of a parameter; with its bounds where `ranged`.

    Dynamic typing: a value of the wrong type is to fail in configure, with a sentence, and not as
    the node is made.
    """
    unit = f" ({parameter.unit})" if parameter.unit else ""
    constraints = [f"one of {', '.join(parameter.choices)}"] if parameter.choices else []
    constraints.append(
        "live: may change while the node is active"
        if parameter.live
        else "changes while the node is unconfigured: clean it up first"
    )
    descriptor = ParameterDescriptor(
        description=f"{parameter.description}{unit}",
        dynamic_typing=True,
        additional_constraints="; ".join(constraints),
    )
    if ranged and math.isfinite(parameter.low) and math.isfinite(parameter.high):
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=parameter.low, to_value=parameter.high)
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))
            ]
    return descriptor
