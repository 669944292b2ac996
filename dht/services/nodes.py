"""The methods that tell of nodes: ping and find_node, and find_node for whoever asks otherwise.

Spec: BEP 5 "ping", "find_node"; BEP 32 "want".
"""

from collections.abc import Mapping

from dht.bencode import BValue
from dht.contact import Endpoint
from dht.krpc import (
    FIND_NODE,
    NODES_KEYS,
    PING,
    BadQuery,
    ErrorCode,
    Query,
    id_argument,
    wanted_families,
)
from dht.routing import RoutingTable
from dht.services import Method


class Directory:
    """The nodes that answers may name: those of our own table, and of our sibling's if wanted."""

    def __init__(self, table: RoutingTable) -> None:
        """Begin with the table of our own family."""
        self.family = table.family
        self._table = table
        self._nodes_key = NODES_KEYS[table.family]
        self._sibling: RoutingTable | None = None

    def lend(self, sibling: RoutingTable) -> None:
        """Give read access to the other family's table, for those who want both. Spec: BEP 32."""
        self._sibling = sibling

    def nodes(self, query: Query, target: bytes, now: float) -> dict[bytes, BValue]:
        """Return `nodes`, `nodes6` or both: the nearest good nodes of the families wanted."""
        if b"want" not in query.arguments:
            return {self._nodes_key: self._table.nearest_compact(target, now=now)}
        wanted = wanted_families(query, self.family)
        tables = [it for it in (self._table, self._sibling) if it is not None]
        return {
            NODES_KEYS[table.family]: table.nearest_compact(target, now=now)
            for table in tables
            if table.family in wanted
        }


class NodeService:
    """Answers ping and find_node."""

    def __init__(self, directory: Directory) -> None:
        """Answer from a directory."""
        self._directory = directory

    @property
    def methods(self) -> Mapping[bytes, Method]:
        """The methods by their names on the wire."""
        return {PING: self._ping, FIND_NODE: self._find_node}

    def unknown(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        """Answer a method nobody knows: like find_node if it has a target.

        Raises:
            BadQuery: It has none.

        Spec: BEP 5 error 204; the fallback is libtorrent's and others', for the sake of extensions.
        """
        for key in (b"target", b"info_hash"):
            try:
                return self._directory.nodes(query, id_argument(query, key), now)
            except BadQuery:
                continue
        raise BadQuery("method unknown", ErrorCode.METHOD_UNKNOWN)

    def _ping(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        return {}

    def _find_node(self, query: Query, source: Endpoint, now: float) -> dict[bytes, BValue]:
        return self._directory.nodes(query, id_argument(query, b"target"), now)
