"""Load on a lab: generators, a topology-aware client, and the error table that says what an error means."""
