"""Demonstrations, and how policies learn from them. The runtime never imports this package."""
