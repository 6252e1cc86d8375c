"""Runs a Vision-Language-Action policy on a robot, behind a gate."""

__version__ = "0.2.0"
