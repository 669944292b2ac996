"""A walk through a zone, in models of networks whose nodes are silent, odd or inventive."""

import random
from collections.abc import Callable
from heapq import nsmallest

from dht.contact import Contact
from dht.errors import QueryTimeout
from dht.inquiry import Request
from dht.keyspace import NodeId, distance, random_id, shared_prefix
from dht.measure.zone import AT_ONCE, ATTEMPTS_MAX, OPEN_MAX, Zone, ZoneWalk
from tests.dht.samples import ZERO_ID, answer, contact, node_id, public

WHOLE = Zone(ZERO_ID, 0)


def walk(zone: Zone, seeds: list[Contact], *, queries_max: int = 10_000) -> ZoneWalk:
    return ZoneWalk(zone, seeds, random.Random(1), levels=6, queries_max=queries_max)


def next_request(walk: ZoneWalk) -> Request:
    request = walk.next_request()
    assert request is not None
    assert walk.next_request() is request
    walk.sent(request)
    return request


def test_a_walk_without_seeds_is_over() -> None:
    for seeds in ([], [contact(3)]):
        nowhere = walk(Zone(node_id(0), 8), seeds)
        assert nowhere.next_request() is None
        assert nowhere.is_done
        assert nowhere.is_complete


def test_a_silent_node_is_asked_again_and_not_counted() -> None:
    alone = walk(WHOLE, [contact(3)])
    for _ in range(ATTEMPTS_MAX):
        alone.failed(next_request(alone).endpoint, QueryTimeout(2.0))
    assert alone.is_complete
    assert alone.asked_count == ATTEMPTS_MAX
    assert alone.living == set()


def test_a_node_that_calls_itself_otherwise_is_not_counted() -> None:
    alone = walk(WHOLE, [contact(3)])
    at = next_request(alone).endpoint
    alone.answered(Contact(node_id(4), at), answer(), rtt_s=0.1)
    assert alone.is_complete
    assert alone.living == set()


def test_only_so_many_are_asked_at_once_unless_they_are_slow() -> None:
    busy = walk(WHOLE, [contact(0, serial) for serial in range(AT_ONCE + 1)])
    asked = [next_request(busy) for _ in range(AT_ONCE)]
    assert busy.next_request() is None
    busy.slow(asked[0].endpoint)
    next_request(busy)
    busy.answered(contact(0, 0), answer(), rtt_s=3.0)
    assert contact(0, 0) in busy.living


def test_endless_inventions_end_the_walk_and_it_is_not_complete() -> None:
    endless, serial = walk(WHOLE, [contact(0)], queries_max=50), 0
    while not endless.is_done:
        named = [contact(1, serial + i) for i in range(1, 9)]
        serial += 8
        at = next_request(endless).endpoint
        endless.answered(Contact(ZERO_ID, at), answer(named), rtt_s=0.1)
    assert endless.asked_count == 50
    assert not endless.is_complete


def test_targets_are_in_the_vicinity_of_who_is_asked() -> None:
    zone = Zone(node_id(2), 3)
    nodes = [Contact(zone.random_id(random.Random(i)), public(i)) for i in range(64)]
    asked, shared = walk(zone, nodes), set()
    for node in nodes:
        target = next_request(asked).arguments[b"target"]
        assert isinstance(target, bytes)
        assert zone.holds(NodeId(target))
        shared.add(min(shared_prefix(target, node.id), 12))
    assert len(shared) > 5


def test_all_of_a_zone_are_met_and_nobody_else_is_asked() -> None:
    rng = random.Random(5)
    nodes = [Contact(random_id(rng), public(serial)) for serial in range(800)]
    zone = Zone(nodes[0].id, 2)
    inside = {it for it in nodes if zone.holds(it.id)}
    dead = {it for it in nodes if it in inside and rng.random() < 0.25} - {nodes[0]}
    met = walk(zone, [nodes[0]])
    carry_out(met, nodes, is_dead=dead.__contains__)
    assert met.is_complete
    assert met.living <= inside - dead
    assert len(met.living) >= 0.95 * len(inside - dead)
    assert met.asked_count <= len(inside) + len(dead)


def carry_out(walk: ZoneWalk, nodes: list[Contact], *, is_dead: Callable[[Contact], bool]) -> None:
    """Let everybody answer with the nodes nearest to the target."""
    at = {it.endpoint: it for it in nodes}
    while (request := walk.next_request()) is not None:
        walk.sent(request)
        node, target = at[request.endpoint], request.arguments[b"target"]
        assert isinstance(target, bytes)
        if is_dead(node):
            walk.failed(node.endpoint, QueryTimeout(2.0))
            continue
        walk.answered(node, answer(nearest(nodes, target)), rtt_s=0.1)


def nearest(nodes: list[Contact], target: bytes) -> list[Contact]:
    return nsmallest(8, nodes, key=lambda it: distance(it.id, target))


def test_the_slow_are_not_left_without_bound() -> None:
    mostly_dead = walk(WHOLE, [contact(0, serial) for serial in range(OPEN_MAX + 1)])
    for _ in range(OPEN_MAX):
        mostly_dead.slow(next_request(mostly_dead).endpoint)
    assert mostly_dead.next_request() is None
