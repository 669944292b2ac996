"""Everything beyond the DHT that a link names, opened at once."""

import hashlib

import trio

from dht.contact import Endpoint, Family, endpoint
from dht.keyspace import InfoHash
from dht.node import NodeSettings, open_node
from magnet.hosts import HostPort
from magnet.metainfo.create import create_file_info
from magnet.metainfo.torrent import build_torrent
from magnet.resolve.resolver import open_resolver
from magnet.sources.named import open_named_sources
from magnet.sources.named_peers import NAME
from magnet.sources.source import SourceRecord, Wanted
from magnet.uri import MagnetLink
from tests.magnet.sources.conftest import Findings
from tests.magnet.sources.servers import Swarms, open_udp_tracker, open_web_server, response

HOST = "127.0.0.1"
BOUND = {Family.IPV4: endpoint(HOST, 0)}
RAW = create_file_info("file.bin", [b"content"], 16_384)
KEY = InfoHash(b"\xaa" * 20)


async def admit(_: Endpoint) -> None:
    await trio.lowlevel.checkpoint()


async def test_link_that_names_nothing_has_no_sources() -> None:
    peers = (HostPort(HOST, 6_881),)
    async with open_named_sources(BOUND, admit) as named:
        assert named.sources(Wanted(MagnetLink(info_hash=KEY, peers=peers), (KEY,))) == []


async def test_link_is_resolved_by_its_exact_source_only() -> None:
    async with (
        open_web_server(HOST, lambda _: response(build_torrent(RAW))) as url,
        open_node(NodeSettings(bind=[(HOST, 0)], bootstrap=())) as node,
        open_resolver(node) as resolver,
    ):
        info_hash = InfoHash(hashlib.sha1(RAW).digest())
        link = MagnetLink(info_hash=info_hash, exact_sources=(f"{url}/x.torrent",))
        resolved = await resolver.resolve(link, timeout_s=5)
    assert resolved.raw_info == RAW


async def test_each_thing_that_a_link_names_is_a_source() -> None:
    link = MagnetLink(
        info_hash=KEY,
        trackers=("udp://t.example:1337", "https://t.example/announce"),
        peers=(HostPort("peer.example", 6_881),),
        exact_sources=("http://h.example/1",),
        acceptable_sources=("http://h.example/2", "http://h.example/1"),
        web_seeds=("http://h.example/content",),
    )
    async with open_named_sources(BOUND, admit) as named:
        sources = named.sources(Wanted(link, (KEY,)))
    assert [it.name for it in sources] == [
        NAME,
        "udp://t.example:1337",
        "https://t.example/announce",
        "http://h.example/1",
        "http://h.example/2",
    ]


async def test_sources_find_what_is_there() -> None:
    swarms = Swarms(peers={KEY: {endpoint(HOST, 7_000): True}})
    found = Findings(RAW)
    async with (
        open_udp_tracker(HOST, swarms) as tracker,
        open_web_server(HOST, lambda _: response(build_torrent(RAW))) as url,
        open_named_sources(BOUND, admit) as named,
        trio.open_nursery() as nursery,
    ):
        link = MagnetLink(info_hash=KEY, trackers=(tracker,), exact_sources=(f"{url}/x",))
        wanted = Wanted(link, (KEY,))
        for source in named.sources(wanted):
            nursery.start_soon(source.run, wanted, found, SourceRecord(source.name))
        assert await found.wait_peers() == [endpoint(HOST, 7_000)]
        with trio.fail_after(5):
            while not found.wholes:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert found.wholes == [RAW]
