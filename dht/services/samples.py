"""The method that tells which info-hashes are stored here: sample_infohashes.

Where there are more than one answer holds, a random subset is drawn, and everybody gets the same
until its time is over; so nobody learns more by asking faster, and the interval that an answer
names is really the time until there is something new. An info-hash whose last peer has expired
meanwhile is left out. Where one answer holds all, there is nothing to wait for.

Spec: BEP 51.
"""

import math
import random
from collections.abc import Mapping
from typing import Final

from dht.bencode import BValue
from dht.contact import Endpoint
from dht.keyspace import ID_BYTES, InfoHash
from dht.krpc import DATAGRAM_MAX, Query, id_argument
from dht.peerstore import PeerStore
from dht.sampling import SAMPLE_INFOHASHES
from dht.services import Method, bytes_of
from dht.services.nodes import Directory

SAMPLES_MAX: Final = 20
"""Info-hashes in one answer: as many as libtorrent sends; more would amplify a forged query."""

SUBSET_LIFETIME_S: Final = 300.0
"""Seconds that a subset is shown: short against the half hour that announced peers live."""

_FRAME_BYTES: Final = 150
"""What an answer needs beside nodes, samples and transaction id: 144 bytes over IPv6, and room."""


class SampleService:
    """Answers sample_infohashes."""

    def __init__(self, directory: Directory, store: PeerStore, rng: random.Random) -> None:
        """Bring the parts together.

        Args:
            directory: Names the nodes for those who walk on.
            store: Where the info-hashes come from: those with peers of our own family.
            rng: Chooses the subset.
        """
        self._directory = directory
        self._store = store
        self._rng = rng
        self._subset: list[InfoHash] = []
        self._samples = b""
        self._total = 0
        self._is_whole = True
        self._renew_at = -math.inf
        self._changes_seen = -1

    @property
    def methods(self) -> Mapping[bytes, Method]:
        """The method by its name on the wire."""
        return {SAMPLE_INFOHASHES: self._sample}

    def _sample(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        target = id_argument(query, b"target")
        values = self._directory.nodes(query, target, now)
        self._bring_up_to_date(now)
        room = DATAGRAM_MAX - _FRAME_BYTES - bytes_of(values) - len(query.transaction_id)
        values[b"interval"] = 0 if self._is_whole else math.ceil(self._renew_at - now)
        values[b"num"] = self._total
        values[b"samples"] = self._samples[: room // ID_BYTES * ID_BYTES]
        return values

    def _bring_up_to_date(self, now: float) -> None:
        self._store.expire(now=now)
        has_changed = self._store.changes != self._changes_seen
        if has_changed if self._is_whole else now >= self._renew_at:
            self._renew(now)
        elif has_changed:
            family, swarm = self._directory.family, self._store.swarm
            self._show([it for it in self._subset if swarm(it, family, now=now) is not None])

    def _renew(self, now: float) -> None:
        hashes = self._store.info_hashes(self._directory.family, now=now)
        self._total = len(hashes)
        self._is_whole = len(hashes) <= SAMPLES_MAX
        self._renew_at = now + SUBSET_LIFETIME_S
        self._show(hashes if self._is_whole else self._rng.sample(hashes, SAMPLES_MAX))

    def _show(self, subset: list[InfoHash]) -> None:
        self._subset, self._samples = subset, b"".join(subset)
        self._changes_seen = self._store.changes
