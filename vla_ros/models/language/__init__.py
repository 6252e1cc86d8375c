"""Language encoders, and the words that they know."""
