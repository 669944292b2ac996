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


class PreparedNodes(dict[int, bytes]):
    """The nearest nodes to the targets of one bucket, in wire form, by zone.

    `prepared[target >> prepared.zone_shift]` is the answer, put together when first asked for.

    Attributes:
        until: When the first of the nodes stops being good, and with it this object.
        zone_shift: By how many bits to shift a target, given as an integer, to get its zone.
    """

    def __init__(self, pool: Sequence[tuple[int, bytes]], count: int, *, until: float) -> None:
        """Take the nodes that come into question.

        Args:
            pool: Key and compact contact of each.
            count: How many go into an answer.
            until: When the first of them stops being good, in monotonic seconds.
        """
        super().__init__()
        self.until = until
        self.zone_shift = ID_BITS - _telling_bits(pool) if len(pool) > count else ID_BITS
        self._pool = pool
        self._count = count

    def __missing__(self, zone: int) -> bytes:
        """Put together the answer for a zone; for any target in it, for instance its lowest."""
        if len(self) >= ZONES_MAX:
            self.clear()
        key = zone << self.zone_shift
        chosen = nsmallest(self._count, self._pool, key=lambda node: node[0] ^ key)
        answer = self[zone] = b"".join(compact for _, compact in chosen)
        return answer


def _telling_bits(pool: Sequence[tuple[int, bytes]]) -> int:
    """Return how many leading bits tell all nodes apart, and so decide their order of distance.

    Of sorted keys, neighbours have the longest prefixes in common. Nodes that share one id are in
    no order of distance, and all bits tell as much as can be told.
    """
    keys = sorted(key for key, _ in pool)
    return 1 + ID_BITS - max(1, min((a ^ b).bit_length() for a, b in pairwise(keys)))
