"""A recording played through the present gate and the present policy, without nodes and clocks."""
