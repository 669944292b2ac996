"""The mappers that ask a router on loopback, which answers rightly, wrongly or not at all."""

import socket

import pytest
import trio.testing

from dht.contact import endpoint
from dht.errors import MappingFailed
from dht.mapping import natpmp, pcp
from dht.mapping.exchange import INTERVALS_S
from dht.mapping.gateway import Gateway
from dht.mapping.lease import Lease, PortMapper, Transport, Wish
from dht.mapping.unicast import NatPmpMapper, PcpMapper
from tests.dht.mapping.router import CLIENT, Router, open_router

WISH = Wish(Transport.UDP, 6881, 7000)
EXTERNAL = endpoint("45.9.0.2", 7000)
LEASE = Lease(Transport.UDP, 6881, EXTERNAL, 3600)
ADDRESS = bytes.fromhex("00 80 0000 00000e10 2d090002")


def speak_natpmp(request: bytes, **other: int) -> list[bytes]:
    if len(request) == 2:
        return [ADDRESS]
    port, external = int.from_bytes(request[4:6]), int.from_bytes(request[6:8])
    lifetime_s = 3600 if any(request[8:]) else 0
    said = {"port": port, "external": external, "lifetime_s": lifetime_s, **other}
    grant = said["port"].to_bytes(2) + said["external"].to_bytes(2) + said["lifetime_s"].to_bytes(4)
    return [bytes([0, 0x80 + request[1]]) + bytes(6) + grant]


def speak_pcp(request: bytes, lifetime_s: int = 3600) -> list[bytes]:
    granted = min(int.from_bytes(request[4:8]), lifetime_s)
    head = b"\x02\x81\0\0" + granted.to_bytes(4) + bytes(16)
    return [head + request[24:44] + bytes(10) + b"\xff\xff" + bytes([45, 9, 0, 2])]


def mapper_for(method: str, router: Router) -> PortMapper:
    return PcpMapper(router.find) if method == "PCP" else NatPmpMapper(router.find)


def speak(request: bytes) -> list[bytes]:
    return speak_pcp(request) if request[0] == pcp.VERSION else speak_natpmp(request)


METHODS = pytest.mark.parametrize("method", ["PCP", "NAT-PMP"])


@METHODS
async def test_a_silent_router_is_asked_a_few_times(
    method: str, patient_clock: trio.testing.MockClock
) -> None:
    async with open_router(lambda *_: []) as router:
        started = trio.current_time()
        with pytest.raises(MappingFailed, match="does not answer"):
            await mapper_for(method, router).map(WISH)
        assert trio.current_time() - started == pytest.approx(sum(INTERVALS_S))
        assert len(router.requests) == len(INTERVALS_S)
        assert len(set(router.requests)) == 1


@METHODS
async def test_a_closed_port_is_noticed_at_once(method: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        closed = Router(endpoint(*sock.getsockname()))
    with pytest.raises(MappingFailed, match="refused"):
        await mapper_for(method, closed).map(WISH)


@METHODS
async def test_without_a_router_nobody_is_asked(method: str) -> None:
    def find() -> Gateway:
        raise MappingFailed("there is no default route")

    mapper: PortMapper = PcpMapper(find) if method == "PCP" else NatPmpMapper(find)
    with pytest.raises(MappingFailed, match="no default route"):
        await mapper.map(WISH)


@METHODS
@pytest.mark.parametrize("result", [2, 4, 99])
async def test_a_refusal_is_told(method: str, result: int) -> None:
    version = pcp.VERSION if method == "PCP" else natpmp.VERSION
    refusal = bytes([version, 0x81]) + result.to_bytes(2) + bytes(20)
    async with open_router(lambda *_: [refusal]) as router:
        with pytest.raises(MappingFailed, match="the router refuses: "):
            await mapper_for(method, router).map(WISH)
        assert len(router.requests) == 1


async def test_a_router_without_an_address_maps_nothing() -> None:
    def offline(data: bytes, _: object) -> list[bytes]:
        return [b"\0\x80\0\3" + bytes(8)] if len(data) == 2 else speak_natpmp(data)

    async with open_router(offline) as router:
        with pytest.raises(MappingFailed, match="network failure"):
            await NatPmpMapper(router.find).map(WISH)


async def test_an_old_router_says_that_it_knows_no_pcp() -> None:
    async with open_router(lambda *_: [b"\0\x81\0\1" + bytes(4)]) as router:
        with pytest.raises(MappingFailed, match="unsupported version"):
            await PcpMapper(router.find).map(WISH)


@METHODS
async def test_nonsense_is_passed_over(method: str) -> None:
    async with open_router(lambda data, _: [b"", b"nonsense", data, *speak(data)]) as router:
        assert await mapper_for(method, router).map(WISH) == LEASE


async def test_answers_to_other_requests_are_passed_over(
    patient_clock: trio.testing.MockClock,
) -> None:
    def another_port(data: bytes, _: object) -> list[bytes]:
        return speak_natpmp(data, port=6882)

    def another_nonce(data: bytes, _: object) -> list[bytes]:
        return speak_pcp(data[:24] + bytes(12) + data[36:])

    async with open_router(another_port) as router:
        with pytest.raises(MappingFailed, match="does not answer"):
            await NatPmpMapper(router.find).map(WISH)
    async with open_router(another_nonce) as router:
        with pytest.raises(MappingFailed, match="does not answer"):
            await PcpMapper(router.find).map(WISH)


@pytest.mark.parametrize("said", [{"external": 0}, {"lifetime_s": 0}])
async def test_a_grant_of_nothing_is_none(said: dict[str, int]) -> None:
    async with open_router(lambda data, _: speak_natpmp(data, **said)) as router:
        with pytest.raises(MappingFailed, match="granted nothing"):
            await NatPmpMapper(router.find).map(WISH)


async def test_a_lease_of_no_time_is_none() -> None:
    async with open_router(lambda data, _: speak_pcp(data, lifetime_s=0)) as router:
        with pytest.raises(MappingFailed, match="granted nothing"):
            await PcpMapper(router.find).map(WISH)


@METHODS
async def test_a_lost_request_is_repeated(
    method: str, patient_clock: trio.testing.MockClock
) -> None:
    def deaf_at_first(data: bytes, _: object) -> list[bytes]:
        return speak(data) if len(router.requests) > 1 else []

    async with open_router(deaf_at_first) as router:
        assert await mapper_for(method, router).map(WISH) == LEASE


@METHODS
async def test_a_mapping_is_had_and_given_back(method: str) -> None:
    async with open_router(lambda data, _: speak(data)) as router:
        mapper = mapper_for(method, router)
        lease = await mapper.map(WISH)
        assert lease == LEASE
        await mapper.unmap(lease)
        ending = Wish(Transport.UDP, 6881, 0, lifetime_s=0)
        first, last = router.requests[0], router.requests[-1]
        if method == "PCP":
            assert last == pcp.encode_map_request(ending, CLIENT, nonce=first[24:36])
        else:
            assert last == natpmp.encode_map_request(ending)


async def test_a_reply_from_elsewhere_is_not_heard(patient_clock: trio.testing.MockClock) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        sent = 0

        def forge(data: bytes, source: tuple[str, int]) -> list[bytes]:
            nonlocal sent
            sent += forger.sendto(speak(data)[0], source) > 0
            return []

        async with open_router(forge) as router:
            with pytest.raises(MappingFailed, match="does not answer"):
                await PcpMapper(router.find).map(WISH)
    assert sent == len(INTERVALS_S)
