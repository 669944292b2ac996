"""Giving back: nothing to those who need or may get nothing, then metadata to those who lack it."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from random import Random
from typing import NamedTuple

import pytest
import trio
import trio.testing

from dht.bencode import encode
from dht.node import Node
from magnet.metainfo.info import parse_info
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import LOCAL_IDS, UT_METADATA, UT_PEX, ExtensionHandshake
from magnet.peer.handshake import generate_peer_id
from magnet.peer.metadata_server import SERVINGS_MAX
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import (
    METADATA_PIECE_BYTES,
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
)
from magnet.peer.wire import HaveNone
from magnet.resolve import giving as giving_module
from magnet.resolve import resolution as resolution_module
from magnet.resolve.giving import GIVING_S
from magnet.resolve.resolver import open_resolver
from magnet.uri import MagnetLink
from tests.magnet.resolve.cutting import cancel_after
from tests.magnet.resolve.hostile import Impostor, impostor
from tests.magnet.resolve.peers import RAW, Listener, Peer, link_to, listening

PRIVATE = b"d6:lengthi5e4:name6:secret12:piece lengthi16384e6:pieces20:%b7:privatei1ee" % bytes(20)
PIECES = 2


class Needy:
    """A peer that lacks the metadata as we do, and asks us as soon as we say that we have it.

    Attributes:
        met: Set when it has been greeted by somebody who means to stay, for the sake of names.
        was_told: Whether it knows that we have metadata.
        got: Pieces.
        rejects: Requests that were turned down.
    """

    def __init__(self, servings: int = 1) -> None:
        """Begin with nothing, and be about to ask for everything so many times."""
        self.met = trio.Event()
        self.was_told = False
        self.got: dict[int, bytes] = {}
        self.rejects = 0
        self._servings = servings

    async def __call__(self, stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(generate_peer_id(Random(id(self))))
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(ExtensionHandshake(ids=LOCAL_IDS))
            hello = await peer.wait_extension_handshake()
            assert hello.metadata_size is None
            async for event in peer:
                match event:
                    case HaveNone() if UT_PEX in hello.ids:
                        self.met.set()
                    case MetadataPiece(piece, _, data):
                        self.got[piece] = data
                    case MetadataReject():
                        self.rejects += 1
                if connection.metadata_size is not None and not self.was_told:
                    self.was_told = True
                    for piece in self._servings * [*range(PIECES)]:
                        connection.request_metadata(piece)

    @property
    def metadata(self) -> bytes:
        return b"".join(self.got[piece] for piece in sorted(self.got))


def giving_after(*others: Needy, raw: bytes = RAW) -> Peer:
    """Return a peer that has metadata and gives it, but not before those others were greeted."""

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(generate_peer_id(Random(7)))
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(ExtensionHandshake(ids=LOCAL_IDS, metadata_size=len(raw)))
            async for event in peer:
                if isinstance(event, MetadataRequest):
                    for other in others:
                        await other.met.wait()
                    start = event.piece * METADATA_PIECE_BYTES
                    data = raw[start : start + METADATA_PIECE_BYTES]
                    connection.answer_metadata(MetadataPiece(event.piece, len(raw), data))

    return converse


class Scene(NamedTuple):
    """The link to a peer that has metadata, and to others that lack it."""

    link: MagnetLink
    giver: Listener
    others: list[Listener]

    @property
    def kept(self) -> int:
        """How many of those that lack it are connected."""
        return sum(it.open for it in self.others)


@asynccontextmanager
async def meeting(*others: Needy, raw: bytes = RAW) -> AsyncIterator[Scene]:
    """Run peers that lack metadata, and one that gives it when it has met them all."""
    async with AsyncExitStack() as stack:
        peers: list[Peer] = [giving_after(*others, raw=raw), *others]
        giver, *needy = [
            await stack.enter_async_context(listening(peer, f"127.0.0.{number}"))
            for number, peer in enumerate(peers, start=2)
        ]
        link = link_to([it.endpoint for it in (giver, *needy)], parse_info(raw))
        yield Scene(link, giver, needy)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - that no event tells
            await trio.sleep(0.001)


async def test_private_metadata_is_kept_back(node: Node) -> None:
    """Spec: BEP 27."""
    needy = Needy()
    async with meeting(needy, raw=PRIVATE) as scene, open_resolver(node) as resolver:
        await resolver.resolve(scene.link)
        await until(lambda: not scene.kept)
    assert not needy.was_told


async def test_whoever_has_metadata_is_not_kept(node: Node) -> None:
    async with meeting() as scene, open_resolver(node) as resolver:
        await resolver.resolve(scene.link)
        await until(lambda: not scene.giver.open)


async def test_no_more_are_kept_than_there_is_room_for(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution_module, "NAMES_AFTER_S", 0.0)  # stays with each at once
    monkeypatch.setattr(giving_module, "GIVING_MAX", 2)
    needy = [Needy(servings=0) for _ in range(5)]
    async with meeting(*needy) as scene, open_resolver(node) as resolver:
        await resolver.resolve(scene.link)
        await until(lambda: sum(it.was_told for it in needy) == scene.kept == 2)


async def test_who_does_not_ask_is_left_after_a_while(
    node: Node, clock: trio.testing.MockClock
) -> None:
    needy = Needy(servings=0)
    async with meeting(needy) as scene, open_resolver(node) as resolver:
        await resolver.resolve(scene.link)
        began_at = trio.current_time()
        await until(lambda: needy.was_told)
        while scene.kept:  # noqa: ASYNC110 - no event tells
            await trio.sleep(1)
        assert trio.current_time() >= began_at + GIVING_S


async def test_who_asks_too_often_is_turned_down(node: Node) -> None:
    needy = Needy(servings=SERVINGS_MAX + 1)
    async with meeting(needy) as scene, open_resolver(node) as resolver:
        await resolver.resolve(scene.link)
        await until(lambda: needy.rejects == PIECES)
    assert needy.metadata == RAW


async def test_link_that_is_given_up_gives_nothing(node: Node) -> None:
    needy, never_met = Needy(), Needy()
    async with (
        listening(giving_after(never_met)) as giver,
        listening(needy) as other,
        open_resolver(node) as resolver,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(resolver.resolve, link_to([giver.endpoint, other.endpoint]))
        await needy.met.wait()
        nursery.cancel_scope.cancel()
    await until(lambda: not giver.open and not other.open)
    assert not needy.was_told


async def test_who_asks_too_early_is_turned_down_at_once(node: Node) -> None:
    """Spec: BEP 9 "reject"."""
    answers: list[bytes] = []

    async def asking(it: Impostor) -> None:
        await it.send(it.reply)
        await it.extended(0, encode({b"m": {UT_METADATA: 3}}))
        request = encode({b"msg_type": 0, b"piece": 0})
        await it.extended(LOCAL_IDS[UT_METADATA], request)
        received = b""
        while not received.endswith(encode({b"msg_type": 2, b"piece": 0})):
            received += await it.stream.receive_some()
        answers.append(received)

    async with (
        listening(impostor(asking)) as peer,
        open_resolver(node) as resolver,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(resolver.resolve, link_to([peer.endpoint]))
        await until(lambda: bool(answers))
        nursery.cancel_scope.cancel()


async def test_who_lacks_metadata_is_given_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution_module, "NAMES_AFTER_S", 0.0)  # stays with each at once
    needy = [Needy() for _ in range(3)]
    async with meeting(*needy) as scene, open_resolver(node) as resolver:
        await resolver.resolve(scene.link)
        await until(lambda: [it.metadata for it in needy] == [RAW] * 3)


async def test_neither_the_answer_nor_the_end_is_delayed(
    node: Node, clock: trio.testing.MockClock
) -> None:
    """Nothing happens for ten seconds but what the peer does, and it does nothing."""
    needy = Needy(servings=0)
    async with meeting(needy) as scene:
        async with open_resolver(node) as resolver:
            await resolver.resolve(scene.link)
            await until(lambda: needy.was_told)
            assert scene.kept
        await until(lambda: not scene.kept)
    assert trio.current_time() < GIVING_S


async def test_cancelling_anywhere_leaves_nothing_behind(node: Node) -> None:
    """Cut after ever more steps: before the answer, while the peer is given it, at the end."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living

    await trio.testing.wait_all_tasks_blocked()
    before = held()
    was_given = False
    for steps in count(1, 7):
        needy = Needy()
        with cancel_after(steps) as scope:
            async with meeting(needy) as scene, open_resolver(node) as resolver:
                await resolver.resolve(scene.link)
                await until(lambda it=needy: it.metadata == RAW)  # type: ignore[misc]
        await until(lambda: held() == before)
        was_given |= scope.cancelled_caught and bool(needy.got)
        if not scope.cancelled_caught:
            break
    assert was_given
