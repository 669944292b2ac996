import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.keyspace import (
    ID_BITS,
    ID_BYTES,
    distance,
    is_secure,
    random_id,
    random_id_sharing,
    random_id_with_prefix,
    secure_id,
    shared_prefix,
)
from tests.dht.samples import recorded

IDS = st.binary(min_size=ID_BYTES, max_size=ID_BYTES)
SEEDS = st.integers(0, 2**32).map(random.Random)
ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)

BEP42 = [
    (bytes.fromhex(row["id"]), ipaddress.ip_address(row["address"]).packed)
    for row in recorded("bep42", "ids")
]


def changed(node_id: bytes, index: int, mask: int) -> bytes:
    return node_id[:index] + bytes([node_id[index] ^ mask]) + node_id[index + 1 :]


@pytest.mark.parametrize(("node_id", "address"), BEP42)
@pytest.mark.parametrize(
    ("index", "mask"), [(0, 0x80), (1, 0x01), (2, 0x08), (19, 0x01), (19, 0x02), (19, 0x04)]
)
def test_an_id_with_a_bound_bit_changed_is_not_secure(
    node_id: bytes, address: bytes, index: int, mask: int
) -> None:
    assert not is_secure(changed(node_id, index, mask), address)


@pytest.mark.parametrize(("node_id", "address"), BEP42)
def test_the_official_ids_are_secure(node_id: bytes, address: bytes) -> None:
    assert is_secure(node_id, address)


@pytest.mark.parametrize(("node_id", "address"), BEP42)
@pytest.mark.parametrize(
    ("index", "mask"), [(2, 0x07), (2, 0x01), (3, 0xFF), (19, 0x08), (19, 0x80)]
)
def test_an_id_with_a_free_bit_changed_is_still_secure(
    node_id: bytes, address: bytes, index: int, mask: int
) -> None:
    assert is_secure(changed(node_id, index, mask), address)


@pytest.mark.parametrize(("node_id", "address"), BEP42)
def test_an_id_is_secure_for_its_own_address_only(node_id: bytes, address: bytes) -> None:
    others = [other for _, other in BEP42 if other != address]
    assert not any(is_secure(node_id, other) for other in others)


@given(ADDRESSES, SEEDS)
def test_a_drawn_secure_id_is_secure(address: bytes, rng: random.Random) -> None:
    assert is_secure(secure_id(address, rng), address)


def test_secure_ids_of_one_address_differ() -> None:
    rng = random.Random(1)
    assert len({secure_id(b"\x7c\x1f\x4b\x15", rng) for _ in range(100)}) == 100


@given(IDS, IDS, IDS)
def test_distance_is_a_metric(a: bytes, b: bytes, c: bytes) -> None:
    assert distance(a, a) == 0
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@pytest.mark.parametrize(
    ("a", "b", "bits"),
    [
        (bytes(20), bytes(20), 160),
        (bytes(20), bytes(19) + b"\1", 159),
        (bytes(20), b"\x80" + bytes(19), 0),
        (b"\xff" * 20, b"\xff\x7f" + b"\xff" * 18, 8),
    ],
)
def test_shared_prefix_counts_leading_bits(a: bytes, b: bytes, bits: int) -> None:
    assert shared_prefix(a, b) == bits


@given(IDS, st.integers(0, ID_BITS), SEEDS)
def test_an_id_sharing_bits_shares_exactly_so_many(
    own: bytes, bits: int, rng: random.Random
) -> None:
    assert shared_prefix(random_id_sharing(own, bits, rng), own) == bits


def test_an_id_sharing_all_bits_is_the_id() -> None:
    own = bytes(range(ID_BYTES))
    assert random_id_sharing(own, ID_BITS, random.Random(1)) == own
    assert random_id_with_prefix(own, ID_BITS, random.Random(1)) == own


@given(IDS, st.integers(0, ID_BITS), SEEDS)
def test_an_id_with_a_prefix_shares_at_least_so_many_bits(
    own: bytes, bits: int, rng: random.Random
) -> None:
    assert shared_prefix(random_id_with_prefix(own, bits, rng), own) >= bits


def test_random_ids_fill_the_key_space() -> None:
    rng = random.Random(1)
    first_bytes = {random_id(rng)[0] >> 4 for _ in range(200)}
    assert first_bytes == set(range(16))
