"""How many connections there may be, over all links."""

from contextlib import ExitStack

import pytest
import trio
import trio.testing

from dht.contact import endpoint
from dht.ratelimit import Budget, FlowBudget
from magnet.resolve.admission import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_LINK_MAX,
    CONNECTIONS_PER_LINK_MIN,
    CONNECTIONS_UNLIMITED_MAX,
    Admission,
)

PEERS = [endpoint("192.0.2.1", port) for port in range(1, 9)]


@pytest.mark.parametrize(
    ("budget", "places"),
    [
        (Budget.GENTLE, CONNECTIONS_MAX),
        (Budget.HOME, CONNECTIONS_MAX),
        (Budget.SERVER, CONNECTIONS_UNLIMITED_MAX),
    ],
)
async def test_places_fit_the_budget(budget: Budget, places: int) -> None:
    flows = FlowBudget(budget.endpoints_per_s, now=0)
    assert Admission(flows).places.total_tokens == places
    assert Admission(flows, 3).places.total_tokens == 3


async def test_links_share_the_places() -> None:
    admission = Admission(FlowBudget(now=0), 100)
    assert admission.share == CONNECTIONS_PER_LINK_MAX
    with ExitStack() as links:
        for _ in range(5):
            links.enter_context(admission.link())
        assert admission.share == 20
        for _ in range(1_000):
            links.enter_context(admission.link())
        assert admission.share == CONNECTIONS_PER_LINK_MIN
    assert admission.share == CONNECTIONS_PER_LINK_MAX


async def test_those_who_wait_for_the_budget_pass_in_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    admission = Admission(FlowBudget(2.0, now=trio.current_time()))
    passed: list[tuple[int, float]] = []

    async def pass_budget(number: int) -> None:
        await admission.pass_budget(PEERS[number])
        passed.append((number, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(pass_budget, number)
            await trio.testing.wait_all_tasks_blocked()
    assert [number for number, _ in passed] == list(range(6))
    assert [at for _, at in passed] == pytest.approx([0, 0, 0.5, 1, 1.5, 2], abs=0.01)


async def test_whoever_stops_waiting_lets_the_next_pass(
    autojump_clock: trio.testing.MockClock,
) -> None:
    admission = Admission(FlowBudget(1.0, now=trio.current_time()))
    await admission.pass_budget(PEERS[0])
    with trio.move_on_after(0.1):
        await admission.pass_budget(PEERS[1])
    await admission.pass_budget(PEERS[2])
    assert trio.current_time() == pytest.approx(1)
