"""Where `labctl.model.conditions` was; for code that still looks here."""

from labctl.model.conditions import (
    converged,
    healthy,
    primaries,
    primary,
    replicas_of,
    slot_owner,
    without,
)

__all__ = ["converged", "healthy", "primaries", "primary", "replicas_of", "slot_owner", "without"]
