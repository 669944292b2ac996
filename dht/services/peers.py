"""The methods that tell of peers: get_peers and announce_peer.

Spec: BEP 5 "get_peers", "announce_peer"; BEP 33 (scrape, noseed, and tokens withheld when there is
no room).
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
    NODES_KEYS,
    BadQuery,
    Query,
    flag_argument,
    id_argument,
    port_argument,
)
from dht.peerstore import PeerStore
from dht.services import Method, bytes_of
from dht.services.nodes import Directory
from dht.swarm import Swarm
from dht.tokens import Tokens

VALUES_MAX: Final = 50
"""Peers in one answer, where they fit: enough to start with; more would amplify a forged query."""

_FRAME_BYTES: Final = 150
"""What an answer needs beside nodes, values and transaction id: 124 bytes over IPv6, and room."""

_VALUE_BYTES: Final = {it: len(f"{it.endpoint_bytes}:") + it.endpoint_bytes for it in Family}


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
            rng: Seeds the dice that choose among the peers of large swarms.
        """
        self._directory = directory
        self._store = store
        self._tokens = tokens
        # Who is named is no secret, and secure dice would cost more than all else in an answer.
        self._dice = random.Random(rng.getrandbits(64))

    @property
    def methods(self) -> Mapping[bytes, Method]:
        """The methods by their names on the wire."""
        return {GET_PEERS: self._get_peers, ANNOUNCE_PEER: self._announce_peer}

    def _get_peers(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        info_hash = InfoHash(id_argument(query, b"info_hash"))
        values = self._directory.nodes(query, info_hash, now)
        address = address_of(source)
        swarm = self._store.swarm(info_hash, self._directory.family, now=now)
        if self._store.takes(swarm, address):
            values[b"token"] = self._tokens.make(address, info_hash, now=now)
        if swarm is not None:
            self._tell_of(swarm, query, values)
        return values

    def _tell_of(self, swarm: Swarm, query: Query, values: dict[bytes, BValue]) -> None:
        """Name as many peers of a swarm as there is room for."""
        if flag_argument(query, b"scrape"):
            self._add_filters(swarm, values)
        room = DATAGRAM_MAX - _FRAME_BYTES - len(query.transaction_id) - bytes_of(values)
        count = min(VALUES_MAX, max(0, room) // _VALUE_BYTES[self._directory.family])
        peers = swarm.sample(count, self._dice, noseed=flag_argument(query, b"noseed"))
        if peers:
            values[b"values"] = list(peers)

    def _add_filters(self, swarm: Swarm, values: dict[bytes, BValue]) -> None:
        """Tell of the size of a swarm. Spec: BEP 33 "BFsd", "BFpe"."""
        family, filters = self._directory.family, swarm.filters()
        if all(key in values for key in NODES_KEYS.values()):
            # Filters and the nodes of both families are too much for one datagram.
            del values[NODES_KEYS[Family.IPV6 if family is Family.IPV4 else Family.IPV4]]
        values[b"BFsd"] = filters.seeds.to_bytes()
        values[b"BFpe"] = filters.leechers.to_bytes()

    def _announce_peer(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        info_hash, address = InfoHash(id_argument(query, b"info_hash")), address_of(source)
        token = query.arguments.get(b"token")
        if not isinstance(token, bytes) or not self._tokens.is_valid(
            token, address, info_hash, now=now
        ):
            raise BadQuery("bad token")
        peer = Endpoint(address + port_argument(query, source).to_bytes(2))
        # A full store still says yes: the token promised as much, and BEP 33 limits by withholding
        # tokens.
        self._store.announce(info_hash, peer, seed=flag_argument(query, b"seed"), now=now)
        return {}
