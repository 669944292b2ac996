"""What the tests of the shells share: nodes on loopback, and time that does not have to pass."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio.testing

from dht.contact import Endpoint, Family, endpoint
from dht.testnet import Testnet, open_testnet


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Virtual time that leaves loopback datagrams a moment of real time to arrive."""
    return trio.testing.MockClock(autojump_threshold=0.02)


@pytest.fixture
async def testnet() -> AsyncIterator[Testnet]:
    """Ten nodes on 127.0.0.1 and on ::1."""
    async with open_testnet(10, tuple(Family)) as network:
        yield network


@pytest.fixture
def silent_end() -> Iterator[Endpoint]:
    """An endpoint at which nobody ever answers, though datagrams arrive."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield endpoint(*sock.getsockname())


@pytest.fixture
def silent_end6() -> Iterator[Endpoint]:
    """The same at ::1."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        yield endpoint(*sock.getsockname()[:2])
