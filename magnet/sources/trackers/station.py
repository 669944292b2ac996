"""One tracker in one address family, asked on behalf of all links.

Few requests to one tracker are under way at once, and none goes out faster than the pace of its
host allows. When more than a handful of links wait for the same tracker, it is scraped first, for
all of them at once, and only swarms that have peers are announced to.

A link that has what it wanted leaves at once: that we stop is told in the background.

Spec: BEP 3; BEP 15; BEP 48.
"""

from typing import Final, NamedTuple

import trio

from dht.contact import Family
from dht.keyspace import InfoHash
from dht.logs import get_logger
from magnet.errors import SourceError
from magnet.sources.trackers.announce import Announce, Announced, Event
from magnet.sources.trackers.lines import Line
from magnet.sources.trackers.standing import HostLimit, TrackerStanding

_log = get_logger(__name__)

AT_ONCE: Final = 8
"""Requests under way to one tracker: one that is silent must not collect what we have."""

SCRAPE_WORTH: Final = 4
"""Links that wait for one tracker before it is scraped: for fewer we announce at once."""

SCRAPES_FAILED_MAX: Final = 2
"""Scrapes in a row that may fail before a tracker is not scraped any more; many never are."""

GATHER_S: Final = 0.1
"""Seconds for which swarms are collected for a scrape."""

SILENCE_S: Final = 15.0
"""Seconds without an answer after which a tracker counts as silent, even if the link that asked is
given up sooner than the request is."""

FAREWELLS_MAX: Final = 64
"""Farewells under way; more are not said, and the trackers find out by themselves."""


class Ourselves(NamedTuple):
    """Who we are to trackers.

    Attributes:
        peer_id: 20 bytes.
        key: 32 bits, by which a tracker knows us again at another address.
        port: Where we accept peers.
    """

    peer_id: bytes
    key: int
    port: int


class Farewells:
    """Says farewell to trackers while nobody waits, and waits for it at the very end."""

    def __init__(self, background: trio.Nursery) -> None:
        """Begin with none.

        Args:
            background: Where they are said.
        """
        self._background = background
        self._under_way = 0
        self._all_said = trio.Event()

    def say(self, line: Line, announce: Announce) -> None:
        """Begin to say one, unless there are too many."""
        if self._under_way < FAREWELLS_MAX:
            self._under_way += 1
            self._all_said = trio.Event()
            self._background.start_soon(self._say, line, announce)

    async def wait_said(self) -> None:
        """Wait until none is under way."""
        if self._under_way:
            await self._all_said.wait()
        await trio.lowlevel.checkpoint()

    async def _say(self, line: Line, announce: Announce) -> None:
        try:
            await line.farewell(announce)
        except SourceError as error:
            _log.debug("farewell not said", reason=str(error))
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._all_said.set()


class HostPace:
    """How fast one host is asked, by all its trackers together."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self._limit = HostLimit(now=trio.current_time())
        self._turn = trio.Lock()

    async def wait_turn(self) -> None:
        """Wait until the host may be asked once more; one task at a time."""
        async with self._turn:
            while not self._limit.take(now=trio.current_time()):  # noqa: ASYNC110 - no event tells
                await trio.sleep_until(self._limit.ready_at(now=trio.current_time()))


class _Batch:
    """Swarms collected for one scrape."""

    def __init__(self) -> None:
        self.info_hashes: dict[InfoHash, None] = {}
        self.done = trio.Event()


class Station:
    """One tracker in one address family.

    Attributes:
        family: The address family.
        standing: What is known of the tracker.
    """

    def __init__(
        self,
        family: Family,
        line: Line,
        pace: HostPace,
        ourselves: Ourselves,
        background: trio.Nursery,
        farewells: Farewells,
    ) -> None:
        """Begin to speak to a tracker.

        Args:
            family: The address family.
            line: The way to the tracker.
            pace: That of its host.
            ourselves: Who we are.
            background: Where scrapes are made, which outlive the link that wanted them.
            farewells: Says them.
        """
        self.family = family
        self.standing = TrackerStanding(family)
        self._line = line
        self._slots = trio.CapacityLimiter(AT_ONCE)
        self._pace = pace
        self._ourselves = ourselves
        self._background = background
        self._farewells = farewells
        self._batch: _Batch | None = None
        self._scrapes_failed = 0

    async def announce(self, info_hash: InfoHash, event: Event) -> Announced | None:
        """Announce when it is our turn.

        Returns:
            The answer; None if nothing was sent, because meanwhile the tracker has shown that it
            cannot be spoken to, or that it knows nobody in the swarm. When to come again is for
            `standing` to say.

        Raises:
            SourceError: It came to nothing.
        """
        if event is Event.STARTED and (self._batch is not None or self._is_scrape_worthwhile):
            await self._join_scrape(info_hash)
        async with self._slots:
            await self._pace.wait_turn()
            if self.standing.ready_at(info_hash, event) > trio.current_time():
                return None
            return await self._announce(info_hash, event)

    def leave(self, info_hash: InfoHash) -> None:
        """Say that we stop; does not wait, and nothing comes of it if the tracker is silent."""
        self._farewells.say(self._line, self._say(info_hash, Event.STOPPED))

    async def _announce(self, info_hash: InfoHash, event: Event) -> Announced:
        asked_at = float("inf")
        is_settled = False

        def note_asking() -> None:
            # Time that we spend in queues of our own is no silence of the tracker.
            nonlocal asked_at
            asked_at = min(asked_at, trio.current_time())

        try:
            answer = await self._line.announce(self._say(info_hash, event), note_asking)
            is_settled = True
        except SourceError as error:
            is_settled = True
            self.standing.failed(info_hash, error, now=trio.current_time())
            raise
        finally:
            now = trio.current_time()
            if not is_settled and now - asked_at >= SILENCE_S:
                self.standing.silent(now=now)
        self.standing.announced(info_hash, answer, now=trio.current_time())
        return answer

    def _say(self, info_hash: InfoHash, event: Event) -> Announce:
        peer_id, key, port = self._ourselves
        return Announce(info_hash, peer_id, key, port, event, self.standing.tracker_id(info_hash))

    @property
    def _is_scrape_worthwhile(self) -> bool:
        is_possible = self._line.scraped_max > 0 and self._scrapes_failed < SCRAPES_FAILED_MAX
        return is_possible and self._slots.statistics().tasks_waiting >= SCRAPE_WORTH

    async def _join_scrape(self, info_hash: InfoHash) -> None:
        if self._batch is None:
            self._batch = _Batch()
            self._background.start_soon(self._scrape, self._batch)
        batch = self._batch
        batch.info_hashes[info_hash] = None
        if len(batch.info_hashes) >= self._line.scraped_max:
            self._batch = None
        await batch.done.wait()

    async def _scrape(self, batch: _Batch) -> None:
        try:
            await trio.sleep(GATHER_S)
            async with self._slots:
                await self._pace.wait_turn()
                if self._batch is batch:
                    self._batch = None
                found = await self._line.scrape(tuple(batch.info_hashes))
            self._scrapes_failed = 0
            self.standing.scraped(batch.info_hashes, found, now=trio.current_time())
        except SourceError as error:
            # Whether the tracker is to be left alone is for the announces to find out.
            self._scrapes_failed += 1
            _log.debug("not scraped", reason=str(error))
        finally:
            batch.done.set()
