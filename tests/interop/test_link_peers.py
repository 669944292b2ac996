"""A link that names its peer: libtorrent is found without the DHT or anybody else."""

from collections.abc import Callable
from pathlib import Path

import libtorrent as lt
import pytest

from dht.contact import Family, Scope, format_endpoint, port_of
from dht.node import NodeSettings, open_node
from magnet.metainfo.info import Version
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.uri import parse_magnet
from tests.interop.client import Client

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]

METADATA_BYTES = 500_000


async def peer_of(
    client: Client, host: str, torrent: bytes, content: Path, *, by_name: bool = False
) -> tuple[lt.add_torrent_params, Report, bytes]:
    """Let libtorrent seed, and resolve a link that names it; the node knows no other."""
    theirs = lt.load_torrent_buffer(torrent)
    client.add(theirs, content.parent)
    await client.wait_alert(lt.torrent_finished_alert, lambda _: True)
    at = f"localhost:{port_of(client.endpoint)}" if by_name else format_endpoint(client.endpoint)
    link = parse_magnet(f"{lt.make_magnet_uri(theirs)}&x.pe={at}", bound=Scope.LOOPBACK)
    report = Report()
    alone = NodeSettings(bind=[(host, 0)], bootstrap=[], read_only=True)
    async with open_node(alone) as node, open_resolver(node) as resolver:
        resolved = await resolver.resolve(link, timeout_s=15, report=report)
    return theirs, report, resolved.raw_info


@pytest.mark.parametrize("version", Version, ids=lambda version: version.value)
async def test_peer_by_its_address(
    client: Client, host: str, make_torrent: MakeTorrent, content: Path, version: Version
) -> None:
    theirs, report, raw_info = await peer_of(client, host, make_torrent(version), content)
    assert theirs.ti is not None
    assert raw_info == theirs.ti.info_section()
    assert {attempt.source for attempt in report.attempts} == {"link"}
    assert report.nodes_asked == 0


@pytest.mark.parametrize("family", [Family.IPV4])  # Not every machine calls ::1 so, too.
async def test_peer_by_its_name(
    client: Client, host: str, make_torrent: MakeTorrent, content: Path
) -> None:
    torrent = make_torrent(Version.V1)
    theirs, _, raw_info = await peer_of(client, host, torrent, content, by_name=True)
    assert theirs.ti is not None
    assert raw_info == theirs.ti.info_section()


async def test_metadata_of_half_a_megabyte(client: Client, host: str, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(METADATA_BYTES // 240):
        (folder / f"{number:04} {'n' * 235}").write_bytes(b"x")
    torrent = lt.create_torrent(lt.list_files(str(folder)), 16_384, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, str(tmp_path))
    theirs, _, raw_info = await peer_of(client, host, lt.bencode(torrent.generate()), folder)
    assert len(raw_info) > METADATA_BYTES
    assert theirs.ti is not None
    assert raw_info == theirs.ti.info_section()
