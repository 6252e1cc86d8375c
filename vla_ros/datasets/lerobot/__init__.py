"""LeRobotDataset v3.0 and v2.1, without LeRobot."""
