"""A connection behaves as trio's streams do."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from dht.contact import Family
from dht.node import NodeSettings, open_node
from magnet.transport.utp.connection import Connection
from magnet.transport.utp.incoming import WINDOW_BYTES
from magnet.transport.utp.outgoing import BUFFER_BYTES
from magnet.transport.utp.socket import UtpSocket, open_utp
from magnet.transport.utp.stream import UtpStream

Pair = tuple[UtpStream, UtpStream]


@pytest.fixture
async def utp() -> AsyncIterator[UtpSocket]:
    """A node that dials itself."""
    settings = NodeSettings(bind=[("127.0.0.1", 0)], bootstrap=())
    async with open_node(settings) as node, open_utp(node) as socket:
        yield socket


@pytest.fixture
async def make_pair(utp: UtpSocket) -> AsyncIterator[Callable[[], Awaitable[Pair]]]:
    """Makes two ends that are joined."""
    accepted_send, accepted = trio.open_memory_channel[trio.abc.Stream](8)

    async def handle(stream: trio.abc.Stream, remote: object) -> None:
        await accepted_send.send(stream)
        await trio.sleep_forever()

    async def make() -> Pair:
        ours = await utp.connect(utp.endpoints[Family.IPV4])
        await ours.send_all(b"?")
        theirs = await accepted.receive()
        assert isinstance(theirs, UtpStream)
        assert await theirs.receive_some() == b"?"
        return ours, theirs

    async with trio.open_nursery() as nursery:
        nursery.start_soon(utp.serve, handle)
        await wait_all_tasks_blocked()
        yield make
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_it_keeps_the_contract_of_streams(
    make_pair: Callable[[], Awaitable[Pair]],
) -> None:
    async def make_clogged() -> Pair:
        ours, theirs = await make_pair()
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            while receiver.connection.incoming.window or sender.connection.outgoing.room:
                with trio.move_on_after(0.01):
                    await sender.send_all(bytes(BUFFER_BYTES))
        return ours, theirs

    with trio.fail_after(20):
        await check_half_closeable_stream(make_pair, make_clogged)


async def test_a_writer_waits_for_the_reader(make_pair: Callable[[], Awaitable[Pair]]) -> None:
    ours, theirs = await make_pair()
    total = 2 * (BUFFER_BYTES + WINDOW_BYTES)
    received = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, bytes(total))
        await trio.sleep(0.05)
        assert theirs.connection.incoming.readable <= WINDOW_BYTES + 65_536
        while received < total:
            received += len(await theirs.receive_some())
    await ours.aclose()
    assert await theirs.receive_some() == b""


async def test_a_reset_breaks_both_directions(make_pair: Callable[[], Awaitable[Pair]]) -> None:
    ours, theirs = await make_pair()
    theirs.connection.abort()
    theirs._settle(theirs.connection)
    with trio.fail_after(2), pytest.raises(trio.BrokenResourceError, match="reset by peer"):
        await ours.receive_some()
    with pytest.raises(trio.BrokenResourceError, match="reset by peer"):
        await ours.send_all(b"x")


async def test_only_one_may_send_and_one_receive() -> None:
    connection = Connection.initiate(b"\x7f\0\0\1\0\1", 1, 1, now=0.0)  # type: ignore[arg-type]
    stream = UtpStream(connection, lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive_some)
        nursery.start_soon(stream.send_all, bytes(BUFFER_BYTES + 1))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="receiving"):
            await stream.receive_some()
        with pytest.raises(trio.BusyResourceError, match="sending"):
            await stream.send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_what_is_closed_cannot_be_finished(
    make_pair: Callable[[], Awaitable[Pair]],
) -> None:
    ours, _ = await make_pair()
    await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_eof()


@pytest.mark.parametrize("size", [0, -1])
async def test_nothing_can_be_asked_for_nothing(
    make_pair: Callable[[], Awaitable[Pair]], size: int
) -> None:
    ours, _ = await make_pair()
    with pytest.raises(ValueError, match="at least one"):
        await ours.receive_some(size)
