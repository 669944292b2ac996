"""Names that lead nowhere, or where they must not, and names that lead somewhere."""

import socket
import threading

import pytest
import trio.testing

from dht.contact import Family, endpoint
from magnet.errors import SourceError, SourceFault
from magnet.hosts import HostPort
from magnet.sources import hostnames
from magnet.sources.hostnames import (
    ADDRESSES_MAX,
    AT_ONCE,
    REMEMBERED_MAX,
    REMEMBERED_S,
    TIMEOUT_S,
    HostNames,
    ask_system,
)
from magnet.sources.reach import Reach
from tests.magnet.sources.conftest import NameService

PEER = HostPort("peer.example", 6881)


@pytest.fixture
def names(name_service: NameService) -> HostNames:
    return HostNames(Reach({Family.IPV4: endpoint("0.0.0.0", 0), Family.IPV6: endpoint("::", 0)}))


async def fault_of(names: HostNames, host: HostPort) -> SourceFault:
    with pytest.raises(SourceError) as caught:
        await names.look_up(host)
    return caught.value.fault


async def test_name_without_address(names: HostNames) -> None:
    assert await fault_of(names, PEER) is SourceFault.NO_ADDRESS


async def test_name_that_no_name_service_takes(names: HostNames) -> None:
    assert await fault_of(names, HostPort("a" * 64 + ".example", 1)) is SourceFault.NO_ADDRESS


async def test_name_that_the_system_does_not_take() -> None:
    with pytest.raises(UnicodeError):
        await ask_system("a" * 64 + ".example", trio.CapacityLimiter(1), lambda: None)


async def test_silent_system_keeps_no_threads_that_others_need(
    names: HostNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(hostnames, "ask_system", ask_system)
    monkeypatch.setattr(hostnames, "TIMEOUT_S", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    try:
        async with trio.open_nursery() as nursery:
            for number in range(AT_ONCE):
                nursery.start_soon(fault_of, names, HostPort(f"s{number}.example", 1))
        shared = trio.to_thread.current_default_thread_limiter()
        assert shared.borrowed_tokens == 0
        assert names._threads.borrowed_tokens == AT_ONCE
    finally:
        over.set()


async def test_system_is_asked(names: HostNames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostnames, "ask_system", ask_system)
    rows = [(0, 0, 0, "", ("8.8.8.8", 0))] * 2
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    assert await names.look_up(PEER) == {Family.IPV4: [endpoint("8.8.8.8", 6881)]}


async def test_silent_name_service(
    names: HostNames, name_service: NameService, autojump_clock: trio.testing.MockClock
) -> None:
    name_service.is_silent = True
    assert await fault_of(names, PEER) is SourceFault.NO_ADDRESS


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "::"]
)
async def test_name_that_leads_into_our_network(
    names: HostNames, name_service: NameService, address: str
) -> None:
    name_service.names["peer.example"] = [address]
    assert await fault_of(names, PEER) is SourceFault.NOT_ALLOWED


async def test_literal_address_out_of_reach(names: HostNames) -> None:
    assert await fault_of(names, HostPort("10.0.0.1", 80)) is SourceFault.NOT_ALLOWED


async def test_only_what_may_be_reached_is_returned(
    names: HostNames, name_service: NameService
) -> None:
    name_service.names["peer.example"] = ["8.8.8.8", "127.0.0.1", "2600::1", "8.8.8.8"]
    assert await names.look_up(PEER) == {
        Family.IPV4: [endpoint("8.8.8.8", 6881)],
        Family.IPV6: [endpoint("2600::1", 6881)],
    }


async def test_addresses_are_bounded(names: HostNames, name_service: NameService) -> None:
    name_service.names["peer.example"] = [f"8.8.8.{number}" for number in range(100)]
    assert len((await names.look_up(PEER))[Family.IPV4]) == ADDRESSES_MAX


async def test_literal_address_needs_no_name_service(
    names: HostNames, name_service: NameService
) -> None:
    at = endpoint("8.8.8.8", 80)
    assert await names.look_up(HostPort("8.8.8.8", 80)) == {Family.IPV4: [at]}
    assert not name_service.asked


async def test_outcome_is_remembered_for_a_while(
    names: HostNames, name_service: NameService, autojump_clock: trio.testing.MockClock
) -> None:
    name_service.names["peer.example"] = ["8.8.8.8"]
    await names.look_up(PEER)
    await names.look_up(PEER._replace(port=1))
    assert await fault_of(names, HostPort("no.example", 1)) is SourceFault.NO_ADDRESS
    assert await fault_of(names, HostPort("no.example", 1)) is SourceFault.NO_ADDRESS
    assert name_service.asked == ["peer.example", "no.example"]
    await trio.sleep(REMEMBERED_S)
    await names.look_up(PEER)
    assert name_service.asked[2:] == ["peer.example"]


async def test_memory_is_bounded(names: HostNames, name_service: NameService) -> None:
    for number in range(REMEMBERED_MAX + 10):
        name_service.names[f"h{number}.example"] = ["8.8.8.8"]
        await names.look_up(HostPort(f"h{number}.example", 1))
    assert len(names._known) == REMEMBERED_MAX


async def test_those_who_want_a_name_at_once_share_one_look_up(
    names: HostNames, name_service: NameService
) -> None:
    name_service.names["peer.example"] = ["8.8.8.8"]
    async with trio.open_nursery() as nursery:
        for port in range(1, 100):
            nursery.start_soon(names.look_up, PEER._replace(port=port))
    assert name_service.asked == ["peer.example"]


async def test_look_up_that_is_cancelled_is_taken_over_by_another_who_waits(
    names: HostNames, name_service: NameService
) -> None:
    name_service.names["peer.example"] = ["8.8.8.8"]
    name_service.is_silent = True
    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def give_up() -> None:
            with first:
                await names.look_up(PEER)

        nursery.start_soon(give_up)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(names.look_up, PEER)
        await trio.testing.wait_all_tasks_blocked()
        name_service.is_silent = False
        first.cancel()
    assert name_service.asked == ["peer.example"] * 2


async def test_good_name_outlasts_a_crowd_of_silent_ones(
    names: HostNames, name_service: NameService, autojump_clock: trio.testing.MockClock
) -> None:
    name_service.names["peer.example"] = ["8.8.8.8"]
    name_service.is_silent = True
    async with trio.open_nursery() as nursery:
        for number in range(2 * AT_ONCE):
            nursery.start_soon(fault_of, names, HostPort(f"s{number}.example", 1))
        await trio.testing.wait_all_tasks_blocked()

        async def look_up_at_last() -> None:
            assert Family.IPV4 in await names.look_up(PEER)

        nursery.start_soon(look_up_at_last)
        await trio.sleep(1.5 * TIMEOUT_S)
        name_service.is_silent = False
