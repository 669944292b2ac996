import random
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.contact import Contact, Endpoint, Family, decode_contacts
from dht.keyspace import ID_BITS, NodeId, distance, random_id, shared_prefix
from dht.routing import (
    FAILURES_BAD,
    FAILURES_DROPPED,
    GOOD_FOR_S,
    NODES_PER_NETWORK_MAX,
    REPLACEMENTS_MAX,
    K,
    RoutingTable,
    Status,
)
from tests.dht.samples import ZERO_ID, contact, loopback, node_id, public, public6

RTT_S = 0.1


def fresh_table(own_id: NodeId = ZERO_ID, family: Family = Family.IPV4) -> RoutingTable:
    return RoutingTable(own_id, family, now=0.0)


def answered(table: RoutingTable, *contacts: Contact, now: float = 0.0) -> list[bool]:
    return [table.answered(it, rtt_s=RTT_S, now=now) for it in contacts]


def failed(table: RoutingTable, endpoint: Endpoint, times: int) -> None:
    for _ in range(times):
        table.failed(endpoint)


def bucketful(shared_bits: int, count: int = K, first: int = 0) -> list[Contact]:
    return [contact(shared_bits, serial) for serial in range(first, first + count)]


def full_far_bucket() -> RoutingTable:
    """Return a table whose farthest bucket is full and cannot split."""
    table = fresh_table()
    answered(table, *bucketful(0), contact(1))
    return table


def endpoints(table: RoutingTable) -> set[Endpoint]:
    return {node.contact.endpoint for node in table}


# Who does not enter


def test_ourselves_are_no_entry() -> None:
    table = fresh_table()
    assert answered(table, Contact(ZERO_ID, public(1))) == [False]
    assert not table.queried(Contact(ZERO_ID, public(1)), now=0.0)
    assert len(table) == 0


def test_who_only_queried_us_is_no_entry() -> None:
    table = fresh_table()
    assert table.queried(contact(0), now=0.0)
    assert len(table) == 0


def test_an_address_holds_one_entry() -> None:
    """A second endpoint at a public address, as one machine can open any number of ports."""
    table = fresh_table()
    assert answered(table, Contact(node_id(0), public(1, port=1))) == [True]
    assert answered(table, Contact(node_id(3), public(1, port=2))) == [False]
    assert not table.queried(Contact(node_id(3), public(1, port=2)), now=0.0)
    assert table.find(public(1, port=2)) is None


def test_a_second_endpoint_takes_over_when_the_first_has_fallen_silent() -> None:
    table = fresh_table()
    answered(table, Contact(node_id(0), public(1, port=1)))
    moved = Contact(node_id(0), public(1, port=2))
    assert answered(table, moved, now=GOOD_FOR_S) == [True]
    assert endpoints(table) == {moved.endpoint}


def test_a_local_address_may_hold_many_entries() -> None:
    table = fresh_table()
    contacts = [Contact(node_id(0, serial), loopback(1, port=1 + serial)) for serial in range(K)]
    assert all(answered(table, *contacts))


@pytest.mark.parametrize(("place", "family"), [(public, Family.IPV4), (public6, Family.IPV6)])
def test_twenty_nodes_of_one_network_take_one_place_in_a_bucket(
    place: Callable[..., Endpoint], family: Family
) -> None:
    table = fresh_table(family=family)
    for host in range(1, 21):
        assert answered(table, Contact(node_id(0, host), place(1, host=host))) == [host == 1]
    assert not table.queried(Contact(node_id(0, 99), place(1, host=99)), now=0.0)
    assert table.queried(Contact(node_id(0, 99), place(2, host=99)), now=0.0)


def test_a_network_has_so_many_entries_in_the_whole_table_and_no_more() -> None:
    table = fresh_table()
    entered = []
    for bits in range(NODES_PER_NETWORK_MAX + 5):
        answered(table, *bucketful(bits, K - 1, first=1))
        entered += answered(table, Contact(node_id(bits), public(60_000, host=1 + bits)))
    assert entered == [True] * NODES_PER_NETWORK_MAX + [False] * 5


def test_a_node_that_left_makes_room_for_its_network() -> None:
    table = fresh_table()
    answered(table, Contact(node_id(0, 1), public(1, host=1)))
    failed(table, public(1, host=1), FAILURES_DROPPED)
    assert len(table) == 0
    assert answered(table, Contact(node_id(0, 2), public(1, host=2))) == [True]


def test_a_local_node_that_left_makes_room_like_any_other() -> None:
    table = fresh_table()
    answered(table, *[Contact(node_id(0, serial), loopback(serial)) for serial in range(K)])
    answered(table, Contact(node_id(1), loopback(100)))
    failed(table, loopback(3), FAILURES_DROPPED)
    assert table.find(loopback(3)) is None
    assert answered(table, Contact(node_id(0, 99), loopback(3))) == [True]


# Full buckets


def test_a_ninth_node_splits_the_only_bucket_and_nobody_is_lost() -> None:
    table = fresh_table()
    contacts = [*bucketful(0, 4), *bucketful(1, 3), *bucketful(2, 2)]
    assert all(answered(table, *contacts))
    assert {node.contact for node in table} == set(contacts)
    assert table.depth == 2


def test_nodes_that_share_many_bits_split_as_often_as_needed() -> None:
    table = fresh_table()
    contacts = bucketful(100, K + 1)
    assert answered(table, *contacts) == [True] * K + [False]
    assert table.depth == 102
    assert len(table) == K


def test_the_deepest_bucket_does_not_split() -> None:
    table = fresh_table()
    for bits in range(ID_BITS):
        answered(table, Contact(node_id(bits), loopback(bits)))
    crowd = [Contact(node_id(ID_BITS - 1), loopback(1_000 + serial)) for serial in range(2 * K)]
    assert answered(table, *crowd)[K:] == [False] * K
    assert table.depth == ID_BITS


def test_a_newcomer_to_a_full_far_bucket_of_good_nodes_waits() -> None:
    table = full_far_bucket()
    assert answered(table, contact(0, 99)) == [False]
    assert not table.queried(contact(0, 98), now=0.0)
    assert table.questionable(now=0.0) == []
    assert len(table) == K + 1


def test_a_stranger_is_worth_a_ping_where_a_node_is_questionable() -> None:
    table = full_far_bucket()
    answered(table, *bucketful(0)[1:], now=1.0)
    assert not table.queried(contact(0, 98), now=GOOD_FOR_S - 1)
    assert table.queried(contact(0, 98), now=GOOD_FOR_S)


def test_a_questionable_node_that_answers_keeps_its_place() -> None:
    table = full_far_bucket()
    answered(table, *bucketful(0)[1:], now=100.0)
    silent = table.questionable(now=GOOD_FOR_S + 1)
    assert [node.contact for node in silent] == [contact(0, 0), contact(1)]
    assert answered(table, contact(0, 99), now=GOOD_FOR_S + 1) == [False]
    answered(table, contact(0, 0), now=GOOD_FOR_S + 2)
    assert table.find(contact(0, 0).endpoint) is not None
    assert table.find(contact(0, 99).endpoint) is None


def test_a_questionable_node_that_fails_twice_is_replaced_by_who_waits() -> None:
    table = full_far_bucket()
    answered(table, contact(0, 98), contact(0, 99))
    table.failed(contact(0, 0).endpoint)
    assert table.find(contact(0, 0).endpoint) is not None
    table.failed(contact(0, 0).endpoint)
    assert table.find(contact(0, 0).endpoint) is None
    assert table.find(contact(0, 99).endpoint) is not None
    assert table.find(contact(0, 98).endpoint) is None


def test_a_bad_node_gives_its_place_to_the_next_newcomer() -> None:
    table = full_far_bucket()
    failed(table, contact(0, 0).endpoint, FAILURES_BAD)
    assert table.find(contact(0, 0).endpoint) is not None
    assert answered(table, contact(0, 99)) == [True]
    assert table.find(contact(0, 0).endpoint) is None


def test_a_bad_node_leaves_in_the_end_even_if_nobody_waits() -> None:
    table = full_far_bucket()
    failed(table, contact(0, 0).endpoint, FAILURES_DROPPED - 1)
    assert len(table) == K + 1
    table.failed(contact(0, 0).endpoint)
    assert len(table) == K


def test_those_who_wait_longest_are_forgotten_first() -> None:
    table = full_far_bucket()
    answered(table, *bucketful(0, REPLACEMENTS_MAX + 2, first=50))
    for gone in bucketful(0):
        failed(table, gone.endpoint, FAILURES_DROPPED)
    waited = set(bucketful(0, REPLACEMENTS_MAX, first=52))
    assert {node.contact for node in table} == waited | {contact(1)}


def test_who_waits_twice_waits_once() -> None:
    table = full_far_bucket()
    answered(table, *[contact(0, 99)] * 3, contact(0, 98))
    failed(table, contact(0, 0).endpoint, FAILURES_BAD)
    failed(table, contact(0, 1).endpoint, FAILURES_BAD)
    failed(table, contact(0, 2).endpoint, FAILURES_BAD)
    assert {contact(0, 98).endpoint, contact(0, 99).endpoint} <= endpoints(table)
    assert len(table) == K + 1


def test_who_waits_is_passed_over_if_its_address_has_come_in_elsewhere() -> None:
    table = full_far_bucket()
    answered(table, contact(0, 98), Contact(node_id(0, 99), public(9, port=1)))
    assert answered(table, Contact(node_id(1, 5), public(9, port=2))) == [True]
    failed(table, contact(0, 0).endpoint, FAILURES_BAD)
    assert table.find(public(9, port=2)) is not None
    assert table.find(contact(0, 98).endpoint) is not None


def test_who_waits_is_passed_over_if_its_network_has_come_in_before() -> None:
    table = full_far_bucket()
    answered(table, Contact(node_id(0, 98), public(999, host=1)))
    answered(table, Contact(node_id(0, 99), public(999, host=2)))
    failed(table, contact(0, 0).endpoint, FAILURES_BAD)
    failed(table, contact(0, 1).endpoint, FAILURES_BAD)
    assert table.find(public(999, host=2)) is not None
    assert table.find(public(999, host=1)) is None
    assert len(table) == K


# One endpoint, another id


def test_a_known_endpoint_with_a_new_id_loses_its_entry_and_gets_another() -> None:
    table = fresh_table()
    answered(table, contact(0))
    renamed = Contact(node_id(3), contact(0).endpoint)
    assert answered(table, renamed) == [True]
    assert [node.contact for node in table] == [renamed]


def test_a_query_under_a_new_id_deserves_a_ping_but_neither_enters_nor_refreshes() -> None:
    table = fresh_table()
    answered(table, contact(0))
    assert table.queried(Contact(node_id(3), contact(0).endpoint), now=500.0)
    assert table.good_count(now=GOOD_FOR_S) == 0


def test_the_place_of_a_renamed_node_is_not_taken_by_our_own_id() -> None:
    table = fresh_table()
    answered(table, contact(0))
    assert answered(table, Contact(ZERO_ID, contact(0).endpoint)) == [False]
    assert len(table) == 0


# Good, questionable, bad


def test_a_node_is_questionable_after_fifteen_minutes_of_silence() -> None:
    """BEP 5 "Routing Table"."""
    table = fresh_table()
    answered(table, contact(0))
    (node,) = table
    assert node.status(now=GOOD_FOR_S - 1) is Status.GOOD
    assert node.status(now=GOOD_FOR_S) is Status.QUESTIONABLE
    assert table.questionable(now=GOOD_FOR_S) == [node]


def test_a_query_of_a_node_that_has_answered_before_keeps_it_good() -> None:
    table = fresh_table()
    answered(table, contact(0))
    assert not table.queried(contact(0), now=800.0)
    (node,) = table
    assert node.status(now=GOOD_FOR_S + 700) is Status.GOOD


def test_one_failure_makes_a_node_questionable_and_two_make_it_bad() -> None:
    table = fresh_table()
    answered(table, contact(0))
    (node,) = table
    for status in (Status.QUESTIONABLE, Status.BAD):
        table.failed(contact(0).endpoint)
        assert node.status(now=0.0) is status
    answered(table, contact(0), now=1.0)
    assert node.status(now=1.0) is Status.GOOD


def test_the_failure_of_a_stranger_changes_nothing() -> None:
    table = fresh_table()
    answered(table, contact(0))
    table.failed(public(99))
    table.failed(Endpoint(contact(0).endpoint[:4] + b"\0\1"))
    assert table.good_count(now=0.0) == 1


def test_the_silent_are_listed_longest_silence_first() -> None:
    table = fresh_table()
    for serial, now in ((1, 20.0), (2, 10.0), (3, 30.0)):
        answered(table, contact(0, serial), now=now)
    listed = [node.contact for node in table.questionable(now=2_000.0)]
    assert listed == [contact(0, 2), contact(0, 1), contact(0, 3)]


# Answers


def test_nobody_is_named_by_an_empty_table() -> None:
    assert fresh_table().nearest_compact(node_id(0), now=0.0) == b""
    assert fresh_table().closest(node_id(0), now=0.0) == []


def test_only_good_nodes_are_named() -> None:
    table = fresh_table()
    answered(table, *bucketful(0, 3))
    table.failed(contact(0, 0).endpoint)
    failed(table, contact(0, 1).endpoint, FAILURES_BAD)
    named = decode_contacts(table.nearest_compact(node_id(0), now=0.0), Family.IPV4)
    assert named == [contact(0, 2)]
    assert table.nearest_compact(node_id(0), now=GOOD_FOR_S) == b""


def test_our_own_searches_start_from_all_that_are_not_bad() -> None:
    table = fresh_table()
    answered(table, *bucketful(0, 3))
    table.failed(contact(0, 0).endpoint)
    failed(table, contact(0, 1).endpoint, FAILURES_BAD)
    assert set(table.closest(node_id(0), now=GOOD_FOR_S)) == {contact(0, 0), contact(0, 2)}


def test_a_prepared_answer_is_renewed_when_a_node_fails_comes_or_falls_silent() -> None:
    table = full_far_bucket()
    answered(table, contact(0, 3), now=50.0)

    def named(now: float) -> set[Contact]:
        return set(decode_contacts(table.nearest_compact(node_id(0), now=now), Family.IPV4))

    assert named(0.0) == set(bucketful(0))
    table.failed(contact(0, 0).endpoint)
    assert named(0.0) == {*bucketful(0)[1:], contact(1)}
    table.failed(contact(0, 0).endpoint)
    answered(table, contact(0, 99), now=60.0)
    assert named(60.0) == {*bucketful(0)[1:], contact(0, 99)}
    assert named(GOOD_FOR_S) == {contact(0, 3), contact(0, 99)}
    answered(table, *bucketful(0)[1:], now=GOOD_FOR_S)
    assert named(GOOD_FOR_S) == {*bucketful(0)[1:], contact(0, 99)}


@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 20))
def test_the_closest_are_the_closest(seed: int, size: int, count: int) -> None:
    rng = random.Random(seed)
    table = fresh_table(random_id(rng))
    answered(table, *[Contact(random_id(rng), loopback(serial)) for serial in range(size)])
    for target in (random_id(rng), table.own_id):
        everybody = sorted((node.contact for node in table), key=lambda it: distance(it.id, target))
        assert table.closest(target, count, now=0.0) == everybody[:count]
        named = decode_contacts(table.nearest_compact(target, now=0.0), Family.IPV4)
        assert set(named) == set(everybody[:K])


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_after_any_event_the_nearest_good_nodes_are_named(seed: int) -> None:
    """Answers are prepared for each bucket, and must not outlive what they were made of."""
    rng = random.Random(seed)
    table = fresh_table(random_id(rng))
    known = [Contact(random_id(rng), loopback(serial)) for serial in range(80)]
    for step in range(200):
        now = step * 20.0
        it, target = rng.choice(known), rng.choice(known).id
        match rng.randrange(4):
            case 0:
                table.failed(it.endpoint)
            case 1:
                table.queried(it, now=now)
            case _:
                answered(table, it, now=now)
        good = [node.contact for node in table if node.is_good(now=now)]
        nearest = sorted(good, key=lambda it: distance(it.id, target))[:K]
        named = decode_contacts(table.nearest_compact(target, now=now), Family.IPV4)
        assert set(named) == set(nearest)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_a_table_under_random_events_keeps_its_promises(seed: int) -> None:
    rng = random.Random(seed)
    table = fresh_table()
    known = [
        Contact(
            node_id(rng.randrange(6), rng.randrange(1 << 16)),
            public(rng.randrange(12), rng.choice((1, 2)), host=rng.randrange(4)),
        )
        for _ in range(60)
    ]
    for step in range(200):
        now = step * 20.0
        it = rng.choice(known)
        match rng.randrange(4):
            case 0:
                table.failed(it.endpoint)
            case 1:
                table.queried(it, now=now)
            case _:
                entered = table.answered(it, rtt_s=RTT_S, now=now)
                node = table.find(it.endpoint)
                assert entered == (node is not None and node.contact == it)
        check_promises(table)


def check_promises(table: RoutingTable) -> None:
    """One entry an address, K in a bucket, one of a network in a bucket."""
    contacts = [node.contact for node in table]
    assert len({it.endpoint[:4] for it in contacts}) == len(contacts) == len(table)
    buckets = defaultdict(list)
    for it in contacts:
        buckets[min(shared_prefix(it.id, table.own_id), table.depth - 1)].append(it)
    for bucket in buckets.values():
        assert len({it.endpoint[:3] for it in bucket}) == len(bucket) <= K


# Refreshes


def test_a_bucket_in_which_nothing_changed_for_fifteen_minutes_is_stale() -> None:
    """BEP 5 "Routing Table"."""
    table = full_far_bucket()
    assert table.stale_prefixes(now=GOOD_FOR_S - 1) == []
    answered(table, contact(1), now=100.0)
    assert table.stale_prefixes(now=GOOD_FOR_S) == [0]
    table.mark_refreshed(0, now=GOOD_FOR_S)
    assert table.stale_prefixes(now=GOOD_FOR_S) == []
    assert table.stale_prefixes(now=GOOD_FOR_S + 100) == [1]


def test_a_bucket_that_is_gone_cannot_be_refreshed() -> None:
    table = fresh_table()
    table.mark_refreshed(7, now=0.0)
    assert table.depth == 1


def test_a_bucket_with_free_places_is_sparse_unless_it_is_the_last() -> None:
    table = fresh_table()
    assert table.sparse_prefixes() == []
    answered(table, *bucketful(0), contact(1), *bucketful(2), contact(3))
    assert table.depth == 4
    assert table.sparse_prefixes() == [1]
