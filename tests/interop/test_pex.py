"""Peers that only other peers know: libtorrent names them to us, and we name them to libtorrent."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest

from dht.contact import Scope, format_endpoint, host_of, port_of
from dht.node import NodeSettings, open_node
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.seeder import open_seeder
from magnet.uri import format_magnet, parse_magnet
from tests.interop.client import Client, open_client

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]

open_seed = partial(
    open_client,
    enable_dht=False,
    enable_outgoing_utp=False,
    enable_incoming_utp=False,
    close_redundant_connections=False,
)
"""Seeds have nothing to give to each other and would part, and so have nobody to name."""


async def seed(client: Client, torrent: bytes, content: Path) -> lt.torrent_handle:
    """Let a client seed, and wait until it does."""
    handle = client.add(lt.load_torrent_buffer(torrent), content.parent)
    await client.wait_alert(lt.torrent_finished_alert, lambda _: True)
    return handle


async def test_peer_without_metadata_leads_us_to_one_that_has_it(
    host: str, make_torrent: MakeTorrent, content: Path
) -> None:
    torrent, report = make_torrent(Version.V1), Report()
    settings = NodeSettings(bind=[(host, 0)], bootstrap=())
    async with (
        open_seed(host, (), ["ut_pex"]) as bare,
        open_seed(host) as giver,
        open_node(settings) as node,
        open_resolver(node) as resolver,
    ):
        await seed(giver, torrent, content)
        handle = await seed(bare, torrent, content)
        handle.connect_peer((host, port_of(giver.endpoint)))
        await bare.wait_alert(lt.peer_connect_alert, lambda _: True)
        magnet = lt.make_magnet_uri(lt.load_torrent_buffer(torrent))
        text = f"{magnet}&x.pe={format_endpoint(bare.endpoint)}"
        link = parse_magnet(text, bound=Scope.LOOPBACK)
        resolved = await resolver.resolve(link, timeout_s=15, report=report)
        assert resolved.raw_info == parse_torrent(torrent).raw_info
        assert [it.peer for it in report.attempts if it.source == "pex"] == [giver.endpoint]


async def test_libtorrent_goes_where_we_lead_it(
    make_torrent: MakeTorrent, content: Path, tmp_path: Path
) -> None:
    # On ::1 libtorrent does not tell us its port, so we could not name it.
    host = "127.0.0.1"
    torrent = make_torrent(Version.V1)
    parsed = parse_torrent(torrent)
    key = parsed.info.info_hash
    assert key is not None
    async with (
        open_seeder({key: parsed.raw_info}, hosts=[host], rng=Random(1)) as seeder,
        open_seed(host) as giver,
        open_seed(host) as taker,
    ):
        us = (host_of(seeder.endpoints[0]), seeder.port)
        given = await seed(giver, torrent, content)
        given.connect_peer(us)
        await giver.wait_alert(lt.peer_connect_alert, lambda _: True)
        link = format_magnet(parse_magnet(lt.make_magnet_uri(lt.load_torrent_buffer(torrent))))
        taken = taker.add(lt.parse_magnet_uri(link), tmp_path)
        taken.connect_peer(us)
        await taker.wait_alert(lt.torrent_finished_alert, lambda _: True)
