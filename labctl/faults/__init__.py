"""Kinds of faults as pure functions from the observed lab to actions, and what claims come to."""
