"""The only code that imports rclpy: thin lifecycle nodes over core/, safety/ and policies/."""
