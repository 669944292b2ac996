import json
import math
import random
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bloom import FILTER_BYTES, AddressFilter

FULL = AddressFilter((1 << 2_048) - 1)
BEP33: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "bep33.json").read_text()
)

addresses = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
filters = st.lists(addresses, max_size=50).map(AddressFilter.of)


def published() -> AddressFilter:
    """The filter of BEP 33's example."""
    return AddressFilter.from_bytes(bytes.fromhex("".join(BEP33["filter"])))


@pytest.mark.parametrize("length", [0, 1, FILTER_BYTES - 1, FILTER_BYTES + 1])
def test_what_has_another_length_is_no_filter(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} bytes are no filter"):
        AddressFilter.from_bytes(bytes(length))


def test_the_published_filter_is_made_of_the_published_addresses() -> None:
    first = [ip_address(f"192.0.2.{i}").packed for i in range(256)]
    second = [ip_address(f"2001:db8::{i:x}").packed for i in range(1_000)]
    assert AddressFilter.of([*first, *second]) == published()
    assert published().size == pytest.approx(BEP33["size"], abs=1e-3)


def test_an_address_sets_two_bits_lowest_first() -> None:
    """By hand: the SHA-1 of 192.168.1.1 names the bits 1711 and 1831."""
    data = AddressFilter.of([ip_address("192.168.1.1").packed]).to_bytes()
    assert [i for i in range(2_048) if data[i // 8] & 1 << i % 8] == [1711, 1831]


@pytest.mark.parametrize(("zeros", "size"), BEP33["sizes_by_zero_bits"])
def test_size_by_zero_bits(zeros: int, size: float) -> None:
    assert AddressFilter((1 << 2_048 - zeros) - 1).size == pytest.approx(size, abs=0.01)


def test_an_empty_filter_holds_nothing() -> None:
    assert AddressFilter().is_empty
    assert AddressFilter().size == 0
    assert AddressFilter().deviation == 0
    assert not AddressFilter().is_saturated


def test_a_full_filter_holds_too_much_to_tell() -> None:
    assert FULL.is_saturated
    assert math.isfinite(FULL.size)
    assert math.isfinite(FULL.deviation)


def test_the_deviation_is_that_of_many_filters() -> None:
    rng = random.Random(1)
    sizes = [AddressFilter.of(rng.randbytes(4) for _ in range(1_000)).size for _ in range(200)]
    errors = [size - 1_000 for size in sizes]
    observed = math.sqrt(sum(it * it for it in errors) / len(errors))
    assert observed == pytest.approx(published().deviation, rel=0.3)


@given(filters)
def test_a_filter_survives_the_wire(filter_: AddressFilter) -> None:
    assert AddressFilter.from_bytes(filter_.to_bytes()) == filter_


@given(st.lists(addresses, max_size=50))
def test_what_was_put_in_is_in(members: list[bytes]) -> None:
    assert all(address in AddressFilter.of(members) for address in members)


def test_what_was_not_put_in_is_not() -> None:
    assert bytes(4) not in AddressFilter.of([b"\1\2\3\4"])


@given(filters, filters)
def test_a_union_is_no_smaller_than_its_parts(one: AddressFilter, other: AddressFilter) -> None:
    assert (one | other).size >= max(one.size, other.size)
    assert one | one == one
    assert one | AddressFilter() == one
