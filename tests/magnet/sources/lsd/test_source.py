"""The neighbourhood: strangers and ourselves are ignored first; without a network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from dht.background import open_background
from dht.contact import Endpoint, Family, parse_endpoint
from dht.keyspace import InfoHash
from magnet.sources.lsd.message import (
    GROUPS,
    LocalSearch,
    decode_local_search,
    encode_local_search,
)
from magnet.sources.lsd.multicast import MulticastSocket, is_local
from magnet.sources.lsd.schedule import GAP_S, REPEAT_S
from magnet.sources.lsd.source import HEARD_BURST, Neighbourhood, open_neighbourhood
from magnet.sources.source import Candidate, SourceRecord, Wanted
from magnet.uri import MagnetLink

GROUP = GROUPS[Family.IPV4]
HASH, OTHER = InfoHash(b"\xaa" * 20), InfoHash(b"\xbb" * 20)
US = parse_endpoint("192.168.1.2:0")
NEIGHBOUR = parse_endpoint("192.168.1.3:6771")


class Interface:
    """Stands for a socket."""

    def __init__(self) -> None:
        self.at, self.group = US, GROUP
        self.sent: list[LocalSearch] = []
        self._said, self._heard = trio.open_memory_channel[tuple[bytes, Endpoint]](1000)

    async def receive(self) -> tuple[bytes, Endpoint]:
        return await self._heard.receive()

    async def send(self, datagram: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(decode_local_search(datagram))

    async def say(self, datagram: bytes, source: Endpoint = NEIGHBOUR) -> None:
        """Let a neighbour say something, and wait until it was heard."""
        self._said.send_nowait((datagram, source))
        await trio.testing.wait_all_tasks_blocked()


class Found:
    """Takes peers."""

    def __init__(self) -> None:
        self.peers: list[Candidate] = []

    def peer(self, candidate: Candidate) -> None:
        self.peers.append(candidate)

    def metadata(self, raw_info: bytes, piece_layers: object = None) -> bool:
        raise AssertionError


class Street:
    """A neighbourhood on one interface."""

    def __init__(self, port: int | None) -> None:
        self.interface = Interface()
        self.socket = cast(MulticastSocket, self.interface)
        self.here = Neighbourhood([self.socket], port=port, rng=Random(1))
        self.found = Found()
        self.record = SourceRecord("lsd")

    async def want(self, *keys: InfoHash) -> None:
        await self.here.run(Wanted(MagnetLink(info_hash=keys[0]), keys), self.found, self.record)


@asynccontextmanager
async def open_street(port: int | None = 6881) -> AsyncIterator[tuple[Street, trio.Nursery]]:
    street = Street(port)
    async with open_background() as background:
        background.start_soon(street.here.listen, street.socket)
        background.start_soon(street.here.announce)
        yield street, background


def search(*keys: InfoHash, port: int = 7000, cookie: bytes | None = b"x") -> bytes:
    return encode_local_search(LocalSearch(port, keys, cookie), GROUP)


@pytest.mark.parametrize(
    "source", ["8.8.8.8:6771", "127.0.0.1:6771", "169.254.1.1:6771", "[fe80::1]:6771"]
)
async def test_who_is_no_neighbour_is_not_heard(source: str) -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH)
        await street.interface.say(search(HASH), parse_endpoint(source))
        assert street.found.peers == []


@pytest.mark.parametrize("datagram", [b"", b"BT-SEARCH * HTTP/1.1\r\n\r\n", bytes(2000)])
async def test_noise_is_ignored(datagram: bytes) -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH)
        await street.interface.say(datagram)
        assert street.found.peers == []
        await street.interface.say(search(HASH))
        assert len(street.found.peers) == 1


async def test_what_we_say_ourselves_is_ignored() -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH)
        await trio.testing.wait_all_tasks_blocked()
        (said,) = street.interface.sent
        await street.interface.say(encode_local_search(said, GROUP), US)
        assert street.found.peers == []
        await street.interface.say(search(HASH, cookie=None))
        assert len(street.found.peers) == 1


async def test_torrents_that_nobody_wants_are_ignored() -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH)
        await street.interface.say(search(OTHER))
        assert street.found.peers == []


async def test_flood_is_not_read(autojump_clock: MockClock) -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH)
        for port in range(1, 500):
            await street.interface.say(search(HASH, port=port))
        assert len(street.found.peers) <= HEARD_BURST + 10


async def test_who_has_left_is_told_no_more() -> None:
    async with open_street() as (street, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await street.want(HASH)
        await street.interface.say(search(HASH))
        assert street.found.peers == []


async def test_who_takes_no_connections_says_nothing(autojump_clock: MockClock) -> None:
    async with open_street(port=None) as (street, background):
        background.start_soon(street.want, HASH)
        await trio.sleep(2 * REPEAT_S)
        await street.interface.say(search(HASH))
        assert len(street.found.peers) == 1
        assert street.interface.sent == []


async def test_without_a_local_network_there_is_nothing_to_do() -> None:
    here, record = Neighbourhood([], port=1, rng=Random(1)), SourceRecord("lsd")
    await here.run(Wanted(MagnetLink(info_hash=HASH), (HASH,)), Found(), record)
    assert record.error == "no address in a local network"


async def test_global_addresses_are_left_out() -> None:
    hosts = ["8.8.8.8", "0.0.0.0", "::", "2001:4860:4860::8888", "239.192.152.143", "192.0.2.1"]
    assert not any(map(is_local, hosts))
    async with open_neighbourhood(hosts, port=1, rng=Random(1)) as here:
        await here.run(Wanted(MagnetLink(info_hash=HASH), (HASH,)), Found(), SourceRecord("lsd"))


async def test_address_that_is_not_ours_is_left_out() -> None:
    async with open_neighbourhood(["10.254.253.252", "fd12::34"], port=1, rng=Random(1)) as here:
        await here.run(Wanted(MagnetLink(info_hash=HASH), (HASH,)), Found(), SourceRecord("lsd"))


async def test_neighbours_are_found() -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH, OTHER)
        await street.interface.say(search(OTHER, port=7000))
        await street.interface.say(search(HASH, port=7001))
        assert street.found.peers == [
            Candidate(parse_endpoint("192.168.1.3:7000"), OTHER, "lsd"),
            Candidate(parse_endpoint("192.168.1.3:7001"), HASH, "lsd"),
        ]
        assert street.record.peers == street.record.answered == 2


async def test_links_share_a_torrent_until_the_last_has_gone(autojump_clock: MockClock) -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH)
        with trio.move_on_after(10):
            await street.want(HASH)
        await street.interface.say(search(HASH))
        assert len(street.found.peers) == 1
        await trio.sleep(REPEAT_S)
        assert [said.info_hashes for said in street.interface.sent] == [(HASH,)] * 2


async def test_what_is_wanted_is_announced_now_and_then(autojump_clock: MockClock) -> None:
    async with open_street() as (street, _):
        with trio.move_on_after(2 * REPEAT_S + 1):
            await street.want(HASH)
        assert [said[:2] for said in street.interface.sent] == [(6881, (HASH,))] * 3
        await trio.sleep(2 * REPEAT_S)
        assert len(street.interface.sent) == 3


async def test_who_asks_for_what_we_serve_is_answered(autojump_clock: MockClock) -> None:
    async with open_street() as (street, _):
        with street.here.serving([HASH]):
            await trio.sleep(GAP_S)
            await street.interface.say(search(HASH))
            await street.interface.say(search(HASH))
            assert [said.info_hashes for said in street.interface.sent] == [(HASH,)] * 2


async def test_who_asks_for_what_we_only_want_is_not_answered(autojump_clock: MockClock) -> None:
    async with open_street() as (street, background):
        background.start_soon(street.want, HASH)
        await trio.sleep(GAP_S)
        await street.interface.say(search(HASH))
        assert len(street.interface.sent) == 1
