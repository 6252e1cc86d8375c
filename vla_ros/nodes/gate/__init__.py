"""The gate's ends in ROS."""
