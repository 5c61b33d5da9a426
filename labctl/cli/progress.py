"""What is happening now: a spinner on a terminal, plain lines elsewhere, nothing with -o json. On standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[str], None]


@contextmanager
def steps(what: str, *, quiet: bool = False) -> Iterator[Step]:
    """Yield a function that says what is being done."""
    if quiet:
        yield lambda _: None
        return
    started = time.monotonic()

    def line(text: str) -> None:
        print(f"{time.monotonic() - started:6.2f} s  {text}", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield line
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    screen = Console(stderr=True, markup=False, highlight=False)
    with screen.status(what) as spinner:

        def step(text: str) -> None:
            screen.print(Text.assemble((f"{time.monotonic() - started:6.2f} s", "dim"), f"  {text}"))
            spinner.update(Text(f"{what}: {text}"))

        yield step
