"""uTP on the sockets of a DHT node.

The node's sockets hand over the datagrams that look like uTP; one multiplexer takes them, of both
families. Whatever changes it is followed by a settling: its datagrams go out, whoever waits is
woken, and the alarm is set. There is one task for the alarm, and none a connection.

Spec: BEP 29.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random, SystemRandom

import trio

from dht.background import open_background
from dht.contact import Endpoint, Family, family_of, is_allowed
from dht.node import Node
from dht.ratelimit import FlowBudget
from dht.udp import Datagram, UdpSocket
from magnet.errors import PeerDisconnected, PeerTimeout
from magnet.transport.stages import CONNECTING
from magnet.transport.utp.connection import Connection, Failure
from magnet.transport.utp.multiplexer import Counts, Multiplexer
from magnet.transport.utp.packet import is_utp
from magnet.transport.utp.stream import UtpStream

Handler = Callable[[trio.abc.Stream, Endpoint], Awaitable[None]]
"""Takes a stream that somebody has opened, and where he is."""


class UtpSocket:
    """Opens and accepts uTP connections; made by `open_utp`."""

    def __init__(
        self, sockets: Mapping[Family, UdpSocket], budget: FlowBudget, *, rng: Random
    ) -> None:
        """Bring everything together; nothing happens until `run`.

        Args:
            sockets: What to send on, by family.
            budget: What every new flow of ours has to pass.
            rng: Chooses numbers that others should not guess.
        """
        self._sockets = dict(sockets)
        self._budget = budget
        self._multiplexer = Multiplexer(rng=rng, now=trio.current_time())
        self._streams: dict[Connection, UtpStream] = {}
        self._greet: Callable[[UtpStream], None] | None = None
        self._timer = trio.CancelScope()

    @property
    def counts(self) -> Counts:
        """What was done so far."""
        return self._multiplexer.counts

    @property
    def connections(self) -> int:
        """How many connections there are, half-open and lingering ones among them."""
        return len(self._multiplexer)

    @property
    def endpoints(self) -> dict[Family, Endpoint]:
        """Where it can be dialled, by family."""
        return {family: socket.endpoint for family, socket in self._sockets.items()}

    # As a protocol on the sockets

    def recognises(self, data: bytes) -> bool:
        """Tell a packet of uTP from other traffic."""
        return is_utp(data)

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        """Feed the multiplexer, then send and tell what came of it, once."""
        now = trio.current_time()
        for data, source in batch:
            self._multiplexer.receive(data, source, now=now)
        self._settle()

    # Running

    async def run(self) -> None:
        """Keep time until cancelled; every connection is given up then."""
        try:
            while True:
                deadline = self._multiplexer.next_deadline()
                with trio.CancelScope(deadline=deadline) as self._timer:
                    await trio.sleep_forever()
                self._multiplexer.handle_deadlines(now=trio.current_time())
                self._settle()
        finally:
            self._multiplexer.abort_all()
            self._settle()

    async def connect(self, to: Endpoint) -> UtpStream:
        """Open a connection, once the flow budget admits it.

        Raises:
            PeerTimeout: Nobody answered, some seconds long.
            PeerDisconnected: The peer refused, or cannot or must not be reached.
        """
        socket = self._sockets.get(family_of(to))
        if socket is None:
            raise PeerDisconnected(CONNECTING, "no socket of this address family")
        if not is_allowed(to, socket.scope):
            raise PeerDisconnected(CONNECTING, "out of our reach")
        await self._admission(to)
        begun_at = trio.current_time()
        connection = self._multiplexer.connect(to, now=begun_at)
        if connection is None:
            raise PeerDisconnected(CONNECTING, "too many connections to this endpoint")
        stream = self._adopt(connection)
        self._settle()
        try:
            is_connected = await stream.wait_connected()
        except BaseException:
            connection.abort()
            self._change(connection)
            raise
        if not is_connected:
            raise self._reason(connection, begun_at)
        return stream

    async def serve(self, handler: Handler) -> None:
        """Accept connections until cancelled; meanwhile there can be no other such call.

        Args:
            handler: Is run for each in a task of its own. What it raises ends this call.

        Raises:
            trio.BusyResourceError: Connections are being accepted already.
        """
        if self._greet is not None:
            raise trio.BusyResourceError("connections are being accepted already")

        async def handle(stream: UtpStream) -> None:
            async with stream:
                await handler(stream, stream.connection.remote)

        async with trio.open_nursery() as nursery:
            self._greet = lambda stream: nursery.start_soon(handle, stream)
            self._multiplexer.is_accepting = True
            try:
                await trio.sleep_forever()
            finally:
                self._greet = None
                self._multiplexer.is_accepting = False

    async def _admission(self, to: Endpoint) -> None:
        while not self._budget.admits(to, now=trio.current_time()):  # noqa: ASYNC110 - no event tells
            await trio.sleep_until(self._budget.ready_at(now=trio.current_time()))

    # After every change

    def _change(self, connection: Connection) -> None:
        self._multiplexer.touch(connection)
        self._settle()

    def _settle(self) -> None:
        """Send, tell and re-arm: what follows every change of the multiplexer."""
        output = self._multiplexer.flush(now=trio.current_time())
        self._send(output.datagrams)
        for connection in output.accepted:
            self._welcome(connection)
        for connection in output.changed:
            stream = self._streams.get(connection)
            if stream is not None:
                stream.wake()
                if connection.is_closed:
                    del self._streams[connection]
        deadline = self._multiplexer.next_deadline()
        if deadline < self._timer.deadline:
            self._timer.deadline = deadline

    def _send(self, datagrams: list[Datagram]) -> None:
        for family, socket in self._sockets.items():
            size = family.endpoint_bytes
            socket.send([it for it in datagrams if len(it[1]) == size])

    def _welcome(self, connection: Connection) -> None:
        if self._greet is None:
            connection.abort()
            self._change(connection)
        else:
            self._greet(self._adopt(connection))

    def _adopt(self, connection: Connection) -> UtpStream:
        stream = self._streams[connection] = UtpStream(connection, self._change)
        return stream

    def _reason(self, connection: Connection, begun_at: float) -> PeerTimeout | PeerDisconnected:
        failure = connection.failure
        if failure is None or failure is Failure.TIMED_OUT:
            return PeerTimeout(CONNECTING, trio.current_time() - begun_at)
        return PeerDisconnected(CONNECTING, failure.value)


@asynccontextmanager
async def open_utp(node: Node, *, rng: Random | None = None) -> AsyncIterator[UtpSocket]:
    """Speak uTP on the sockets of a node for the time of the block; once at a time for each node.

    Args:
        node: Whose sockets and flow budget are shared.
        rng: Chooses numbers that others should not guess; the system's randomness if None.

    Raises:
        NodeClosed: The node is closed.
    """
    dice = rng if rng is not None else SystemRandom()
    socket = UtpSocket(node.sockets, node.budget, rng=dice)
    with node.share_sockets(socket):
        async with open_background() as background:
            background.start_soon(socket.run)
            yield socket
