"""Asks any number of UDP trackers over one socket a family.

The conversations are those of `udp_exchange`; here are the sockets, the timer, and the tasks that
wait for an answer.

Spec: BEP 15.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

import trio

from dht.background import open_background
from dht.contact import Endpoint, Family, family_of
from dht.udp import Datagram, UdpSocket
from magnet.sources.reach import Reach
from magnet.sources.trackers.announce import Announce
from magnet.sources.trackers.udp import Answer
from magnet.sources.trackers.udp_exchange import Request, Ticket, UdpExchange


class UdpClient:
    """Made by `open_udp_client`."""

    def __init__(self, sockets: Mapping[Family, UdpSocket], rng: Random) -> None:
        """Made by `open_udp_client`."""
        self._sockets = sockets
        self._exchange = UdpExchange(rng)
        self._waiting: dict[Ticket, trio.Event] = {}
        self._nap = trio.CancelScope()

    async def ask(self, to: Endpoint, request: Request, options: bytes = b"") -> Answer:
        """Ask a tracker and wait for the answer.

        Args:
            to: The tracker; of a family that there is a socket for.
            request: What to ask.
            options: Of an announce, as `url_data` makes them.

        Raises:
            SourceError: It refused, or did not answer.
        """
        ticket = self._exchange.start(to, request, options, now=trio.current_time())
        done = self._waiting[ticket] = trio.Event()
        self._settle()
        try:
            await done.wait()
        finally:
            del self._waiting[ticket]
            self._exchange.cancel(ticket)
        return ticket.result()

    def tell(self, to: Endpoint, announce: Announce, options: bytes = b"") -> bool:
        """Send an announce if that can be done at once, and care for no answer.

        Returns:
            Whether it was sent.
        """
        is_sent = self._exchange.tell(to, announce, options, now=trio.current_time())
        self._settle()
        return is_sent

    def recognises(self, data: bytes) -> bool:
        """Take every datagram: the sockets serve nothing else."""
        return True

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        """Take in what arrived."""
        for data, source in batch:
            self._exchange.receive(data, source, now=trio.current_time())
        self._settle()

    async def keep_time(self) -> None:
        """Repeat what is due, until cancelled."""
        while True:
            with trio.CancelScope() as self._nap:
                self._wake_in_time()
                await trio.sleep_forever()
            self._exchange.handle_timeouts(now=trio.current_time())
            self._settle()

    def _settle(self) -> None:
        """Do what the exchange wants done."""
        for datagram in self._exchange.take_datagrams():
            self._sockets[family_of(datagram[1])].send([datagram])
        for ticket in self._exchange.take_finished():
            if ticket in self._waiting:
                self._waiting[ticket].set()
        self._wake_in_time()

    def _wake_in_time(self) -> None:
        deadline = self._exchange.next_deadline()
        self._nap.deadline = float("inf") if deadline is None else deadline


@asynccontextmanager
async def open_udp_client(reach: Reach, rng: Random) -> AsyncIterator[UdpClient]:
    """Ask UDP trackers for the time of the block.

    Args:
        reach: Our own addresses, to which the sockets are bound, each to any port.
        rng: Makes transaction ids; a strong source.

    Raises:
        CannotListen: A socket cannot be bound.
    """
    sockets: dict[Family, UdpSocket] = {}
    try:
        for family in reach.families:
            sockets[family] = UdpSocket.bind(reach.host(family))
        client = UdpClient(sockets, rng)
        async with open_background() as background:
            for socket in sockets.values():
                background.start_soon(socket.serve, [client])
            background.start_soon(client.keep_time)
            yield client
    finally:
        for socket in sockets.values():
            socket.close()
