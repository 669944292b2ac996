"""The shared UDP socket, over real loopback."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from dht.contact import Endpoint, Family, Scope, endpoint, port_of
from dht.errors import CannotListen
from dht.udp import BATCH_MAX, QUEUE_MAX, Datagram, UdpSocket

LOOPBACK = ["127.0.0.1", "::1"]


class Collector:
    """A protocol that keeps what begins with its prefix."""

    def __init__(self, prefix: bytes = b"") -> None:
        self.prefix = prefix
        self.batches: list[list[Datagram]] = []
        self._arrived = trio.Event()

    @property
    def received(self) -> list[bytes]:
        return [data for batch in self.batches for data, _ in batch]

    def recognises(self, data: bytes) -> bool:
        return data.startswith(self.prefix)

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        self.batches.append(list(batch))
        self._arrived.set()

    async def wait_for(self, count: int) -> list[bytes]:
        with trio.fail_after(2):
            while len(self.received) < count:
                await self._arrived.wait()
                self._arrived = trio.Event()
        return self.received


class FullSocket(socket.socket):
    """A socket for whose datagrams the kernel has no room."""

    is_full = True

    def sendto(self, *arguments: object) -> int:
        if self.is_full:
            raise BlockingIOError
        return super().sendto(*arguments)  # type: ignore[call-overload, no-any-return]


@asynccontextmanager
async def serving(sock: UdpSocket, *protocols: Collector) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sock.serve, protocols)
        yield
        nursery.cancel_scope.cancel()
    sock.close()


def full_socket() -> tuple[UdpSocket, FullSocket]:
    raw = FullSocket(socket.AF_INET, socket.SOCK_DGRAM)
    raw.setblocking(False)
    raw.bind(("127.0.0.1", 0))
    return UdpSocket(raw), raw


@pytest.mark.parametrize("host", LOOPBACK)
async def test_a_taken_port_cannot_be_listened_on(host: str) -> None:
    first = UdpSocket.bind(host)
    with pytest.raises(CannotListen, match="Address already in use"):
        UdpSocket.bind(host, port_of(first.endpoint))
    first.close()


async def test_an_address_of_somebody_else_cannot_be_listened_on() -> None:
    with pytest.raises(CannotListen) as caught:
        UdpSocket.bind("192.0.2.1", 6881)
    assert caught.value.address == "192.0.2.1 port 6881"


async def test_a_missing_family_cannot_be_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(CannotListen, match="not supported"):
        UdpSocket.bind("::1")


async def test_an_ipv6_socket_leaves_the_port_to_ipv4() -> None:
    six = UdpSocket.bind("::")
    four = UdpSocket.bind("0.0.0.0", port_of(six.endpoint))
    assert (six.family, four.family) == (Family.IPV6, Family.IPV4)
    assert six.scope is four.scope is Scope.GLOBAL
    six.close()
    four.close()


async def test_closing_twice_is_closing() -> None:
    sock = UdpSocket.bind("127.0.0.1")
    assert sock.scope is Scope.LOOPBACK
    sock.close()
    sock.close()


async def test_nobody_at_the_other_end_is_no_error() -> None:
    gone = UdpSocket.bind("127.0.0.1")
    gone.close()
    sender, receiver, collector = *(UdpSocket.bind("127.0.0.1") for _ in "ab"), Collector()
    async with serving(sender, Collector()), serving(receiver, collector):
        for _ in range(3):
            sender.send([(b"to a closed port", gone.endpoint)])
        sender.send([(b"alive", receiver.endpoint)])
        assert await collector.wait_for(1) == [b"alive"]


async def test_a_datagram_that_cannot_be_sent_is_counted() -> None:
    sock = UdpSocket.bind("127.0.0.1")
    sock.send([(bytes(70_000), endpoint("127.0.0.1", 9))])
    sock.send([(b"to port 0", endpoint("127.0.0.1", 0))])
    counts = sock.statistics()
    assert counts["error EMSGSIZE"] == 1
    assert counts["error EINVAL"] == 1
    assert counts["datagrams sent"] == 0
    sock.close()


async def test_sending_on_a_closed_socket_is_an_error() -> None:
    sock = UdpSocket.bind("127.0.0.1")
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.send([(b"late", endpoint("127.0.0.1", 9))])


async def test_closing_wakes_whoever_serves() -> None:
    sock = UdpSocket.bind("127.0.0.1")
    with pytest.RaisesGroup(trio.ClosedResourceError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sock.serve, [])
            await trio.testing.wait_all_tasks_blocked()
            sock.close()


async def test_what_the_kernel_has_no_room_for_is_queued_and_then_dropped() -> None:
    sock, _ = full_socket()
    for _ in range(QUEUE_MAX + 7):
        sock.send([(b"x", endpoint("127.0.0.1", 9))])
    assert sock.statistics()["datagrams dropped"] == 7
    assert sock.statistics()["datagrams sent"] == 0
    sock.close()


async def test_what_was_queued_is_sent_in_order_when_there_is_room() -> None:
    (sender, raw), receiver, collector = full_socket(), UdpSocket.bind("127.0.0.1"), Collector()
    async with serving(sender), serving(receiver, collector):
        for word in (b"one", b"two"):
            sender.send([(word, receiver.endpoint)])
        raw.is_full = False
        sender.send([(b"three", receiver.endpoint)])
        assert await collector.wait_for(3) == [b"one", b"two", b"three"]
        sender.send([(b"four", receiver.endpoint)])
        assert (await collector.wait_for(4))[-1] == b"four"


@pytest.mark.parametrize("host", LOOPBACK)
async def test_many_datagrams_arrive_in_few_batches(host: str) -> None:
    sender, receiver, collector = UdpSocket.bind(host), UdpSocket.bind(host), Collector()
    words = [b"%d" % number for number in range(3 * BATCH_MAX)]
    for word in words:
        sender.send([(word, receiver.endpoint)])
    async with serving(receiver, collector):
        assert await collector.wait_for(len(words)) == words
    assert len(collector.batches) == 3
    assert {source for batch in collector.batches for _, source in batch} == {sender.endpoint}
    assert receiver.statistics()["datagrams received"] == len(words)
    assert receiver.statistics()["bytes received"] == sender.statistics()["bytes sent"]
    sender.close()


async def test_each_datagram_goes_to_the_first_protocol_that_recognises_it() -> None:
    sender, receiver = UdpSocket.bind("127.0.0.1"), UdpSocket.bind("127.0.0.1")
    letters, digits = Collector(b"a"), Collector(b"1")
    for word in (b"abc", b"?", b"123", b"", b"ab", b"1"):
        sender.send([(word, receiver.endpoint)])
    async with serving(receiver, letters, digits):
        assert await digits.wait_for(2) == [b"123", b"1"]
    assert letters.received == [b"abc", b"ab"]
    assert receiver.statistics()["datagrams of no protocol"] == 2
    sender.close()


async def test_a_long_datagram_is_read_whole() -> None:
    sender, receiver, collector = *(UdpSocket.bind("127.0.0.1") for _ in "ab"), Collector()
    async with serving(receiver, collector):
        sender.send([(bytes(65_507), receiver.endpoint)])
        assert await collector.wait_for(1) == [bytes(65_507)]
    sender.close()


def test_the_endpoint_has_the_real_port() -> None:
    sock = UdpSocket.bind("127.0.0.1")
    assert sock.endpoint[:-2] == Endpoint(b"\x7f\0\0\1")
    assert port_of(sock.endpoint) > 0
    sock._sock.close()
