"""Queries in flight: unguessable ids, answers matched to the address asked, and two deadlines each.

A query first becomes *slow*, when most nodes would have answered: then a lookup asks somebody else
as well. Much later, at the hard deadline, it *fails*. Both deadlines follow the round trips seen
lately, so that a fast network is used fast and a slow one is not called dead.

Spec: BEP 5 "KRPC Protocol"; two-stage timeouts as in libtorrent and mldht.
"""

import random
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, NamedTuple, TypeVar

from dht.contact import Endpoint
from dht.errors import QueryRefused

TRANSACTION_ID_BYTES: Final = 4
"""Length of our ids: an outsider has to guess 32 bits; one client reads no more than 15 bytes."""

IN_FLIGHT_MAX: Final = 4_096
"""Queries in flight; at 10,000 a second and 0.2 s a round trip there are 2,000."""

SLOW_MIN_S: Final = 0.1
SLOW_MAX_S: Final = 2.0
FAIL_MIN_S: Final = 2.0
FAIL_MAX_S: Final = 10.0
FAIL_FACTOR: Final = 5.0
"""The hard deadline is this many times the soft one: what comes later is rarely worth the wait."""

_IDS_DRAWN: Final = 64
_SAMPLES: Final = 256
_ESTIMATE_AFTER: Final = 16
_SLOW_QUANTILE: Final = 0.9
_SLOW_MARGIN: Final = 1.2

Owner = TypeVar("Owner")


class RoundTrips:
    """The round trips seen lately, and the two deadlines that follow from them.

    Attributes:
        slow_s: Seconds until a query is slow.
        fail_s: Seconds until it has failed.
    """

    def __init__(self) -> None:
        """Start with the patience of somebody who knows nothing."""
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self._until_estimate = _ESTIMATE_AFTER
        self.slow_s = 1.0
        self.fail_s = self.slow_s * FAIL_FACTOR

    def observe(self, rtt_s: float) -> None:
        """Note the round trip of an answer, in seconds."""
        self._samples.append(rtt_s)
        self._until_estimate -= 1
        if self._until_estimate <= 0:
            self._estimate()

    def _estimate(self) -> None:
        ordered = sorted(self._samples)
        usual = ordered[int(len(ordered) * _SLOW_QUANTILE)]
        self.slow_s = min(max(usual * _SLOW_MARGIN, SLOW_MIN_S), SLOW_MAX_S)
        self.fail_s = min(max(self.slow_s * FAIL_FACTOR, FAIL_MIN_S), FAIL_MAX_S)
        # The next when a quarter is new: to sort all for each would cost more than to send a query.
        self._until_estimate = max(_ESTIMATE_AFTER, len(ordered) // 4)


class Transaction(Generic[Owner]):
    """One query in flight.

    Attributes:
        id: Its transaction id.
        endpoint: Whom it went to.
        owner: Whoever wants to know what came of it.
        sent_at: In monotonic seconds.
        fails_at: Its hard deadline, in monotonic seconds.
    """

    __slots__ = ("endpoint", "fails_at", "id", "open", "owner", "sent_at")

    def __init__(
        self, id: bytes, endpoint: Endpoint, owner: Owner, *, sent_at: float, fails_at: float
    ) -> None:
        """Create the record of a query that is being sent."""
        self.id = id
        self.endpoint = endpoint
        self.owner = owner
        self.sent_at = sent_at
        self.fails_at = fails_at
        self.open = True


class Expiry(NamedTuple, Generic[Owner]):
    """A deadline that has passed: the soft one of a slow query or the hard one of a failed one."""

    transaction: Transaction[Owner]
    failed: bool


class Transactions(Generic[Owner]):
    """All queries in flight from one socket."""

    def __init__(self, rng: random.Random) -> None:
        """Start with none.

        Args:
            rng: Where transaction ids come from; must be cryptographically strong outside
                simulations.
        """
        self._rng = rng
        self._ids: list[bytes] = []
        self._open: dict[bytes, Transaction[Owner]] = {}
        self._deadlines: list[tuple[float, int, bool, Transaction[Owner]]] = []
        self._serial = count()
        self.round_trips = RoundTrips()

    def __len__(self) -> int:
        """Return how many queries are in flight."""
        return len(self._open)

    def begin(self, endpoint: Endpoint, owner: Owner, *, now: float) -> Transaction[Owner]:
        """Record a query that is being sent.

        Raises:
            QueryRefused: `IN_FLIGHT_MAX` queries are in flight already.
        """
        if len(self._open) >= IN_FLIGHT_MAX:
            raise QueryRefused("too many queries in flight")
        id = self._draw_id()
        trips = self.round_trips
        transaction = Transaction(id, endpoint, owner, sent_at=now, fails_at=now + trips.fail_s)
        self._open[id] = transaction
        heappush(self._deadlines, (now + trips.slow_s, next(self._serial), False, transaction))
        return transaction

    def match(self, source: Endpoint, id: bytes, *, now: float) -> Transaction[Owner] | None:
        """Take the query that a response or error from `source` belongs to; each is matched once.

        Returns:
            None if nothing with this id was asked of this very endpoint, or it was answered or has
            failed already.
        """
        transaction = self._open.get(id)
        if transaction is None or transaction.endpoint != source:
            return None
        del self._open[id]
        transaction.open = False
        self.round_trips.observe(now - transaction.sent_at)
        return transaction

    def has(self, id: bytes) -> bool:
        """Tell whether a query with this id is in flight, to whomever."""
        return id in self._open

    def abandon(self, owner: Owner) -> None:
        """Forget every query of an owner; answers that still come are not matched."""
        for key in [key for key, it in self._open.items() if it.owner is owner]:
            self._open.pop(key).open = False

    def expire(self, *, now: float) -> list[Expiry[Owner]]:
        """Take the deadlines that have passed, in order."""
        passed = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, hard, transaction = heappop(self._deadlines)
            if not transaction.open:
                continue
            if hard:
                transaction.open = False
                del self._open[transaction.id]
            else:
                heappush(
                    self._deadlines, (transaction.fails_at, next(self._serial), True, transaction)
                )
            passed.append(Expiry(transaction, hard))
        return passed

    def next_deadline(self) -> float:
        """Return when `expire` has something to do, in monotonic seconds; infinity if never."""
        while self._deadlines and not self._deadlines[0][3].open:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def _draw_id(self) -> bytes:
        """Draw an id that is not in use."""
        while True:
            if not self._ids:
                # In bulk: to ask the system for each would cost as much as the rest of a query.
                drawn = self._rng.randbytes(TRANSACTION_ID_BYTES * _IDS_DRAWN)
                self._ids = [
                    drawn[i : i + TRANSACTION_ID_BYTES]
                    for i in range(0, len(drawn), TRANSACTION_ID_BYTES)
                ]
            id = self._ids.pop()
            if id not in self._open:
                return id
