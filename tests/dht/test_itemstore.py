import random

import pytest

from dht.items import ImmutableItem, MutableItem, SigningKey
from dht.itemstore import ITEM_LIFETIME_S, ITEMS_PER_SOURCE_MAX, ItemStore, Verdict
from dht.keyspace import NodeId, distance

OWN_ID = NodeId(bytes(20))
KEY = SigningKey(bytes(range(32)))
SOURCE = b"\xc0\x00\x02\x01"


def numbered(number: int) -> ImmutableItem:
    return ImmutableItem(b"i%de" % number)


def source(number: int) -> bytes:
    return number.to_bytes(4)


def put(store: ItemStore, seq: int, value: bytes = b"1:a", cas: int | None = None) -> Verdict:
    return store.put(KEY.sign(value, seq), SOURCE, now=0.0, cas=cas)


def held(store: ItemStore) -> MutableItem:
    item = store.get(KEY.sign(b"1:a", 1).target, now=0.0)
    assert isinstance(item, MutableItem)
    return item


@pytest.fixture
def store() -> ItemStore:
    return ItemStore(OWN_ID)


# Order under one target


def test_a_lower_number_is_refused(store: ItemStore) -> None:
    put(store, 5)
    assert put(store, 4) is Verdict.SEQUENCE_TOO_LOW
    assert held(store).seq == 5


def test_another_value_under_the_same_number_is_refused(store: ItemStore) -> None:
    put(store, 5, b"1:b")
    assert put(store, 5, b"1:a") is Verdict.SEQUENCE_TOO_LOW
    assert held(store).value == b"1:b"


@pytest.mark.parametrize(("cas", "seq"), [(4, 6), (0, 6), (6, 6), (4, 3)])
def test_the_wrong_expectation_is_refused_before_the_number_is_looked_at(
    store: ItemStore, cas: int, seq: int
) -> None:
    put(store, 5)
    assert put(store, seq, cas=cas) is Verdict.CAS_MISMATCH
    assert held(store).seq == 5


def test_without_an_item_there_is_nothing_to_expect(store: ItemStore) -> None:
    assert put(store, 7, cas=3) is Verdict.STORED


def test_a_higher_number_replaces(store: ItemStore) -> None:
    put(store, 5, b"1:a")
    assert put(store, 6, b"1:b", cas=5) is Verdict.STORED
    assert held(store) == KEY.sign(b"1:b", 6)
    assert len(store) == 1


def test_a_key_chosen_to_be_a_value_does_not_mix_kinds(store: ItemStore) -> None:
    key = b"60:" + bytes(29)
    signed = MutableItem(key, bytes(34), 1, b"1:a", bytes(64))
    plain = ImmutableItem(key + bytes(34))
    assert signed.target == plain.target
    for first, second in ((signed, plain), (plain, signed)):
        store = ItemStore(OWN_ID)
        assert store.put(first, SOURCE, now=0.0) is Verdict.STORED
        assert store.put(second, SOURCE, now=0.0) is Verdict.NO_ROOM
        assert store.get(first.target, now=0.0) == first


# Bounds


def test_one_source_has_few_items(store: ItemStore) -> None:
    for number in range(ITEMS_PER_SOURCE_MAX):
        assert store.put(numbered(number), SOURCE, now=0.0) is Verdict.STORED
    assert store.put(numbered(99), SOURCE, now=0.0) is Verdict.NO_ROOM
    assert store.put(numbered(0), SOURCE, now=0.0) is Verdict.STORED
    assert store.put(numbered(99), source(2), now=0.0) is Verdict.STORED


def test_a_quota_is_free_again_when_items_expire(store: ItemStore) -> None:
    for number in range(ITEMS_PER_SOURCE_MAX):
        store.put(numbered(number), SOURCE, now=0.0)
    assert store.put(numbered(99), SOURCE, now=ITEM_LIFETIME_S) is Verdict.STORED
    assert len(store) == 1


def test_whoever_refreshes_an_item_does_not_pay_for_it(store: ItemStore) -> None:
    store.put(numbered(0), SOURCE, now=0.0)
    store.put(numbered(0), source(2), now=1.0)
    for number in range(1, ITEMS_PER_SOURCE_MAX + 1):
        assert store.put(numbered(number), source(2), now=1.0) is Verdict.STORED


def test_a_full_store_keeps_the_nearest() -> None:
    store = ItemStore(OWN_ID, items_max=20)
    items = [numbered(number) for number in range(200)]
    random.Random(1).shuffle(items)
    for number, item in enumerate(items):
        store.put(item, source(number), now=0.0)
    nearest = sorted(items, key=lambda it: distance(OWN_ID, it.target))
    assert len(store) == 20
    assert all(store.get(it.target, now=0.0) for it in nearest[:20])
    assert store.put(nearest[20], source(999), now=0.0) is Verdict.NO_ROOM


def test_near_is_measured_from_the_present_id() -> None:
    store = ItemStore(OWN_ID, items_max=1)
    first, second = sorted((numbered(1), numbered(2)), key=lambda it: it.target)
    store.put(first, source(1), now=0.0)
    store.own_id = NodeId(second.target)
    assert store.put(second, source(2), now=0.0) is Verdict.STORED
    assert store.get(first.target, now=0.0) is None


# Time


def test_an_item_lasts_two_hours(store: ItemStore) -> None:
    item = numbered(1)
    store.put(item, SOURCE, now=0.0)
    assert store.get(item.target, now=ITEM_LIFETIME_S - 1) == item
    assert store.get(item.target, now=ITEM_LIFETIME_S) is None
    assert len(store) == 0


def test_a_repeated_put_resets_the_time_and_the_order() -> None:
    store = ItemStore(OWN_ID)
    repeated, other, signed = numbered(1), numbered(2), KEY.sign(b"1:a", 1)
    for item in (repeated, signed, other):
        store.put(item, SOURCE, now=0.0)
    for item in (repeated, signed):
        assert store.put(item, SOURCE, now=100.0) is Verdict.STORED
    assert store.get(other.target, now=ITEM_LIFETIME_S) is None
    assert store.get(repeated.target, now=ITEM_LIFETIME_S) == repeated
    assert store.get(signed.target, now=ITEM_LIFETIME_S) == signed
