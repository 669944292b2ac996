"""What the seeder does between peers of one torrent: those it must leave alone first."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio
import trio.testing
from trio.testing import MockClock

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import PeerDisconnected
from magnet.peer.connection import PeerConnection
from magnet.peer.events import Event, HandshakeReceived
from magnet.peer.extension import LOCAL_IDS, UT_HOLEPUNCH, UT_PEX, ExtensionHandshake
from magnet.peer.handshake import generate_peer_id
from magnet.peer.stream import PeerStream
from magnet.peer.ut_holepunch import (
    CALLS_MAX,
    Connect,
    Rendezvous,
    encode_holepunch_message,
)
from magnet.peer.ut_pex import (
    BURST_MAX,
    INTERVAL_S,
    PexFlags,
    PexMessage,
    PexPeer,
    encode_pex_message,
)
from magnet.peer.wire import HaveNone
from magnet.seeder import Seeder
from magnet.transport.carrier import Transport

RAW = b"d4:name4:data6:pieces20:" + bytes(20) + b"e"
PRIVATE = b"d4:name6:secret7:privatei1ee"
HASH = InfoHash(hashlib.sha1(RAW).digest())
PRIVATE_HASH = InfoHash(hashlib.sha1(PRIVATE).digest())
FIRST, SECOND, THIRD = (parse_endpoint(f"9.9.9.{number}:6881") for number in (1, 2, 3))


def make_seeder() -> Seeder:
    return Seeder({HASH: RAW, PRIVATE_HASH: PRIVATE}, [parse_endpoint("9.9.9.9:6881")], Random(1))


@asynccontextmanager
async def guest(
    seeder: Seeder,
    at: Endpoint,
    info_hash: InfoHash = HASH,
    transport: Transport = Transport.UTP,
) -> AsyncIterator[PeerStream]:
    """Connect a peer to the seeder."""
    here, there = trio.testing.memory_stream_pair()
    hello = ExtensionHandshake(ids=LOCAL_IDS)
    connection = PeerConnection.initiator(info_hash, generate_peer_id(Random(2)), hello)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seeder.serve, there, at, transport)
        async with PeerStream(here, connection) as peer:
            await peer.wait_handshake_completed()
            await peer.wait_extension_handshake()
            yield peer
        nursery.cancel_scope.cancel()


async def heard(peer: PeerStream) -> list[Event]:
    """Return what a peer is told within a moment, but for what all are told."""
    events: list[Event] = []
    while (event := await peer.listen(deadline=trio.current_time() + 0.5)) is not None:
        events += [] if isinstance(event, HaveNone) else [event]
    return events


class Roads:
    """Dials for a seeder, and knows whom."""

    def __init__(self) -> None:
        self.dialled: list[Endpoint] = []
        self.ends: list[trio.abc.Stream] = []

    async def connect(self, to: Endpoint) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled.append(to)
        if to == THIRD:
            raise PeerDisconnected("connecting", "refused")
        here, there = trio.testing.memory_stream_pair()
        self.ends.append(there)
        return here


async def test_peers_of_private_torrents_stay_strangers(autojump_clock: MockClock) -> None:
    seeder = make_seeder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seeder.keep_telling)
        async with (
            guest(seeder, FIRST, PRIVATE_HASH) as first,
            guest(seeder, SECOND, PRIVATE_HASH) as second,
        ):
            await trio.sleep(INTERVAL_S)
            assert UT_PEX not in second.connection.theirs.ids
            assert await heard(first) == await heard(second) == []
        nursery.cancel_scope.cancel()


async def test_flood_of_peer_exchange_ends_the_connection() -> None:
    seeder = make_seeder()
    async with guest(seeder, FIRST) as peer:
        for _ in range(BURST_MAX + 1):
            peer.connection.send_extension(UT_PEX, encode_pex_message(PexMessage()))
        while await peer.next_event() is not None:
            pass
    assert seeder.statistics().failed == 1


async def test_only_so_many_calls_are_heeded(autojump_clock: MockClock) -> None:
    seeder, roads = make_seeder(), Roads()
    calls = [Connect(parse_endpoint(f"8.8.8.8:{port}")) for port in range(1, 50)]
    calls += [Connect(parse_endpoint("127.0.0.1:6881")), Connect(parse_endpoint("8.8.8.8:0"))]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seeder.keep_dialling, roads)
        async with guest(seeder, FIRST) as peer:
            for call in reversed(calls):
                peer.connection.send_extension(UT_HOLEPUNCH, encode_holepunch_message(call))
            await heard(peer)
        nursery.cancel_scope.cancel()
    assert len(roads.dialled) == CALLS_MAX
    assert all(at[:4] == b"\x08\x08\x08\x08" for at in roads.dialled)


async def test_who_cannot_be_dialled_harms_nobody(autojump_clock: MockClock) -> None:
    seeder, roads = make_seeder(), Roads()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seeder.keep_dialling, roads)
        async with guest(seeder, FIRST) as first, guest(seeder, SECOND):
            for to in (THIRD, SECOND, FIRST):
                content = encode_holepunch_message(Connect(to))
                first.connection.send_extension(UT_HOLEPUNCH, content)
            await heard(first)
            # The others are here already.
            assert roads.dialled == [THIRD]
        nursery.cancel_scope.cancel()


async def test_peers_are_told_of_each_other(autojump_clock: MockClock) -> None:
    seeder = make_seeder()
    flags = PexFlags.UTP | PexFlags.HOLEPUNCH
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seeder.keep_telling)
        async with guest(seeder, FIRST) as first:
            assert await heard(first) == []
            async with guest(seeder, SECOND) as second:
                assert await heard(second) == [PexMessage((PexPeer(FIRST, flags),))]
                await trio.sleep(2)
                assert await heard(first) == [PexMessage((PexPeer(SECOND, flags),))]
            await trio.sleep(INTERVAL_S)
            assert await heard(first) == [PexMessage(dropped=(SECOND,))]
        nursery.cancel_scope.cancel()


async def test_peers_are_introduced_to_each_other(autojump_clock: MockClock) -> None:
    seeder = make_seeder()
    async with guest(seeder, FIRST) as first, guest(seeder, SECOND) as second:
        await heard(second)
        wish = encode_holepunch_message(Rendezvous(SECOND))
        first.connection.send_extension(UT_HOLEPUNCH, wish)
        assert await heard(first) == [Connect(SECOND)]
        assert await heard(second) == [Connect(FIRST)]


async def test_who_calls_is_dialled_and_served(autojump_clock: MockClock) -> None:
    seeder, roads = make_seeder(), Roads()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seeder.keep_dialling, roads)
        async with guest(seeder, FIRST) as peer:
            call = encode_holepunch_message(Connect(SECOND))
            peer.connection.send_extension(UT_HOLEPUNCH, call)
            await heard(peer)
        assert roads.dialled == [SECOND]
        connection = PeerConnection.responder(generate_peer_id(Random(3)))
        async with PeerStream(roads.ends[0], connection) as other:
            assert isinstance(received := await other.next_event(), HandshakeReceived)
            assert received.info_hash == HASH
            connection.accept(ExtensionHandshake(ids=LOCAL_IDS))
            await other.wait_handshake_completed()
            theirs = await other.wait_extension_handshake()
        assert (theirs.metadata_size, theirs.port) == (len(RAW), 6881)
        nursery.cancel_scope.cancel()
