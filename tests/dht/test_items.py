import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, encode
from dht.errors import InvalidItem
from dht.items import (
    OWN_VALUE_MAX,
    SALT_MAX,
    SEQ_MAX,
    VALUE_MAX,
    ImmutableItem,
    MutableItem,
    SigningKey,
    check_value,
    immutable_target,
    mutable_target,
    read_item,
    signature_buffer,
    torrent_of,
    torrent_value,
)
from dht.keyspace import InfoHash
from tests.dht.ed25519 import sign_expanded
from tests.dht.samples import about

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "bep44.json").read_text()
)
PUBLIC_KEY = bytes.fromhex(VECTORS["public_key"])
EXPANDED_KEY = bytes.fromhex(VECTORS["expanded_key"])
TARGETS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "bep46.json").read_text()
)["targets"]

KEY = SigningKey(bytes(range(32)))
VALUE = b"12:Hello World!"
HASH = InfoHash(b"\x5a" * 20)


def of_vector(vector: dict[str, Any]) -> MutableItem:
    return MutableItem(
        PUBLIC_KEY,
        vector["salt"].encode(),
        vector["seq"],
        vector["value"].encode(),
        bytes.fromhex(vector["signature"]),
    )


def fields_of(item: MutableItem, **changes: BValue) -> dict[bytes, BValue]:
    """Return what an answer tells of a mutable item; an argument given replaces the right one."""
    fields: dict[bytes, BValue] = {b"k": item.key, b"seq": item.seq, b"sig": item.signature}
    return fields | {name.encode(): value for name, value in changes.items()}


# What is not believed


@pytest.mark.parametrize("vector", VECTORS["mutable"], ids=about)
def test_one_changed_byte_makes_a_signature_wrong(vector: dict[str, Any]) -> None:
    item = of_vector(vector)
    assert not item._replace(value=b"12:Hello World?").is_authentic
    assert not item._replace(seq=2).is_authentic
    assert not item._replace(salt=item.salt + b"x").is_authentic
    assert not item._replace(key=bytes(32)).is_authentic
    for position in range(64):
        changed = bytearray(item.signature)
        changed[position] ^= 1
        assert not item._replace(signature=bytes(changed)).is_authentic


def test_the_signature_without_a_salt_is_not_the_one_with_a_salt() -> None:
    assert not of_vector(VECTORS["mutable"][0])._replace(salt=b"foobar").is_authentic


@pytest.mark.parametrize(
    "changes",
    [
        {"k": PUBLIC_KEY},
        {"k": KEY.public_key[:31]},
        {"k": KEY.public_key + b"x"},
        {"k": 7},
        {"sig": bytes(63)},
        {"sig": bytes(65)},
        {"sig": bytes(64)},
        {"sig": []},
        {"seq": 6},
        {"seq": -1},
        {"seq": SEQ_MAX + 1},
        {"seq": b"5"},
    ],
    ids=str,
)
def test_an_answer_that_does_not_prove_its_item_holds_none(changes: dict[str, BValue]) -> None:
    item = KEY.sign(VALUE, 5)
    assert read_item(VALUE, fields_of(item), item.target) == item
    assert read_item(VALUE, fields_of(item, **changes), item.target) is None


@pytest.mark.parametrize("name", [b"k", b"seq", b"sig"])
def test_an_answer_without_all_of_key_number_and_signature_holds_none(name: bytes) -> None:
    item = KEY.sign(VALUE, 5)
    fields = fields_of(item)
    del fields[name]
    assert read_item(VALUE, fields, item.target) is None


def test_a_salt_must_be_known() -> None:
    item = KEY.sign(VALUE, 5, b"salt")
    assert read_item(VALUE, fields_of(item), item.target) is None
    assert read_item(VALUE, fields_of(item), item.target, b"pepper") is None
    assert read_item(VALUE, fields_of(item), item.target, b"salt") == item


def test_no_value_is_no_item() -> None:
    item = KEY.sign(VALUE, 5)
    assert read_item(None, fields_of(item), item.target) is None


@pytest.mark.parametrize("value", [b"d1:bi1e1:ai2ee", b"i01e", b"1:xx", b"", b"2:x"])
def test_what_is_not_canonical_is_no_value_though_its_hash_is_right(value: bytes) -> None:
    assert read_item(value, {}, immutable_target(value)) is None


def test_a_value_of_more_than_1000_bytes_is_no_value() -> None:
    largest = b"996:" + bytes(996)
    assert len(largest) == VALUE_MAX
    assert read_item(largest, {}, immutable_target(largest)) == ImmutableItem(largest)
    larger = b"997:" + bytes(997)
    assert read_item(larger, {}, immutable_target(larger)) is None


def test_a_value_under_another_hash_is_not_the_one_asked_for() -> None:
    assert read_item(VALUE, {}, immutable_target(b"i1e")) is None


@given(
    st.binary(max_size=80), st.dictionaries(st.sampled_from([b"k", b"seq", b"sig"]), st.binary())
)
def test_no_stranger_makes_reading_fail(value: bytes, fields: dict[bytes, BValue]) -> None:
    assert read_item(value, fields, bytes(20)) is None


# What we do not make


@pytest.mark.parametrize(
    ("value", "seq", "salt", "fault"),
    [
        (b"996:" + bytes(996), 1, b"", "1000 bytes bencoded; 999 is the most"),
        (b"d1:bi1e1:ai2ee", 1, b"", "no canonical bencoding"),
        (b"Hello", 1, b"", "no canonical bencoding"),
        (VALUE, -1, b"", "not in 0 to"),
        (VALUE, SEQ_MAX + 1, b"", "not in 0 to"),
        (VALUE, 1, bytes(SALT_MAX + 1), "65 bytes; 64 is the most"),
    ],
)
def test_what_nobody_would_store_is_not_signed(
    value: bytes, seq: int, salt: bytes, fault: str
) -> None:
    with pytest.raises(InvalidItem, match=fault):
        KEY.sign(value, seq, salt)


def test_a_key_is_made_of_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(31))


def test_a_key_does_not_show_its_private_half() -> None:
    seed = bytes(range(32))
    assert repr(SigningKey(seed)) == f"SigningKey of {KEY.public_key.hex()}"
    assert seed.hex() not in repr(SigningKey(seed))


# Vectors


@pytest.mark.parametrize("vector", VECTORS["mutable"], ids=about)
def test_signed_as_in_the_vectors(vector: dict[str, Any]) -> None:
    item = of_vector(vector)
    assert item.target.hex() == vector["target"]
    buffer = signature_buffer(item.value, item.seq, item.salt)
    assert buffer == vector["buffer"].encode()
    assert item.is_authentic
    assert sign_expanded(EXPANDED_KEY, PUBLIC_KEY, buffer) == item.signature
    assert read_item(item.value, fields_of(item), item.target, item.salt) == item


@pytest.mark.parametrize("vector", VECTORS["immutable"], ids=about)
def test_hashed_as_in_the_vectors(vector: dict[str, Any]) -> None:
    item = ImmutableItem(vector["value"].encode())
    assert item.target.hex() == vector["target"]
    assert read_item(item.value, {}, item.target) == item


@pytest.mark.parametrize("vector", TARGETS, ids=about)
def test_targets_of_mutable_torrents_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    key, salt = bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"])
    assert mutable_target(key, salt).hex() == vector["target"]


# What holds for all


@given(
    st.binary(max_size=990),
    st.integers(min_value=0, max_value=SEQ_MAX),
    st.binary(max_size=SALT_MAX),
)
def test_what_is_signed_is_believed(content: bytes, seq: int, salt: bytes) -> None:
    item = KEY.sign(encode(content), seq, salt)
    assert read_item(item.value, fields_of(item), item.target, salt) == item


def test_the_largest_value_is_accepted() -> None:
    value = b"995:" + bytes(995)
    assert len(value) == OWN_VALUE_MAX
    check_value(value)


def test_the_higher_number_wins_and_then_the_smaller_value() -> None:
    first, second = KEY.sign(b"1:a", 1), KEY.sign(b"1:a", 2)
    assert second.supersedes(first)
    assert not first.supersedes(second)
    rival = KEY.sign(b"1:b", 1)
    assert first.supersedes(rival)
    assert not rival.supersedes(first)
    assert not first.supersedes(first)


# Torrents that can change


def test_a_value_points_to_a_torrent() -> None:
    assert torrent_value(HASH) == b"d2:ih20:" + HASH + b"e"
    assert torrent_of(torrent_value(HASH)) == HASH
    assert torrent_of(encode({b"ih": HASH, b"name": b"x"})) == HASH


@pytest.mark.parametrize(
    "value", [b"de", b"le", VALUE, b"d2:ihi5ee", encode({b"ih": bytes(32)}), b"d2:ih", b""]
)
def test_any_other_value_points_to_none(value: bytes) -> None:
    assert torrent_of(value) is None
