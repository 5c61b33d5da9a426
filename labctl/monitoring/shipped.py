"""Dashboards as they are shipped."""

from __future__ import annotations

from pathlib import Path


def dashboards() -> Path:
    """The folder with one JSON file a dashboard: in the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "data" / "dashboards"
    return installed if installed.is_dir() else package.parent / "dashboards"
