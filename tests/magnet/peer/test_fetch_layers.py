"""Fetching layers: peers that are of no use first, in virtual time, then honest ones."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import TypeAlias

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import (
    LayersRejected,
    LocalProtocolError,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    RemoteProtocolError,
)
from magnet.metainfo.merkle import HASH_BYTES, HashTree
from magnet.peer.connection import FEATURES, PeerConnection
from magnet.peer.extension import ExtensionHandshake
from magnet.peer.fetch_layers import fetch_layers, prepare_layers, wait_handshakes
from magnet.peer.handshake import PeerId, Reserved
from magnet.peer.hash_server import HashServer
from magnet.peer.layer_pool import REQUEST_TIMEOUT_S, STALL_S, UNASKED_MAX, LayerPool
from magnet.peer.stream import PeerStream
from magnet.peer.wire import Hashes, HashRange, HashReject, HashRequest, KeepAlive, Unchoke

KEY, V1_KEY = InfoHash(b"2" * 20), InfoHash(b"1" * 20)
THEIRS = PeerId(b"-XX0001-mnopqrstuvwx")
AT, NEXT = (parse_endpoint(f"192.0.2.{number}:6881") for number in (1, 2))
PIECE_LENGTH = 16_384
LAYER = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(1_200))
ROOT = HashTree(LAYER).root

Answer: TypeAlias = Callable[[HashRange], Hashes | HashReject | None]
Peer: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]


def pool() -> LayerPool:
    return LayerPool(KEY, {ROOT: len(LAYER) // HASH_BYTES}, PIECE_LENGTH)


def honest() -> Answer:
    return HashServer({ROOT: LAYER}, PIECE_LENGTH).open_session().answer


def lying(wanted: HashRange) -> Hashes | HashReject:
    true = honest()(wanted)
    assert isinstance(true, Hashes)
    return replace(true, hashes=true.hashes[::-1])


def peer_that(
    answer: Answer, *, key: InfoHash | None = None, reserved: Reserved = FEATURES
) -> Peer:
    """Return a peer that goes through the handshakes and then answers as it is told."""

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS, reserved=reserved)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(ExtensionHandshake(), upgrade=key)
            async for event in peer:
                if isinstance(event, HashRequest):
                    reply = answer(event.range)
                    if reply is not None:
                        connection.send(reply)

    return converse


async def fetch_from(peer: Peer, into: LayerPool, at: Endpoint = AT) -> PeerError | None:
    """Fetch from one peer and return the error that ended it."""
    here, there = trio.testing.memory_stream_pair()
    error: PeerError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_quietly, peer, there)
        try:
            async with PeerStream(here, prepare_layers(into, at, rng=Random(1))) as stream:
                await wait_handshakes(stream)
                await fetch_layers(stream, into, at)
        except PeerError as caught:
            error = caught
        nursery.cancel_scope.cancel()
    return error


async def _quietly(peer: Peer, stream: trio.abc.Stream) -> None:
    try:
        await peer(stream)
    except (PeerError, trio.BrokenResourceError):
        await trio.aclose_forcefully(stream)


async def test_peer_that_knows_the_torrent_as_v1_is_not_asked() -> None:
    asked: list[HashRange] = []
    here, there = trio.testing.memory_stream_pair()
    connection = PeerConnection.initiator(
        V1_KEY, PeerId(b"-TK0001-abcdefghijkl"), ExtensionHandshake(), aliases=[KEY]
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_quietly, peer_that(asked.append), there)
        async with PeerStream(here, connection) as peer:
            await wait_handshakes(peer)
            with pytest.raises(LayersRejected) as caught:
                await fetch_layers(peer, pool(), AT)
        nursery.cancel_scope.cancel()
    assert not caught.value.speaks_v2
    assert asked == []


async def test_peer_that_upgrades_to_v2_is_asked() -> None:
    into = pool()
    here, there = trio.testing.memory_stream_pair()
    connection = PeerConnection.initiator(
        V1_KEY,
        PeerId(b"-TK0001-abcdefghijkl"),
        ExtensionHandshake(),
        aliases=[KEY],
        reserved=FEATURES | Reserved.V2_UPGRADE,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_quietly, peer_that(honest(), key=KEY), there)
        async with PeerStream(here, connection) as peer:
            await wait_handshakes(peer)
            await fetch_layers(peer, into, AT)
        nursery.cancel_scope.cancel()
    assert into.layers() == {ROOT: LAYER}


async def test_peer_that_rejects_everything_is_left() -> None:
    error = await fetch_from(peer_that(HashReject), pool())
    assert isinstance(error, LayersRejected)
    assert error.speaks_v2


async def test_liar_is_found_out_and_not_asked_again() -> None:
    into = pool()
    for _ in range(2):
        error = await fetch_from(peer_that(lying), into)
        assert isinstance(error, RemoteProtocolError)
        assert "do not lead to their root" in str(error)
    assert into.liars == {AT}


async def test_peer_that_never_answers_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    begun_at = trio.current_time()
    error = await fetch_from(peer_that(lambda wanted: None), pool())
    assert isinstance(error, PeerTimeout)
    assert trio.current_time() - begun_at == pytest.approx(STALL_S)


async def test_peer_that_hangs_up_is_replaced(autojump_clock: trio.testing.MockClock) -> None:
    into = pool()
    served: list[HashRange] = []

    def once(wanted: HashRange) -> Hashes | HashReject | None:
        if served:
            raise trio.BrokenResourceError
        served.append(wanted)
        return honest()(wanted)

    assert isinstance(await fetch_from(peer_that(once), into), PeerDisconnected)
    assert into.progress() == (1, 3)
    assert await fetch_from(peer_that(honest()), into, NEXT) is None
    assert into.is_complete


async def test_sleeper_delays_an_honest_peer_by_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    into = pool()
    begun_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch_from, peer_that(lambda wanted: None), into, AT)
        await trio.sleep(0.1)
        assert await fetch_from(peer_that(honest()), into, NEXT) is None
    assert into.is_complete
    assert trio.current_time() - begun_at < REQUEST_TIMEOUT_S


async def test_peer_that_sends_hashes_unasked_is_dropped() -> None:
    async def flood(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(ExtensionHandshake())
            await peer.wait_handshake_completed()
            for _ in range(UNASKED_MAX):
                connection.send(Hashes(HashRange(ROOT, 0, 0, 2, 0), bytes(64)))
            await peer.flush()
            await trio.sleep_forever()

    error = await fetch_from(flood, pool())
    assert isinstance(error, RemoteProtocolError)
    assert "nobody asked for" in str(error)


async def test_two_conversations_with_one_peer_are_our_error() -> None:
    into = pool()
    into.join(AT, now=trio.current_time())
    assert isinstance(await fetch_from(peer_that(honest()), into), LocalProtocolError)


async def test_peer_without_extensions_and_with_small_talk_gives_all() -> None:
    answers = HashServer({ROOT: LAYER}, PIECE_LENGTH).open_session()

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS, reserved=Reserved(0))
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(ExtensionHandshake())
            await peer.wait_handshake_completed()
            async for event in peer:
                if isinstance(event, HashRequest):
                    for message in (KeepAlive(), answers.answer(event.range), Unchoke()):
                        connection.send(message)

    into = pool()
    assert await fetch_from(converse, into) is None
    assert into.layers() == {ROOT: LAYER}


async def test_peer_that_asks_us_for_hashes_is_answered() -> None:
    refused: list[HashReject] = []
    answers = HashServer({ROOT: LAYER}, PIECE_LENGTH).open_session()

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(ExtensionHandshake())
            await peer.wait_handshake_completed()
            connection.send(HashRequest(HashRange(ROOT, 0, 0, 2, 0)))
            asked: list[HashRange] = []
            async for event in peer:
                if isinstance(event, HashReject):
                    refused.append(event)
                    for wanted in asked:
                        connection.send(answers.answer(wanted))
                elif isinstance(event, HashRequest):
                    asked.append(event.range)

    into = pool()
    assert await fetch_from(converse, into) is None
    assert refused == [HashReject(HashRange(ROOT, 0, 0, 2, 0))]
    assert into.is_complete


async def test_nothing_is_asked_when_all_is_there() -> None:
    into = pool()
    into.offer({ROOT: LAYER})
    assert await fetch_from(peer_that(HashReject), into) is None


async def test_two_peers_share_the_work() -> None:
    into = pool()
    errors: list[PeerError | None] = []

    async def run(at: Endpoint) -> None:
        errors.append(await fetch_from(peer_that(honest()), into, at))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, AT)
        nursery.start_soon(run, NEXT)
    assert errors == [None, None]
    assert into.layers() == {ROOT: LAYER}


async def test_cancelling_leaves_the_work_to_others() -> None:
    into = pool()
    with trio.move_on_after(0):
        await fetch_from(peer_that(lambda wanted: None), into)
    assert into.join(AT, now=trio.current_time())
    assert into.next_request(AT, now=trio.current_time()) is not None
