"""UDP trackers asked over real loopback."""

from collections.abc import AsyncIterator
from random import Random

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, Family, endpoint
from dht.errors import CannotListen
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.reach import Reach
from magnet.sources.trackers.announce import Announce, Announced, Event
from magnet.sources.trackers.udp_client import UdpClient, open_udp_client
from tests.magnet.sources.servers import Swarms, open_udp_tracker

HASH = InfoHash(b"\xaa" * 20)
ANNOUNCE = Announce(HASH, b"-XX0001-abcdefghijkl", 1, 6_881, Event.STARTED)


@pytest.fixture
async def udp(reach: Reach) -> AsyncIterator[UdpClient]:
    async with open_udp_client(reach, Random(1)) as opened:
        yield opened


def endpoint_of(url: str) -> Endpoint:
    host, _, port = url.removeprefix("udp://").removesuffix("/announce").rpartition(":")
    return endpoint(host.strip("[]"), int(port))


async def test_address_that_is_not_ours_cannot_be_bound() -> None:
    with pytest.raises(CannotListen):
        async with open_udp_client(Reach({Family.IPV4: endpoint("192.0.2.1", 0)}), Random(1)):
            raise AssertionError("must not open")


async def test_silent_tracker_is_given_up(
    udp: UdpClient, swarms: Swarms, autojump_clock: trio.testing.MockClock
) -> None:
    swarms.is_mute = True
    async with open_udp_tracker("127.0.0.1", swarms) as url:
        with pytest.raises(SourceError, match="no answer in 225 s") as caught:
            await udp.ask(endpoint_of(url), ANNOUNCE)
    assert caught.value.fault is SourceFault.TIMEOUT


async def test_cancelled_request_leaves_nothing(udp: UdpClient, swarms: Swarms) -> None:
    swarms.is_mute = True
    async with open_udp_tracker("127.0.0.1", swarms) as url:
        with trio.move_on_after(0.01):
            await udp.ask(endpoint_of(url), ANNOUNCE)
    assert not udp._waiting
    assert udp._exchange.next_deadline() is None


async def test_lost_datagram_is_sent_again(
    udp: UdpClient, swarms: Swarms, autojump_clock: trio.testing.MockClock
) -> None:
    swarms.is_mute = True
    async with open_udp_tracker("127.0.0.1", swarms) as url, trio.open_nursery() as nursery:

        async def recover() -> None:
            await trio.sleep(10)
            swarms.is_mute = False

        nursery.start_soon(recover)
        began = trio.current_time()
        answer = await udp.ask(endpoint_of(url), ANNOUNCE)
        assert isinstance(answer, Announced)
        assert trio.current_time() - began >= 15


async def test_many_requests_share_a_socket(udp: UdpClient, host: str, swarms: Swarms) -> None:
    async with open_udp_tracker(host, swarms) as url, trio.open_nursery() as nursery:
        for number in range(50):
            announce = ANNOUNCE._replace(info_hash=InfoHash(bytes([number]) * 20))
            nursery.start_soon(udp.ask, endpoint_of(url), announce)
    assert sorted(info_hash[0] for _, info_hash in swarms.said) == list(range(50))


async def test_farewell_needs_no_answer(udp: UdpClient, swarms: Swarms) -> None:
    stopped = ANNOUNCE._replace(event=Event.STOPPED)
    async with open_udp_tracker("127.0.0.1", swarms) as url:
        assert not udp.tell(endpoint_of(url), stopped)
        await udp.ask(endpoint_of(url), ANNOUNCE)
        assert udp.tell(endpoint_of(url), stopped)
        assert await swarms.wait_said(2) == ["started", "stopped"]
