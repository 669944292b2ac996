"""What we know of a tracker from all links that asked it, and so when it may be asked again.

A tracker that fails is left alone for a minute, then for two, and so on up to an hour, whoever
wants to ask it. For each swarm it says itself how long to wait; who asks again sooner is given what
it said last. Its refusal concerns the one swarm, unless it asks to be left alone.

A scrape tells for many swarms at once that a tracker knows nobody, which saves as many announces.
But some trackers answer every scrape with zeros, so a tracker's zeros are believed only once it has
shown that it can count.

Spec: BEP 3 "interval"; BEP 15; BEP 31; BEP 48.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from dht.contact import Endpoint, Family
from dht.keyspace import InfoHash
from dht.ratelimit import TokenBucket
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import Announced, Counts, Event

PAUSE_MIN_S: Final = 60.0
PAUSE_MAX_S: Final = 3_600.0
"""Bounds of the pause after a failure, which doubles with each."""

AGAIN_S: Final = 300.0
"""Seconds between two announces for a swarm that are not regular, where the tracker does not say:
less than between two tries of a link."""

EMPTY_S: Final = 1_800.0
"""Seconds for which a swarm counts as empty that a scrape has shown without peers."""

ASKED_PER_S: Final = 20.0
ASKED_BURST: Final = 50.0
"""Requests to one host: a batch of links gets on, while other clients set no limit at all."""

SWARMS_MAX: Final = 5_000
"""Swarms remembered for one tracker, at some 400 bytes; the one asked for longest ago is forgotten.
More than the links that are worked on at the same time, or scrapes would be in vain."""

PEERS_REMEMBERED: Final = 20
"""Peers remembered of a swarm's last answer: enough for a link that is tried again soon."""


class HostLimit:
    """How fast one host may be asked, by however many URLs it is known."""

    def __init__(self, *, now: float) -> None:
        """Start with nothing asked."""
        self._bucket = TokenBucket(ASKED_PER_S, ASKED_BURST, now=now)

    def take(self, *, now: float) -> bool:
        """Count a request; tell whether it may be made now."""
        return self._bucket.take(now=now)

    def ready_at(self, *, now: float) -> float:
        """Return when `take` will next succeed, in monotonic seconds."""
        return self._bucket.ready_at(now=now)


class _Swarm:
    """What a tracker said of one swarm."""

    __slots__ = ("any_at", "failures", "is_empty", "peers", "regular_at", "tracker_id")

    def __init__(self) -> None:
        self.any_at = self.regular_at = float("-inf")
        self.failures = 0
        self.is_empty = False
        self.tracker_id: bytes | None = None
        self.peers = b""


class TrackerStanding:
    """One tracker in one address family, as all links have found it."""

    def __init__(self, family: Family) -> None:
        """Start knowing nothing."""
        self._entry_bytes = family.endpoint_bytes
        self._failures = 0
        self._rests_until = float("-inf")
        self._counts = False
        self._swarms: OrderedDict[InfoHash, _Swarm] = OrderedDict()

    def ready_at(self, info_hash: InfoHash, event: Event) -> float:
        """Return from when on an announce may be made, in monotonic seconds; infinite for never."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return self._rests_until
        own = swarm.regular_at if event is Event.REGULAR else swarm.any_at
        return max(self._rests_until, own)

    def knows_nobody(self, info_hash: InfoHash) -> bool:
        """Tell whether the last that was heard of a swarm is that it has no peers."""
        swarm = self._swarms.get(info_hash)
        return swarm is not None and swarm.is_empty

    def remembered_peers(self, info_hash: InfoHash) -> list[Endpoint]:
        """Return peers of the last answer for a swarm."""
        swarm, size = self._swarms.get(info_hash), self._entry_bytes
        data = b"" if swarm is None else swarm.peers
        return [Endpoint(data[start : start + size]) for start in range(0, len(data), size)]

    def tracker_id(self, info_hash: InfoHash) -> bytes | None:
        """Return what the tracker wants back with an announce for a swarm."""
        swarm = self._swarms.get(info_hash)
        return None if swarm is None else swarm.tracker_id

    def announced(self, info_hash: InfoHash, answer: Announced, *, now: float) -> None:
        """Take in an answer to an announce."""
        self._succeeded()
        swarm = self._swarm(info_hash)
        swarm.failures = 0
        swarm.is_empty = not answer.peers
        swarm.tracker_id = answer.tracker_id or swarm.tracker_id
        least_s = answer.min_interval_s or min(answer.interval_s, AGAIN_S)
        swarm.regular_at = now + max(answer.interval_s, least_s)
        swarm.any_at = now + least_s
        own = (it for it in answer.peers if len(it) == self._entry_bytes)
        swarm.peers = b"".join(own)[: PEERS_REMEMBERED * self._entry_bytes]

    def scraped(
        self, asked: Iterable[InfoHash], found: Mapping[InfoHash, Counts], *, now: float
    ) -> None:
        """Take in an answer to a scrape; swarms that it does not name count as empty."""
        self._succeeded()
        self._counts = self._counts or any(it.peers for it in found.values())
        if not self._counts:
            return
        for info_hash in asked:
            counts = found.get(info_hash)
            if counts is None or not counts.peers:
                swarm = self._swarm(info_hash)
                swarm.is_empty = True
                swarm.any_at = swarm.regular_at = now + EMPTY_S

    def failed(self, info_hash: InfoHash, error: SourceError, *, now: float) -> None:
        """Take in that an announce for a swarm came to nothing."""
        if error.fault is not SourceFault.REFUSED:
            self.silent(now=now)
            return
        self._succeeded()
        if error.retry_in_s is not None:
            self._rests_until = now + error.retry_in_s
        swarm = self._swarm(info_hash)
        swarm.failures += 1
        swarm.any_at = swarm.regular_at = now + _pause_s(swarm.failures)

    def silent(self, *, now: float) -> None:
        """Take in that the tracker is not to be spoken to for now."""
        self._failures += 1
        self._rests_until = max(self._rests_until, now + _pause_s(self._failures))

    def _succeeded(self) -> None:
        self._failures = 0
        if self._rests_until != float("inf"):
            self._rests_until = float("-inf")

    def _swarm(self, info_hash: InfoHash) -> _Swarm:
        swarm = self._swarms.setdefault(info_hash, _Swarm())
        self._swarms.move_to_end(info_hash)
        if len(self._swarms) > SWARMS_MAX:
            self._swarms.popitem(last=False)
        return swarm


def _pause_s(failures: int) -> float:
    # The exponent is bounded before it is used: a tracker may fail for years.
    return min(PAUSE_MIN_S * 2.0 ** min(failures - 1, 16), PAUSE_MAX_S)
