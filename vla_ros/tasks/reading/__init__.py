"""From what a person says to what is meant: numpy alone, a few milliseconds a sentence."""
