"""Demonstrations on disk: written, read, checked. No ROS, no torch."""
