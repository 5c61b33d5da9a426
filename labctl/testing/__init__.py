"""Labs in Python and in pytest: `labctl.redis_lab`, the same as a fixture, and what both stand on.

Importing this costs nothing; every module below it is imported by whoever needs it.
"""
