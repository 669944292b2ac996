"""Multicast sockets: addresses that will not do, and errors. Nothing is sent."""

import pytest
import trio

from dht.contact import Family
from magnet.sources.lsd.message import GROUPS
from magnet.sources.lsd.multicast import MulticastSocket, is_local

PRIVATE = ["10.0.0.1", "192.168.1.1", "169.254.1.1", "127.0.0.1", "::1", "fd00::1", "fe80::1%eth0"]
ELSEWHERE = ["8.8.8.8", "0.0.0.0", "::", "2600::1", "239.192.152.143", "192.0.2.1", "ff02::1"]


@pytest.mark.parametrize("host", ELSEWHERE)
def test_address_without_neighbours(host: str) -> None:
    assert not is_local(host)


@pytest.mark.parametrize("host", PRIVATE)
def test_address_with_neighbours(host: str) -> None:
    assert is_local(host)


def test_name_of_a_host_is_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        is_local("localhost")


@pytest.mark.parametrize(
    "host", ["10.254.253.252", "fd12::34", "fe80::1234:5678%lo", "fe80::1%no-such-interface"]
)
async def test_address_that_is_not_ours_will_not_do(host: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - each system has words of its own
        MulticastSocket(host)
    assert MulticastSocket.try_open(host) is None


async def test_two_programs_may_listen() -> None:
    with MulticastSocket("127.0.0.1") as one, MulticastSocket("127.0.0.1") as other:
        assert one.group == other.group == GROUPS[Family.IPV4]
        assert one.at == other.at


async def test_error_while_sending_is_no_matter() -> None:
    with MulticastSocket("127.0.0.1") as sock:
        await sock.send(bytes(70_000))


async def test_nobody_hears_anything_from_a_closed_socket() -> None:
    with MulticastSocket("127.0.0.1") as sock:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await sock.receive()
