"""Searches: lookups with a purpose.

A search walks towards its target, asking one question of each node on the way. What the question
is, what is made of the answers, and what is written to the nearest nodes at the end, is its
purpose. Whatever the purpose, bootstrap hosts stand by for the case that the nodes known do not
suffice.

Spec: BEP 5 "DHT Queries".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from dht.bencode import BValue
from dht.contact import Contact, Endpoint
from dht.disjoint import DisjointPaths, believed_or_doubled
from dht.errors import QueryError
from dht.inquiry import PeersNamed, Request
from dht.krpc import ANNOUNCE_PEER, FIND_NODE, GET_PEERS, Answer
from dht.lookup import Lookup
from dht.routing import K

PEERS_PER_SEARCH_MAX: Final = 2_000
"""Distinct peers that a search reports; nobody dials more, and a liar can invent any number."""


class Question(NamedTuple):
    """What a search asks of each node: a method and its arguments, our id apart."""

    method: bytes
    arguments: dict[bytes, BValue]


class Holder(NamedTuple):
    """A node near the target that may be written to, with the token it gave."""

    contact: Contact
    token: bytes


class Purpose(Protocol):
    """What a search is for."""

    def question(self, target: bytes) -> Question:
        """Return what to ask of each node on the way to a target; called once."""

    def take(self, sender: Contact, answer: Answer) -> None:
        """Make of an answer what can be made of it."""

    def writes(self, target: bytes, holders: Sequence[Holder]) -> list[Request]:
        """Return what to write when the walk is over.

        Args:
            target: The 20 bytes searched for.
            holders: The K nearest nodes that gave a token, nearest first.
        """

    def accepted(self, sender: Contact) -> None:
        """Note that a node took what was written to it."""

    def refused(self, endpoint: Endpoint, error: QueryError) -> None:
        """Note that a node did not."""

    def take_findings(self) -> list[PeersNamed]:
        """Return what was found since the last call."""


class FindNodes:
    """To know the nodes nearest to a target. Spec: BEP 5 "find_node"."""

    def question(self, target: bytes) -> Question:
        """Ask for nodes."""
        return Question(FIND_NODE, {b"target": target})

    def take(self, sender: Contact, answer: Answer) -> None:
        """Leave it to the walk."""

    def writes(self, target: bytes, holders: Sequence[Holder]) -> list[Request]:
        """Write nothing."""
        return []

    def accepted(self, sender: Contact) -> None:
        """Never happens: nothing is written."""

    def refused(self, endpoint: Endpoint, error: QueryError) -> None:
        """Never happens: nothing is written."""

    def take_findings(self) -> list[PeersNamed]:
        """Return nothing: the nodes are the walk's own result."""
        return []


class Announcement(NamedTuple):
    """What to announce once the closest nodes are known.

    Attributes:
        port: Where we accept peers; a real port even with `implied_port`, which some nodes ignore.
        implied_port: Whether nodes shall take the UDP source port instead, because NAT may have
            changed it.
        seed: Whether we have everything. Spec: BEP 33.
    """

    port: int
    implied_port: bool = False
    seed: bool = False


class FindPeers:
    """To meet the peers of an info-hash, and perhaps to become one.

    Attributes:
        peers: Distinct peers met so far, in order, at most `PEERS_PER_SEARCH_MAX`.
        announced_to: Nodes that accepted the announcement.

    Spec: BEP 5 "get_peers", "announce_peer".
    """

    def __init__(self, announcement: Announcement | None = None) -> None:
        """Say what to announce at the end, if anything."""
        self.peers: dict[Endpoint, None] = {}
        self.announced_to: list[Contact] = []
        self._announcement = announcement
        self._findings: list[PeersNamed] = []

    def question(self, target: bytes) -> Question:
        """Ask for peers."""
        return Question(GET_PEERS, {b"info_hash": target})

    def take(self, sender: Contact, answer: Answer) -> None:
        """Note the peers not met before."""
        room = PEERS_PER_SEARCH_MAX - len(self.peers)
        unmet = dict.fromkeys(peer for peer in answer.peers if peer not in self.peers)
        fresh = tuple(unmet)[:room]
        if fresh:
            self.peers.update(dict.fromkeys(fresh))
            self._findings.append(PeersNamed(sender, fresh))

    def writes(self, target: bytes, holders: Sequence[Holder]) -> list[Request]:
        """Announce to each holder, with its own token."""
        announcement = self._announcement
        if announcement is None:
            return []
        return [
            Request(
                contact.endpoint,
                ANNOUNCE_PEER,
                {
                    b"implied_port": int(announcement.implied_port),
                    b"info_hash": target,
                    b"port": announcement.port,
                    b"seed": int(announcement.seed),
                    b"token": token,
                },
            )
            for contact, token in holders
        ]

    def accepted(self, sender: Contact) -> None:
        """Note who knows of us now."""
        self.announced_to.append(sender)

    def refused(self, endpoint: Endpoint, error: QueryError) -> None:
        """Make do with the other holders."""

    def take_findings(self) -> list[PeersNamed]:
        """Return the peers met since the last call."""
        findings, self._findings = self._findings, []
        return findings


PurposeT = TypeVar("PurposeT", bound=Purpose)
PurposeT_co = TypeVar("PurposeT_co", bound=Purpose, covariant=True)


class Search(Generic[PurposeT_co]):
    """A walk to a target, with a purpose.

    Attributes:
        purpose: What it is for, with the results.
        target: The 20 bytes searched for.
        lookup: The walk, with its counts of nodes asked, answered and failed; on suspicion it is
            the first of several.
        answers_from_routers: Bootstrap hosts that answered, in order, and the seconds they took.
        silent_routers: Bootstrap hosts that did not.
    """

    def __init__(
        self, purpose: PurposeT_co, lookup: Lookup, *, routers: Iterable[Endpoint] = ()
    ) -> None:
        """Prepare a search.

        Args:
            purpose: What it is for.
            lookup: With its target and first candidates.
            routers: Bootstrap hosts, asked find_node all at once when the other candidates do not
                suffice; only the nodes they name matter.
        """
        self.purpose = purpose
        self.lookup = lookup
        self.target = lookup.target
        self._question = purpose.question(lookup.target)
        self._walk: Lookup | DisjointPaths = lookup
        self._is_judged = False
        self.answers_from_routers: dict[Endpoint, float] = {}
        self.silent_routers: list[Endpoint] = []
        self._routers = list(dict.fromkeys(routers))
        self._routers_open: Counter[Endpoint] = Counter()
        self._routers_met: Counter[Endpoint] = Counter()
        self._tokens: dict[Endpoint, bytes] = {}
        self._writes: list[Request] | None = None
        self._writes_open: dict[Endpoint, None] = {}

    def add_routers(self, routers: Iterable[Endpoint]) -> None:
        """Take in further bootstrap hosts, whose names were resolved meanwhile."""
        known = {*self._routers, *self._routers_met}
        self._routers += [it for it in dict.fromkeys(routers) if it not in known]

    def next_request(self) -> Request | None:
        """Return the next router, candidate or node to write to, in this order."""
        if self._routers and self._needs_routers:
            return Request(self._routers[0], FIND_NODE, {b"target": self.target})
        contact = self._walk.next_query()
        if contact is not None:
            method, arguments = self._question
            return Request(contact.endpoint, method, arguments)
        if not self._walk_is_over:
            return None
        if not self._is_judged:
            self._is_judged = True
            self._walk = believed_or_doubled(self.lookup)
            return self.next_request()
        writes = self._prepared_writes()
        return writes[0] if writes else None

    def sent(self, request: Request) -> None:
        """Note that the request that `next_request` gave went out."""
        if self._routers and self._needs_routers:
            router = self._routers.pop(0)
            self._routers_open[router] += 1
            self._routers_met[router] += 1
        elif self._writes and request is self._writes[0]:
            self._writes_open[self._writes.pop(0).endpoint] = None
        else:
            self._walk.asked(request.endpoint)

    def answered(self, sender: Contact, answer: Answer, *, rtt_s: float) -> None:
        """Take from an answer the nodes to ask next, the token, and what serves the purpose."""
        endpoint = sender.endpoint
        if endpoint in self._writes_open:
            del self._writes_open[endpoint]
            self.purpose.accepted(sender)
        elif endpoint in self._routers_open:
            self._router_answered(endpoint, answer, rtt_s)
        else:
            if answer.token is not None:
                self._tokens[endpoint] = answer.token
            self._walk.answered(sender, answer.contacts)
            self.purpose.take(sender, answer)

    def slow(self, endpoint: Endpoint) -> None:
        """Let somebody else be asked beside a slow candidate, or a router once more."""
        if endpoint in self._routers_open:
            # Nothing else is known: one lost datagram must not decide on the whole join.
            if not self.answers_from_routers and self._routers_met[endpoint] == 1:
                self._routers.append(endpoint)
        elif endpoint not in self._writes_open:
            self._walk.slow(endpoint)

    def failed(self, endpoint: Endpoint, error: QueryError) -> None:
        """Go on without a candidate, router or holder."""
        if endpoint in self._writes_open:
            del self._writes_open[endpoint]
            self.purpose.refused(endpoint, error)
        elif endpoint in self._routers_open:
            self._router_failed(endpoint)
        else:
            self._walk.failed(endpoint)

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """All walks: one, and more only where the first seems to have been led astray."""
        return self._walk.lookups if isinstance(self._walk, DisjointPaths) else (self.lookup,)

    def closest(self) -> list[Contact]:
        """Return those that answered, nearest first; of several walks in turns."""
        return self._walk.closest()

    @property
    def is_done(self) -> bool:
        """Whether the walk, and the writing after it, are over."""
        return self._walk_is_over and not self._prepared_writes() and not self._writes_open

    def take_findings(self) -> list[PeersNamed]:
        """Return what was found since the last call."""
        return self.purpose.take_findings()

    def _router_answered(self, router: Endpoint, answer: Answer, rtt_s: float) -> None:
        self._close_router_query(router)
        self._routers = [it for it in self._routers if it != router]
        if router not in self.answers_from_routers:
            self.answers_from_routers[router] = rtt_s
            self.lookup.add(answer.contacts)

    def _router_failed(self, router: Endpoint) -> None:
        self._close_router_query(router)
        if router not in self._routers_open and router not in self.answers_from_routers:
            self.silent_routers.append(router)

    def _close_router_query(self, router: Endpoint) -> None:
        """Note that one of the queries to a router, which may be a candidate too, has its end."""
        self._routers_open[router] -= 1
        if not self._routers_open[router]:
            del self._routers_open[router]

    @property
    def _awaits_routers(self) -> bool:
        if not self._routers_open:
            return False
        return any(router not in self.answers_from_routers for router in self._routers_open)

    def _prepared_writes(self) -> list[Request]:
        """Return what is still to be written; put together once, when the walk is over."""
        if self._writes is None:
            holders = [
                Holder(contact, self._tokens[contact.endpoint])
                for contact in self.closest()
                if contact.endpoint in self._tokens
            ]
            self._writes = self.purpose.writes(self.target, holders[:K])
        return self._writes

    @property
    def _walk_is_over(self) -> bool:
        return self._walk.is_done and not self._awaits_routers and not self._needs_routers

    @property
    def _needs_routers(self) -> bool:
        """Whether to turn to the bootstrap hosts: nobody else is left, or seems to be alive."""
        if not self._routers or self.lookup.is_struggling:
            return bool(self._routers)
        return self.lookup.is_done and self.lookup.answered_count < K
