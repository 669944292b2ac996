"""What the engine can be asked to find out.

An inquiry says which queries to send and is told what came of them.
`Ping` is one query. `Search` is a lookup with a purpose: it asks find_node or get_peers along the
way, streams the peers it meets, and may announce at the end. Inquiries are pure; the engine sends
for them, and hands their events on.

Spec: BEP 5 "DHT Queries".
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from dht.bencode import BValue
from dht.contact import Contact, Endpoint
from dht.errors import QueryError
from dht.keyspace import InfoHash
from dht.krpc import ANNOUNCE_PEER, FIND_NODE, GET_PEERS, PING, Answer
from dht.lookup import Lookup
from dht.routing import K

PEERS_PER_SEARCH_MAX: Final = 2_000
"""Distinct peers that one search reports; nobody dials more, and a liar can invent any number."""


class Request(NamedTuple):
    """A query to be sent: to whom, and what; the engine adds our id."""

    endpoint: Endpoint
    method: bytes
    arguments: dict[bytes, BValue]


class PeersFound(NamedTuple):
    """Peers that one node named and that the search had not met before."""

    search: "Search"
    responder: Contact
    peers: tuple[Endpoint, ...]


class Ended(NamedTuple):
    """An inquiry is over; its attributes hold the result."""

    inquiry: "Inquiry"


class JoinEnded(NamedTuple):
    """A search for our own id, begun to get to know the network, is over."""

    search: "Search"


Event = PeersFound | Ended | JoinEnded


class Inquiry(Protocol):
    """Something that is found out by asking other nodes."""

    def next_request(self) -> Request | None:
        """Return what to send now, or None; the same again until `sent` or an answer changes it."""

    def sent(self, request: Request) -> None:
        """Note that the request went out."""

    def answered(self, sender: Contact, answer: Answer, *, rtt_s: float) -> None:
        """Note an answer to a request."""

    def slow(self, endpoint: Endpoint) -> None:
        """Note that a request has passed its soft deadline."""

    def failed(self, endpoint: Endpoint, error: QueryError) -> None:
        """Note that a request was refused or never answered."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be sent or waited for."""

    def take_found(self) -> list[PeersFound]:
        """Return what was found since the last call."""


class Ping:
    """One ping.

    Attributes:
        endpoint: Whom it goes to.
        sender: Who answered: its id and endpoint; None until then.
        rtt_s: The round trip in seconds; None without an answer.
        error: Why there is no answer; None until that is known.

    Spec: BEP 5 "ping".
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare to ping an endpoint."""
        self.endpoint = endpoint
        self.sender: Contact | None = None
        self.rtt_s: float | None = None
        self.error: QueryError | None = None
        self._sent = False

    def next_request(self) -> Request | None:
        """Return the ping until it is sent."""
        return None if self._sent else Request(self.endpoint, PING, {})

    def sent(self, request: Request) -> None:
        """Note that the ping went out."""
        self._sent = True

    def answered(self, sender: Contact, answer: Answer, *, rtt_s: float) -> None:
        """Keep the result."""
        self.sender, self.rtt_s = sender, rtt_s

    def slow(self, endpoint: Endpoint) -> None:
        """Wait on: there is nobody else to ask."""

    def failed(self, endpoint: Endpoint, error: QueryError) -> None:
        """Keep the reason."""
        self.error = error

    @property
    def is_done(self) -> bool:
        """Whether the answer is in, or will never be."""
        return self.sender is not None or self.error is not None

    def take_found(self) -> list[PeersFound]:
        """Return nothing: a ping finds no peers."""
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


class Search:
    """A lookup that asks one method everywhere, and may write to the closest nodes at its end.

    Attributes:
        lookup: The walk, with its counts of nodes asked, answered and failed.
        answers_from_routers: Bootstrap hosts that answered, in order.
        silent_routers: Bootstrap hosts that did not.
        peers: Distinct peers met so far, in order, at most `PEERS_PER_SEARCH_MAX`.
        announced_to: Nodes that accepted the announcement.
    """

    def __init__(
        self,
        method: bytes,
        lookup: Lookup,
        *,
        routers: Iterable[Endpoint] = (),
        announcement: Announcement | None = None,
    ) -> None:
        """Prepare a search.

        Args:
            method: `FIND_NODE` or `GET_PEERS`.
            lookup: With its target and first candidates.
            routers: Bootstrap hosts, asked find_node all at once when the other candidates do not
                suffice; only the nodes they name matter.
            announcement: What to announce at the end; needs `GET_PEERS`.
        """
        self.method = method
        self.lookup = lookup
        self.answers_from_routers: list[Endpoint] = []
        self.silent_routers: list[Endpoint] = []
        self.peers: dict[Endpoint, None] = {}
        self.announced_to: list[Contact] = []
        self._routers = list(dict.fromkeys(routers))
        self._routers_asked: set[Endpoint] = set()
        self._announcement = announcement
        self._writes: list[Request] | None = None
        self._writes_open: dict[Endpoint, None] = {}
        self._tokens: dict[Endpoint, bytes] = {}
        self._found: list[PeersFound] = []

    def add_routers(self, routers: Iterable[Endpoint]) -> None:
        """Take in further bootstrap hosts, whose names were resolved meanwhile."""
        known = {
            *self._routers,
            *self._routers_asked,
            *self.answers_from_routers,
            *self.silent_routers,
        }
        self._routers += [it for it in dict.fromkeys(routers) if it not in known]

    @property
    def target(self) -> bytes:
        """The 20 bytes searched for."""
        return self.lookup.target

    def next_request(self) -> Request | None:
        """Return the next router, candidate or node to announce to, in this order."""
        if self._needs_routers:
            return Request(self._routers[0], FIND_NODE, {b"target": self.target})
        contact = self.lookup.next_query()
        if contact is not None:
            key = b"info_hash" if self.method == GET_PEERS else b"target"
            return Request(contact.endpoint, self.method, {key: self.target})
        if not self._walk_is_over or self._announcement is None:
            return None
        if self._writes is None:
            self._writes = self._announce_requests(self._announcement)
        return self._writes[0] if self._writes else None

    def sent(self, request: Request) -> None:
        """Note that the request that `next_request` gave went out."""
        if self._needs_routers:
            self._routers_asked.add(self._routers.pop(0))
        elif self._writes and request is self._writes[0]:
            self._writes_open[self._writes.pop(0).endpoint] = None
        else:
            self.lookup.asked(request.endpoint)

    def answered(self, sender: Contact, answer: Answer, *, rtt_s: float) -> None:
        """Take from an answer the nodes to ask next, the token, and peers not met before."""
        endpoint = sender.endpoint
        if endpoint in self._writes_open:
            del self._writes_open[endpoint]
            self.announced_to.append(sender)
        elif endpoint in self._routers_asked:
            self._routers_asked.discard(endpoint)
            self.answers_from_routers.append(endpoint)
            self.lookup.add(answer.contacts)
        else:
            if answer.token is not None:
                self._tokens[endpoint] = answer.token
            self.lookup.answered(sender, answer.contacts)
            self._report(sender, answer.peers)

    def slow(self, endpoint: Endpoint) -> None:
        """Let somebody else be asked beside a slow candidate."""
        if endpoint not in self._routers_asked and endpoint not in self._writes_open:
            self.lookup.slow(endpoint)

    def failed(self, endpoint: Endpoint, error: QueryError) -> None:
        """Go on without a candidate, router or holder."""
        if endpoint in self._writes_open:
            del self._writes_open[endpoint]
        elif endpoint in self._routers_asked:
            self._routers_asked.discard(endpoint)
            self.silent_routers.append(endpoint)
        else:
            self.lookup.failed(endpoint)

    @property
    def is_done(self) -> bool:
        """Whether the walk, and the announcing after it, are over."""
        if not self._walk_is_over:
            return False
        if self._announcement is None:
            return True
        return self._writes is not None and not self._writes and not self._writes_open

    def take_found(self) -> list[PeersFound]:
        """Return the peers met since the last call."""
        found, self._found = self._found, []
        return found

    @property
    def _walk_is_over(self) -> bool:
        return not self._needs_routers and not self._routers_asked and self.lookup.is_done

    @property
    def _needs_routers(self) -> bool:
        """Whether to turn to the bootstrap hosts: nobody else is left, or seems to be alive."""
        if not self._routers or self.lookup.is_struggling:
            return bool(self._routers)
        return self.lookup.is_done and self.lookup.answered_count < K

    def _report(self, responder: Contact, peers: list[Endpoint]) -> None:
        room = PEERS_PER_SEARCH_MAX - len(self.peers)
        fresh = tuple(dict.fromkeys(peer for peer in peers if peer not in self.peers))[:room]
        if fresh:
            self.peers.update(dict.fromkeys(fresh))
            self._found.append(PeersFound(self, responder, fresh))

    def _announce_requests(self, announcement: Announcement) -> list[Request]:
        holders = [node for node in self.lookup.closest() if node.endpoint in self._tokens][:K]
        return [
            Request(
                holder.endpoint,
                ANNOUNCE_PEER,
                {
                    b"implied_port": int(announcement.implied_port),
                    b"info_hash": self.target,
                    b"port": announcement.port,
                    b"seed": int(announcement.seed),
                    b"token": self._tokens[holder.endpoint],
                },
            )
            for holder in holders
        ]


def node_search(
    target: bytes, seeds: Iterable[Contact] = (), routers: Iterable[Endpoint] = ()
) -> Search:
    """Return a search for the nodes nearest to a target."""
    return Search(FIND_NODE, Lookup(target, seeds), routers=routers)


def peer_search(info_hash: InfoHash, announcement: Announcement | None = None) -> Search:
    """Return a search for the peers of an info-hash, which may announce at its end."""
    return Search(GET_PEERS, Lookup(info_hash), announcement=announcement)
