"""The peers of one info-hash that were announced to us, in one family.

A dictionary keeps insertion order and a repeated announce moves its entry to the end, so the oldest
is always in front and expiry looks at nothing else. What answers are made of (the endpoints in
random order, and the filters that tell of the swarm's size) is made when first asked for and kept
until the peers change: to shuffle or hash a thousand addresses takes longer than all else in an
answer.

Spec: BEP 5 "get_peers"; BEP 33 (one entry an address, "noseed", filters).
"""

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple, cast

from dht.bloom import AddressFilter
from dht.contact import Endpoint, address_of

PEER_LIFETIME_S: Final = 1_800.0
"""Seconds an announce lasts; clients repeat theirs every 15 to 28 minutes."""


class StoredPeer(NamedTuple):
    """One announce.

    Attributes:
        endpoint: Where the peer accepts connections.
        seed: Whether it said that it has everything. Spec: BEP 33 "seed".
        expires_at: Monotonic seconds.
    """

    endpoint: Endpoint
    seed: bool
    expires_at: float


_stored: Final = cast(
    Callable[[tuple[Endpoint, bool, float]], StoredPeer], partial(tuple.__new__, StoredPeer)
)
"""Makes a `StoredPeer` of a tuple in half the time: one is made for every announce."""


class SwarmFilters(NamedTuple):
    """The addresses of a swarm's peers, as filters. Spec: BEP 33 "BFsd", "BFpe"."""

    seeds: AddressFilter
    leechers: AddressFilter


class Swarm:
    """Announced peers, one an address, oldest announce first."""

    __slots__ = ("_filters", "_nothing_expires_before", "_peers", "_ring")

    def __init__(self) -> None:
        """Begin with nobody."""
        self._peers: dict[bytes, StoredPeer] = {}
        self._ring: list[Endpoint] | None = None
        self._filters: SwarmFilters | None = None
        self._nothing_expires_before = float("-inf")

    def __len__(self) -> int:
        """Return how many peers are held."""
        return len(self._peers)

    def __contains__(self, address: bytes) -> bool:
        """Tell whether a peer at an address is held."""
        return address in self._peers

    @property
    def expires_at(self) -> float:
        """When the newest announce expires, and the swarm with it; only of one that has peers."""
        return next(reversed(self._peers.values())).expires_at

    def announce(self, peer: Endpoint, *, seed: bool, now: float) -> None:
        """Keep a peer for `PEER_LIFETIME_S`; it replaces what was known of its address."""
        address = address_of(peer)
        before = self._peers.pop(address, None)
        self._peers[address] = _stored((peer, seed, now + PEER_LIFETIME_S))
        if before is None or before.endpoint != peer or before.seed is not seed:
            self._forget_views()

    def expire(self, *, now: float) -> None:
        """Forget the peers whose announce has expired."""
        if now < self._nothing_expires_before:
            return
        while self._peers:
            address, oldest = next(iter(self._peers.items()))
            if oldest.expires_at > now:
                self._nothing_expires_before = oldest.expires_at
                return
            del self._peers[address]
            self._forget_views()

    def sample(self, count: int, rng: random.Random, *, noseed: bool = False) -> list[Endpoint]:
        """Draw up to `count` peers, so that load spreads.

        Args:
            count: How many at most.
            rng: Draws; what it draws is no secret.
            noseed: Whether seeds are only wanted where others do not suffice. Spec: BEP 33.
        """
        if not noseed:
            if self._ring is None:
                self._ring = _shuffled(self._peers.values(), rng)
            return _arc(self._ring, count, rng)
        leechers = _shuffled((peer for peer in self._peers.values() if not peer.seed), rng)
        seeds = _shuffled((peer for peer in self._peers.values() if peer.seed), rng)
        return (leechers + seeds)[:count]

    def filters(self) -> SwarmFilters:
        """Return the filters of the addresses. Spec: BEP 33."""
        if self._filters is None:
            peers = self._peers.items()
            self._filters = SwarmFilters(
                AddressFilter.of(address for address, peer in peers if peer.seed),
                AddressFilter.of(address for address, peer in peers if not peer.seed),
            )
        return self._filters

    def _forget_views(self) -> None:
        self._ring = self._filters = None


def _shuffled(peers: Iterable[StoredPeer], rng: random.Random) -> list[Endpoint]:
    endpoints = [peer.endpoint for peer in peers]
    rng.shuffle(endpoints)
    return endpoints


def _arc(ring: list[Endpoint], count: int, rng: random.Random) -> list[Endpoint]:
    """Return `count` neighbours on a ring, beginning anywhere: each is as likely as any other."""
    start = int(rng.random() * len(ring))
    arc = ring[start : start + count]
    return arc + ring[: min(count - len(arc), start)]
