"""Conversations with UDP trackers: connection ids, retransmission, and whose answer is whose.

A tracker is asked for a connection id, which serves every request to it for a minute. What is not
answered within 15 s is sent again, then after 30 s, and so on, each wait twice the one before; if
the connection id has become too old by then, a new one is asked for first, and the waits go on from
where they were. A connect is shared by all requests that wait for it.

The exchange sends nothing and has no clock: datagrams and time go in; datagrams, finished tickets
and the next deadline come out.

Departures: BEP 15 goes on for an hour, while a link is given up much sooner, and so is a silent
tracker here. A tracker that has forgotten a connection id, as one does that was restarted, answers
with an error; the request is then made once more with a new id.

Spec: BEP 15 "time outs".
"""

from collections.abc import Iterator
from random import Random
from typing import Final, TypeAlias

from dht.contact import Endpoint, family_of
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import Announce, Announced
from magnet.sources.trackers.udp import (
    TRANSACTION_IDS,
    Answer,
    Connected,
    Refused,
    Response,
    Scrape,
    Scraped,
    decode_response,
    encode_announce,
    encode_connect,
    encode_scrape,
    transaction_of,
)

FIRST_WAIT_S: Final = 15.0
"""Seconds to wait for an answer at first; doubles each time. Spec: BEP 15 "time outs"."""

RETRANSMISSIONS_MAX: Final = 3
"""How often a datagram is repeated: with the waits after it, that takes 225 s, and no link lives
that long. BEP 15 allows 8."""

CONNECTION_LIFETIME_S: Final = 60.0
"""Seconds for which a connection id may be used. Spec: BEP 15 "connect response"."""

TRACKERS_KEPT: Final = 256
"""Trackers remembered before those are forgotten that have nothing to be remembered for."""

Request: TypeAlias = Announce | Scrape


class Ticket:
    """A request on its way.

    Attributes:
        to: Whom it goes to.
        request: What is asked.
        outcome: The answer, or why there is none; None until then.
    """

    __slots__ = (
        "deadline",
        "options",
        "outcome",
        "renewed",
        "request",
        "started_at",
        "to",
        "transaction",
        "tries",
    )

    def __init__(self, to: Endpoint, request: Request, options: bytes, now: float) -> None:
        """Made by `UdpExchange.start`."""
        self.to = to
        self.request = request
        self.options = options
        self.outcome: Answer | SourceError | None = None
        self.started_at = now
        self.transaction: int | None = None
        self.tries = 0
        self.deadline = float("inf")
        self.renewed = False

    def result(self) -> Answer:
        """Return the answer.

        Raises:
            SourceError: There is none.
        """
        if self.outcome is None:
            raise SourceError(SourceFault.TIMEOUT, "no answer yet")
        if isinstance(self.outcome, SourceError):
            raise self.outcome
        return self.outcome

    def is_answered_by(self, response: Response) -> bool:
        """Tell whether an answer is of the kind that the request asks for."""
        if isinstance(self.request, Announce):
            return isinstance(response, Announced)
        return isinstance(response, Scraped)


class _Connect:
    """A connect on its way."""

    __slots__ = ("deadline", "transaction", "tries")

    def __init__(self, transaction: int, tries: int, now: float) -> None:
        self.transaction = transaction
        self.tries = tries
        self.deadline = now + _wait_s(tries)


class _Tracker:
    """What is going on with one tracker."""

    def __init__(self) -> None:
        self.connection = 0
        self.connected_at = float("-inf")
        self.connect: _Connect | None = None
        self.tickets: dict[Ticket, None] = {}
        self.sent: dict[int, Ticket] = {}

    def is_connected(self, now: float) -> bool:
        return now < self.connected_at + CONNECTION_LIFETIME_S

    def waiting(self) -> list[Ticket]:
        """Return the requests that wait for a connection id."""
        return [it for it in self.tickets if it.transaction is None]

    def forget(self, ticket: Ticket) -> None:
        self.tickets.pop(ticket, None)
        if ticket.transaction is not None:
            self.sent.pop(ticket.transaction, None)
            ticket.transaction = None
        if not self.tickets:
            self.connect = None

    def deadlines(self) -> Iterator[float]:
        if self.connect is not None:
            yield self.connect.deadline
        for ticket in self.sent.values():
            yield ticket.deadline


class UdpExchange:
    """All conversations with UDP trackers over one or two sockets."""

    def __init__(self, rng: Random, *, retransmissions_max: int = RETRANSMISSIONS_MAX) -> None:
        """Start with none.

        Args:
            rng: Makes transaction ids, which strangers must not guess: a strong source, please.
            retransmissions_max: How often a datagram is repeated.
        """
        self._rng = rng
        self._retransmissions_max = retransmissions_max
        self._trackers: dict[Endpoint, _Tracker] = {}
        self._datagrams: list[tuple[bytes, Endpoint]] = []
        self._finished: list[Ticket] = []

    def start(self, to: Endpoint, request: Request, options: bytes = b"", *, now: float) -> Ticket:
        """Ask a tracker.

        Args:
            to: The tracker.
            request: What to ask.
            options: Of an announce, as `url_data` makes them.
            now: Monotonic seconds.
        """
        if to not in self._trackers and len(self._trackers) >= TRACKERS_KEPT:
            self._forget_idle(now)
        tracker = self._trackers.setdefault(to, _Tracker())
        ticket = Ticket(to, request, options, now)
        tracker.tickets[ticket] = None
        self._advance(tracker, ticket, now)
        return ticket

    def tell(self, to: Endpoint, announce: Announce, options: bytes = b"", *, now: float) -> bool:
        """Send an announce once if that can be done at once, and care for no answer.

        Returns:
            Whether there was a connection id to send it with.
        """
        tracker = self._trackers.get(to)
        if tracker is None or not tracker.is_connected(now):
            return False
        transaction = self._rng.randrange(TRANSACTION_IDS)
        datagram = encode_announce(tracker.connection, transaction, announce, options)
        self._datagrams.append((datagram, to))
        return True

    def cancel(self, ticket: Ticket) -> None:
        """Forget a request; nothing happens if it is finished."""
        tracker = self._trackers.get(ticket.to)
        if tracker is not None:
            tracker.forget(ticket)

    def receive(self, datagram: bytes, source: Endpoint, *, now: float) -> None:
        """Take in a datagram; what answers nothing that was sent to its source is ignored."""
        tracker = self._trackers.get(source)
        transaction = transaction_of(datagram)
        if tracker is None or transaction is None:
            return
        try:
            response = decode_response(datagram, family_of(source))
        except SourceError:
            return
        if tracker.connect is not None and tracker.connect.transaction == transaction:
            self._connected(tracker, response, now)
        elif (ticket := tracker.sent.get(transaction)) is not None:
            self._answered(tracker, ticket, response, now)

    def handle_timeouts(self, *, now: float) -> None:
        """Repeat what is due, and give up what was repeated often enough."""
        for to, tracker in self._trackers.items():
            if tracker.connect is not None and tracker.connect.deadline <= now:
                self._connect_expired(to, tracker, tracker.connect, now)
            for ticket in [it for it in tracker.sent.values() if it.deadline <= now]:
                if ticket.tries >= self._retransmissions_max:
                    self._finish(tracker, ticket, _silence(ticket, now))
                else:
                    ticket.tries += 1
                    self._advance(tracker, ticket, now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timeouts` is due, in monotonic seconds; None if nothing is."""
        return min(
            (deadline for it in self._trackers.values() for deadline in it.deadlines()),
            default=None,
        )

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        """Return what is to be sent, and to whom."""
        taken, self._datagrams = self._datagrams, []
        return taken

    def take_finished(self) -> list[Ticket]:
        """Return the requests that have come to an end since the last call."""
        taken, self._finished = self._finished, []
        return taken

    def _advance(self, tracker: _Tracker, ticket: Ticket, now: float) -> None:
        """Send a request, or see to a connection id first."""
        if tracker.is_connected(now):
            self._send(tracker, ticket, now)
            return
        if ticket.transaction is not None:
            del tracker.sent[ticket.transaction]
            ticket.transaction = None
        if tracker.connect is None:
            transaction = self._rng.randrange(TRANSACTION_IDS)
            tracker.connect = _Connect(transaction, ticket.tries, now)
            self._datagrams.append((encode_connect(transaction), ticket.to))

    def _send(self, tracker: _Tracker, ticket: Ticket, now: float) -> None:
        transaction = ticket.transaction
        while transaction is None or tracker.sent.get(transaction, ticket) is not ticket:
            transaction = self._rng.randrange(TRANSACTION_IDS)
        ticket.transaction = transaction
        ticket.deadline = now + _wait_s(ticket.tries)
        tracker.sent[transaction] = ticket
        request = ticket.request
        if isinstance(request, Announce):
            datagram = encode_announce(tracker.connection, transaction, request, ticket.options)
        else:
            datagram = encode_scrape(tracker.connection, transaction, request.info_hashes)
        self._datagrams.append((datagram, ticket.to))

    def _connected(self, tracker: _Tracker, response: Response, now: float) -> None:
        if isinstance(response, Connected):
            tracker.connection, tracker.connected_at = response.connection_id, now
            tracker.connect = None
            for ticket in tracker.waiting():
                self._send(tracker, ticket, now)
        elif isinstance(response, Refused):
            for ticket in tracker.waiting():
                self._finish(tracker, ticket, SourceError(SourceFault.REFUSED, response.reason))
            tracker.connect = None

    def _answered(self, tracker: _Tracker, ticket: Ticket, response: Response, now: float) -> None:
        if isinstance(response, Refused):
            if ticket.started_at > tracker.connected_at and not ticket.renewed:
                ticket.renewed = True
                tracker.connected_at = float("-inf")
                self._advance(tracker, ticket, now)
            else:
                self._finish(tracker, ticket, SourceError(SourceFault.REFUSED, response.reason))
        elif isinstance(response, Announced | Scraped) and ticket.is_answered_by(response):
            self._finish(tracker, ticket, response)

    def _connect_expired(
        self, to: Endpoint, tracker: _Tracker, connect: _Connect, now: float
    ) -> None:
        if connect.tries >= self._retransmissions_max:
            for ticket in tracker.waiting():
                self._finish(tracker, ticket, _silence(ticket, now))
            tracker.connect = None
            return
        connect.tries += 1
        connect.deadline = now + _wait_s(connect.tries)
        self._datagrams.append((encode_connect(connect.transaction), to))

    def _finish(self, tracker: _Tracker, ticket: Ticket, outcome: Answer | SourceError) -> None:
        tracker.forget(ticket)
        ticket.outcome = outcome
        self._finished.append(ticket)

    def _forget_idle(self, now: float) -> None:
        idle = [
            to for to, it in self._trackers.items() if not it.tickets and not it.is_connected(now)
        ]
        for to in idle:
            del self._trackers[to]


def _wait_s(tries: int) -> float:
    return FIRST_WAIT_S * 2.0**tries


def _silence(ticket: Ticket, now: float) -> SourceError:
    return SourceError(SourceFault.TIMEOUT, f"no answer in {now - ticket.started_at:.0f} s")
