"""Encrypted streams: peers that do not go along first, in virtual time, then pairs of ours."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TypeAlias

import pytest
import trio
import trio.testing

from dht.keyspace import InfoHash
from magnet.errors import PeerDisconnected, PeerTimeout, RemoteProtocolError
from magnet.peer.encryption.cipher import CryptoMethod
from magnet.peer.encryption.initiator import ANY_METHOD
from magnet.peer.encryption.keys import StreamKeys
from magnet.peer.encryption.responder import PREFERENCE
from magnet.peer.handshake import PROTOCOL
from magnet.peer.stream import HANDSHAKE_TIMEOUT_S
from magnet.transport.early import EarlyStream
from magnet.transport.encrypted import EncryptedStream, accept, encrypt

End: TypeAlias = Callable[[trio.abc.Stream], Awaitable[EarlyStream]]

HASH = InfoHash(b"\xaa" * 20)
KEYS = StreamKeys([HASH])
NOISE = Random(7).randbytes(700)


@asynccontextmanager
async def pair(
    offer: CryptoMethod = ANY_METHOD,
    accepted: Sequence[CryptoMethod] = PREFERENCE,
    opening: bytes = b"",
) -> AsyncIterator[tuple[EncryptedStream, EarlyStream]]:
    """Give two ends of an encrypted stream."""
    here, there = trio.testing.memory_stream_pair()
    ends: list[EarlyStream] = []

    async def respond() -> None:
        ends.append(await accept(there, KEYS, accepted=accepted, rng=Random(2)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(respond)
        ours = await encrypt(here, HASH, opening=opening, offer=offer, rng=Random(1))
    (theirs,) = ends
    async with ours, theirs:
        yield ours, theirs


async def dialling(stream: trio.abc.Stream) -> EarlyStream:
    return await encrypt(stream, HASH, rng=Random(1))


async def dialled(stream: trio.abc.Stream) -> EarlyStream:
    return await accept(stream, KEYS, rng=Random(1))


ENDS = [dialling, dialled]


@pytest.mark.parametrize("end", ENDS)
async def test_silent_peer_is_given_up(autojump_clock: trio.testing.MockClock, end: End) -> None:
    here, there = trio.testing.memory_stream_pair()
    with pytest.raises(PeerTimeout):
        await end(here)
    assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S)
    with pytest.raises(trio.BrokenResourceError):
        await there.send_all(b"x")


async def test_dribble_does_not_move_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    here, there = trio.testing.memory_stream_pair()

    async def dribble() -> None:
        for byte in NOISE[: round(HANDSHAKE_TIMEOUT_S)]:
            await there.send_all(bytes([byte]))
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        with pytest.raises(PeerTimeout):
            await accept(here, KEYS, rng=Random(1))
        nursery.cancel_scope.cancel()
    assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S)


@pytest.mark.parametrize("said", [b"", PROTOCOL[:10], NOISE[:50], NOISE[:200]])
async def test_hanging_up_is_noticed(said: bytes) -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(said)
    await there.send_eof()
    with pytest.raises(PeerDisconnected):
        await accept(here, KEYS, rng=Random(1))


@pytest.mark.parametrize("said", [b"", NOISE[:50], NOISE[:200]])
async def test_hanging_up_on_us_is_noticed(said: bytes) -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(said)
    await there.send_eof()
    with pytest.raises(PeerDisconnected, match="encrypting"):
        await encrypt(here, HASH, rng=Random(1))


@pytest.mark.parametrize("end", ENDS)
async def test_noise_is_refused_and_the_stream_closed(end: End) -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(NOISE)
    with pytest.raises(RemoteProtocolError):
        await end(here)
    with pytest.raises(trio.BrokenResourceError):
        await there.send_all(b"x")


async def test_peer_with_another_torrent_is_refused() -> None:
    here, there = trio.testing.memory_stream_pair()

    async def respond() -> None:
        with pytest.raises(RemoteProtocolError, match="not here"):
            await accept(there, StreamKeys([InfoHash(bytes(20))]), rng=Random(2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(respond)
        with pytest.raises(PeerDisconnected):
            await encrypt(here, HASH, rng=Random(1))


@pytest.mark.parametrize("end", ENDS)
async def test_cancelled_handshake_closes_the_stream(end: End) -> None:
    here, there = trio.testing.memory_stream_pair()
    with trio.move_on_after(0):
        await end(here)
    with pytest.raises(trio.BrokenResourceError):
        await there.send_all(b"x")


@pytest.mark.parametrize("portion", [1, 19, 20, 68])
async def test_plain_peer_is_told_from_an_encrypted_one(portion: int) -> None:
    here, there = trio.testing.memory_stream_pair()
    opening = PROTOCOL + bytes(48)

    async def speak() -> None:
        for at in range(0, len(opening), portion):
            await trio.testing.wait_all_tasks_blocked()
            await there.send_all(opening[at : at + portion])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        stream = await accept(here, KEYS, rng=Random(1))
    assert not isinstance(stream, EncryptedStream)
    received = b""
    while len(received) < len(opening):
        received += await stream.receive_some(7)
    assert received == opening


@pytest.mark.parametrize(
    ("offer", "accepted", "method"),
    [
        (ANY_METHOD, PREFERENCE, CryptoMethod.RC4),
        (CryptoMethod.PLAINTEXT, PREFERENCE, CryptoMethod.PLAINTEXT),
        (ANY_METHOD, [CryptoMethod.PLAINTEXT], CryptoMethod.PLAINTEXT),
    ],
)
async def test_both_ends_read_what_the_other_writes(
    offer: CryptoMethod, accepted: Sequence[CryptoMethod], method: CryptoMethod
) -> None:
    async with pair(offer, accepted, opening=b"hello") as (ours, theirs):
        assert isinstance(theirs, EncryptedStream)
        assert ours.method is theirs.method is method
        assert await theirs.receive_some(2) == b"he"
        assert await theirs.receive_some() == b"llo"
        for one, other in ((ours, theirs), (theirs, ours)):
            await one.wait_send_all_might_not_block()
            await one.send_all(bytearray(b"a message"))
            assert await other.receive_some(1) == b"a"
            assert await other.receive_some() == b" message"


async def test_end_of_an_encrypted_stream_is_an_end() -> None:
    async with pair() as (ours, theirs):
        await theirs.aclose()
        assert await ours.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"x")


async def test_cancelled_wait_loses_no_byte(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (ours, theirs):
        with trio.move_on_after(1):
            await theirs.receive_some()
        await ours.send_all(b"late")
        assert await theirs.receive_some() == b"late"
