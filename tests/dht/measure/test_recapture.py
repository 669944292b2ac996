import math
import random

import pytest

from dht.measure.recapture import Credible, credible_size, most_likely


def test_nobody_was_seen() -> None:
    assert most_likely(0, [0, 0]) == 0


def test_observers_who_share_nothing_set_no_bound() -> None:
    assert most_likely(100, [50, 50]) == math.inf
    assert most_likely(99.9999, [50, 50]) == math.inf


def test_who_knows_everybody_leaves_nobody_out() -> None:
    assert most_likely(100, [100, 20]) == 100


def test_more_than_all_is_all() -> None:
    """Sizes are estimates, and a part may seem larger than the whole."""
    assert most_likely(100, [101, 20]) == 100
    assert credible_size(100, [101] * 8).median == 100


def test_two_observers_make_the_estimate_of_lincoln_and_petersen() -> None:
    assert most_likely(50 + 40 - 10, [50, 40]) == pytest.approx(50 * 40 / 10)


def test_one_observer_bounds_from_below_only_a_little_better_than_the_prior() -> None:
    assert credible_size(1, [1]) == Credible(1, 1, 24)
    alone = credible_size(100, [100])
    assert alone.low < 105
    assert alone.high > 3_000


def test_agreement_narrows() -> None:
    highs = [credible_size(10, [10] * observers).high for observers in (1, 2, 3, 8)]
    assert highs == sorted(highs, reverse=True)
    assert highs[-1] == 10


@pytest.mark.parametrize("size", [1, 10, 100, 1_000, 5_000])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_interval_contains_the_truth(size: int, share: float) -> None:
    rng = random.Random(size)
    hits = 0
    for _ in range(20):
        seen = [{it for it in range(size) if rng.random() < share} for _ in range(8)]
        distinct = set[int]().union(*seen)
        low, median, high = credible_size(len(distinct), [len(it) for it in seen])
        assert low <= median <= high
        hits += low <= size <= high
    # One in ten of the smallest swarms is not seen at all at the smallest share.
    assert hits >= (18 if size * share >= 1 else 8)
