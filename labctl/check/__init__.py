"""Pure functions from a history to findings: one file a checker, and the registry."""
