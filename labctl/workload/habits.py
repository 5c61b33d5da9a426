"""The habits of the application that a workload plays: its timeouts, retries, reads from replicas and durability."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.workload.options import Options


class Driver(StrEnum):
    """Which client sends the commands."""

    REDIS_PY = "redis-py"
    LEAN = "lean"


@dataclass(frozen=True, slots=True)
class Habits:
    """How the application uses its client.

    Attributes:
        driver: `redis-py`, what applications use; or `lean`, an own client on hiredis that spends a quarter of the
            processor time on an operation, for generating load.
        timeout_ms: Longest wait for a reply. (redis-py's own default is 5000 in version 8 and none before.)
        connect_timeout_ms: Longest wait for a connection.
        retries: Attempts after the first that the client makes by itself on a lost connection or a timeout. Pinned, for
            redis-py's default differs by version (none, 3, 10). A retried INCR may count twice.
        retry_base_ms: First pause between attempts; doubles each time.
        retry_cap_ms: Longest pause between attempts.
        pool: Most connections to one server that the clients of a workload share; 0 for one each. Too few and
            operations fail with `PoolExhausted`, as redis-py's default pool does. The lean client has no pool.
        read_from_replica: Reads go to replicas, in turn.
        wait_replicas: After each write WAIT for this many replicas; fewer make the write unknown. 0 for no WAIT.
        wait_ms: Timeout of WAIT and WAITAOF. Has to be below `timeout_ms`, or the connection times out first.
        waitaof_local: After each write WAITAOF for the primary's own append-only file (0 or 1).
        waitaof_replicas: After each write WAITAOF for this many replicas' append-only files.
        error_pause_ms: Pause of a closed-loop client after an operation that did not succeed, lest a refused
            connection is retried thousands of times a second.
    """

    driver: Driver = Driver.REDIS_PY
    timeout_ms: float = 1000.0
    connect_timeout_ms: float = 1000.0
    retries: int = 0
    retry_base_ms: float = 10.0
    retry_cap_ms: float = 1000.0
    pool: int = 0
    read_from_replica: bool = False
    wait_replicas: int = 0
    wait_ms: float = 500.0
    waitaof_local: int = 0
    waitaof_replicas: int = 0
    error_pause_ms: float = 10.0

    @classmethod
    def read(cls, options: Options) -> Habits:
        """The habits among a workload's options; problems are left with `options`."""
        defaults = cls()
        habits = cls(
            driver=Driver(options.choice("driver", defaults.driver, tuple(Driver))),
            timeout_ms=options.number("timeout_ms", defaults.timeout_ms, above=0),
            connect_timeout_ms=options.number("connect_timeout_ms", defaults.connect_timeout_ms, above=0),
            retries=options.whole("retries", defaults.retries),
            retry_base_ms=options.number("retry_base_ms", defaults.retry_base_ms),
            retry_cap_ms=options.number("retry_cap_ms", defaults.retry_cap_ms),
            pool=options.whole("pool", defaults.pool),
            read_from_replica=options.flag("read_from_replica", defaults.read_from_replica),
            wait_replicas=options.whole("wait_replicas", defaults.wait_replicas),
            wait_ms=options.number("wait_ms", defaults.wait_ms, above=0),
            waitaof_local=options.whole("waitaof_local", defaults.waitaof_local, most=1),
            waitaof_replicas=options.whole("waitaof_replicas", defaults.waitaof_replicas),
            error_pause_ms=options.number("error_pause_ms", defaults.error_pause_ms),
        )
        if habits.waits and habits.wait_ms >= habits.timeout_ms:
            options.problem(
                f"wait_ms {habits.wait_ms:g} has to be below timeout_ms {habits.timeout_ms:g}, or the connection times "
                "out before WAIT can answer"
            )
        if habits.wait_replicas and (habits.waitaof_local or habits.waitaof_replicas):
            options.problem("wait_replicas and waitaof_* exclude each other: WAITAOF counts what WAIT would, on disk")
        return habits

    @property
    def waits(self) -> bool:
        """Whether each write is followed by WAIT or WAITAOF."""
        return bool(self.wait_replicas or self.waitaof_local or self.waitaof_replicas)

    @property
    def wait_command(self) -> tuple[str | int, ...]:
        """WAIT or WAITAOF with its arguments."""
        if self.waitaof_local or self.waitaof_replicas:
            return ("WAITAOF", self.waitaof_local, self.waitaof_replicas, int(self.wait_ms))
        return ("WAIT", self.wait_replicas, int(self.wait_ms))

    def satisfied_by(self, reply: object) -> bool:
        """Whether WAIT's or WAITAOF's reply counts as many copies as wanted."""
        if isinstance(reply, int):
            return reply >= self.wait_replicas
        if isinstance(reply, list) and len(reply) == 2:
            local, replicas = reply
            return bool(local >= self.waitaof_local and replicas >= self.waitaof_replicas)
        return False
