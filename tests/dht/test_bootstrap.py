"""Bootstrap hosts: how they are written, found and judged."""

import socket

import pytest
import trio
import trio.testing

from dht.bootstrap import (
    ADDRESSES_PER_HOST_MAX,
    PUBLIC_HOSTS,
    RESOLVE_TIMEOUT_S,
    BootstrapHost,
    HostFate,
    ResolvedHost,
    judge,
    parse_host,
    resolve_hosts,
)
from dht.contact import Endpoint, Family, Scope, endpoint

HOST = BootstrapHost("node.example", 6881)
BOTH = [Family.IPV4, Family.IPV6]
ANYWHERE = {Family.IPV4: Scope.GLOBAL, Family.IPV6: Scope.GLOBAL}
A, B = endpoint("45.0.0.1", 6881), endpoint("2a00::1", 6881)
LOCAL = endpoint("127.0.0.1", 6881)


class NameService(trio.abc.HostnameResolver):
    """Knows `node.example` and is silent about `slow.example`."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes, port: int, *_: object
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if host == b"slow.example":
            await trio.sleep_forever()
        if host != b"node.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, socket.SOCK_DGRAM, 0, "", (it, port)) for it in self.addresses]

    async def getnameinfo(self, *_: object) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def name_service() -> NameService:
    service = NameService(["45.0.0.1", "2a00::1"])
    trio.socket.set_custom_hostname_resolver(service)
    return service


@pytest.mark.parametrize(
    "text", ["", "host", ":6881", "host:", "host:0", "host:65536", "host:-1", "host:\u0661", "[]:1"]
)
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_host(text)


@pytest.mark.parametrize("text", ["node.example:6881", "192.0.2.1:1", "[2001:db8::1]:65535"])
def test_a_host_is_written_as_it_was_read(text: str) -> None:
    host = parse_host(text)
    assert str(host) == text
    assert not host.is_router


def test_public_hosts_are_known_as_routers() -> None:
    assert [parse_host(str(it).upper()).is_router for it in PUBLIC_HOSTS] == [True] * 5


@pytest.mark.parametrize(
    ("ends", "answered", "silent", "fate"),
    [
        ((), [A], [A], HostFate.NO_ADDRESS),
        ((LOCAL,), [], [], HostFate.OUT_OF_REACH),
        ((A, B), [], [], HostFate.NOT_ASKED),
        ((A, B), [], [B], HostFate.SILENT),
        ((A, B), [A], [B], HostFate.ANSWERED),
        ((LOCAL, B), [], [B], HostFate.SILENT),
    ],
)
def test_fates(
    ends: tuple[Endpoint, ...], answered: list[Endpoint], silent: list[Endpoint], fate: HostFate
) -> None:
    outcome = judge(ResolvedHost(HOST, ends), dict.fromkeys(answered, 0.05), silent, ANYWHERE)
    assert outcome.fate is fate
    assert outcome.rtt_s == (0.05 if fate is HostFate.ANSWERED else None)


def test_a_local_host_is_in_reach_of_a_local_node() -> None:
    outcome = judge(ResolvedHost(HOST, (LOCAL,)), {}, [], {Family.IPV4: Scope.LOOPBACK})
    assert outcome.fate is HostFate.NOT_ASKED


async def test_an_unknown_name_has_no_address(name_service: NameService) -> None:
    unknown = BootstrapHost("nobody.example", 1)
    assert await resolve_hosts([unknown], BOTH) == [ResolvedHost(unknown, ())]


async def test_a_silent_name_service_costs_only_its_name_and_some_seconds(
    name_service: NameService, autojump_clock: trio.testing.MockClock
) -> None:
    slow, started = BootstrapHost("slow.example", 1), trio.current_time()
    assert await resolve_hosts([slow, HOST], BOTH) == [
        ResolvedHost(slow, ()),
        ResolvedHost(HOST, (A, B)),
    ]
    assert trio.current_time() - started == RESOLVE_TIMEOUT_S


async def test_only_the_wanted_families_count(name_service: NameService) -> None:
    assert await resolve_hosts([HOST], [Family.IPV6]) == [ResolvedHost(HOST, (B,))]


async def test_no_host_takes_over_with_many_addresses(name_service: NameService) -> None:
    name_service.addresses = [f"45.0.0.{number}" for number in range(50)] * 2 + ["2a00::1"]
    (resolved,) = await resolve_hosts([HOST], BOTH)
    assert len(resolved.endpoints) == ADDRESSES_PER_HOST_MAX + 1
    assert len(set(resolved.endpoints)) == len(resolved.endpoints)


async def test_literal_addresses_need_no_name_service() -> None:
    local = BootstrapHost("::1", 6881)
    assert await resolve_hosts([local], BOTH) == [ResolvedHost(local, (endpoint("::1", 6881),))]
