"""YAML with positions to the model: shapes, consistency checks, JSON Schemas and the library of shipped files."""
