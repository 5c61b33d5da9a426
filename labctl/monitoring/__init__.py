"""Prometheus and Grafana beside the labs of a state folder: started, found, and ended again without leaving anything."""
