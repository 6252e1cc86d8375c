"""`vla demo`: a simulated robot follows instructions, and is filmed."""
