"""One kind of workload a file."""
