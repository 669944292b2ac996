"""Answers the queries of others: ping, find_node, get_peers and announce_peer.

The responder decides what is said and writes only to the peer store; whether a query is answered at
all (rates, read-only) is the engine's decision, and what a query tells us about its sender is the
routing table's business.

Spec: BEP 5 "DHT Queries"; BEP 32 "want"; BEP 42 "ip" in each answer.
"""

import random
from collections.abc import Callable
from typing import Final

from dht.bencode import BValue
from dht.contact import Endpoint, Family, address_of
from dht.keyspace import InfoHash, NodeId
from dht.krpc import (
    ANNOUNCE_PEER,
    DATAGRAM_MAX,
    FIND_NODE,
    GET_PEERS,
    NODES_KEYS,
    PING,
    BadQuery,
    ErrorCode,
    Query,
    encode_error,
    encode_response,
    flag_argument,
    id_argument,
    port_argument,
    wanted_families,
)
from dht.peerstore import PeerStore
from dht.routing import RoutingTable
from dht.tokens import Tokens

VALUES_MAX: Final = 50
"""Peers in one answer, where they fit: enough to start with; more would amplify a forged query."""

_FRAME_BYTES: Final = 150
"""What an answer needs beside nodes, values and transaction id: 124 bytes over IPv6, and room."""


_Method = Callable[[Query, Endpoint, float], dict[bytes, BValue]]


class Responder:
    """Answers queries from a routing table and a peer store."""

    def __init__(
        self,
        own_id: NodeId,
        table: RoutingTable,
        store: PeerStore,
        tokens: Tokens,
        rng: random.Random,
    ) -> None:
        """Bring the parts together.

        Args:
            own_id: What we call ourselves in answers.
            table: The nodes of the family the responder serves.
            store: Peers that were announced; may be shared with the other family's responder.
            tokens: Makes and checks write tokens.
            rng: Chooses among the peers of large swarms.
        """
        self._own_id = own_id
        self._table = table
        self._family = table.family
        self._nodes_key = NODES_KEYS[table.family]
        self._sibling: RoutingTable | None = None
        self._store = store
        self._tokens = tokens
        self._rng = rng
        self._methods: dict[bytes, _Method] = {
            PING: self._ping,
            FIND_NODE: self._find_node,
            GET_PEERS: self._get_peers,
            ANNOUNCE_PEER: self._announce_peer,
        }

    def lend(self, sibling: RoutingTable) -> None:
        """Give read access to the other family's table, for those who want both. Spec: BEP 32."""
        self._sibling = sibling

    def answer(self, query: Query, source: Endpoint, *, now: float) -> bytes | None:
        """Return the datagram that answers a query.

        Returns:
            A response or an error; None for the one method that must not even be refused.

        Spec: BEP 5; an unknown method with a target is treated as find_node, as libtorrent and
            others do for the sake of extensions.
        """
        if query.method == _PUNCH:
            return None
        try:
            id_argument(query, b"id")
            values = self._methods.get(query.method, self._unknown)(query, source, now)
        except BadQuery as fault:
            return encode_error(query.transaction_id, fault.code, fault.fault, source)
        values[b"id"] = self._own_id
        return encode_response(query.transaction_id, values, source)

    def _ping(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        return {}

    def _find_node(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        return self._nodes(query, id_argument(query, b"target"), now)

    def _nodes(self, query: Query, target: bytes, now: float) -> dict[bytes, BValue]:
        if b"want" not in query.arguments:
            return {self._nodes_key: self._table.nearest_compact(target, now=now)}
        wanted = wanted_families(query, self._family)
        tables = [it for it in (self._table, self._sibling) if it is not None]
        return {
            NODES_KEYS[table.family]: table.nearest_compact(target, now=now)
            for table in tables
            if table.family in wanted
        }

    def _get_peers(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        info_hash = InfoHash(id_argument(query, b"info_hash"))
        values = self._nodes(query, info_hash, now)
        family, address = self._family, address_of(source)
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

    def _unknown(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        for key in (b"target", b"info_hash"):
            try:
                return self._nodes(query, id_argument(query, key), now)
            except BadQuery:
                continue
        raise BadQuery("method unknown", ErrorCode.METHOD_UNKNOWN)


def _values_that_fit(values: dict[bytes, BValue], transaction_id: bytes, family: Family) -> int:
    """Return how many peers an answer has room for. Spec: BEP 32 "Message size"."""
    nodes = sum(len(value) for value in values.values() if isinstance(value, bytes))
    room = DATAGRAM_MAX - _FRAME_BYTES - nodes - len(transaction_id)
    entry = family.endpoint_bytes + len(f"{family.endpoint_bytes}:")
    return min(VALUES_MAX, room // entry)


_PUNCH: Final = b"punch"
"""Asks its receiver to send to a third party: a reflector by design, so nothing comes back."""
