"""Scrapes; what else get_peers and announce_peer say is tested with the responder."""

import random
from typing import Any, NamedTuple

import pytest

from dht.bencode import BValue, decode
from dht.bloom import AddressFilter
from dht.contact import Contact, Family, address_of
from dht.keyspace import InfoHash, NodeId
from dht.krpc import DATAGRAM_MAX, TRANSACTION_ID_MAX, Query, decode_message, encode_query
from dht.peerstore import PeerStore
from dht.responder import Responder
from dht.routing import RoutingTable
from dht.services.nodes import Directory, NodeService
from dht.services.peers import PeerService
from dht.tokens import Tokens
from tests.dht.samples import PLACE, QUERIER, RESPONDER, node_id, public, public6

HASH = InfoHash(RESPONDER)


class Node(NamedTuple):
    """A responder whose tables are full, and its store."""

    responder: Responder
    store: PeerStore


def fresh_node(family: Family = Family.IPV4) -> Node:
    rng, store = random.Random(1), PeerStore()
    tables = {family: RoutingTable(RESPONDER, family, now=0.0) for family in Family}
    for table, place in zip(tables.values(), (public, public6), strict=True):
        for serial in range(200):
            it = Contact(NodeId(node_id(serial % 60, serial)), place(serial))
            table.answered(it, rtt_s=0.1, now=0.0)
    directory = Directory(tables.pop(family))
    directory.lend(*tables.values())
    peers = PeerService(directory, store, Tokens(rng, now=0.0), rng)
    return Node(Responder(RESPONDER, NodeService(directory), peers), store)


def get_peers(node: Node, transaction_id: bytes = b"aa", **arguments: BValue) -> Any:
    fields: dict[bytes, BValue] = {b"id": QUERIER, b"info_hash": HASH}
    fields |= {key.encode(): value for key, value in arguments.items()}
    query = decode_message(encode_query(transaction_id, b"get_peers", fields))
    assert isinstance(query, Query)
    reply = node.responder.answer(query, PLACE, now=0.0)
    assert reply is not None
    assert len(reply) <= DATAGRAM_MAX
    message = decode(reply)
    assert isinstance(message, dict)
    return message[b"r"]


def test_a_swarm_nobody_announced_has_no_filters() -> None:
    assert get_peers(fresh_node(), scrape=1).keys() == {b"id", b"nodes", b"token"}


@pytest.mark.parametrize("scrape", [0, 2, -1, b"1", [1], {}])
def test_who_does_not_ask_for_filters_gets_none(scrape: BValue) -> None:
    node = fresh_node()
    node.store.announce(HASH, public(1), seed=True, now=0.0)
    assert get_peers(node, scrape=scrape).keys() == {b"id", b"nodes", b"token", b"values"}


def test_seeds_and_others_have_a_filter_each() -> None:
    node = fresh_node()
    node.store.announce(HASH, public(1), seed=True, now=0.0)
    node.store.announce(HASH, public(2), seed=False, now=0.0)
    values = get_peers(node, scrape=1)
    assert AddressFilter.from_bytes(values[b"BFsd"]) == AddressFilter.of([address_of(public(1))])
    assert AddressFilter.from_bytes(values[b"BFpe"]) == AddressFilter.of([address_of(public(2))])
    assert set(values[b"values"]) == {public(1), public(2)}


def test_both_filters_are_there_if_one_is_empty() -> None:
    """BEP 33: if there are entries, both are returned."""
    node = fresh_node()
    node.store.announce(HASH, public(1), seed=False, now=0.0)
    assert get_peers(node, scrape=1)[b"BFsd"] == bytes(256)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("want", [[], [b"n4"], [b"n6"], [b"n4", b"n6"]])
def test_a_scrape_fits_one_datagram(family: Family, want: list[BValue]) -> None:
    node = fresh_node(family)
    place = public if family is Family.IPV4 else public6
    for serial in range(300):
        node.store.announce(HASH, place(serial), seed=serial % 2 == 0, now=0.0)
    values = get_peers(node, bytes(TRANSACTION_ID_MAX), scrape=1, want=want)
    assert {b"BFsd", b"BFpe"} < values.keys()
    assert len(values.keys() & {b"nodes", b"nodes6"}) == 1


def test_seeds_come_last_for_who_wants_none() -> None:
    node = fresh_node()
    for serial in range(100):
        node.store.announce(HASH, public(serial), seed=serial >= 20, now=0.0)
    named = get_peers(node, noseed=1)[b"values"]
    assert set(named[:20]) == {public(serial) for serial in range(20)}
    assert len(named) == 50
