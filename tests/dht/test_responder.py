import random
from typing import Any, NamedTuple

import pytest

from dht.bencode import BValue, decode
from dht.contact import Contact, Endpoint, Family, address_of, decode_contacts, endpoint
from dht.keyspace import InfoHash, NodeId
from dht.krpc import (
    ANNOUNCE_PEER,
    DATAGRAM_MAX,
    FIND_NODE,
    GET_PEERS,
    TRANSACTION_ID_MAX,
    Query,
    decode_message,
    encode_query,
)
from dht.peerstore import PeerStore
from dht.responder import Responder
from dht.routing import K, RoutingTable
from dht.services.nodes import Directory, NodeService
from dht.services.peers import VALUES_MAX, PeerService
from dht.tokens import TOKEN_BYTES, Tokens
from tests.dht.samples import (
    PLACE,
    QUERIER,
    RESPONDER,
    about,
    as_bytes,
    node_id,
    public,
    public6,
    recorded,
)

HASH = InfoHash(RESPONDER)
ELSEWHERE = endpoint("192.0.2.2", 6881)
PLACE6 = endpoint("2001:db8::1", 6881)
MINUTE = 60.0


class Node(NamedTuple):
    """A responder and what it answers from."""

    responder: Responder
    directory: Directory
    table: RoutingTable
    store: PeerStore


def fresh_node(family: Family = Family.IPV4, store: PeerStore | None = None) -> Node:
    rng = random.Random(1)
    table = RoutingTable(RESPONDER, family, now=0.0)
    store = store if store is not None else PeerStore()
    directory = Directory(table)
    return Node(
        Responder(
            RESPONDER,
            NodeService(directory),
            PeerService(directory, store, Tokens(rng, now=0.0), rng),
        ),
        directory,
        table,
        store,
    )


def ask(node: Node, packet: bytes, source: Endpoint = PLACE, *, now: float = 0.0) -> Any:
    """Return the decoded answer to a packet, None for silence."""
    query = decode_message(packet)
    assert isinstance(query, Query)
    reply = node.responder.answer(query, source, now=now)
    if reply is None:
        return None
    assert len(reply) <= DATAGRAM_MAX
    return decode(reply)


def get_peers(node: Node, source: Endpoint = PLACE, *, now: float = 0.0) -> Any:
    packet = encode_query(b"aa", GET_PEERS, {b"id": QUERIER, b"info_hash": HASH})
    return ask(node, packet, source, now=now)[b"r"]


def announce(
    node: Node,
    token: BValue,
    source: Endpoint = PLACE,
    *,
    now: float = 0.0,
    **changes: BValue,
) -> Any:
    """Announce port 7; an argument given replaces the usual one."""
    arguments: dict[bytes, BValue] = {b"id": QUERIER, b"info_hash": HASH, b"port": 7}
    arguments |= {b"token": token, **{key.encode(): value for key, value in changes.items()}}
    return ask(node, encode_query(b"aa", ANNOUNCE_PEER, arguments), source, now=now)


def peers_of(node: Node, *, now: float = 0.0) -> list[Endpoint]:
    swarm = node.store.swarm(HASH, node.table.family, now=now)
    return [] if swarm is None else swarm.sample(1_000, random.Random(1))


def is_refused(message: Any, code: int = 203) -> bool:
    return bool(message[b"y"] == b"e" and message[b"e"][0] == code)


def fill(table: RoutingTable, count: int) -> None:
    place = public if table.family is Family.IPV4 else public6
    for serial in range(count):
        it = Contact(NodeId(node_id(serial % 60, serial)), place(serial))
        table.answered(it, rtt_s=0.1, now=0.0)


# Refusals and silence


@pytest.mark.parametrize("vector", recorded("krpc_messages", "refused"), ids=about)
def test_a_faulty_query_gets_an_error(vector: dict[str, Any]) -> None:
    node = fresh_node()
    message = ask(node, as_bytes(vector["packet"]))
    assert is_refused(message, vector["code"])
    assert (message[b"t"], message[b"ip"]) == (b"aa", PLACE)
    assert len(node.store) == 0


def test_what_would_make_us_a_reflector_gets_silence() -> None:
    packets = [it for it in recorded("krpc_messages", "dropped") if "third party" in it["about"]]
    assert [ask(fresh_node(), as_bytes(it["packet"])) for it in packets] == [None]


@pytest.mark.parametrize("port", [0, -1, 65_536, b"6881", []])
def test_an_announce_without_a_usable_port_is_refused(port: BValue) -> None:
    node = fresh_node()
    token = get_peers(node)[b"token"]
    assert is_refused(announce(node, token, port=port))
    assert peers_of(node) == []


def test_a_token_of_another_address_is_refused() -> None:
    node = fresh_node()
    token = get_peers(node, ELSEWHERE)[b"token"]
    assert is_refused(announce(node, token, PLACE))
    assert peers_of(node) == []


def test_a_token_for_another_info_hash_is_refused() -> None:
    node = fresh_node()
    token = get_peers(node)[b"token"]
    assert is_refused(announce(node, token, info_hash=bytes(QUERIER)))
    assert len(node.store) == 0


@pytest.mark.parametrize("phase", [0.0, 100.0, 299.0])
def test_a_token_is_good_after_9_minutes_and_too_old_after_16(phase: float) -> None:
    """BEP 5 "get_peers"."""
    node = fresh_node()
    token = get_peers(node, now=phase)[b"token"]
    assert announce(node, token, now=phase + 9 * MINUTE)[b"y"] == b"r"
    assert is_refused(announce(node, token, now=phase + 16 * MINUTE))


# Answers


@pytest.mark.parametrize("vector", recorded("krpc_messages", "answered"), ids=about)
def test_a_query_of_a_real_client_is_answered(vector: dict[str, Any]) -> None:
    node = fresh_node()
    node.directory.lend(RoutingTable(RESPONDER, Family.IPV6, now=0.0))
    packet = as_bytes(vector["packet"])
    message = ask(node, packet)
    sent = decode_message(packet)
    assert (message[b"y"], message[b"t"], message[b"ip"]) == (b"r", sent.transaction_id, PLACE)
    assert message[b"v"][:2] == b"TK"
    assert [key.decode() for key in message[b"r"]] == vector["keys"]
    assert message[b"r"][b"id"] == RESPONDER


def test_a_ping_is_answered_to_the_byte() -> None:
    """BEP 5 "ping"; BEP 42 "ip"."""
    ping = decode_message(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")
    assert isinstance(ping, Query)
    assert fresh_node().responder.answer(ping, PLACE, now=0.0) == (
        b"d2:ip6:\xc0\x00\x02\x01\x1a\xe11:rd2:id20:mnopqrstuvwxyz123456e"
        b"1:t2:aa1:v4:TK\x00\x011:y1:re"
    )


@pytest.mark.parametrize("known", [0, 3, K, 50])
def test_find_node_gives_the_nearest_nodes_at_most_k(known: int) -> None:
    node = fresh_node()
    fill(node.table, known)
    target = node_id(5, 5)
    packet = encode_query(b"aa", FIND_NODE, {b"id": QUERIER, b"target": target})
    named = decode_contacts(ask(node, packet)[b"r"][b"nodes"], Family.IPV4)
    assert set(named) == set(node.table.closest(target, K, now=0.0))
    assert len(named) == min(known, K)


def test_nodes_of_the_other_family_come_from_the_sibling_if_there_is_one() -> None:
    """BEP 32 "want"."""
    node = fresh_node(Family.IPV6)
    arguments: dict[bytes, BValue] = {b"id": QUERIER, b"target": HASH, b"want": [b"n4", b"n6"]}
    packet = encode_query(b"aa", FIND_NODE, arguments)
    assert set(ask(node, packet, PLACE6)[b"r"]) == {b"id", b"nodes6"}
    sibling = RoutingTable(RESPONDER, Family.IPV4, now=0.0)
    fill(sibling, 3)
    node.directory.lend(sibling)
    values = ask(node, packet, PLACE6)[b"r"]
    assert len(decode_contacts(values[b"nodes"], Family.IPV4)) == 3
    assert values[b"nodes6"] == b""


def test_only_the_other_family_may_be_wanted() -> None:
    node = fresh_node()
    arguments: dict[bytes, BValue] = {b"id": QUERIER, b"target": HASH, b"want": [b"n6"]}
    packet = encode_query(b"aa", FIND_NODE, arguments)
    assert set(ask(node, packet)[b"r"]) == {b"id"}
    node.directory.lend(RoutingTable(RESPONDER, Family.IPV6, now=0.0))
    assert set(ask(node, packet)[b"r"]) == {b"id", b"nodes6"}


def test_announced_peers_are_found() -> None:
    node = fresh_node()
    assert b"values" not in get_peers(node)
    token = get_peers(node)[b"token"]
    assert len(token) == TOKEN_BYTES
    assert announce(node, token)[b"r"] == {b"id": RESPONDER}
    assert get_peers(node, ELSEWHERE)[b"values"] == [endpoint("192.0.2.1", 7)]


@pytest.mark.parametrize("port", [0, 7, 70_000])
def test_an_implied_port_is_that_of_the_datagram(port: int) -> None:
    """BEP 5 "announce_peer"."""
    node = fresh_node()
    token = get_peers(node)[b"token"]
    assert announce(node, token, implied_port=1, port=port)[b"y"] == b"r"
    assert peers_of(node) == [PLACE]


def test_an_announce_in_the_form_of_utorrent_is_kept() -> None:
    node = fresh_node()
    token = get_peers(node)[b"token"]
    packet = (
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz123456"
        b"4:name1:x4:porti7e4:seedi1e5:token8:%be1:q13:announce_peer1:t4:\0\0\0\x021:v4:UT\xb7\x16"
        b"1:y1:qe"
    )
    assert ask(node, packet % token)[b"y"] == b"r"
    assert peers_of(node) == [PLACE]


def test_a_token_serves_a_source_whose_port_has_changed() -> None:
    node = fresh_node()
    token = get_peers(node, PLACE)[b"token"]
    moved = endpoint("192.0.2.1", 9_999)
    assert announce(node, token, moved, implied_port=1)[b"y"] == b"r"
    assert peers_of(node) == [moved]


def test_a_full_store_gives_no_token_but_honours_those_given() -> None:
    """BEP 33: tokens are withheld at the limit."""
    node = fresh_node(store=PeerStore(peers_per_swarm_max=1))
    first, second = get_peers(node, PLACE)[b"token"], get_peers(node, ELSEWHERE)[b"token"]
    announce(node, first, PLACE)
    assert b"token" not in get_peers(node, ELSEWHERE)
    assert b"token" in get_peers(node, PLACE)
    assert announce(node, second, ELSEWHERE)[b"y"] == b"r"
    assert [address_of(peer) for peer in peers_of(node)] == [address_of(PLACE)]


def test_a_store_that_has_emptied_gives_tokens_at_once() -> None:
    node = fresh_node(store=PeerStore(swarms_max=1))
    node.store.announce(InfoHash(QUERIER), ELSEWHERE, seed=False, now=0.0)
    assert b"token" not in get_peers(node)
    assert b"token" in get_peers(node, now=30 * MINUTE)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("want", [None, [b"n4", b"n6"]])
def test_the_largest_answer_fits_into_a_datagram(family: Family, want: list[BValue] | None) -> None:
    """BEP 32 "Message size"."""
    node = fresh_node(family)
    other = Family.IPV6 if family is Family.IPV4 else Family.IPV4
    sibling = RoutingTable(RESPONDER, other, now=0.0)
    node.directory.lend(sibling)
    fill(node.table, 50)
    fill(sibling, 50)
    place = public if family is Family.IPV4 else public6
    for serial in range(200):
        node.store.announce(HASH, place(serial), seed=False, now=0.0)
    arguments: dict[bytes, BValue] = {b"id": QUERIER, b"info_hash": HASH}
    arguments |= {} if want is None else {b"want": want}
    packet = encode_query(b"x" * TRANSACTION_ID_MAX, GET_PEERS, arguments)
    values = ask(node, packet, place(1))[b"r"]
    assert 10 <= len(values[b"values"]) <= VALUES_MAX
    if family is Family.IPV4 and want is None:
        assert len(values[b"values"]) == VALUES_MAX
