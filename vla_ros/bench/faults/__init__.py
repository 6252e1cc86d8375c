"""Faults, made on purpose: what stops the robot, and how soon. `vla bench faults`;
test/system/test_faults.py."""
