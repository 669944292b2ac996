"""The peers that others announced to us: bounded, expiring, one entry an address.

Both families share one store, but an answer over IPv4 holds IPv4 peers only, so each family's swarm
is a dictionary of its own. A dictionary keeps insertion order and a repeated announce moves its
entry to the end, so the oldest is always in front and expiry looks at nothing else. When the store
or a swarm is full, the token is withheld: refusing beats evicting, because evicting would let a
flood of announces wash out the honest ones.

The filters that tell of a swarm's size are made when first asked for and kept until the swarm
changes, since hashing a thousand addresses takes longer than all else in an answer.

Spec: BEP 5 "get_peers", "announce_peer"; BEP 33 (one entry an address, tokens withheld at the
limit, filters).
"""

import random
from math import gcd
from typing import Final, NamedTuple

from dht.bloom import AddressFilter
from dht.contact import Endpoint, Family, address_of, family_of
from dht.keyspace import InfoHash

PEERS_PER_SWARM_MAX: Final = 1_000
"""Peers of one info-hash and family; an answer holds 50, so more would only cost memory."""

SWARMS_MAX: Final = 10_000
"""Info-hashes, both families together; a node among millions is closest to a few hundred."""

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


class SwarmFilters(NamedTuple):
    """The addresses of a swarm's peers, as filters. Spec: BEP 33 "BFsd", "BFpe"."""

    seeds: AddressFilter
    leechers: AddressFilter


_SwarmKey = tuple[InfoHash, Family]


class PeerStore:
    """Announced peers by info-hash and family."""

    def __init__(
        self, *, swarms_max: int = SWARMS_MAX, peers_per_swarm_max: int = PEERS_PER_SWARM_MAX
    ) -> None:
        """Create an empty store with its bounds."""
        self._swarms: dict[_SwarmKey, dict[bytes, StoredPeer]] = {}
        self._filters: dict[_SwarmKey, SwarmFilters] = {}
        self._nothing_expires_before = float("-inf")
        self._swarms_max = swarms_max
        self._peers_per_swarm_max = peers_per_swarm_max

    def __len__(self) -> int:
        """Return the number of swarms held, each family counted."""
        return len(self._swarms)

    def has_room(self, info_hash: InfoHash, address: bytes, family: Family, *, now: float) -> bool:
        """Tell whether an announce from `address` would be kept: whether to hand out a token."""
        swarm = self._living((info_hash, family), now)
        if swarm is None:
            return len(self._swarms) < self._swarms_max
        return len(swarm) < self._peers_per_swarm_max or address in swarm

    def announce(self, info_hash: InfoHash, peer: Endpoint, *, seed: bool, now: float) -> bool:
        """Keep a peer for `PEER_LIFETIME_S`.

        A repeated announce from its address replaces the one before.

        Returns:
            Whether there was room.
        """
        key, address = (info_hash, family_of(peer)), address_of(peer)
        if not self.has_room(info_hash, address, key[1], now=now):
            return False
        swarm = self._swarms.pop(key, {})
        swarm.pop(address, None)
        swarm[address] = StoredPeer(peer, seed, now + PEER_LIFETIME_S)
        self._swarms[key] = swarm
        self._filters.pop(key, None)
        return True

    def sample(
        self,
        info_hash: InfoHash,
        family: Family,
        count: int,
        rng: random.Random,
        *,
        noseed: bool = False,
        now: float,
    ) -> list[Endpoint]:
        """Return up to `count` peers of a swarm, drawn at random so that load spreads.

        Args:
            info_hash: Whose peers.
            family: Of the peers.
            count: How many at most.
            rng: Draws.
            noseed: Whether seeds are only wanted where others do not suffice. Spec: BEP 33.
            now: Monotonic seconds.
        """
        swarm = self._living((info_hash, family), now)
        if swarm is None:
            return []
        peers = list(swarm.values())
        if noseed:
            leechers = [peer for peer in peers if not peer.seed]
            seeds = [peer for peer in peers if peer.seed]
            chosen = _draw(leechers, count, rng)
            chosen += _draw(seeds, count - len(chosen), rng)
        else:
            chosen = _draw(peers, count, rng)
        return [peer.endpoint for peer in chosen]

    def filters(self, info_hash: InfoHash, family: Family, *, now: float) -> SwarmFilters | None:
        """Return the filters of a swarm, or None if it has no peers. Spec: BEP 33."""
        key = (info_hash, family)
        swarm = self._living(key, now)
        if swarm is None:
            return None
        if key not in self._filters:
            self._filters[key] = SwarmFilters(
                AddressFilter.of(address for address, peer in swarm.items() if peer.seed),
                AddressFilter.of(address for address, peer in swarm.items() if not peer.seed),
            )
        return self._filters[key]

    def holds(self, info_hash: InfoHash, family: Family, *, now: float) -> bool:
        """Tell whether a swarm has a peer that has not expired."""
        return self._living((info_hash, family), now) is not None

    def info_hashes(self, family: Family, *, now: float) -> list[InfoHash]:
        """Return the info-hashes that have peers of a family; looks at all of them."""
        self.expire(now=now)
        return [info_hash for info_hash, of in self._swarms if of is family]

    def expire(self, *, now: float) -> None:
        """Forget swarms whose newest announce has expired."""
        if now < self._nothing_expires_before:
            return
        while self._swarms:
            key = next(iter(self._swarms))
            swarm = self._swarms[key]
            expires_at = next(reversed(swarm.values())).expires_at
            if expires_at > now:
                self._nothing_expires_before = expires_at
                return
            del self._swarms[key]
            self._filters.pop(key, None)

    def _living(self, key: _SwarmKey, now: float) -> dict[bytes, StoredPeer] | None:
        """Return a swarm without the peers that have expired, or None if that leaves nobody."""
        self.expire(now=now)
        swarm = self._swarms.get(key)
        if swarm is not None:
            # Ends before the swarm is empty: its newest announce has just been seen to be alive.
            while (oldest := next(iter(swarm.items())))[1].expires_at <= now:
                del swarm[oldest[0]]
                self._filters.pop(key, None)
        return swarm


def _draw(peers: list[StoredPeer], count: int, rng: random.Random) -> list[StoredPeer]:
    """Draw peers, each as likely as any other.

    Going round in steps of a random width takes two or three random numbers, and not one for each
    peer: secure ones would cost more than all the rest of an answer.
    """
    total = len(peers)
    if total <= count:
        return peers
    step = rng.randrange(1, total + 1)
    while gcd(step, total) != 1:
        step = rng.randrange(1, total + 1)
    start = rng.randrange(total)
    return [peers[(start + i * step) % total] for i in range(count)]
