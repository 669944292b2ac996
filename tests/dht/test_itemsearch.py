import random

import pytest

from dht.bencode import BValue, decode, encode
from dht.contact import Contact
from dht.errors import QueryTimeout
from dht.items import ImmutableItem, Item, MutableItem, SigningKey
from dht.itemsearch import FindItem, newest
from dht.krpc import Answer, Response
from dht.search import Holder, Question
from tests.dht.samples import RESPONDER, contact

KEY = SigningKey(bytes(range(32)))
PLAIN = ImmutableItem(b"12:Hello World!")
SIGNED = KEY.sign(b"1:a", 5)


def answer_with(item: Item | None, raw: bytes | None = None) -> Answer:
    """Return an answer that holds an item, in a datagram with the value written as in `raw`."""
    values: dict[bytes, BValue] = {b"id": RESPONDER}
    if item is not None:
        values[b"v"] = decode(item.value)
    if isinstance(item, MutableItem):
        values |= {b"k": item.key, b"seq": item.seq, b"sig": item.signature}
    datagram = encode({b"r": values, b"t": b"aa", b"y": b"r"})
    if item is not None and raw is not None:
        datagram = datagram.replace(b"1:v" + item.value, b"1:v" + raw)
    return Answer([], [], None, Response(b"aa", RESPONDER, values, None, b"", datagram))


def test_what_proves_nothing_is_not_kept() -> None:
    search = FindItem(SIGNED.target)
    search.take(contact(1), answer_with(None))
    search.take(contact(2), answer_with(PLAIN))
    search.take(contact(3), answer_with(SIGNED._replace(seq=9)))
    search.take(contact(4), answer_with(SigningKey(bytes(32)).sign(b"1:a", 9)))
    assert search.copies == {}


def test_the_bytes_received_are_what_is_hashed() -> None:
    item = ImmutableItem(encode({b"a": 2, b"b": 1}))
    search = FindItem(item.target)
    search.take(contact(1), answer_with(item, b"d1:bi1e1:ai2ee"))
    assert search.copies == {}
    search.take(contact(1), answer_with(item))
    assert search.copies == {contact(1).endpoint: item}


def test_an_immutable_item_settles_the_search() -> None:
    settled: list[bool] = []
    search = FindItem(PLAIN.target, settled=lambda: settled.append(True))
    search.take(contact(1), answer_with(SIGNED))
    assert settled == []
    search.take(contact(1), answer_with(PLAIN))
    assert settled == [True]


def test_nobody_need_be_told_that_it_is_settled() -> None:
    search = FindItem(PLAIN.target)
    search.take(contact(1), answer_with(PLAIN))
    assert search.copies == {contact(1).endpoint: PLAIN}


def test_a_mutable_item_does_not_settle_the_search() -> None:
    settled: list[bool] = []
    search = FindItem(SIGNED.target, settled=lambda: settled.append(True))
    search.take(contact(1), answer_with(SIGNED))
    search.take(contact(2), answer_with(KEY.sign(b"1:b", 6)))
    assert settled == []
    assert newest(search.copies.values()) == KEY.sign(b"1:b", 6)


def test_what_is_known_does_not_count() -> None:
    search = FindItem(SIGNED.target, newer_than=5)
    assert search.question(SIGNED.target) == Question(b"get", {b"target": SIGNED.target, b"seq": 5})
    search.take(contact(1), answer_with(SIGNED))
    assert search.copies == {}
    search.take(contact(1), answer_with(KEY.sign(b"1:a", 6)))
    assert len(search.copies) == 1


def test_a_salt_is_not_told() -> None:
    salted = KEY.sign(b"1:a", 1, b"salt")
    search = FindItem(salted.target, b"salt")
    assert search.question(salted.target) == Question(b"get", {b"target": salted.target})
    search.take(contact(1), answer_with(salted))
    assert search.copies == {contact(1).endpoint: salted}


def test_holders_are_noted_and_nothing_is_written() -> None:
    search = FindItem(PLAIN.target)
    holders = [Holder(Contact(RESPONDER, contact(1).endpoint), b"token")]
    assert search.writes(PLAIN.target, holders) == []
    search.accepted(contact(1))
    search.refused(contact(1).endpoint, QueryTimeout(1.0))
    assert search.holders == holders
    assert search.take_findings() == []


def test_of_nothing_there_is_no_newest() -> None:
    assert newest([]) is None


def test_an_item_that_hashes_to_the_target_is_final() -> None:
    assert newest([SIGNED, PLAIN]) == PLAIN


@pytest.mark.parametrize("seed", range(4))
def test_the_newest_does_not_depend_on_the_order(seed: int) -> None:
    items = [KEY.sign(value, seq) for seq in range(1, 4) for value in (b"1:b", b"1:a", b"1:c")]
    random.Random(seed).shuffle(items)
    assert newest(items) == KEY.sign(b"1:a", 3)
