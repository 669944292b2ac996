"""The ways to a tracker: dead ends first."""

from typing import cast

import pytest
import trio

from dht.contact import Endpoint, Family, endpoint
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import HttpClient
from magnet.sources.reach import Reach
from magnet.sources.trackers.announce import Announce, Announced, Counts, Event
from magnet.sources.trackers.lines import HttpLine, UdpLine
from magnet.sources.trackers.udp import Answer, Scrape, Scraped
from magnet.sources.trackers.udp_client import UdpClient
from magnet.sources.trackers.url import parse_tracker_url
from tests.magnet.sources.conftest import NameService

HASH = InfoHash(b"\xaa" * 20)
ANNOUNCE = Announce(HASH, bytes(20), 1, 6_881, Event.STARTED)


def asking() -> None:
    """Take no note of when a request goes out."""


class FakeUdp:
    """Answers at one address only."""

    def __init__(self, alive: Endpoint) -> None:
        self.alive = alive
        self.asked: list[tuple[Endpoint, bytes]] = []
        self.told: list[Endpoint] = []

    async def ask(self, to: Endpoint, request: Announce | Scrape, options: bytes) -> Answer:
        await trio.lowlevel.checkpoint()
        self.asked.append((to, options))
        if to != self.alive:
            raise SourceError(SourceFault.TIMEOUT, "no answer")
        return Announced() if isinstance(request, Announce) else Scraped((Counts(1, 2, 3),))

    def tell(self, to: Endpoint, announce: Announce, options: bytes) -> bool:
        self.told.append(to)
        return True


def line_to(udp: FakeUdp, names: HostNames, reach: Reach, family: Family) -> UdpLine:
    async def admit(_: Endpoint) -> None:
        await trio.lowlevel.checkpoint()

    tracker = parse_tracker_url("udp://t.example:1337/announce?k=v", reach)
    return UdpLine(tracker, family, names, cast("UdpClient", udp), admit)


async def test_family_in_which_the_tracker_is_not(
    names: HostNames, reach: Reach, name_service: NameService
) -> None:
    name_service.names["t.example"] = ["127.0.0.1"]
    udp = FakeUdp(endpoint("127.0.0.1", 1_337))
    with pytest.raises(SourceError) as caught:
        await line_to(udp, names, reach, Family.IPV6).announce(ANNOUNCE, asking)
    assert caught.value.fault is SourceFault.NO_ADDRESS
    assert not udp.asked


async def test_it_is_told_when_a_request_goes_out_and_not_before(
    reach: Reach, names: HostNames
) -> None:
    said: list[str] = []

    async def admit(_: Endpoint) -> None:
        said.append("admitted")
        await trio.lowlevel.checkpoint()

    tracker = parse_tracker_url("udp://127.0.0.1:1337/announce", reach)
    udp = FakeUdp(endpoint("127.0.0.1", 1_337))
    line = UdpLine(tracker, Family.IPV4, names, cast("UdpClient", udp), admit)
    await line.announce(ANNOUNCE, lambda: said.append("asking"))
    assert said == ["admitted", "asking"]


async def test_next_address_is_asked_after_silence(
    names: HostNames, reach: Reach, name_service: NameService
) -> None:
    name_service.names["t.example"] = ["127.0.0.2", "127.0.0.3"]
    alive = endpoint("127.0.0.3", 1_337)
    udp = FakeUdp(alive)
    line = line_to(udp, names, reach, Family.IPV4)
    await line.farewell(ANNOUNCE)
    assert not udp.told
    with pytest.raises(SourceError):
        await line.announce(ANNOUNCE, asking)
    assert await line.announce(ANNOUNCE, asking) == Announced()
    assert await line.scrape([HASH]) == {HASH: Counts(1, 2, 3)}
    path = b"\x02\x0d/announce?k=v"
    dead = endpoint("127.0.0.2", 1_337)
    assert udp.asked == [(dead, path), (alive, path), (alive, b"")]
    await line.farewell(ANNOUNCE)
    assert udp.told == [alive]


async def test_url_without_a_place_for_a_scrape(client: HttpClient, reach: Reach) -> None:
    line = HttpLine(parse_tracker_url("http://t.example/tracker", reach), Family.IPV4, client)
    assert line.scraped_max == 0
    with pytest.raises(SourceError) as caught:
        await line.scrape([HASH])
    assert caught.value.fault is SourceFault.NOT_ALLOWED
