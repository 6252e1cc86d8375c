"""What reads the fused features: actions, plans, auxiliary answers."""
