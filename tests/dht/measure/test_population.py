"""The size of a DHT: estimates against models of which the truth is known."""

import random
from heapq import nsmallest

import pytest

from dht.contact import Contact
from dht.keyspace import ID_BITS, NodeId, distance, random_id
from dht.measure.population import (
    MISSED_ERROR,
    RADII_MIN,
    Correction,
    Estimate,
    ZoneCount,
    by_distance,
    by_zone,
    combine,
    correct_radii,
    radius,
)
from dht.measure.zone import Zone
from tests.dht.samples import ZERO_ID, contact, public

K = 8
EXACT = Correction(1.0, 0.0)


def contains(estimate: Estimate | None, truth: float) -> bool:
    assert estimate is not None
    return estimate.low <= truth <= estimate.high


# What cannot be told


def test_too_few_nodes_have_no_radius() -> None:
    nodes = [contact(bits) for bits in range(K - 1)]
    assert radius(ZERO_ID, nodes, K) is None


def test_too_few_lookups_say_nothing() -> None:
    assert by_distance([0.1] * (RADII_MIN - 1), K) is None
    assert correct_radii([0.1] * (RADII_MIN - 1), [0.1] * (RADII_MIN - 1)) is None


def test_nodes_that_all_sit_on_the_target_say_nothing() -> None:
    assert by_distance([0.0] * RADII_MIN, K) is None
    assert correct_radii([0.0] * RADII_MIN, [0.0] * RADII_MIN) is None


def test_passes_with_nothing_in_common_say_nothing() -> None:
    assert by_zone(ZoneCount(3, set(), set())) is None
    assert by_zone(ZoneCount(3, {contact(1)}, {contact(2)})) is None


def test_nothing_combined_is_nothing() -> None:
    assert combine([]) is None


# By hand


def test_the_radius_is_a_share_of_the_space() -> None:
    nodes = [contact(bits) for bits in (5, 0, 3)]
    assert [radius(ZERO_ID, nodes, rank) for rank in (1, 2, 3)] == [2**-6, 2**-4, 2**-1]


def test_a_network_that_is_counted_whole_has_no_doubt() -> None:
    everybody = {contact(bits) for bits in range(10)}
    assert by_zone(ZoneCount(0, everybody, everybody)) == Estimate(10.0, 0.0)


def test_what_is_certain_outweighs_all_else() -> None:
    assert combine([Estimate(20.0, 0.1), Estimate(10.0, 0.0)]) == Estimate(10.0, 0.0)


def test_agreement_sharpens_and_disagreement_blurs() -> None:
    agreed = combine([Estimate(1_000.0, 0.02), Estimate(1_000.0, 0.02)])
    assert agreed is not None
    assert agreed.value == pytest.approx(1_000.0)
    assert agreed.error == pytest.approx(0.02 / 2**0.5)
    torn = combine([Estimate(1_000.0, 0.02), Estimate(1_500.0, 0.02)])
    assert torn is not None
    assert contains(torn, 1_000.0)
    assert contains(torn, 1_500.0)


def test_half_missed_by_each_pass_is_reckoned_in() -> None:
    nodes = [contact(0, serial) for serial in range(300)]
    found = by_zone(ZoneCount(4, set(nodes[:200]), set(nodes[100:])))
    assert found is not None
    assert found.value == pytest.approx(16 * 400, rel=0.01)


def test_the_interval_allows_for_what_was_missed_when_no_zone_tells() -> None:
    radii = [random.Random(1).gammavariate(K, 1e-6) for _ in range(10_000)]
    unchecked, checked = by_distance(radii, K), by_distance(radii, K, EXACT)
    assert unchecked is not None
    assert checked is not None
    assert unchecked.error > MISSED_ERROR > checked.error


# In models


@pytest.mark.parametrize(("size", "lookups"), [(300, 16), (150_000, 200), (20_000_000, 64)])
def test_distances_tell_the_truth_in_nineteen_of_twenty(size: int, lookups: int) -> None:
    rng, hits = random.Random(size), 0
    for _ in range(100):
        radii = [rng.gammavariate(K, 1 / size) for _ in range(lookups)]
        hits += contains(by_distance(radii, K, EXACT), size)
    assert hits >= 90


def test_what_lookups_miss_is_corrected() -> None:
    """One node in ten is missed, so that the eighth found is really a farther one."""
    rng, size, hits, uncorrected = random.Random(7), 100_000, 0, 0
    for _ in range(100):
        missing = [rng.gammavariate(K, 1 / (0.9 * size)) for _ in range(200)]
        true = [rng.gammavariate(K, 1 / size) for _ in range(64)]
        found = [it + rng.gammavariate(K / 9, 1 / size) for it in true]
        hits += contains(by_distance(missing, K, correct_radii(found, true)), size)
        uncorrected += contains(by_distance(missing, K, EXACT), size)
    assert hits >= 90 > 60 > uncorrected


@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("seen", [0.8, 0.97])
def test_a_zone_tells_the_truth_in_nineteen_of_twenty(bits: int, seen: float) -> None:
    rng, size, hits = random.Random(3), 800, 0
    for _ in range(100):
        inside = [
            Contact(ZERO_ID, public(serial)) for serial in range(size) if not rng.getrandbits(bits)
        ]
        first, second = ({it for it in sorted(inside) if rng.random() < seen} for _ in range(2))
        hits += contains(by_zone(ZoneCount(bits, first, second)), size)
    assert hits >= 90


@pytest.mark.slow
def test_ids_tell_how_many_they_are() -> None:
    """The whole reckoning from ids: lookups miss 4 %, passes 3 %, and what is dead is not seen."""
    rng, size, hits, errors = random.Random(11), 600, 0, []
    for _ in range(30):
        nodes = [Contact(random_id(rng), public(serial)) for serial in range(size)]
        estimate = reckon(nodes, rng)
        hits += contains(estimate, size)
        errors.append(abs(estimate.value / size - 1))
    assert hits >= 27
    assert sorted(errors)[15] < 0.05


def reckon(nodes: list[Contact], rng: random.Random) -> Estimate:
    zone = Zone(random_id(rng), 2)
    inside = [it for it in nodes if zone.holds(it.id)]
    first, second = ({it for it in sorted(inside) if rng.random() < 0.97} for _ in range(2))
    count = ZoneCount(zone.bits, first, second)
    radii = [looked_up(nodes, random_id(rng), rng) for _ in range(40)]
    targets = [zone.random_id(rng) for _ in range(16)]
    found = [looked_up(inside, target, rng) for target in targets]
    true = [radius(target, list(first | second), K) for target in targets]
    correction = correct_radii(found, [it for it in true if it is not None])
    parts = [by_distance(radii, K, correction), by_zone(count)]
    combined = combine([it for it in parts if it is not None])
    assert combined is not None
    return combined


def looked_up(nodes: list[Contact], target: NodeId, rng: random.Random) -> float:
    nearest = nsmallest(2 * K, nodes, key=lambda it: distance(it.id, target))
    found = radius(target, [it for it in nearest if rng.random() < 0.96], K)
    assert found is not None
    return found


def test_no_distance_is_too_large_for_a_share() -> None:
    farthest = NodeId(b"\xff" * (ID_BITS // 8))
    assert radius(ZERO_ID, [Contact(farthest, public(1))], 1) == 1.0
