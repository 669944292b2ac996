"""uTP on the sockets of a node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from dht.contact import Endpoint, Family, parse_endpoint
from dht.node import Node, NodeSettings, open_node
from magnet.errors import PeerDisconnected, PeerTimeout
from magnet.transport.utp.socket import UtpSocket, open_utp

LOOPBACK = ["127.0.0.1", "::1"]

NOBODY = parse_endpoint("127.0.0.1:9")
"""Nothing listens there."""


@asynccontextmanager
async def utp_on(*hosts: str) -> AsyncIterator[tuple[Node, UtpSocket]]:
    settings = NodeSettings(bind=[(host, 0) for host in hosts], bootstrap=())
    async with open_node(settings) as node, open_utp(node) as utp:
        yield node, utp


async def echo(stream: trio.abc.Stream, remote: Endpoint) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in _chunks(stream):
            await stream.send_all(data)


async def _chunks(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    while data := await stream.receive_some():
        yield bytes(data)


async def test_without_a_socket_of_the_family_nobody_is_reached() -> None:
    async with utp_on("127.0.0.1") as (_, utp):
        with pytest.raises(PeerDisconnected, match="no socket of this address family"):
            await utp.connect(parse_endpoint("[::1]:6881"))


@pytest.mark.parametrize("to", ["8.8.8.8:6881", "192.168.1.1:6881", "127.0.0.1:0"])
async def test_nobody_out_of_our_reach_is_dialled(to: str) -> None:
    async with utp_on("127.0.0.1") as (_, utp):
        with pytest.raises(PeerDisconnected, match="out of our reach"):
            await utp.connect(parse_endpoint(to))
        assert utp.counts.connected == utp.connections == 0


async def test_who_accepts_nothing_refuses() -> None:
    async with utp_on("127.0.0.1") as (_, ours), utp_on("127.0.0.1") as (_, theirs):
        with pytest.raises(PeerDisconnected, match="refused"):
            await ours.connect(theirs.endpoints[Family.IPV4])
        assert ours.connections == theirs.connections == 0


async def test_who_does_not_answer_is_given_up(autojump_clock: object) -> None:
    async with utp_on("127.0.0.1") as (_, utp):
        with pytest.raises(PeerTimeout) as caught:
            await utp.connect(NOBODY)
        assert caught.value.elapsed_s == pytest.approx(7)
        assert utp.connections == 0


async def test_to_cancel_a_dial_leaves_nothing() -> None:
    async with utp_on("127.0.0.1") as (_, utp):
        with trio.move_on_after(0.01) as scope:
            await utp.connect(NOBODY)
        assert scope.cancelled_caught
        assert utp.connections == 0


async def test_a_dial_waits_for_the_flow_budget(autojump_clock: object) -> None:
    async with utp_on("127.0.0.1") as (node, utp):
        others = iter(range(1_000))
        while node.budget.admits(Endpoint(next(others).to_bytes(6)), now=trio.current_time()):
            pass
        dialled = []
        for _ in range(2):
            with trio.move_on_after(0.01):
                await utp.connect(NOBODY)
            dialled.append(utp.counts.connected)
        assert dialled == [0, 1]


async def test_one_endpoint_takes_only_so_many_connections() -> None:
    class Stuck(Random):
        def getrandbits(self, k: int, /) -> int:
            return 7

    settings = NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=())
    async with (
        open_node(settings) as node,
        open_utp(node, rng=Stuck(1)) as utp,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(utp.connect, NOBODY)
        await wait_all_tasks_blocked()
        with pytest.raises(PeerDisconnected, match="too many"):
            await utp.connect(NOBODY)
        nursery.cancel_scope.cancel()


async def test_who_accepts_no_longer_hangs_up() -> None:
    async with utp_on("127.0.0.1") as (_, ours), utp_on("127.0.0.1") as (_, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs.serve, echo)
            # Half open until something is sent.
            stream = await ours.connect(theirs.endpoints[Family.IPV4])
            nursery.cancel_scope.cancel()
        await stream.send_all(b"x")
        with trio.fail_after(2), pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_two_cannot_accept() -> None:
    async with utp_on("127.0.0.1") as (_, utp), trio.open_nursery() as nursery:
        nursery.start_soon(utp.serve, echo)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await utp.serve(echo)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", LOOPBACK)
async def test_what_is_sent_comes_back(host: str) -> None:
    async with (
        utp_on(*LOOPBACK) as (_, theirs),
        utp_on(host) as (_, ours),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(theirs.serve, echo)
        (family,) = ours.endpoints
        data = bytes(range(256)) * 1_000
        received = b""
        async with await ours.connect(theirs.endpoints[family]) as stream:
            nursery.start_soon(stream.send_all, data)
            while len(received) < len(data):
                received += await stream.receive_some()
        nursery.cancel_scope.cancel()
    assert received == data


async def test_the_dht_goes_on_beside_it() -> None:
    async with (
        utp_on("127.0.0.1") as (node, ours),
        utp_on("127.0.0.1") as (_, theirs),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(theirs.serve, echo)
        at = theirs.endpoints[Family.IPV4]
        stream = await ours.connect(at)
        call = await node.ping(at)
        assert call.answer is not None
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
        nursery.cancel_scope.cancel()


async def test_closing_tells_the_other_end() -> None:
    async with utp_on("127.0.0.1") as (_, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(theirs.serve, echo)
        async with utp_on("127.0.0.1") as (_, ours):
            stream = await ours.connect(theirs.endpoints[Family.IPV4])
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with trio.fail_after(2):
            while theirs.connections:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
