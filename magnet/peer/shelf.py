"""Which torrents are kept to be given away, of all that come along: the latest, within bounds.

Spec: BEP 9, for what is kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from dht.keyspace import InfoHash

COUNT_MAX: Final = 1_000
"""Torrents kept: hours of a busy service, and a megabyte for what belongs to each besides."""

BYTES_MAX: Final = 67_108_864
"""Bytes of metadata and layers kept, 64 MiB: a thousand of usual size, or two of the largest."""


class Shelf:
    """The torrents that are kept, by their keys; what they consist of is kept by the caller."""

    def __init__(self, count_max: int = COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        """Begin empty.

        Args:
            count_max: Torrents at most.
            bytes_max: Bytes of metadata and layers at most, over all.
        """
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._sizes: OrderedDict[tuple[InfoHash, ...], int] = OrderedDict()
        self._bytes = 0

    def add(self, keys: Sequence[InfoHash], size: int) -> list[InfoHash]:
        """Keep a torrent that is not here yet.

        Args:
            keys: Its info-hashes, as nobody else has them.
            size: Of its metadata and layers, in bytes.

        Returns:
            The keys of all that have to go for it; that may be its own.
        """
        self._sizes[tuple(keys)] = size
        self._bytes += size
        gone: list[InfoHash] = []
        while len(self._sizes) > self._count_max or self._bytes > self._bytes_max:
            oldest, freed = self._sizes.popitem(last=False)
            self._bytes -= freed
            gone += oldest
        return gone
