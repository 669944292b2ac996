"""All trackers that the links of a resolver name.

Links share what is known of a tracker, its host's pace, and the sockets.

Spec: BEP 3; BEP 12; BEP 15.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final, TypeVar

import trio

from dht.background import open_background
from dht.contact import Family
from magnet.peer.handshake import generate_peer_id
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import Admission, HttpClient
from magnet.sources.reach import Reach
from magnet.sources.trackers.announce import PORT_CLOSED
from magnet.sources.trackers.lines import HttpLine, Line, UdpLine
from magnet.sources.trackers.station import Farewells, HostPace, Ourselves, Station
from magnet.sources.trackers.udp_client import UdpClient, open_udp_client
from magnet.sources.trackers.url import TrackerUrl, parse_tracker_url

TRACKERS_MAX: Final = 500
"""Trackers and hosts remembered; the one asked for longest ago is forgotten, and what we knew."""

FAREWELL_S: Final = 3.0
"""Seconds that a pool waits at its end for farewells under way."""

_KEYS: Final = 2**32

_T = TypeVar("_T")


class Tracker:
    """One tracker.

    Attributes:
        url: As the link names it.
    """

    def __init__(
        self, url: TrackerUrl, names: HostNames, make_station: Callable[[Family], Station]
    ) -> None:
        """Made by `TrackerPool.tracker`."""
        self.url = url
        self._names = names
        self._make_station = make_station
        self._stations: dict[Family, Station] = {}

    async def stations(self) -> list[Station]:
        """Return the tracker in each address family in which it can be reached.

        Raises:
            SourceError: There is none; the fault says why.
        """
        families = await self._names.look_up(self.url.host)
        for family in families:
            if family not in self._stations:
                self._stations[family] = self._make_station(family)
        return [self._stations[family] for family in families]


class TrackerPool:
    """Made by `open_tracker_pool`.

    Attributes:
        reach: Whom we may reach, which concerns the peers that trackers name, too.
    """

    def __init__(
        self,
        reach: Reach,
        names: HostNames,
        udp: UdpClient,
        http: HttpClient,
        admission: Admission,
        ourselves: Ourselves,
        background: trio.Nursery,
    ) -> None:
        """Made by `open_tracker_pool`."""
        self.reach = reach
        self._names = names
        self._udp = udp
        self._http = http
        self._admission = admission
        self._ourselves = ourselves
        self._background = background
        self.farewells = Farewells(background)
        self._trackers: OrderedDict[str, Tracker] = OrderedDict()
        self._paces: OrderedDict[str, HostPace] = OrderedDict()

    def tracker(self, url: str) -> Tracker:
        """Return the tracker that a URL names.

        Raises:
            SourceError: `NOT_ALLOWED`: it names none that we speak to.
        """
        parsed = parse_tracker_url(url, self.reach)
        return _remembered(self._trackers, parsed.url, lambda: self._make(parsed))

    def _make(self, url: TrackerUrl) -> Tracker:
        pace = _remembered(self._paces, url.host.host, HostPace)

        def make_station(family: Family) -> Station:
            line = self._line(url, family)
            return Station(family, line, pace, self._ourselves, self._background, self.farewells)

        return Tracker(url, self._names, make_station)

    def _line(self, url: TrackerUrl, family: Family) -> Line:
        if url.scheme == "udp":
            return UdpLine(url, family, self._names, self._udp, self._admission)
        return HttpLine(url, family, self._http)


@asynccontextmanager
async def open_tracker_pool(
    reach: Reach,
    names: HostNames,
    http: HttpClient,
    admission: Admission,
    rng: Random,
    *,
    port: int = PORT_CLOSED,
) -> AsyncIterator[TrackerPool]:
    """Speak to trackers for the time of the block.

    Args:
        reach: Our own addresses.
        names: Resolves host names.
        http: For HTTP trackers.
        admission: Is waited for before every request.
        rng: Makes our peer id and transaction ids; a strong source.
        port: TCP port on which we accept peers; `PORT_CLOSED` if we do not.

    Raises:
        CannotListen: A UDP socket cannot be bound.
    """
    ourselves = Ourselves(generate_peer_id(rng), rng.randrange(_KEYS), port)
    async with open_udp_client(reach, rng) as udp, open_background() as background:
        pool = TrackerPool(reach, names, udp, http, admission, ourselves, background)
        yield pool
        with trio.move_on_after(FAREWELL_S):
            await pool.farewells.wait_said()


def _remembered(memory: OrderedDict[str, _T], key: str, make: Callable[[], _T]) -> _T:
    if key not in memory:
        memory[key] = make()
        if len(memory) > TRACKERS_MAX:
            memory.popitem(last=False)
    memory.move_to_end(key)
    return memory[key]
