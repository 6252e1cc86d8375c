"""`vla bench`: measures the suite beside what it is compared with.

Numbers come from runs, never from files.
"""
