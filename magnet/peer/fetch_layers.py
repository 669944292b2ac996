"""The conversation with one peer that brings piece layers, or the reason why it does not.

It follows the one about metadata on the same stream, or stands alone where another peer has brought
the metadata. As with `magnet.peer.fetch`, many run side by side and work through one pool.

Spec: BEP 52 "hash request", "hashes", "hash reject".
"""

from random import Random

import trio

from dht.contact import Endpoint
from magnet.errors import (
    LayersRejected,
    LocalProtocolError,
    PeerError,
    PeerTimeout,
    RemoteProtocolError,
)
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import CLIENT_NAME, ExtensionHandshake, your_ip_for
from magnet.peer.handshake import Reserved, generate_peer_id
from magnet.peer.layer_pool import STALL_S, LayerPool
from magnet.peer.metadata_pool import Standing
from magnet.peer.stream import PeerStream
from magnet.peer.wire import Hashes, HashReject, HashRequest, HaveNone


def prepare_layers(pool: LayerPool, at: Endpoint, *, rng: Random) -> PeerConnection:
    """Begin our side of a conversation about nothing but layers.

    Args:
        pool: What it is to help.
        at: Where the peer is.
        rng: Makes our peer id.
    """
    hello = ExtensionHandshake(client=CLIENT_NAME, your_ip=your_ip_for(at))
    return PeerConnection.initiator(pool.info_hash, generate_peer_id(rng), hello)


async def wait_handshakes(peer: PeerStream) -> None:
    """Go through the handshakes with a peer of whom only layers are wanted.

    Raises:
        PeerError: As for `magnet.peer.stream.PeerStream`.
    """
    await peer.wait_handshake_completed()
    if Reserved.FAST in peer.connection.shared:
        peer.connection.send(HaveNone())
    if Reserved.EXTENSION_PROTOCOL in peer.connection.shared:
        await peer.wait_extension_handshake()


async def fetch_layers(peer: PeerStream, pool: LayerPool, at: Endpoint) -> None:
    """Help a pool to its layers: talk to one peer until all are there, whoever gave them.

    Args:
        peer: A peer after the handshakes.
        pool: Where hashes go and requests come from.
        at: Where the peer is, which is also its name in the pool.

    Raises:
        LayersRejected: It knows the torrent as v1 only, or rejects what is still missing.
        RemoteProtocolError: It broke the protocol, or what it gave is false.
        PeerTimeout: It gave nothing for `magnet.peer.layer_pool.STALL_S`.
        PeerDisconnected: The stream broke, or ended before the pool had everything.
        LocalProtocolError: Another conversation with this peer is under way.
    """
    if pool.is_complete:
        return
    if peer.connection.agreed_hash != pool.info_hash:
        raise LayersRejected(speaks_v2=False)
    if not pool.join(at, now=trio.current_time()):
        raise _verdict(pool.standing(at, now=trio.current_time()))
    try:
        await _exchange(peer, pool, at)
    finally:
        pool.leave(at)


async def _exchange(peer: PeerStream, pool: LayerPool, at: Endpoint) -> None:
    while not pool.is_complete:
        now = trio.current_time()
        standing = pool.standing(at, now=now)
        if standing is not Standing.USEFUL:
            raise _verdict(standing)
        while (wanted := pool.next_request(at, now=now)) is not None:
            peer.connection.send(HashRequest(wanted))
        pool.wait_for_news(at, peer.wake)
        event = await peer.listen(deadline=pool.next_deadline(at))
        match event:
            case Hashes():
                pool.received(at, event, now=trio.current_time())
            case HashReject(range=refused):
                pool.rejected(at, refused)
            case HashRequest(range=theirs):  # We are here to take, but leave nobody waiting.
                peer.connection.send(HashReject(theirs))


def _verdict(standing: Standing) -> PeerError:
    """Return the error that ends the conversation with a peer of that standing."""
    match standing:
        case Standing.REFUSING:
            return LayersRejected(speaks_v2=True)
        case Standing.STALLED:
            return PeerTimeout("requesting", STALL_S)
        case Standing.FAULTY:
            return RemoteProtocolError("hashes that nobody asked for")
        case Standing.LIAR:
            return RemoteProtocolError("hashes that do not lead to their root")
        case _:
            return LocalProtocolError("two conversations with one peer")
