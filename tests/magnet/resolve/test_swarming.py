"""Links whose peers are known to other peers only: gossips and crowds first."""

from random import Random

import trio
import trio.testing

from dht.contact import Endpoint, parse_endpoint
from dht.node import Node
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import LOCAL_IDS, UT_PEX, ExtensionHandshake
from magnet.peer.fetch import LINGER_S
from magnet.peer.handshake import generate_peer_id
from magnet.peer.stream import PeerStream
from magnet.peer.ut_pex import TAKEN_PER_MESSAGE_MAX, PexMessage, PexPeer, encode_pex_message
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.uri import format_magnet
from tests.magnet.resolve.peers import RAW, Peer, honest, link_to, listening, silent

BARE = ExtensionHandshake(ids=LOCAL_IDS)


def naming(*peers: Endpoint) -> Peer:
    """Return a peer that has no metadata, and names others as soon as it may."""

    async def converse(stream: trio.abc.Stream) -> None:
        connection = PeerConnection.responder(generate_peer_id(Random(7)))
        async with PeerStream(stream, connection) as peer:
            await peer.wait_handshake_received()
            connection.accept(BARE)
            await peer.wait_handshake_completed()
            await peer.wait_extension_handshake()
            message = PexMessage(tuple(map(PexPeer, peers)))
            connection.send_extension(UT_PEX, encode_pex_message(message))
            async for _ in peer:
                pass

    return converse


async def test_gossip_costs_no_more_than_its_bounds(
    node: Node, clock: trio.testing.MockClock
) -> None:
    nobody = [parse_endpoint(f"127.0.{number >> 8}.{number & 255}:1") for number in range(2, 1002)]
    report = Report()
    async with (
        open_resolver(node) as resolver,
        listening(naming(*nobody)) as gossip,
        listening(honest()) as giver,
    ):
        with trio.move_on_after(5):
            await resolver.resolve(link_to([gossip.endpoint]), report=report)
        assert report.peers_found <= TAKEN_PER_MESSAGE_MAX + 1
        resolved = await resolver.resolve(link_to([gossip.endpoint, giver.endpoint]))
    assert resolved.raw_info == RAW


async def test_peer_that_can_only_name_others_does_not_hold_up_other_links(
    node: Node, clock: trio.testing.MockClock
) -> None:
    began_at = trio.current_time()
    async with (
        open_resolver(node, connections_max=1) as resolver,
        listening(naming()) as gossip,
        listening(honest()) as giver,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(resolver.resolve, link_to([gossip.endpoint]))
        while not gossip.open:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.01)
        resolved = await resolver.resolve(link_to([giver.endpoint]))
        nursery.cancel_scope.cancel()
    assert resolved.raw_info == RAW
    assert trio.current_time() - began_at < LINGER_S / 4


async def test_peers_out_of_our_reach_are_not_tried_whoever_names_them(
    node: Node, clock: trio.testing.MockClock
) -> None:
    report = Report()
    others = [parse_endpoint(it) for it in ("[::1]:9", "8.8.8.8:9", "192.168.1.1:9")]
    async with open_resolver(node) as resolver, listening(naming(*others)) as gossip:
        with trio.move_on_after(10):
            await resolver.resolve(link_to([*others, gossip.endpoint]), report=report)
    assert {it.peer for it in report.attempts} == {gossip.endpoint}
    assert report.peers_found == 1


async def test_text_of_a_link_is_read_by_where_we_are(node: Node) -> None:
    report = Report()
    async with open_resolver(node) as resolver, listening(honest()) as giver:
        text = format_magnet(link_to([parse_endpoint("8.8.8.8:9"), giver.endpoint]))
        resolved = await resolver.resolve(text, report=report)
    assert resolved.raw_info == RAW
    assert report.peers_found == 1


async def test_peers_lead_to_peers(node: Node, clock: trio.testing.MockClock) -> None:
    report = Report()
    async with (
        open_resolver(node) as resolver,
        listening(honest(), "127.0.0.2") as giver,
        listening(naming(giver.endpoint), "127.0.0.3") as friend,
        listening(naming(friend.endpoint), "127.0.0.4") as acquaintance,
        listening(silent) as stranger,
    ):
        link = link_to([acquaintance.endpoint, stranger.endpoint])
        resolved = await resolver.resolve(link, report=report)
    assert resolved.raw_info == RAW
    named = [it.peer for it in report.attempts if it.source == "pex"]
    assert set(named) == {giver.endpoint, friend.endpoint}
    assert {it.name: it.peers for it in report.sources}["pex"] == 2
