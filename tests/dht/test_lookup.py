import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Contact, Endpoint
from dht.keyspace import NodeId, distance, random_id
from dht.lookup import ALPHA, ATTEMPTS_MAX, CANDIDATES_MAX, QUERIES_MAX, Lookup
from dht.routing import K
from tests.dht.samples import ZERO_ID, contact, loopback, node_id, public, public6

TARGET = ZERO_ID
"""The target of most lookups here; a contact is the nearer, the more bits its id shares."""


def ladder(count: int, first: int = 0) -> list[Contact]:
    """Return contacts of which each is nearer to the target than the one before."""
    return [contact(bits) for bits in range(first, first + count)]


def is_done(lookup: Lookup) -> bool:
    return lookup.is_done


def ask(lookup: Lookup) -> Contact | None:
    """Send the next query, if one is wanted."""
    wanted = lookup.next_query()
    if wanted is not None:
        lookup.asked(wanted.endpoint)
    return wanted


def ask_all(lookup: Lookup) -> list[Contact]:
    return list(iter(lambda: ask(lookup), None))


def answer_all(lookup: Lookup) -> list[Contact]:
    """Let everybody answer who is asked, until nobody is; return those asked, in order."""
    asked = []
    while (it := ask(lookup)) is not None:
        lookup.answered(it)
        asked.append(it)
    return asked


# Nobody, nothing, no good


def test_a_lookup_without_candidates_is_done() -> None:
    lookup = Lookup(TARGET)
    assert lookup.next_query() is None
    assert is_done(lookup)
    assert lookup.closest() == []


def test_a_lookup_in_which_all_fail_is_done() -> None:
    lookup = Lookup(TARGET, ladder(3))
    for it in ask_all(lookup):
        assert not is_done(lookup)
        lookup.failed(it.endpoint)
    assert is_done(lookup)
    assert (lookup.closest(), lookup.failed_count) == ([], 3)


def test_a_node_under_another_id_is_not_among_the_closest_but_whom_it_named_is() -> None:
    lookup = Lookup(TARGET, [contact(5)])
    ask(lookup)
    lookup.answered(Contact(node_id(9), contact(5).endpoint), [contact(6)])
    assert ask(lookup) == contact(6)
    lookup.answered(contact(6))
    assert lookup.closest() == [contact(6)]
    assert (lookup.answered_count, lookup.failed_count) == (1, 1)
    assert is_done(lookup)


def test_an_endpoint_is_a_candidate_once_whatever_it_is_called() -> None:
    lookup = Lookup(TARGET, [contact(5), contact(5)])
    lookup.add([Contact(node_id(9), contact(5).endpoint)])
    assert ask_all(lookup) == [contact(5)]
    lookup.answered(contact(5), [contact(5)])
    assert lookup.next_query() is None


@pytest.mark.parametrize("place", [public, public6])
def test_a_public_network_has_one_candidate(place: Callable[..., Endpoint]) -> None:
    lookup = Lookup(TARGET, [Contact(node_id(host), place(1, host=host)) for host in range(1, 20)])
    assert len(ask_all(lookup)) == 1


def test_a_local_network_may_have_many_candidates() -> None:
    lookup = Lookup(TARGET, [Contact(node_id(host), loopback(host)) for host in range(20)])
    assert len(answer_all(lookup)) == K


def test_invented_nodes_cannot_prolong_a_lookup_for_ever() -> None:
    lookup = Lookup(TARGET, [Contact(NodeId(b"\xff" * 20), public(0))])
    serial = 0
    while (it := ask(lookup)) is not None:
        serial += 1
        nearer = (2**160 - 1 - serial).to_bytes(20)
        lookup.answered(it, [Contact(NodeId(nearer), public(serial))])
    assert lookup.asked_count == QUERIES_MAX
    assert is_done(lookup)


def test_candidates_are_bounded_and_the_farthest_go() -> None:
    rng = random.Random(1)
    everybody = [Contact(random_id(rng), public(serial)) for serial in range(CANDIDATES_MAX * 2)]
    lookup = Lookup(TARGET, everybody)
    ranked = sorted(everybody, key=lambda it: distance(it.id, TARGET))
    assert answer_all(lookup) == ranked[:K]
    asked = []
    while (it := ask(lookup)) is not None or not lookup.is_done:
        assert it is not None
        lookup.failed(it.endpoint)
        asked.append(it)
    assert asked == []


def test_a_candidate_that_was_let_go_may_be_named_again() -> None:
    far = Contact(NodeId(b"\xff" * 20), public(60_000))
    near = [Contact(node_id(8, serial), public(serial)) for serial in range(CANDIDATES_MAX)]
    lookup = Lookup(TARGET, [far])
    lookup.add(near)
    for _ in range(CANDIDATES_MAX - K):
        it = ask(lookup)
        assert it is not None
        lookup.failed(it.endpoint)
    lookup.add([far])
    assert len(answer_all(lookup)) == K


# Whom to ask


def test_the_nearest_are_asked_first_and_no_more_than_alpha_at_once() -> None:
    lookup = Lookup(TARGET, ladder(10), alpha=4)
    assert ask_all(lookup) == ladder(10)[:-5:-1]
    lookup.answered(contact(9))
    assert ask_all(lookup) == [contact(5)]


def test_a_failed_query_makes_room_for_the_next() -> None:
    lookup = Lookup(TARGET, ladder(10), alpha=4)
    ask_all(lookup)
    lookup.failed(contact(9).endpoint)
    assert ask_all(lookup) == [contact(5)]


def test_a_slow_query_makes_room_but_may_still_be_answered() -> None:
    lookup = Lookup(TARGET, ladder(5), alpha=4)
    ask_all(lookup)
    lookup.slow(contact(4).endpoint)
    assert ask_all(lookup) == [contact(0)]
    lookup.answered(contact(4))
    assert lookup.closest() == [contact(4)]
    assert not is_done(lookup)


def test_a_slow_candidate_is_asked_once_more_when_nobody_else_is_left() -> None:
    lookup = Lookup(TARGET, [contact(5)])
    for _ in range(ATTEMPTS_MAX):
        assert ask(lookup) == contact(5)
        assert lookup.next_query() is None
        lookup.slow(contact(5).endpoint)
    assert lookup.next_query() is None
    assert not is_done(lookup)


def test_those_not_asked_yet_come_before_those_that_are_slow() -> None:
    lookup = Lookup(TARGET, ladder(6), alpha=4)
    ask_all(lookup)
    lookup.slow(contact(5).endpoint)
    lookup.slow(contact(4).endpoint)
    assert ask_all(lookup) == [contact(1), contact(0)]
    lookup.answered(contact(3))
    assert ask(lookup) == contact(5)


def test_a_slow_candidate_that_cannot_change_the_result_is_not_asked_again() -> None:
    lookup = Lookup(TARGET, [contact(0)])
    ask(lookup)
    lookup.slow(contact(0).endpoint)
    lookup.add(ladder(K, first=1))
    answer_all(lookup)
    assert lookup.next_query() is None
    assert is_done(lookup)


def test_a_candidate_asked_twice_fails_when_both_queries_have() -> None:
    lookup = Lookup(TARGET, [contact(5)])
    ask(lookup)
    lookup.slow(contact(5).endpoint)
    ask(lookup)
    lookup.failed(contact(5).endpoint)
    assert not is_done(lookup)
    lookup.failed(contact(5).endpoint)
    assert is_done(lookup)
    assert lookup.failed_count == 1


@pytest.mark.parametrize("second", ["answered", "failed", "slow and failed"])
def test_what_becomes_of_a_second_query_after_an_answer_changes_nothing(second: str) -> None:
    lookup = Lookup(TARGET, [contact(5)])
    ask(lookup)
    lookup.slow(contact(5).endpoint)
    ask(lookup)
    lookup.answered(contact(5))
    if second == "answered":
        lookup.answered(contact(5), ladder(6, first=6))
    else:
        lookup.add(ladder(6, first=6))
        if second == "slow and failed":
            lookup.slow(contact(5).endpoint)
        lookup.failed(contact(5).endpoint)
    assert lookup.closest() == [contact(5)]
    assert (lookup.answered_count, lookup.failed_count) == (1, 0)
    assert len(ask_all(lookup)) == ALPHA


# When it is done


def test_a_lookup_is_done_when_the_k_nearest_have_answered() -> None:
    lookup = Lookup(TARGET, ladder(20))
    assert answer_all(lookup) == ladder(20)[: -K - 1 : -1]
    assert is_done(lookup)
    assert lookup.closest() == ladder(20)[: -K - 1 : -1]


@pytest.mark.parametrize("slow", [False, True])
def test_a_lookup_waits_for_a_near_candidate_in_flight(slow: bool) -> None:
    lookup = Lookup(TARGET, ladder(K + 1))
    nearest = ask(lookup)
    assert nearest is not None
    if slow:
        lookup.slow(nearest.endpoint)
    while not lookup.is_done and (it := lookup.next_query()) not in (None, nearest):
        assert it is not None
        lookup.asked(it.endpoint)
        lookup.answered(it)
    assert not is_done(lookup)
    lookup.failed(nearest.endpoint)
    answer_all(lookup)
    assert is_done(lookup)
    assert len(lookup.closest()) == K


def test_the_dead_are_not_counted_among_the_k_nearest() -> None:
    lookup = Lookup(TARGET, ladder(20))
    for bits in range(19, 9, -1):
        assert ask(lookup) == contact(bits)
        lookup.failed(contact(bits).endpoint)
    assert answer_all(lookup) == ladder(10)[: -K - 1 : -1]
    assert is_done(lookup)


def test_a_round_that_brings_nothing_nearer_is_not_the_end() -> None:
    lookup = Lookup(TARGET, ladder(4))
    for it in ask_all(lookup):
        lookup.answered(it)
    assert is_done(lookup)
    lookup.add([contact(0, 7)])
    assert not is_done(lookup)


def test_a_lookup_struggles_when_k_are_slow_and_none_has_answered() -> None:
    lookup = Lookup(TARGET, ladder(K + 1))
    for it in ladder(K + 1)[:0:-1]:
        assert not lookup.is_struggling
        assert ask(lookup) == it
        lookup.slow(it.endpoint)
    assert lookup.is_struggling
    lookup.answered(contact(K))
    assert not lookup.is_struggling


# Whole walks


class World:
    """Many nodes, some of them dead; each that answers names most of those near the target."""

    def __init__(self, seed: int, size: int, dead_share: float) -> None:
        self.rng = random.Random(seed)
        self.target = random_id(self.rng)
        nodes = [Contact(random_id(self.rng), public(serial)) for serial in range(size)]
        self.ranked = sorted(nodes, key=lambda it: distance(it.id, self.target))
        self.dead = set(self.rng.sample(nodes, int(size * dead_share)))
        self.living = [it for it in self.ranked if it not in self.dead]

    def named_by_one(self) -> list[Contact]:
        return [it for it in self.ranked[: 4 * K] if self.rng.random() < 0.7][: 2 * K]


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 0.6]))
def test_a_walk_ends_with_the_closest_living_whatever_the_order_of_events(
    seed: int, dead_share: float
) -> None:
    world = World(seed, 60, dead_share)
    lookup = Lookup(world.target, world.rng.sample(world.living, 3))
    pending: list[tuple[Contact, bool]] = []
    times_asked: dict[Endpoint, int] = {}
    while not lookup.is_done:
        wanted = lookup.next_query()
        assert wanted is not None or pending, "nothing to send and nothing to wait for"
        if wanted is not None and (not pending or world.rng.random() < 0.5):
            lookup.asked(wanted.endpoint)
            pending.append((wanted, False))
            times_asked[wanted.endpoint] = times_asked.get(wanted.endpoint, 0) + 1
            continue
        it, is_slow = pending.pop(world.rng.randrange(len(pending)))
        if not is_slow and (it in world.dead or world.rng.random() < 0.3):
            lookup.slow(it.endpoint)
            pending.append((it, True))
        elif it in world.dead:
            lookup.failed(it.endpoint)
        else:
            lookup.answered(it, world.named_by_one())
    assert max(times_asked.values()) <= ATTEMPTS_MAX
    assert lookup.asked_count == sum(times_asked.values()) < QUERIES_MAX
    assert all(it not in world.dead for it in lookup.closest())
    asked = [it for it in world.living if it.endpoint in times_asked]
    assert lookup.closest()[:K] == [it for it in asked if it in lookup.closest()][:K]


@pytest.mark.parametrize("seed", range(5))
def test_a_walk_finds_the_true_k_closest_although_a_third_is_dead(seed: int) -> None:
    world = World(seed, 1_000, dead_share=0.3)
    lookup = Lookup(world.target, world.rng.sample(world.living, K))
    while (it := ask(lookup)) is not None:
        if it in world.dead:
            lookup.failed(it.endpoint)
        else:
            lookup.answered(it, world.named_by_one())
    assert is_done(lookup)
    assert lookup.closest()[:K] == world.living[:K]
    assert lookup.asked_count < 50
