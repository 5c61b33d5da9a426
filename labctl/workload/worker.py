"""Load from a process of its own, so that it does not share an interpreter lock with the rest of labctl.

`python -m labctl.workload` is the worker. It reads a `WorkerSpec` as one line of JSON, then a word a line: `stop` ends
the load, `final-reads` reads back; the end of input ends the load and the worker. It answers a line of JSON to each:
`{"did": "prepare" | "run" | "final-reads"}`, or `{"error": …, "hint": …, "code": …}` and the exit code with it. Secrets
go through its standard input, never through its arguments. It writes a history segment of its own; `read_history` joins
the segments of a run.

`Worker` is the other end, for whoever starts one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from labctl.errors import Exit, LabError, UsageError
from labctl.model.endpoints import Endpoints
from labctl.model.scenario import Workload
from labctl.store import codec
from labctl.store.history import HistoryWriter
from labctl.workload.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

_END_S = 10.0
_LINE_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything that a worker needs to know.

    Attributes:
        workloads: As declared.
        endpoints: The lab by client group. Has the password.
        history: The segment to write, which must not exist.
        seed, namespace, first_process: As `Runner`; the same workload in two workers wants two namespaces.
    """

    workloads: tuple[Workload, ...]
    endpoints: dict[str, Endpoints]
    history: str
    seed: int
    namespace: str = "w"
    first_process: int = 0


async def serve(lines: asyncio.StreamReader, say: Callable[[dict[str, object]], None]) -> None:
    """The worker's whole life.

    Raises:
        LabError: The spec is wrong, or the lab could not be prepared.
    """
    spec = codec.from_json(WorkerSpec, await lines.readline())
    with HistoryWriter(Path(spec.history), header={"namespace": spec.namespace}) as writer:
        runner = Runner(
            spec.workloads,
            spec.endpoints,
            writer,
            seed=spec.seed,
            namespace=spec.namespace,
            first_process=spec.first_process,
        )
        async with runner:
            say({"did": "prepare"})
            stop = asyncio.Event()
            running = asyncio.create_task(runner.run(stop))
            told = asyncio.create_task(lines.readline())
            await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await running
            say({"did": "run"})
            if await told and (await lines.readline()).strip() == b"final-reads":
                await runner.final_reads()
                writer.flush()
                say({"did": "final-reads"})


async def main() -> int:
    """Serve standard input and output; returns the exit code."""

    def say(message: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    lines = asyncio.StreamReader(limit=_LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    try:
        await serve(lines, say)
    except LabError as error:
        say({"error": error.message, "hint": error.hint, "code": int(error.exit_code)})
        return int(error.exit_code)
    except ValueError as error:  # pydantic's, which may quote its input: a password
        say({"error": f"not a worker's spec ({type(error).__name__})", "hint": "See WorkerSpec.", "code": Exit.USAGE})
        return int(Exit.USAGE)
    return 0


class Worker:
    """A worker process. Use it as an async context manager; leaving ends it."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "labctl.workload",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        line = " ".join(codec.to_json(self._spec).splitlines())
        self._tell(line)
        try:
            await self._expect("prepare")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def stop(self) -> None:
        """End the load; returns when every operation has ended and is on disk. Raises LabError."""
        self._tell("stop")
        await self._expect("run")

    async def final_reads(self) -> None:
        """Read back what the lab kept. Raises LabError."""
        self._tell("final-reads")
        await self._expect("final-reads")

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def _expect(self, did: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line else {"error": "the load's process ended", "code": 4}
        if "error" in message:
            kind = UsageError if message["code"] == Exit.USAGE else LabError
            raise kind(message["error"], message.get("hint", ""))
        assert message == {"did": did}, message

    async def _end(self) -> None:
        """Close its input, which ends it; kill it when that doesn't."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
