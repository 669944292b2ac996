"""Piece layers beside the metadata: peers that have none first, and what is told of it."""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from random import Random
from typing import TypeAlias

import pytest
import trio
import trio.testing

from dht.bencode import BValue, decode, encode
from dht.contact import Endpoint, format_endpoint, parse_endpoint
from dht.keyspace import ID_BYTES, InfoHash
from dht.node import Node
from dht.testnet import Testnet
from magnet.errors import LayersRejected, PeerTimeout
from magnet.metainfo.info import Info, Version, parse_info
from magnet.metainfo.merkle import HASH_BYTES, HashTree
from magnet.metainfo.torrent import parse_torrent
from magnet.peer.connection import FEATURES, PeerConnection
from magnet.peer.extension import LOCAL_IDS, ExtensionHandshake
from magnet.peer.handshake import Reserved, generate_peer_id
from magnet.peer.hash_server import HashServer
from magnet.peer.layer_pool import LAYERS_BYTES_MAX, STALL_S
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataRequest
from magnet.peer.wire import Hashes, HashRange, HashReject, HashRequest
from magnet.resolve.completion import PATIENCE_S, PATIENCE_V1_S, Completion
from magnet.resolve.report import Report
from magnet.resolve.resolver import Resolved, open_resolver
from magnet.resolve.timeline import timeline
from magnet.sources.link import LinkSource
from magnet.sources.source import (
    DHT,
    DHT_V2,
    LSD,
    PEX,
    Candidate,
    Findings,
    PeerSource,
    SourceRecord,
    Wanted,
)
from magnet.uri import MagnetLink
from tests.magnet.resolve.cutting import cancel_after
from tests.magnet.resolve.peers import Peer, hanging_up, link_to, listening, silent

PIECE_LENGTH = 16_384
PIECES = 1_200
LAYER = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(PIECES))
ROOT = HashTree(LAYER).root

Answer: TypeAlias = Callable[[HashRange], Hashes | HashReject | None]


def raw_info(version: Version, pieces: int = PIECES) -> bytes:
    """Return the metadata of one file of so many pieces."""
    length = pieces * PIECE_LENGTH
    raw: dict[bytes, BValue] = {b"name": b"data.bin", b"piece length": PIECE_LENGTH}
    if version is not Version.V1:
        file: dict[bytes, BValue] = {b"length": length, b"pieces root": ROOT}
        raw |= {b"meta version": 2, b"file tree": {b"data.bin": {b"": file}}}
    if version is not Version.V2:
        raw |= {b"length": length, b"pieces": bytes(20) * pieces}
    return encode(raw)


V1, V2, HYBRID = (raw_info(version) for version in Version)
T0 = 1_000.0


def v2_key(info: Info) -> InfoHash:
    assert info.info_hash_v2 is not None
    return InfoHash(info.info_hash_v2[:ID_BYTES])


def true(wanted: HashRange) -> Hashes | HashReject:
    return HashServer({ROOT: LAYER}, PIECE_LENGTH).open_session().answer(wanted)


def false(wanted: HashRange) -> Hashes:
    found = true(wanted)
    assert isinstance(found, Hashes)
    return replace(found, hashes=found.hashes[::-1])


def nothing(wanted: HashRange) -> None:
    """Say nothing."""


def knowing(raw: bytes, answer: Answer | None) -> Peer:
    """Return a peer with metadata, that answers hash requests; with None it speaks v1 only."""
    info = parse_info(raw)
    known = {info.info_hash, v2_key(info) if answer is not None else None} - {None}
    server = MetadataServer(raw)
    offer = ExtensionHandshake(ids=LOCAL_IDS, metadata_size=server.metadata_size)

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(
            generate_peer_id(Random(7)), reserved=FEATURES | Reserved.V2_UPGRADE
        )
        session = server.open_session()
        async with PeerStream(stream, connection) as peer:
            received = await peer.wait_handshake_received()
            if received.info_hash not in known:
                return
            connection.accept(offer, upgrade=None if answer is None else v2_key(info))
            async for event in peer:
                if isinstance(event, MetadataRequest):
                    connection.answer_metadata(session.answer(event))
                elif isinstance(event, HashRequest) and answer is not None:
                    reply = answer(event.range)
                    if reply is not None:
                        connection.send(reply)

    return converse


async def resolve(
    node: Node, link: MagnetLink, *, timeout_s: float = 60.0
) -> tuple[Resolved, Report]:
    report = Report()
    async with open_resolver(node) as resolver:
        return await resolver.resolve(link, timeout_s=timeout_s, report=report), report


async def resolve_from(
    node: Node, raw: bytes, *peers: Peer, by: Callable[[MagnetLink], MagnetLink] = lambda it: it
) -> tuple[Resolved, Report]:
    """Resolve with these peers, each at an address of its own."""
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(listening(peer, f"127.0.0.{number}"))
            for number, peer in enumerate(peers, start=2)
        ]
        link = link_to([it.endpoint for it in listeners], parse_info(raw))
        return await resolve(node, by(link))


def layers_of(resolved: Resolved) -> Mapping[bytes, bytes]:
    return parse_torrent(resolved.torrent).piece_layers


def lacks_layers(resolved: Resolved, report: Report, why: str) -> bool:
    """Tell whether the torrent says that it lacks its layers, and why, and nothing else."""
    assert resolved.shortfall == report.shortfall == report.as_json()["shortfall"]
    assert timeline(report, now=trio.current_time())[-1] == resolved.shortfall
    assert resolved.shortfall == f"metadata without the piece layers of 1 file: {why}"
    return layers_of(resolved) == {} and b"piece layers" not in resolved.torrent


async def test_peers_that_reject_hash_requests(node: Node, clock: trio.testing.MockClock) -> None:
    resolved, report = await resolve_from(node, V2, knowing(V2, HashReject))
    assert lacks_layers(resolved, report, "1 rejecting hash requests")
    assert trio.current_time() < PATIENCE_S + 1


async def test_peers_that_never_answer_hash_requests(
    node: Node, clock: trio.testing.MockClock
) -> None:
    resolved, report = await resolve_from(node, V2, knowing(V2, nothing), knowing(V2, nothing))
    assert lacks_layers(resolved, report, "2 timed out requesting")
    assert STALL_S < trio.current_time() < PATIENCE_S + 1


async def test_peers_that_give_false_hashes(node: Node, clock: trio.testing.MockClock) -> None:
    resolved, report = await resolve_from(node, V2, knowing(V2, false))
    assert lacks_layers(resolved, report, "1 breaking the protocol")


async def test_peers_that_know_a_hybrid_as_v1_only(
    node: Node, clock: trio.testing.MockClock
) -> None:
    resolved, report = await resolve_from(node, HYBRID, knowing(HYBRID, None))
    assert lacks_layers(resolved, report, "1 hung up handshaking")
    assert resolved.info.version is Version.HYBRID


async def test_for_a_v1_link_layers_are_not_waited_for_as_long(
    node: Node, clock: trio.testing.MockClock
) -> None:
    resolved, report = await resolve_from(
        node, HYBRID, knowing(HYBRID, nothing), by=lambda link: replace(link, info_hash_v2=None)
    )
    assert lacks_layers(resolved, report, "none answered in time")
    assert trio.current_time() < PATIENCE_V1_S + 1


async def test_time_that_ends_among_layers_gives_the_metadata(
    node: Node, clock: trio.testing.MockClock
) -> None:
    async with listening(knowing(V2, nothing)) as peer:
        link = link_to([peer.endpoint], parse_info(V2))
        resolved, report = await resolve(node, link, timeout_s=3)
    assert lacks_layers(resolved, report, "none answered in time")
    assert trio.current_time() < 4


@pytest.mark.parametrize("raw", [V2, HYBRID], ids=["v2", "hybrid"])
async def test_one_honest_peer_among_others_is_enough(
    node: Node, clock: trio.testing.MockClock, raw: bytes
) -> None:
    others = [knowing(raw, answer) for answer in (HashReject, nothing, false)]
    resolved, report = await resolve_from(
        node, raw, silent, hanging_up, *others, knowing(raw, true)
    )
    assert (resolved.shortfall, report.shortfall) == (None, None)
    assert layers_of(resolved) == {ROOT: LAYER}


@pytest.mark.parametrize(
    "by",
    [
        lambda link: link,
        lambda link: replace(link, info_hash=None),
        lambda link: replace(link, info_hash_v2=None),
    ],
    ids=["both", "v2", "v1"],
)
async def test_hybrid_is_complete_by_whatever_hash_it_was_named(
    node: Node, by: Callable[[MagnetLink], MagnetLink]
) -> None:
    resolved, report = await resolve_from(node, HYBRID, knowing(HYBRID, true), by=by)
    assert layers_of(resolved) == {ROOT: LAYER}
    assert report.outcomes() == {"delivered": 1}


async def test_both_swarms_of_a_hybrid_are_one(testnet: Testnet) -> None:
    """One peer is in the v1 swarm and speaks nothing else, another in the v2 swarm."""
    info = parse_info(HYBRID)
    link = MagnetLink(info_hash=info.info_hash, info_hash_v2=info.info_hash_v2)
    assert info.info_hash is not None
    async with (
        listening(knowing(HYBRID, None)) as old,
        listening(knowing(HYBRID, true)) as new,
    ):
        await _announce(testnet, info.info_hash, old.endpoint)
        await _announce(testnet, v2_key(info), new.endpoint)
        resolved, _ = await resolve(testnet.nodes[-1], link)
    assert layers_of(resolved) == {ROOT: LAYER}


async def _announce(testnet: Testnet, key: InfoHash, peer: Endpoint) -> None:
    assert await testnet.nodes[1].announce(key, int.from_bytes(peer[-2:]))


async def test_connection_that_brought_the_metadata_brings_the_layers(node: Node) -> None:
    async with listening(knowing(V2, true)) as peer:
        resolved, _ = await resolve(node, link_to([peer.endpoint], parse_info(V2)))
        assert peer.accepted == 1
    assert layers_of(resolved) == {ROOT: LAYER}


class Bringing:
    """A source that has the whole .torrent, as a web server may."""

    name = "https://example.com/a.torrent"

    def __init__(self, layers: Mapping[bytes, bytes] | None) -> None:
        self._layers = layers

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        assert not found.metadata(V1, {ROOT: LAYER})
        assert found.metadata(V2, self._layers)


async def bring(
    monkeypatch: pytest.MonkeyPatch, node: Node, layers: Mapping[bytes, bytes] | None
) -> Resolved:
    link = MagnetLink(info_hash_v2=parse_info(V2).info_hash_v2)
    async with open_resolver(node) as resolver:
        monkeypatch.setattr(resolver, "_choose", lambda wanted: [Bringing(layers)])
        return await resolver.resolve(link)


async def test_source_may_bring_the_layers_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = await bring(monkeypatch, node, {ROOT: LAYER})
    assert layers_of(resolved) == {ROOT: LAYER}


@pytest.mark.parametrize("layers", [None, {}], ids=["none", "empty"])
async def test_source_without_layers_is_not_enough(
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    clock: trio.testing.MockClock,
    layers: Mapping[bytes, bytes] | None,
) -> None:
    resolved = await bring(monkeypatch, node, layers)
    assert resolved.raw_info == V2
    assert resolved.shortfall is not None
    assert trio.current_time() < PATIENCE_S + 1


class Lasting:
    """A source that never ends, and after a while names peers: its own, and one by peer exchange.

    Nobody is there.
    """

    def __init__(self, name: str, *hosts: str, brings: bytes = b"") -> None:
        self.name = name
        self._hosts = hosts
        self._brings = brings

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        found.metadata(self._brings)
        await trio.sleep(STALL_S / 2)
        for host, source in zip(self._hosts, (self.name, PEX), strict=False):
            found.peer(Candidate(parse_endpoint(f"{host}:1"), wanted.keys[0], source))
        await trio.sleep_forever()


@pytest.mark.parametrize("is_private", [True, False])
async def test_private_torrent_is_not_searched_for_in_public_once_it_is_known_as_such(
    node: Node, clock: trio.testing.MockClock, is_private: bool
) -> None:
    fields = decode(V2)
    assert isinstance(fields, dict)
    raw = encode(fields | {b"private": int(is_private)})
    tracker = "http://t.example/announce"
    report = Report()
    tracking = Lasting(tracker, "127.0.0.7", "127.0.0.8", brings=raw)

    def choose(_: Wanted) -> list[PeerSource]:
        public = [Lasting(name, "127.0.0.9") for name in (DHT, DHT_V2, LSD)]
        return [LinkSource(), *public, tracking]

    async with (
        listening(knowing(raw, nothing)) as peer,
        open_resolver(node, sources=choose) as resolver,
    ):
        link = link_to([peer.endpoint], parse_info(raw))
        resolved = await resolver.resolve(link, report=report)
    assert resolved.raw_info == raw
    lasted = {it.name: it.elapsed_s for it in report.sources}
    tried = {format_endpoint(it.peer) for it in report.attempts if it.peer != peer.endpoint}
    for name in (DHT, DHT_V2, LSD):
        elapsed_s = lasted[name]
        assert elapsed_s is not None
        assert (elapsed_s < 1) is is_private
    tracked_s = lasted[tracker]
    assert tracked_s is not None
    assert tracked_s > STALL_S
    others = set() if is_private else {"127.0.0.8:1", "127.0.0.9:1"}
    assert tried == {"127.0.0.7:1"} | others


async def test_cancelling_anywhere_leaves_nothing_behind(node: Node) -> None:
    """Cut after ever more steps: while metadata comes, while we dial by v2, among layers."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living

    async def wait_quiet() -> None:
        with trio.fail_after(5):
            while peer.open or held() != before:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.001)

    async with listening(knowing(HYBRID, true)) as peer:
        await trio.testing.wait_all_tasks_blocked()
        before = held()
        link = replace(link_to([peer.endpoint], parse_info(HYBRID)), info_hash_v2=None)
        for steps in count(1, 3):
            with cancel_after(steps) as scope:
                await resolve(node, link)
            await wait_quiet()
            if not scope.cancelled_caught:
                break
    assert steps > 30


@pytest.mark.parametrize("raw", [V1, raw_info(Version.V2, pieces=1)], ids=["v1", "one piece"])
def test_nothing_more_is_needed(raw: bytes) -> None:
    completion = Completion()
    assert not completion.is_over(now=T0)
    completion.begin(raw, knows_v2=True, now=T0)
    assert completion.is_over(now=T0)
    assert completion.shortfall() is None
    assert completion.layers() == {}
    assert completion.liars == frozenset()


def test_metadata_of_no_use_is_not_pondered() -> None:
    completion = Completion()
    completion.begin(b"de", knows_v2=True, now=T0)
    assert completion.is_over(now=T0)
    assert completion.info is None
    assert completion.error is not None


def test_layers_that_are_too_much_are_not_asked_for() -> None:
    completion = Completion()
    raw = raw_info(Version.V2, pieces=LAYERS_BYTES_MAX // HASH_BYTES + 1)
    completion.begin(raw, knows_v2=True, now=T0)
    assert completion.is_over(now=T0)
    assert completion.info is not None
    assert completion.shortfall() == "piece layers of more than 16777216 bytes (too-large)"


@pytest.mark.parametrize(("knows_v2", "patience_s"), [(True, PATIENCE_S), (False, PATIENCE_V1_S)])
def test_patience_ends(knows_v2: bool, patience_s: float) -> None:
    completion = Completion()
    completion.begin(V2, knows_v2=knows_v2, now=T0)
    completion.begin(V1, knows_v2=knows_v2, now=T0 + 1)
    assert not completion.is_over(now=T0 + patience_s - 1)
    assert completion.is_over(now=T0 + patience_s)
    assert completion.ends_at == T0 + patience_s


def test_reasons_are_counted() -> None:
    completion = Completion()
    completion.begin(V2, knows_v2=True, now=T0)
    alice, bob, carol = (parse_endpoint(f"192.0.2.{number}:1") for number in (1, 2, 3))
    completion.failed(carol, PeerTimeout("connecting", 5.0))
    completion.failed(carol, LayersRejected(speaks_v2=False))
    for peer in (alice, bob):
        completion.failed(peer, PeerTimeout("requesting", 5.0))
    assert completion.shortfall() == (
        "metadata without the piece layers of 1 file: "
        "2 timed out requesting, 1 without piece layers"
    )


def test_layers_of_another_source_complete_it() -> None:
    completion = Completion()
    completion.begin(V2, knows_v2=True, now=T0)
    assert completion.pool is not None
    completion.pool.offer({ROOT: LAYER})
    assert completion.is_over(now=T0)
    assert completion.shortfall() is None
    assert completion.layers() == {ROOT: LAYER}
