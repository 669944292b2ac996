"""The conversation with one peer that brings metadata, or the reason why it does not.

Many of these run side by side, one task each, and work through one `MetadataPool`. Dialling is the
caller's work, and so is cancelling the others when the pool has the whole.

A peer without metadata may name others that have it, or get some itself. So we stay with it for a
while, as long as there is nobody better to try.

Spec: BEP 9; BEP 10; BEP 11; BEP 55.
"""

from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Final

import trio

from dht.contact import Endpoint
from dht.keyspace import InfoHash
from magnet.errors import (
    LocalProtocolError,
    MetadataRejected,
    PeerError,
    PeerTimeout,
    RemoteProtocolError,
)
from magnet.peer.assembly import STALL_S
from magnet.peer.connection import FEATURES, PeerConnection
from magnet.peer.events import Event
from magnet.peer.extension import (
    CLIENT_NAME,
    LOCAL_IDS,
    UT_HOLEPUNCH,
    UT_PEX,
    ExtensionHandshake,
    your_ip_for,
)
from magnet.peer.handshake import Reserved, generate_peer_id
from magnet.peer.introductions import Informant, Introductions
from magnet.peer.metadata_pool import MetadataPool, Standing
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataPiece, MetadataReject, MetadataRequest
from magnet.peer.wire import HaveNone

LINGER_S: Final = 20.0
"""Seconds with a peer that has no metadata: libtorrent names its peers after three, others at
once."""

_RECONSIDER_S: Final = 1.0
"""Seconds between looks at whether it still pays to stay with such a peer."""


def prepare_fetch(
    at: Endpoint,
    *,
    info_hash: InfoHash,
    aliases: Iterable[InfoHash] = (),
    punches: bool = False,
    asks_names: bool = True,
    rng: Random,
) -> PeerConnection:
    """Begin our side of a conversation; its first bytes are what a dialler sends to try a way.

    Args:
        at: Where the peer is.
        info_hash: What to ask for: 20 bytes, for v2 the truncated hash.
        aliases: The other hash of a hybrid torrent, by which the peer may answer.
        punches: Whether we dial by uTP, without which there is no holepunch.
        asks_names: Whether the peer is to name others. Who is asked may well do that first, and let
            us wait for the metadata.
        rng: Makes our peer id.
    """
    unwanted = {UT_HOLEPUNCH: not punches, UT_PEX: not asks_names}
    ids = {name: code for name, code in LOCAL_IDS.items() if not unwanted.get(name)}
    hello = ExtensionHandshake(ids=ids, client=CLIENT_NAME, your_ip=your_ip_for(at))
    others = tuple(alias for alias in aliases if alias != info_hash)
    return PeerConnection.initiator(
        info_hash,
        generate_peer_id(rng),
        hello,
        aliases=others,
        reserved=FEATURES | Reserved.V2_UPGRADE if others else FEATURES,
    )


async def fetch_metadata(
    stream: trio.abc.Stream,
    connection: PeerConnection,
    pool: MetadataPool,
    at: Endpoint,
    introductions: Introductions | None = None,
    *,
    afterwards: Callable[[PeerStream], Awaitable[None]] | None = None,
    parting: Callable[[PeerStream], None] | None = None,
) -> None:
    """Help a pool to its metadata: talk to one peer until the whole is there, whoever gave it.

    Args:
        stream: An open stream to the peer; it is closed at the end, in whatever way that comes.
        connection: From `prepare_fetch`; its first bytes may have been sent.
        pool: Where pieces go and requests come from.
        at: Where the peer is, which is also its name in the pool.
        introductions: Takes what the peer says of others. With it, we stay with a peer that has no
            metadata for `LINGER_S` at most, if there is nobody better.
        afterwards: What else to do with the peer once the whole is there.
        parting: Is given the peer at the end, in whatever way that comes, and may hand it over.

    Raises:
        PeerError: From `afterwards`.
        MetadataRejected: The peer has no metadata, or rejects what is still missing.
        RemoteProtocolError: It broke the protocol, or what it gave is false.
        PeerTimeout: It let a deadline pass, or gave nothing for `magnet.peer.assembly.STALL_S`.
        PeerDisconnected: The stream broke, or ended before the pool had the whole.
        LocalProtocolError: Another conversation with this peer is under way.
    """
    others = introductions if introductions is not None else Introductions()
    async with PeerStream(stream, connection) as peer:
        try:
            with others.conversing(peer, at) as informant:
                await _converse(peer, pool, at, informant)
            if afterwards is not None:
                await afterwards(peer)
        finally:
            if parting is not None:
                parting(peer)


async def _converse(
    peer: PeerStream, pool: MetadataPool, at: Endpoint, informant: Informant
) -> None:
    await _shake_hands(peer)
    size = await _offered_size(peer, informant)
    if not pool.join(at, size, now=trio.current_time()):
        raise _verdict(pool.standing(at, now=trio.current_time()), None)
    try:
        await _exchange(peer, pool, at, informant)
    finally:
        pool.leave(at)


async def _shake_hands(peer: PeerStream) -> None:
    await peer.wait_handshake_completed()
    if Reserved.EXTENSION_PROTOCOL not in peer.connection.shared:
        raise MetadataRejected
    if Reserved.FAST in peer.connection.shared:
        peer.connection.send(HaveNone())
    await peer.wait_extension_handshake()


async def _offered_size(peer: PeerStream, informant: Informant) -> int:
    """Return the size of the metadata the peer offers, if not now, then perhaps later."""
    until = trio.current_time() + LINGER_S
    while (size := peer.connection.metadata_size) is None:
        if trio.current_time() >= until or not informant.is_useful:
            raise MetadataRejected
        event = await peer.listen(deadline=trio.current_time() + _RECONSIDER_S)
        informant.hear(event)
        _decline(peer, event)
    return size


async def _exchange(
    peer: PeerStream, pool: MetadataPool, at: Endpoint, informant: Informant
) -> None:
    rejected: int | None = None
    while pool.metadata is None:
        now = trio.current_time()
        standing = pool.standing(at, now=now)
        if standing is not Standing.USEFUL:
            raise _verdict(standing, rejected)
        if peer.connection.metadata_size is None:  # It has switched the extension off.
            raise MetadataRejected
        while (piece := pool.next_request(at, now=now)) is not None:
            peer.connection.request_metadata(piece)
        pool.wait_for_news(at, peer.wake)
        event = await peer.listen(deadline=pool.next_deadline(now=now))
        informant.hear(event)
        _decline(peer, event)
        if isinstance(event, MetadataPiece):
            pool.received(at, event, now=trio.current_time())
        elif isinstance(event, MetadataReject):
            rejected = event.piece
            pool.rejected(at, event.piece, now=trio.current_time())


def _decline(peer: PeerStream, event: Event | None) -> None:
    """Reject a request: we have nothing to give yet, but leave nobody waiting. Spec: BEP 9."""
    if isinstance(event, MetadataRequest):
        peer.connection.answer_metadata(MetadataReject(event.piece))


def _verdict(standing: Standing, rejected: int | None) -> PeerError:
    """Return the error that ends the conversation with a peer of that standing."""
    match standing:
        case Standing.REFUSING:
            return MetadataRejected(rejected)
        case Standing.STALLED:
            return PeerTimeout("requesting", STALL_S)
        case Standing.FAULTY:
            return RemoteProtocolError("metadata pieces of the wrong length")
        case Standing.LIAR:
            return RemoteProtocolError("metadata with the wrong hash")
        case _:
            return LocalProtocolError("two conversations with one peer")
