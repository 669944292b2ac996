import math
import random
from collections import Counter
from itertools import pairwise

import pytest

from dht.contact import Contact, Endpoint, Family
from dht.keyspace import shared_prefix
from dht.routing import GOOD_FOR_S, K, RoutingTable
from dht.upkeep import (
    FILL_S,
    JOIN_RETRY_MAX_S,
    JOIN_RETRY_MIN_S,
    NEIGHBOURHOOD_S,
    NEWCOMER_AGAIN_S,
    NEWCOMERS_BURST,
    NEWCOMERS_PER_S,
    PING_AGAIN_S,
    TICK_S,
    FindNearby,
    Join,
    PingNode,
    RefreshBucket,
    Task,
    Upkeep,
)
from tests.dht.samples import ZERO_ID, contact, loopback, public

JITTER = 1.2
"""The most by which an interval is stretched."""

DAY_S = 86_400.0


def fresh_table(*contacts: Contact) -> RoutingTable:
    table = RoutingTable(ZERO_ID, Family.IPV4, now=0.0)
    for it in contacts:
        table.answered(it, rtt_s=0.1, now=0.0)
    return table


def fresh_upkeep(table: RoutingTable | None = None) -> Upkeep:
    return Upkeep(table if table is not None else fresh_table(), random.Random(1), now=0.0)


def crowd(count: int) -> list[Contact]:
    """Return contacts that all find a place: a few in each bucket."""
    return [contact(serial // 4, serial % 4) for serial in range(count)]


def run(upkeep: Upkeep, until: float, *, start: float = 0.0) -> list[tuple[float, Task]]:
    """Sleep from deadline to deadline as the engine does; return what was due and when."""
    seen: list[tuple[float, Task]] = []
    now = start
    while (now := max(now, upkeep.next_deadline())) <= until:
        seen += [(now, task) for task in upkeep.due(now=now)]
        assert upkeep.next_deadline() > now
    return seen


def of(kind: type[Task], seen: list[tuple[float, Task]]) -> list[float]:
    return [at for at, task in seen if isinstance(task, kind)]


def pinged(tasks: list[Task]) -> list[Endpoint]:
    return [task.endpoint for task in tasks if isinstance(task, PingNode)]


# Joining


def test_a_node_that_knows_nobody_joins_at_the_first_tick_without_being_told() -> None:
    ((at, task),) = run(fresh_upkeep(), GOOD_FOR_S)
    assert task == Join()
    assert at <= JITTER * TICK_S


def test_a_join_is_due_as_soon_as_it_is_wanted_and_once_only() -> None:
    upkeep = fresh_upkeep()
    upkeep.want_join(now=3.0)
    assert upkeep.next_deadline() == 3.0
    assert upkeep.due(now=3.0) == [Join()]
    upkeep.want_join(now=4.0)
    assert of(Join, run(upkeep, 200.0, start=4.0)) == []


def test_a_join_that_brought_too_few_is_repeated_at_growing_intervals() -> None:
    upkeep = fresh_upkeep(fresh_table(*crowd(K - 1)))
    upkeep.want_join(now=0.0)
    pauses = []
    now = 0.0
    for _ in range(12):
        assert Join() in upkeep.due(now=now)
        upkeep.join_ended(now=now)
        (after, *_) = of(Join, run(upkeep, now + 2 * JOIN_RETRY_MAX_S, start=now))
        upkeep.join_ended(now=after)
        upkeep.want_join(now=after)
        pauses.append(after - now)
        now = after
    assert 0.8 * JOIN_RETRY_MIN_S <= pauses[0] <= JITTER * JOIN_RETRY_MIN_S
    assert pauses[2] > 2 * pauses[0]
    assert 0.8 * JOIN_RETRY_MAX_S <= pauses[-1] <= JITTER * JOIN_RETRY_MAX_S


def test_a_join_that_brought_enough_is_not_repeated_while_they_are_good() -> None:
    table = fresh_table(*crowd(K))
    upkeep = fresh_upkeep(table)
    upkeep.want_join(now=0.0)
    upkeep.due(now=0.0)
    upkeep.join_ended(now=1.0)
    (again,) = of(Join, run(upkeep, GOOD_FOR_S + 2 * TICK_S, start=1.0))
    assert GOOD_FOR_S <= again <= GOOD_FOR_S + JITTER * TICK_S


def test_the_buckets_a_join_left_sparse_are_filled_soon_and_one_at_a_time() -> None:
    """Maymounkov and Mazieres, "Kademlia", section 2.3."""
    table = fresh_table(contact(0), contact(1), *[contact(2, serial) for serial in range(K)])
    table.answered(contact(3), rtt_s=0.1, now=0.0)
    upkeep = fresh_upkeep(table)
    upkeep.join_ended(now=0.0)
    seen = run(upkeep, 3 * JITTER * FILL_S)
    targets = [task.target for _, task in seen if isinstance(task, RefreshBucket)]
    assert [shared_prefix(target, ZERO_ID) for target in targets] == table.sparse_prefixes()
    assert len(set(of(RefreshBucket, seen))) == len(targets) == 2


def test_a_bucket_that_has_filled_meanwhile_is_left_alone() -> None:
    table = fresh_table(contact(0), *[contact(1, serial) for serial in range(K)])
    upkeep = fresh_upkeep(table)
    upkeep.join_ended(now=0.0)
    for serial in range(K):
        table.answered(contact(0, serial), rtt_s=0.1, now=0.0)
    assert of(RefreshBucket, run(upkeep, 10 * TICK_S)) == []


# Strangers who queried us


def test_a_stranger_is_greeted_once_in_ten_minutes() -> None:
    upkeep = fresh_upkeep()
    assert upkeep.greets(contact(0), now=0.0)
    assert not upkeep.greets(contact(0), now=NEWCOMER_AGAIN_S - 1)
    assert upkeep.greets(contact(0), now=NEWCOMER_AGAIN_S)


def test_strangers_are_greeted_at_a_bounded_rate() -> None:
    upkeep = fresh_upkeep()
    greeted = sum(upkeep.greets(contact(serial // 99, serial), now=0.0) for serial in range(200))
    assert greeted == NEWCOMERS_BURST
    assert not upkeep.greets(contact(9), now=0.0)
    assert upkeep.greets(contact(9), now=1.0 / NEWCOMERS_PER_S)


def test_so_many_strangers_are_remembered_and_no_more() -> None:
    upkeep = fresh_upkeep()
    for serial in range(2_001):
        assert upkeep.greets(Contact(contact(0).id, loopback(serial)), now=serial / 4)
    assert upkeep.greets(Contact(contact(0).id, loopback(0)), now=501.0)
    assert not upkeep.greets(Contact(contact(0).id, loopback(2_000)), now=501.0)


# Pings


def test_good_nodes_are_left_in_peace() -> None:
    upkeep = fresh_upkeep(fresh_table(*crowd(20)))
    assert of(PingNode, run(upkeep, GOOD_FOR_S - 1)) == []


def test_the_node_silent_longest_is_pinged_first_and_not_again_at_once() -> None:
    table = fresh_table(contact(0), contact(1), contact(2))
    table.queried(contact(0), now=50.0)
    upkeep = fresh_upkeep(table)
    seen = run(upkeep, GOOD_FOR_S + 100.0)
    order = [task.endpoint for _, task in seen if isinstance(task, PingNode)]
    assert order[:2] == [contact(1).endpoint, contact(2).endpoint]
    last: dict[Endpoint, float] = {}
    for at, task in seen:
        if isinstance(task, PingNode):
            assert at - last.get(task.endpoint, -math.inf) >= PING_AGAIN_S
            last[task.endpoint] = at
    assert len(order) > 3


def test_the_dead_do_not_keep_the_living_from_being_pinged() -> None:
    upkeep = fresh_upkeep(fresh_table(*crowd(12)))
    seen = run(upkeep, GOOD_FOR_S + 13 * JITTER * TICK_S)
    assert len({task.endpoint for _, task in seen if isinstance(task, PingNode)}) == 12


def test_a_large_table_is_pinged_within_its_fifteen_minutes() -> None:
    table = fresh_table(*crowd(400))
    assert len(table) == 400
    upkeep = fresh_upkeep(table)
    alive = {it.endpoint: it for it in crowd(400)}
    now = GOOD_FOR_S
    asked: Counter[Endpoint] = Counter()
    while now < 2 * GOOD_FOR_S:
        for endpoint in pinged(upkeep.due(now=now)):
            asked[endpoint] += 1
            table.answered(alive[endpoint], rtt_s=0.1, now=now)
        now = upkeep.next_deadline()
    assert set(asked) == set(alive)
    assert max(asked.values()) == 1


def test_a_questionable_node_is_pinged_and_replaced_after_two_failures() -> None:
    """BEP 5 "Routing Table"."""
    table = fresh_table(*[contact(0, serial) for serial in range(K)], contact(1))
    upkeep = fresh_upkeep(table)
    for serial in (*range(1, K), 99):
        table.answered(contact(0, serial), rtt_s=0.1, now=GOOD_FOR_S)
    table.answered(contact(1), rtt_s=0.1, now=GOOD_FOR_S)
    now, silent = GOOD_FOR_S, contact(0, 0).endpoint
    for _ in range(2):
        assert table.find(silent) is not None
        while pinged(upkeep.due(now=now)) != [silent]:
            now = upkeep.next_deadline()
        table.failed(silent)
    assert table.find(silent) is None
    assert table.find(contact(0, 99).endpoint) is not None


# Refreshes


def test_a_day_of_refreshes_is_spread_over_time() -> None:
    """BEP 5 "Routing Table": a bucket is refreshed after fifteen minutes without a change."""
    table = fresh_table(*crowd(20))
    upkeep = fresh_upkeep(table)
    refreshed: dict[int, list[float]] = {}
    now = 0.0
    while (now := upkeep.next_deadline()) < DAY_S:
        tasks = upkeep.due(now=now)
        targets = [task.target for task in tasks if isinstance(task, RefreshBucket)]
        assert len(targets) <= 1
        for target in targets:
            bits = min(shared_prefix(target, ZERO_ID), table.depth - 1)
            refreshed.setdefault(bits, []).append(now)
        for node in table:
            table.queried(node.contact, now=now)
    assert sorted(refreshed) == list(range(table.depth))
    for times in refreshed.values():
        pauses = [b - a for a, b in pairwise(times)]
        assert min(pauses) >= GOOD_FOR_S
        assert max(pauses) <= GOOD_FOR_S + table.depth * JITTER * TICK_S


def test_a_refresh_aims_into_its_bucket() -> None:
    table = fresh_table(*crowd(20))
    for node in table:
        table.queried(node.contact, now=GOOD_FOR_S)
    upkeep = fresh_upkeep(table)
    seen = run(upkeep, GOOD_FOR_S + 10 * JITTER * TICK_S)
    targets = [task.target for _, task in seen if isinstance(task, RefreshBucket)]
    assert [bucket_of(table, target) for target in targets] == list(range(table.depth))


def test_a_bucket_is_not_refreshed_while_a_node_of_it_is_pinged() -> None:
    """An answer is a change of its bucket. BEP 5 "Routing Table"."""
    table = fresh_table(*crowd(20))
    for serial in range(4):
        table.queried(contact(1, serial), now=GOOD_FOR_S)
    tasks = fresh_upkeep(table).due(now=GOOD_FOR_S)
    targets = [task.target for task in tasks if isinstance(task, RefreshBucket)]
    assert pinged(tasks) == [contact(0, serial).endpoint for serial in range(3)]
    assert [bucket_of(table, target) for target in targets] == [1]


def bucket_of(table: RoutingTable, id: bytes) -> int:
    return min(shared_prefix(id, table.own_id), table.depth - 1)


def test_our_neighbourhood_is_searched_about_every_ten_minutes() -> None:
    table = fresh_table(*crowd(20))
    upkeep = fresh_upkeep(table)
    times = of(FindNearby, run(upkeep, 10 * NEIGHBOURHOOD_S))
    assert 8 <= len(times) <= 12
    assert of(FindNearby, run(fresh_upkeep(), 10 * NEIGHBOURHOOD_S)) == []


@pytest.mark.parametrize("seed", range(3))
def test_nodes_started_together_do_not_work_in_step(seed: int) -> None:
    others = [Upkeep(fresh_table(), random.Random(seed + i), now=0.0) for i in range(10)]
    assert len({upkeep.next_deadline() for upkeep in others}) == 10


def test_an_address_of_no_use_is_not_greeted_twice_under_two_ids() -> None:
    upkeep = fresh_upkeep()
    assert upkeep.greets(Contact(contact(0).id, public(1)), now=0.0)
    assert not upkeep.greets(Contact(contact(1).id, public(1)), now=1.0)
