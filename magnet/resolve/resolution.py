"""The work on one link: sources name peers, the ranking says who is next, attempts are made.

Each source has a task, and each attempt, as long as it lasts. One more task decides when the next
attempt begins: a few at once, and then one more every moment, as long as nobody has brought the
metadata and the link's share of the connections is not used up. So a link that waits for peers
costs next to nothing, and one that has found a crowd does not run at all of it.

The first whole info dictionary with the right hash ends it all, whoever brought it; of a v2 torrent
the same peers, and if need be others, are then asked for the piece layers.
"""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, NamedTuple

import trio

from dht.contact import Endpoint
from dht.errors import NodeClosed
from magnet.errors import MetadataRejected, PeerDisconnected, PeerError, PeerTimeout
from magnet.peer.allowance import Allowance
from magnet.peer.fetch import fetch_metadata, prepare_fetch
from magnet.peer.fetch_layers import fetch_layers, prepare_layers, wait_handshakes
from magnet.peer.introductions import Introductions
from magnet.peer.layer_pool import LayerPool
from magnet.peer.metadata_pool import MetadataPool
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.resolve.admission import Admission
from magnet.resolve.completion import Completion
from magnet.resolve.giving import Giving
from magnet.resolve.ranking import Ranking
from magnet.resolve.report import DELIVERED, NOT_NEEDED, UNFINISHED, Report
from magnet.sources.reach import Reach
from magnet.sources.source import PEX, PUBLIC, Candidate, PeerSource, SourceRecord, Wanted
from magnet.transport.carrier import Transport
from magnet.transport.dial import Dialer, Dialled
from magnet.transport.stages import CONNECTING

HOLEPUNCHING: Final = frozenset({Transport.UTP})
"""What a peer is dialled by that was told to dial us. Spec: BEP 55."""

AT_FIRST: Final = 8
"""Attempts begun at once: among eight peers of a usual swarm there is one that answers."""

STAGGER_S: Final = 0.1
"""Seconds until there may be one attempt more at the same time; as long as a round trip, which is
what an honest peer takes for each step."""


NAMES_AFTER_S: Final = 2.0
"""Seconds after the first attempt from which on every peer is asked to name others; before, only
those that turned out to have nothing better."""


class Means(NamedTuple):
    """What all links share.

    Attributes:
        admission: Places for connections.
        dialer: Reaches peers.
        rng: Makes peer ids and draws lots.
        giving: Takes peers that lack what we have found.
        reach: Decides whom we may dial.
        allowance: Bounds the unfinished metadata.
    """

    admission: Admission
    dialer: Dialer
    rng: Random
    giving: Giving
    reach: Reach
    allowance: Allowance


class Resolution:
    """The work on one link; `run` does it.

    Attributes:
        pool: Where the metadata is put together.
        completion: What is needed besides.
    """

    def __init__(self, wanted: Wanted, report: Report, means: Means) -> None:
        """Prepare.

        Args:
            wanted: What to resolve.
            report: Is filled while the work goes on.
            means: What all links share.
        """
        link = wanted.link
        self.pool = MetadataPool(
            info_hash=link.info_hash,
            info_hash_v2=link.info_hash_v2,
            allowance=means.allowance,
        )
        self.completion = Completion()
        self._wanted = wanted
        self._report = report
        self._means = means
        self._ranking = Ranking(means.rng)
        self._bare: set[Endpoint] = set()
        self._introductions = Introductions(self._take_named, is_short=self._is_short)
        self._named: SourceRecord | None = None
        self._news = trio.Event()
        self._first_try_at: float | None = None
        self._is_queueing = False
        self._is_brought = False
        self._closed: NodeClosed | None = None
        self._is_private = False
        self._public_searches: list[trio.CancelScope] = []
        self._server: MetadataServer | None = None
        report.measure = self.pool.progress

    async def run(self, sources: Iterable[PeerSource]) -> None:
        """Work until the torrent is complete, or as complete as it gets, or the caller cancels.

        Raises:
            NodeClosed: The node was closed meanwhile.
        """
        with self._means.admission.link(), closing(self.pool):
            async with trio.open_nursery() as nursery:
                for source in sources:
                    nursery.start_soon(self._run_source, source)
                await self._begin_attempts(nursery)
                nursery.cancel_scope.cancel()
        if self.pool.metadata is None and self._closed is not None:
            raise self._closed

    @property
    def _is_over(self) -> bool:
        is_closed = self._closed is not None
        return is_closed or self.completion.is_over(now=trio.current_time())

    def _tell(self) -> None:
        """Wake the task that begins attempts: something has changed."""
        self._news.set()

    def _elapsed_s(self) -> float:
        return trio.current_time() - self._report.began_at

    # Sources

    async def _run_source(self, source: PeerSource) -> None:
        record = SourceRecord(source.name)
        self._report.sources.append(record)
        scope = trio.CancelScope()
        if source.name in PUBLIC:
            self._public_searches.append(scope)
            if self._is_private:
                scope.cancel()
        try:
            with scope:
                await source.run(self._wanted, _Listener(self, record), record)
        except NodeClosed as error:
            self._closed = error
            self._tell()
        finally:
            record.elapsed_s = self._elapsed_s()

    def _take_named(self, candidate: Candidate) -> None:
        """Take a peer that another peer names."""
        if self._named is None:
            self._named = SourceRecord(PEX)
            self._report.sources.append(self._named)
        self._named.peers += 1
        self.take_peer(candidate, self._named)

    def _is_short(self) -> bool:
        """Tell whether there is nobody else to try, so that even a bare peer's friends count."""
        now = trio.current_time()
        return self._ranking.ready_at(now=now) > now and not self._means.admission.is_crowded

    def take_peer(self, candidate: Candidate, record: SourceRecord) -> None:
        """Take a peer from a source, if we may dial it."""
        is_unwanted = self._is_private and candidate.source in PUBLIC
        if is_unwanted or not self._means.reach.allows(candidate.endpoint):
            return
        if record.first_peer_s is None:
            record.first_peer_s = self._elapsed_s()
        if not self._ranking.add(candidate):
            return
        if self._report.first_peer_s is None:
            self._report.first_peer_s = self._elapsed_s()
        self._report.peers_found = len(self._ranking)
        self._tell()

    def take_metadata(self, raw_info: bytes, piece_layers: Mapping[bytes, bytes] | None) -> bool:
        """Take a whole from a source; tell whether its hash is right."""
        if not self.pool.offer(raw_info):
            return False
        self._is_brought = True
        self._begin_completion()
        if self.completion.pool is not None and piece_layers is not None:
            self.completion.pool.offer(piece_layers)
        return True

    def _begin_completion(self) -> None:
        """Go on to what is needed besides the metadata, which is there."""
        if self.pool.metadata is not None and self._report.metadata_s is None:
            self._report.metadata_s = self._elapsed_s()
            self.completion.begin(
                self.pool.metadata,
                knows_v2=self._wanted.link.info_hash_v2 is not None,
                now=trio.current_time(),
            )
            if self.completion.info is not None and self.completion.info.private:
                self._leave_public()
        self._tell()

    def _leave_public(self) -> None:
        """Search no more where private torrents are not at home. Spec: BEP 27."""
        self._is_private = True
        self._ranking.forget(PEX)
        for scope in self._public_searches:
            scope.cancel()

    # Attempts

    async def _begin_attempts(self, nursery: trio.Nursery) -> None:
        """Begin one attempt after the other, each when it is its time."""
        while not self._is_over:
            self._news = trio.Event()
            begins_at = self._next_begins_at(now=trio.current_time())
            if begins_at <= trio.current_time():
                self._is_queueing = True
                nursery.start_soon(self._attempt)
                continue
            with trio.move_on_at(min(begins_at, self.completion.ends_at)):
                await self._news.wait()

    def _next_begins_at(self, *, now: float) -> float:
        """Return when the next attempt is to begin, as things stand."""
        if self._is_queueing or self._report.trying >= self._means.admission.share:
            return float("inf")
        ready_at = self._ranking.ready_at(now=now)
        excess = self._report.trying - AT_FIRST + 1
        if excess > 0 and self._first_try_at is not None:
            return max(ready_at, self._first_try_at + excess * STAGGER_S)
        return ready_at

    async def _attempt(self) -> None:
        """Try whoever is first when there is a place for a connection."""
        admission = self._means.admission
        async with admission.places:
            candidate = self._ranking.take(now=trio.current_time())
            if candidate is not None:
                await admission.pass_budget(candidate.endpoint)
            self._is_queueing = False
            self._tell()
            if candidate is not None:
                await self._try(candidate)

    async def _try(self, candidate: Candidate) -> None:
        """Dial a peer and work with it; whatever goes wrong with it is noted and stays with it."""
        began_s = self._elapsed_s()
        if self._first_try_at is None:
            self._first_try_at = trio.current_time()
        trial = _Trial()
        self._report.trying += 1
        try:
            await self._converse(candidate, trial)
        except PeerError as error:
            self._note_failure(candidate, trial, error)
        finally:
            if self.pool.metadata is not None:
                trial.end(NOT_NEEDED)
            self._report.trying -= 1
            self._report.add_attempt(
                candidate.endpoint,
                candidate.source,
                trial.ending,
                began_s=began_s,
                elapsed_s=self._elapsed_s() - began_s,
                way=trial.way,
            )
            self._tell()

    def _note_failure(self, candidate: Candidate, trial: "_Trial", error: PeerError) -> None:
        if self.pool.metadata is not None:
            self.completion.failed(candidate.endpoint, error)
        trial.end(error)
        has_more_to_say = isinstance(error, MetadataRejected) and not trial.asks_names
        if has_more_to_say:
            self._bare.add(candidate.endpoint)
        self._ranking.failed(
            candidate.endpoint,
            error,
            now=trio.current_time(),
            at_once=has_more_to_say and self._is_short(),
        )
        if candidate.endpoint in self.pool.liars | self.completion.liars:
            self._ranking.condemn(candidate.endpoint)

    async def _converse(self, candidate: Candidate, trial: "_Trial") -> None:
        """Work with a peer for the metadata, and then for the piece layers, if there are any."""
        if self.pool.metadata is None:
            await self._fetch_metadata(candidate, trial)
        if not self._is_over and self.completion.pool is not None:
            await self._fetch_layers(candidate, self.completion.pool, trial)

    async def _fetch_layers(self, candidate: Candidate, layers: LayerPool, trial: "_Trial") -> None:
        """Ask a peer for layers on a connection that goes by the v2 hash, as it must."""
        at = candidate.endpoint
        connection = prepare_layers(layers, at, rng=self._means.rng)
        by_v2 = candidate._replace(key=layers.info_hash)
        dialled = await self._reach(by_v2, connection.data_to_send())
        trial.way = str(dialled)
        async with PeerStream(dialled.stream, connection) as peer:
            await wait_handshakes(peer)
            await fetch_layers(peer, layers, at)
        trial.end(NOT_NEEDED)

    async def _continue(self, at: Endpoint, trial: "_Trial", peer: PeerStream) -> None:
        """Go on with a peer that has seen the metadata through, if it goes by the v2 hash."""
        trial.end(NOT_NEEDED if self._is_brought else DELIVERED)
        self._is_brought = True
        self._begin_completion()
        layers = self.completion.pool
        if layers is not None and peer.connection.agreed_hash == layers.info_hash:
            await fetch_layers(peer, layers, at)

    def _asks_names(self, candidate: Candidate) -> bool:
        """Tell whether a peer is to name others: that may delay the metadata, so not at first."""
        began_at = self._first_try_at
        is_late = began_at is not None and trio.current_time() >= began_at + NAMES_AFTER_S
        return is_late or candidate.endpoint in self._bare

    async def _fetch_metadata(self, candidate: Candidate, trial: "_Trial") -> None:
        trial.asks_names = self._asks_names(candidate)
        connection = prepare_fetch(
            candidate.endpoint,
            info_hash=candidate.key,
            aliases=self._wanted.keys,
            punches=self._means.dialer.transports >= HOLEPUNCHING,
            asks_names=trial.asks_names,
            rng=self._means.rng,
        )
        dialled = await self._reach(candidate, connection.data_to_send())
        trial.way = str(dialled)
        if self._report.first_connection_s is None:
            self._report.first_connection_s = self._elapsed_s()
        await fetch_metadata(
            dialled.stream,
            connection,
            self.pool,
            candidate.endpoint,
            self._introductions if trial.asks_names else None,
            afterwards=partial(self._continue, candidate.endpoint, trial),
            parting=self._part,
        )

    def _part(self, peer: PeerStream) -> None:
        """Give a peer the metadata, if it is whole and all that was needed."""
        raw_info = self.pool.metadata
        if raw_info is None or self.completion.info is None or not self._is_over:
            return
        if self._server is None:
            self._server = MetadataServer(raw_info)
        self._means.giving.take(peer, self._server)

    async def _reach(self, candidate: Candidate, opening: bytes) -> Dialled:
        """Dial a peer; if that fails, have it introduced to us by whoever named it."""
        dial = partial(
            self._means.dialer.connect,
            candidate.endpoint,
            candidate.key,
            opening,
            hints=candidate.hints,
        )
        try:
            return await dial()
        except (PeerDisconnected, PeerTimeout) as error:
            if error.stage != CONNECTING or not await self._introductions.arrange(candidate):
                raise
        return await dial(by=HOLEPUNCHING)


@dataclass(slots=True)
class _Trial:
    """What is known of an attempt while it lasts.

    Attributes:
        way: How the peer was reached.
        asks_names: Whether the peer was to name others.
        ending: How it ended.
    """

    way: str | None = None
    asks_names: bool = False
    ending: PeerError | str = UNFINISHED

    def end(self, ending: PeerError | str) -> None:
        """Note how it ended, as far as that is not known."""
        if self.ending == UNFINISHED:
            self.ending = ending


class _Listener:
    """Takes what one source finds."""

    def __init__(self, resolution: Resolution, record: SourceRecord) -> None:
        self._resolution = resolution
        self._record = record

    def peer(self, candidate: Candidate) -> None:
        """Take a peer."""
        self._resolution.take_peer(candidate, self._record)

    def metadata(self, raw_info: bytes, piece_layers: Mapping[bytes, bytes] | None = None) -> bool:
        """Take a whole; tell whether its hash is right."""
        return self._resolution.take_metadata(raw_info, piece_layers)
