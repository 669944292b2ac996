"""What liars can do to an estimate, one lie at a time; `test_swarm` mixes them."""

import random
from collections.abc import Iterable

import pytest

from dht.bloom import SIZE_MAX, AddressFilter
from dht.measure.holdings import (
    NONE,
    SATURATED,
    UNKNOWN,
    Estimate,
    Holding,
    NamedAddresses,
    estimate_size,
)

FULL = AddressFilter((1 << 2_048) - 1)
SIZE = 400


def addresses(count: int, seed: int = 1) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(4) for _ in range(count)]


def honest(count: int, share: float = 0.7, size: int = SIZE) -> list[AddressFilter]:
    """What nodes hold that each know a share of the swarm."""
    rng = random.Random(count)
    swarm = addresses(size)
    return [AddressFilter.of(it for it in swarm if rng.random() < share) for _ in range(count)]


def is_right(estimate: Estimate, size: int = SIZE) -> bool:
    if estimate.estimate is None or estimate.low is None or estimate.high is None:
        return False
    near = abs(estimate.estimate - size) <= 0.1 * size
    return near and estimate.low <= size <= estimate.high


def test_too_few_nodes_cannot_deny_a_swarm() -> None:
    assert estimate_size(list[AddressFilter]()) == UNKNOWN
    assert estimate_size([AddressFilter()] * 3) == UNKNOWN


def test_a_swarm_that_nobody_knows_is_none() -> None:
    assert estimate_size([AddressFilter()] * 4) == NONE


def test_a_full_filter_among_honest_ones_counts_for_nothing() -> None:
    assert is_right(estimate_size([*honest(6), FULL, FULL]))


def test_full_filters_everywhere_are_saturation() -> None:
    assert estimate_size([FULL] * 8) == SATURATED
    assert estimate_size([FULL, *honest(1)]) == SATURATED


def test_a_union_may_be_saturated_where_no_part_is() -> None:
    assert estimate_size(honest(8, 0.5, size=9_000)) == SATURATED


def test_who_knows_five_times_as_many_as_the_others_is_left_out() -> None:
    assert is_right(estimate_size([*honest(7), AddressFilter.of(addresses(2_500, seed=2))]))


@pytest.mark.parametrize("invented", [100, 400, 1_200])
def test_who_knows_what_nobody_else_does_is_left_out(invented: int) -> None:
    liar = honest(1)[0] | AddressFilter.of(addresses(invented, seed=2))
    assert is_right(estimate_size([*honest(7), liar]))


def test_liars_who_agree_with_each_other_are_left_out_together() -> None:
    liar = AddressFilter.of(addresses(600, seed=2))
    assert is_right(estimate_size([*honest(6), liar, liar]))


def test_who_knows_next_to_nobody_does_no_harm() -> None:
    assert is_right(estimate_size([*honest(6), AddressFilter(), AddressFilter.of(addresses(5))]))


def test_two_who_contradict_each_other_tell_nothing() -> None:
    one, other = AddressFilter.of(addresses(100)), AddressFilter.of(addresses(100, seed=2))
    assert estimate_size([one, other]) == UNKNOWN


def test_a_lone_witness_is_believed_with_doubts() -> None:
    only = AddressFilter.of(addresses(1))
    assert estimate_size([only]) == Estimate(1, 1, 24)
    assert estimate_size([only, *[AddressFilter()] * 3]) == Estimate(1, 0, 24)


def test_a_lone_witness_of_too_much_is_not() -> None:
    assert estimate_size([FULL, *[AddressFilter()] * 7]) == UNKNOWN


def test_what_nobody_knows_is_estimated() -> None:
    """Eight nodes that know one in five each miss one in six between them."""
    assert is_right(estimate_size(honest(8, share=0.2)))


def test_names_are_counted_exactly() -> None:
    everybody = frozenset(addresses(30))
    assert estimate_size([NamedAddresses(everybody)] * 8) == Estimate(30, 30, 30)


def test_names_are_recaptured() -> None:
    """Eight nodes name 50 peers each of a swarm of 1,000."""
    rng, swarm = random.Random(1), addresses(1_000)
    names = [NamedAddresses(frozenset(rng.sample(swarm, 50))) for _ in range(8)]
    estimate = estimate_size(names)
    assert estimate.estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= 1_000 <= estimate.high
    assert 600 <= estimate.estimate <= 1_600


@pytest.mark.parametrize(
    "holding",
    [AddressFilter.of(addresses(10)), NamedAddresses(frozenset(addresses(10)))],
    ids=lambda it: type(it).__name__,
)
def test_what_is_held_is_counted(holding: Holding) -> None:
    assert holding.size == pytest.approx(10, abs=0.1)
    assert holding.deviation < 1
    assert not holding.is_saturated


@pytest.mark.parametrize(
    ("parts", "total"),
    [
        ([UNKNOWN, UNKNOWN], UNKNOWN),
        ([Estimate(5, 4, 6), UNKNOWN], Estimate(5, 4, 6)),
        ([UNKNOWN, Estimate(5, 4, 6)], Estimate(5, 4, 6)),
        ([Estimate(5, 4, 6), SATURATED], Estimate(None, SIZE_MAX + 4, None)),
        ([SATURATED, SATURATED], Estimate(None, 2 * SIZE_MAX, None)),
        ([Estimate(5, 4, 6), NONE], Estimate(5, 4, 6)),
        ([Estimate(50, 47, 53), Estimate(50, 46, 54)], Estimate(100, 95, 105)),
    ],
)
def test_a_sum(parts: Iterable[Estimate], total: Estimate) -> None:
    one, other = parts
    assert one.plus(other) == total
