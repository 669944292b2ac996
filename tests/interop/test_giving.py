"""What we have resolved, libtorrent gets from us: where we met it, or when it comes for it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest
import trio

from dht.contact import Endpoint, host_of, port_of
from dht.node import NodeSettings, open_node
from magnet.hosts import HostPort
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.peer.hash_server import HashServer
from magnet.resolve import resolution
from magnet.resolve.resolver import open_resolver
from magnet.seeder import Seeder, open_seeder
from magnet.sources.source import Candidate, Findings, SourceRecord, Wanted
from magnet.uri import MagnetLink, format_magnet
from tests.interop.client import PATIENCE_S, TCP_ONLY, Client, open_client

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]


def link_of(torrent: bytes, *peers: Endpoint) -> MagnetLink:
    """Return the link to a .torrent that names peers."""
    info = parse_torrent(torrent).info
    at = tuple(HostPort(host_of(it), port_of(it)) for it in peers)
    return MagnetLink(info_hash=info.info_hash, info_hash_v2=info.info_hash_v2, peers=at)


@asynccontextmanager
async def seeding(host: str, torrent: bytes) -> AsyncIterator[Seeder]:
    """Serve the metadata of a .torrent, and its piece layers."""
    parsed, keys = parse_torrent(torrent), link_of(torrent).swarm_keys()
    layers = dict.fromkeys(keys, HashServer.of(parsed))
    torrents = dict.fromkeys(keys, parsed.raw_info)
    rng = Random(1)
    async with open_seeder(torrents, hosts=[host], rng=rng, hash_servers=layers) as seeder:
        yield seeder


async def metadata_of(client: Client, handle: lt.torrent_handle) -> bytes:
    """Wait until libtorrent has the metadata of a torrent, and return that."""
    await client.wait_alert(lt.metadata_received_alert, lambda _: True)
    torrent = handle.torrent_file()
    assert torrent is not None
    return torrent.info_section()


class Telling:
    """A source that names one peer at once, and another when it is told to."""

    name = "test"

    def __init__(self, first: Endpoint, then: Endpoint) -> None:
        self._first, self._then = first, then
        self.proceed = trio.Event()

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Name both for every key."""
        for peer in (self._first, self._then):
            for key in wanted.keys:
                found.peer(Candidate(peer, key, self.name))
            await self.proceed.wait()
        await trio.sleep_forever()


@pytest.mark.parametrize("version", Version, ids=lambda version: version.value)
async def test_libtorrent_that_lacks_it_gets_it_once_we_have_it(
    host: str,
    make_torrent: MakeTorrent,
    version: Version,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody tells it of the seeder, and nobody can dial us: only our connection to it is there."""
    monkeypatch.setattr(resolution, "NAMES_AFTER_S", 0.0)  # stays with it at once
    torrent = make_torrent(version)
    raw_info, link = parse_torrent(torrent).raw_info, link_of(torrent)
    async with (
        open_node(NodeSettings(bind=[(host, 0)], bootstrap=())) as node,
        open_client(host, **TCP_ONLY) as client,
        seeding(host, torrent) as seeder,
    ):
        handle = client.add(lt.parse_magnet_uri(format_magnet(link)), tmp_path)
        source = Telling(client.endpoint, seeder.endpoints[0])
        async with (
            open_resolver(node, sources=lambda wanted: [source]) as resolver,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(resolver.resolve, link)
            await client.wait_alert(lt.peer_connect_alert, lambda _: True)
            source.proceed.set()
            assert await metadata_of(client, handle) == raw_info


@pytest.mark.parametrize("version", Version, ids=lambda version: version.value)
async def test_libtorrent_and_another_resolver_get_it_where_we_serve_it(
    host: str, make_torrent: MakeTorrent, version: Version, tmp_path: Path
) -> None:
    """They come for it when whoever gave it to us is gone."""
    torrent = make_torrent(version)
    raw_info, link = parse_torrent(torrent).raw_info, link_of(torrent)
    async with (
        open_node(NodeSettings(bind=[(host, 0)], bootstrap=())) as node,
        open_seeder({}, hosts=[host], rng=Random(2)) as ours,
        open_resolver(node, seeder=ours) as resolver,
    ):
        async with seeding(host, torrent) as giver:
            await resolver.resolve(link_of(torrent, giver.endpoints[0]), timeout_s=PATIENCE_S)
        at = ours.endpoints[0]
        async with open_resolver(node) as other, open_client(host, **TCP_ONLY) as client:
            resolved = await other.resolve(link_of(torrent, at), timeout_s=PATIENCE_S)
            assert resolved.raw_info == raw_info
            handle = client.add(lt.parse_magnet_uri(format_magnet(link)), tmp_path)
            handle.connect_peer((host_of(at), port_of(at)))
            assert await metadata_of(client, handle) == raw_info
