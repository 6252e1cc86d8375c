"""The simulated robot, its room, and what happens there. Without ROS, but for node.py."""
