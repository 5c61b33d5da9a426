"""Where servers run: local processes now; Docker and Kubernetes behind the same small Protocol."""
