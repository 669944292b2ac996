"""What the engine can be asked to find out.

An inquiry says which queries to send, and is told what came of them. `Call` is one query to one
node; `dht.search` has those that walk the key space. Inquiries are pure; the engine sends for them,
and hands their events on.

Spec: BEP 5 "DHT Queries".
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar

from dht.bencode import BValue
from dht.contact import Contact, Endpoint
from dht.errors import QueryError
from dht.krpc import PING, Answer


class Request(NamedTuple):
    """A query to be sent: to whom, and what; the engine adds our id."""

    endpoint: Endpoint
    method: bytes
    arguments: dict[bytes, BValue]


class PeersNamed(NamedTuple):
    """Peers that one node named and that the search had not met before."""

    responder: Contact
    peers: tuple[Endpoint, ...]


class Found(NamedTuple):
    """Something that an inquiry found while it goes on."""

    inquiry: "Inquiry"
    finding: PeersNamed


class Ended(NamedTuple):
    """An inquiry is over; its attributes hold the result."""

    inquiry: "Inquiry"


class JoinEnded(NamedTuple):
    """An attempt to get to know the network is over.

    Attributes:
        answered: Bootstrap hosts that answered, in order, and the seconds they took.
        silent: Bootstrap hosts that were asked and did not.
    """

    answered: Mapping[Endpoint, float]
    silent: tuple[Endpoint, ...]


Event = Found | Ended | JoinEnded


class Inquiry(Protocol):
    """Something that is found out by asking other nodes."""

    def next_request(self) -> Request | None:
        """Return what to send now, or None; the same again until something changes it."""

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

    def take_findings(self) -> list[PeersNamed]:
        """Return what was found since the last call."""


InquiryT = TypeVar("InquiryT", bound=Inquiry)


class Call:
    """One query to one node.

    Attributes:
        endpoint: Whom it goes to.
        sender: Who answered: its id and endpoint; None until then.
        answer: What it answered; None until then.
        rtt_s: The round trip in seconds; None without an answer.
        error: Why there is no answer; None until that is known.
    """

    def __init__(
        self, endpoint: Endpoint, method: bytes, arguments: dict[bytes, BValue] | None = None
    ) -> None:
        """Prepare a query; our id need not be among the arguments."""
        self.endpoint = endpoint
        self.sender: Contact | None = None
        self.answer: Answer | None = None
        self.rtt_s: float | None = None
        self.error: QueryError | None = None
        self._request: Request | None = Request(endpoint, method, arguments or {})

    def next_request(self) -> Request | None:
        """Return the query until it is sent."""
        return self._request

    def sent(self, request: Request) -> None:
        """Note that the query went out."""
        self._request = None

    def answered(self, sender: Contact, answer: Answer, *, rtt_s: float) -> None:
        """Keep the result."""
        self.sender, self.answer, self.rtt_s = sender, answer, rtt_s

    def slow(self, endpoint: Endpoint) -> None:
        """Wait on: there is nobody else to ask."""

    def failed(self, endpoint: Endpoint, error: QueryError) -> None:
        """Keep the reason."""
        self.error = error

    @property
    def is_done(self) -> bool:
        """Whether the answer is in, or will never be."""
        return self.sender is not None or self.error is not None

    def take_findings(self) -> list[PeersNamed]:
        """Return nothing: what a single answer says is in it."""
        return []


def ping(endpoint: Endpoint) -> Call:
    """Return a ping. Spec: BEP 5 "ping"."""
    return Call(endpoint, PING)
