"""Grafana's dashboards, described with the Grafana Foundation SDK: `python -m labctl.monitoring.boards` writes the JSON.

Only whoever changes a dashboard needs the SDK (`pip install labctl[dev]`); what is shipped is the JSON in `dashboards/`.
"""
