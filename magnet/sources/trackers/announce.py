"""What is said to a tracker and what it says, whichever way it is spoken to.

We ask for metadata that we do not have, so that we are never a seed: `left` is never zero. What is
left is not known before the metadata is; trackers take zero for a seed and some take a negative
number for an attack, so a plausible small size is said, as other clients do.

Spec: BEP 3 "trackers"; BEP 15; BEP 48.
"""

from enum import Enum
from typing import Final, NamedTuple

from dht.contact import Endpoint
from dht.keyspace import InfoHash

LEFT_UNKNOWN: Final = 16_384
"""Bytes left to download as told before the metadata is there; libtorrent's number."""

WANTED_MAX: Final = 200
"""Peers asked for, and peers taken from one answer; libtorrent's number."""

INTERVAL_S: Final = 1_800.0
"""Seconds between announces where a tracker does not say."""

INTERVAL_MIN_S: Final = 60.0
INTERVAL_MAX_S: Final = 86_400.0
"""Bounds of what a tracker says: no number makes us a nuisance, or silent for ever."""

PORT_CLOSED: Final = 1
"""Port announced by those who accept no connections: some trackers refuse 0, and nobody listens
there."""

COUNT_MAX: Final = 2**31 - 1
"""Most peers that a tracker may claim to know."""


class Event(Enum):
    """Why an announce is made.

    The values are those of UDP trackers; the names, in lower case, those of HTTP. What we lack we
    cannot complete, so `completed` is not among them.
    """

    REGULAR = 0
    STARTED = 2
    STOPPED = 3


class Announce(NamedTuple):
    """An announce for one swarm.

    Attributes:
        info_hash: The swarm.
        peer_id: Who we are to the swarm, 20 bytes.
        key: Tells the tracker that we are the same from two addresses, 32 bits.
        port: Where we accept peers; `PORT_CLOSED` if we do not.
        event: Why.
        tracker_id: What the tracker wants back; HTTP only.
    """

    info_hash: InfoHash
    peer_id: bytes
    key: int
    port: int
    event: Event
    tracker_id: bytes | None = None

    @property
    def wanted(self) -> int:
        """How many peers to ask for: none when we leave."""
        return 0 if self.event is Event.STOPPED else WANTED_MAX


class Announced(NamedTuple):
    """What a tracker answers to an announce.

    Attributes:
        peers: Where it says that peers are, as it says it: not yet checked for where they lead.
        interval_s: Seconds until the next regular announce, within bounds.
        min_interval_s: Seconds before which no other announce may be made; None if not said.
        tracker_id: To be sent back with the next announce.
        warning: Its words, fit to be shown.
    """

    peers: tuple[Endpoint, ...] = ()
    interval_s: float = INTERVAL_S
    min_interval_s: float | None = None
    tracker_id: bytes | None = None
    warning: str | None = None


class Counts(NamedTuple):
    """What a tracker claims of one swarm when scraped.

    Attributes:
        seeds: Peers that have everything.
        leechers: Peers that have not.
        completed: Downloads ever completed.
    """

    seeds: int
    leechers: int
    completed: int

    @property
    def peers(self) -> int:
        """All peers."""
        return self.seeds + self.leechers


def bounded_interval(seconds: int) -> float:
    """Return the interval that a tracker names, within bounds; nothing sensible is the default."""
    if seconds <= 0:
        return INTERVAL_S
    return float(min(max(seconds, INTERVAL_MIN_S), INTERVAL_MAX_S))


def bounded_count(number: int) -> int:
    """Return a number of peers that a tracker claims, within bounds."""
    return min(max(number, 0), COUNT_MAX)


def split_endpoints(data: bytes, size: int) -> tuple[Endpoint, ...]:
    """Split a compact list of peers, of which `WANTED_MAX` are taken; a partial last one is not.

    Args:
        data: Entries of address and port.
        size: Of an entry: 6 bytes (IPv4) or 18 (IPv6).

    Spec: BEP 23; BEP 7.
    """
    end = min(len(data) - len(data) % size, WANTED_MAX * size)
    return tuple(Endpoint(data[start : start + size]) for start in range(0, end, size))
