"""The yardstick of density: what it takes for unusual, and how seldom without reason."""

import random

import pytest

from dht.density import EXPECTED_MIN, RADII_MAX, Density
from dht.keyspace import ID_BITS
from dht.routing import K

NODES = 1_000_000
USUAL = (1 << ID_BITS) // NODES * K


def some_radius(rng: random.Random) -> int:
    """Return the distance to the K-th nearest of many nodes."""
    return int(rng.gammavariate(K, 1.0) / NODES * (1 << ID_BITS))


def test_whoever_knows_nothing_suspects_nothing() -> None:
    assert Density().expected_within(0) is None
    assert Density().lone_radius == 0


def test_nodes_at_no_distance_are_no_yardstick() -> None:
    density = Density()
    density.learn(0)
    assert density.expected_within(1) is None


def test_what_is_expected_grows_with_the_radius() -> None:
    density = Density()
    density.learn(USUAL)
    assert density.expected_within(USUAL) == pytest.approx(K - 1)
    assert density.expected_within(density.lone_radius) == pytest.approx(1.0)


def test_some_lies_do_not_move_it() -> None:
    density = Density()
    for _ in range(RADII_MAX):
        density.learn(USUAL)
    for _ in range(RADII_MAX // 2 - 1):
        density.learn(1)
    assert density.expected_within(USUAL) == pytest.approx(K - 1)


@pytest.mark.parametrize(("known", "false_max"), [(1, 20), (RADII_MAX, 2)])
def test_false_alarms_are_rare(known: int, false_max: int) -> None:
    rng, alarms = random.Random(1), 0
    for _ in range(20_000):
        density = Density()
        for _ in range(known):
            density.learn(some_radius(rng))
        expected = density.expected_within(some_radius(rng))
        assert expected is not None
        alarms += expected < EXPECTED_MIN
    assert alarms <= false_max
