"""When which torrents are announced to the neighbourhood.

Each is announced at once, and then every five minutes; one that a neighbour looks for may have its
turn earlier. Several share a message, and how often messages go out is bounded, however many
torrents there are: they take turns.

Spec: BEP 14 "Protocol".
"""

from typing import Final

from dht.keyspace import InfoHash
from dht.ratelimit import TokenBucket
from magnet.sources.lsd.message import HASHES_MAX

REPEAT_S: Final = 300.0
"""Seconds between announcements of a torrent. Spec: BEP 14 "Protocol"."""

GAP_S: Final = 60.0
"""Seconds between messages on average, and at least between two for the same torrent.

Spec: BEP 14 "Protocol".
"""

BURST: Final = 5
"""Messages that may go out at once after a long silence: links that are begun one after the other
need not wait for a minute each."""


class AnnounceSchedule:
    """Decides what the next message says, and when it goes out."""

    def __init__(self, *, now: float) -> None:
        """Begin with nothing to announce."""
        self._said_at: dict[InfoHash, float] = {}
        self._asked_for: set[InfoHash] = set()
        self._bucket = TokenBucket(1 / GAP_S, BURST, now=now)

    def add(self, key: InfoHash) -> None:
        """Announce a torrent from now on."""
        self._said_at.setdefault(key, float("-inf"))

    def remove(self, key: InfoHash) -> None:
        """Announce a torrent no longer, if it was."""
        self._said_at.pop(key, None)
        self._asked_for.discard(key)

    def hasten(self, key: InfoHash) -> None:
        """Announce a torrent soon, because a neighbour looks for it."""
        if key in self._said_at:
            self._asked_for.add(key)

    def ready_at(self, *, now: float) -> float:
        """Return when the next message is to go out; infinity if nothing is announced."""
        first = min(map(self._due_at, self._said_at), default=float("inf"))
        return max(first, self._bucket.ready_at(now=now))

    def take(self, *, now: float) -> tuple[InfoHash, ...]:
        """Return what is to be announced now, in one message; nothing if it is too early."""
        due = [key for key in self._said_at if self._due_at(key) <= now]
        if not due or not self._bucket.take(now=now):
            return ()
        keys = sorted(due, key=self._due_at)[:HASHES_MAX]
        self._said_at |= dict.fromkeys(keys, now)
        self._asked_for.difference_update(keys)
        return tuple(keys)

    def _due_at(self, key: InfoHash) -> float:
        return self._said_at[key] + (GAP_S if key in self._asked_for else REPEAT_S)
