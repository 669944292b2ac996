"""Further paths: when they are walked, that they share nobody, and what they cost without need."""

import random
from collections.abc import Iterable

import pytest

from dht.contact import Contact, Endpoint
from dht.disjoint import PATHS, DisjointPaths
from dht.errors import QueryTimeout
from dht.inquiry import Request
from dht.keyspace import InfoHash, random_id
from dht.lookup import ALPHA, CANDIDATES_MAX, QUERIES_MAX, Lookup
from dht.routing import K
from dht.search import FindPeers, Search
from dht.suspicion import Rule, Suspicion
from tests.dht.samples import ZERO_ID, answer, node_id, public
from tests.dht.wire import Wire

USUAL = 1 << 150
"""The distance to the K-th nearest in the lookups that went before."""

SYBILS = [Contact(node_id(30, serial), public(100 + serial)) for serial in range(60)]
HONEST = [Contact(node_id(9, serial), public(200 + serial)) for serial in range(40)]


def judge(*, usual: int = USUAL, rules: Iterable[Rule] = Rule) -> Suspicion:
    suspicion = Suspicion(rules)
    suspicion.density.learn(usual)
    return suspicion


def search_among(candidates: Iterable[Contact], suspicion: Suspicion) -> Search[FindPeers]:
    return Search(FindPeers(), Lookup(ZERO_ID, candidates, scrutiny=suspicion.scrutiny()))


def walk(search: Search[FindPeers], named: Iterable[Contact] = ()) -> list[Endpoint]:
    """Let all who are asked answer at once, and name the same; return who was asked."""
    by_endpoint = {it.endpoint: it for it in (*SYBILS, *HONEST)}
    asked = []
    while (request := search.next_request()) is not None:
        assert search.next_request() == request
        search.sent(request)
        asked.append(request.endpoint)
        search.answered(by_endpoint[request.endpoint], answer(named), rtt_s=0.1)
    assert search.is_done
    return asked


@pytest.mark.parametrize(
    ("candidates", "suspicion"),
    [
        (SYBILS[:K] + HONEST, Suspicion()),  # Nothing to compare with.
        (SYBILS[:K] + HONEST, judge(rules=())),
        (SYBILS[:K] + HONEST, judge(usual=1 << 130)),  # Usual in a network so large.
        (SYBILS[: K - 1] + HONEST, judge()),  # Room for an honest one.
        (SYBILS[: K - 1], judge()),  # Too few to judge.
    ],
    ids=["new", "no rule", "large", "7 of 8", "few"],
)
def test_without_suspicion_there_is_one_path(
    candidates: list[Contact], suspicion: Suspicion
) -> None:
    search = search_among(candidates, suspicion)
    nearest = [it.endpoint for it in candidates[:K]]
    assert walk(search) == nearest
    assert [it.endpoint for it in search.closest()] == nearest
    assert search.lookups == (search.lookup,)
    assert Rule.DENSITY not in suspicion.counts


def test_a_crowd_opens_further_paths_that_share_nobody() -> None:
    suspicion = judge()
    search = search_among(SYBILS[:K] + HONEST, suspicion)
    asked = walk(search)
    assert len(search.lookups) == PATHS
    assert len(asked) == len(set(asked)) == PATHS * K
    assert suspicion.counts == {Rule.DENSITY: 1}


def test_a_further_path_asks_one_of_a_crowd() -> None:
    search = search_among(SYBILS + HONEST, judge())
    sybils = {it.endpoint for it in SYBILS}
    asked = walk(search, named=SYBILS)
    assert sum(it in sybils for it in asked) == K + PATHS - 1
    assert len(asked) == PATHS * K


def test_results_are_taken_from_each_path_in_turn() -> None:
    search = search_among(SYBILS[:K] + HONEST, judge())
    walk(search)
    honest = [it for it in search.closest()[:K] if it in HONEST]
    assert len(honest) == K - K // PATHS


def test_a_late_answer_on_the_first_path_helps_the_others() -> None:
    far, others = HONEST[-1], HONEST[:-1]
    search = search_among([far], judge())
    send(search)
    search.lookup.add(SYBILS[:K])
    walk(search)
    search.answered(far, answer(others), rtt_s=9.0)
    request = search.next_request()
    assert request is not None
    assert request.endpoint == others[0].endpoint
    assert not search.is_done


def test_what_seems_usual_teaches_what_is() -> None:
    suspicion = judge()
    walk(search_among(HONEST, suspicion))
    walk(search_among(SYBILS, suspicion))
    assert len(suspicion.density._radii) == 2


def test_all_paths_together_cost_no_more_than_a_lookup_may() -> None:
    endless = [
        Contact(node_id(30 if serial < K else 5, serial), public(serial)) for serial in range(4_000)
    ]
    search = search_among(endless[:K], judge())
    fresh = iter(endless[K:])
    by_endpoint = {it.endpoint: it for it in endless}
    asked = 0
    while (request := search.next_request()) is not None:
        search.sent(request)
        asked += 1
        named = [next(fresh) for _ in range(K)]
        # Whoever is asked has changed its id: it is no result, and the walk goes on.
        sender = by_endpoint[request.endpoint]
        sender = sender if sender in endless[:K] else Contact(node_id(1), sender.endpoint)
        search.answered(sender, answer(named), rtt_s=0.1)
    assert asked == QUERIES_MAX
    assert search.is_done


def test_a_further_path_goes_on_without_the_slow_and_the_dead() -> None:
    search = search_among(SYBILS[:K] + HONEST, judge())
    by_endpoint = {it.endpoint: it for it in (*SYBILS, *HONEST)}
    for _ in range(K):
        request = send(search)
        search.answered(by_endpoint[request.endpoint], answer(), rtt_s=0.1)
    dead = [send(search).endpoint for _ in range(ALPHA)]
    for at in dead:
        search.slow(at)
    alive = send(search).endpoint
    assert alive not in dead
    search.answered(by_endpoint[alive], answer(), rtt_s=0.1)
    for at in dead:
        search.failed(at, QueryTimeout(2.0))
    walk(search)
    assert not {it.endpoint for it in search.closest()} & set(dead)


def send(search: Search[FindPeers]) -> Request:
    request = search.next_request()
    assert request is not None
    search.sent(request)
    return request


def test_what_one_path_lets_go_another_may_take() -> None:
    first = Lookup(ZERO_ID, scrutiny=judge().scrutiny())
    paths = DisjointPaths(first)
    many = [Contact(node_id(5, serial), public(serial)) for serial in range(2 * CANDIDATES_MAX)]
    _, one, other, _ = paths.lookups
    one.add(many)
    other.add(many)
    taken = [{it.endpoint for it in path.unasked()} for path in (one, other)]
    assert [len(it) for it in taken] == [CANDIDATES_MAX] * 2
    assert not taken[0] & taken[1]


def test_an_honest_network_sees_the_same_queries_with_and_without_the_rules() -> None:
    ordinary = frozenset(Rule) - {Rule.DENSITY, Rule.SEVERAL}
    carried = []
    for rules in (frozenset(Rule), ordinary):
        wire, rng = Wire(), random.Random(5)
        engines = wire.add_network(30, suspicion=None)
        for engine in engines:
            engine._suspicion._rules = rules
        for _ in range(40):
            target = InfoHash(random_id(rng))
            rng.choice(engines).get_peers(target, now=wire.now)
            wire.run_for(5.0)
        carried.append([(it.data, it.source, it.to) for it in wire.carried])
        counts = [it.statistics(now=wire.now).counts for it in engines]
        assert not any(f"lies: {Rule.DENSITY.value}" in it for it in counts)
    assert carried[0] == carried[1]
