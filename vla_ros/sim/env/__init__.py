"""Anybody's gymnasium environment as a simulated robot: `vla sim`."""
