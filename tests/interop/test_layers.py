"""Piece layers of v2 and hybrid torrents: fetched from libtorrent, and given to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import libtorrent as lt
import pytest
import trio

from dht.contact import endpoint, host_of, port_of
from dht.keyspace import ID_BYTES, InfoHash
from dht.node import NodeSettings, open_node
from dht.testnet import Testnet
from magnet.errors import PeerError
from magnet.metainfo.create import create_v2
from magnet.metainfo.info import Info, Version
from magnet.metainfo.layers import has_all_layers, layered_files
from magnet.metainfo.torrent import Torrent, build_torrent, parse_torrent
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import LOCAL_IDS, ExtensionHandshake
from magnet.peer.fetch import fetch_metadata, prepare_fetch
from magnet.peer.fetch_layers import fetch_layers
from magnet.peer.handshake import generate_peer_id
from magnet.peer.hash_server import HashServer, HashSession
from magnet.peer.layer_pool import LayerPool
from magnet.peer.metadata_pool import MetadataPool
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataRequest
from magnet.peer.wire import HashRequest, HaveAll
from magnet.resolve.report import Report
from magnet.resolve.resolver import Resolved, open_resolver
from magnet.seeder import open_seeder
from magnet.uri import MagnetLink, format_magnet
from tests.interop.client import TCP_ONLY, Client, open_client, until
from tests.interop.seeding import seeded

pytestmark = pytest.mark.interop

IN_CLEAR = {"out_enc_policy": int(lt.enc_policy.pe_disabled)}
PIECE_LENGTH = 16_384

SIZES = {
    "empty.bin": 0,
    "exact.bin": PIECE_LENGTH,  # one piece, whose hash is the root
    "just more.bin": PIECE_LENGTH + 1,
    "large.bin": 1_300 * PIECE_LENGTH - 5,  # several requests
    "lonely.bin": 513 * PIECE_LENGTH,  # whose last request is for one hash
    "small.bin": 100,
}

MakeTorrent = Callable[[Version], bytes]
V2 = pytest.mark.parametrize(
    "version", [Version.V2, Version.HYBRID], ids=lambda version: version.value
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files of every kind."""
    folder = tmp_path_factory.mktemp("layered") / "files"
    folder.mkdir()
    for name, size in SIZES.items():
        (folder / name).write_bytes(Random(size).randbytes(size))
    return folder


@pytest.fixture(scope="module")
def make_layered(files: Path) -> MakeTorrent:
    """Let libtorrent make a .torrent for them."""
    return lambda version: torrent_for(files, version)


def torrent_for(folder: Path, version: Version) -> bytes:
    flags = {Version.V2: lt.create_torrent.v2_only, Version.HYBRID: 0}
    torrent = lt.create_torrent(lt.list_files(str(folder)), PIECE_LENGTH, flags[version])
    lt.set_piece_hashes(torrent, str(folder.parent))
    return lt.bencode(torrent.generate())


async def resolve(host: str, testnet: Testnet, link: MagnetLink, report: Report) -> Resolved:
    """Resolve with a node that knows nobody but some nodes of the testnet."""
    settings = NodeSettings(bind=[(host, 0)], bootstrap=testnet.entry_points(), read_only=True)
    async with open_node(settings) as node, open_resolver(node) as resolver:
        return await resolver.resolve(link, timeout_s=20, report=report)


def without_v2(link: MagnetLink) -> MagnetLink:
    return MagnetLink(info_hash=link.info_hash)


def without_v1(link: MagnetLink) -> MagnetLink:
    return MagnetLink(info_hash_v2=link.info_hash_v2)


def v2_key(info: Info) -> InfoHash:
    assert info.info_hash_v2 is not None
    return InfoHash(info.info_hash_v2[:ID_BYTES])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "narrow"),
    [
        (Version.V2, lambda link: link),
        (Version.HYBRID, lambda link: link),
        (Version.HYBRID, without_v1),
        (Version.HYBRID, without_v2),
    ],
    ids=["v2", "hybrid", "hybrid by v2", "hybrid by v1"],
)
async def test_our_torrent_is_complete_and_libtorrent_seeds_by_it(
    host: str,
    testnet: Testnet,
    make_layered: MakeTorrent,
    files: Path,
    version: Version,
    narrow: Callable[[MagnetLink], MagnetLink],
) -> None:
    original = parse_torrent(make_layered(version))
    report = Report()
    async with seeded(host, testnet, make_layered(version), files) as link:
        resolved = await resolve(host, testnet, narrow(link), report)
    assert (resolved.shortfall, report.shortfall) == (None, None)
    ours = parse_torrent(resolved.torrent)
    assert ours.raw_info == original.raw_info
    assert ours.piece_layers == original.piece_layers
    assert len(ours.piece_layers) == 3  # of the files longer than a piece
    assert has_all_layers(ours.info, ours.piece_layers)
    async with open_client(host) as other:
        handle = other.add(lt.load_torrent_buffer(resolved.torrent), files.parent)
        await other.wait_alert(lt.torrent_finished_alert, lambda _: True)
        assert handle.status().is_seeding


async def test_files_of_the_same_content_have_one_layer(
    host: str, testnet: Testnet, tmp_path: Path
) -> None:
    folder = tmp_path / "twins"
    folder.mkdir()
    for name in ("one.bin", "other.bin"):
        (folder / name).write_bytes(bytes(range(256)) * 512)
    original = torrent_for(folder, Version.V2)
    async with seeded(host, testnet, original, folder) as link:
        resolved = await resolve(host, testnet, link, Report())
    assert parse_torrent(resolved.torrent).piece_layers == parse_torrent(original).piece_layers
    async with open_client(host) as other:
        other.add(lt.load_torrent_buffer(resolved.torrent), tmp_path)
        await other.wait_alert(lt.torrent_finished_alert, lambda _: True)


@pytest.mark.slow
@V2
async def test_libtorrent_seeds_by_a_torrent_of_our_making(
    host: str, make_layered: MakeTorrent, files: Path, version: Version
) -> None:
    contents = [([path.name], [path.read_bytes()]) for path in files.iterdir()]
    is_hybrid = version is Version.HYBRID
    created = create_v2(files.name, contents, PIECE_LENGTH, is_hybrid=is_hybrid)
    theirs = parse_torrent(make_layered(version))
    assert created.piece_layers == theirs.piece_layers
    if version is Version.V2:
        assert created.raw_info == theirs.raw_info
    ours = build_torrent(created.raw_info, piece_layers=created.piece_layers)
    async with open_client(host) as client:
        client.add(lt.load_torrent_buffer(ours), files.parent)
        await client.wait_alert(lt.torrent_finished_alert, lambda _: True)


@pytest.mark.slow
async def test_conversation_begun_by_the_v1_hash_goes_on_by_v2(
    host: str, make_layered: MakeTorrent, files: Path
) -> None:
    """BEP 52 "Upgrade Path": metadata and layers of a hybrid torrent on one connection."""
    torrent = parse_torrent(make_layered(Version.HYBRID))
    info = torrent.info
    layers = LayerPool.of(info)
    assert info.info_hash is not None
    assert layers is not None
    pool = MetadataPool(info_hash=info.info_hash, info_hash_v2=info.info_hash_v2)
    async with open_client(host) as client:
        client.add(lt.load_torrent_buffer(make_layered(Version.HYBRID)), files.parent)
        await client.wait_alert(lt.torrent_finished_alert, lambda _: True)
        at = client.endpoint
        connection = prepare_fetch(
            at, info_hash=info.info_hash, aliases=[layers.info_hash], rng=Random(1)
        )
        stream = await trio.open_tcp_stream(host, port_of(at))
        go_on = partial(fetch_layers, pool=layers, at=at)
        await fetch_metadata(stream, connection, pool, at, afterwards=go_on)
    assert connection.agreed_hash == layers.info_hash
    assert pool.metadata == torrent.raw_info
    assert layers.layers() == torrent.piece_layers


class Sharer:
    """A peer of ours that claims to have everything; libtorrent asks no others for hashes."""

    def __init__(self, torrent: Torrent) -> None:
        self.hashes = HashServer.of(torrent).open_session()
        self._torrent = torrent

    async def serve(self, stream: trio.SocketStream) -> None:
        metadata = MetadataServer(self._torrent.raw_info)
        session = metadata.open_session()
        connection = PeerConnection.responder(generate_peer_id(Random(1)))
        hello = ExtensionHandshake(ids=LOCAL_IDS, metadata_size=metadata.metadata_size)
        try:
            async with PeerStream(stream, connection) as peer:
                await peer.wait_handshake_received()
                connection.accept(hello, upgrade=v2_key(self._torrent.info))
                await peer.wait_handshake_completed()
                connection.send(HaveAll())
                async for event in peer:
                    if isinstance(event, MetadataRequest):
                        connection.answer_metadata(session.answer(event))
                    elif isinstance(event, HashRequest):
                        connection.send(self.hashes.answer(event.range))
        except PeerError:
            pass


@asynccontextmanager
async def sharing(host: str, torrent: Torrent) -> AsyncIterator[tuple[HashSession, int]]:
    """Share a torrent's metadata and layers; give what was drawn, and the port."""
    sharer = Sharer(torrent)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, sharer.serve, 0, host=host)
        (listener,) = await nursery.start(serve)
        yield sharer.hashes, listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def torrent_of(client: Client, handle: lt.torrent_handle) -> Torrent:
    """Let libtorrent write down what it knows of a torrent."""
    handle.save_resume_data(lt.save_resume_flags_t.save_info_dict)

    def written(alert: lt.save_resume_data_alert) -> bytes:
        entry: Any = lt.write_torrent_file(alert.params)
        return lt.bencode(entry)

    return parse_torrent(await client.wait_alert(lt.save_resume_data_alert, written))


@pytest.mark.slow
@V2
async def test_libtorrent_gets_its_layers_from_us(
    host: str, make_layered: MakeTorrent, version: Version, tmp_path: Path
) -> None:
    original = parse_torrent(make_layered(version))
    link = MagnetLink(info_hash=original.info.info_hash, info_hash_v2=original.info.info_hash_v2)
    runs = sum(-(-pieces // 512) for pieces in layered_files(original.info).values())
    async with (
        sharing(host, original) as (session, port),
        open_client(host, (), **TCP_ONLY, **IN_CLEAR) as client,
    ):
        handle = client.add(lt.parse_magnet_uri(format_magnet(link)), tmp_path)
        handle.connect_peer((host, port))
        await client.wait_alert(lt.metadata_received_alert, lambda _: True)
        await until(lambda: session.served >= runs)
        assert session.rejected == 0
        theirs = await torrent_of(client, handle)
    assert theirs.piece_layers == original.piece_layers


@V2
async def test_our_seeder_and_our_resolver(
    host: str, testnet: Testnet, make_layered: MakeTorrent, version: Version
) -> None:
    original = parse_torrent(make_layered(version))
    link = MagnetLink(info_hash=original.info.info_hash, info_hash_v2=original.info.info_hash_v2)
    keys = link.swarm_keys()
    servers = {v2_key(original.info): HashServer.of(original)}
    async with open_seeder(
        dict.fromkeys(keys, original.raw_info), hosts=[host], rng=Random(1), hash_servers=servers
    ) as seeder:
        at = endpoint(host, seeder.port)
        for key in keys:
            assert await testnet.nodes[0].announce(key, port_of(at))
        resolved = await resolve(host_of(at), testnet, link, Report())
        assert seeder.statistics().hashes_rejected == 0
    assert resolved.shortfall is None
    assert parse_torrent(resolved.torrent).piece_layers == original.piece_layers
