"""A tracker asked on behalf of many links, without a network."""

from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import trio
import trio.testing

from dht.contact import Family, endpoint
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import Announce, Announced, Counts, Event
from magnet.sources.trackers.standing import ASKED_BURST, ASKED_PER_S, PAUSE_MIN_S
from magnet.sources.trackers.station import (
    AT_ONCE,
    FAREWELLS_MAX,
    SCRAPE_WORTH,
    SCRAPES_FAILED_MAX,
    SILENCE_S,
    Farewells,
    HostPace,
    Ourselves,
    Station,
)

PEER = endpoint("192.0.2.1", 6_881)
BROKEN = SourceError(SourceFault.TIMEOUT, "no answer")


class FakeLine:
    """Answers after a second, or never, or with an error."""

    scraped_max = 10

    def __init__(self) -> None:
        self.announced: list[InfoHash] = []
        self.scraped: list[tuple[InfoHash, ...]] = []
        self.farewells = 0
        self.most_at_once = self.at_once = 0
        self.queue_s = 0.0
        self.is_silent = False
        self.error: SourceError | None = None
        self.empty: set[InfoHash] = set()

    async def announce(self, announce: Announce, asking: Callable[[], None]) -> Announced:
        self.announced.append(announce.info_hash)
        await trio.sleep(self.queue_s)
        asking()
        await self._take_time()
        return Announced((PEER,))

    async def scrape(self, info_hashes: Sequence[InfoHash]) -> dict[InfoHash, Counts]:
        self.scraped.append(tuple(info_hashes))
        await self._take_time()
        return {it: Counts(0 if it in self.empty else 1, 0, 0) for it in info_hashes}

    async def farewell(self, announce: Announce) -> None:
        assert announce.event is Event.STOPPED
        self.farewells += 1
        await self._take_time()

    async def _take_time(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(float("inf") if self.is_silent else 1)
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise SourceError(self.error.fault, self.error.detail)


@pytest.fixture
def line() -> FakeLine:
    return FakeLine()


@pytest.fixture
async def station(line: FakeLine, autojump_clock: trio.testing.MockClock) -> AsyncIterator[Station]:
    async with trio.open_nursery() as nursery:
        yield Station(
            Family.IPV4,
            line,
            HostPace(),
            Ourselves(bytes(20), 1, 6_881),
            nursery,
            Farewells(nursery),
        )
        nursery.cancel_scope.cancel()


def hashes(count: int) -> list[InfoHash]:
    return [InfoHash(number.to_bytes(20)) for number in range(count)]


async def announce_all(station: Station, info_hashes: Sequence[InfoHash]) -> list[InfoHash]:
    """Announce for many links at once; return the swarms that were answered for."""
    answered: list[InfoHash] = []

    async def announce(info_hash: InfoHash) -> None:
        try:
            if await station.announce(info_hash, Event.STARTED) is not None:
                answered.append(info_hash)
        except SourceError:
            pass

    async with trio.open_nursery() as nursery:
        for info_hash in info_hashes:
            nursery.start_soon(announce, info_hash)
    return answered


async def test_failure_keeps_all_others_away(
    autojump_clock: trio.testing.MockClock, station: Station, line: FakeLine
) -> None:
    line.error = BROKEN
    line.scraped_max = 0
    assert await announce_all(station, hashes(100)) == []
    assert len(line.announced) == AT_ONCE
    assert await station.announce(hashes(1)[0], Event.STARTED) is None


async def test_silence_is_noticed_though_the_link_gives_up(
    autojump_clock: trio.testing.MockClock, station: Station, line: FakeLine
) -> None:
    line.is_silent = True
    for patience_s, rests in [(SILENCE_S - 1, False), (SILENCE_S + 1, True)]:
        with trio.move_on_after(patience_s):
            await station.announce(hashes(1)[0], Event.STARTED)
        ready_at = station.standing.ready_at(hashes(2)[1], Event.STARTED)
        assert (ready_at == trio.current_time() + PAUSE_MIN_S) is rests


async def test_wait_in_our_own_queue_is_no_silence_of_the_tracker(
    autojump_clock: trio.testing.MockClock, station: Station, line: FakeLine
) -> None:
    line.is_silent = True
    for queue_s, rests in [(2 * SILENCE_S, False), (SILENCE_S / 2, False), (0.0, True)]:
        line.queue_s = queue_s
        with trio.move_on_after(1.25 * SILENCE_S):
            await station.announce(hashes(1)[0], Event.STARTED)
        assert (
            station.standing.ready_at(hashes(2)[1], Event.STARTED) > trio.current_time()
        ) is rests


async def test_scrapes_that_fail_are_given_up(
    autojump_clock: trio.testing.MockClock, station: Station, line: FakeLine
) -> None:
    class NoScrape(FakeLine):
        async def scrape(self, info_hashes: Sequence[InfoHash]) -> dict[InfoHash, Counts]:
            self.scraped.append(tuple(info_hashes))
            raise SourceError(SourceFault.STATUS, "HTTP status 404")

    station._line = line = NoScrape()
    for start in (0, 100, 200, 300):
        wanted = hashes(start + 60)[start:]
        assert len(await announce_all(station, wanted)) == 60
    # Several may have been under way when it was seen that they fail.
    before = len(line.scraped)
    assert before >= SCRAPES_FAILED_MAX
    await announce_all(station, hashes(460)[400:])
    assert len(line.scraped) == before


async def test_few_requests_are_under_way_at_once(
    autojump_clock: trio.testing.MockClock, station: Station, line: FakeLine
) -> None:
    line.scraped_max = 0
    assert len(await announce_all(station, hashes(50))) == 50
    assert line.most_at_once == AT_ONCE
    assert line.scraped == []


async def test_host_is_asked_at_its_pace(
    autojump_clock: trio.testing.MockClock, station: Station, line: FakeLine
) -> None:
    line.scraped_max = 0
    began = trio.current_time()
    await announce_all(station, hashes(int(ASKED_BURST) + 100))
    assert trio.current_time() - began >= 100 / ASKED_PER_S


async def test_crowd_is_scraped_for_and_the_empty_are_left_out(
    autojump_clock: trio.testing.MockClock, station: Station, line: FakeLine
) -> None:
    wanted = hashes(64)
    line.empty = set(wanted[::2])
    answered = await announce_all(station, wanted)
    assert set(wanted[1::2]) <= set(answered)
    assert all(len(it) <= line.scraped_max for it in line.scraped)
    assert len(line.announced) <= 32 + AT_ONCE + SCRAPE_WORTH
    # Those who came before there was a crowd were announced.
    known = [it for it in wanted if station.standing.knows_nobody(it)]
    assert 32 - AT_ONCE - SCRAPE_WORTH <= len(known) <= 32


async def test_farewells_are_bounded_and_waited_for(
    line: FakeLine, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        farewells = Farewells(nursery)
        await farewells.wait_said()
        stopped = Announce(hashes(1)[0], bytes(20), 1, 1, Event.STOPPED)
        line.error = BROKEN
        for _ in range(2 * FAREWELLS_MAX):
            farewells.say(line, stopped)
        began = trio.current_time()
        await farewells.wait_said()
        assert trio.current_time() == began + 1
    assert line.farewells == FAREWELLS_MAX
