"""The parts that every node agrees on: plain data and pure functions, on numpy alone."""
