"""Resolving: whatever goes wrong first, over real sockets on loopback, then how it goes right."""

import hashlib
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count
from random import Random

import pytest
import trio
import trio.testing

from dht.contact import Endpoint, Scope, endpoint, format_endpoint, port_of
from dht.errors import NodeClosed
from dht.items import SigningKey, torrent_value
from dht.keyspace import ID_BYTES, InfoHash
from dht.node import Node, NodeSettings, open_node
from dht.publishing import put_item
from dht.testnet import Testnet
from magnet.errors import ResolveError, ResolveTimeout
from magnet.metainfo.torrent import parse_torrent
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import LOCAL_IDS, UT_PEX, ExtensionHandshake
from magnet.peer.fetch import LINGER_S
from magnet.peer.handshake import generate_peer_id
from magnet.peer.metadata_server import MetadataServer
from magnet.peer.stream import PeerStream
from magnet.peer.ut_metadata import MetadataRequest
from magnet.resolve import admission as admission_module
from magnet.resolve.ranking import BARE_PAUSE_S, BUSY_PAUSE_S, TRIES_MAX
from magnet.resolve.report import DELIVERED, NOT_NEEDED, UNFINISHED, Report
from magnet.resolve.resolver import TIMEOUT_S, Resolved, open_resolver
from magnet.transport.dial import LAST_CHANCE_S
from magnet.uri import MagnetLink, parse_magnet
from tests.magnet.resolve.cutting import cancel_after
from tests.magnet.resolve.peers import (
    HOST,
    HOSTILE,
    INFO,
    RAW,
    Peer,
    hanging_up,
    honest,
    link_to,
    listening,
    of_another_protocol,
    refusing,
    silent,
)

HASH = InfoHash(hashlib.sha1(RAW).digest())
UNKNOWN = InfoHash(b"\xaa" * ID_BYTES)
V2_KEY = InfoHash(hashlib.sha256(RAW).digest()[:ID_BYTES])


async def resolve(
    node: Node, link: MagnetLink, report: Report | None = None, *, timeout_s: float = TIMEOUT_S
) -> Resolved:
    """Resolve with a resolver of its own."""
    async with open_resolver(node) as resolver:
        return await resolver.resolve(link, timeout_s=timeout_s, report=report)


async def failure(
    node: Node, link: MagnetLink, report: Report, *, timeout_s: float
) -> ResolveTimeout:
    """Return the error of a resolve for which the time does not suffice."""
    with pytest.raises(ResolveTimeout) as caught:
        await resolve(node, link, report, timeout_s=timeout_s)
    return caught.value


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - that no event tells
            await trio.sleep(0.001)


async def announce(testnet: Testnet, key: InfoHash, peer: Endpoint) -> None:
    """Let a node of the testnet announce a peer at its own address."""
    assert await testnet.nodes[1].announce(key, port_of(peer))


async def test_key_under_which_nothing_is_published_leads_nowhere(testnet: Testnet) -> None:
    report = Report()
    link = MagnetLink(public_key=bytes(32))
    await failure(testnet.nodes[-1], link, report, timeout_s=0.2)
    (search,) = report.sources
    assert search.next_at is not None
    assert report.cause() == "no torrent"
    assert report.reason() == (
        "the public key leads to no torrent: nothing is published under the key"
    )


async def test_key_of_a_node_that_knows_nobody_leads_nowhere(node: Node) -> None:
    report = Report()
    await failure(node, MagnetLink(public_key=bytes(32)), report, timeout_s=0.05)
    assert report.sources[0].error == "no node is known to ask"


async def test_node_that_knows_nobody_says_so(node: Node) -> None:
    report = Report()
    error = await failure(node, MagnetLink(info_hash=UNKNOWN), report, timeout_s=0.05)
    assert error.attempts == ()
    (search,) = report.dht
    assert search.error is not None
    assert search.next_at is not None
    assert report.reason() == f"the DHT was not reached: {search.error}"


async def test_dht_without_peers_says_so(testnet: Testnet) -> None:
    report = Report()
    link = MagnetLink(info_hash=UNKNOWN)
    await failure(testnet.nodes[-1], link, report, timeout_s=0.1)
    assert report.nodes_answered == report.nodes_asked == len(testnet.nodes) - 1
    assert report.reason().startswith("no peers found: 7 nodes asked, 7 answered")


async def test_closed_node_is_an_error_of_its_own() -> None:
    async with open_node(NodeSettings(bind=[(HOST, 0)], bootstrap=())) as node:
        pass
    with pytest.raises(NodeClosed):
        await resolve(node, MagnetLink(info_hash=UNKNOWN))


async def test_node_closed_meanwhile_ends_the_resolve(clock: trio.testing.MockClock) -> None:
    settings = NodeSettings(bind=[(HOST, 0)], bootstrap=())
    async with (
        listening(silent) as peer,
        trio.open_nursery() as nursery,
        open_node(settings) as node,
    ):

        async def find_it_closed() -> None:
            with pytest.raises(NodeClosed):
                await resolve(node, link_to([peer.endpoint]), timeout_s=600)

        nursery.start_soon(find_it_closed)
        await until(lambda: peer.open == 1)
    assert trio.current_time() < 600


async def test_refused_connections_are_counted(node: Node, clock: trio.testing.MockClock) -> None:
    report = Report()
    async with refusing() as first, refusing() as second, refusing() as third:
        link = link_to([first, second, third])
        error = await failure(node, link, report, timeout_s=2 * LAST_CHANCE_S)
    assert {attempt.source for attempt in error.attempts} == set(
        map(format_endpoint, [first, second, third])
    )
    assert report.reason() == "3 peers found, none gave the metadata: 3 refused"


@pytest.mark.parametrize("kind", HOSTILE)
async def test_useless_peer_is_named_for_what_it_did(
    node: Node, clock: trio.testing.MockClock, kind: str
) -> None:
    peer, outcome = HOSTILE[kind]
    report = Report()
    async with listening(peer) as listener:
        error = await failure(node, link_to([listener.endpoint]), report, timeout_s=35)
        dials = 2 if kind == "hanging up" else 1  # plain, and then encrypted
        assert listener.accepted == dials * len(report.attempts) <= dials * TRIES_MAX
        await until(lambda: listener.open == 0)
    assert set(report.outcomes()) <= {outcome, UNFINISHED}
    assert report.attempts[0].outcome == outcome
    assert error.attempts[0].source == format_endpoint(listener.endpoint)
    assert report.trying == 0


async def test_deadline_holds_and_leaves_the_attempt_unfinished(
    node: Node, clock: trio.testing.MockClock
) -> None:
    report = Report()
    async with listening(silent) as peer:
        error = await failure(node, link_to([peer.endpoint]), report, timeout_s=3)
    assert report.elapsed_s == pytest.approx(3)
    assert error.elapsed_s == 3
    assert report.outcomes() == {UNFINISHED: 1}


@pytest.mark.parametrize("raw", [b"d4:name4:teste", b"4:name"], ids=["incomplete", "no dictionary"])
async def test_unusable_metadata_is_an_error_and_no_timeout(node: Node, raw: bytes) -> None:
    info_hash = InfoHash(hashlib.sha1(raw).digest())
    async with listening(honest(raw)) as peer:
        link = MagnetLink(info_hash=info_hash, peers=link_to([peer.endpoint]).peers)
        with pytest.raises(ResolveError, match="metadata is unusable") as caught:
            await resolve(node, link)
    assert not isinstance(caught.value, ResolveTimeout)


async def test_hybrid_link_whose_hashes_disagree_is_not_resolved(
    node: Node, clock: trio.testing.MockClock
) -> None:
    report = Report()
    async with listening(honest()) as peer:
        link = MagnetLink(
            info_hash=HASH,
            info_hash_v2=bytes(32),
            peers=link_to([peer.endpoint]).peers,
        )
        await failure(node, link, report, timeout_s=30)
    assert report.outcomes() == {"breaking the protocol": 1}


async def test_peer_that_breaks_the_protocol_is_tried_once_however_often_it_is_found(
    testnet: Testnet, clock: trio.testing.MockClock
) -> None:
    report = Report()
    async with listening(of_another_protocol) as peer:
        await announce(testnet, HASH, peer.endpoint)
        link = link_to([peer.endpoint])
        await failure(testnet.nodes[-1], link, report, timeout_s=50)
    (search,) = report.dht
    assert search.asked > 2 * (len(testnet.nodes) - 1)
    assert search.peers == 1
    assert peer.accepted == 1
    assert report.peers_found == 1


async def test_busy_peer_has_further_chances_but_not_for_ever(
    node: Node, clock: trio.testing.MockClock
) -> None:
    report = Report()
    async with listening(hanging_up) as peer:
        await failure(node, link_to([peer.endpoint]), report, timeout_s=300)
    assert peer.accepted == 2 * TRIES_MAX  # plain, and then encrypted
    begun = [attempt.began_s for attempt in report.attempts]
    pause_s = LAST_CHANCE_S + BUSY_PAUSE_S
    assert begun == pytest.approx([0, pause_s, 2 * pause_s], abs=0.1)
    assert report.as_json()["peers_tried"] == 1


async def test_only_a_peer_with_nothing_better_is_asked_to_name_others(node: Node) -> None:
    offers: list[bool] = []

    async def bare(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(generate_peer_id(Random(5)))
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(ExtensionHandshake(ids=LOCAL_IDS))
            hello = await peer.wait_extension_handshake()
            offers.append(UT_PEX in hello.ids)
            await silent(stream)

    async with listening(bare) as peer:
        await failure(node, link_to([peer.endpoint]), Report(), timeout_s=0.5)
    assert offers == [False, True]


async def test_peer_that_gets_the_metadata_later_is_asked_again(
    node: Node, clock: trio.testing.MockClock
) -> None:
    visits = count()

    async def learning(stream: trio.abc.Stream) -> None:
        kind = honest() if next(visits) else HOSTILE["without metadata"][0]
        await kind(stream)

    async with listening(learning) as peer:
        resolved = await resolve(node, link_to([peer.endpoint]))
    assert resolved.raw_info == RAW
    assert trio.current_time() <= LINGER_S + BARE_PAUSE_S


async def test_connections_for_a_link_are_bounded(
    node: Node, clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "CONNECTIONS_PER_LINK_MIN", 2)
    monkeypatch.setattr(admission_module, "CONNECTIONS_PER_LINK_MAX", 2)
    report = Report()
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(listening(silent)) for _ in range(5)]
        link = link_to([peer.endpoint for peer in peers])
        await failure(node, link, report, timeout_s=5)
        assert sum(peer.accepted for peer in peers) == 2
    assert report.peers_found == 5


async def test_connections_over_all_links_are_bounded(
    node: Node, clock: trio.testing.MockClock
) -> None:
    async with listening(silent) as first, listening(silent) as second:
        async with (
            open_resolver(node, connections_max=1) as resolver,
            trio.open_nursery() as nursery,
        ):
            for peer in (first, second):

                async def fail(at: Endpoint = peer.endpoint) -> None:
                    with pytest.raises(ResolveTimeout):
                        await resolver.resolve(link_to([at]), timeout_s=5)

                nursery.start_soon(fail)
        assert first.accepted + second.accepted == 1


async def test_dial_waits_for_the_flow_budget(node: Node, clock: trio.testing.MockClock) -> None:
    strangers = (endpoint(HOST, port) for port in count(1))
    now = trio.current_time()
    while node.budget.admits(next(strangers), now=now):
        pass
    ready_at = node.budget.ready_at(now=now)
    assert ready_at > now
    async with listening(honest()) as peer:
        await resolve(node, link_to([peer.endpoint]))
    assert trio.current_time() >= ready_at


def held() -> tuple[int, int]:
    """Return how many files and tasks there are."""
    return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 7])
async def test_cancelling_anywhere_leaves_nothing_behind(testnet: Testnet, stride: int) -> None:
    """Cut after ever more steps, until the resolve is through before it can be cancelled."""
    node = testnet.nodes[-1]
    async with listening(honest()) as peer, listening(silent) as other:
        await announce(testnet, HASH, peer.endpoint)
        before = held()
        for steps in count(1, stride):
            with cancel_after(steps) as scope:
                await resolve(node, link_to([other.endpoint]))
            await until(lambda: peer.open == other.open == 0)
            await until(lambda: held() == before)
            if not scope.cancelled_caught:
                break
    assert steps > 50


async def test_one_honest_peer_among_all_kinds_of_others_is_enough(
    node: Node, clock: trio.testing.MockClock
) -> None:
    report = Report()
    async with AsyncExitStack() as stack:
        kinds: list[Peer] = [peer for peer, _ in HOSTILE.values()]
        listeners = [
            await stack.enter_async_context(listening(peer, f"127.0.0.{number}"))
            for number, peer in enumerate([*kinds, honest()], start=2)
        ]
        link = link_to([listener.endpoint for listener in listeners])
        resolved = await resolve(node, link, report)
    assert resolved.raw_info == RAW
    assert trio.current_time() < 5
    outcomes = {attempt.peer: attempt.outcome for attempt in report.attempts}
    assert outcomes[listeners[-1].endpoint] in (DELIVERED, NOT_NEEDED)


async def test_peer_of_the_dht_delivers(testnet: Testnet) -> None:
    report = Report()
    async with listening(honest()) as peer:
        await announce(testnet, HASH, peer.endpoint)
        link = MagnetLink(info_hash=HASH)
        resolved = await resolve(testnet.nodes[-1], link, report)
    assert resolved.info == INFO
    (attempt,) = report.attempts
    assert (attempt.source, attempt.outcome) == ("dht", DELIVERED)
    assert report.first_peer_s is not None
    assert report.elapsed_s is not None
    assert 0 <= report.first_peer_s <= report.elapsed_s


async def test_peers_of_the_link_come_first(testnet: Testnet) -> None:
    report = Report()
    async with listening(silent) as found, listening(honest()) as named:
        await announce(testnet, HASH, found.endpoint)
        link = parse_magnet(
            f"magnet:?xt=urn:btih:{HASH.hex()}&x.pe=a.name.invalid:1"
            f"&x.pe={format_endpoint(named.endpoint)}",
            bound=Scope.LOOPBACK,
        )
        assert len(link.peers) == 2
        await resolve(testnet.nodes[-1], link, report)
    by_link = next(it for it in report.sources if it.name == "link")
    assert by_link.first_peer_s == pytest.approx(report.first_peer_s, abs=0.01)
    delivered = next(it for it in report.attempts if it.outcome == DELIVERED)
    assert (delivered.peer, delivered.source) == (named.endpoint, "link")
    assert found.endpoint not in {it.peer for it in report.attempts if it.outcome == DELIVERED}


async def test_key_leads_to_the_torrent_that_its_owner_published(testnet: Testnet) -> None:
    """Spec: BEP 46."""
    key = SigningKey(bytes(range(32)))
    await put_item(testnet.nodes[0], key.sign(torrent_value(HASH), 1))
    async with listening(honest()) as peer:
        await announce(testnet, HASH, peer.endpoint)
        link = MagnetLink(public_key=key.public_key)
        resolved = await resolve(testnet.nodes[-1], link)
    assert resolved.raw_info == RAW
    assert resolved.link == MagnetLink(info_hash=HASH, public_key=key.public_key)


async def test_hybrid_link_is_searched_under_both_keys(testnet: Testnet) -> None:
    report = Report()
    link = MagnetLink(info_hash=HASH, info_hash_v2=hashlib.sha256(RAW).digest())
    async with listening(honest()) as peer:
        await announce(testnet, V2_KEY, peer.endpoint)
        resolved = await resolve(testnet.nodes[-1], link, report)
    assert resolved.raw_info == RAW
    assert {search.name for search in report.dht} == {"dht", "dht v2"}


async def of_v2_swarm(stream: trio.abc.Stream) -> None:
    """Serve the metadata, and call it by its truncated v2 hash whoever asks."""
    server = MetadataServer(RAW)
    session = server.open_session()
    hello = ExtensionHandshake(ids=LOCAL_IDS, metadata_size=server.metadata_size)
    connection = PeerConnection.initiator(
        V2_KEY, generate_peer_id(Random(3)), hello, aliases=[HASH]
    )
    async with PeerStream(stream, connection) as peer:
        async for event in peer:
            if isinstance(event, MetadataRequest):
                connection.answer_metadata(session.answer(event))


async def test_peer_may_answer_a_hybrid_link_by_its_v2_hash(node: Node) -> None:
    """Spec: BEP 52 "Upgrade Path"."""
    async with listening(of_v2_swarm) as peer:
        link = MagnetLink(
            info_hash=HASH,
            info_hash_v2=hashlib.sha256(RAW).digest(),
            peers=link_to([peer.endpoint]).peers,
        )
        resolved = await resolve(node, link)
    assert resolved.raw_info == RAW


async def test_v2_link_is_resolved_by_its_truncated_hash(node: Node) -> None:
    async with listening(honest()) as peer:
        link = MagnetLink(
            info_hash_v2=hashlib.sha256(RAW).digest(), peers=link_to([peer.endpoint]).peers
        )
        resolved = await resolve(node, link)
    assert resolved.raw_info == RAW


async def test_peer_that_comes_late_is_found(
    testnet: Testnet, clock: trio.testing.MockClock
) -> None:
    report = Report()
    async with listening(honest()) as peer, trio.open_nursery() as nursery:

        async def come_late() -> None:
            await trio.sleep(8)
            await announce(testnet, HASH, peer.endpoint)

        nursery.start_soon(come_late)
        link = MagnetLink(info_hash=HASH)
        await resolve(testnet.nodes[-1], link, report)
    assert 8 < trio.current_time() < 20
    (search,) = report.dht
    assert search.asked == search.answered == 3 * (len(testnet.nodes) - 1)
    assert search.first_peer_s is not None
    assert search.first_peer_s > 8


async def test_many_links_at_once(node: Node) -> None:
    resolved: list[bytes] = []
    async with (
        listening(honest()) as peer,
        open_resolver(node, rng=Random(1)) as resolver,
        trio.open_nursery() as nursery,
    ):

        async def resolve_one() -> None:
            resolved.append((await resolver.resolve(link_to([peer.endpoint]))).raw_info)

        for _ in range(20):
            nursery.start_soon(resolve_one)
    assert resolved == [RAW] * 20


async def test_torrent_has_the_trackers_and_web_seeds_of_the_link(node: Node) -> None:
    async with listening(honest()) as peer:
        link = MagnetLink(
            info_hash=HASH,
            peers=link_to([peer.endpoint]).peers,
            trackers=("udp://tracker.example:80/announce", "https://other.example/announce"),
            web_seeds=("https://seed.example/data.bin",),
        )
        resolved = await resolve(node, link)
    torrent = parse_torrent(resolved.torrent)
    assert torrent.raw_info == RAW
    assert torrent.trackers == tuple((url,) for url in link.trackers)
    assert torrent.web_seeds == link.web_seeds


async def test_progress_shows_in_the_report(node: Node, clock: trio.testing.MockClock) -> None:
    report = Report()
    async with listening(HOSTILE["sleeping"][0]) as peer, trio.open_nursery() as nursery:

        async def fail() -> None:
            await failure(node, link_to([peer.endpoint]), report, timeout_s=5)

        nursery.start_soon(fail)
        await trio.sleep(1)
        assert report.trying == 1
        assert (report.pieces, report.pieces_needed) == (0, 2)
        assert report.elapsed_s is None
