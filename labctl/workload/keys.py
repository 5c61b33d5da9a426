"""Which key an operation works on, and how its value looks on the wire."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from labctl.workload.options import Options


class Keys:
    """A fixed set of keys, `PREFIX:0` to `PREFIX:(n-1)`, and a distribution over them.

    Options:
        keys: How many.
        distribution: `uniform`; `zipfian`, where the key of rank r has weight r ** -theta; or `hot`, one key with a
            share of its own and the others uniform.
        theta: Skew of the zipfian distribution; 0.99 is the usual one of YCSB.
        hot_share: Share of the hot key.
    """

    def __init__(self, prefix: str, options: Options, *, default: int) -> None:
        count = options.whole("keys", default, least=1, most=1_000_000)
        self.distribution = options.choice("distribution", "uniform", ("uniform", "zipfian", "hot"))
        theta = options.number("theta", 0.99)
        self._hot_share = options.number("hot_share", 0.9, most=1)
        self.all = tuple(f"{prefix}:{number}" for number in range(count))
        weights = ((rank + 1) ** -theta for rank in range(count)) if self.distribution == "zipfian" else ()
        self._cumulative = list(accumulate(weights))

    def choose(self, rng: random.Random) -> str:
        """A key by the distribution. O(1), zipfian O(log n)."""
        if self._cumulative:
            return self.all[bisect_left(self._cumulative, rng.random() * self._cumulative[-1])]
        if self.distribution == "hot" and (rng.random() < self._hot_share or len(self.all) == 1):
            return self.all[0]
        first = 1 if self.distribution == "hot" else 0
        return self.all[first + int(rng.random() * (len(self.all) - first))]


class Values:
    """Unique integers, padded on the wire to a size that the workload states.

    Options:
        value_bytes: Length on the wire at least; 0 for the bare number.
    """

    def __init__(self, options: Options) -> None:
        self._bytes = options.whole("value_bytes", 0, most=64 * 1024 * 1024)

    def encode(self, value: int) -> str | int:
        """A value as it is sent."""
        return f"{value}".ljust(self._bytes, ".") if self._bytes else value

    @staticmethod
    def decode(text: object) -> int | None:
        """A value from what was read; None for a missing one."""
        return None if text is None else int(str(text).rstrip("."))
