"""Carries out inquiries: sends what they want sent, within limits, and hands the answers back.

An inquiry is pumped: as long as it has a request and the flow budget admits its endpoint, the
request is sent. One that the budget holds up waits in line, first come first served; one whose next
request goes to an address that was asked too often of late waits until it may be asked again.

What an answer says of its sender is the engine's business, and happens before it comes here.
"""

import random
from collections import deque
from typing import Final

from dht.contact import Contact, Endpoint
from dht.errors import QueryError, QueryRefused, QueryTimeout
from dht.inquiry import Ended, Found, Inquiry, Request
from dht.keyspace import NodeId
from dht.krpc import Answer, encode_query
from dht.ratelimit import Courtesy, FlowBudget
from dht.transactions import Transaction, Transactions

INQUIRIES_MAX: Final = 10_000
"""Inquiries at once; a batch of links uses some hundred."""


class Inquirer:
    """The inquiries of one engine.

    Attributes:
        sent_count: Queries sent.
        unanswered_count: Queries that failed for want of an answer.
        courtesy: Bounds queries per address.
    """

    def __init__(
        self, own_id: NodeId, rng: random.Random, budget: FlowBudget, *, read_only: bool
    ) -> None:
        """Start with none.

        Args:
            own_id: What we call ourselves in queries.
            rng: Where transaction ids come from.
            budget: Bounds new flows.
            read_only: Whether to say in queries that we answer none. Spec: BEP 43.
        """
        self.own_id = own_id
        self.read_only = read_only
        self.sent_count = 0
        self.unanswered_count = 0
        self.courtesy = Courtesy()
        self._budget = budget
        self._transactions: Transactions[Inquiry] = Transactions(rng)
        self._running: dict[Inquiry, None] = {}
        self._starved: deque[Inquiry] = deque()
        self._patient: dict[Inquiry, float] = {}
        self._outbox: list[tuple[bytes, Endpoint]] = []
        self._events: list[Found | Ended] = []

    def __len__(self) -> int:
        """Return how many inquiries are running."""
        return len(self._running)

    @property
    def in_flight(self) -> int:
        """How many queries wait for an answer."""
        return len(self._transactions)

    @property
    def slow_after_s(self) -> float:
        """After how many seconds a query counts as slow at present."""
        return self._transactions.round_trips.slow_s

    def start(self, inquiry: Inquiry, *, now: float) -> None:
        """Start an inquiry."""
        self._running[inquiry] = None
        self.pump(inquiry, now=now)

    def cancel(self, inquiry: Inquiry) -> None:
        """Forget an inquiry; no further event will name it."""
        if inquiry in self._running:
            del self._running[inquiry]
            self._transactions.abandon(inquiry)
        self._patient.pop(inquiry, None)
        if inquiry in self._starved:
            self._starved.remove(inquiry)

    def match(
        self, source: Endpoint, transaction_id: bytes, *, now: float
    ) -> Transaction[Inquiry] | None:
        """Take the query that an answer or error from `source` belongs to, if there is one."""
        return self._transactions.match(source, transaction_id, now=now)

    def awaits(self, transaction_id: bytes) -> bool:
        """Tell whether an answer with this transaction id is expected, from wherever."""
        return self._transactions.has(transaction_id)

    def answered(
        self, transaction: Transaction[Inquiry], sender: Contact, answer: Answer, *, now: float
    ) -> None:
        """Hand an answer to the inquiry that asked, unless that is over: then its result stands."""
        inquiry = transaction.owner
        if inquiry in self._running:
            inquiry.answered(sender, answer, rtt_s=now - transaction.sent_at)
            self.pump(inquiry, now=now)

    def refused(self, transaction: Transaction[Inquiry], error: QueryError, *, now: float) -> None:
        """Tell an inquiry that its query was refused, unless that is over."""
        inquiry = transaction.owner
        if inquiry in self._running:
            inquiry.failed(transaction.endpoint, error)
            self.pump(inquiry, now=now)

    def handle_deadlines(self, *, now: float) -> list[Transaction[Inquiry]]:
        """Tell inquiries of slow and failed queries, and go on with those the budget held up.

        Returns:
            The queries that failed.
        """
        expired = self._transactions.expire(now=now)
        for transaction, failed in expired:
            inquiry = transaction.owner
            if failed:
                self.refused(transaction, QueryTimeout(now - transaction.sent_at), now=now)
            elif inquiry in self._running:
                inquiry.slow(transaction.endpoint)
                self.pump(inquiry, now=now)
        self._feed_starved(now)
        if self._patient:
            self._wake_patient(now)
        failures = [it.transaction for it in expired if it.failed]
        self.unanswered_count += len(failures)
        return failures

    def next_deadline(self, *, now: float) -> float:
        """Return when `handle_deadlines` has something to do, in monotonic seconds."""
        deadline = self._transactions.next_deadline()
        if self._patient:
            deadline = min(deadline, *self._patient.values())
        return min(deadline, self._budget.ready_at(now=now)) if self._starved else deadline

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        """Take the queries that are to be sent, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def take_events(self) -> list[Found | Ended]:
        """Take what has happened, in order."""
        events, self._events = self._events, []
        return events

    def pump(self, inquiry: Inquiry, *, now: float) -> None:
        """Send what an inquiry wants sent, as far as limits allow, and notice its end."""
        if inquiry not in self._running:
            return
        while (request := inquiry.next_request()) is not None:
            ready_at = self.courtesy.ready_at(request.endpoint, now=now)
            if ready_at > now:
                self._patient[inquiry] = ready_at
                break
            if not self._budget.admits(request.endpoint, now=now):
                if inquiry not in self._starved:
                    self._starved.append(inquiry)
                break
            self._send(request, inquiry, now)
        for finding in inquiry.take_findings():
            self._events.append(Found(inquiry, finding))
        if inquiry.is_done:
            del self._running[inquiry]
            self._patient.pop(inquiry, None)
            self._events.append(Ended(inquiry))

    def _send(self, request: Request, inquiry: Inquiry, now: float) -> None:
        inquiry.sent(request)
        try:
            transaction = self._transactions.begin(request.endpoint, inquiry, now=now)
        except QueryRefused as refusal:
            inquiry.failed(request.endpoint, refusal)
            return
        endpoint, method, arguments = request
        datagram = encode_query(
            transaction.id, method, {b"id": self.own_id, **arguments}, read_only=self.read_only
        )
        self.courtesy.asked(endpoint, now=now)
        self.sent_count += 1
        self._outbox.append((datagram, endpoint))

    def _wake_patient(self, now: float) -> None:
        for inquiry in [it for it, until in self._patient.items() if until <= now]:
            del self._patient[inquiry]
            self.pump(inquiry, now=now)

    def _feed_starved(self, now: float) -> None:
        for _ in range(len(self._starved)):
            if self._budget.ready_at(now=now) > now:
                return
            self.pump(self._starved.popleft(), now=now)
