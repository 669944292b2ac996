"""Links and their trackers on loopback: what goes wrong with trackers first, then peers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, Family, endpoint, family_of
from dht.keyspace import InfoHash
from dht.testnet import LOOPBACK
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import HttpClient
from magnet.sources.reach import Reach
from magnet.sources.source import SourceRecord, Wanted
from magnet.sources.trackers import pool as pool_module
from magnet.sources.trackers import standing
from magnet.sources.trackers.pool import TRACKERS_MAX, TrackerPool, open_tracker_pool
from magnet.sources.trackers.source import AT_ONCE as TRACKERS_AT_ONCE
from magnet.sources.trackers.source import STAGGER_S, TrackerSource, tracker_sources
from magnet.sources.trackers.station import AT_ONCE, SCRAPE_WORTH
from magnet.uri import MagnetLink
from tests.magnet.sources.conftest import Findings, NameService
from tests.magnet.sources.servers import (
    Swarms,
    http_tracker,
    open_udp_tracker,
    open_web_server,
    response,
)

Admission = Callable[[Endpoint], Awaitable[None]]
PORT = 51_413
HASH = InfoHash(b"\xaa" * 20)


@pytest.fixture
async def pool(
    reach: Reach, names: HostNames, client: HttpClient, admission: Admission
) -> AsyncIterator[TrackerPool]:
    async with open_tracker_pool(reach, names, client, admission, Random(1), port=PORT) as opened:
        yield opened


@pytest.fixture(params=["udp", "http"])
def scheme(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a host be asked as fast as it answers."""
    monkeypatch.setattr(standing, "ASKED_BURST", 1_000.0)


@asynccontextmanager
async def tracking(scheme: str, host: str, swarms: Swarms) -> AsyncIterator[str]:
    """Run a tracker; give its URL."""
    if scheme == "udp":
        async with open_udp_tracker(host, swarms) as url:
            yield url
    else:
        async with open_web_server(host, http_tracker(swarms)) as url:
            yield f"{url}/announce"


def wanted(*keys: InfoHash) -> Wanted:
    chosen = keys or (HASH,)
    return Wanted(MagnetLink(info_hash=chosen[0]), chosen)


@asynccontextmanager
async def running(
    pool: TrackerPool, url: str, found: Findings, *keys: InfoHash
) -> AsyncIterator[SourceRecord]:
    """Run a source for the time of the block."""
    source = TrackerSource(pool, url)
    record = SourceRecord(source.name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run, wanted(*keys), found, record)
        yield record
        nursery.cancel_scope.cancel()


async def run(pool: TrackerPool, url: str, found: Findings, record: SourceRecord) -> None:
    """Run a source that ends by itself."""
    with trio.fail_after(5):
        await TrackerSource(pool, url).run(wanted(), found, record)


async def until_failed(record: SourceRecord) -> str:
    with trio.fail_after(5):
        while not record.failed:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.001)
    assert record.error is not None
    return record.error


def peers_of(host: str, count: int) -> dict[Endpoint, bool]:
    return {endpoint(host, 7_000 + number): False for number in range(count)}


# What goes wrong


@pytest.mark.parametrize(
    "url", ["wss://t.example/announce", "udp://8.8.8.8:1337", "http://192.168.1.1/announce"]
)
async def test_tracker_that_is_none_for_us(
    pool: TrackerPool, url: str, found: Findings, record: SourceRecord
) -> None:
    await run(pool, url, found, record)
    assert record.error is not None
    assert record.error.startswith("no tracker for us")
    assert not record.asked


async def test_name_that_is_not_known(
    pool: TrackerPool, name_service: NameService, found: Findings
) -> None:
    async with running(pool, "udp://no.example:1337", found) as record:
        assert await until_failed(record) == "no address found for no.example"
        await trio.testing.wait_all_tasks_blocked()
        assert record.next_at is not None


async def test_name_that_leads_out_of_reach(
    pool: TrackerPool, name_service: NameService, found: Findings, record: SourceRecord
) -> None:
    name_service.names["far.example"] = ["8.8.8.8"]
    await run(pool, "udp://far.example:1337", found, record)
    assert record.error == "far.example is out of our reach"


async def test_refusal_is_reported_in_the_words_of_the_tracker(
    pool: TrackerPool, scheme: str, host: str, swarms: Swarms, found: Findings
) -> None:
    swarms.refusal = "not registered"
    async with tracking(scheme, host, swarms) as url, running(pool, url, found) as record:
        assert await until_failed(record) == "not registered"
        await trio.testing.wait_all_tasks_blocked()
        assert record.next_at is not None
        assert (record.asked, record.answered) == (1, 0)
    # Nobody knows us there, so there is no farewell to say.
    assert not swarms.said


async def test_refusal_for_ever_ends_the_source(
    pool: TrackerPool, found: Findings, record: SourceRecord
) -> None:
    gone = response(b"d14:failure reason4:gone8:retry in5:nevere")
    async with open_web_server("127.0.0.1", lambda _: gone) as url:
        await run(pool, f"{url}/announce", found, record)
        assert record.error == "gone"
        again = SourceRecord("again")
        await run(pool, f"{url}/announce", found, again)
        assert not again.asked


async def test_silent_tracker_has_not_answered_yet(
    pool: TrackerPool, scheme: str, swarms: Swarms, found: Findings
) -> None:
    swarms.is_mute = True
    async with tracking(scheme, "127.0.0.1", swarms) as url:
        async with running(pool, url, found) as record:
            await trio.sleep(0.05)
        assert (record.asked, record.answered, record.error) == (1, 0, "no answer yet")


async def test_silent_tracker_is_left_alone_by_other_links(
    autojump_clock: trio.testing.MockClock, pool: TrackerPool, swarms: Swarms, found: Findings
) -> None:
    swarms.is_mute = True
    async with tracking("udp", "127.0.0.1", swarms) as url:
        async with running(pool, url, found):
            await trio.sleep(20)
        async with running(pool, url, found) as record:
            await trio.sleep(1)
            assert record.asked == 0
            assert record.next_at == pytest.approx(trio.current_time() + 59, abs=0.1)


async def test_dead_tracker_does_not_delay_others(
    pool: TrackerPool, host: str, swarms: Swarms, found: Findings
) -> None:
    swarms.peers[HASH] = peers_of(host, 3)
    mute = Swarms(is_mute=True)
    async with tracking("udp", host, swarms) as alive, tracking("udp", host, mute) as dead:
        sources = tracker_sources(pool, [dead, alive])
        async with trio.open_nursery() as nursery:
            for source in sources:
                nursery.start_soon(source.run, wanted(), found, SourceRecord(source.name))
            with trio.fail_after(1):
                assert await found.wait_peers(3) == list(peers_of(host, 3))
            nursery.cancel_scope.cancel()


async def test_peers_out_of_reach_are_not_reported(
    pool: TrackerPool, scheme: str, swarms: Swarms, found: Findings
) -> None:
    good = endpoint("127.0.0.1", 7_000)
    bad = [endpoint("8.8.8.8", 7), endpoint("192.168.1.1", 7), endpoint("127.0.0.1", 0)]
    nobody = endpoint("127.0.0.1", 1)
    swarms.peers[HASH] = dict.fromkeys([*bad, nobody, good], False)
    async with tracking(scheme, "127.0.0.1", swarms) as url, running(pool, url, found) as record:
        assert await found.wait_peers() == [good]
        assert record.peers == 1


async def test_malformed_answer(pool: TrackerPool, found: Findings) -> None:
    page = response(b"<html>It works!</html>")
    async with (
        open_web_server("127.0.0.1", lambda _: page) as url,
        running(pool, f"{url}/announce", found) as record,
    ):
        assert (await until_failed(record)).startswith("no tracker's answer")


async def test_trackers_remembered_are_bounded(pool: TrackerPool) -> None:
    for port in range(2_000, 2_000 + 2 * TRACKERS_MAX):
        pool.tracker(f"udp://127.0.0.1:{port}")
    assert len(pool._trackers) == TRACKERS_MAX


async def test_trackers_beyond_the_first_wait(pool: TrackerPool) -> None:
    sources = tracker_sources(pool, [f"udp://127.0.0.1:{port}" for port in range(2_000, 2_100)])
    delays = [it._delay_s for it in sources]
    assert delays[:TRACKERS_AT_ONCE] == [0.0] * TRACKERS_AT_ONCE
    assert delays[TRACKERS_AT_ONCE : TRACKERS_AT_ONCE + 2] == [STAGGER_S, 2 * STAGGER_S]
    assert delays[-1] == 90 * STAGGER_S


# How it goes right


async def test_peers_are_found(
    pool: TrackerPool,
    scheme: str,
    host: str,
    swarms: Swarms,
    found: Findings,
    admitted: list[Endpoint],
) -> None:
    swarms.peers[HASH] = peers_of(host, 3)
    async with tracking(scheme, host, swarms) as url:
        async with running(pool, url, found) as record:
            assert await found.wait_peers(3) == list(peers_of(host, 3))
            assert (record.asked, record.answered, record.failed) == (1, 1, 0)
            assert (record.peers, record.error) == (3, None)
            assert {it.source for it in found.candidates} == {url}
            assert {it.key for it in found.candidates} == {HASH}
        assert await swarms.wait_said(2) == ["started", "stopped"]
    assert all(left > 0 for left in swarms.left)
    assert {family_of(it) for it in admitted} == {family_of(endpoint(host, 1))}


async def test_we_announce_the_port_where_we_are(
    pool: TrackerPool, scheme: str, host: str, swarms: Swarms, found: Findings
) -> None:
    async with tracking(scheme, host, swarms) as url, running(pool, url, found):
        await swarms.wait_said(1)
        assert list(swarms.peers[HASH]) == [endpoint(host, PORT)]


async def test_both_swarms_of_a_hybrid_are_asked_for(
    pool: TrackerPool, swarms: Swarms, found: Findings
) -> None:
    other = InfoHash(b"\xbb" * 20)
    swarms.peers[HASH] = {endpoint("127.0.0.1", 7_000): False}
    swarms.peers[other] = {endpoint("127.0.0.1", 7_001): False}
    async with (
        tracking("udp", "127.0.0.1", swarms) as url,
        running(pool, url, found, HASH, other),
    ):
        await found.wait_peers(2)
    keys = {it.endpoint: it.key for it in found.candidates}
    assert keys == {endpoint("127.0.0.1", 7_000): HASH, endpoint("127.0.0.1", 7_001): other}


async def test_both_families_of_a_name_are_asked(
    pool: TrackerPool, name_service: NameService, swarms: Swarms, found: Findings
) -> None:
    name_service.names["t.example"] = list(LOOPBACK.values())
    swarms.peers[HASH] = {endpoint(host, 7_000): False for host in LOOPBACK.values()}
    async with tracking("udp", "127.0.0.1", swarms) as url:
        port = int(url.split(":")[2].partition("/")[0])
        async with running(pool, f"udp://t.example:{port}", found) as record:
            assert await found.wait_peers() == [endpoint("127.0.0.1", 7_000)]
            await trio.testing.wait_all_tasks_blocked(0.01)
            # Nobody listens on the other address, which is no reason to complain.
            assert record.asked == 2
            assert record.answered == 1


async def test_announces_are_repeated_at_the_interval_of_the_tracker(
    autojump_clock: trio.testing.MockClock, pool: TrackerPool, swarms: Swarms, found: Findings
) -> None:
    # The clock jumps while datagrams are under way, which the waits of BEP 15 make up for.
    async with tracking("udp", "127.0.0.1", swarms) as url:
        async with running(pool, url, found) as record:
            await swarms.wait_said(1)
            await trio.sleep(1_900)
            assert record.next_at is not None
        kinds = [kind for kind, _ in swarms.said]
    assert kinds[0] == "started"
    assert "regular" in kinds
    assert len(kinds) <= 3


async def test_link_that_comes_again_soon_is_given_what_is_remembered(
    pool: TrackerPool, scheme: str, host: str, swarms: Swarms
) -> None:
    swarms.peers[HASH] = peers_of(host, 3)
    async with tracking(scheme, host, swarms) as url:
        for again in (False, True):
            found = Findings()
            async with running(pool, url, found) as record:
                await found.wait_peers(3)
                assert record.asked == (0 if again else 1)
        await swarms.wait_said(2)
        assert [kind for kind, _ in swarms.said].count("started") == 1


@pytest.mark.usefixtures("unhurried")
async def test_crowd_is_scraped_for_first(
    pool: TrackerPool, scheme: str, host: str, swarms: Swarms
) -> None:
    hashes = [InfoHash(bytes([number]) * 20) for number in range(30)]
    for info_hash in hashes[:15]:
        swarms.peers[info_hash] = peers_of(host, 1)
    found = Findings()
    async with tracking(scheme, host, swarms) as url, trio.open_nursery() as nursery:
        for info_hash in hashes:
            source = TrackerSource(pool, url)
            record = SourceRecord(url)
            nursery.start_soon(source.run, wanted(info_hash), found, record)
        await found.wait_peers(15)
        await trio.testing.wait_all_tasks_blocked(0.02)
        kinds = [kind for kind, _ in swarms.said]
        nursery.cancel_scope.cancel()
    assert kinds.count("scrape") == 1
    # Those who came before there was a crowd are announced, whatever they are worth.
    assert kinds.count("started") <= 15 + AT_ONCE + SCRAPE_WORTH


@pytest.mark.usefixtures("unhurried")
async def test_zeros_of_a_tracker_that_cannot_count_are_not_believed(
    pool: TrackerPool, swarms: Swarms
) -> None:
    hashes = [InfoHash(bytes([number]) * 20) for number in range(25)]
    swarms.counts_nobody = True
    for info_hash in hashes:
        swarms.peers[info_hash] = peers_of("127.0.0.1", 1)
    found = Findings()
    async with tracking("udp", "127.0.0.1", swarms) as url, trio.open_nursery() as nursery:
        for info_hash in hashes:
            source = TrackerSource(pool, url)
            nursery.start_soon(source.run, wanted(info_hash), found, SourceRecord(url))
        await found.wait_peers(25)
        nursery.cancel_scope.cancel()


async def test_pool_ends_soon_though_a_tracker_is_silent(
    reach: Reach,
    names: HostNames,
    client: HttpClient,
    admission: Admission,
    swarms: Swarms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "FAREWELL_S", 0.05)
    found = Findings()
    async with tracking("http", "127.0.0.1", swarms) as url:
        swarms.peers[HASH] = peers_of("127.0.0.1", 1)
        async with open_tracker_pool(reach, names, client, admission, Random(1)) as pool:
            async with running(pool, url, found):
                await found.wait_peers()
            swarms.is_mute = True
            began = trio.current_time()
        assert trio.current_time() - began < 1


async def test_each_family_has_its_own_socket(family: Family, pool: TrackerPool) -> None:
    tracker = pool.tracker(f"udp://{'[::1]' if family is Family.IPV6 else '127.0.0.1'}:6969")
    assert [it.family for it in await tracker.stations()] == [family]
