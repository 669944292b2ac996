"""A thousand nodes of whom three in ten have just died, unnoticed."""

import pytest

from dht.lookup import ATTEMPTS_MAX, QUERIES_MAX
from scripts.simulations.blackout import Figures, simulate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures() -> Figures:
    """What searches find right afterwards."""
    return simulate(seed=1, nodes=1_000)


def test_searches_find_the_closest_living_nodes(figures: Figures) -> None:
    # Not all: an answer names eight nodes, the dead among them, so a node that stood ninth or later
    # before the blackout may be named by nobody.
    assert figures.searches.recall >= 0.9


def test_the_dead_do_not_exhaust_a_search(figures: Figures) -> None:
    assert figures.queries_max < QUERIES_MAX / 2


def test_nobody_is_asked_more_than_twice(figures: Figures) -> None:
    assert figures.repeats_max <= ATTEMPTS_MAX
