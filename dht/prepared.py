"""Answers kept ready: the nearest nodes to any target of one bucket, in wire form.

For every target of a bucket the same nodes come into question, only their order differs, and even
that only as far as the target's leading bits tell those nodes apart. Two targets that agree in
these bits, a *zone*, get the same answer to the byte; so an answer is put together once for each
zone that is asked for. A full bucket has eight nodes to choose eight from, and thus a single zone.
"""

from collections.abc import Sequence
from heapq import nsmallest
from itertools import pairwise
from typing import Final

from dht.keyspace import ID_BITS

ZONES_MAX: Final = 1_024
"""Answers kept of one bucket, of 208 or 304 bytes each; then it starts afresh."""


class PreparedNodes:
    """The nearest nodes to the targets of one bucket.

    Attributes:
        until: When the first of the nodes stops being good, and with it this object.
    """

    def __init__(self, pool: Sequence[tuple[int, bytes]], count: int, *, until: float) -> None:
        """Take the nodes that come into question.

        Args:
            pool: Key and compact contact of each.
            count: How many go into an answer.
            until: When the first of them stops being good, in monotonic seconds.
        """
        self.until = until
        self._pool = pool
        self._count = count
        self._zone_shift = ID_BITS - _telling_bits(pool) if len(pool) > count else ID_BITS
        self._zones: dict[int, bytes] = {}

    def nearest(self, key: int) -> bytes:
        """Return the nearest nodes to a target, given as an integer, in wire form."""
        zone = key >> self._zone_shift
        answer = self._zones.get(zone)
        if answer is None:
            if len(self._zones) >= ZONES_MAX:
                self._zones.clear()
            answer = self._zones[zone] = self._choose(key)
        return answer

    def _choose(self, key: int) -> bytes:
        chosen = nsmallest(self._count, self._pool, key=lambda node: node[0] ^ key)
        return b"".join(compact for _, compact in chosen)


def _telling_bits(pool: Sequence[tuple[int, bytes]]) -> int:
    """Return how many leading bits tell all nodes apart, and so decide their order of distance.

    Of sorted keys, neighbours have the longest prefixes in common. Nodes that share one id are in
    no order of distance, and all bits tell as much as can be told.
    """
    keys = sorted(key for key, _ in pool)
    return 1 + ID_BITS - max(1, min((a ^ b).bit_length() for a, b in pairwise(keys)))
