import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Endpoint, parse_endpoint
from dht.ratelimit import (
    ABUSE_EXCESS,
    ASKED_BURST,
    ASKED_PER_S,
    BLOCK_S,
    FLOW_LIFETIME_S,
    FLOWS_MAX,
    PARTIES_MAX,
    QUERIES_BURST,
    QUERIES_PER_S,
    SOURCE_LIFETIME_S,
    SOURCES_MAX,
    WRITES_BURST,
    WRITES_PER_S,
    Budget,
    Courtesy,
    FlowBudget,
    SourceLimiter,
    TokenBucket,
)
from dht.reachability import LATELY_S
from tests.dht.samples import loopback, public, public6


def admitted(limiter: SourceLimiter, source: Endpoint, times: int, *, now: float) -> int:
    return sum(limiter.admits(source, now=now) for _ in range(times))


def test_an_empty_bucket_gives_nothing_until_it_refills() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0, now=0.0)
    assert [bucket.take(now=0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.ready_at(now=0.0) == 0.5
    assert not bucket.take(now=0.4)
    assert bucket.take(now=0.5)
    assert not bucket.take(now=0.5)


def test_a_bucket_collects_no_more_than_its_burst() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0, now=0.0)
    assert sum(bucket.take(now=1_000.0) for _ in range(10)) == 3


def test_a_clock_that_stands_still_or_steps_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1.0, now=10.0)
    assert bucket.take(now=10.0)
    assert not bucket.take(now=10.0)
    assert not bucket.take(now=5.0)


@given(
    rate=st.floats(0.1, 10_000),
    burst=st.floats(0.1, 20),
    start=st.floats(0, 1e7),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=10),
)
def test_who_waits_until_a_bucket_is_ready_is_served(
    rate: float, burst: float, start: float, pauses: list[float]
) -> None:
    bucket = TokenBucket(rate, burst, now=start)
    now = start
    for pause in pauses:
        now += pause
        while bucket.take(now=now):
            pass
        now = bucket.ready_at(now=now)
        assert bucket.take(now=now)


def test_a_flood_is_answered_up_to_the_burst() -> None:
    """60 pings in 5 s from one address: no more than the burst and what 5 s bring."""
    limiter = SourceLimiter()
    answered = sum(limiter.admits(public(1), now=i / 12) for i in range(60 * 5))
    assert answered <= QUERIES_BURST + QUERIES_PER_S * 25 + 1
    assert admitted(SourceLimiter(), public(1), 60, now=0.0) == QUERIES_BURST


def test_a_flood_costs_its_sender_only() -> None:
    limiter = SourceLimiter()
    admitted(limiter, public(1), 1_000, now=0.0)
    assert limiter.admits(public(2), now=0.0)


def test_who_keeps_flooding_is_ignored_for_five_minutes() -> None:
    limiter = SourceLimiter()
    admitted(limiter, public(1), int(QUERIES_BURST) + ABUSE_EXCESS, now=0.0)
    assert not limiter.admits(public(1), now=BLOCK_S - 1)
    assert limiter.admits(public(1), now=BLOCK_S)


def test_who_is_refused_now_and_then_is_not_blocked() -> None:
    limiter = SourceLimiter()
    admitted(limiter, public(1), int(QUERIES_BURST), now=0.0)
    for second in range(1, 10):
        assert admitted(limiter, public(1), 50, now=float(second)) == QUERIES_PER_S


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (public(1, port=1), public(1, port=2), True),
        (public(1), public(2), False),
        (public6(1), parse_endpoint("[2a00:1::ffff:1]:9"), True),
        (public6(1), public6(2), False),
        (loopback(1, port=1), loopback(1, port=2), False),
    ],
)
def test_a_source_is_what_one_party_owns(one: Endpoint, other: Endpoint, shared: bool) -> None:
    limiter = SourceLimiter(rate=1.0, burst=1.0)
    assert limiter.admits(one, now=0.0)
    assert limiter.admits(other, now=0.0) is not shared


def test_the_limiter_can_be_switched_off() -> None:
    limiter = SourceLimiter(rate=math.inf)
    assert admitted(limiter, public(1), 1_000, now=0.0) == 1_000


def test_the_source_silent_longest_is_forgotten() -> None:
    limiter = SourceLimiter(rate=0.001, burst=1.0)
    limiter.admits(loopback(1), now=0.0)
    limiter.admits(loopback(2), now=0.0)
    limiter.admits(loopback(1), now=1.0)
    for serial in range(3, SOURCES_MAX + 2):
        limiter.admits(loopback(serial), now=2.0)
    assert not limiter.admits(loopback(1), now=3.0)
    assert limiter.admits(loopback(2), now=3.0)


def test_a_silent_source_is_forgotten_when_there_is_nothing_to_hold_against_it() -> None:
    limiter = SourceLimiter()
    admitted(limiter, public(1), int(QUERIES_BURST) + ABUSE_EXCESS, now=0.0)
    while limiter.admits_write(public(2), now=0.0):
        pass
    limiter.admits(public(3), now=SOURCE_LIFETIME_S)
    assert len(limiter._sources) == 1
    assert admitted(limiter, public(1), 60, now=SOURCE_LIFETIME_S) == QUERIES_BURST
    wrote = sum(limiter.admits_write(public(2), now=SOURCE_LIFETIME_S) for _ in range(100))
    assert wrote == WRITES_BURST


def test_a_source_of_a_slow_limiter_is_remembered_until_its_bucket_is_full() -> None:
    limiter = SourceLimiter(rate=0.001, burst=1.0)
    limiter.admits(public(1), now=0.0)
    limiter.admits(public(2), now=SOURCE_LIFETIME_S)
    assert not limiter.admits(public(1), now=999.0)


def test_new_endpoints_are_refused_beyond_the_budget() -> None:
    budget = FlowBudget(5.0, now=0.0)
    assert sum(budget.admits(public(serial), now=0.0) for serial in range(10)) == 5
    assert budget.opened == 5
    assert budget.ready_at(now=0.0) == pytest.approx(0.2)
    assert not budget.admits(public(9), now=0.1)
    assert budget.admits(public(9), now=0.2)


def test_an_open_flow_costs_nothing() -> None:
    budget = FlowBudget(1.0, now=0.0)
    assert budget.admits(public(1), now=0.0)
    assert all(budget.admits(public(1), now=0.0) for _ in range(10))
    assert not budget.admits(public(2), now=0.0)


def test_a_flow_is_open_until_it_was_silent_for_its_lifetime() -> None:
    budget = FlowBudget(1.0, now=0.0)
    budget.admits(public(1), now=0.0)
    budget.admits(public(1), now=20.0)
    assert budget.live_flows(now=20.0 + FLOW_LIFETIME_S - 1) == 1
    assert budget.live_flows(now=20.0 + FLOW_LIFETIME_S) == 0
    assert budget.admits(public(1), now=20.0 + FLOW_LIFETIME_S)
    assert budget.opened == 2


def test_without_a_limit_flows_are_counted_only() -> None:
    budget = FlowBudget(Budget.SERVER.endpoints_per_s, now=0.0)
    assert all(budget.admits(public(serial), now=0.0) for serial in range(1_000))
    assert budget.ready_at(now=0.0) == 0.0
    assert budget.live_flows(now=0.0) == budget.opened == 1_000


def test_so_many_flows_are_remembered_and_no_more() -> None:
    budget = FlowBudget(math.inf, now=0.0)
    for serial in range(FLOWS_MAX + 10):
        budget.admits(Endpoint(serial.to_bytes(6)), now=0.0)
    assert budget.live_flows(now=0.0) == FLOWS_MAX


@pytest.mark.parametrize(
    ("budget", "endpoints_per_s"),
    [(Budget.GENTLE, 20.0), (Budget.HOME, 80.0), (Budget.SERVER, math.inf)],
)
def test_a_budget_is_new_endpoints_per_second(budget: Budget, endpoints_per_s: float) -> None:
    assert budget.endpoints_per_s == endpoints_per_s
    assert FlowBudget(budget.endpoints_per_s, now=0.0).endpoints_per_s == endpoints_per_s


# What makes us store, and what we ask


def test_writes_have_a_limit_of_their_own() -> None:
    limiter = SourceLimiter()
    wrote = sum(limiter.admits_write(public(1), now=0.0) for _ in range(1_000))
    assert wrote == WRITES_BURST
    assert limiter.admits_write(public(2), now=0.0)
    assert limiter.admits(public(1), now=0.0)
    assert limiter.admits_write(public(1), now=1 / WRITES_PER_S)


def test_an_unlimited_limiter_does_not_limit_writes() -> None:
    limiter = SourceLimiter(rate=math.inf)
    assert all(limiter.admits_write(public(1), now=0.0) for _ in range(1_000))


def asked_within(courtesy: Courtesy, to: Endpoint, *, seconds: float) -> int:
    """Return how many queries leave for an endpoint if as many are sent as may be."""
    now, sent = 0.0, 0
    while (now := courtesy.ready_at(to, now=now)) < seconds and sent < 100:
        courtesy.asked(to, now=now)
        sent += 1
    return sent


@pytest.mark.parametrize("to", [public(1), public6(1)])
def test_an_address_is_asked_ten_times_in_ten_seconds_at_most(to: Endpoint) -> None:
    assert asked_within(Courtesy(), to, seconds=0.1) == ASKED_BURST
    assert asked_within(Courtesy(), to, seconds=10.0) == ASKED_BURST + 10 * ASKED_PER_S - 1


def test_an_address_is_asked_as_one_whatever_the_port() -> None:
    courtesy = Courtesy()
    asked_within(courtesy, public(1, port=1), seconds=0.1)
    assert courtesy.ready_at(public(1, port=2), now=0.0) > 0.0
    assert courtesy.ready_at(public(2), now=0.0) == 0.0
    assert courtesy.asked_at(public(1, port=3)) == 0.0


def test_local_nodes_may_be_asked_at_will() -> None:
    courtesy = Courtesy()
    assert asked_within(courtesy, loopback(1), seconds=1.0) == 100
    assert courtesy.asked_at(loopback(1)) == -math.inf


def test_an_address_is_forgotten_when_it_was_not_asked_lately() -> None:
    courtesy = Courtesy()
    asked_within(courtesy, public(1), seconds=0.1)
    courtesy.asked(public(2), now=LATELY_S)
    assert courtesy.asked_at(public(1)) == -math.inf
    assert courtesy.ready_at(public(1), now=LATELY_S) == LATELY_S


def test_so_many_addresses_asked_are_remembered_and_no_more() -> None:
    courtesy = Courtesy()
    for serial in range(PARTIES_MAX + 1):
        courtesy.asked(Endpoint(b"\x08" + serial.to_bytes(3) + b"\0\1"), now=0.0)
    assert courtesy.asked_at(Endpoint(b"\x08" + bytes(3) + b"\0\1")) == -math.inf
