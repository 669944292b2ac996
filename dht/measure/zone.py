"""A walk that meets every node of a zone: the part of the key space with a certain prefix.

Every node of the zone that is named is asked, once or again if it is silent, for nodes near a
random target in its own vicinity, wide or narrow, so that near and far neighbours get named alike.
Two walks draw different targets, and so miss different nodes; from this `population` reckons how
many were missed.

Spec: BEP 5 "find_node".
"""

import random
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from dht.bencode import BValue
from dht.contact import Contact, Endpoint
from dht.errors import QueryError
from dht.inquiry import PeersNamed, Request
from dht.keyspace import NodeId, random_id_with_prefix, shared_prefix
from dht.krpc import FIND_NODE, Answer

AT_ONCE: Final = 512
"""Queries in flight that are not slow: their answers, all at once, fit a socket's buffer."""

OPEN_MAX: Final = 2_000
"""Queries in flight in all, half of what one socket may have: most of them are to the dead."""

ATTEMPTS_MAX: Final = 2
"""Queries to one node: at 5 % loss each way one in ten is lost, two in a row 1 in 100."""

QUERIES_MAX: Final = 50_000
"""Queries in one walk, however many nodes are invented; honest zones take a third."""


class Zone(NamedTuple):
    """All ids that begin like a certain one.

    Attributes:
        origin: Any id of the zone.
        bits: How many leading bits all have in common; 0 for the whole space.
    """

    origin: NodeId
    bits: int

    def holds(self, node_id: NodeId) -> bool:
        """Tell whether an id is in the zone."""
        return shared_prefix(node_id, self.origin) >= self.bits

    def random_id(self, rng: random.Random) -> NodeId:
        """Draw an id of the zone."""
        return random_id_with_prefix(self.origin, self.bits, rng)


class ZoneWalk:
    """One pass through a zone, as an inquiry for an engine to carry out.

    Attributes:
        living: The nodes of the zone that have answered.
        asked_count: Queries sent.
    """

    def __init__(
        self,
        zone: Zone,
        seeds: Iterable[Contact],
        rng: random.Random,
        *,
        levels: int,
        queries_max: int = QUERIES_MAX,
    ) -> None:
        """Prepare a pass.

        Args:
            zone: Where to look.
            seeds: Nodes to begin with; those outside the zone are passed over.
            rng: Chooses the targets.
            levels: Bits beyond the prefix by which the narrowest vicinity is chosen: the logarithm
                of the number of nodes expected.
            queries_max: When to give up.
        """
        self.living: set[Contact] = set()
        self.asked_count = 0
        self._zone = zone
        self._rng = rng
        self._deepest = zone.bits + levels
        self._queries_max = queries_max
        self._named: dict[Endpoint, Contact] = {}
        self._attempts: dict[Endpoint, int] = {}
        self._waiting: deque[Request] = deque()
        self._open: set[Endpoint] = set()
        self._slow: set[Endpoint] = set()
        self._is_flooded = False
        self._take_in(seeds)

    @property
    def is_complete(self) -> bool:
        """Whether the walk ended because everybody had been asked who was named."""
        return self.is_done and not self._waiting and not self._is_flooded

    def next_request(self) -> Request | None:
        """Return the next query, while not too many are in flight."""
        has_room = len(self._open) < min(OPEN_MAX, AT_ONCE + len(self._slow))
        return self._waiting[0] if self._waiting and has_room and not self._is_spent else None

    def sent(self, request: Request) -> None:
        """Note that the query went out."""
        self._waiting.popleft()
        self._open.add(request.endpoint)
        self._attempts[request.endpoint] = self._attempts.get(request.endpoint, 0) + 1
        self.asked_count += 1

    def answered(self, sender: Contact, answer: Answer, *, rtt_s: float) -> None:
        """Count the sender, if it is who it was said to be, and take in whom it names."""
        self._close(sender.endpoint)
        if self._named[sender.endpoint] == sender:
            self.living.add(sender)
        self._take_in(answer.contacts)

    def slow(self, endpoint: Endpoint) -> None:
        """Let somebody else be asked meanwhile."""
        self._slow.add(endpoint)

    def failed(self, endpoint: Endpoint, error: QueryError) -> None:
        """Ask a silent node once more."""
        self._close(endpoint)
        if self._attempts[endpoint] < ATTEMPTS_MAX:
            self._enqueue(self._named[endpoint])

    @property
    def is_done(self) -> bool:
        """Whether nobody is left to ask or to wait for."""
        return not self._open and (not self._waiting or self._is_spent)

    def take_findings(self) -> list[PeersNamed]:
        """Return nothing: the nodes are the walk's own result."""
        return []

    @property
    def _is_spent(self) -> bool:
        return self.asked_count >= self._queries_max

    def _close(self, endpoint: Endpoint) -> None:
        self._open.discard(endpoint)
        self._slow.discard(endpoint)

    def _take_in(self, contacts: Iterable[Contact]) -> None:
        for contact in contacts:
            if contact.endpoint in self._named or not self._zone.holds(contact.id):
                continue
            if len(self._named) >= self._queries_max:
                self._is_flooded = True
                return
            self._named[contact.endpoint] = contact
            self._enqueue(contact)

    def _enqueue(self, contact: Contact) -> None:
        bits = self._rng.randint(self._zone.bits, self._deepest)
        target: BValue = random_id_with_prefix(contact.id, bits, self._rng)
        self._waiting.append(Request(contact.endpoint, FIND_NODE, {b"target": target}))
