"""The trackers of a link as sources of peers: all of them asked, each at the pace it sets itself.

A tier of trackers is meant to be asked one after the other, so that the load is spread over it. The
trackers of a link are a tier each, and so all are asked, the first few at once and the others one
by one. Whatever is said to a tracker is said in both swarms of a hybrid torrent, and in each
address family in which it can be reached.

Spec: BEP 12; BEP 9 "magnet URI format", `tr`; BEP 52 on hybrid torrents.
"""

from collections.abc import Iterable
from typing import Final

import trio

from dht.contact import Endpoint, port_of
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.source import Candidate, Findings, SourceRecord, Wanted
from magnet.sources.trackers.announce import PORT_CLOSED, Announced, Event
from magnet.sources.trackers.pool import Tracker, TrackerPool
from magnet.sources.trackers.station import Station
from magnet.urls import without_userinfo

AT_ONCE: Final = 10
"""Trackers of a link that are asked at once; most links have fewer."""

STAGGER_S: Final = 0.5
"""Seconds between the trackers after those: a link may name a hundred, to make us call on a crowd.
"""

LOOK_AGAIN_S: Final = 300.0
"""Seconds after which a name is looked up again that was not found."""

_NO_PEERS: Final = "knows no peers"
_UNANSWERED: Final = "no answer yet"


def tracker_sources(pool: TrackerPool, urls: Iterable[str]) -> list["TrackerSource"]:
    """Return a source for each tracker.

    Args:
        pool: Asks them.
        urls: Of the trackers, in order.
    """
    return [
        TrackerSource(pool, url, delay_s=max(0, position - AT_ONCE + 1) * STAGGER_S)
        for position, url in enumerate(urls)
    ]


class TrackerSource:
    """Asks one tracker for the peers of one link."""

    def __init__(self, pool: TrackerPool, url: str, *, delay_s: float = 0.0) -> None:
        """Prepare.

        Args:
            pool: Asks the tracker, on behalf of other links too.
            url: The tracker's.
            delay_s: Seconds to wait at first.
        """
        self._pool = pool
        self._url = url
        self._delay_s = delay_s

    @property
    def name(self) -> str:
        """The tracker's URL, as it may be shown."""
        return without_userinfo(self._url)

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Announce at the intervals that the tracker names, until cancelled.

        Ends early where the tracker is none that we may speak to, or wants no more of us.
        """
        await _pause(trio.current_time() + self._delay_s, record)
        try:
            tracker = self._pool.tracker(self._url)
        except SourceError as error:
            record.error = str(error)
            return
        stations = await _find_stations(tracker, record)
        async with trio.open_nursery() as nursery:
            for station in stations:
                for key in wanted.keys:
                    visit = _Visit(self, station, key, found, record)
                    nursery.start_soon(visit.run)

    def report(
        self, peers: Iterable[Endpoint], key: InfoHash, found: Findings, record: SourceRecord
    ) -> None:
        """Report the peers that we may reach; who accepts no connections is none."""
        for peer in filter(self._pool.reach.allows, peers):
            if port_of(peer) != PORT_CLOSED:
                record.peers += 1
                found.peer(Candidate(peer, key, self.name))


class _Visit:
    """The announces for one swarm to one tracker in one address family."""

    def __init__(
        self,
        source: TrackerSource,
        station: Station,
        key: InfoHash,
        found: Findings,
        record: SourceRecord,
    ) -> None:
        self._source = source
        self._station = station
        self._key = key
        self._found = found
        self._record = record
        self._event = Event.STARTED

    async def run(self) -> None:
        """Announce again and again; say farewell if it comes to that."""
        standing, record = self._station.standing, self._record
        self._report(standing.remembered_peers(self._key))
        try:
            while (ready_at := standing.ready_at(self._key, self._event)) != float("inf"):
                if ready_at > trio.current_time():
                    if standing.knows_nobody(self._key) and not record.peers:
                        record.error = _NO_PEERS
                    await _pause(ready_at, record)
                else:
                    await self._ask()
        finally:
            if self._event is Event.REGULAR:
                self._station.leave(self._key)

    async def _ask(self) -> None:
        record = self._record
        record.asked += 1
        earlier, record.error = record.error, record.error or _UNANSWERED
        try:
            answer = await self._station.announce(self._key, self._event)
        except SourceError as error:
            record.failed += 1
            record.error = None if record.answered else str(error)
            return
        if answer is None:
            record.asked -= 1
            record.error = earlier
        else:
            self._take(answer)

    def _take(self, answer: Announced) -> None:
        self._event = Event.REGULAR
        self._record.answered += 1
        self._record.error = answer.warning
        self._report(answer.peers)

    def _report(self, peers: Iterable[Endpoint]) -> None:
        self._source.report(peers, self._key, self._found, self._record)


async def _find_stations(tracker: Tracker, record: SourceRecord) -> list[Station]:
    """Look a tracker's name up, until it is found or turns out to lead where we must not go."""
    while True:
        try:
            stations = await tracker.stations()
        except SourceError as error:
            record.failed += 1
            record.error = str(error)
            if error.fault is SourceFault.NOT_ALLOWED:
                return []
            await _pause(trio.current_time() + LOOK_AGAIN_S, record)
        else:
            record.error = None
            return stations


async def _pause(until: float, record: SourceRecord) -> None:
    record.next_at = until if until > trio.current_time() else None
    await trio.sleep_until(until)
    record.next_at = None
