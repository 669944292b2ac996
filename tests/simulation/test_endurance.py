"""A few hours of a small network whose nodes come and go: nothing wears out or piles up."""

from statistics import mean

import pytest

from scripts.simulations.clerks import ANNOUNCES, ITEMS_KEPT, ITEMS_LEFT
from scripts.simulations.endurance import Hour, simulate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hours() -> list[Hour]:
    """What each hour showed."""
    return list(simulate(seed=1, nodes=40, hours=4))


def test_searches_stay_good(hours: list[Hour]) -> None:
    assert min(hour.recall for hour in hours) >= 0.9


def test_announces_are_found_at_once_and_forgotten_in_time(hours: list[Hour]) -> None:
    assert min(hour.announces_found for hour in hours) >= 0.9 * ANNOUNCES
    assert [hour.old_announces_found for hour in hours] == [0] * len(hours)


def test_items_are_found_while_somebody_cares_and_forgotten_in_time(hours: list[Hour]) -> None:
    assert [hour.kept_items_found for hour in hours] == [ITEMS_KEPT] * len(hours)
    assert mean(hour.left_items_found for hour in hours) >= 0.9 * ITEMS_LEFT
    assert [hour.old_items_found for hour in hours] == [0] * len(hours)


def test_tokens_serve_in_their_time_and_no_longer(hours: list[Hour]) -> None:
    assert all(hour.young_tokens_taken == hour.young_tokens_tried for hour in hours)
    assert sum(hour.young_tokens_tried for hour in hours) > 0
    assert [hour.old_tokens_taken for hour in hours] == [0] * len(hours)


def test_tables_hold_the_living(hours: list[Hour]) -> None:
    assert min(hour.living for hour in hours) >= 0.75
    assert hours[-1].entries >= hours[0].entries * 0.9


def test_no_engine_misses_its_deadline(hours: list[Hour]) -> None:
    assert [hour.late for hour in hours] == [0] * len(hours)


def test_no_search_outlives_its_time(hours: list[Hour]) -> None:
    assert [hour.endless for hour in hours] == [0] * len(hours)


def test_memory_does_not_grow(hours: list[Hour]) -> None:
    first, last = hours[0].footprint, hours[-1].footprint
    assert last.objects <= first.objects * 1.1
    assert last.blocks <= first.blocks * 1.1


def test_a_node_stays_frugal(hours: list[Hour]) -> None:
    assert max(hour.datagrams for hour in hours) <= 1_000
