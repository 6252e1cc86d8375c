"""How good a policy is, and by which numbers: metrics, episodes, reports."""
