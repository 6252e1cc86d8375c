"""Faults, made on purpose: what stops the robot, and how soon.

`vla bench faults` measures them; test/system/test_faults*.py try them.
"""
