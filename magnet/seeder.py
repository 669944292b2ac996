"""A minimal seeder: it listens on TCP and hands out metadata, and the piece layers beside it.

It has no content and says so, in a `have none` where the peer understands it; requests for content
are rejected. Peers come plain or encrypted, as they like; those of one torrent are told of each
other, and introduced to each other if they ask. It knows nothing of the DHT: whoever runs it
announces its port.

Strangers open connections here, so everything is bounded: connections in all and from one address,
seconds for the handshake, of silence, and of the whole, and what one connection may draw.

Spec: BEP 3 "peer protocol"; BEP 9; BEP 10; BEP 11; BEP 52 "hash request"; BEP 55.
"""

import errno
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final, NamedTuple

import trio

from dht.background import open_background
from dht.contact import Endpoint, Family, endpoint, family_of, port_of
from dht.keyspace import InfoHash
from magnet.errors import PeerError
from magnet.metainfo.info import verify_info
from magnet.peer.acquaintances import Acquaintance, Acquaintances
from magnet.peer.connection import PeerConnection
from magnet.peer.encryption.keys import StreamKeys
from magnet.peer.extension import CLIENT_NAME, LOCAL_IDS, ExtensionHandshake, your_ip_for
from magnet.peer.handshake import Reserved, generate_peer_id
from magnet.peer.hash_server import NO_HASHES, HashServer, HashSession
from magnet.peer.metadata_server import MetadataServer, MetadataSession
from magnet.peer.shelf import Shelf
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataPiece, MetadataRequest
from magnet.peer.wire import Hashes, HashRequest, HaveNone, RejectRequest, Request
from magnet.transport.carrier import Carrier, Transport
from magnet.transport.encrypted import EncryptedStream, accept
from magnet.transport.utp.socket import UtpSocket

CONNECTIONS_MAX: Final = 200
"""Connections at once; libtorrent's default, and well below the usual limit of 1,024 files."""

CONNECTIONS_PER_ADDRESS_MAX: Final = 10
"""Connections at once from one IPv4 address or IPv6 /64: enough for a household behind one NAT."""

IDLE_S: Final = 120.0
"""Seconds without an event after which a connection is closed; it has no content to wait for."""

SESSION_S: Final = 600.0
"""Seconds a connection may last, so that nobody keeps a place for ever by being busy."""

CALLS_WAITING_MAX: Final = 10
"""Peers to be dialled that may wait; each swarm yields five a minute at most."""

_TELL_S: Final = 1.0
"""Seconds between looks at whom to tell of others; nobody is told more than once a minute."""

_NO_LAYERS: Final[Mapping[InfoHash, HashServer]] = {}

_PORT_TRIES: Final = 10
"""Attempts at finding a port that is free on all addresses."""


class _Torrent(NamedTuple):
    """What belongs to one info-hash; those who came for it keep it, also when it is let go."""

    server: MetadataServer
    hashes: HashServer
    swarm: Acquaintances
    upgrade: InfoHash | None


class _Call(NamedTuple):
    """Somebody who dials us, and is to be dialled, for the sake of a torrent."""

    key: InfoHash
    to: Endpoint


@dataclass(frozen=True, slots=True)
class SeederStatistics:
    """What a seeder has done so far.

    Attributes:
        connections: Open now.
        accepted: Connections taken since the start.
        encrypted: Connections whose handshake was encrypted.
        refused: Connections turned away because of a bound.
        unknown: Handshakes for torrents that are not here.
        failed: Connections that ended with an error.
        pieces_served: Metadata pieces given.
        requests_rejected: Requests for metadata turned down.
        hashes_served: Hash requests answered with hashes.
        hashes_rejected: Hash requests turned down.
    """

    connections: int = 0
    accepted: int = 0
    encrypted: int = 0
    refused: int = 0
    unknown: int = 0
    failed: int = 0
    pieces_served: int = 0
    requests_rejected: int = 0
    hashes_served: int = 0
    hashes_rejected: int = 0


class Seeder:
    """Serves the metadata of some torrents to whoever connects; made by `open_seeder`.

    Attributes:
        endpoints: Where it listens, one endpoint for each address; all have the same port.
    """

    def __init__(
        self,
        torrents: Mapping[InfoHash, bytes],
        endpoints: Sequence[Endpoint],
        rng: Random,
        *,
        hash_servers: Mapping[InfoHash, HashServer] = _NO_LAYERS,
    ) -> None:
        """Check the torrents.

        Args:
            torrents: Complete info dictionaries by info-hash, for v2 the truncated one.
            endpoints: Where connections come in.
            rng: Makes the peer id, and the keys and padding of encryption.
            hash_servers: What is known of piece layers, by truncated v2 info-hash.

        Raises:
            ValueError: An info dictionary has not the hash it is listed under.
            MalformedBencode: An info dictionary is not bencoded.
        """
        self.endpoints = tuple(endpoints)
        self._torrents: dict[InfoHash, _Torrent] = {}
        self._call, self._calls = trio.open_memory_channel[_Call](CALLS_WAITING_MAX)
        self._stream_keys = StreamKeys(())
        self._shelf = Shelf()
        self._take_up(torrents, hash_servers)
        self._rng = rng
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

    def offer(
        self, raw_info: bytes, keys: Iterable[InfoHash], hashes: HashServer = NO_HASHES
    ) -> None:
        """Serve one more torrent, until there is no room for it beside those offered later.

        A private torrent is not taken, nor one that is here already.

        Args:
            raw_info: The complete info dictionary.
            keys: Its info-hashes, for v2 the truncated one.
            hashes: What is known of its piece layers.

        Raises:
            ValueError: It has not one of these hashes, or is larger than peers accept.
            MalformedBencode: It is not bencoded.

        Spec: BEP 27 for private torrents.
        """
        new = {key: raw_info for key in keys if key not in self._torrents}
        if not new or MetadataServer(raw_info).metadata_size is None:
            return
        self._take_up(new, dict.fromkeys(new, hashes))
        for key in self._shelf.add(tuple(new), len(raw_info) + hashes.size):
            del self._torrents[key]
            self._stream_keys.discard(key)

    def _take_up(
        self, torrents: Mapping[InfoHash, bytes], hashes: Mapping[InfoHash, HashServer]
    ) -> None:
        for info_hash, raw_info in torrents.items():
            if not _is_metadata_of(raw_info, info_hash):
                raise ValueError(f"the metadata under {info_hash.hex()} has another hash")
        upgrades = _upgrades(torrents)
        for key, raw_info in torrents.items():
            swarm = Acquaintances(partial(self._take_call, key))
            self._torrents[key] = _Torrent(
                MetadataServer(raw_info),
                hashes.get(key, NO_HASHES),
                swarm,
                upgrades.get(key),
            )
            self._stream_keys.add(key)

    async def keep_telling(self) -> None:
        """Tell peers of each other, for ever."""
        while True:
            for torrent in self._torrents.values():
                torrent.swarm.tell_all(now=trio.current_time())
            await trio.sleep(_TELL_S)

    async def keep_dialling(self, utp: Carrier) -> None:
        """Dial peers that others introduce to us, for ever. Spec: BEP 55 "connect"."""
        async with trio.open_nursery() as nursery:
            async for key, to in self._calls:
                nursery.start_soon(self.dial, utp, key, to)

    async def dial(self, utp: Carrier, key: InfoHash, to: Endpoint) -> None:
        """Dial a peer and serve it; if it cannot be reached, do nothing.

        Args:
            utp: What to dial with.
            key: One of our torrents; for others nobody is dialled.
            to: Where the peer is.
        """
        torrent = self._torrents.get(key)
        if torrent is None:
            return
        try:
            stream = await utp.connect(to)
        except PeerError:
            return  # It may still get through to us.
        await self._admit(partial(self._approach, key, torrent), stream, to)

    async def serve(
        self, stream: trio.abc.Stream, remote: Endpoint, transport: Transport = Transport.TCP
    ) -> None:
        """Serve one peer until it leaves, breaks a rule or overstays.

        Args:
            stream: An open stream to it; it is closed at the end.
            remote: Where it is.
            transport: What carries the stream.
        """
        await self._admit(partial(self._receive, transport), stream, remote)

    async def _admit(
        self,
        converse: Callable[[trio.abc.Stream, Endpoint], Awaitable[None]],
        stream: trio.abc.Stream,
        remote: Endpoint,
    ) -> None:
        """Converse with a peer, if there is a place for it, for as long as it may stay."""
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
                await converse(stream, remote)
        except PeerError:
            self._counts["failed"] += 1
        finally:
            self._open[place] -= 1
            # A counter keeps its zeros, and strangers choose the keys.
            self._open += Counter()

    def _take_call(self, key: InfoHash, to: Endpoint) -> None:
        with suppress(trio.WouldBlock):  # Whoever is not dialled may still get through to us.
            self._call.send_nowait(_Call(key, to))

    async def _approach(
        self, key: InfoHash, torrent: _Torrent, stream: trio.abc.Stream, remote: Endpoint
    ) -> None:
        """Converse with a peer that we have dialled."""
        hello = replace(_hello(torrent.server.metadata_size, remote), port=self.port)
        connection = PeerConnection.initiator(key, self._peer_id, hello)
        async with PeerStream(stream, connection) as peer:
            await self._attend(peer, torrent, remote, Transport.UTP)

    async def _receive(
        self, transport: Transport, stream: trio.abc.Stream, remote: Endpoint
    ) -> None:
        """Converse with a peer that has dialled us."""
        connection = PeerConnection.responder(self._peer_id)
        accepted = await accept(stream, self._stream_keys, rng=self._rng)
        self._counts["encrypted"] += isinstance(accepted, EncryptedStream)
        async with PeerStream(accepted, connection) as peer:
            received = await peer.wait_handshake_received()
            torrent = self._torrents.get(received.info_hash)
            if torrent is None:
                self._counts["unknown"] += 1
                return
            connection.accept(_hello(torrent.server.metadata_size, remote), upgrade=torrent.upgrade)
            # From here on it is of the swarm by whose hash it was answered.
            agreed = self._torrents[connection.agreed_hash]
            await self._attend(peer, agreed, remote, transport)

    async def _attend(
        self, peer: PeerStream, torrent: _Torrent, remote: Endpoint, transport: Transport
    ) -> None:
        connection = peer.connection
        await peer.wait_handshake_completed()
        if Reserved.FAST in connection.shared:
            connection.send(HaveNone())
        meeting = torrent.swarm.meeting(
            connection,
            remote,
            over_utp=transport is Transport.UTP,
            wake=peer.wake,
            now=trio.current_time(),
        )
        with meeting as member:
            await self._answer(
                peer, torrent.server.open_session(), torrent.hashes.open_session(), member
            )

    async def _answer(
        self,
        peer: PeerStream,
        session: MetadataSession,
        hashes: HashSession,
        member: Acquaintance,
    ) -> None:
        while True:
            event = None
            with trio.move_on_after(IDLE_S):
                event = await peer.next_event()
            if event is None:
                return
            member.hear(event, now=trio.current_time())
            match event:
                case MetadataRequest():
                    answer = session.answer(event)
                    served = isinstance(answer, MetadataPiece)
                    self._counts["pieces_served" if served else "requests_rejected"] += 1
                    peer.connection.answer_metadata(answer)
                case HashRequest(wanted):
                    found = hashes.answer(wanted)
                    served = isinstance(found, Hashes)
                    self._counts["hashes_served" if served else "hashes_rejected"] += 1
                    peer.connection.send(found)
                case Request(index, begin, length) if Reserved.FAST in peer.connection.shared:
                    peer.connection.send(RejectRequest(index, begin, length))


@asynccontextmanager
async def open_seeder(
    torrents: Mapping[InfoHash, bytes],
    *,
    hosts: Sequence[str],
    port: int = 0,
    rng: Random,
    hash_servers: Mapping[InfoHash, HashServer] = _NO_LAYERS,
    utp: UtpSocket | None = None,
) -> AsyncIterator[Seeder]:
    """Serve the metadata of some torrents while the block runs; then close every connection.

    Args:
        torrents: Complete info dictionaries by info-hash, for v2 the truncated one.
        hosts: Literal addresses to listen on, such as `127.0.0.1` and `::1`, or `0.0.0.0` and `::`.
        port: The TCP port on all of them; 0 picks one that is free.
        rng: Makes the peer id, and the keys and padding of encryption.
        hash_servers: What is known of piece layers, by truncated v2 info-hash.
        utp: Where peers are accepted besides. They dial the one port that is announced, so this
            should have the same as TCP.

    Raises:
        OSError: The port is taken, or an address is not ours.
        ValueError: An info dictionary has not the hash it is listed under, or there is no host.
        MalformedBencode: An info dictionary is not bencoded.
    """
    if not hosts:
        raise ValueError("no address to listen on")
    listeners = await _listen(hosts, port)
    try:
        endpoints = [_bound(listener) for listener in listeners]
        seeder = Seeder(torrents, endpoints, rng, hash_servers=hash_servers)

        async def handle(stream: trio.SocketStream) -> None:
            await _serve_socket(seeder, stream)

        async def handle_utp(stream: trio.abc.Stream, remote: Endpoint) -> None:
            await seeder.serve(stream, remote, Transport.UTP)

        async with open_background() as background:
            background.start_soon(trio.serve_listeners, handle, listeners)
            if utp is not None:
                background.start_soon(utp.serve, handle_utp)
                background.start_soon(seeder.keep_dialling, utp)
            background.start_soon(seeder.keep_telling)
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
    except BaseException:
        await _close(listeners)
        raise
    return listeners


async def _close(listeners: Sequence[trio.SocketListener]) -> None:
    # The first to notice a cancellation must not keep the others from being closed.
    with trio.CancelScope(shield=True):
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
