"""Runs one engine on one socket.

It feeds the engine datagrams and time, sends what it wants sent, and hands its events to whoever
waits. There are three tasks an engine and none a query: one receives, one sends what the kernel had
no room for, and one sleeps until the engine's next deadline. A call changes the engine and flushes
at once, so that a query leaves before the caller awaits its answer. The driver decides nothing.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import trio

from dht.engine import Engine
from dht.errors import NodeClosed
from dht.inquiry import Ended, Event, Inquiry, JoinEnded
from dht.logs import get_logger
from dht.routing import K
from dht.udp import Datagram, DatagramProtocol, UdpSocket

_log = get_logger(__name__)

Result = TypeVar("Result", bound=Inquiry)
Listener = Callable[[Event], None]


class EngineDriver:
    """One engine, driven.

    Attributes:
        engine: The node itself.
        socket: Its socket, shared with other protocols.
        protocols: Who speaks over the socket, asked in this order; others join and leave at will.
        last_join: How the last attempt to get to know the network ended; None before the first has.
        joined: Set when K nodes are known, or when the first attempt to know any is over.
        is_closed: Whether the engine is driven no longer.
    """

    def __init__(self, engine: Engine, socket: UdpSocket) -> None:
        """Bring an engine and a socket together; nothing happens until `run`."""
        self.engine = engine
        self.socket = socket
        self.protocols: list[DatagramProtocol] = [self]
        self.last_join: JoinEnded | None = None
        self.joined = trio.Event()
        self._listeners: dict[Inquiry, Listener] = {}
        self._timer = trio.CancelScope()
        self.is_closed = False

    # As a protocol on the socket

    def recognises(self, data: bytes) -> bool:
        """Tell a bencoded dictionary, which every KRPC message is, from other traffic."""
        return data[:1] == b"d"

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        """Feed the engine, then send and tell what came of it, once."""
        now = trio.current_time()
        for data, source in batch:
            self.engine.receive_datagram(data, source, now=now)
        self.settle()

    # Running

    async def run(self) -> None:
        """Drive the engine until cancelled; every waiting call then ends with `NodeClosed`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.socket.serve, self.protocols)
                nursery.start_soon(self._keep_time)
        finally:
            self.is_closed = True
            self.joined.set()
            for inquiry, listener in list(self._listeners.items()):
                listener(Ended(inquiry))

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._next_deadline()) as self._timer:
                await trio.sleep_forever()
            self.engine.handle_deadlines(now=trio.current_time())
            self.settle()

    # Calls

    def call(self, change: Callable[[float], Result], listener: Listener) -> Result:
        """Start an inquiry and listen to its events.

        Args:
            change: Starts the inquiry; is given the time.
            listener: Called with each event of the inquiry until `forget`; if the node closes, with
                an `Ended` of an inquiry that is not done.

        Raises:
            NodeClosed: The engine is no longer driven.
            QueryRefused: As the engine says.
        """
        if self.is_closed:
            raise NodeClosed("the node is closed")
        inquiry = change(trio.current_time())
        self._listeners[inquiry] = listener
        self.settle()
        return inquiry

    def forget(self, inquiry: Inquiry) -> None:
        """Stop an inquiry if it still runs, and no longer listen to it."""
        if self._listeners.pop(inquiry, None) is not None:
            self.engine.cancel(inquiry)

    async def finish(self, change: Callable[[float], Result]) -> Result:
        """Start an inquiry and wait for its end; cancelling the call cancels the inquiry.

        Raises:
            NodeClosed: The node was closed before or meanwhile.
            QueryRefused: As the engine says.
        """
        ended = trio.Event()

        def listen(event: Event) -> None:
            if isinstance(event, Ended):
                ended.set()

        inquiry = self.call(change, listen)
        try:
            await ended.wait()
        finally:
            self.forget(inquiry)
        if not inquiry.is_done:
            raise NodeClosed("the node was closed")
        return inquiry

    def settle(self) -> None:
        """Send, tell and re-arm: what follows every change of the engine."""
        self.socket.send(self.engine.datagrams_to_send())
        for event in self.engine.take_events():
            self._tell(event)
        if len(self.engine.table) >= K:
            self.joined.set()
        deadline = self._next_deadline()
        if deadline < self._timer.deadline:
            self._timer.deadline = deadline

    def _tell(self, event: Event) -> None:
        if isinstance(event, JoinEnded):
            self.last_join = event
            self.joined.set()
            _log.debug("join ended", nodes=len(self.engine.table), family=self.engine.family.name)
            return
        listener = self._listeners.get(event.inquiry)
        if listener is not None:
            listener(event)

    def _next_deadline(self) -> float:
        return self.engine.next_deadline(now=trio.current_time())
