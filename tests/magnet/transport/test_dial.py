"""The dialler: peers that cannot be reached first, then each kind of peer and how it is reached."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import TypeAlias

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import PeerDisconnected, PeerError, PeerTimeout, RemoteProtocolError
from magnet.peer.connection import FEATURES
from magnet.peer.encryption.cipher import CryptoMethod
from magnet.peer.encryption.keys import StreamKeys
from magnet.peer.handshake import HANDSHAKE_BYTES, PeerId, encode_handshake
from magnet.peer.stream import HANDSHAKE_TIMEOUT_S
from magnet.sources.source import Hints
from magnet.transport.carrier import Transport
from magnet.transport.dial import (
    HEAD_START_S,
    LAST_CHANCE_S,
    Dialer,
    DialPolicy,
    EncryptionPolicy,
    Way,
)
from magnet.transport.encrypted import EncryptedStream, accept
from tests.magnet.resolve.cutting import cancel_after

AT = parse_endpoint("192.0.2.1:6881")
HASH = InfoHash(b"\xaa" * 20)
OPENING = encode_handshake(FEATURES, HASH, PeerId(b"-XX0001-abcdefghijkl"))
ANSWER = encode_handshake(FEATURES, HASH, PeerId(b"-XX0001-mnopqrstuvwx"))
REFUSED = PeerDisconnected("connecting", "Connection refused")

TCP, UTP = Transport.TCP, Transport.UTP
IF_NEEDED = EncryptionPolicy.IF_NEEDED

Peer: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]


class Wire:
    """A carrier to one peer, which takes its time or fails; counts what it opens."""

    def __init__(
        self,
        nursery: trio.Nursery,
        peer: Peer,
        *,
        delay_s: float = 0.0,
        error: PeerError | None = None,
    ) -> None:
        self.dials = 0
        self.open = 0
        self._nursery = nursery
        self._peer = peer
        self._delay_s = delay_s
        self._error = error

    async def connect(self, to: Endpoint) -> trio.abc.Stream:
        assert to == AT
        self.dials += 1
        await trio.sleep(self._delay_s)
        if self._error is not None:
            raise self._error
        here, there = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, there)
        return here

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.open += 1
        try:
            async with stream:
                await self._peer(stream)
        except (PeerError, trio.BrokenResourceError):
            pass
        finally:
            self.open -= 1


async def answering(stream: trio.abc.Stream) -> None:
    """Answer a handshake, and then wait for the end."""
    heard = b""
    while len(heard) < HANDSHAKE_BYTES:
        data = await stream.receive_some()
        if not data:
            return
        heard += data
    assert heard == OPENING
    await stream.send_all(ANSWER)
    await stream.receive_some()


async def plain_only(stream: trio.abc.Stream) -> None:
    """Hang up on whatever does not begin like the protocol."""
    peer = await accept(stream, StreamKeys([]), rng=Random(5))
    await answering(peer)


async def encrypted_only(stream: trio.abc.Stream) -> None:
    """Hang up on the plain protocol."""
    peer = await accept(stream, StreamKeys([HASH]), rng=Random(5))
    if isinstance(peer, EncryptedStream):
        await answering(peer)


async def open_minded(stream: trio.abc.Stream) -> None:
    """Take both."""
    await answering(await accept(stream, StreamKeys([HASH]), rng=Random(5)))


async def hanging_up(stream: trio.abc.Stream) -> None:
    """Hang up as soon as anything is said."""
    await stream.receive_some()


async def silent(stream: trio.abc.Stream) -> None:
    """Listen and say nothing."""
    while await stream.receive_some():
        pass


async def web_server(stream: trio.abc.Stream) -> None:
    """Answer whatever is said."""
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 30)
    await silent(stream)


@asynccontextmanager
async def wired(peer: Peer, **options: float | PeerError) -> AsyncIterator[Wire]:
    """Give a wire to a peer; in the end nothing may be left open on it."""
    async with trio.open_nursery() as nursery:
        wire = Wire(nursery, peer, **options)  # type: ignore[arg-type]
        yield wire
        await trio.testing.wait_all_tasks_blocked()
        assert wire.open == 0
        nursery.cancel_scope.cancel()


def dialer(wire: Wire, encryption: EncryptionPolicy = IF_NEEDED) -> Dialer:
    return Dialer({TCP: wire}, policy=DialPolicy(encryption), rng=Random(1))


def test_dialler_needs_a_carrier() -> None:
    with pytest.raises(ValueError, match="no carrier"):
        Dialer({}, rng=Random(1))


async def test_refused_peer_is_dialled_once() -> None:
    async with wired(silent, error=REFUSED) as wire:
        with pytest.raises(PeerDisconnected) as caught:
            await dialer(wire).connect(AT, HASH, OPENING)
        assert caught.value is REFUSED
        assert wire.dials == 1


@pytest.mark.parametrize("encryption", EncryptionPolicy)
async def test_silent_peer_is_dialled_once(
    autojump_clock: trio.testing.MockClock, encryption: EncryptionPolicy
) -> None:
    async with wired(silent) as wire:
        with pytest.raises(PeerTimeout):
            await dialer(wire, encryption).connect(AT, HASH, OPENING)
        assert wire.dials == 1
    assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S)


async def test_web_server_is_dialled_once() -> None:
    async with wired(web_server) as wire:
        with pytest.raises(RemoteProtocolError, match="not the BitTorrent protocol"):
            await dialer(wire).connect(AT, HASH, OPENING)
        assert wire.dials == 1


@pytest.mark.parametrize(
    ("encryption", "dials", "stage"),
    [
        (EncryptionPolicy.NEVER, 1, "handshaking"),
        (EncryptionPolicy.IF_NEEDED, 2, "handshaking"),
        (EncryptionPolicy.PREFERRED, 2, "encrypting"),
        (EncryptionPolicy.REQUIRED, 1, "encrypting"),
    ],
)
async def test_peer_that_hangs_up_is_told_by_the_first_way(
    encryption: EncryptionPolicy, dials: int, stage: str
) -> None:
    async with wired(hanging_up) as wire:
        with pytest.raises(PeerDisconnected) as caught:
            await dialer(wire, encryption).connect(AT, HASH, OPENING)
        assert caught.value.stage == stage
        assert wire.dials == dials


async def test_policy_without_encryption_does_not_reach_who_insists_on_it() -> None:
    async with wired(encrypted_only) as wire:
        with pytest.raises(PeerDisconnected):
            await dialer(wire, EncryptionPolicy.NEVER).connect(AT, HASH, OPENING)


async def test_cancelled_dial_leaves_nothing_open() -> None:
    async with wired(silent) as wire:
        with trio.move_on_after(0.01):
            await dialer(wire).connect(AT, HASH, OPENING)
        assert wire.dials == 1


async def test_dial_may_be_cancelled_anywhere() -> None:
    is_complete = False
    for steps in count(1):
        # Whatever was opened has to be closed in the end, or else these do not let go.
        async with wired(hanging_up) as tcp, wired(encrypted_only) as utp:
            both = Dialer({TCP: tcp, UTP: utp}, rng=Random(1))
            with cancel_after(steps) as scope:
                dialled = await both.connect(AT, HASH, OPENING)
                await trio.aclose_forcefully(dialled.stream)
                is_complete = not scope.cancel_called
        if is_complete:
            assert steps > 20
            return


RC4 = CryptoMethod.RC4


@pytest.mark.parametrize(
    ("peer", "encryption", "wants", "method", "dials"),
    [
        (open_minded, EncryptionPolicy.NEVER, True, None, 1),
        (open_minded, EncryptionPolicy.IF_NEEDED, False, None, 1),
        (open_minded, EncryptionPolicy.IF_NEEDED, True, RC4, 1),
        (open_minded, EncryptionPolicy.PREFERRED, False, RC4, 1),
        (open_minded, EncryptionPolicy.REQUIRED, False, RC4, 1),
        (encrypted_only, EncryptionPolicy.IF_NEEDED, False, RC4, 2),
        (encrypted_only, EncryptionPolicy.IF_NEEDED, True, RC4, 1),
        (plain_only, EncryptionPolicy.IF_NEEDED, False, None, 1),
        (plain_only, EncryptionPolicy.IF_NEEDED, True, None, 2),
        (plain_only, EncryptionPolicy.PREFERRED, False, None, 2),
    ],
)
async def test_peer_is_reached_in_the_way_it_takes(
    peer: Peer,
    encryption: EncryptionPolicy,
    wants: bool,
    method: CryptoMethod | None,
    dials: int,
) -> None:
    hints = Hints(prefers_encryption=wants)
    async with wired(peer) as wire:
        dialled = await dialer(wire, encryption).connect(AT, HASH, OPENING, hints=hints)
        assert dialled.way == Way(TCP, method)
        assert (dialled.rejected is None) is (dials == 1)
        assert dialled.is_encrypted_only is (method is not None and dials == 2)
        async with dialled.stream:
            answer = b""
            while len(answer) < len(ANSWER):
                answer += await dialled.stream.receive_some()
        assert answer == ANSWER
        assert wire.dials == dials


@pytest.mark.parametrize("offer", CryptoMethod)
async def test_only_what_is_offered_is_used(offer: CryptoMethod) -> None:
    policy = DialPolicy(EncryptionPolicy.REQUIRED, offer)
    async with wired(open_minded) as wire:
        dialled = await Dialer({TCP: wire}, policy=policy, rng=Random(1)).connect(AT, HASH, OPENING)
        await dialled.stream.aclose()
    assert dialled.way.method is offer


async def test_second_transport_helps_where_the_first_is_refused() -> None:
    async with wired(silent, error=REFUSED) as tcp, wired(open_minded) as utp:
        both = Dialer({TCP: tcp, UTP: utp}, rng=Random(1))
        dialled = await both.connect(AT, HASH, OPENING)
        await dialled.stream.aclose()
    assert dialled.way == Way(UTP)


async def test_second_transport_helps_where_the_first_is_slow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with wired(open_minded, delay_s=5) as tcp, wired(open_minded) as utp:
        both = Dialer({TCP: tcp, UTP: utp}, rng=Random(1))
        dialled = await both.connect(AT, HASH, OPENING)
        await dialled.stream.aclose()
        assert trio.current_time() == pytest.approx(HEAD_START_S)
    assert dialled.way == Way(UTP)


async def test_transport_that_got_through_is_used_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with wired(encrypted_only, delay_s=5) as tcp, wired(encrypted_only) as utp:
        both = Dialer({TCP: tcp, UTP: utp}, rng=Random(1))
        dialled = await both.connect(AT, HASH, OPENING)
        await dialled.stream.aclose()
        assert (tcp.dials, utp.dials) == (1, 2)
    assert dialled.way == Way(UTP, CryptoMethod.RC4)


async def test_other_transport_is_tried_where_the_first_hangs_up_on_everything() -> None:
    async with wired(hanging_up) as tcp, wired(encrypted_only) as utp:
        both = Dialer({TCP: tcp, UTP: utp}, rng=Random(1))
        dialled = await both.connect(AT, HASH, OPENING)
        await dialled.stream.aclose()
        assert (tcp.dials, utp.dials) == (2, 2)
    assert str(dialled) == "uTP, encrypted only"


async def test_other_transport_has_little_time_where_the_first_hangs_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with wired(hanging_up) as tcp, wired(open_minded, delay_s=9) as utp:
        both = Dialer({TCP: tcp, UTP: utp}, rng=Random(1))
        with pytest.raises(PeerDisconnected, match="handshaking"):
            await both.connect(AT, HASH, OPENING)
        assert (tcp.dials, utp.dials) == (2, 1)
    assert trio.current_time() == pytest.approx(LAST_CHANCE_S)


def test_way_is_told_in_words() -> None:
    assert str(Way(TCP)) == "TCP"
    assert str(Way(UTP, CryptoMethod.RC4)) == "uTP, encrypted"
    assert str(Way(TCP, CryptoMethod.PLAINTEXT)) == "TCP, encrypted handshake"
