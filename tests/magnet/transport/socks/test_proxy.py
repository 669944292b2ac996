"""Proxies that do as they are told, which is mostly wrong; a real one is in `tests.interop`."""

import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from dht.background import open_background
from dht.contact import parse_endpoint
from dht.udp import Datagram, UdpSocket
from magnet.errors import PeerDisconnected, PeerTimeout, ProxyError
from magnet.hosts import HostPort
from magnet.transport.socks import proxy as proxy_module
from magnet.transport.socks.messages import Credentials, encode_datagram
from magnet.transport.socks.proxy import PROXY_TIMEOUT_S, SocksProxy

HOST = "127.0.0.1"
PEER = parse_endpoint("192.0.2.1:6881")
GREETED = bytes.fromhex("0500")
CONNECTED = bytes.fromhex("05000001000000000000")


@asynccontextmanager
async def scripted(*answers: bytes, stays: bool = False) -> AsyncIterator[SocksProxy]:
    """Give a proxy that answers each message with the next of its answers, and then hangs up."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            for answer in answers:
                await stream.receive_some()
                await stream.send_all(answer)
            while stays and await stream.receive_some():
                pass

    async with open_background() as background:
        background.start_soon(trio.serve_listeners, serve, [listener])
        yield SocksProxy(HostPort(HOST, listener.socket.getsockname()[1]), Credentials("a", "b"))


async def test_proxy_that_is_not_there() -> None:
    with trio.socket.socket() as sock:
        await sock.bind((HOST, 0))
        proxy = SocksProxy(HostPort(HOST, sock.getsockname()[1]))
        with pytest.raises(ProxyError, match="cannot be reached"):
            await proxy.connect(PEER)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([], "hangs up"),
        ([b"\x05"], "hangs up"),
        ([b"HTTP/1.1 400"], "does not speak SOCKS5"),
        ([b"\x05\xff"], "wants to know"),
        ([b"\x05\x02", b"\x01\x01"], "rejects the password"),
        ([GREETED, b"\x05\x00\x00"], "hangs up"),
        ([GREETED, CONNECTED[:-1]], "hangs up"),
        ([GREETED, bytes.fromhex("05010001000000000000")], "the proxy fails"),
        ([GREETED, bytes.fromhex("05020001000000000000")], "does not allow"),
        ([GREETED, bytes.fromhex("05630001000000000000")], "unknown reply 99"),
    ],
)
async def test_unfit_proxy_is_told_in_words(answers: list[bytes], reason: str) -> None:
    async with scripted(*answers) as proxy:
        with pytest.raises(ProxyError, match=reason):
            await proxy.connect(PEER)


async def test_proxy_that_wants_a_password_that_we_have_not_got() -> None:
    async with scripted(b"\x05\x02") as known:
        proxy = SocksProxy(known._at)
        with pytest.raises(ProxyError, match="wants a password"):
            await proxy.connect(PEER)


async def test_silent_proxy_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.02
    async with scripted(stays=True) as proxy:
        with pytest.raises(PeerTimeout):
            await proxy.connect(PEER)
    assert trio.current_time() == pytest.approx(PROXY_TIMEOUT_S, abs=0.1)


async def test_what_the_peer_says_first_is_left_in_the_stream() -> None:
    async with (
        scripted(GREETED, CONNECTED + b"hello") as proxy,
        await proxy.connect(PEER) as stream,
    ):
        assert await stream.receive_some() == b"hello"


async def test_relay_that_is_only_named_is_of_no_use() -> None:
    async with scripted(GREETED, bytes.fromhex("0500000301611ae1")) as proxy:
        with pytest.raises(ProxyError, match="names its relay"):
            async with proxy.open_relay():
                pass


async def test_relay_towards_which_no_socket_can_be_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(proxy_module, "_bind_towards", fail)
    async with scripted(GREETED, CONNECTED, stays=True) as proxy:
        with pytest.raises(PeerDisconnected, match="Too many open files"):
            async with proxy.open_relay():
                pass


async def test_relay_ends_with_the_association() -> None:
    async with scripted(GREETED, CONNECTED) as proxy, proxy.open_relay() as sock:
        with trio.fail_after(5):
            await sock.wait_lost()
        sock.send([(b"lost", PEER)])
        assert sock.statistics()["datagrams sent"] == 0


class Inbox:
    """Keeps what it is given; echoes if told so."""

    def __init__(self, echo: UdpSocket | None = None) -> None:
        self.received: list[Datagram] = []
        self.arrived = trio.Event()
        self._echo = echo

    def recognises(self, data: bytes) -> bool:
        return data.startswith(b"d")

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        self.received += batch
        self.arrived.set()
        if self._echo is not None:
            self._echo.send(batch)


async def test_relay_may_be_somewhere_else_and_need_not_make_sense() -> None:
    relay = UdpSocket.bind(HOST)
    bound = bytes.fromhex("05000001") + relay.endpoint
    async with (
        scripted(GREETED, bound, stays=True) as proxy,
        proxy.open_relay() as here,
        open_background() as background,
    ):
        inbox = Inbox()
        background.start_soon(partial(here.serve, [inbox]))
        said = [b"", bytes.fromhex("00000101") + PEER + b"d", encode_datagram(PEER, b"d1:ae")]
        relay.send([(data, here.endpoint) for data in said])
        with trio.fail_after(5):
            await inbox.arrived.wait()
        assert inbox.received == [(b"d1:ae", PEER)]
    here.close()
    relay.close()


async def test_datagrams_past_the_proxy_are_dropped() -> None:
    stranger = UdpSocket.bind(HOST)
    async with (
        scripted(GREETED, CONNECTED, stays=True) as proxy,
        proxy.open_relay() as here,
        open_background() as background,
    ):
        inbox = Inbox()
        background.start_soon(partial(here.serve, [inbox]))
        stranger.send([(bytes.fromhex("00000001c00002011ae1") + b"d1:ae", here.endpoint)])
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not inbox.received
    stranger.close()
