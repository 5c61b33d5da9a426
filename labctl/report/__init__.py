"""Pure renderers of what was observed and stored."""
