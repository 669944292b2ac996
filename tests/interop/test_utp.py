"""Metadata over uTP alone, both ways, with a libtorrent that neither dials nor accepts TCP."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest

from dht.contact import Family, port_of
from dht.node import NodeSettings, open_node
from dht.testnet import Testnet
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.seeder import open_seeder
from magnet.transport.carrier import Transport
from magnet.transport.dial import Dialer
from magnet.transport.utp.socket import open_utp
from magnet.uri import MagnetLink, format_magnet
from tests.interop.client import open_client, until
from tests.interop.seeding import seeded

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]

UTP_ONLY = {"enable_outgoing_tcp": False, "enable_incoming_tcp": False}


async def test_we_get_the_metadata(
    host: str, testnet: Testnet, make_torrent: MakeTorrent, content: Path
) -> None:
    original, rng, report = make_torrent(Version.V1), Random(1), Report()
    settings = NodeSettings(bind=[(host, 0)], bootstrap=testnet.entry_points(), read_only=True)
    async with (
        seeded(host, testnet, original, content, **UTP_ONLY) as link,
        open_node(settings) as node,
        open_utp(node) as utp,
        open_resolver(node, dialer=Dialer({Transport.UTP: utp}, rng=rng)) as resolver,
    ):
        resolved = await resolver.resolve(link, timeout_s=10, report=report)
        assert utp.counts.connected
        # libtorrent answers our end with its own, and both linger for a moment.
        await until(lambda: utp.connections == 0)
    assert resolved.raw_info == parse_torrent(original).raw_info


async def test_libtorrent_gets_the_metadata(
    family: Family, host: str, testnet: Testnet, make_torrent: MakeTorrent, tmp_path: Path
) -> None:
    parsed = parse_torrent(make_torrent(Version.V1))
    key = parsed.info.info_hash
    assert key is not None
    node = testnet.nodes[0]
    port = port_of(node.endpoints[family])
    async with (
        open_utp(node) as utp,
        open_seeder({key: parsed.raw_info}, hosts=[host], port=port, rng=Random(1), utp=utp),
        open_client(host, testnet.entry_points(1), **UTP_ONLY) as client,
    ):
        assert await node.announce(key, port)
        await client.wait_joined()
        link = format_magnet(MagnetLink(info_hash=key))
        handle = client.add(lt.parse_magnet_uri(link), tmp_path)
        await client.wait_alert(lt.metadata_received_alert, lambda _: True)
        torrent = handle.torrent_file()
        assert torrent is not None
        assert torrent.info_section() == parsed.raw_info
        assert utp.counts.accepted
