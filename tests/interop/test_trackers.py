"""A link becomes a .torrent, with libtorrent as the only peer and a tracker the only way to it."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest
import trio

from dht.contact import Endpoint, Family, Scope, endpoint
from dht.keyspace import InfoHash
from dht.node import NodeSettings, open_node
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import open_http_client
from magnet.sources.reach import Reach
from magnet.sources.trackers.announce import Announce, Counts, Event
from magnet.sources.trackers.lines import HttpLine, Line, UdpLine
from magnet.sources.trackers.udp_client import open_udp_client
from magnet.sources.trackers.url import parse_tracker_url
from magnet.uri import MagnetLink, parse_magnet
from tests.interop.client import TCP_ONLY, open_client
from tests.interop.trackers import TRACKERS, OpenTracker

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]
PEER_ID = b"-XX0001-abcdefghijkl"
HASH = InfoHash(b"abcdefghij0123456789")
UNKNOWN = InfoHash(b"0123456789abcdefghij")
"""In ASCII, for one of the trackers spoils other keys of its dictionaries."""


@pytest.fixture(params=["udp", "http"])
def scheme(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(params=TRACKERS)
def open_tracker(request: pytest.FixtureRequest) -> OpenTracker:
    return TRACKERS[request.param]


@asynccontextmanager
async def seeded(
    host: str, torrent: bytes, content: Path, tracker: str
) -> AsyncIterator[MagnetLink]:
    """Let libtorrent seed a torrent and announce it to a tracker; give the link it makes of it."""
    # Without a farewell, whose answer it would wait for; and some trackers tell it of itself.
    settings = {"enable_dht": False, "stop_tracker_timeout": 0, **TCP_ONLY}
    async with open_client(host, alert_mask=lt.alert_category.tracker, **settings) as client:
        parameters = lt.load_torrent_buffer(torrent)
        parameters.trackers = [tracker]
        client.add(parameters, content.parent)
        await client.wait_alert(lt.tracker_reply_alert, lambda _: True)
        yield parse_magnet(lt.make_magnet_uri(parameters), bound=Scope.LOOPBACK)


async def test_link_is_resolved_by_its_tracker_only(
    host: str,
    scheme: str,
    open_tracker: OpenTracker,
    make_torrent: MakeTorrent,
    content: Path,
    tmp_path: Path,
) -> None:
    torrent = make_torrent(Version.V1)
    keys = [InfoHash(hashlib.sha1(parse_torrent(torrent).raw_info).digest())]
    report = Report()
    async with (
        open_tracker(scheme, host, keys, tmp_path) as url,
        seeded(host, torrent, content, url) as link,
        open_node(NodeSettings(bind=[(host, 0)], bootstrap=())) as node,
        open_resolver(node) as resolver,
    ):
        assert link.trackers == (url,)
        assert not link.peers
        resolved = await resolver.resolve(link, timeout_s=10, report=report)
    assert resolved.raw_info == parse_torrent(torrent).raw_info
    (record,) = [it for it in report.sources if it.name == url]
    assert (record.asked, record.answered, record.failed) == (1, 1, 0)
    assert record.peers >= 1


async def test_both_swarms_of_a_hybrid_are_found(
    host: str, scheme: str, make_torrent: MakeTorrent, content: Path, tmp_path: Path
) -> None:
    torrent = make_torrent(Version.HYBRID)
    async with (
        TRACKERS["ours"](scheme, host, (), tmp_path) as url,
        seeded(host, torrent, content, url) as link,
        open_node(NodeSettings(bind=[(host, 0)], bootstrap=())) as node,
        open_resolver(node) as resolver,
    ):
        resolved = await resolver.resolve(link, timeout_s=10)
    assert resolved.info.version is Version.HYBRID


async def test_counts_follow_who_comes_and_goes(
    host: str, family: Family, scheme: str, open_tracker: OpenTracker, tmp_path: Path
) -> None:
    async with (
        open_tracker(scheme, host, [HASH], tmp_path) as url,
        open_line(family, host, url) as line,
    ):
        assert await peers_by_scrape(line) == 0
        for number, event in [(1, Event.STARTED), (2, Event.STARTED), (1, Event.REGULAR)]:
            answer = await line.announce(announce(number, event), asking)
        # Some trackers name whoever asks, too.
        assert endpoint(host, 7_002) in answer.peers
        assert answer.interval_s > 60
        assert await peers_by_scrape(line) == 2
        await line.farewell(announce(1, Event.STOPPED))
        with trio.fail_after(5):
            while await peers_by_scrape(line) != 1:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.01)
        answer = await line.announce(announce(2, Event.REGULAR), asking)
        assert endpoint(host, 7_001) not in answer.peers


def asking() -> None:
    """Take no note of when a request goes out."""


def announce(number: int, event: Event) -> Announce:
    return Announce(HASH, PEER_ID[:-1] + bytes([number]), number, 7_000 + number, event)


async def peers_by_scrape(line: Line) -> int:
    counts = await line.scrape([HASH, UNKNOWN])
    assert counts.get(UNKNOWN, Counts(0, 0, 0)).peers == 0
    return counts.get(HASH, Counts(0, 0, 0)).peers


@asynccontextmanager
async def open_line(family: Family, host: str, url: str) -> AsyncIterator[Line]:
    """Open the way to a tracker that sources go."""
    reach = Reach({family: endpoint(host, 0)})
    names, tracker = HostNames(reach), parse_tracker_url(url, reach)

    async def admit(_: Endpoint) -> None:
        await trio.lowlevel.checkpoint()

    async with (
        open_udp_client(reach, Random(1)) as udp,
        open_http_client(reach, names, admit) as http,
    ):
        if tracker.scheme == "udp":
            yield UdpLine(tracker, family, names, udp, admit)
        else:
            yield HttpLine(tracker, family, http)
