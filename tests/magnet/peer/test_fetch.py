"""Fetching: peers that are of no use first, in virtual time, then races between honest ones."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeAlias

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import (
    LocalProtocolError,
    MetadataRejected,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    RemoteProtocolError,
)
from magnet.peer import wire
from magnet.peer.assembly import STALL_S
from magnet.peer.connection import FEATURES, PeerConnection
from magnet.peer.events import Event
from magnet.peer.extension import ExtensionHandshake, encode_extension_handshake
from magnet.peer.fetch import fetch_metadata, prepare_fetch
from magnet.peer.handshake import PeerId, Reserved, decode_opening, encode_handshake
from magnet.peer.metadata_pool import MetadataPool
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataPiece, MetadataReject, MetadataRequest

RAW = b"d4:name4:data6:pieces40000:" + bytes(index * 7 % 251 for index in range(40_000)) + b"e"
HASH = InfoHash(hashlib.sha1(RAW).digest())
OFFER = ExtensionHandshake(ids={b"ut_metadata": 9}, metadata_size=len(RAW))
THEIRS = PeerId(b"-XX0001-mnopqrstuvwx")
AT, NEXT, LAST = (parse_endpoint(f"192.0.2.{number}:6881") for number in range(1, 4))

Answer: TypeAlias = Callable[[MetadataRequest], MetadataPiece | MetadataReject | None]
Peer: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]


def pool() -> MetadataPool:
    return MetadataPool(info_hash=HASH)


def peer_that(
    answer: Answer,
    offer: ExtensionHandshake = OFFER,
    reserved: Reserved = FEATURES,
    delay_s: float = 0.0,
) -> Peer:
    """Return a peer that goes through the handshakes and then answers as it is told."""

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS, reserved=reserved)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(offer)
            async for event in peer:
                if isinstance(event, MetadataRequest):
                    await trio.sleep(delay_s)
                    reply = answer(event)
                    if reply is not None:
                        connection.answer_metadata(reply)

    return converse


def honest(raw: bytes = RAW) -> Answer:
    session = MetadataServer(raw).open_session()
    return session.answer


def lying(request: MetadataRequest) -> MetadataPiece:
    size = min(16384, len(RAW) - request.piece * 16384)
    return MetadataPiece(request.piece, len(RAW), b"\xff" * size)


async def fetch_from(peer: Peer, into: MetadataPool, at: Endpoint = AT) -> PeerError | None:
    """Fetch from one peer and return the error that ended it."""
    here, there = trio.testing.memory_stream_pair()
    error: PeerError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_quietly, peer, there)
        try:
            await fetch_metadata(here, prepare_fetch(at, info_hash=HASH, rng=Random(1)), into, at)
        except PeerError as caught:
            error = caught
        nursery.cancel_scope.cancel()
    return error


async def _quietly(peer: Peer, stream: trio.abc.Stream) -> None:
    try:
        await peer(stream)
    except (PeerError, trio.BrokenResourceError):
        await trio.aclose_forcefully(stream)


async def race(
    peers: Sequence[Peer], into: MetadataPool, ats: Sequence[Endpoint] = (AT, NEXT, LAST)
) -> list[PeerError | None]:
    errors: list[PeerError | None] = [None] * len(peers)

    async def run(index: int) -> None:
        errors[index] = await fetch_from(peers[index], into, ats[index])

    async with trio.open_nursery() as nursery:
        for index in range(len(peers)):
            nursery.start_soon(run, index)
    return errors


@pytest.mark.parametrize(
    ("aliases", "offers"), [((), False), ((HASH,), False), ((HASH, InfoHash(b"2" * 20)), True)]
)
def test_of_a_hybrid_we_offer_to_go_on_by_v2(aliases: tuple[InfoHash, ...], offers: bool) -> None:
    """BEP 52 "Upgrade Path": only who knows the other hash can check the answer."""
    connection = prepare_fetch(AT, info_hash=HASH, aliases=aliases, rng=Random(1))
    opening = decode_opening(connection.data_to_send())
    assert opening is not None
    assert (Reserved.V2_UPGRADE in opening.reserved) is offers


async def test_peer_without_extensions_is_left_at_once() -> None:
    error = await fetch_from(peer_that(honest(), reserved=Reserved.FAST), pool())
    assert isinstance(error, MetadataRejected)
    assert error.piece is None


@pytest.mark.parametrize(
    "offer",
    [
        ExtensionHandshake(ids={b"ut_pex": 1}),
        ExtensionHandshake(ids={b"ut_metadata": 2}),
        ExtensionHandshake(ids={b"ut_metadata": 0}, metadata_size=5),
    ],
)
async def test_peer_without_metadata_is_left_at_once(offer: ExtensionHandshake) -> None:
    assert isinstance(await fetch_from(peer_that(honest(), offer), pool()), MetadataRejected)


async def test_peer_that_rejects_everything_is_left() -> None:
    error = await fetch_from(peer_that(lambda request: MetadataReject(request.piece)), pool())
    assert isinstance(error, MetadataRejected)
    assert error.piece is not None


async def test_liar_is_found_out() -> None:
    into = pool()
    error = await fetch_from(peer_that(lying), into)
    assert isinstance(error, RemoteProtocolError)
    assert into.liars == {AT}
    again = await fetch_from(peer_that(honest()), into)
    assert isinstance(again, RemoteProtocolError)


async def test_bungler_is_left() -> None:
    error = await fetch_from(peer_that(lambda r: MetadataPiece(r.piece, len(RAW), b"x")), pool())
    assert isinstance(error, RemoteProtocolError)
    assert "length" in error.fault


async def test_peer_that_never_answers_is_left(autojump_clock: trio.testing.MockClock) -> None:
    error = await fetch_from(peer_that(lambda _: None), pool())
    assert isinstance(error, PeerTimeout)
    assert error.stage == "requesting"
    assert STALL_S <= trio.current_time() <= STALL_S + 1


async def test_trickle_of_bytes_is_no_progress(autojump_clock: trio.testing.MockClock) -> None:
    async def trickle(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(OFFER)
            await peer.flush()
            for value in wire.Piece(0, 0, bytes(100)).encode():
                await stream.send_all(bytes((value,)))
                await trio.sleep(5)

    assert isinstance(await fetch_from(trickle, pool()), PeerTimeout)
    assert trio.current_time() <= STALL_S + 6


async def test_peer_that_hangs_up_is_reported() -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        await stream.send_all(encode_handshake(FEATURES, HASH, THEIRS))
        await stream.aclose()

    assert isinstance(await fetch_from(hang_up, pool()), PeerDisconnected)


async def test_peer_that_hangs_up_later_is_reported_too() -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(OFFER)
            await peer.wait_extension_handshake()

    error = await fetch_from(hang_up, pool())
    assert isinstance(error, PeerDisconnected)
    assert error.stage == "requesting"


async def test_peer_that_switches_the_extension_off_is_left() -> None:
    async def switch_off(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(OFFER)
            await peer.wait_extension_handshake()
            content = encode_extension_handshake(ExtensionHandshake(ids={b"ut_metadata": 0}))
            await stream.send_all(wire.Extended(0, content).encode())
            await trio.sleep_forever()

    assert isinstance(await fetch_from(switch_off, pool()), MetadataRejected)


async def test_peer_is_told_that_we_have_none() -> None:
    heard: list[Event] = []

    async def listen(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(THEIRS)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(OFFER)
            while wire.HaveNone() not in heard:
                heard.append(await anext(peer))

    await fetch_from(listen, pool())
    assert wire.HaveNone() in heard


async def test_two_conversations_with_one_peer_are_our_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    peers = [peer_that(honest(), delay_s=1), peer_that(honest(), delay_s=1)]
    errors = await race(peers, pool(), (AT, AT))
    assert sorted(type(error).__name__ for error in errors) == ["LocalProtocolError", "NoneType"]
    assert any(isinstance(error, LocalProtocolError) for error in errors)


@pytest.mark.parametrize("reserved", [FEATURES, Reserved.EXTENSION_PROTOCOL])
async def test_one_honest_peer_is_enough(reserved: Reserved) -> None:
    into = pool()
    assert await fetch_from(peer_that(honest(), reserved=reserved), into) is None
    assert into.metadata == RAW


async def test_liar_costs_only_itself(autojump_clock: trio.testing.MockClock) -> None:
    into = pool()
    peers = [peer_that(lying), peer_that(honest(), delay_s=0.1), peer_that(honest(), delay_s=0.2)]
    errors = await race(peers, into)
    assert into.metadata == RAW
    assert into.liars <= {AT}
    assert errors[1:] == [None, None]


async def test_other_size_and_sleeper_hold_up_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    into = pool()
    other = ExtensionHandshake(ids={b"ut_metadata": 2}, metadata_size=17_000)
    peers = [
        peer_that(lambda r: MetadataPiece(r.piece, 17_000, bytes(16384)), other),
        peer_that(lambda _: None),
        peer_that(honest(), delay_s=0.5),
    ]
    await race(peers, into)
    assert into.metadata == RAW


async def test_cancelling_closes_and_leaves(autojump_clock: trio.testing.MockClock) -> None:
    into = pool()
    with trio.move_on_after(5):
        await fetch_from(peer_that(lambda _: None), into)
    assert into.progress() == (0, 0)
    assert into.join(AT, 5, now=0.0)
