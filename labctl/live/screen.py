"""`labctl status --watch` on a terminal: the board, and keys that break and heal."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.message import Message
from textual.widgets import Footer, Static

from labctl.errors import LabError
from labctl.faults.registry import FAULTS
from labctl.live import panels
from labctl.live.board import board
from labctl.live.choices import Choice, failover, kinds, targets
from labctl.live.dialogs import Agree, Pick, Read
from labctl.live.watching import Watch
from labctl.live.words import BAD

if TYPE_CHECKING:
    from labctl.lab import Lab

EVERYTHING = "all"


class Came(Message):
    """There is something new to draw."""

    def can_replace(self, message: Message) -> bool:
        """One drawing is enough for all that came meanwhile."""
        return isinstance(message, Came)


class LiveView(App[None]):
    """One lab, live.

    Args:
        lab: Which.
    """

    TITLE = "labctl"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #board { height: 1fr; padding: 0 0; }
    Pick, Agree, Read { align: center middle; background: $background 60%; }
    .dialog { width: 90%; max-width: 110; height: auto; max-height: 80%; border: round $primary; padding: 0 1;
              background: $surface; }
    .tall { height: 80%; }
    .title { margin-bottom: 1; }
    Pick OptionList { height: auto; max-height: 100%; margin-top: 1; border: none; background: $surface; }
    #follows { height: auto; max-height: 20; }
    #keys { margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "break('kill')", "Kill"),
        Binding("p", "break('partition')", "Partition"),
        Binding("z", "break('pause')", "Pause"),
        Binding("l", "break('latency')", "Latency"),
        Binding("o", "failover", "Failover"),
        Binding("f", "break('')", "More"),
        Binding("h", "heal", "Heal"),
        Binding("b", "links", "Links"),
        Binding("q,ctrl+c", "quit", "Quit"),
        Binding("e", "events", "Events"),  # the last ones are not seen in 80 columns
        Binding("d", "shade", "Dark/light"),
    ]

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self._lab = lab
        self.watching = Watch(lab)
        self._board = Static(id="board")

    def compose(self) -> ComposeResult:
        """The board and the keys."""
        yield self._board
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Start reading the feed."""
        self._say("Looking …")
        threading.Thread(target=self._read, name="live view", daemon=True).start()

    def on_unmount(self) -> None:
        """The reading thread ends."""
        self.watching.close()

    def on_resize(self, _: Resize) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self.draw)

    def _read(self) -> None:
        """In a thread of its own: take in messages, draw when a frame has come."""
        with closing(self.watching.follow()) as messages:
            for kind in messages:
                if kind in ("frame", "trouble"):
                    self.post_message(Came())

    @on(Came)
    def _came(self) -> None:
        self.draw()

    def draw(self) -> None:
        """The board, for the size that it has."""
        width, height = self._board.size
        known = self.watching.state
        if known is None or not width or not height:
            if self.watching.trouble:
                self._say(self.watching.trouble)
            return
        lines = board(known, width, height)
        if self.watching.trouble:
            lines[0] = Text(panels.one_line(f"▲ {self.watching.trouble}", width), BAD)
        self._board.update(Text("\n").join(lines))

    def _say(self, text: str) -> None:
        self._board.update(Text(text))

    # Keys

    def action_failover(self) -> None:
        """The failover that an operator would ask for here."""
        if self.watching.frame is not None:
            self.action_break(failover(self.watching.frame.kind))

    @work(group="dialog", exclusive=True)
    async def action_break(self, kind: str) -> None:
        """Ask for what is missing, show what would follow, inject when that is agreed to."""
        frame = self.watching.frame
        if frame is None:
            return
        if not kind:
            picked = await self.push_screen_wait(Pick("Which fault?", kinds()))
            kind = picked or ""
        if kind not in FAULTS:
            return
        title = f"{kind}: which target?"
        target = await self.push_screen_wait(Pick(title, targets(kind, frame), free=True))
        if not target:
            return
        seed = random.randrange(2**31)  # what was shown is what is done, where chance decides

        async def preview(lasts_s: float | None) -> RenderableType:
            return panels.planned(await self._ask(kind, target, lasts_s, seed, dry_run=True))

        lasts = not FAULTS[kind].momentary
        agreed = await self.push_screen_wait(Agree(f"{kind} {target}", preview, lasts=lasts))
        if agreed is False:
            return
        await self._report(f"{kind} {target}", self._ask(kind, target, agreed, seed, dry_run=False))

    @work(group="dialog", exclusive=True)
    async def action_heal(self) -> None:
        """One fault, or all of them."""
        standing = self.watching.frame.faults if self.watching.frame is not None else ()
        if not standing:
            self.notify("No fault is in force.")
            return
        chosen: str | None = str(standing[0].id)
        if len(standing) > 1:
            choices = [Choice(EVERYTHING, f"{len(standing)} faults")]
            choices += [Choice(str(fault.id), f"{fault.kind} {fault.target}") for fault in standing]
            chosen = await self.push_screen_wait(Pick("Heal which?", choices))
        if chosen is None:
            return
        query = {} if chosen == EVERYTHING else {"id": [int(chosen)]}
        await self._report("heal", asyncio.to_thread(self._lab.call, "DELETE", "/faults", **query))

    def action_links(self) -> None:
        """Every link with something wrong."""
        if self.watching.frame is not None:
            self.push_screen(Read("Links that are cut or carry on badly", panels.broken_links(self.watching.frame)))

    def action_events(self) -> None:
        """Everything that happened since the view was opened, and a while before."""
        every = list(self.watching.events)
        self.push_screen(Read("Events", panels.events(every, 400, len(every)), at_end=True))

    def action_shade(self) -> None:
        """Dark or light, as the room is."""
        self.theme = "textual-light" if self.theme == "textual-dark" else "textual-dark"

    async def _ask(self, kind: str, target: str, lasts_s: float | None, seed: int, *, dry_run: bool) -> Any:
        fault = {"kind": kind, "target": target, "duration_s": lasts_s}
        body = {"fault": fault, "seed": seed, "dry_run": dry_run}
        return await asyncio.to_thread(self._lab.call, "POST", "/faults", body)

    async def _report(self, what: str, work: Any) -> None:
        """What became of it: a word when it went well, the agent's reason when not."""
        self.notify(f"{what} …", timeout=2)
        try:
            await work
        except LabError as error:
            self.notify(f"{error.message}\n{error.hint}", title=what, severity="error", timeout=12, markup=False)


def run(lab: Lab) -> None:
    """Until the user leaves."""
    LiveView(lab).run()
