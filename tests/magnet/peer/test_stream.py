"""A connection on a stream: broken and silent peers first, in virtual time."""

import pytest
import trio
import trio.testing

from dht.keyspace import InfoHash
from magnet.errors import LocalProtocolError, PeerDisconnected, PeerTimeout, RemoteProtocolError
from magnet.peer import wire
from magnet.peer.connection import FEATURES, PeerConnection, State
from magnet.peer.events import HandshakeCompleted, HandshakeReceived
from magnet.peer.extension import ExtensionHandshake, encode_extension_handshake
from magnet.peer.handshake import PeerId, encode_handshake
from magnet.peer.stream import (
    EXTENSION_TIMEOUT_S,
    HANDSHAKE_TIMEOUT_S,
    SEND_TIMEOUT_S,
    PeerStream,
)

OURS = PeerId(b"-XX0001-abcdefghijkl")
THEIRS = PeerId(b"-XX0001-mnopqrstuvwx")
HASH = InfoHash(b"\xaa" * 20)
WISH = ExtensionHandshake(ids={b"ut_metadata": 2})
HANDSHAKE = encode_handshake(FEATURES, HASH, THEIRS)
HELLO = wire.Extended(0, encode_extension_handshake(WISH)).encode()


def initiator() -> PeerConnection:
    return PeerConnection.initiator(HASH, OURS, WISH)


async def handshakes(peer: PeerStream) -> None:
    await peer.wait_handshake_completed()
    await peer.wait_extension_handshake()


@pytest.mark.parametrize("sent", [b"", HANDSHAKE[:30], HANDSHAKE[:67]])
async def test_silence_in_the_handshake_has_a_deadline(
    sent: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(sent)
    async with PeerStream(here, initiator()) as peer:
        with pytest.raises(PeerTimeout) as caught:
            await peer.wait_handshake_completed()
    assert caught.value.stage == "handshaking"
    assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S)


async def test_a_byte_now_and_then_does_not_move_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here, there = trio.testing.memory_stream_pair()

    async def trickle() -> None:
        for value in HANDSHAKE:
            await there.send_all(bytes((value,)))
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        peer = PeerStream(here, initiator())
        with pytest.raises(PeerTimeout):
            await peer.wait_handshake_completed()
        nursery.cancel_scope.cancel()
    await peer.aclose()
    assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S)


async def test_keepalives_do_not_stand_for_the_extension_handshake(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(HANDSHAKE + wire.Have(1).encode() + wire.KeepAlive().encode() * 5)
    async with PeerStream(here, initiator()) as peer:
        await peer.wait_handshake_completed()
        with pytest.raises(PeerTimeout) as caught:
            await peer.wait_extension_handshake()
    assert caught.value.stage == "extending"
    assert trio.current_time() == pytest.approx(EXTENSION_TIMEOUT_S)


async def test_who_does_not_read_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    here, _ = trio.testing.lockstep_stream_pair()
    async with PeerStream(here, initiator()) as peer:
        with pytest.raises(PeerTimeout):
            await peer.flush()
    assert trio.current_time() == pytest.approx(SEND_TIMEOUT_S)


@pytest.mark.parametrize(
    ("sent", "stage"),
    [(b"", "handshaking"), (HANDSHAKE[:60], "handshaking"), (HANDSHAKE, "extending")],
)
async def test_early_end_is_a_disconnection(sent: bytes, stage: str) -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(sent)
    await there.send_eof()
    async with PeerStream(here, initiator()) as peer:
        with pytest.raises(PeerDisconnected) as caught:
            await handshakes(peer)
    assert caught.value.stage == stage


class Broken(trio.abc.Stream):
    """A stream on which everything fails in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        pass

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("not used")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise self.error

    async def aclose(self) -> None:
        raise trio.BrokenResourceError


@pytest.mark.parametrize(
    "error",
    [
        trio.BrokenResourceError("cut"),
        trio.ClosedResourceError(),
        ConnectionResetError(104, "reset"),
    ],
)
async def test_broken_stream_is_a_disconnection_with_its_cause(error: Exception) -> None:
    async with PeerStream(Broken(error), initiator()) as peer:
        with pytest.raises(PeerDisconnected) as caught:
            await peer.wait_handshake_completed()
    assert caught.value.__cause__ is error


async def test_fault_of_the_peer_comes_through_and_the_stream_is_closed() -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(RemoteProtocolError):
        async with PeerStream(here, initiator()) as peer:
            await peer.wait_handshake_completed()
    assert await there.receive_some() == encode_handshake(FEATURES, HASH, OURS)
    assert await there.receive_some() == b""


async def test_cancelling_closes_the_stream(autojump_clock: trio.testing.MockClock) -> None:
    here, there = trio.testing.memory_stream_pair()
    with trio.move_on_after(1):
        async with PeerStream(here, initiator()) as peer:
            await peer.wait_handshake_completed()
    await there.receive_some()
    assert await there.receive_some() == b""
    assert peer.connection.state is State.CLOSED


async def test_waiting_for_what_has_passed_is_our_error() -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(HANDSHAKE + HELLO + wire.Choke().encode() * 2)
    await there.send_eof()
    async with PeerStream(here, initiator()) as peer:
        await handshakes(peer)
        with pytest.raises(LocalProtocolError):
            await peer.wait_handshake_received()
        with pytest.raises(LocalProtocolError):
            await peer.wait_handshake_completed()
        with pytest.raises(PeerDisconnected):
            await peer.wait_extension_handshake()


class Sticky(Broken):
    """A stream that takes for ever to say goodbye."""

    async def aclose(self) -> None:
        await trio.sleep_forever()


async def test_closing_has_its_own_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with PeerStream(Sticky(OSError()), initiator()):
        pass
    assert trio.current_time() <= 1.0


async def test_cancelling_a_wait_loses_no_event(autojump_clock: trio.testing.MockClock) -> None:
    here, there = trio.testing.memory_stream_pair()
    async with PeerStream(here, initiator()) as peer:
        with trio.move_on_after(1):
            await peer.next_event()
        await there.send_all(HANDSHAKE[:50])
        with trio.move_on_after(1):
            await peer.next_event()
        await there.send_all(HANDSHAKE[50:] + wire.Choke().encode())
        assert isinstance(await peer.next_event(), HandshakeCompleted)
        assert await peer.next_event() == wire.Choke()


async def test_iteration_ends_with_the_stream() -> None:
    here, there = trio.testing.memory_stream_pair()
    await there.send_all(HANDSHAKE + HELLO + wire.Choke().encode() + wire.Have(3).encode())
    await there.send_eof()
    async with PeerStream(here, initiator()) as peer:
        await peer.wait_handshake_completed()
        await peer.wait_extension_handshake()
        assert [event async for event in peer] == [wire.Choke(), wire.Have(3)]
        assert await peer.next_event() is None


async def test_two_peers_shake_hands() -> None:
    here, there = trio.testing.memory_stream_pair()
    heard: list[HandshakeReceived] = []

    async def respond() -> None:
        async with PeerStream(there, PeerConnection.responder(THEIRS)) as peer:
            heard.append(await peer.wait_handshake_received())
            peer.connection.accept(WISH)
            await peer.wait_handshake_completed()
            assert await peer.wait_extension_handshake() == WISH
            assert [event async for event in peer] == []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(respond)
        async with PeerStream(here, initiator()) as peer:
            assert await peer.wait_handshake_completed() == HandshakeCompleted(THEIRS, FEATURES)
            assert await peer.wait_extension_handshake() == WISH
    assert heard == [HandshakeReceived(HASH, FEATURES)]


async def test_listening_has_a_deadline_that_spoils_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here, there = trio.testing.memory_stream_pair()
    async with PeerStream(here, initiator()) as peer:
        await there.send_all(HANDSHAKE + HELLO[:10])
        await peer.wait_handshake_completed()
        assert await peer.listen(deadline=trio.current_time() + 5) is None
        assert trio.current_time() == 5
        await there.send_all(HELLO[10:] + wire.Choke().encode())
        await peer.wait_extension_handshake()
        assert await peer.listen(deadline=trio.current_time() + 5) == wire.Choke()


async def test_listening_until_a_time_that_has_passed_takes_what_is_there() -> None:
    here, there = trio.testing.memory_stream_pair()
    async with PeerStream(here, initiator()) as peer:
        await there.send_all(HANDSHAKE + HELLO + wire.Choke().encode())
        await handshakes(peer)
        assert await peer.listen(deadline=0) == wire.Choke()
        assert await peer.listen(deadline=0) is None


async def test_listening_to_one_who_leaves_is_a_disconnection() -> None:
    here, there = trio.testing.memory_stream_pair()
    async with PeerStream(here, initiator()) as peer:
        await there.send_all(HANDSHAKE + HELLO)
        await handshakes(peer)
        await there.send_eof()
        with pytest.raises(PeerDisconnected) as caught:
            await peer.listen(deadline=trio.current_time() + 5)
    assert caught.value.stage == "requesting"


async def test_listening_is_left_when_somebody_wakes_it() -> None:
    here, there = trio.testing.memory_stream_pair()
    async with PeerStream(here, initiator()) as peer, trio.open_nursery() as nursery:
        await there.send_all(HANDSHAKE + HELLO)
        await handshakes(peer)
        peer.wake()
        assert await peer.listen(deadline=float("inf")) is None
        nursery.start_soon(lambda: _wake(peer))
        assert await peer.listen(deadline=float("inf")) is None


async def _wake(peer: PeerStream) -> None:
    await trio.testing.wait_all_tasks_blocked()
    peer.wake()


async def test_waiting_sends_what_another_task_has_to_say() -> None:
    here, there = trio.testing.memory_stream_pair()
    async with PeerStream(here, initiator()) as peer, trio.open_nursery() as nursery:
        await there.send_all(HANDSHAKE + HELLO)
        await handshakes(peer)
        nursery.start_soon(peer.next_event)
        await trio.testing.wait_all_tasks_blocked()
        await there.receive_some()
        peer.connection.send(wire.Interested())
        peer.wake()
        assert await there.receive_some() == wire.Interested().encode()
        nursery.cancel_scope.cancel()
