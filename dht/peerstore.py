"""The peers that others announced to us: bounded, expiring, one entry an address.

Both families share one store, but an answer over IPv4 holds IPv4 peers only, so each family's swarm
is one of its own (`dht.swarm`). Swarms too are kept in the order of their newest announce, so that
expiry looks at the first and nothing else. When the store or a swarm is full, the token is
withheld: refusing beats evicting, because evicting would let a flood of announces wash out the
honest ones.

Spec: BEP 5 "get_peers", "announce_peer"; BEP 33 (tokens withheld at the limit).
"""

from typing import Final

from dht.contact import Endpoint, Family, address_of, family_of
from dht.keyspace import InfoHash
from dht.swarm import Swarm

PEERS_PER_SWARM_MAX: Final = 1_000
"""Peers of one info-hash and family; an answer holds 50, so more would only cost memory."""

SWARMS_MAX: Final = 10_000
"""Info-hashes, both families together; a node among millions is closest to a few hundred."""

_SwarmKey = tuple[InfoHash, Family]


class PeerStore:
    """Announced peers by info-hash and family.

    Attributes:
        changes: How often a swarm has appeared or vanished.
    """

    def __init__(
        self, *, swarms_max: int = SWARMS_MAX, peers_per_swarm_max: int = PEERS_PER_SWARM_MAX
    ) -> None:
        """Create an empty store with its bounds."""
        self.changes = 0
        self._swarms: dict[_SwarmKey, Swarm] = {}
        self._nothing_expires_before = float("-inf")
        self._swarms_max = swarms_max
        self._peers_per_swarm_max = peers_per_swarm_max

    def __len__(self) -> int:
        """Return the number of swarms held, each family counted."""
        return len(self._swarms)

    def swarm(self, info_hash: InfoHash, family: Family, *, now: float) -> Swarm | None:
        """Return a swarm without the peers that have expired, or None if that leaves nobody."""
        if now >= self._nothing_expires_before:
            self.expire(now=now)
        swarm = self._swarms.get((info_hash, family))
        if swarm is not None:
            # Somebody remains: its newest announce has just been seen to be alive.
            swarm.expire(now=now)
        return swarm

    def takes(self, swarm: Swarm | None, address: bytes) -> bool:
        """Tell whether an announce from `address` would be kept: whether to hand out a token.

        Args:
            swarm: As `swarm` has just returned it.
            address: 4 or 16 bytes.
        """
        if swarm is None:
            return len(self._swarms) < self._swarms_max
        return len(swarm) < self._peers_per_swarm_max or address in swarm

    def announce(self, info_hash: InfoHash, peer: Endpoint, *, seed: bool, now: float) -> bool:
        """Keep a peer for `dht.swarm.PEER_LIFETIME_S`.

        A repeated announce from its address replaces the one before.

        Returns:
            Whether there was room.
        """
        key = info_hash, family_of(peer)
        swarm = self.swarm(*key, now=now)
        if not self.takes(swarm, address_of(peer)):
            return False
        if swarm is None:
            swarm = Swarm()
            self.changes += 1
        else:
            del self._swarms[key]
        self._swarms[key] = swarm
        swarm.announce(peer, seed=seed, now=now)
        return True

    def info_hashes(self, family: Family, *, now: float) -> list[InfoHash]:
        """Return the info-hashes that have peers of a family; looks at all of them."""
        self.expire(now=now)
        return [info_hash for info_hash, of in self._swarms if of is family]

    def expire(self, *, now: float) -> None:
        """Forget swarms whose newest announce has expired."""
        if now < self._nothing_expires_before:
            return
        while self._swarms:
            key, swarm = next(iter(self._swarms.items()))
            if swarm.expires_at > now:
                self._nothing_expires_before = swarm.expires_at
                return
            del self._swarms[key]
            self.changes += 1
