"""Frozen types that every other part speaks. Nothing here does anything."""
