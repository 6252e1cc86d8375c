"""A simulated six-joint arm with a gripper on a table of blocks, cups and bowls."""
