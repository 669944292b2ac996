import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, decode, encode
from dht.contact import Contact, Endpoint, Family, address_of, endpoint
from dht.errors import RemoteProtocolError
from dht.items import SEQ_MAX, ImmutableItem, Item, MutableItem, SigningKey
from dht.itemstore import ITEMS_PER_SOURCE_MAX, ItemStore
from dht.keyspace import NodeId
from dht.krpc import TRANSACTION_ID_MAX, Query, decode_message
from dht.responder import Responder
from dht.routing import RoutingTable
from dht.services.items import ANSWER_MAX, ItemService
from dht.services.nodes import Directory, NodeService
from dht.tokens import Tokens
from tests.dht.samples import PLACE, QUERIER, RESPONDER, node_id, public, public6

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "bep44.json").read_text()
)
PUBLIC_KEY = bytes.fromhex(VECTORS["public_key"])
SIGNATURES = [bytes.fromhex(it["signature"]) for it in VECTORS["mutable"]]

KEY = SigningKey(bytes(range(32)))
PLAIN = ImmutableItem(b"12:Hello World!")
SIGNED = KEY.sign(b"12:Hello World!", 5)
ELSEWHERE = endpoint("192.0.2.2", 6881)


class Node:
    """A responder with items, and those who ask it."""

    def __init__(self, family: Family = Family.IPV4) -> None:
        self.tokens = Tokens(random.Random(1), now=0.0)
        self.table = RoutingTable(RESPONDER, family, now=0.0)
        self.directory = Directory(self.table)
        self.store = ItemStore(RESPONDER)
        self.responder = Responder(
            RESPONDER,
            NodeService(self.directory),
            ItemService(self.directory, self.store, self.tokens),
        )

    def ask(self, packet: bytes, source: Endpoint = PLACE) -> Any:
        query = decode_message(packet)
        assert isinstance(query, Query)
        reply = self.responder.answer(query, source, now=0.0)
        assert reply is not None
        assert len(reply) <= ANSWER_MAX
        return decode(reply)

    def get(self, item: Item, source: Endpoint = PLACE, **more: BValue) -> Any:
        arguments: dict[bytes, BValue] = {b"id": QUERIER, b"target": item.target}
        arguments |= {name.encode(): value for name, value in more.items()}
        return self.ask(message(b"get", arguments), source)[b"r"]

    def put(self, item: Item, source: Endpoint = PLACE, /, **changes: BValue | None) -> Any:
        """Put an item; an argument given replaces the right one, None leaves it out."""
        arguments: dict[bytes, BValue] = {
            b"id": QUERIER,
            b"token": self.tokens.make(address_of(source), item.target, now=0.0),
            b"v": decode(item.value),
        }
        if isinstance(item, MutableItem):
            arguments |= {b"k": item.key, b"seq": item.seq, b"sig": item.signature}
            arguments |= {b"salt": item.salt} if item.salt else {}
        for name, value in changes.items():
            arguments.pop(name.encode(), None)
            if value is not None:
                arguments[name.encode()] = value
        return self.ask(message(b"put", arguments), source)


def message(method: bytes, arguments: dict[bytes, BValue]) -> bytes:
    return encode({b"a": arguments, b"q": method, b"t": b"aa", b"y": b"q"})


def is_refused(reply: Any, code: int) -> bool:
    return bool(reply[b"y"] == b"e" and reply[b"e"][0] == code)


def fill(table: RoutingTable, count: int) -> None:
    place = public if table.family is Family.IPV4 else public6
    for serial in range(count):
        it = Contact(NodeId(node_id(serial % 60, serial)), place(serial))
        table.answered(it, rtt_s=0.1, now=0.0)


@pytest.fixture
def node() -> Node:
    return Node()


# put: what is refused, in the order in which it is looked at


@pytest.mark.parametrize("item", [PLAIN, SIGNED], ids=["immutable", "mutable"])
@pytest.mark.parametrize("token", [None, b"", b"12345678", 7])
def test_a_put_without_a_good_token_is_refused(
    node: Node, item: Item, token: BValue | None
) -> None:
    assert is_refused(node.put(item, token=token), 203)
    assert len(node.store) == 0


def test_a_token_is_for_one_target_and_one_address(node: Node) -> None:
    other = node.tokens.make(address_of(PLACE), bytes(20), now=0.0)
    assert is_refused(node.put(PLAIN, token=other), 203)
    mine = node.tokens.make(address_of(PLACE), PLAIN.target, now=0.0)
    assert is_refused(node.put(PLAIN, ELSEWHERE, token=mine), 203)


@pytest.mark.parametrize("item", [PLAIN, SIGNED], ids=["immutable", "mutable"])
def test_a_put_without_a_value_is_refused(node: Node, item: Item) -> None:
    assert is_refused(node.put(item, v=None), 203)


def test_a_value_of_more_than_1000_bytes_is_refused(node: Node) -> None:
    larger = ImmutableItem(b"997:" + bytes(997))
    assert is_refused(node.put(larger), 205)
    assert is_refused(node.put(SIGNED, v=bytes(997)), 205)
    largest = ImmutableItem(b"996:" + bytes(996))
    assert node.put(largest)[b"y"] == b"r"


def test_a_salt_of_more_than_64_bytes_is_refused(node: Node) -> None:
    salted = SIGNED._replace(salt=bytes(65))
    assert is_refused(node.put(salted), 207)
    assert is_refused(node.put(SIGNED, salt=7), 203)
    assert node.put(KEY.sign(b"1:a", 1, bytes(64)))[b"y"] == b"r"


def test_a_value_that_is_not_canonical_is_refused(node: Node) -> None:
    raw = b"d1:bi1e1:ai2ee"
    token = node.tokens.make(address_of(PLACE), ImmutableItem(raw).target, now=0.0)
    packet = b"d1:ad2:id20:%b5:token8:%b1:v%be1:q3:put1:t2:aa1:y1:qe" % (QUERIER, token, raw)
    assert is_refused(node.ask(packet), 203)


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": None},
        {"sig": None},
        {"k": SIGNED.key[:31]},
        {"sig": bytes(63)},
        {"sig": 7},
        {"seq": b"5"},
        {"seq": -1},
        {"seq": SEQ_MAX + 1},
        {"cas": b"4"},
    ],
    ids=str,
)
def test_a_mutable_put_of_the_wrong_shape_is_refused(
    node: Node, changes: dict[str, BValue | None]
) -> None:
    if "k" in changes:
        changes["token"] = node.tokens.make(
            address_of(PLACE), SIGNED._replace(key=SIGNED.key[:31]).target, now=0.0
        )
    assert is_refused(node.put(SIGNED, **changes), 203)
    assert len(node.store) == 0


@pytest.mark.parametrize("name", ["k", "seq", "sig"])
def test_half_a_mutable_put_is_no_immutable_one(node: Node, name: str) -> None:
    assert is_refused(node.put(PLAIN, **{name: bytes(32)}), 203)


@pytest.mark.parametrize(
    "changes", [{"v": b"Hello World?"}, {"seq": 6}, {"sig": bytes(64)}], ids=str
)
def test_a_wrong_signature_is_refused(node: Node, changes: dict[str, BValue | None]) -> None:
    assert is_refused(node.put(SIGNED, **changes), 206)
    assert len(node.store) == 0


def test_a_wrong_signature_is_refused_before_the_store_is_asked(node: Node) -> None:
    node.put(SIGNED)
    assert is_refused(node.put(SIGNED, seq=4, cas=3), 206)


def test_a_lower_number_is_refused(node: Node) -> None:
    node.put(SIGNED)
    assert is_refused(node.put(KEY.sign(b"1:a", 4)), 302)
    assert is_refused(node.put(KEY.sign(b"1:a", 5)), 302)


def test_the_wrong_expectation_is_refused(node: Node) -> None:
    node.put(SIGNED)
    later = KEY.sign(b"1:a", 6)
    assert is_refused(node.put(later, cas=4), 301)
    assert node.put(later, cas=5)[b"y"] == b"r"


def test_beyond_the_quota_there_is_no_room(node: Node) -> None:
    for number in range(ITEMS_PER_SOURCE_MAX):
        node.put(ImmutableItem(b"i%de" % number))
    assert is_refused(node.put(PLAIN), 202)
    assert node.put(PLAIN, ELSEWHERE)[b"y"] == b"r"


def test_the_addresses_of_one_ipv6_network_share_a_quota() -> None:
    node = Node(Family.IPV6)
    for number in range(ITEMS_PER_SOURCE_MAX):
        node.put(ImmutableItem(b"i%de" % number), public6(1, host=number + 1))
    assert is_refused(node.put(PLAIN, public6(1, host=99)), 202)
    assert node.put(PLAIN, public6(2))[b"y"] == b"r"


@given(st.data())
def test_no_mangled_put_makes_answering_fail(data: st.DataObject) -> None:
    node = Node()
    salted = KEY.sign(b"d1:ali1e2:xyee", 5, b"salt")
    token = node.tokens.make(address_of(PLACE), salted.target, now=0.0)
    arguments: dict[bytes, BValue] = {b"id": QUERIER, b"token": token, b"v": decode(salted.value)}
    arguments |= {b"k": salted.key, b"salt": b"salt", b"seq": 5, b"sig": salted.signature}
    packet = bytearray(message(b"put", arguments | {b"cas": 4}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(packet) - 1))
        packet[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"d", b"l", b"e", b"i", b"0", b"-", b":", b"1:v", b"le", b"\xff"])
        )
    try:
        query = decode_message(bytes(packet))
    except RemoteProtocolError:
        return
    if isinstance(query, Query):
        assert node.responder.answer(query, PLACE, now=0.0) is not None


# put and get


@pytest.mark.parametrize(
    "item",
    [PLAIN, ImmutableItem(b"d1:ali-7ei0ee1:b0:e"), ImmutableItem(b"i%de" % 10**900), SIGNED],
    ids=["text", "nested", "a large integer", "mutable"],
)
def test_what_is_put_is_returned_to_the_byte(node: Node, item: Item) -> None:
    assert node.put(item)[b"r"] == {b"id": RESPONDER}
    values = node.get(item)
    assert encode(values[b"v"]) == item.value
    if isinstance(item, MutableItem):
        assert (values[b"k"], values[b"seq"]) == (item.key, item.seq)
        assert values[b"sig"] == item.signature
    else:
        assert values.keys() == {b"id", b"nodes", b"token", b"v"}


def test_a_token_that_get_gives_is_good_for_put(node: Node) -> None:
    token = node.get(SIGNED)[b"token"]
    assert node.put(SIGNED, token=token)[b"y"] == b"r"


def test_a_salt_is_not_returned(node: Node) -> None:
    salted = KEY.sign(b"1:a", 1, b"salt")
    node.put(salted)
    assert node.get(salted).keys() == {b"id", b"k", b"nodes", b"seq", b"sig", b"token", b"v"}


def test_what_the_querier_knows_is_not_sent_again(node: Node) -> None:
    node.put(SIGNED)
    for known in (5, 6):
        values = node.get(SIGNED, seq=known)
        assert values.keys() == {b"id", b"nodes", b"seq", b"token"}
        assert values[b"seq"] == 5
    for known_value in (4, -1, b"6"):
        assert b"v" in node.get(SIGNED, seq=known_value)


def test_without_an_item_there_are_nodes_and_a_token(node: Node) -> None:
    assert node.get(SIGNED, seq=0).keys() == {b"id", b"nodes", b"token"}


def test_get_needs_a_target(node: Node) -> None:
    assert is_refused(node.ask(message(b"get", {b"id": QUERIER})), 203)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("size", [1, 900, 996])
def test_nodes_make_way_for_a_large_item(family: Family, size: int) -> None:
    node = Node(family)
    source = PLACE if family is Family.IPV4 else public6(1)
    sibling = RoutingTable(RESPONDER, Family.IPV6 if family is Family.IPV4 else Family.IPV4, now=0)
    node.directory.lend(sibling)
    fill(node.table, 60)
    fill(sibling, 60)
    value = b"%d:" % size + bytes(size)
    item = KEY.sign(value[:999], 2**60) if size < 996 else ImmutableItem(value)
    assert node.put(item, source)[b"y"] == b"r"
    arguments: dict[bytes, BValue] = {
        b"id": QUERIER,
        b"target": item.target,
        b"want": [b"n4", b"n6"],
    }
    query = Query(bytes(TRANSACTION_ID_MAX), b"get", arguments, read_only=False)
    reply = node.responder.answer(query, source, now=0.0)
    assert reply is not None
    assert len(reply) <= ANSWER_MAX
    values: Any = decode(reply)
    own, other = (b"nodes", b"nodes6") if family is Family.IPV4 else (b"nodes6", b"nodes")
    assert len(values[b"r"][own]) >= 3 * family.contact_bytes
    assert len(values[b"r"][own]) % family.contact_bytes == 0
    assert bool(values[b"r"][other]) is (size == 1)


# Messages made of the pieces of BEP 44's vectors, as bytes


def accept_any_token(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.tokens, "is_valid", lambda *_, now: True)


def test_the_put_of_the_vectors_is_stored(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    accept_any_token(node, monkeypatch)
    packet = (
        b"d1:ad2:id20:abcdefghij01234567891:k32:%b3:seqi1e3:sig64:%b5:token8:aoeusnth"
        b"1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe" % (PUBLIC_KEY, SIGNATURES[0])
    )
    assert node.ask(packet)[b"r"] == {b"id": RESPONDER}
    target = bytes.fromhex(VECTORS["mutable"][0]["target"])
    packet = b"d1:ad2:id20:abcdefghij01234567896:target20:%be1:q3:get1:t2:aa1:y1:qe" % target
    values = node.ask(packet)[b"r"]
    assert (values[b"k"], values[b"sig"]) == (PUBLIC_KEY, SIGNATURES[0])
    assert (values[b"seq"], values[b"v"]) == (1, b"Hello World!")
    packet = b"d1:ad2:id20:abcdefghij01234567893:seqi1e6:target20:%be1:q3:get1:t2:aa1:y1:qe"
    assert b"v" not in node.ask(packet % target)[b"r"]


def test_the_put_of_the_vectors_with_a_salt_is_stored(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_any_token(node, monkeypatch)
    packet = (
        b"d1:ad3:casi1e2:id20:abcdefghij01234567891:k32:%b4:salt6:foobar3:seqi1e3:sig64:%b"
        b"5:token8:aoeusnth1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe" % (PUBLIC_KEY, SIGNATURES[1])
    )
    assert node.ask(packet)[b"r"] == {b"id": RESPONDER}
    target = bytes.fromhex(VECTORS["mutable"][1]["target"])
    assert node.store.get(target, now=0.0) is not None
