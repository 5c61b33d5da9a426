"""What happens to packets on their way: lost, twice, damaged, late, out of order. Pure: clock and randomness are arguments.

One `Impairments` for each pair of sender and receiver that a fault is about. Its claims act one after the other, the oldest
first, each on what those before it let through.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from labctl.model.fault import HoldImpaired, Impairment

Timed = tuple[float, bytes]
"""When a packet is to go on, and the packet, from the first byte of its IP header."""


@dataclass(slots=True)
class Count:
    """Of one claim on one pair.

    Attributes:
        seen: Packets that came to it.
        acted: Of these, how many it lost, doubled, damaged or held back.
    """

    seen: int = 0
    acted: int = 0


class Impairments:
    """The claims on one pair, and what they have done so far.

    Args:
        claims: The oldest first.
        before: Claims that stood already go on counting and drawing where they are.
    """

    def __init__(self, claims: Iterable[HoldImpaired], before: Impairments | None = None) -> None:
        old = {stage.claim: stage for stage in before.stages} if before is not None else {}
        self.stages: tuple[_Stage, ...] = tuple(old.get(claim) or _Stage(claim) for claim in claims)

    @property
    def counts(self) -> dict[HoldImpaired, Count]:
        """What each has done so far."""
        return {stage.claim: stage.count for stage in self.stages}

    def take(self, packet: bytes, now: float) -> list[Timed]:
        """What becomes of a packet that was sent at `now`: what goes on, and when."""
        packets: list[Timed] = [(now, packet)]
        for stage in self.stages:
            packets = [timed for each in packets for timed in stage.take(*each)]
        return packets


class _Stage:
    __slots__ = ("_last", "_random", "claim", "count")

    def __init__(self, claim: HoldImpaired) -> None:
        self.claim = claim
        self.count = Count()
        self._random = Random(f"{claim.link.name} {claim.what} {claim.seed}")
        self._last = 0.0

    def take(self, at: float, packet: bytes) -> list[Timed]:
        """What it makes of one packet."""
        claim = self.claim
        self.count.seen += 1
        if claim.share < 1 and self._random.random() >= claim.share:
            return [(at, packet)]
        self.count.acted += 1
        match claim.what:
            case Impairment.LOSS:
                return []
            case Impairment.DUPLICATE:
                return [(at, packet), (at, packet)]
            case Impairment.CORRUPT:
                return [(at, self._damaged(packet))]
            case Impairment.REORDER:
                return [(at + claim.ms / 1000, packet)]
            case Impairment.DELAY:
                return [(self._late(at), packet)]

    def _late(self, at: float) -> float:
        """In order: a delay is a long wire, and what overtakes is a matter of REORDER."""
        jitter = self._random.uniform(-self.claim.jitter_ms, self.claim.jitter_ms) if self.claim.jitter_ms else 0.0
        self._last = max(self._last, at + max(0.0, self.claim.ms + jitter) / 1000)
        return self._last

    def _damaged(self, packet: bytes) -> bytes:
        """One bit behind the IP header is another one, which the checksum of TCP or UDP tells."""
        header = (packet[0] & 15) * 4
        if header >= len(packet):
            return packet
        damaged = bytearray(packet)
        damaged[self._random.randrange(header, len(packet))] ^= 1 << self._random.randrange(8)
        return bytes(damaged)
