"""The operator's page: what the robot sees and does and why, the words, and a stop in reach."""
