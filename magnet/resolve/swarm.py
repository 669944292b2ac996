"""Which peers of a torrent are worth a try, and which have had theirs.

Peers come from strangers: the same one under many searches, one address under a thousand ports,
more than anybody could dial. Each endpoint is tried once; how many endpoints one address may have,
and how many there may be in all, is bounded.
"""

from collections import Counter
from typing import Final, NamedTuple

from dht.contact import Endpoint, address_of
from dht.keyspace import InfoHash

PEERS_MAX: Final = 2_000
"""Peers taken in for one torrent; the first honest ones of any live swarm are among them."""

PEERS_PER_ADDRESS_MAX: Final = 8
"""Endpoints at one address: clients behind one NAT, but not a scan of somebody's ports."""


class Candidate(NamedTuple):
    """A peer to try.

    Attributes:
        endpoint: Where it is.
        key: Under which info-hash it was found, which is the one to greet it with.
        source: Who named it: "dht" or "link".
    """

    endpoint: Endpoint
    key: InfoHash
    source: str


class Swarm:
    """The peers of one torrent that were found so far."""

    def __init__(self) -> None:
        """Start without peers."""
        self._seen: dict[Endpoint, None] = {}
        self._per_address: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Return how many peers were taken in."""
        return len(self._seen)

    def admit(self, candidate: Candidate) -> bool:
        """Take in a peer; tell whether it is new and within bounds, and so to be tried."""
        endpoint = candidate.endpoint
        if endpoint in self._seen or len(self._seen) >= PEERS_MAX:
            return False
        if self._per_address[address_of(endpoint)] >= PEERS_PER_ADDRESS_MAX:
            return False
        self._seen[endpoint] = None
        self._per_address[address_of(endpoint)] += 1
        return True
