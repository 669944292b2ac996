"""What peers say of other peers while metadata is fetched: floods and lies first."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TypeAlias

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import MetadataRejected, PeerDisconnected, PeerError, RemoteProtocolError
from magnet.peer.connection import PeerConnection
from magnet.peer.events import Event
from magnet.peer.extension import (
    LOCAL_IDS,
    UT_HOLEPUNCH,
    UT_METADATA,
    UT_PEX,
    ExtensionHandshake,
    encode_extension_handshake,
)
from magnet.peer.fetch import LINGER_S, fetch_metadata, prepare_fetch
from magnet.peer.handshake import PeerId
from magnet.peer.introductions import (
    ANSWER_S,
    RELAY_S,
    RENDEZVOUS_MAX,
    Introductions,
)
from magnet.peer.metadata_pool import MetadataPool
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.peer.ut_holepunch import (
    CALLS_MAX,
    Connect,
    HolepunchError,
    HolepunchFailed,
    HolepunchMessage,
    Rendezvous,
    encode_holepunch_message,
)
from magnet.peer.ut_metadata import MetadataRequest
from magnet.peer.ut_pex import PexFlags, PexMessage, PexPeer, encode_pex_message
from magnet.peer.wire import Extended
from magnet.sources.source import Candidate, Hints

RAW = b"d4:name4:data6:pieces40:" + bytes(range(40)) + b"e"
HASH = InfoHash(hashlib.sha1(RAW).digest())
THEIRS = PeerId(b"-XX0001-mnopqrstuvwx")
AT, OTHER, THIRD = (parse_endpoint(f"9.9.9.{number}:6881") for number in range(1, 4))
LOCAL = parse_endpoint("127.0.0.1:6881")

WITH_METADATA = ExtensionHandshake(ids=LOCAL_IDS, metadata_size=len(RAW))
BARE = ExtensionHandshake(ids=LOCAL_IDS)

Speech: TypeAlias = Callable[[PeerStream], Awaitable[None]]


def pex(*peers: PexPeer) -> bytes:
    return encode_pex_message(PexMessage(peers))


async def nothing(peer: PeerStream) -> None:
    """Say nothing."""


def saying(name: bytes, *contents: bytes) -> Speech:
    """Return what says this much, and no more."""

    async def speak(peer: PeerStream) -> None:
        for content in contents:
            peer.connection.send_extension(name, content)

    return speak


def punching(*messages: HolepunchMessage) -> Speech:
    return saying(UT_HOLEPUNCH, *map(encode_holepunch_message, messages))


class Link:
    """The conversations of one link."""

    def __init__(self, *, is_short: bool = True) -> None:
        self.found: list[Candidate] = []
        self.heard: list[Event] = []
        self.pool = MetadataPool(info_hash=HASH)
        self.is_short = is_short
        self.introductions = Introductions(self.found.append, is_short=lambda: self.is_short)

    @property
    def endpoints(self) -> list[Endpoint]:
        return [candidate.endpoint for candidate in self.found]

    async def converse(
        self,
        speech: Speech,
        offer: ExtensionHandshake = BARE,
        *,
        at: Endpoint = AT,
        punches: bool = True,
    ) -> PeerError | None:
        """Converse with a peer that says something after the handshakes; return the end."""
        here, there = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._be_peer, there, offer, speech)
            connection = prepare_fetch(at, info_hash=HASH, punches=punches, rng=Random(1))
            try:
                await fetch_metadata(here, connection, self.pool, at, self.introductions)
            except PeerError as error:
                return error
            finally:
                nursery.cancel_scope.cancel()
        return None

    async def _be_peer(
        self, stream: trio.abc.Stream, offer: ExtensionHandshake, speech: Speech
    ) -> None:
        session = MetadataServer(RAW).open_session()
        connection = PeerConnection.responder(THEIRS)
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(offer)
            await peer.wait_handshake_completed()
            await peer.wait_extension_handshake()
            await speech(peer)
            async for event in peer:
                self.heard.append(event)
                if isinstance(event, MetadataRequest):
                    connection.answer_metadata(session.answer(event))

    @asynccontextmanager
    async def conversing(self, speech: Speech) -> AsyncIterator[None]:
        """Converse in the background."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.converse, speech)
            await trio.testing.wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def link() -> Link:
    return Link()


def target(endpoint: Endpoint = OTHER, via: Endpoint | None = AT) -> Candidate:
    return Candidate(endpoint, HASH, "pex", Hints(supports_holepunch=True, via=via))


async def test_flood_ends_the_conversation(autojump_clock: MockClock, link: Link) -> None:
    error = await link.converse(saying(UT_PEX, *[pex()] * 7))
    assert isinstance(error, RemoteProtocolError)
    assert "flood" in error.fault


async def test_unreadable_message_ends_the_conversation(
    autojump_clock: MockClock, link: Link
) -> None:
    assert isinstance(await link.converse(saying(UT_PEX, b"?")), RemoteProtocolError)
    assert isinstance(await link.converse(saying(UT_HOLEPUNCH, b"?")), RemoteProtocolError)


async def test_local_addresses_are_not_believed(autojump_clock: MockClock, link: Link) -> None:
    await link.converse(saying(UT_PEX, pex(PexPeer(LOCAL), PexPeer(OTHER))))
    assert link.endpoints == [OTHER]


async def test_calls_to_local_addresses_are_ignored(autojump_clock: MockClock, link: Link) -> None:
    await link.converse(punching(Connect(LOCAL), Connect(parse_endpoint("9.9.9.9:0"))))
    assert link.found == []


async def test_only_so_many_calls_are_heeded(autojump_clock: MockClock, link: Link) -> None:
    calls = [Connect(parse_endpoint(f"8.8.8.8:{port}")) for port in range(1, 100)]
    await link.converse(punching(*calls))
    await link.converse(punching(*calls[50:]), at=THIRD)
    assert len(link.found) == CALLS_MAX


async def test_peer_without_metadata_is_left_at_once_when_others_wait(
    autojump_clock: MockClock, link: Link
) -> None:
    link.is_short = False
    error = await link.converse(saying(UT_PEX, pex(PexPeer(OTHER))))
    assert isinstance(error, MetadataRejected)
    assert trio.current_time() < 1


async def test_peer_without_metadata_is_left_in_the_end(
    autojump_clock: MockClock, link: Link
) -> None:
    error = await link.converse(saying(UT_PEX, pex(PexPeer(OTHER))))
    assert isinstance(error, MetadataRejected)
    assert LINGER_S <= trio.current_time() <= LINGER_S + 2
    assert link.endpoints == [OTHER]


async def test_peer_without_metadata_is_left_as_soon_as_others_wait(
    autojump_clock: MockClock, link: Link
) -> None:
    async def later(peer: PeerStream) -> None:
        await trio.sleep(5)
        link.is_short = False

    assert isinstance(await link.converse(later), MetadataRejected)
    assert 5 <= trio.current_time() <= 7


async def test_peer_that_hangs_up_meanwhile_is_reported(
    autojump_clock: MockClock, link: Link
) -> None:
    async def leave(peer: PeerStream) -> None:
        await peer.aclose()

    assert isinstance(await link.converse(leave), PeerDisconnected)


async def test_who_gets_metadata_meanwhile_gives_it(autojump_clock: MockClock, link: Link) -> None:
    async def get_it(peer: PeerStream) -> None:
        await trio.sleep(5)
        hello = encode_extension_handshake(WITH_METADATA)
        await peer._stream.send_all(Extended(0, hello).encode())

    assert await link.converse(get_it) is None
    assert link.pool.metadata == RAW


async def test_peers_are_named_with_hints(autojump_clock: MockClock, link: Link) -> None:
    flags = PexFlags.PREFERS_ENCRYPTION | PexFlags.SEED | PexFlags.UTP | PexFlags.HOLEPUNCH
    await link.converse(saying(UT_PEX, pex(PexPeer(OTHER, flags), PexPeer(THIRD))))
    assert link.found == [
        Candidate(
            OTHER,
            HASH,
            "pex",
            Hints(
                prefers_encryption=True,
                supports_utp=True,
                supports_holepunch=True,
                via=AT,
                is_seed=True,
            ),
        ),
        Candidate(THIRD, HASH, "pex", Hints()),
    ]


@pytest.mark.parametrize(
    ("offer", "punches"),
    [(ExtensionHandshake(ids={UT_METADATA: 2, UT_PEX: 1}), True), (BARE, False)],
)
async def test_who_is_no_relay_is_not_mentioned_as_one(
    autojump_clock: MockClock, link: Link, offer: ExtensionHandshake, punches: bool
) -> None:
    speech = saying(UT_PEX, pex(PexPeer(OTHER, PexFlags.HOLEPUNCH)))
    await link.converse(speech, offer, punches=punches)
    assert [candidate.hints for candidate in link.found] == [Hints(supports_holepunch=True)]


async def test_peers_are_named_while_metadata_flows_too(
    autojump_clock: MockClock, link: Link
) -> None:
    link.is_short = False
    assert await link.converse(saying(UT_PEX, pex(PexPeer(OTHER))), WITH_METADATA) is None
    assert link.endpoints == [OTHER]


async def test_call_makes_a_candidate(autojump_clock: MockClock, link: Link) -> None:
    await link.converse(punching(Connect(OTHER)))
    hints = Hints(supports_utp=True, supports_holepunch=True, via=AT)
    assert link.found == [Candidate(OTHER, HASH, "pex", hints)]


@pytest.mark.parametrize("via", [None, OTHER])
async def test_nobody_can_be_asked_who_is_not_here(
    autojump_clock: MockClock, link: Link, via: Endpoint | None
) -> None:
    async with link.conversing(nothing):
        assert not await link.introductions.arrange(target(via=via))
    assert not await link.introductions.arrange(target(via=AT))
    assert link.heard.count(Rendezvous(OTHER)) == 0


async def test_who_is_here_twice_can_be_asked_until_the_last_has_gone(
    autojump_clock: MockClock, link: Link
) -> None:
    async with link.conversing(nothing):
        async with link.conversing(answering(Connect(OTHER))):
            assert await link.introductions.arrange(target())
        assert not await link.introductions.arrange(target())


async def test_relay_that_says_nothing_is_waited_for_in_vain(
    autojump_clock: MockClock, link: Link
) -> None:
    async with link.conversing(nothing):
        assert not await link.introductions.arrange(target())
        assert trio.current_time() == pytest.approx(ANSWER_S)
    assert Rendezvous(OTHER) in link.heard


async def test_relay_is_not_asked_for_ever(autojump_clock: MockClock, link: Link) -> None:
    async with link.conversing(nothing):
        for _ in range(RENDEZVOUS_MAX + 5):
            with trio.move_on_after(0.1):
                await link.introductions.arrange(target())
        await trio.testing.wait_all_tasks_blocked()
    assert link.heard.count(Rendezvous(OTHER)) == RENDEZVOUS_MAX


def answering(*answers: HolepunchMessage) -> Speech:
    """Return what answers each rendezvous so."""

    async def speak(peer: PeerStream) -> None:
        async for event in peer:
            if isinstance(event, Rendezvous):
                await punching(*answers)(peer)

    return speak


@pytest.mark.parametrize(
    ("answers", "is_arranged"),
    [
        ([HolepunchFailed(OTHER, HolepunchError.NOT_CONNECTED)], False),
        ([HolepunchFailed(THIRD, HolepunchError.NO_SUPPORT), Connect(OTHER)], True),
        ([Connect(THIRD), HolepunchFailed(OTHER, 77)], False),
        ([Connect(OTHER)], True),
    ],
)
async def test_relay_answers(
    autojump_clock: MockClock, link: Link, answers: Sequence[HolepunchMessage], is_arranged: bool
) -> None:
    async with link.conversing(answering(*answers)):
        assert await link.introductions.arrange(target()) is is_arranged
    assert trio.current_time() < 0.1
    assert OTHER not in link.endpoints


async def test_relay_is_kept_until_it_may_be_asked(autojump_clock: MockClock, link: Link) -> None:
    async def name(peer: PeerStream) -> None:
        await saying(UT_PEX, pex(PexPeer(OTHER, PexFlags.HOLEPUNCH)))(peer)
        link.is_short = False

    assert isinstance(await link.converse(name), MetadataRejected)
    assert RELAY_S <= trio.current_time() <= RELAY_S + 1.1


async def test_relay_is_kept_while_it_is_asked(autojump_clock: MockClock, link: Link) -> None:
    async with trio.open_nursery() as nursery:
        link.is_short = True
        nursery.start_soon(link.converse, nothing)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(link.introductions.arrange, target())
        link.is_short = False
    assert ANSWER_S <= trio.current_time() <= ANSWER_S + 1.1
