"""A link becomes a .torrent, with libtorrent as the only peer and the DHT as the only way to it."""

from collections.abc import Callable
from pathlib import Path

import libtorrent as lt
import pytest

from dht.keyspace import InfoHash
from dht.node import NodeSettings, open_node
from dht.testnet import Testnet
from magnet.errors import ResolveTimeout
from magnet.metainfo.info import Version
from magnet.peer.ut_metadata import METADATA_PIECE_BYTES
from magnet.resolve.output import write_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import Resolved, open_resolver
from magnet.uri import MagnetLink
from tests.interop.client import open_client
from tests.interop.seeding import seeded

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]


async def resolve(
    host: str, testnet: Testnet, link: MagnetLink, report: Report, *, timeout_s: float = 10
) -> Resolved:
    """Resolve with a node that knows nobody but some nodes of the testnet."""
    settings = NodeSettings(bind=[(host, 0)], bootstrap=testnet.entry_points(), read_only=True)
    async with open_node(settings) as node, open_resolver(node) as resolver:
        return await resolver.resolve(link, timeout_s=timeout_s, report=report)


def raw_info_of(parameters: lt.add_torrent_params) -> bytes:
    """Return the info dictionary that libtorrent found in a .torrent."""
    assert parameters.ti is not None
    return parameters.ti.info_section()


@pytest.mark.slow
async def test_torrent_without_peers_is_not_resolved_and_the_report_says_why(
    host: str, testnet: Testnet
) -> None:
    report = Report()
    link = MagnetLink(info_hash=InfoHash(b"\xaa" * 20))
    async with open_client(host, testnet.entry_points()) as client:
        await client.wait_joined()
        with pytest.raises(ResolveTimeout):
            await resolve(host, testnet, link, report, timeout_s=0.5)
    assert report.nodes_answered >= len(testnet.nodes)
    assert report.reason().startswith("no peers found")


@pytest.mark.parametrize("version", Version, ids=lambda version: version.value)
async def test_link_becomes_the_torrent_that_libtorrent_seeds(
    host: str,
    testnet: Testnet,
    make_torrent: MakeTorrent,
    content: Path,
    version: Version,
    tmp_path: Path,
) -> None:
    original = make_torrent(version)
    report = Report()
    async with seeded(host, testnet, original, content) as link:
        assert not link.peers
        resolved = await resolve(host, testnet, link, report)
    assert resolved.info.version is version
    assert len(resolved.raw_info) > METADATA_PIECE_BYTES
    assert {attempt.source.split()[0] for attempt in report.attempts} == {"dht"}
    path = await write_torrent(tmp_path, resolved.info, resolved.torrent)
    theirs, ours = lt.load_torrent_buffer(original), lt.load_torrent_file(str(path))
    assert ours.info_hashes == theirs.info_hashes
    assert raw_info_of(ours) == raw_info_of(theirs)


async def test_v1_torrent_that_we_wrote_is_complete_enough_to_seed(
    host: str, testnet: Testnet, make_torrent: MakeTorrent, content: Path, tmp_path: Path
) -> None:
    async with seeded(host, testnet, make_torrent(Version.V1), content) as link:
        resolved = await resolve(host, testnet, link, Report())
    path = await write_torrent(tmp_path, resolved.info, resolved.torrent)
    async with open_client(host) as other:
        other.add(lt.load_torrent_file(str(path)), content.parent)
        await other.wait_alert(lt.torrent_finished_alert, lambda _: True)
