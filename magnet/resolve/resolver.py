"""Turns links into metadata: peers stream out of the DHT and are dialled at once, side by side.

For each key of a link (a hybrid torrent has two) a search runs; each peer it finds goes to the next
free worker, which dials it and works through the link's metadata pool. The first whole info
dictionary with the right hash ends it all. As long as there is none, searches are repeated with
growing pauses until the caller's deadline, because peers come and go.

One resolver serves any number of links at once; how many connections are open over all of them is
bounded, and every dial passes through the node's flow budget.
"""

from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Final

import trio

from dht.contact import Endpoint
from dht.errors import DhtError, NodeClosed
from dht.keyspace import InfoHash
from dht.logs import get_logger
from dht.node import Node
from magnet.errors import (
    InvalidMetainfo,
    PeerError,
    ResolveError,
    ResolveTimeout,
)
from magnet.metainfo.info import Info, parse_info
from magnet.metainfo.torrent import build_torrent
from magnet.peer.fetch import fetch_metadata
from magnet.peer.metadata_pool import MetadataPool
from magnet.resolve.report import DELIVERED, NOT_NEEDED, UNFINISHED, Report, SearchRecord
from magnet.resolve.swarm import PEERS_MAX, Candidate, Swarm
from magnet.transport.dial import dial
from magnet.uri import MagnetLink

_log = get_logger(__name__)

CONNECTIONS_MAX: Final = 128
"""Connections over all links: what rqbit allows itself, and far below what a router holds."""

CONNECTIONS_PER_LINK_MAX: Final = 30
"""Connections for one link: enough that the dead among its peers do not hold up the living."""

TIMEOUT_S: Final = 60.0
"""Seconds for a link, unless the caller says otherwise."""

_PAUSE_MIN_S: Final = 3.0
_PAUSE_MAX_S: Final = 60.0
"""Bounds of the pause between searches for the same link, which doubles each time."""

_PROGRESS_S: Final = 0.2
"""Seconds between updates of the piece counts in a report."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A link turned into a torrent.

    Attributes:
        link: As given.
        info: What the info dictionary says.
        raw_info: Its bytes as received; their hash is the link's.
        torrent: A .torrent file: the info dictionary, and the link's trackers and web seeds.
    """

    link: MagnetLink
    info: Info
    raw_info: bytes
    torrent: bytes


class Resolver:
    """Resolves links with the help of a DHT node."""

    def __init__(self, node: Node, *, rng: Random | None = None) -> None:
        """Create a resolver.

        Args:
            node: Where peers are searched for; it need not have joined yet.
            rng: Makes peer ids; the system's randomness if None.
        """
        self._node = node
        self._rng = rng if rng is not None else SystemRandom()
        self._connections = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def resolve(
        self, link: MagnetLink, *, timeout_s: float = TIMEOUT_S, report: Report | None = None
    ) -> Resolved:
        """Find the metadata of a link.

        Args:
            link: What to resolve; it needs an info-hash.
            timeout_s: Seconds for everything.
            report: Is filled while the work goes on; make one to show progress or to explain the
                end.

        Raises:
            ResolveTimeout: Nobody gave the metadata in time.
            ResolveError: It was found but cannot be used, or the link names no info-hash.
            NodeClosed: The node was closed meanwhile.
        """
        if not link.swarm_keys():
            raise ResolveError("the link names no info-hash")
        story = report if report is not None else Report()
        begun_at = trio.current_time()
        work = _Resolution(self._node, link, story, self._connections, self._rng)
        with trio.move_on_after(timeout_s):
            await work.run()
        story.elapsed_s = trio.current_time() - begun_at
        if work.pool.metadata is None:
            raise ResolveTimeout(timeout_s, story.failures())
        return _resolved(link, work.pool.metadata, story)


class _Resolution:
    """The work on one link."""

    def __init__(
        self,
        node: Node,
        link: MagnetLink,
        report: Report,
        connections: trio.CapacityLimiter,
        rng: Random,
    ) -> None:
        self.pool = MetadataPool(info_hash=link.info_hash, info_hash_v2=link.info_hash_v2)
        self._node = node
        self._link = link
        self._report = report
        self._connections = connections
        self._rng = rng
        self._swarm = Swarm()
        self._is_won = False
        self._begun_at = trio.current_time()
        self._send, self._receive = trio.open_memory_channel[Candidate](PEERS_MAX)

    async def run(self) -> None:
        """Work until the pool has the metadata or the caller cancels."""
        failure: DhtError | None = None
        async with trio.open_nursery() as nursery:

            async def search(key: InfoHash) -> None:
                nonlocal failure
                try:
                    await self._keep_searching(key)
                except NodeClosed as error:
                    failure = error
                    nursery.cancel_scope.cancel()

            async def work() -> None:
                async for candidate in self._receive:
                    await self._try(candidate)
                    if self._is_won:
                        nursery.cancel_scope.cancel()

            self._add_peers_of_link()
            nursery.start_soon(self._watch_progress)
            for key in self._link.swarm_keys():
                nursery.start_soon(search, key)
            for _ in range(CONNECTIONS_PER_LINK_MAX):
                nursery.start_soon(work)
        if failure is not None:
            raise failure

    async def _keep_searching(self, key: InfoHash) -> None:
        pause_s = _PAUSE_MIN_S
        while True:
            await self._search(key)
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    async def _search(self, key: InfoHash) -> None:
        record = SearchRecord(key)
        self._report.searches.append(record)
        try:
            with self._node.find_peers(key) as peers:
                try:
                    async for peer in peers:
                        record.asked, record.answered, record.failed, record.peers = peers.progress
                        self._add(Candidate(peer, key, "dht"))
                finally:
                    record.asked, record.answered, record.failed, record.peers = peers.progress
        except NodeClosed:
            raise
        except DhtError as error:
            record.error = str(error)

    def _add_peers_of_link(self) -> None:
        """Try the peers that the link itself names first; names of hosts are not resolved yet."""
        for host in self._link.peers:
            literal = host.literal
            if literal is not None:
                for key in self._link.swarm_keys()[:1]:
                    self._add(Candidate(literal, key, "link"))

    def _add(self, candidate: Candidate) -> None:
        if not self._swarm.admit(candidate):
            return
        if self._report.first_peer_s is None:
            self._report.first_peer_s = trio.current_time() - self._begun_at
        self._report.peers_found = len(self._swarm)
        self._send.send_nowait(candidate)

    async def _try(self, candidate: Candidate) -> None:
        """Dial a peer and work with it; whatever goes wrong with it is noted and stays with it."""
        await self._admission(candidate.endpoint)
        async with self._connections:
            begun_at = trio.current_time()
            ending: PeerError | str = UNFINISHED
            self._report.trying += 1
            try:
                await self._converse(candidate)
                ending = NOT_NEEDED if self._is_won else DELIVERED
                self._is_won = True
            except PeerError as error:
                ending = error
            finally:
                if ending == UNFINISHED and self._is_won:
                    ending = NOT_NEEDED
                self._report.trying -= 1
                elapsed_s = trio.current_time() - begun_at
                self._report.add_attempt(
                    candidate.endpoint, candidate.source, ending, elapsed_s=elapsed_s
                )

    async def _converse(self, candidate: Candidate) -> None:
        stream = await dial(candidate.endpoint)
        await fetch_metadata(
            stream,
            self.pool,
            candidate.endpoint,
            info_hash=candidate.key,
            aliases=self._link.swarm_keys(),
            rng=self._rng,
        )

    async def _admission(self, to: Endpoint) -> None:
        """Wait until the node's flow budget admits a dial."""
        budget = self._node.budget
        while not budget.admits(to, now=trio.current_time()):  # noqa: ASYNC110 - no event tells
            await trio.sleep_until(budget.ready_at(now=trio.current_time()))

    async def _watch_progress(self) -> None:
        while True:
            self._report.pieces, self._report.pieces_needed = self.pool.progress()
            await trio.sleep(_PROGRESS_S)


def _resolved(link: MagnetLink, raw_info: bytes, report: Report) -> Resolved:
    try:
        info = parse_info(raw_info)
    except InvalidMetainfo as error:
        raise ResolveError(f"the metadata is unusable: {error}", report.failures()) from error
    torrent = build_torrent(
        raw_info,
        trackers=[(url,) for url in link.trackers],
        web_seeds=link.web_seeds,
        created_by="trackerless",
    )
    _log.info("resolved", name=info.name, elapsed_s=report.elapsed_s)
    return Resolved(link, info, raw_info, torrent)
