"""Limits: how much a stranger may ask of us, how much we ask of one, how fast we may open flows.

`TokenBucket` is the usual one. `SourceLimiter` holds one per querying address, so that a flood
costs its sender only. `Courtesy` is the same in the other direction. `FlowBudget` bounds what home
routers die of, which is not bytes but entries in their translation table: it counts remote
endpoints that were not spoken to lately, and everything we send first passes through it.

Spec: none in the BEPs. Figures: libtorrent blocks an address for 5 minutes after 50 messages in 10
s; a widespread router holds 8,192 entries for 30 s each and slows down above a third of that, which
is about 90 new endpoints a second.
"""

from enum import Enum
from typing import Final

from dht.contact import Endpoint, Scope, scope_of_address
from dht.reachability import LATELY_S
from dht.recollection import Recollection

QUERIES_PER_S: Final = 5.0
"""Queries answered from one address, sustained; what libtorrent tolerates."""

QUERIES_BURST: Final = 50.0
"""Queries answered from one address at once."""

BLOCK_S: Final = 300.0
"""How long an address is ignored once it keeps asking far beyond the limit."""

WRITES_PER_S: Final = 0.1
"""Queries that make us store something, from one address, sustained: each may fill a place for half
an hour, so an address fills 230 of our 10,000; of what one client announces little comes to us."""

WRITES_BURST: Final = 50.0
"""Such queries from one address at once."""

ASKED_PER_S: Final = 0.5
ASKED_BURST: Final = 5.0
"""Queries of ours to one address: ten in any 10 s, while the strictest known node answers 2 a
second, and another blocks an address for 5 minutes after 50 in 10 s."""

PARTIES_MAX: Final = 20_000
"""Addresses that we remember to have asked, for `LATELY_S`: what a home budget reaches in four
minutes."""

ABUSE_EXCESS: Final = 100
"""Refused queries in a row after which an address is blocked."""

SOURCES_MAX: Final = 20_000
"""Addresses remembered; the one silent longest is forgotten, and starts afresh if it returns."""

SOURCE_LIFETIME_S: Final = max(BLOCK_S, WRITES_BURST / WRITES_PER_S)
"""Seconds after which a silent address is forgotten: by then it is not blocked, and may ask and
write as much as one never heard of."""

FLOW_LIFETIME_S: Final = 30.0
"""How long a router keeps a UDP flow that is silent, at the short end."""

FLOWS_MAX: Final = 100_000
"""Flows remembered; more than any router holds."""

_ASKED_AHEAD_S: Final = (ASKED_BURST - 1) / ASKED_PER_S
# Python 3.11 looks a member up through a descriptor in Python; every datagram passes here.
_GLOBAL: Final = Scope.GLOBAL


class Budget(Enum):
    """New remote endpoints per second: the main knob of politeness towards one's own router.

    `HOME` fills a third of an 8,192-entry table at 30 s an entry.
    """

    GENTLE = 20.0
    HOME = 80.0
    SERVER = float("inf")

    @property
    def endpoints_per_s(self) -> float:
        """New remote endpoints per second; infinite where there is no limit."""
        return self.value


class TokenBucket:
    """So many per second, and a burst of at most so many at once.

    What the bucket holds is reckoned only when a unit is taken, so that `ready_at` does not move by
    a rounding while somebody waits: whoever sleeps until then is served, at any value of the clock.
    """

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: float, *, now: float) -> None:
        """Start full.

        Args:
            rate: Units per second; may be infinite.
            burst: Most units that collect; at least one does.
            now: Monotonic seconds.
        """
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._at = now

    def take(self, *, now: float) -> bool:
        """Take one unit if there is one."""
        level, at = self._level, self._at
        # As `ready_at`, spelled out: every query of a stranger passes here.
        if (at if level >= 1.0 else at + (1.0 - level) / self.rate) > now:
            return False
        level = min(self.burst, level + (now - at) * self.rate) if now > at else level
        self._level, self._at = max(level - 1.0, 0.0), now
        return True

    def ready_at(self, *, now: float) -> float:
        """Return when `take` will next succeed: `now` or later, in monotonic seconds."""
        return max(now, self._at + max(1.0 - self._level, 0.0) / self.rate)


class _Source:
    __slots__ = ("blocked_until", "bucket", "refused", "writes")

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.writes: TokenBucket | None = None
        self.refused = 0
        self.blocked_until = 0.0


class SourceLimiter:
    """Bounds the queries answered per source.

    A source is an IPv4 address or an IPv6 /64; outside public space it is an endpoint, for several
    nodes may share a local address (that is how networks are tested), while a public one belongs to
    one party.
    """

    def __init__(self, *, rate: float = QUERIES_PER_S, burst: float = QUERIES_BURST) -> None:
        """Set the limit for every source; an infinite rate switches the limiter off."""
        self._rate = rate
        self._burst = burst
        self._sources: Recollection[bytes, _Source] = Recollection(
            lifetime_s=max(SOURCE_LIFETIME_S, burst / rate), entries_max=SOURCES_MAX
        )
        self._unlimited = rate == float("inf")

    def admits(self, source: Endpoint, *, now: float) -> bool:
        """Count a query from `source`; tell whether to answer it."""
        if self._unlimited:
            return True
        entry = self._entry(_party(source), now)
        if now < entry.blocked_until:
            return False
        if entry.bucket.take(now=now):
            entry.refused = 0
            return True
        entry.refused += 1
        if entry.refused >= ABUSE_EXCESS:
            entry.blocked_until, entry.refused = now + BLOCK_S, 0
        return False

    def admits_write(self, source: Endpoint, *, now: float) -> bool:
        """Count a query from `source` that would have us store something; tell whether to do so."""
        if self._unlimited:
            return True
        entry = self._entry(_party(source), now)
        if entry.writes is None:
            entry.writes = TokenBucket(WRITES_PER_S, WRITES_BURST, now=now)
        return entry.writes.take(now=now)

    def _entry(self, party: bytes, now: float) -> _Source:
        entry = self._sources.recall(party, now=now)
        if entry is None:
            entry = _Source(TokenBucket(self._rate, self._burst, now=now))
        self._sources.note(party, entry, now=now)
        return entry


def _party(source: Endpoint) -> bytes:
    address = source[:-2]
    if scope_of_address(address) is not _GLOBAL:
        return source
    return address if len(address) == 4 else address[:8]


class Courtesy:
    """Bounds our queries per address asked, outside local networks.

    For each address one moment is kept, as in the generic cell rate algorithm: until when the
    queries sent so far last, if they are taken to be evenly spaced.
    """

    def __init__(self) -> None:
        """Begin with nobody asked."""
        self._spaced_until: Recollection[bytes, float] = Recollection(
            lifetime_s=LATELY_S, entries_max=PARTIES_MAX
        )

    def ready_at(self, to: Endpoint, *, now: float) -> float:
        """Return from when on an endpoint may be asked: `now` or later, in monotonic seconds."""
        party = _party(to)
        if party is to:
            return now  # A local one.
        spaced_until = self._spaced_until.recall(party, now=now)
        return now if spaced_until is None else max(now, spaced_until - _ASKED_AHEAD_S)

    def asked(self, to: Endpoint, *, now: float) -> None:
        """Count a query."""
        party = _party(to)
        if party is to:
            return
        spaced_until = self._spaced_until.recall(party, now=now)
        begins = now if spaced_until is None else max(spaced_until, now)
        self._spaced_until.note(party, begins + 1 / ASKED_PER_S, now=now)

    def asked_at(self, to: Endpoint) -> float:
        """Return when an address was asked last, in monotonic seconds.

        Minus infinity if that was never, or longer ago than `LATELY_S`.
        """
        return self._spaced_until.noted_at(_party(to))


class FlowBudget:
    """Bounds the new remote endpoints per second.

    One budget serves all sockets of a process, since they share the router. An endpoint spoken to
    within `FLOW_LIFETIME_S` costs nothing, and neither does answering: the querier has opened that
    flow.
    """

    def __init__(self, endpoints_per_s: float = Budget.HOME.endpoints_per_s, *, now: float) -> None:
        """Start with one second's worth.

        Args:
            endpoints_per_s: New endpoints per second; infinite for no limit.
            now: Monotonic seconds.
        """
        self._bucket = TokenBucket(endpoints_per_s, endpoints_per_s, now=now)
        self._unlimited = endpoints_per_s == float("inf")
        self._flows: Recollection[Endpoint, None] = Recollection(
            lifetime_s=FLOW_LIFETIME_S, entries_max=FLOWS_MAX
        )
        self.opened = 0

    @property
    def endpoints_per_s(self) -> float:
        """The limit."""
        return self._bucket.rate

    def admits(self, to: Endpoint, *, now: float) -> bool:
        """Count a datagram or dial to an endpoint; tell whether it may go out now."""
        if self._flows.noted_at(to) + FLOW_LIFETIME_S <= now:
            if not self._unlimited and not self._bucket.take(now=now):
                return False
            self.opened += 1
        self._flows.note(to, None, now=now)
        return True

    def ready_at(self, *, now: float) -> float:
        """Return when a new endpoint will next be admitted, in monotonic seconds."""
        return now if self._unlimited else self._bucket.ready_at(now=now)

    def live_flows(self, *, now: float) -> int:
        """Return how many flows a router is likely to hold for us at this moment."""
        self._flows.forget_old(now=now)
        return len(self._flows)
