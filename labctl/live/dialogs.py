"""The terminal's dialogs: choose from a list, agree to a fault, read something long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from labctl.live.choices import DURATIONS_S, USUAL_DURATION, Choice, duration, matching
from labctl.live.words import BAD, FAINT


class Pick(ModalScreen[str | None]):
    """Choose one of a list; typing narrows it, and where nothing matches what was typed is the answer.

    Args:
        title: What is asked.
        choices: What there is.
        free: Whether something that is not in the list may be typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("down", "move(1)", show=False),
        Binding("up", "move(-1)", show=False),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], *, free: bool = False) -> None:
        super().__init__()
        self._title = title
        self._choices = list(choices)
        self._free = free

    def compose(self) -> ComposeResult:
        """A line to type in, and the list."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._title, "bold"), classes="title")
            yield Input(placeholder="type to narrow, ↑ ↓ to choose, Enter", compact=True)
            yield OptionList(markup=False, compact=True)

    def on_mount(self) -> None:
        """Everything is offered."""
        self._offer("")
        self.query_one(OptionList).can_focus = False

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._offer(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        offered = self.query_one(OptionList)
        if offered.highlighted is not None and offered.option_count:
            self.dismiss(offered.get_option_at_index(offered.highlighted).id)
        elif self._free and event.value.strip():
            self.dismiss(event.value.strip())

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    def action_move(self, steps: int) -> None:
        """Highlight another one."""
        offered = self.query_one(OptionList)
        (offered.action_cursor_down if steps > 0 else offered.action_cursor_up)()

    def action_cancel(self) -> None:
        """Choose nothing."""
        self.dismiss(None)

    def _offer(self, typed: str) -> None:
        found = matching(self._choices, typed)
        width = max((len(choice.value) for choice in found), default=0)
        offered = self.query_one(OptionList)
        offered.clear_options()
        for choice in found:
            line = Text.assemble((choice.value.ljust(width), "bold"), f"  {choice.meaning}", no_wrap=True)
            offered.add_option(Option(line, id=choice.value))
        offered.highlighted = 0 if found else None


Preview = Callable[[float | None], Awaitable[RenderableType]]
"""A duration → what would be done and what would follow. Raises LabError when it cannot be done."""


class Agree(ModalScreen[float | None | bool]):
    """Show what a fault would do; the answer is how long it is to last, or False.

    Args:
        title: What is about to be done.
        preview: What would follow.
        lasts: Whether it lasts at all.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "cancel", "Cancel"),
        Binding("enter,y", "agree", "Do it"),
        Binding("left", "longer(-1)", show=False),
        Binding("right", "longer(1)", show=False),
    ]

    def __init__(self, title: str, preview: Preview, *, lasts: bool = True) -> None:
        super().__init__()
        self._title = title
        self._preview = preview
        self._lasts = lasts
        self._place = USUAL_DURATION
        self._ready = False

    def compose(self) -> ComposeResult:
        """Title, consequences, and the keys."""
        with Vertical(classes="dialog"):
            yield Static(classes="title", id="asked")
            with VerticalScroll(id="follows"):
                yield Static("…", id="preview")
            yield Static(id="keys")

    def on_mount(self) -> None:
        """Ask the agent what would follow."""
        self._show()

    @property
    def _duration_s(self) -> float | None:
        return DURATIONS_S[self._place]

    def action_longer(self, steps: int) -> None:
        """Another duration; what follows may be different then."""
        if self._lasts:
            self._place = (self._place + steps) % len(DURATIONS_S)
            self._ready = False
            self._show()

    def action_agree(self) -> None:
        """Only to what was shown."""
        if self._ready:
            self.dismiss(self._duration_s)

    def action_cancel(self) -> None:
        """Leave the lab as it is."""
        self.dismiss(False)

    @work(exclusive=True, group="preview")
    async def _show(self) -> None:
        from labctl.errors import LabError  # noqa: PLC0415

        lasts = f" for {duration(self._duration_s)}" if self._lasts else ""
        self.query_one("#asked", Static).update(Text.assemble((self._title, BAD), lasts))
        keys = "Enter do it   Esc cancel" + ("   ← → duration" if self._lasts else "")
        self.query_one("#keys", Static).update(Text(keys, FAINT))
        self._ready = False
        try:
            found = await self._preview(self._duration_s)
        except LabError as error:
            found = Text.assemble((error.message, BAD), f"\n{error.hint}")
        else:
            self._ready = True
        self.query_one("#preview", Static).update(found)


class Read(ModalScreen[None]):
    """Something long, to be scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "leave", "Back"),
    ]

    def __init__(self, title: str, lines: Sequence[Text], *, at_end: bool = False) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._at_end = at_end

    def compose(self) -> ComposeResult:
        """Title and text."""
        with Vertical(classes="dialog tall"):
            yield Static(Text(self._title, "bold"), classes="title")
            with VerticalScroll():
                yield Static(Text("\n").join(self._lines))

    def on_mount(self) -> None:
        """Keys scroll at once."""
        scroll = self.query_one(VerticalScroll)
        scroll.focus()
        if self._at_end:
            scroll.scroll_end(animate=False)

    def action_leave(self) -> None:
        """Back to the picture."""
        self.dismiss()
