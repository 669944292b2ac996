"""Keeping a port mapped: what is tried, when it is renewed, and that it is given back."""

import pytest
import trio
import trio.testing

from dht.contact import endpoint
from dht.errors import MappingFailed
from dht.mapping.keeper import RETRY_S, UNMAP_TIMEOUT_S, MappingKeeper
from dht.mapping.lease import RENEW_MIN_S, Lease, Transport, Wish
from dht.mapping.status import MappingStatus, Phase


class FakeMapper:
    """Grants as long as it is willing."""

    def __init__(self, name: str, *, willing: bool = True, lifetime_s: int = 7200) -> None:
        self.name = name
        self.willing = willing
        self.lifetime_s = lifetime_s
        self.asked: list[tuple[float, Wish]] = []
        self.returned: list[Lease] = []
        self.stuck = False

    async def map(self, wish: Wish) -> Lease:
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), wish))
        if not self.willing:
            raise MappingFailed("no")
        external = endpoint("45.9.0.2", 7_777)
        return Lease(wish.transport, wish.port, external, self.lifetime_s)

    async def unmap(self, lease: Lease) -> None:
        if self.stuck:
            await trio.sleep_forever()
        if not self.willing:
            raise MappingFailed("no")
        self.returned.append(lease)


def keeper(*mappers: FakeMapper) -> MappingKeeper:
    return MappingKeeper(Transport.UDP, 6881, mappers)


async def run_for(seconds: float, kept: MappingKeeper) -> None:
    with trio.move_on_after(seconds):
        await kept.run()


async def test_a_failure_of_all_is_no_exception_and_is_repeated(
    autojump_clock: trio.testing.MockClock,
) -> None:
    first, second = FakeMapper("A", willing=False), FakeMapper("B", willing=False)
    kept = keeper(first, second)
    await run_for(RETRY_S + 1, kept)
    assert [at for at, _ in first.asked] == [0.0, RETRY_S]
    assert kept.status == MappingStatus(Phase.FAILED, failures=4, reasons=("A: no", "B: no"))
    assert first.returned == second.returned == []


async def test_the_first_that_can_does(autojump_clock: trio.testing.MockClock) -> None:
    first, second, third = FakeMapper("A", willing=False), FakeMapper("B"), FakeMapper("C")
    kept = keeper(first, second, third)
    assert kept.status == MappingStatus(Phase.TRYING)
    await run_for(10.0, kept)
    external = endpoint("45.9.0.2", 7_777)
    assert kept.status == MappingStatus(Phase.MAPPED, "B", external, grants=1, failures=1)
    assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 1, 0)


async def test_a_lease_is_renewed_at_half_its_lifetime_where_it_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    unable, able = FakeMapper("A", willing=False), FakeMapper("B", lifetime_s=1_000)
    await run_for(1_100.0, keeper(unable, able))
    assert [at for at, _ in able.asked] == [0.0, 500.0, 1_000.0]
    assert [wish.external_port for _, wish in able.asked] == [6881, 7_777, 7_777]
    assert len(unable.asked) == 1


async def test_a_short_lease_does_not_make_us_a_nuisance(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mapper = FakeMapper("A", lifetime_s=1)
    await run_for(RENEW_MIN_S + 1, keeper(mapper))
    assert len(mapper.asked) == 2


async def test_when_a_renewal_fails_the_others_are_tried(
    autojump_clock: trio.testing.MockClock,
) -> None:
    first, second = FakeMapper("A", lifetime_s=1_000), FakeMapper("B")
    kept = keeper(first, second)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_for, 600.0, kept)
        await trio.sleep(100)
        first.willing = False
    assert kept.status.method == "B"
    assert len(second.returned) == 1


async def test_the_port_is_given_back_at_the_end(autojump_clock: trio.testing.MockClock) -> None:
    mapper = FakeMapper("A")
    await run_for(10.0, keeper(mapper))
    assert [lease.port for lease in mapper.returned] == [6881]


@pytest.mark.parametrize("stuck", [True, False])
async def test_a_router_that_does_not_take_it_holds_nobody_up(
    autojump_clock: trio.testing.MockClock, stuck: bool
) -> None:
    mapper = FakeMapper("A")
    mapper.stuck = stuck
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_for, 10.0, keeper(mapper))
        await trio.sleep(5)
        mapper.willing = False
    assert trio.current_time() == 10.0 + (UNMAP_TIMEOUT_S if stuck else 0)
