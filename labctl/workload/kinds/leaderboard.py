"""`leaderboard`: scores in a sorted set."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process


class Leaderboard(WorkloadKind):
    """Players score points, and somebody looks at the first ten.

    History: `incr` (key: `BOARD/PLAYER`, value: [points, new score]) and a `final-read` of each player's score (the
    same key), for `counter-bounds`; `top` (key: the board, value: a list of [player, score], best first).

    Options:
        keys, distribution, theta, hot_share: Boards, see `Keys`; 1 by default.
        players: Members of each board.
        most: Most points at once.
        reads: Share of looks at the first ten.
    """

    name = "leaderboard"
    summary = "ZINCRBY and ZREVRANGE"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:  # noqa: ARG002
        self._boards = Keys(prefix, options, default=1)
        self._players = options.whole("players", 50, least=1, most=100_000)
        self._most = options.whole("most", 10, least=1)
        self._reads = options.number("reads", 0.2, most=1)

    async def step(self, process: Process) -> None:
        """One score, or one look."""
        board, client, rng = self._boards.choose(process.rng), process.client, process.rng
        if rng.random() < self._reads:
            await process.op("top", board, None, client.read("ZREVRANGE", board, 0, 9, "WITHSCORES", key=board), _pairs)
            return
        player, points = f"p{rng.randrange(self._players)}", rng.randint(1, self._most)
        request = client.write("ZINCRBY", board, points, player, key=board)
        await process.op("incr", f"{board}/{player}", [points, None], request, lambda score: [points, _whole(score)])

    async def final_reads(self, process: Process) -> None:
        """ZSCORE of every player."""
        for board in self._boards.all:
            for number in range(self._players):
                read = partial(process.client.read, "ZSCORE", board, f"p{number}", key=board)
                await process.final_read(f"{board}/p{number}", read, _whole)


def _whole(score: object) -> int | None:
    """A score as Redis writes it; these are whole."""
    return None if score is None else int(float(str(score)))


def _pairs(reply: object) -> list[list[object]]:
    """[player, score] pairs from a flat reply."""
    assert isinstance(reply, list)
    return [[player, _whole(score)] for player, score in zip(reply[::2], reply[1::2], strict=True)]
