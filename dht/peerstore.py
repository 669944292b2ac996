"""The peers that others announced to us: bounded, expiring, one entry an address.

Both families share one store, but an answer over IPv4 holds IPv4 peers only, so each family's swarm
is a dictionary of its own. A dictionary keeps insertion order and a repeated announce moves its
entry to the end, so the oldest is always in front and expiry looks at nothing else. When the store
or a swarm is full, the token is withheld: refusing beats evicting, because evicting would let a
flood of announces wash out the honest ones.

Spec: BEP 5 "get_peers", "announce_peer"; BEP 33 (one entry an address, tokens withheld at the
limit).
"""

import random
from typing import Final, NamedTuple

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


_SwarmKey = tuple[InfoHash, Family]


class PeerStore:
    """Announced peers by info-hash and family."""

    def __init__(
        self, *, swarms_max: int = SWARMS_MAX, peers_per_swarm_max: int = PEERS_PER_SWARM_MAX
    ) -> None:
        """Create an empty store with its bounds."""
        self._swarms: dict[_SwarmKey, dict[bytes, StoredPeer]] = {}
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
        return True

    def sample(
        self, info_hash: InfoHash, family: Family, count: int, rng: random.Random, *, now: float
    ) -> list[Endpoint]:
        """Return up to `count` peers of a swarm, drawn at random so that load spreads."""
        swarm = self._living((info_hash, family), now)
        if swarm is None:
            return []
        peers = list(swarm.values())
        chosen = peers if len(peers) <= count else rng.sample(peers, count)
        return [peer.endpoint for peer in chosen]

    def expire(self, *, now: float) -> None:
        """Forget swarms whose newest announce has expired."""
        while self._swarms:
            key = next(iter(self._swarms))
            swarm = self._swarms[key]
            if next(reversed(swarm.values())).expires_at > now:
                return
            del self._swarms[key]

    def _living(self, key: _SwarmKey, now: float) -> dict[bytes, StoredPeer] | None:
        """Return a swarm without the peers that have expired, or None if that leaves nobody."""
        self.expire(now=now)
        swarm = self._swarms.get(key)
        if swarm is not None:
            # Ends before the swarm is empty: its newest announce has just been seen to be alive.
            while (oldest := next(iter(swarm.items())))[1].expires_at <= now:
                del swarm[oldest[0]]
        return swarm
