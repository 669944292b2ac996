"""Turns links into torrents: all sources of peers at once, many peers side by side.

    async with open_node() as node, open_resolver(node) as resolver:
        resolved = await resolver.resolve("magnet:?xt=urn:btih:...")

One resolver serves any number of links at once: they share the node, the places for connections and
the node's flow budget. Cancelling a call to `resolve`, at any point, ends whatever was begun for
it: searches, connections and tasks. A link that is resolved leaves nothing but a few connections to
peers that lack the metadata, which are given it for a moment, or until the resolver is closed.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Final

import trio

from dht.background import open_background
from dht.errors import DhtError, NotBootstrapped
from dht.keyspace import InfoHash
from dht.logs import get_logger
from dht.node import Node
from magnet.errors import ResolveError, ResolveTimeout
from magnet.metainfo.info import Info
from magnet.metainfo.torrent import build_torrent
from magnet.peer.allowance import Allowance
from magnet.peer.hash_server import HashServer
from magnet.resolve.admission import Admission
from magnet.resolve.completion import Completion
from magnet.resolve.giving import Giving
from magnet.resolve.report import Report
from magnet.resolve.resolution import Means, Resolution
from magnet.seeder import Seeder
from magnet.sources.reach import Reach
from magnet.sources.source import DHT_KEY, SourceRecord, Wanted
from magnet.sources.updatable import follow_key
from magnet.sources.usual import SourceChoice, open_usual_sources
from magnet.transport.dial import Dialer
from magnet.transport.ways import open_dialer
from magnet.uri import MagnetLink, parse_magnet

_log = get_logger(__name__)

TIMEOUT_S: Final = 60.0
"""Seconds for a link, unless the caller says otherwise."""


FOLLOW_PAUSE_S: Final = 10.0
"""Seconds between two searches for what a public key leads to."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A link turned into a torrent.

    Attributes:
        link: As given.
        info: What the info dictionary says.
        raw_info: Its bytes as received; their hash is the link's.
        torrent: A .torrent file: the info dictionary, of a v2 torrent the piece layers as far as
            they were found, and the link's trackers and web seeds.
        shortfall: What that file lacks, and why, in one line; None when it is complete.
    """

    link: MagnetLink
    info: Info
    raw_info: bytes
    torrent: bytes
    shortfall: str | None = None


class Resolver:
    """Resolves links with the help of a DHT node; made by `open_resolver`."""

    def __init__(
        self, node: Node, means: Means, choose: SourceChoice, seeder: Seeder | None
    ) -> None:
        """Made by `open_resolver`."""
        self._node = node
        self._seeder = seeder
        self._means = means
        self._choose = choose
        self._joined_at: float | None = None

    async def resolve(
        self,
        link: MagnetLink | str,
        *,
        timeout_s: float = TIMEOUT_S,
        report: Report | None = None,
    ) -> Resolved:
        """Find the metadata of a link.

        Args:
            link: What to resolve; of one that names a public key alone, the torrent that its owner
                has published last.
            timeout_s: Seconds for everything.
            report: Is filled while the work goes on; make one to show progress or to explain the
                end.

        Raises:
            InvalidMagnetURI: A text is no magnet link.
            ResolveTimeout: Nobody gave the metadata in time.
            ResolveError: It was found but cannot be used.
            NodeClosed: The node was closed meanwhile.
        """
        given = self._parse(link) if isinstance(link, str) else link
        story = report if report is not None else Report()
        story.began_at = trio.current_time()
        work: Resolution | None = None
        try:
            with trio.move_on_after(timeout_s):
                named = given if given.swarm_keys() else await self._follow(given, story)
                wanted = Wanted(named, named.swarm_keys())
                work = Resolution(wanted, story, self._means)
                await work.run(self._choose(wanted))
        finally:
            story.elapsed_s = trio.current_time() - story.began_at
            if self._joined_at is not None:
                story.joined_s = max(self._joined_at - story.began_at, 0.0)
        if work is None or work.pool.metadata is None:
            raise ResolveTimeout(timeout_s, story.failures())
        story.shortfall = work.completion.shortfall()
        resolved = _resolved(named, work.pool.metadata, work.completion, story)
        if self._seeder is not None:
            layers = HashServer(work.completion.layers(), resolved.info.piece_length)
            self._seeder.offer(resolved.raw_info, _keys(resolved.info), layers)
        return resolved

    def _parse(self, link: str) -> MagnetLink:
        return parse_magnet(link, bound=self._means.reach.scope)

    async def _follow(self, link: MagnetLink, report: Report) -> MagnetLink:
        """Find the torrent that the owner of a public key has published last. Spec: BEP 46."""
        record = SourceRecord(DHT_KEY)
        report.sources.append(record)
        while True:
            try:
                followed = await follow_key(self._node, link)
            except NotBootstrapped as error:
                record.error = str(error)
            else:
                if followed is not None:
                    return followed.link
                record.error = "nothing is published under the key"
            record.next_at = trio.current_time() + FOLLOW_PAUSE_S
            await trio.sleep(FOLLOW_PAUSE_S)

    async def _note_joining(self) -> None:
        """Note when the node had joined, for the reports."""
        try:
            await self._node.wait_joined()
        except DhtError:
            return  # The searches say why.
        self._joined_at = trio.current_time()


@asynccontextmanager
async def open_resolver(
    node: Node,
    *,
    connections_max: int | None = None,
    dialer: Dialer | None = None,
    sources: SourceChoice | None = None,
    reach: Reach | None = None,
    seeder: Seeder | None = None,
    rng: Random | None = None,
) -> AsyncIterator[Resolver]:
    """Give a resolver for the time of the block.

    Args:
        node: Where peers are searched for; it need not have joined yet.
        connections_max: Connections over all links; by default as many as the node's budget allows.
        dialer: Reaches peers; if None by TCP, and by uTP on the node's sockets.
        sources: Chooses where peers are looked for; if None everywhere.
        reach: Decides which peers may be dialled; if None, those that the node's own addresses
            lead to.
        seeder: If given, serves what is resolved to whoever connects, but for private torrents.
        rng: Makes peer ids and draws lots; the system's randomness if None.
    """
    dice = rng if rng is not None else SystemRandom()
    async with AsyncExitStack() as stack:
        if dialer is None:
            dialer = await stack.enter_async_context(open_dialer(node, rng=dice))
        background = await stack.enter_async_context(open_background())
        within = reach if reach is not None else Reach(node.endpoints)
        admission = Admission(node.budget, connections_max)
        means = Means(admission, dialer, dice, Giving(background), within, Allowance())
        if sources is None:
            usual = open_usual_sources(node, admission.pass_budget)
            sources = await stack.enter_async_context(usual)
        resolver = Resolver(node, means, sources, seeder)
        background.start_soon(resolver._note_joining)
        yield resolver


def _keys(info: Info) -> tuple[InfoHash, ...]:
    return MagnetLink(info_hash=info.info_hash, info_hash_v2=info.info_hash_v2).swarm_keys()


def _resolved(
    link: MagnetLink, raw_info: bytes, completion: Completion, report: Report
) -> Resolved:
    info = completion.info
    if info is None:
        reason = f"the metadata is unusable: {completion.error}"
        raise ResolveError(reason, report.failures()) from completion.error
    torrent = build_torrent(
        raw_info,
        trackers=[(url,) for url in link.trackers],
        web_seeds=link.web_seeds,
        created_by="trackerless",
        piece_layers=completion.layers(),
    )
    _log.info("resolved", name=info.name, elapsed_s=report.elapsed_s)
    return Resolved(link, info, raw_info, torrent, report.shortfall)
