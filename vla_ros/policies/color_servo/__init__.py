"""A policy that is not learned: finds the colour that the words name, and drives by it."""
