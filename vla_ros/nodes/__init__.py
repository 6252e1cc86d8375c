"""The six lifecycle nodes: thin ROS around core/, safety/ and policies/."""
