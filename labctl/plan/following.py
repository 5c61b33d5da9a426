"""Which targets can move: a fault that follows goes where the roles go that its target names."""

from __future__ import annotations

_MOVING = ("primary", "replicas", "sentinel-leader", "minority", "majority")
_MOVING_FORMS = ("replica-of:", "slot:", "key:")
_DRAWN = ("any", "halves", "bridge", "majorities-ring")


def unfollowable(*targets: str) -> str | None:
    """Why a fault with these targets has nothing to follow; None if it has.

    Args:
        targets: As spelled, each one or several with commas between; empty ones for none.
    """
    parts = [part.strip() for target in targets for part in target.split(",") if part.strip()]
    for part in parts:
        if part in _DRAWN or part.startswith("random:") or part.endswith("%"):
            return f"`{part}` is drawn at random and would be drawn anew each time"
    if not any(part in _MOVING or part.startswith(_MOVING_FORMS) for part in parts):
        return f"`{','.join(parts)}` means the same servers whatever their roles"
    return None
