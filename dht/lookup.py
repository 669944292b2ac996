"""An iterative lookup, as an object that is told what happened and asked whom to query next.

Candidates are kept sorted by distance to the target. At any moment `alpha` queries may be in
flight, always to the nearest candidates not yet asked, and a slow one gives up its place without
giving up its chance: as long as it stands among the K nearest it is asked once more, since a lost
datagram looks just like a dead node. The lookup is done when the K nearest candidates that are
alive have all answered: not when a round brings nothing nearer, which is where careless lookups
stop short. There is no lock and nothing to wait for, so it cannot deadlock.

Spec: BEP 5 "DHT Queries"; Maymounkov and Mazieres, "Kademlia" (2002), section 2.3. Slow queries
freeing their place, one candidate a network and the cap on candidates are libtorrent's practice.
"""

from bisect import bisect_right
from collections.abc import Iterable
from enum import Enum
from typing import Final

from dht.contact import Contact, Endpoint
from dht.routing import K
from dht.suspicion import Scrutiny

ALPHA: Final = 6
"""Queries in flight that are not slow; clients use 3 to 10. With a quarter of the nodes dead, 6 met
the first peer a tenth sooner than 4, in the slowest twentieth a third, for two queries more."""

CANDIDATES_MAX: Final = 200
"""Candidates kept: 25 times what decides the result."""

ATTEMPTS_MAX: Final = 2
"""Queries to one candidate: at 5 % loss each way one in ten is lost, two in a row 1 in 100."""

QUERIES_MAX: Final = 200
"""Queries in one lookup, however many nodes are invented to prolong it; honest ones take 30."""


class State(Enum):
    """What has become of a candidate."""

    WAITING = "waiting"
    ASKED = "asked"
    SLOW = "slow"
    ANSWERED = "answered"
    FAILED = "failed"


# Python 3.11 looks a member up through a descriptor in Python, and a lookup compares them all day.
_WAITING, _ASKED, _SLOW, _ANSWERED, _FAILED = State


class _Candidate:
    __slots__ = ("attempts", "contact", "open", "state")

    def __init__(self, contact: Contact) -> None:
        self.contact = contact
        self.state = _WAITING
        self.attempts = 0
        self.open = 0


class Lookup:
    """The search for the K living nodes nearest to a target.

    Attributes:
        target: 20 bytes.
        is_done: Whether the K nearest living candidates have answered, or nobody is left to ask.
        answered_count: How many answered as who they are.
        failed_count: How many did not, or were refused.
    """

    def __init__(
        self,
        target: bytes,
        seeds: Iterable[Contact] = (),
        *,
        alpha: int = ALPHA,
        scrutiny: Scrutiny | None = None,
    ) -> None:
        """Start with what the routing table knows.

        Args:
            target: 20 bytes.
            seeds: Contacts to begin with, in any order.
            alpha: Queries in flight that are not slow.
            scrutiny: What to believe of candidates; None for the default rules.
        """
        self.target = target
        self._key = int.from_bytes(target)
        self._alpha = alpha
        self._ranked: list[_Candidate] = []
        self._distances: list[int] = []
        self._by_endpoint: dict[Endpoint, _Candidate] = {}
        self._scrutiny = scrutiny if scrutiny is not None else Scrutiny()
        self._in_flight = 0
        self._asked = 0
        self._slow = 0
        self._is_surveyed = False
        self._next: Contact | None = None
        self.is_done = True
        self.answered_count = 0
        self.failed_count = 0
        self.add(seeds)

    @property
    def asked_count(self) -> int:
        """How many candidates have been queried."""
        return self._asked

    def add(self, contacts: Iterable[Contact]) -> None:
        """Take in contacts that somebody named.

        Known endpoints are passed over, and so is what is not believed.
        """
        known, key, admits = self._by_endpoint, self._key, self._scrutiny.admits
        ranked, distances = self._ranked, self._distances
        for contact in contacts:
            id, endpoint = contact
            if endpoint in known:
                continue
            distance = int.from_bytes(id) ^ key
            if admits(endpoint, distance):
                known[endpoint] = candidate = _Candidate(contact)
                # Kept apart, distances are compared without a step of Python.
                rank = bisect_right(distances, distance)
                distances.insert(rank, distance)
                ranked.insert(rank, candidate)
        if len(ranked) > CANDIDATES_MAX:
            self._trim()
        self._survey()

    def next_query(self) -> Contact | None:
        """Return whom to ask now, or None while enough is in flight or nothing is left to ask."""
        if self._in_flight >= self._alpha or self._asked >= QUERIES_MAX:
            return None
        if not self._is_surveyed:
            self._survey()
        return self._next

    def asked(self, endpoint: Endpoint) -> None:
        """Note that a candidate is being queried: the one that `next_query` named."""
        candidate = self._by_endpoint[endpoint]
        candidate.state = _ASKED
        candidate.attempts += 1
        candidate.open += 1
        self._in_flight += 1
        self._asked += 1
        # It stands among the nearest, and may answer.
        self._is_surveyed = self.is_done = False

    def slow(self, endpoint: Endpoint) -> None:
        """Note that a query has passed its soft deadline: somebody else may be asked meanwhile."""
        candidate = self._by_endpoint[endpoint]
        if candidate.state is _ASKED:
            candidate.state = _SLOW
            self._in_flight -= 1
            self._slow += 1
            self._survey()

    def answered(self, sender: Contact, contacts: Iterable[Contact] = ()) -> None:
        """Note that a candidate answered, and whom it named.

        A sender whose id is not the one it was known by does not stand where it was thought to, so
        it cannot be among the closest, and one that is not trusted may not; whom it named may still
        help.
        """
        candidate = self._by_endpoint[sender.endpoint]
        is_result = candidate.contact == sender and self._scrutiny.counts(sender)
        self._settle(candidate, _ANSWERED if is_result else _FAILED)
        self.add(contacts)

    def failed(self, endpoint: Endpoint) -> None:
        """Note that a query to a candidate was refused or never answered."""
        candidate = self._by_endpoint[endpoint]
        candidate.open -= 1
        if candidate.open == 0:
            self._settle(candidate, _FAILED)
            self._survey()

    @property
    def is_struggling(self) -> bool:
        """Whether K queries went slow and none was answered: probably all are dead."""
        return self._slow >= K and not self.answered_count

    def closest(self) -> list[Contact]:
        """Return the candidates that have answered, nearest first.

        When the lookup is done the first K are its result.
        """
        return [it.contact for it in self._ranked if it.state is _ANSWERED]

    def nearest_distances(self) -> list[int]:
        """Return the distances of the K nearest that have answered; empty if fewer have."""
        ranked = zip(self._distances, self._ranked, strict=True)
        nearest = [distance for distance, it in ranked if it.state is _ANSWERED][:K]
        return nearest if len(nearest) == K else []

    def unasked(self) -> list[Contact]:
        """Return the candidates that were never queried, nearest first."""
        return [it.contact for it in self._ranked if it.state is _WAITING]

    def has_asked(self, endpoint: Endpoint) -> bool:
        """Tell whether somebody was queried."""
        candidate = self._by_endpoint.get(endpoint)
        return candidate is not None and candidate.attempts > 0

    @property
    def scrutiny(self) -> Scrutiny:
        """What is believed of candidates."""
        return self._scrutiny

    def _settle(self, candidate: _Candidate, state: State) -> None:
        """Give a candidate its last state; a second answer or failure changes nothing."""
        if candidate.state is _ASKED:
            self._in_flight -= 1
        if candidate.state in (_ANSWERED, _FAILED):
            return
        candidate.state = state
        if state is _ANSWERED:
            self.answered_count += 1
        else:
            self.failed_count += 1

    def _survey(self) -> None:
        """Look through the candidates, nearest first.

        Whoever waits nearer than the K nearest that count is next; if nobody does, the nearest of
        the slow, once more. Nothing further is to be decided if K have answered and nobody nearer
        may yet, or if nobody at all may.
        """
        is_spent = self._asked >= QUERIES_MAX
        counted, may_answer = 0, False
        self._is_surveyed, self._next = True, None
        for candidate in self._ranked:
            state = candidate.state
            if state is _ANSWERED or state is _ASKED:
                if state is _ASKED:
                    may_answer = True
                counted += 1
                if counted == K:
                    break
            elif state is _SLOW:
                may_answer = True
                if self._next is None and candidate.attempts < ATTEMPTS_MAX:
                    self._next = candidate.contact
            elif state is _WAITING and not is_spent:
                may_answer, self._next = True, candidate.contact
                break
        self.is_done = not may_answer

    def _trim(self) -> None:
        """Let the farthest candidates go that were never asked."""
        for index in range(len(self._ranked) - 1, CANDIDATES_MAX - 1, -1):
            candidate = self._ranked[index]
            if candidate.state is _WAITING:
                del self._ranked[index], self._distances[index]
                del self._by_endpoint[candidate.contact.endpoint]
                self._scrutiny.forget(candidate.contact.endpoint)
