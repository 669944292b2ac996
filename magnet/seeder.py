"""A minimal seeder: it listens on TCP and hands out metadata.

It has no content and says so, in a `have none` where the peer understands it; requests for content
are rejected. It knows nothing of the DHT either: whoever runs it announces its port.

Strangers open connections here, so everything is bounded: connections in all and from one address,
seconds for the handshake, of silence, and of the whole, and what one connection may draw.

Spec: BEP 3 "peer protocol"; BEP 9; BEP 10.
"""

import errno
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from dht.background import open_background
from dht.contact import Endpoint, Family, endpoint, family_of, port_of
from dht.keyspace import InfoHash
from magnet.errors import PeerError
from magnet.metainfo.info import verify_info
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import CLIENT_NAME, LOCAL_IDS, ExtensionHandshake, your_ip_for
from magnet.peer.handshake import Reserved, generate_peer_id
from magnet.peer.metadata_server import MetadataServer, MetadataSession
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataPiece, MetadataRequest
from magnet.peer.wire import HaveNone, RejectRequest, Request

CONNECTIONS_MAX: Final = 200
"""Connections at once; libtorrent's default, and well below the usual limit of 1,024 files."""

CONNECTIONS_PER_ADDRESS_MAX: Final = 10
"""Connections at once from one IPv4 address or IPv6 /64: enough for a household behind one NAT."""

IDLE_S: Final = 120.0
"""Seconds without an event after which a connection is closed; it has no content to wait for."""

SESSION_S: Final = 600.0
"""Seconds a connection may last, so that nobody keeps a place for ever by being busy."""

_PORT_TRIES: Final = 10
"""Attempts at finding a port that is free on all addresses."""


@dataclass(frozen=True, slots=True)
class SeederStatistics:
    """What a seeder has done so far.

    Attributes:
        connections: Open now.
        accepted: Connections taken since the start.
        refused: Connections turned away because of a bound.
        unknown: Handshakes for torrents that are not here.
        failed: Connections that ended with an error.
        pieces_served: Metadata pieces given.
        requests_rejected: Requests for metadata turned down.
    """

    connections: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    failed: int = 0
    pieces_served: int = 0
    requests_rejected: int = 0


class Seeder:
    """Serves the metadata of some torrents to whoever connects; made by `open_seeder`.

    Attributes:
        endpoints: Where it listens, one endpoint for each address; all have the same port.
    """

    def __init__(
        self, torrents: Mapping[InfoHash, bytes], endpoints: Sequence[Endpoint], rng: Random
    ) -> None:
        """Check the torrents.

        Args:
            torrents: Complete info dictionaries by info-hash, for v2 the truncated one.
            endpoints: Where connections come in.
            rng: Makes the peer id.

        Raises:
            ValueError: An info dictionary has not the hash it is listed under.
            MalformedBencode: An info dictionary is not bencoded.
        """
        for info_hash, raw_info in torrents.items():
            if not _is_metadata_of(raw_info, info_hash):
                raise ValueError(f"the metadata under {info_hash.hex()} has another hash")
        self.endpoints = tuple(endpoints)
        self._servers = {key: MetadataServer(raw_info) for key, raw_info in torrents.items()}
        self._upgrades = _upgrades(torrents)
        self._peer_id = generate_peer_id(rng)
        self._open: Counter[bytes] = Counter()
        self._counts: Counter[str] = Counter()

    @property
    def port(self) -> int:
        """The TCP port, to be announced."""
        return port_of(self.endpoints[0])

    def statistics(self) -> SeederStatistics:
        """Return the counts as they are now."""
        return SeederStatistics(connections=self._open.total(), **self._counts)

    async def serve(self, stream: trio.abc.Stream, remote: Endpoint) -> None:
        """Serve one peer until it leaves, breaks a rule or overstays.

        Args:
            stream: An open stream to it; it is closed at the end.
            remote: Where it is.
        """
        place = _place(remote)
        full = self._open.total() >= CONNECTIONS_MAX
        if full or self._open[place] >= CONNECTIONS_PER_ADDRESS_MAX:
            self._counts["refused"] += 1
            await trio.aclose_forcefully(stream)
            return
        self._open[place] += 1
        self._counts["accepted"] += 1
        try:
            with trio.move_on_after(SESSION_S):
                await self._converse(stream, remote)
        except PeerError:
            self._counts["failed"] += 1
        finally:
            self._open[place] -= 1
            # A counter keeps its zeros, and strangers choose the keys.
            self._open += Counter()

    async def _converse(self, stream: trio.abc.Stream, remote: Endpoint) -> None:
        connection = PeerConnection.responder(self._peer_id)
        async with PeerStream(stream, connection) as peer:
            received = await peer.wait_handshake_received()
            server = self._servers.get(received.info_hash)
            if server is None:
                self._counts["unknown"] += 1
                return
            connection.accept(
                _hello(server.metadata_size, remote),
                upgrade=self._upgrades.get(received.info_hash),
            )
            await peer.wait_handshake_completed()
            if Reserved.FAST in connection.shared:
                connection.send(HaveNone())
            await self._answer(peer, server.open_session())

    async def _answer(self, peer: PeerStream, session: MetadataSession) -> None:
        while True:
            event = None
            with trio.move_on_after(IDLE_S):
                event = await peer.next_event()
            match event:
                case None:
                    return
                case MetadataRequest():
                    answer = session.answer(event)
                    served = isinstance(answer, MetadataPiece)
                    self._counts["pieces_served" if served else "requests_rejected"] += 1
                    peer.connection.answer_metadata(answer)
                case Request(index, begin, length) if Reserved.FAST in peer.connection.shared:
                    peer.connection.send(RejectRequest(index, begin, length))


@asynccontextmanager
async def open_seeder(
    torrents: Mapping[InfoHash, bytes], *, hosts: Sequence[str], port: int = 0, rng: Random
) -> AsyncIterator[Seeder]:
    """Serve the metadata of some torrents while the block runs; then close every connection.

    Args:
        torrents: Complete info dictionaries by info-hash, for v2 the truncated one.
        hosts: Literal addresses to listen on, such as `127.0.0.1` and `::1`, or `0.0.0.0` and `::`.
        port: The TCP port on all of them; 0 picks one that is free.
        rng: Makes the peer id.

    Raises:
        OSError: The port is taken, or an address is not ours.
        ValueError: An info dictionary has not the hash it is listed under, or there is no host.
        MalformedBencode: An info dictionary is not bencoded.
    """
    if not hosts:
        raise ValueError("no address to listen on")
    listeners = await _listen(hosts, port)
    try:
        seeder = Seeder(torrents, [_bound(listener) for listener in listeners], rng)

        async def handle(stream: trio.SocketStream) -> None:
            await _serve_socket(seeder, stream)

        async with open_background() as background:
            background.start_soon(trio.serve_listeners, handle, listeners)
            yield seeder
    finally:
        await _close(listeners)


async def _serve_socket(seeder: Seeder, stream: trio.SocketStream) -> None:
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:  # It has hung up already.
        await trio.aclose_forcefully(stream)
        return
    await seeder.serve(stream, endpoint(host, port))


async def _listen(hosts: Sequence[str], port: int) -> list[trio.SocketListener]:
    """Listen on one port at all addresses; where any port will do, try again when it is taken."""
    for _ in range(_PORT_TRIES - 1):
        try:
            return await _listen_once(hosts, port)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    return await _listen_once(hosts, port)


async def _listen_once(hosts: Sequence[str], port: int) -> list[trio.SocketListener]:
    listeners: list[trio.SocketListener] = []
    try:
        for host in hosts:
            at = port_of(_bound(listeners[0])) if listeners else port
            listeners += await trio.open_tcp_listeners(at, host=host)
    except OSError:
        await _close(listeners)
        raise
    return listeners


async def _close(listeners: Sequence[trio.SocketListener]) -> None:
    for listener in listeners:
        await trio.aclose_forcefully(listener)


def _bound(listener: trio.SocketListener) -> Endpoint:
    host, port = listener.socket.getsockname()[:2]
    return endpoint(host, port)


def _is_metadata_of(raw_info: bytes, key: InfoHash) -> bool:
    """Tell whether metadata belongs to the key of a swarm, be that v1 or truncated v2."""
    checks = (verify_info(raw_info, key, None), verify_info(raw_info, None, key))
    return any(check.verified for check in checks)


def _upgrades(torrents: Mapping[InfoHash, bytes]) -> dict[InfoHash, InfoHash]:
    """Return the truncated v2 hash for each key of a torrent that is listed under it.

    For hybrid torrents libtorrent announces that it can upgrade, and once it has met a peer in the
    v2 swarm as well, it refuses to be answered with the v1 hash that it named itself.
    """
    v2 = {raw: key for key, raw in torrents.items() if verify_info(raw, None, key).verified}
    return {key: v2[raw] for key, raw in torrents.items() if raw in v2}


def _place(remote: Endpoint) -> bytes:
    """Return what counts as one address: an IPv4 address, or an IPv6 /64."""
    return remote[:4] if family_of(remote) is Family.IPV4 else remote[:8]


def _hello(metadata_size: int | None, remote: Endpoint) -> ExtensionHandshake:
    """Return our extension handshake; where we have no metadata to give, we do not offer any."""
    return ExtensionHandshake(
        ids={} if metadata_size is None else LOCAL_IDS,
        metadata_size=metadata_size,
        client=CLIENT_NAME,
        your_ip=your_ip_for(remote),
    )
