"""Watching a lab: direct connections to each node, rounds of polls, and waiting for conditions."""
