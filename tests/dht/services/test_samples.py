"""Answering sample_infohashes: what is shown, for how long, and in how many bytes."""

import random
from typing import Any

import pytest

from dht.bencode import decode
from dht.contact import Contact, Family
from dht.keyspace import InfoHash, NodeId
from dht.krpc import DATAGRAM_MAX, TRANSACTION_ID_MAX, Query, decode_message, encode_query
from dht.peerstore import PeerStore
from dht.responder import Responder
from dht.routing import RoutingTable
from dht.sampling import read_samples
from dht.services.nodes import Directory, NodeService
from dht.services.samples import SAMPLES_MAX, SUBSET_LIFETIME_S, SampleService
from dht.swarm import PEER_LIFETIME_S
from tests.dht.samples import PLACE, QUERIER, RESPONDER, public, public6

QUERY = (
    b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q17:sample_infohashes"
    b"1:t2:aa1:y1:qe"
)
"""Composed from BEP 51 "Request", which gives no example, and the ids of BEP 5's."""


class Node:
    """A responder that knows the method, and what it answers from."""

    def __init__(self, family: Family = Family.IPV4) -> None:
        self.store = PeerStore()
        self.table = RoutingTable(RESPONDER, family, now=0.0)
        self.directory = Directory(self.table)
        service = SampleService(self.directory, self.store, random.Random(1))
        self.responder = Responder(RESPONDER, NodeService(self.directory), service)

    def store_swarms(self, count: int, *, now: float = 0.0, first: int = 1) -> None:
        for serial in range(first, first + count):
            self.store.announce(InfoHash(serial.to_bytes(20)), public(1), seed=False, now=now)

    def ask(self, packet: bytes = QUERY, *, now: float = 0.0) -> Any:
        query = decode_message(packet)
        assert isinstance(query, Query)
        reply = self.responder.answer(query, PLACE, now=now)
        assert reply is not None
        assert len(reply) <= DATAGRAM_MAX
        return decode(reply)

    def hashes(self, *, now: float = 0.0) -> tuple[InfoHash, ...]:
        samples = read_samples(self.ask(now=now)[b"r"])
        assert samples is not None
        return samples.info_hashes


def test_a_query_without_target_is_refused() -> None:
    packet = QUERY.replace(b"6:target20:mnopqrstuvwxyz123456", b"")
    assert Node().ask(packet)[b"e"] == [203, b"missing or invalid target"]


def test_who_stores_nothing_says_so() -> None:
    assert Node().ask()[b"r"] == {
        b"id": RESPONDER,
        b"interval": 0,
        b"nodes": b"",
        b"num": 0,
        b"samples": b"",
    }


def test_few_are_all_shown_at_any_time() -> None:
    node = Node()
    node.store_swarms(SAMPLES_MAX - 1)
    assert len(node.hashes()) == SAMPLES_MAX - 1
    node.store_swarms(1, first=SAMPLES_MAX)
    answer = node.ask(now=1.0)[b"r"]
    assert (answer[b"num"], answer[b"interval"]) == (SAMPLES_MAX, 0)
    assert len(answer[b"samples"]) == 20 * SAMPLES_MAX


def test_of_many_the_same_are_shown_for_the_time_of_the_interval() -> None:
    node = Node()
    node.store_swarms(1_000)
    first = node.ask()[b"r"]
    assert (first[b"num"], first[b"interval"]) == (1_000, SUBSET_LIFETIME_S)
    later = node.ask(now=100.5)[b"r"]
    assert later[b"samples"] == first[b"samples"]
    assert later[b"interval"] == 200
    after = node.ask(now=100.5 + later[b"interval"])[b"r"]
    assert after[b"samples"] != first[b"samples"]


def test_what_is_shown_does_not_depend_on_the_target() -> None:
    node = Node()
    node.store_swarms(100)
    elsewhere = QUERY.replace(RESPONDER, QUERIER)
    assert node.ask()[b"r"][b"samples"] == node.ask(elsewhere)[b"r"][b"samples"]


def test_in_time_all_are_shown() -> None:
    node, shown = Node(), set[InfoHash]()
    for turn in range(40):
        node.store_swarms(100, now=turn * SUBSET_LIFETIME_S)
        shown |= set(node.hashes(now=turn * SUBSET_LIFETIME_S))
    assert len(shown) == 100


def test_a_swarm_whose_peers_have_expired_is_not_shown() -> None:
    node = Node()
    node.store_swarms(100)
    just_before = PEER_LIFETIME_S - 1
    assert len(node.hashes(now=just_before)) == SAMPLES_MAX
    node.store_swarms(1, now=just_before, first=500)
    assert node.hashes(now=PEER_LIFETIME_S) == ()
    assert node.hashes(now=just_before + SUBSET_LIFETIME_S) == (InfoHash((500).to_bytes(20)),)


def test_only_what_we_would_name_peers_for_is_shown() -> None:
    node = Node(Family.IPV6)
    node.store_swarms(3)
    node.store.announce(InfoHash(QUERIER), public6(1), seed=False, now=0.0)
    answer = node.ask()[b"r"]
    assert (answer[b"num"], answer[b"samples"]) == (1, QUERIER)


@pytest.mark.parametrize("transaction_id", [b"a", b"a" * TRANSACTION_ID_MAX])
def test_the_answer_fits_in_a_datagram_even_with_nodes_of_both_families(
    transaction_id: bytes,
) -> None:
    node, sibling = Node(), RoutingTable(RESPONDER, Family.IPV6, now=0.0)
    for serial in range(8):
        spread = NodeId(bytes([serial << 5]) + bytes(19))
        node.table.answered(Contact(spread, public(serial)), rtt_s=0.1, now=0.0)
        sibling.answered(Contact(spread, public6(serial)), rtt_s=0.1, now=0.0)
    node.directory.lend(sibling)
    node.store_swarms(100)
    packet = encode_query(
        transaction_id,
        b"sample_infohashes",
        {b"id": QUERIER, b"target": RESPONDER, b"want": [b"n4", b"n6"]},
    )
    answer = node.ask(packet)[b"r"]
    assert len(answer[b"nodes"]) == 8 * 26
    assert len(answer[b"nodes6"]) == 8 * 38
    assert 14 <= len(answer[b"samples"]) // 20 <= SAMPLES_MAX
