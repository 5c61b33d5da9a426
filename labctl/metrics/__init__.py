"""A lab's metrics for Prometheus: what redis_exporter would say of every node, under its names, and labctl's own.

Nothing in here but its socket (`endpoint`) is imported before somebody scrapes.
"""
