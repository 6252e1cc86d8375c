"""A LeRobot checkpoint as a policy of ours; none of LeRobot's code, and none of a checkpoint's."""
