"""The methods that tell of peers: get_peers and announce_peer.

Spec: BEP 5 "get_peers", "announce_peer"; BEP 33 (tokens withheld when there is no room).
"""

import random
from collections.abc import Mapping
from typing import Final

from dht.bencode import BValue
from dht.contact import Endpoint, Family, address_of
from dht.keyspace import InfoHash
from dht.krpc import (
    ANNOUNCE_PEER,
    DATAGRAM_MAX,
    GET_PEERS,
    BadQuery,
    Query,
    flag_argument,
    id_argument,
    port_argument,
)
from dht.peerstore import PeerStore
from dht.services import Method
from dht.services.nodes import Directory
from dht.tokens import Tokens

VALUES_MAX: Final = 50
"""Peers in one answer, where they fit: enough to start with; more would amplify a forged query."""

_FRAME_BYTES: Final = 150
"""What an answer needs beside nodes, values and transaction id: 124 bytes over IPv6, and room."""


class PeerService:
    """Answers get_peers and announce_peer."""

    def __init__(
        self, directory: Directory, store: PeerStore, tokens: Tokens, rng: random.Random
    ) -> None:
        """Bring the parts together.

        Args:
            directory: Names the nodes for those who search on.
            store: Peers that were announced; may be shared with the other family's service.
            tokens: Makes and checks write tokens.
            rng: Chooses among the peers of large swarms.
        """
        self._directory = directory
        self._store = store
        self._tokens = tokens
        self._rng = rng

    @property
    def methods(self) -> Mapping[bytes, Method]:
        """The methods by their names on the wire."""
        return {GET_PEERS: self._get_peers, ANNOUNCE_PEER: self._announce_peer}

    def _get_peers(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        info_hash = InfoHash(id_argument(query, b"info_hash"))
        values = self._directory.nodes(query, info_hash, now)
        family, address = self._directory.family, address_of(source)
        if self._store.has_room(info_hash, address, family, now=now):
            values[b"token"] = self._tokens.make(address, info_hash, now=now)
        count = _values_that_fit(values, query.transaction_id, family)
        peers = self._store.sample(info_hash, family, count, self._rng, now=now)
        if peers:
            values[b"values"] = list(peers)
        return values

    def _announce_peer(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        info_hash = InfoHash(id_argument(query, b"info_hash"))
        token = query.arguments.get(b"token")
        if not isinstance(token, bytes) or not self._tokens.is_valid(
            token, address_of(source), info_hash, now=now
        ):
            raise BadQuery("bad token")
        peer = Endpoint(address_of(source) + port_argument(query, source).to_bytes(2))
        # A full store still says yes: the token promised as much, and BEP 33 limits by withholding
        # tokens.
        self._store.announce(info_hash, peer, seed=flag_argument(query, b"seed"), now=now)
        return {}


def _values_that_fit(values: dict[bytes, BValue], transaction_id: bytes, family: Family) -> int:
    """Return how many peers an answer has room for. Spec: BEP 32 "Message size"."""
    nodes = sum(len(value) for value in values.values() if isinstance(value, bytes))
    room = DATAGRAM_MAX - _FRAME_BYTES - nodes - len(transaction_id)
    entry = family.endpoint_bytes + len(f"{family.endpoint_bytes}:")
    return min(VALUES_MAX, room // entry)
