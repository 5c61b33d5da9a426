"""Write the dashboards."""

from __future__ import annotations

from labctl.monitoring.boards.pages import all_boards
from labctl.monitoring.shipped import dashboards

for name, document in all_boards().items():
    (dashboards() / f"{name}.json").write_text(document)
