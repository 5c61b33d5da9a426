"""`labctl`, and `python -m labctl` for whoever has no `labctl` on PATH."""

from __future__ import annotations

import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """The command line. Ctrl-C is no traceback even while it is still being loaded."""
    try:
        from labctl.cli import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
