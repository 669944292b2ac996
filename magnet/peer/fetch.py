"""The conversation with one peer that brings metadata, or the reason why it does not.

Many of these run side by side, one task each, and work through one `MetadataPool`. Dialling is the
caller's work, and so is cancelling the others when the pool has the whole.

Spec: BEP 9; BEP 10.
"""

from collections.abc import Iterable
from random import Random
from typing import Final

import trio

from dht.contact import Endpoint
from dht.keyspace import InfoHash
from magnet.errors import (
    LocalProtocolError,
    MetadataRejected,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    RemoteProtocolError,
)
from magnet.peer.assembly import STALL_S
from magnet.peer.connection import PeerConnection
from magnet.peer.events import Event
from magnet.peer.extension import CLIENT_NAME, LOCAL_IDS, ExtensionHandshake, your_ip_for
from magnet.peer.handshake import Reserved, generate_peer_id
from magnet.peer.metadata_pool import MetadataPool, Standing
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataPiece, MetadataReject
from magnet.peer.wire import HaveNone

_REASK_S: Final = 0.25
"""Seconds between looks at the pool while the peer says nothing: others may have timed out or left,
and their work is free then."""


async def fetch_metadata(
    stream: trio.abc.Stream,
    pool: MetadataPool,
    at: Endpoint,
    *,
    info_hash: InfoHash,
    aliases: Iterable[InfoHash] = (),
    rng: Random,
) -> None:
    """Help a pool to its metadata: talk to one peer until the whole is there, whoever gave it.

    Args:
        stream: An open stream to the peer; it is closed at the end, in whatever way that comes.
        pool: Where pieces go and requests come from.
        at: Where the peer is, which is also its name in the pool.
        info_hash: What to ask for: 20 bytes, for v2 the truncated hash.
        aliases: The other hash of a hybrid torrent, by which the peer may answer.
        rng: Makes our peer id.

    Raises:
        MetadataRejected: The peer has no metadata, or rejects what is still missing.
        RemoteProtocolError: It broke the protocol, or what it gave is false.
        PeerTimeout: It let a deadline pass, or gave nothing for `magnet.peer.assembly.STALL_S`.
        PeerDisconnected: The stream broke, or ended before the pool had the whole.
        LocalProtocolError: Another conversation with this peer is under way.
    """
    hello = ExtensionHandshake(ids=LOCAL_IDS, client=CLIENT_NAME, your_ip=your_ip_for(at))
    peer_id = generate_peer_id(rng)
    connection = PeerConnection.initiator(info_hash, peer_id, hello, aliases=aliases)
    async with PeerStream(stream, connection) as peer:
        size = await _offered_size(peer)
        if not pool.join(at, size, now=trio.current_time()):
            raise _verdict(pool.standing(at, now=trio.current_time()), None)
        try:
            await _exchange(peer, pool, at)
        finally:
            pool.leave(at)


async def _offered_size(peer: PeerStream) -> int:
    """Go through both handshakes and return the size of the metadata the peer offers."""
    await peer.wait_handshake_completed()
    if Reserved.EXTENSION_PROTOCOL not in peer.connection.shared:
        raise MetadataRejected
    if Reserved.FAST in peer.connection.shared:
        peer.connection.send(HaveNone())
    await peer.wait_extension_handshake()
    size = peer.connection.metadata_size
    if size is None:
        raise MetadataRejected
    return size


async def _exchange(peer: PeerStream, pool: MetadataPool, at: Endpoint) -> None:
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
        # On its own, because a message must not be cut in two by the deadline below.
        await peer.flush()
        event = await _next_event(peer)
        if isinstance(event, MetadataPiece):
            pool.received(at, event, now=trio.current_time())
        elif isinstance(event, MetadataReject):
            rejected = event.piece
            pool.rejected(at, event.piece, now=trio.current_time())


async def _next_event(peer: PeerStream) -> Event | None:
    """Return the next event, or None after `_REASK_S` without one."""
    with trio.move_on_after(_REASK_S):
        event = await peer.next_event()
        if event is None:
            raise PeerDisconnected("requesting")
        return event
    return None


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
