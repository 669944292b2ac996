"""libtorrent that can be reached in one way only, and a resolver that tries them all."""

from collections.abc import Callable
from pathlib import Path

import libtorrent as lt
import pytest

from dht.node import NodeSettings, open_node
from dht.testnet import Testnet
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from tests.interop.client import TCP_ONLY
from tests.interop.seeding import seeded

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]

ENCRYPTED_ONLY = {"in_enc_policy": int(lt.enc_policy.pe_forced)}
UTP_ONLY = {"enable_outgoing_tcp": False, "enable_incoming_tcp": False}
"""It listens on TCP all the same, and hangs up on whoever connects."""


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        (TCP_ONLY, "TCP"),
        (TCP_ONLY | ENCRYPTED_ONLY, "TCP, encrypted only"),
        (UTP_ONLY, "uTP"),
        (UTP_ONLY | ENCRYPTED_ONLY, "uTP, encrypted only"),
    ],
    ids=["TCP", "TCP encrypted", "uTP", "uTP encrypted"],
)
async def test_link_is_resolved_in_the_way_there_is(
    host: str,
    testnet: Testnet,
    make_torrent: MakeTorrent,
    content: Path,
    settings: dict[str, int],
    way: str,
) -> None:
    original, report = make_torrent(Version.V1), Report()
    ours = NodeSettings(bind=[(host, 0)], bootstrap=testnet.entry_points(), read_only=True)
    async with (
        seeded(host, testnet, original, content, **settings) as link,
        open_node(ours) as node,
        open_resolver(node) as resolver,
    ):
        resolved = await resolver.resolve(link, timeout_s=10, report=report)
    assert resolved.raw_info == parse_torrent(original).raw_info
    assert {attempt.way for attempt in report.attempts if attempt.error is None} == {way}
