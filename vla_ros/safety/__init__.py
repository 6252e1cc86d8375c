"""The gate: what may reach the robot. A state machine and a table of rules, without a clock."""
