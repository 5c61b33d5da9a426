"""`chaos` as a group whose verbs are made when somebody asks for them.

There is a verb for each kind of fault, and the registry of faults takes longer to import than everything else that
`labctl --help` needs.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer.core import TyperCommand


class ChaosGroup(TyperGroup):
    """Knows its verbs by asking `labctl.cli.chaos`."""

    @cached_property
    def _made(self) -> Any:
        from labctl.cli.chaos import make_group  # noqa: PLC0415 - the point of this module

        return typer.main.get_group(make_group())

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the verbs, in the registry's order."""
        names: list[str] = self._made.list_commands(ctx)
        return names

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """A verb by name."""
        command: TyperCommand | None = self._made.get_command(ctx, cmd_name)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that `args` begin with; for a name that there is not, the near ones of the group that knows them."""
        return self._made.resolve_command(ctx, args)


def register(app: typer.Typer) -> None:
    """Add `chaos`, and `heal`, which stands beside it too."""
    group = typer.Typer(
        cls=ChaosGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Break something on purpose; it is reverted.",
    )

    @group.callback()
    def chaos() -> None:
        """Break something on purpose; it is reverted."""

    app.add_typer(group, name="chaos")
