"""The seeder: strangers who misbehave first, then honest ones, a few over real TCP on loopback."""

import errno
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing

from dht.contact import host_of, parse_endpoint, port_of
from dht.keyspace import InfoHash
from magnet import seeder as seeder_module
from magnet.errors import PeerDisconnected
from magnet.peer.connection import FEATURES, PeerConnection
from magnet.peer.encryption.cipher import CryptoMethod
from magnet.peer.events import Event
from magnet.peer.extension import LOCAL_IDS, ExtensionHandshake
from magnet.peer.fetch import fetch_metadata, prepare_fetch
from magnet.peer.handshake import Reserved, encode_handshake, generate_peer_id
from magnet.peer.hash_server import HashServer
from magnet.peer.hashes import are_proven, layer_ranges
from magnet.peer.metadata_pool import MetadataPool
from magnet.peer.shelf import COUNT_MAX, Shelf
from magnet.peer.stream import HANDSHAKE_TIMEOUT_S, PeerStream
from magnet.peer.ut_metadata import MetadataPiece, MetadataReject
from magnet.peer.wire import (
    Hashes,
    HashReject,
    HashRequest,
    HaveNone,
    Interested,
    RejectRequest,
    Request,
)
from magnet.seeder import IDLE_S, SESSION_S, Seeder, open_seeder
from magnet.transport.encrypted import encrypt

RAW = b"d4:name4:data6:pieces40000:" + bytes(index * 7 % 251 for index in range(40_000)) + b"e"
PRIVATE = b"d4:name6:secret7:privatei1ee"
HASH = InfoHash(hashlib.sha1(RAW).digest())
V2_HASH = InfoHash(hashlib.sha256(RAW).digest()[:20])
PRIVATE_HASH = InfoHash(hashlib.sha1(PRIVATE).digest())
UNKNOWN_HASH = InfoHash(bytes(20))
LAYER = hashlib.sha256(b"0").digest() + hashlib.sha256(b"1").digest()
ROOT = hashlib.sha256(LAYER).digest()
REMOTE = parse_endpoint("192.0.2.1:50000")
WISH = ExtensionHandshake(ids=LOCAL_IDS)


def make_seeder() -> Seeder:
    torrents = {HASH: RAW, V2_HASH: RAW, PRIVATE_HASH: PRIVATE}
    at = parse_endpoint("127.0.0.1:6881")
    hash_servers = {V2_HASH: HashServer({ROOT: LAYER}, 16_384)}
    return Seeder(torrents, [at], Random(1), hash_servers=hash_servers)


@asynccontextmanager
async def served(seeder: Seeder) -> AsyncIterator[trio.abc.Stream]:
    """Give the other end of a stream that the seeder serves."""
    here, there = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seeder.serve, there, REMOTE)
        yield here
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def peer_of(
    seeder: Seeder, info_hash: InfoHash = HASH, reserved: Reserved = FEATURES
) -> AsyncIterator[PeerStream]:
    """Give a peer after both handshakes."""
    async with served(seeder) as stream:
        connection = PeerConnection.initiator(
            info_hash, generate_peer_id(Random(2)), WISH, reserved=reserved
        )
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_completed()
            await peer.wait_extension_handshake()
            yield peer


@pytest.mark.parametrize("raw", [b"", b"de", RAW + b" ", PRIVATE])
def test_metadata_with_another_hash_is_our_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="another hash"):
        Seeder({HASH: raw}, [], Random(1))


async def test_unknown_torrent_gets_no_answer() -> None:
    seeder = make_seeder()
    async with served(seeder) as stream:
        await stream.send_all(encode_handshake(FEATURES, UNKNOWN_HASH, generate_peer_id(Random(2))))
        assert await stream.receive_some() == b""
    assert seeder.statistics().unknown == 1


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", bytes(200)], ids=["web", "zeros"])
async def test_other_protocol_gets_no_answer(
    autojump_clock: trio.testing.MockClock, said: bytes
) -> None:
    seeder = make_seeder()
    async with served(seeder) as stream:
        await stream.send_all(said)
        assert await stream.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked()
    assert seeder.statistics().failed == 1


async def test_encrypted_peer_of_an_unknown_torrent_is_refused() -> None:
    seeder = make_seeder()
    async with served(seeder) as stream:
        with pytest.raises(PeerDisconnected):
            await encrypt(stream, UNKNOWN_HASH, rng=Random(3))
        await trio.testing.wait_all_tasks_blocked()
    assert seeder.statistics().failed == 1
    assert seeder.statistics().encrypted == 0


async def test_silence_is_closed_after_the_handshake_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seeder = make_seeder()
    async with served(seeder) as stream:
        assert await stream.receive_some() == b""
    assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S)
    assert seeder.statistics().connections == 0


async def test_idle_peer_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with peer_of(make_seeder()) as peer:
        assert await peer.next_event() == HaveNone()
        assert await peer.next_event() is None
    assert trio.current_time() == pytest.approx(IDLE_S)


async def talk_for_ever(peer: PeerStream) -> None:
    while True:
        peer.connection.send(Interested())
        await peer.flush()
        await trio.sleep(10)


async def test_busy_peer_is_closed_in_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with peer_of(make_seeder()) as peer:
        with pytest.raises(PeerDisconnected):
            await talk_for_ever(peer)
    assert trio.current_time() == pytest.approx(SESSION_S, abs=10)


async def test_connections_from_one_address_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeder_module, "CONNECTIONS_PER_ADDRESS_MAX", 1)
    seeder = make_seeder()
    async with peer_of(seeder), served(seeder) as refused:
        assert await refused.receive_some() == b""
        assert seeder.statistics().refused == 1
        assert seeder.statistics().connections == 1
    async with peer_of(seeder):
        assert seeder.statistics().accepted == 2


async def test_connections_in_all_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeder_module, "CONNECTIONS_MAX", 0)
    seeder = make_seeder()
    async with served(seeder) as refused:
        assert await refused.receive_some() == b""
    assert seeder.statistics().refused == 1


async def test_private_metadata_is_not_offered() -> None:
    async with peer_of(make_seeder(), PRIVATE_HASH) as peer:
        assert peer.connection.theirs.ids == {}
        assert peer.connection.metadata_size is None


async def test_greedy_peer_is_refused_after_its_share() -> None:
    seeder = make_seeder()
    async with peer_of(seeder) as peer:
        assert await peer.next_event() == HaveNone()
        answers = []
        for _ in range(100):
            peer.connection.request_metadata(0)
            answers.append(await peer.next_event())
    assert sum(isinstance(answer, MetadataPiece) for answer in answers) == 9
    assert sum(isinstance(answer, MetadataReject) for answer in answers) == 91
    assert seeder.statistics().pieces_served == 9
    assert seeder.statistics().requests_rejected == 91


async def test_requests_for_content_are_rejected() -> None:
    async with peer_of(make_seeder()) as peer:
        peer.connection.send(Request(0, 16384, 16384))
        assert await peer.next_event() == HaveNone()
        assert await peer.next_event() == RejectRequest(0, 16384, 16384)


async def test_peer_without_the_fast_extension_is_told_nothing_of_it() -> None:
    async with peer_of(make_seeder(), reserved=Reserved.EXTENSION_PROTOCOL) as peer:
        peer.connection.send(Request(0, 0, 16384))
        peer.connection.request_metadata(0)
        assert isinstance(await peer.next_event(), MetadataPiece)


async def test_who_can_upgrade_is_led_into_the_v2_swarm() -> None:
    """Spec: BEP 52 "Upgrade Path"."""
    async with served(make_seeder()) as stream:
        reserved = FEATURES | Reserved.V2_UPGRADE
        await stream.send_all(encode_handshake(reserved, HASH, generate_peer_id(Random(2))))
        answer = bytes(await stream.receive_some())
    assert answer.startswith(encode_handshake(FEATURES, V2_HASH, generate_peer_id(Random(1)))[:48])


async def test_metadata_is_fetched_by_its_v1_hash() -> None:
    pool = MetadataPool(info_hash=HASH)
    async with served(make_seeder()) as stream:
        connection = prepare_fetch(REMOTE, info_hash=HASH, rng=Random(3))
        await fetch_metadata(stream, connection, pool, REMOTE)
    assert pool.metadata == RAW


async def ask_for_hashes(peer: PeerStream, pieces_root: bytes = ROOT) -> Event | None:
    (wanted,) = layer_ranges(pieces_root, 2, 16_384)
    assert await peer.next_event() == HaveNone()
    peer.connection.send(HashRequest(wanted))
    return await peer.next_event()


async def test_hashes_of_another_file_are_not_given() -> None:
    seeder = make_seeder()
    async with peer_of(seeder, V2_HASH) as peer:
        assert isinstance(await ask_for_hashes(peer, bytes(32)), HashReject)
    assert seeder.statistics().hashes_rejected == 1


@pytest.mark.parametrize("info_hash", [HASH, PRIVATE_HASH], ids=["v1", "private"])
async def test_hashes_are_for_those_who_know_the_v2_hash(info_hash: InfoHash) -> None:
    async with peer_of(make_seeder(), info_hash) as peer:
        assert isinstance(await ask_for_hashes(peer), HashReject)


async def test_hashes_are_given_to_who_knows_the_v2_hash() -> None:
    seeder = make_seeder()
    async with peer_of(seeder, V2_HASH) as peer:
        answer = await ask_for_hashes(peer)
    assert isinstance(answer, Hashes)
    assert are_proven(answer)
    assert answer.hashes == LAYER
    assert seeder.statistics().hashes_served == 1


async def test_metadata_is_fetched_by_its_truncated_v2_hash() -> None:
    pool = MetadataPool(info_hash_v2=V2_HASH)
    async with served(make_seeder()) as stream:
        connection = prepare_fetch(REMOTE, info_hash=V2_HASH, rng=Random(3))
        await fetch_metadata(stream, connection, pool, REMOTE)
    assert pool.metadata == RAW


@pytest.mark.parametrize("method", CryptoMethod)
async def test_metadata_is_fetched_by_an_encrypted_peer(method: CryptoMethod) -> None:
    seeder = make_seeder()
    pool = MetadataPool(info_hash=HASH)
    connection = prepare_fetch(REMOTE, info_hash=HASH, rng=Random(3))
    async with served(seeder) as stream:
        opening = connection.data_to_send()
        encrypted = await encrypt(stream, HASH, opening=opening, offer=method, rng=Random(3))
        assert encrypted.method is method
        await fetch_metadata(encrypted, connection, pool, REMOTE)
    assert pool.metadata == RAW
    assert seeder.statistics().encrypted == 1


@pytest.mark.parametrize("hosts", [["127.0.0.1"], ["::1"], ["127.0.0.1", "::1"]])
async def test_metadata_is_fetched_over_tcp(hosts: list[str]) -> None:
    async with open_seeder({HASH: RAW}, hosts=hosts, rng=Random(1)) as seeder:
        assert [host_of(at) for at in seeder.endpoints] == hosts
        for at in seeder.endpoints:
            pool = MetadataPool(info_hash=HASH)
            stream = await trio.open_tcp_stream(host_of(at), seeder.port)
            with trio.fail_after(5):
                connection = prepare_fetch(at, info_hash=HASH, rng=Random(2))
                await fetch_metadata(stream, connection, pool, at)
            assert pool.metadata == RAW
        assert seeder.statistics().pieces_served == 3 * len(hosts)


async def test_seeder_needs_an_address() -> None:
    with pytest.raises(ValueError, match="no address"):
        async with open_seeder({HASH: RAW}, hosts=[], rng=Random(1)):
            pass


async def test_port_taken_on_one_address_is_left_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = [OSError(errno.EADDRINUSE, "Address already in use")] * 2
    listen = trio.open_tcp_listeners

    async def unlucky(port: int, *, host: str) -> list[trio.SocketListener]:
        if host == "::1" and taken:
            raise taken.pop()
        return await listen(port, host=host)

    monkeypatch.setattr(trio, "open_tcp_listeners", unlucky)
    hosts = ["127.0.0.1", "::1"]
    async with open_seeder({HASH: RAW}, hosts=hosts, rng=Random(1)) as seeder:
        assert len({port_of(at) for at in seeder.endpoints}) == 1
    assert taken == []


async def test_port_in_use_is_an_os_error() -> None:
    async with open_seeder({HASH: RAW}, hosts=["127.0.0.1"], rng=Random(1)) as first:
        with pytest.raises(OSError, match="in use"):
            async with open_seeder(
                {HASH: RAW}, hosts=["127.0.0.1"], port=first.port, rng=Random(2)
            ):
                pass


async def test_error_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with open_seeder({HASH: RAW}, hosts=["127.0.0.1"], rng=Random(1)):
            raise LookupError("mine")


async def test_leaving_closes_every_connection() -> None:
    async with open_seeder({HASH: RAW}, hosts=["127.0.0.1"], rng=Random(1)) as seeder:
        stream = await trio.open_tcp_stream("127.0.0.1", seeder.port)
    with trio.fail_after(5):
        assert await stream.receive_some() == b""
    await stream.aclose()
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream("127.0.0.1", seeder.port)


async def test_cancelled_while_it_begins_to_listen_it_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[trio.SocketListener] = []

    async def open_two_and_hang(port: int, *, host: str) -> list[trio.SocketListener]:
        if len(opened) == 2:
            await trio.sleep_forever()
        sock = trio.socket.socket()
        await sock.bind((host, 0))
        sock.listen()
        opened.append(trio.SocketListener(sock))
        return opened[-1:]

    monkeypatch.setattr(trio, "open_tcp_listeners", open_two_and_hang)
    with trio.move_on_after(0.01):
        async with open_seeder({}, hosts=["127.0.0.1"] * 3, rng=Random(1)):
            raise AssertionError
    assert [it.socket.fileno() for it in opened] == [-1, -1]


def raw_of(number: int, size: int = 100) -> bytes:
    """Return metadata of a torrent that differs from the others."""
    return b"d4:name4:%04d6:pieces%d:%be" % (number, size, bytes(size))


def key_of(raw: bytes) -> InfoHash:
    return InfoHash(hashlib.sha1(raw).digest())


async def is_served(seeder: Seeder, key: InfoHash) -> bool:
    """Tell whether somebody who comes for a torrent gets an answer."""
    connection = PeerConnection.initiator(key, generate_peer_id(Random(2)), WISH)
    async with served(seeder) as stream, PeerStream(stream, connection) as peer:
        try:
            await peer.wait_handshake_completed()
        except PeerDisconnected:
            return False
        return True


async def test_torrent_with_another_hash_is_not_taken() -> None:
    seeder = make_seeder()
    with pytest.raises(ValueError, match="another hash"):
        seeder.offer(raw_of(1), [UNKNOWN_HASH])
    assert not await is_served(seeder, UNKNOWN_HASH)


async def test_private_torrent_is_not_taken() -> None:
    """Spec: BEP 27."""
    seeder = Seeder({}, [parse_endpoint("127.0.0.1:6881")], Random(1))
    seeder.offer(PRIVATE, [PRIVATE_HASH])
    assert not await is_served(seeder, PRIVATE_HASH)


async def test_oldest_offer_gives_way_and_what_was_there_from_the_start_does_not() -> None:
    seeder = make_seeder()
    seeder.offer(RAW, [HASH, V2_HASH])
    raws = [raw_of(number) for number in range(COUNT_MAX + 1)]
    for raw in raws:
        seeder.offer(raw, [key_of(raw)])
        seeder.offer(raw, [key_of(raw)])
    served = [await is_served(seeder, key) for key in (HASH, *map(key_of, raws[:2]))]
    assert served == [True, False, True]


async def test_layers_count_for_the_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = HashServer({ROOT: LAYER}, 16_384)
    seeder = Seeder({}, [parse_endpoint("127.0.0.1:6881")], Random(1))
    monkeypatch.setattr(seeder, "_shelf", Shelf(bytes_max=len(raw_of(1)) + hashes.size))
    for number in (1, 2):
        seeder.offer(raw_of(number), [key_of(raw_of(number))], hashes)
    assert not await is_served(seeder, key_of(raw_of(1)))
    assert await is_served(seeder, key_of(raw_of(2)))


async def test_whoever_came_in_time_is_served_on() -> None:
    seeder = make_seeder()
    raw = raw_of(1)
    seeder.offer(raw, [key_of(raw)])
    async with peer_of(seeder, key_of(raw)) as peer:
        for number in range(2, COUNT_MAX + 2):
            seeder.offer(raw_of(number), [key_of(raw_of(number))])
        peer.connection.request_metadata(0)
        event = await peer.next_event()
        while not isinstance(event, MetadataPiece):
            event = await peer.next_event()
    assert event.data == raw
    assert not await is_served(seeder, key_of(raw))


async def test_offered_torrent_is_found_by_who_speaks_encrypted_only() -> None:
    seeder = Seeder({}, [parse_endpoint("127.0.0.1:6881")], Random(1))
    seeder.offer(RAW, [HASH])
    pool = MetadataPool(info_hash=HASH)
    connection = prepare_fetch(REMOTE, info_hash=HASH, rng=Random(3))
    async with served(seeder) as stream:
        opening = connection.data_to_send()
        encrypted = await encrypt(stream, HASH, opening=opening, rng=Random(3))
        await fetch_metadata(encrypted, connection, pool, REMOTE)
    assert pool.metadata == RAW
