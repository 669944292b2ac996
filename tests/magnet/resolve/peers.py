"""Peers on loopback of every kind that a resolver meets, most of them of no use."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import trio

from dht.background import open_background
from dht.contact import Endpoint, endpoint, host_of, port_of
from dht.keyspace import InfoHash
from magnet.errors import PeerError
from magnet.hosts import HostPort
from magnet.metainfo.info import Info, parse_info
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import LOCAL_IDS, ExtensionHandshake
from magnet.peer.handshake import generate_peer_id
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import (
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
    piece_length,
)
from magnet.uri import MagnetLink

HOST = "127.0.0.1"

RAW = b"d6:lengthi20000000e4:name8:data.bin12:piece lengthi16384e6:pieces24420:%be" % bytes(
    index % 251 for index in range(24_420)
)
"""Metadata of two pieces."""

INFO = parse_info(RAW)

Peer: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]
Answer: TypeAlias = Callable[[MetadataRequest], MetadataPiece | MetadataReject | None]


@dataclass(slots=True)
class Listener:
    """A peer that can be dialled.

    Attributes:
        endpoint: Where.
        accepted: How often it was.
        open: Connections at present.
        most_open: Connections at the same time, at most.
    """

    endpoint: Endpoint
    accepted: int = 0
    open: int = 0
    most_open: int = 0


async def silent(stream: trio.abc.Stream) -> None:
    """Say nothing, whatever comes."""
    while await stream.receive_some():
        pass


async def hanging_up(stream: trio.abc.Stream) -> None:
    """Take leave at once."""


async def of_another_protocol(stream: trio.abc.Stream) -> None:
    """Be a web server."""
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await silent(stream)


async def of_another_torrent(stream: trio.abc.Stream) -> None:
    """Answer the greeting for a torrent that nobody asked for."""
    connection = PeerConnection.initiator(
        InfoHash(bytes(20)), generate_peer_id(Random(5)), ExtensionHandshake()
    )
    await stream.send_all(connection.data_to_send())
    await silent(stream)


def talking(answer: Answer, offer: ExtensionHandshake) -> Peer:
    """Return a peer that goes through the handshakes and then answers as it is told."""

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(generate_peer_id(Random(7)))
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(offer)
            async for event in peer:
                if isinstance(event, MetadataRequest):
                    reply = answer(event)
                    if reply is not None:
                        connection.answer_metadata(reply)

    return converse


def honest(raw: bytes = RAW) -> Peer:
    """Return a peer that has metadata and gives it."""
    server = MetadataServer(raw)

    async def converse(stream: trio.abc.Stream) -> None:
        await talking(server.open_session().answer, _offer(len(raw)))(stream)

    return converse


def lying(request: MetadataRequest) -> MetadataPiece:
    """Give something that has the right length."""
    length = piece_length(len(RAW), request.piece)
    return MetadataPiece(request.piece, len(RAW), b"\xff" * length)


def rejecting(request: MetadataRequest) -> MetadataReject:
    """Give nothing."""
    return MetadataReject(request.piece)


def sleeping(request: MetadataRequest) -> None:
    """Never answer."""


def _offer(size: int) -> ExtensionHandshake:
    return ExtensionHandshake(ids=LOCAL_IDS, metadata_size=size)


OFFER = _offer(len(RAW))

HOSTILE: dict[str, tuple[Peer, str]] = {
    "silent": (silent, "timed out handshaking"),
    "hanging up": (hanging_up, "hung up handshaking"),
    "of another protocol": (of_another_protocol, "breaking the protocol"),
    "of another torrent": (of_another_torrent, "breaking the protocol"),
    "without metadata": (talking(rejecting, ExtensionHandshake()), "without metadata"),
    "rejecting": (talking(rejecting, OFFER), "rejecting requests"),
    "lying": (talking(lying, OFFER), "breaking the protocol"),
    "sleeping": (talking(sleeping, OFFER), "timed out requesting"),
}
"""Peers of no use, and how an attempt at each ends."""


@asynccontextmanager
async def listening(peer: Peer, host: str = HOST) -> AsyncIterator[Listener]:
    """Let a peer accept connections for the time of the block."""
    (socket,) = await trio.open_tcp_listeners(0, host=host)
    bound_host, port = socket.socket.getsockname()[:2]
    listener = Listener(endpoint(bound_host, port))

    async def serve(stream: trio.SocketStream) -> None:
        listener.accepted += 1
        listener.open += 1
        listener.most_open = max(listener.most_open, listener.open)
        try:
            async with stream:
                await peer(stream)
        except (PeerError, trio.BrokenResourceError):
            pass  # The resolver may leave at any moment.
        finally:
            listener.open -= 1

    async with open_background() as background:
        background.start_soon(trio.serve_listeners, serve, [socket])
        yield listener


@asynccontextmanager
async def refusing(host: str = HOST) -> AsyncIterator[Endpoint]:
    """Hold a port on which nobody listens."""
    with trio.socket.socket() as socket:
        await socket.bind((host, 0))
        yield endpoint(host, socket.getsockname()[1])


def link_to(peers: Sequence[Endpoint], info: Info = INFO) -> MagnetLink:
    """Return a link that says itself where peers are."""
    return MagnetLink(
        info_hash=info.info_hash,
        info_hash_v2=info.info_hash_v2,
        peers=tuple(HostPort(host_of(peer), port_of(peer)) for peer in peers),
    )
