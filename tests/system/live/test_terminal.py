"""The live view in the terminal: Textual's pilot presses its keys on a real lab."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from labctl.lab import Lab
from labctl.live.dialogs import Agree, Pick, Read
from labctl.live.screen import LiveView
from labctl.store.folders import LabFolder
from tests.support.command import PATIENCE_S, Labctl, until

pytestmark = pytest.mark.system

Act = Callable[[LiveView, Pilot[None]], Awaitable[None]]


def with_view(lab: Labctl, act: Act, size: tuple[int, int] = (80, 24)) -> None:
    """Do something in a live view of the lab once it shows a healthy one."""

    async def go() -> None:
        view = LiveView(Lab("sentinel", LabFolder(lab.lab_folder("sentinel"))))
        async with view.run_test(size=size) as pilot:
            await shows(view, pilot, "● healthy")
            await act(view, pilot)

    asyncio.run(go())


def board(view: LiveView) -> str:
    """What stands on the board."""
    return str(view._board.content)


async def wait(pilot: Pilot[None], look: Callable[[], object], what: str) -> None:
    """Wait until there is something."""
    end = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < end, f"there never was {what}; at last:\n{board(pilot.app)}"  # type: ignore[arg-type]
        await pilot.pause(0.05)


async def shows(view: LiveView, pilot: Pilot[None], text: str) -> None:
    """Wait until the board has a text."""
    await wait(pilot, lambda: text in board(view), repr(text))


async def asked(view: LiveView, pilot: Pilot[None], kind: type) -> None:
    """Wait until a dialog of this kind is open."""
    await wait(pilot, lambda: isinstance(view.screen, kind) and view.screen.is_mounted, kind.__name__)
    await pilot.pause()


async def previewed(view: LiveView, pilot: Pilot[None], text: str) -> None:
    """Wait until the open confirmation says something."""
    await asked(view, pilot, Agree)
    await wait(pilot, lambda: text in str(view.screen.query_one("#preview", Static).content), repr(text))


def test_every_server_and_who_believes_in_whom(lab: Labctl) -> None:
    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        for words in (
            "◆ redis-1 primary",
            "● redis-2 replica",
            "● redis-3 replica",
            "sentinel-3 → redis-1",
            "clients-b redis-1",
        ):
            await shows(view, pilot, words)
        assert len(board(view).split("\n")) == 23, "a line for each of the terminal, but one for the keys"

    with_view(lab, act)


def test_a_fault_is_done_when_it_was_agreed_to_and_healed_with_a_key(lab: Labctl) -> None:
    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        await pilot.press("k")
        await asked(view, pilot, Pick)
        await pilot.press(*"redis-3", "enter")
        await previewed(view, pilot, "end redis-3 by kill")
        assert lab.json("chaos", "ls") == [], "nothing happens before it was agreed to"
        await pilot.press("right", "right", "right")
        await wait(
            pilot, lambda: "until healed" in str(view.screen.query_one("#asked", Static).content), "the duration"
        )
        await wait(pilot, lambda: view.screen._ready, "what would follow now")  # type: ignore[attr-defined]
        await previewed(view, pilot, "end redis-3 by kill")
        await pilot.press("enter")
        await shows(view, pilot, "✖ redis-3 down")
        await shows(view, pilot, "until healed")
        (fault,) = lab.json("chaos", "ls")
        assert (fault["kind"], fault["target"], fault["ends_ns"]) == ("kill", "redis-3", None)
        await pilot.press("h")
        await shows(view, pilot, "● redis-3 replica")
        await wait(pilot, lambda: any(e["kind"] == "fault-end" for e in view.watching.events), "the end of the fault")
        assert lab.json("chaos", "ls") == []

    with_view(lab, act)


def test_who_changes_their_mind_breaks_nothing(lab: Labctl) -> None:
    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        await asked(view, pilot, Pick)
        assert view.screen.query_one(OptionList).get_option_at_index(0).id == "primary,clients-a"
        await pilot.press("enter")
        await previewed(view, pilot, "split brain")
        await pilot.press("escape")
        await wait(pilot, lambda: len(view.screen_stack) == 1, "the board")
        await pilot.press("z")
        await asked(view, pilot, Pick)
        await pilot.press("escape")
        await wait(pilot, lambda: len(view.screen_stack) == 1, "the board")
        assert lab.json("chaos", "ls") == []

    with_view(lab, act)


def test_what_cannot_be_done_is_said_and_not_done(lab: Labctl) -> None:
    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        await pilot.press("f")
        await asked(view, pilot, Pick)
        await pilot.press(*"isolate", "enter")
        await wait(
            pilot, lambda: "isolate: which" in str(view.screen.query_one(".title", Static).content), "the targets"
        )
        await pilot.press(*"redis-9", "enter")
        await previewed(view, pilot, "'redis-9' is no target in lab sentinel")
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert isinstance(view.screen, Agree), "there is nothing to agree to"
        assert lab.json("chaos", "ls") == []

    with_view(lab, act)


def test_what_is_cut_is_listed(lab: Labctl) -> None:
    lab.run("chaos", "isolate", "redis-2", "--for", "1h")

    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        await shows(view, pilot, "✂ cut off from everybody")
        await pilot.press("b")
        await asked(view, pilot, Read)
        text = "\n".join(str(widget.content) for widget in view.screen.query(Static))
        assert "redis-2 → redis-1  blackhole" in text
        assert "redis-2 ⇄ redis-3  blackhole" in text

    async def go() -> None:
        view = LiveView(Lab("sentinel", LabFolder(lab.lab_folder("sentinel"))))
        async with view.run_test(size=(100, 40)) as pilot:
            await act(view, pilot)

    asyncio.run(go())


def test_it_fits_whatever_size_the_terminal_takes(lab: Labctl) -> None:
    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        for width, height in ((160, 45), (60, 20), (80, 24)):
            await pilot.resize_terminal(width, height)
            await wait(pilot, lambda: len(board(view).split("\n")) == height - 1, f"{height - 1} lines")  # noqa: B023
            assert max(map(len, board(view).split("\n"))) <= width

    with_view(lab, act)


def test_it_outlives_the_labs_agent(lab: Labctl) -> None:
    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        _, agent = lab.agents()
        agent.kill()
        await wait(pilot, lambda: any(e["kind"] == "agent" for e in view.watching.events), "another agent's word")
        assert view.watching.frame is not None
        before = view.watching.frame.at_s
        await wait(pilot, lambda: view.watching.frame.at_s > before, "a frame of another agent")  # type: ignore[union-attr]
        await wait(pilot, lambda: not view.watching.trouble, "an end of the trouble")

    with_view(lab, act)


def primary(lab: Labctl) -> str:
    """It may be another one: while an agent is gone every link is cut, and Sentinels may take that for a failure."""
    nodes = lab.well()["view"]["nodes"]
    return str(next(node["name"] for node in nodes if node["role"] == "primary"))


def test_when_nobody_looks_nothing_is_asked(lab: Labctl) -> None:
    asked = primary(lab)

    def clients() -> int:
        text = str(lab.json("cli", asked, "INFO", "clients")["reply"])
        return int(next(line.split(":")[1] for line in text.splitlines() if line.startswith("connected_clients")))

    meanwhile = []

    async def act(view: LiveView, pilot: Pilot[None]) -> None:
        await wait(pilot, lambda: view.watching.frame is not None and len(view.watching.frame.pings) == 3, "PINGs")
        meanwhile.append(await asyncio.to_thread(clients))

    with_view(lab, act)
    until(lambda: clients() <= meanwhile[0] - 3, "an end of the connections that PINGs go over, one for each group")


def test_on_a_real_terminal_q_leaves(lab: Labctl) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "labctl", "status", "--watch"],
        env={**os.environ, "LABCTL_HOME": str(lab.home), "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    with os.fdopen(ours, "r+b", buffering=0) as screen:
        said, pressed = b"", False
        with suppress(OSError):  # the end of a terminal that nobody holds any more
            while data := screen.read(65536):
                said += data
                if not pressed and b"sentinel-3" in said:
                    screen.write(b"q")
                    pressed = True
    assert process.wait(PATIENCE_S) == 0, said.decode(errors="replace")
    assert b"Traceback" not in said
    assert "◆ redis-".encode() in said


def test_without_a_terminal_there_is_a_line_a_second_and_one_for_each_event(lab: Labctl) -> None:
    leads = primary(lab)
    replica = next(name for name in ("redis-2", "redis-3") if name != leads)
    lines = lab.start("status", "--watch")
    until(lambda: f"{leads} primary" in lines.out, "a summary")
    lab.run("chaos", "pause", replica, "--for", "1h")
    until(lambda: "fault" in lines.out and f"{replica} paused" in lines.out, "the fault and what it does")
    lines.send(signal.SIGINT)
    done = lines.finish(code=130)
    assert "\x1b" not in done.out
    assert all(line[2] == line[5] == ":" for line in done.out.splitlines()), "each line begins with a time"
