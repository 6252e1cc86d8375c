"""The flight recorder: the last minutes of every topic of the suite, and what they say."""
