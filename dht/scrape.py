"""Asking nodes how many peers a swarm has.

A node that knows of BEP 33 answers with two filters, of seeds and of leechers, and then perhaps
names no peers. One that does not answers as ever, and names some of the peers that it knows. Both
are testimony. Filters that the same answer contradicts are not.

Spec: BEP 33.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from dht.bencode import BValue
from dht.bloom import FILTER_BYTES, AddressFilter
from dht.contact import Contact, Endpoint, address_of
from dht.errors import QueryError
from dht.inquiry import PeersNamed, Request
from dht.krpc import GET_PEERS, Answer
from dht.search import Holder, Question

_SEED_KEYS: Final = (b"BFsd", b"BFse")
"""The second is what a widespread client has always written instead."""

_LEECHER_KEYS: Final = (b"BFpe",)


class Statement(NamedTuple):
    """What one node says of a swarm.

    Attributes:
        seeds: The addresses of seeds; None where it did not say.
        leechers: The addresses of other peers; None where it did not say.
        named: The addresses of the peers that it named.
    """

    seeds: AddressFilter | None
    leechers: AddressFilter | None
    named: frozenset[bytes]

    @property
    def has_filters(self) -> bool:
        """Whether it gave a filter at least."""
        return self.seeds is not None or self.leechers is not None


def read_statement(answer: Answer) -> Statement | None:
    """Take from an answer what it says of a swarm.

    Returns:
        None if the peers it names are not in the filters it gives: one of them is invented.

    Spec: BEP 33 (both filters or none; sanity checks).
    """
    values = answer.response.values
    named = frozenset(address_of(peer) for peer in answer.peers)
    seeds, leechers = _read_filter(values, _SEED_KEYS), _read_filter(values, _LEECHER_KEYS)
    statement = Statement(seeds, leechers, named)
    known = (seeds or AddressFilter()) | (leechers or AddressFilter())
    if statement.has_filters and not all(address in known for address in named):
        return None
    return statement


class ScrapeSwarm:
    """To know how many peers a swarm has.

    Attributes:
        testimony: What each node said, by contact; contradictions are left out.
    """

    def __init__(self) -> None:
        """Start without testimony."""
        self.testimony: dict[Contact, Statement] = {}

    def question(self, target: bytes) -> Question:
        """Ask for filters. Spec: BEP 33 "scrape"."""
        return Question(GET_PEERS, {b"info_hash": target, b"scrape": 1})

    def take(self, sender: Contact, answer: Answer) -> None:
        """Keep what a node says."""
        statement = read_statement(answer)
        if statement is not None:
            self.testimony[sender] = statement

    def writes(self, target: bytes, holders: Sequence[Holder]) -> list[Request]:
        """Write nothing."""
        return []

    def accepted(self, sender: Contact) -> None:
        """Never happens: nothing is written."""

    def refused(self, endpoint: Endpoint, error: QueryError) -> None:
        """Never happens: nothing is written."""

    def take_findings(self) -> list[PeersNamed]:
        """Return nothing: a number is the result."""
        return []


def _read_filter(values: dict[bytes, BValue], keys: Sequence[bytes]) -> AddressFilter | None:
    """Return the filter under the first of the keys that has one."""
    for key in keys:
        value = values.get(key)
        if isinstance(value, bytes) and len(value) == FILTER_BYTES:
            return AddressFilter.from_bytes(value)
    return None
