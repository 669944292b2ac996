"""Whom to try next: one bounded list of a torrent's peers, whoever named them.

Peers come from strangers: the same one from many sources, one address under a thousand ports, more
than anybody could dial. Here they are put into an order in which the honest ones come early without
anybody knowing who they are:

1. whoever was not tried yet;
2. whoever shares no address block with a proven liar;
3. whoever the link itself names;
4. the first of each address block, then the second of each, and so on, so that a block full of
   liars holds no more places than any honest peer's;
5. whoever more sources agree on, then seeds, then by lot.

Who fails in a way that may pass (busy, not reached, without metadata as yet) has another chance
after a pause that fits the reason. Whoever broke the protocol or lied has none.
"""

from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Final, TypeAlias

from dht.contact import Endpoint, Family, address_of, family_of
from magnet.errors import (
    MetadataRejected,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    ProxyError,
)
from magnet.sources.source import LINK, Candidate, Hints

PEERS_MAX: Final = 2_000
"""Peers listed for one torrent, those already tried included; the first honest ones of any live
swarm are among them."""

PEERS_PER_SOURCE_MAX: Final = 1_500
"""Of them from one source, so that no source keeps the others out."""

PEERS_PER_BLOCK_MAX: Final = 64
"""Of them in one IPv4 /24 or IPv6 /48: a university or a provider's pool, but not a farm."""

PEERS_PER_ADDRESS_MAX: Final = 8
"""Endpoints at one address: clients behind one NAT, but not a scan of somebody's ports."""

TRIES_MAX: Final = 3
"""Attempts at one peer within one resolve."""

BUSY_PAUSE_S: Final = 10.0
"""Before another try at a peer that hung up: its places may have been taken."""

BARE_PAUSE_S: Final = 20.0
"""Before another try at a peer without metadata: it is fetching as we are."""

UNREACHED_PAUSE_S: Final = 30.0
"""Before another try at a peer that was silent or refused, or was not to be reached."""

REJECTED_PAUSE_S: Final = 60.0
"""Before another try at a peer that rejected a request; libtorrent waits as long."""

_Rank: TypeAlias = tuple[int, int, bool, int, int, bool, float]


def pause_after(error: PeerError) -> float | None:
    """Return after how many seconds a peer may be tried again; None if it has no second chance."""
    match error:
        case MetadataRejected(piece=None):
            return BARE_PAUSE_S
        case MetadataRejected():
            return REJECTED_PAUSE_S
        # A proxy says little of why it fails, and may fail all peers at once while it restarts.
        case PeerDisconnected(stage="connecting") | PeerTimeout() | ProxyError():
            return UNREACHED_PAUSE_S
        case PeerDisconnected():
            return BUSY_PAUSE_S
        case _:
            return None


@dataclass(slots=True)
class _Peer:
    """What is known of one peer.

    Attributes:
        candidate: As first named, with the hints of all.
        sources: Who named it.
        block: The address block it is in.
        place: How many of that block were listed before it.
        lot: Decides between equals.
        tries: How often it was tried.
        rank: Under which it waits; None while it is being tried, rests, or is given up.
    """

    candidate: Candidate
    sources: set[str]
    block: bytes
    place: int
    lot: float
    tries: int = 0
    rank: _Rank | None = None


class Ranking:
    """The peers of one torrent that were named so far, and the order in which to try them."""

    def __init__(self, rng: Random) -> None:
        """Start without peers.

        Args:
            rng: Draws lots among equals, so that those who share a torrent do not all run to the
                same peer.
        """
        self._rng = rng
        self._peers: dict[Endpoint, _Peer] = {}
        self._waiting: list[tuple[_Rank, Endpoint]] = []
        self._resting: list[tuple[float, Endpoint]] = []
        self._per_source: Counter[str] = Counter()
        self._per_block: Counter[bytes] = Counter()
        self._per_address: Counter[bytes] = Counter()
        self._liars_per_block: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Return how many peers are listed, tried or not."""
        return len(self._peers)

    def add(self, candidate: Candidate) -> bool:
        """List a peer, or note that one more source names it; tell whether it is new."""
        known = self._peers.get(candidate.endpoint)
        if known is not None:
            self._agree(known, candidate)
            return False
        if not self._has_room_for(candidate):
            return False
        block = block_of(candidate.endpoint)
        peer = _Peer(
            candidate, {candidate.source}, block, self._per_block[block], self._rng.random()
        )
        self._peers[candidate.endpoint] = peer
        self._per_source[candidate.source] += 1
        self._per_block[block] += 1
        self._per_address[address_of(candidate.endpoint)] += 1
        self._wait(peer)
        return True

    def take(self, *, now: float) -> Candidate | None:
        """Return whom to try now, and count the try; None if nobody is to be tried at present."""
        self._wake(now)
        self._settle()
        if not self._waiting:
            return None
        peer = self._peers[heappop(self._waiting)[1]]
        peer.rank = None
        peer.tries += 1
        return peer.candidate

    def ready_at(self, *, now: float) -> float:
        """Return when somebody is to be tried: `now` or later, infinite if there is nobody."""
        self._settle()
        if self._waiting:
            return now
        return max(now, self._resting[0][0]) if self._resting else float("inf")

    def failed(
        self, endpoint: Endpoint, error: PeerError, *, now: float, at_once: bool = False
    ) -> None:
        """Note that a try came to nothing, and let the peer rest or give it up.

        Args:
            endpoint: Who was tried.
            error: What ended it.
            now: Monotonic seconds.
            at_once: Whether it need not rest, because there is something else to ask it for.
        """
        pause_s = 0.0 if at_once else pause_after(error)
        if pause_s is not None and self._peers[endpoint].tries < TRIES_MAX:
            heappush(self._resting, (now + pause_s, endpoint))

    def condemn(self, endpoint: Endpoint) -> None:
        """Note that a peer lied: it is given up, and its neighbours come last."""
        peer = self._peers.get(endpoint)
        if peer is not None:
            peer.rank, peer.tries = None, TRIES_MAX
            self._liars_per_block[peer.block] += 1

    def forget(self, source: str) -> None:
        """Give up all peers that only one source names, until another does so too."""
        for peer in self._peers.values():
            if peer.sources == {source} and peer.tries < TRIES_MAX:
                peer.sources.clear()
                peer.rank, peer.tries = None, TRIES_MAX

    def _has_room_for(self, candidate: Candidate) -> bool:
        endpoint = candidate.endpoint
        return (
            len(self._peers) < PEERS_MAX
            and self._per_source[candidate.source] < PEERS_PER_SOURCE_MAX
            and self._per_block[block_of(endpoint)] < PEERS_PER_BLOCK_MAX
            and self._per_address[address_of(endpoint)] < PEERS_PER_ADDRESS_MAX
        )

    def _agree(self, peer: _Peer, candidate: Candidate) -> None:
        if candidate.source in peer.sources:
            return
        is_forgotten = not peer.sources
        peer.sources.add(candidate.source)
        hints = _merged(peer.candidate.hints, candidate.hints)
        peer.candidate = peer.candidate._replace(hints=hints)
        if is_forgotten:
            peer.tries = 0
        if is_forgotten or peer.rank is not None:
            self._wait(peer)

    def _wait(self, peer: _Peer) -> None:
        peer.rank = self._rank(peer)
        heappush(self._waiting, (peer.rank, peer.candidate.endpoint))

    def _wake(self, now: float) -> None:
        """Let those wait for their turn who have rested."""
        while self._resting and self._resting[0][0] <= now:
            _, endpoint = heappop(self._resting)
            peer = self._peers[endpoint]
            if peer.tries < TRIES_MAX:
                self._wait(peer)

    def _settle(self) -> None:
        """Make sure that the first of those who wait does so under the rank it has by now."""
        while self._waiting:
            rank, endpoint = self._waiting[0]
            peer = self._peers[endpoint]
            if rank == peer.rank == self._rank(peer):
                return
            heappop(self._waiting)
            if rank == peer.rank:  # A liar was found beside it.
                self._wait(peer)

    def _rank(self, peer: _Peer) -> _Rank:
        return (
            peer.tries,
            self._liars_per_block[peer.block],
            LINK not in peer.sources,
            peer.place,
            -len(peer.sources),
            peer.candidate.hints.is_seed is not True,
            peer.lot,
        )


def block_of(endpoint: Endpoint) -> bytes:
    """Return the network that one party can easily fill: the IPv4 /24 or the IPv6 /48."""
    return endpoint[:3] if family_of(endpoint) is Family.IPV4 else endpoint[:6]


def _merged(one: Hints, other: Hints) -> Hints:
    return Hints(
        prefers_encryption=one.prefers_encryption or other.prefers_encryption,
        supports_utp=one.supports_utp or other.supports_utp,
        supports_holepunch=one.supports_holepunch or other.supports_holepunch,
        via=one.via if one.via is not None else other.via,
        is_seed=one.is_seed if one.is_seed is not None else other.is_seed,
    )
