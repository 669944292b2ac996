"""Answers the queries of others, whatever their method: dispatch, refusals, and the envelope.

What is said is up to the services; whether a query is answered at all (rates, read-only) is the
engine's decision, and what a query tells of its sender is the routing table's business.

Spec: BEP 5 "DHT Queries", "Errors"; BEP 42 "ip" in each answer.
"""

from typing import Final

from dht.contact import Endpoint
from dht.keyspace import NodeId
from dht.krpc import BadQuery, Query, encode_error, encode_response, id_argument
from dht.services import Method, Service
from dht.services.nodes import NodeService

_PUNCH: Final = b"punch"
"""Asks its receiver to send to a third party: a reflector by design, so nothing comes back."""


class Responder:
    """Answers queries with the help of services."""

    def __init__(self, own_id: NodeId, nodes: NodeService, *others: Service) -> None:
        """Bring the services together.

        Args:
            own_id: What we call ourselves in answers.
            nodes: Answers the basic methods, and those that nobody knows.
            others: Answer the rest.
        """
        self.own_id = own_id
        self._unknown = nodes.unknown
        self._methods: dict[bytes, Method] = {
            name: method for it in (nodes, *others) for name, method in it.methods.items()
        }

    def answer(self, query: Query, source: Endpoint, *, now: float) -> bytes | None:
        """Return the datagram that answers a query.

        Returns:
            A response or an error; None for the one method that must not even be refused.

        Spec: BEP 5.
        """
        if query.method == _PUNCH:
            return None
        try:
            id_argument(query, b"id")
            values = self._methods.get(query.method, self._unknown)(query, source, now)
        except BadQuery as fault:
            return encode_error(query.transaction_id, fault.code, fault.fault, source)
        values[b"id"] = self.own_id
        return encode_response(query.transaction_id, values, source)
