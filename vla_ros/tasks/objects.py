"""The things that an instruction can be about, and the hand that holds them."""

from __future__ import annotations

# a model's outputs are in this order
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SHAPES = ("block", "ball", "cylinder")
# m between the fingers at gripper 1.0; the gripper joint's position then
OPENING_MAX = 0.10
# m from the path's middle to that of an object beside it: half the robot, half the object, a hand
PASSING_CLEARANCE = 0.27
