import math
import random

import pytest

from dht.contact import Endpoint
from dht.errors import QueryRefused
from dht.transactions import (
    FAIL_MAX_S,
    FAIL_MIN_S,
    IN_FLIGHT_MAX,
    SLOW_MAX_S,
    SLOW_MIN_S,
    TRANSACTION_ID_BYTES,
    Expiry,
    RoundTrips,
    Transaction,
    Transactions,
)
from tests.dht.samples import public

ME = object()
SOMEBODY = object()


def fresh_transactions() -> Transactions[object]:
    return Transactions(random.Random(1))


@pytest.mark.parametrize(
    ("source", "wrong_id"),
    [(public(2), False), (public(1, port=7), False), (public(1), True)],
    ids=["another address", "another port", "another id"],
)
def test_an_answer_to_nothing_asked_is_not_matched_and_the_query_stays_open(
    source: Endpoint, wrong_id: bool
) -> None:
    """BEP 5 "KRPC Protocol"; a reply counts from the very endpoint that was asked."""
    transactions = fresh_transactions()
    query = transactions.begin(public(1), ME, now=0.0)
    id = query.id[::-1] if wrong_id else query.id
    assert transactions.match(source, id, now=0.1) is None
    assert transactions.match(public(1), query.id, now=0.1) is query


def test_a_second_answer_is_not_matched() -> None:
    transactions = fresh_transactions()
    query = transactions.begin(public(1), ME, now=0.0)
    assert transactions.match(public(1), query.id, now=0.1) is query
    assert transactions.match(public(1), query.id, now=0.2) is None
    assert len(transactions) == 0


def test_an_answer_after_the_hard_deadline_is_not_matched() -> None:
    transactions = fresh_transactions()
    query = transactions.begin(public(1), ME, now=0.0)
    transactions.expire(now=query.fails_at)
    transactions.expire(now=query.fails_at)
    assert transactions.match(public(1), query.id, now=query.fails_at) is None


def test_an_answer_to_an_abandoned_query_is_not_matched() -> None:
    transactions = fresh_transactions()
    mine = [transactions.begin(public(serial), ME, now=0.0) for serial in (1, 2)]
    other = transactions.begin(public(1), SOMEBODY, now=0.0)
    transactions.abandon(ME)
    assert [transactions.match(it.endpoint, it.id, now=0.1) for it in mine] == [None, None]
    assert transactions.match(public(1), other.id, now=0.1) is other
    assert transactions.expire(now=100.0) == []
    assert transactions.next_deadline() == math.inf


def test_queries_in_flight_are_bounded() -> None:
    transactions = fresh_transactions()
    for _ in range(IN_FLIGHT_MAX):
        transactions.begin(public(1), ME, now=0.0)
    with pytest.raises(QueryRefused, match="too many queries in flight"):
        transactions.begin(public(2), ME, now=0.0)


def test_ids_are_four_bytes_and_hard_to_guess() -> None:
    transactions = fresh_transactions()
    ids = [transactions.begin(public(1), ME, now=0.0).id for _ in range(100)]
    assert {len(id) for id in ids} == {TRANSACTION_ID_BYTES}
    assert len(set(ids)) == 100
    assert sorted(ids) != ids


def test_an_id_in_use_is_not_given_again() -> None:
    class Loaded(random.Random):
        def randbytes(self, n: int) -> bytes:
            return next(draws)

    draws = iter([b"aaaa", b"aaaa", b"bbbb"])
    transactions: Transactions[object] = Transactions(Loaded())
    assert transactions.begin(public(1), ME, now=0.0).id == b"aaaa"
    assert transactions.begin(public(2), ME, now=0.0).id == b"bbbb"
    assert transactions.has(b"aaaa")
    assert not transactions.has(b"cccc")


def test_a_query_is_slow_first_and_has_failed_later() -> None:
    transactions = fresh_transactions()
    query = transactions.begin(public(1), ME, now=10.0)
    soft, hard = 10.0 + transactions.round_trips.slow_s, query.fails_at
    assert transactions.next_deadline() == soft < hard
    assert transactions.expire(now=soft - 0.01) == []
    assert transactions.expire(now=soft) == [Expiry(query, failed=False)]
    assert transactions.next_deadline() == hard
    assert len(transactions) == 1
    assert transactions.expire(now=hard) == [Expiry(query, failed=True)]
    assert transactions.next_deadline() == math.inf
    assert len(transactions) == 0


def test_a_slow_query_may_still_be_answered() -> None:
    transactions = fresh_transactions()
    query = transactions.begin(public(1), ME, now=0.0)
    transactions.expire(now=1.0)
    assert transactions.match(public(1), query.id, now=1.5) is query
    assert transactions.expire(now=100.0) == []


def test_deadlines_come_in_order_and_both_at_once_after_a_long_pause() -> None:
    transactions = fresh_transactions()
    first = transactions.begin(public(1), ME, now=0.0)
    second = transactions.begin(public(2), ME, now=0.5)

    def order(passed: list[Expiry[object]]) -> list[tuple[Transaction[object], bool]]:
        return [(it.transaction, it.failed) for it in passed]

    assert order(transactions.expire(now=60.0)) == [
        (first, False),
        (second, False),
        (first, True),
        (second, True),
    ]


def test_deadlines_follow_the_round_trips_within_bounds() -> None:
    trips = RoundTrips()
    assert (trips.slow_s, trips.fail_s) == (1.0, 5.0)
    for rtt_s, slow_s, fail_s in (
        (0.001, SLOW_MIN_S, FAIL_MIN_S),
        (0.5, 0.6, 3.0),
        (60.0, SLOW_MAX_S, FAIL_MAX_S),
    ):
        for _ in range(512):
            trips.observe(rtt_s)
        assert trips.slow_s == pytest.approx(slow_s)
        assert trips.fail_s == pytest.approx(fail_s)


def test_a_few_slow_nodes_do_not_make_everybody_wait() -> None:
    trips = RoundTrips()
    for index in range(256):
        trips.observe(1.5 if index % 20 == 0 else 0.1)
    assert trips.slow_s == pytest.approx(0.12)


def test_an_answer_shortens_patience_for_the_next_query() -> None:
    transactions = fresh_transactions()
    for serial in range(16):
        query = transactions.begin(public(serial), ME, now=0.0)
        transactions.match(public(serial), query.id, now=0.2)
    query = transactions.begin(public(99), ME, now=1.0)
    assert transactions.next_deadline() == pytest.approx(1.24)
    assert query.fails_at == pytest.approx(1.0 + FAIL_MIN_S)
