"""How what was seen and what was said come together."""
