"""Two ends on one path, in virtual time."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from dht.contact import Endpoint, parse_endpoint
from magnet.transport.utp.connection import Connection
from magnet.transport.utp.multiplexer import Multiplexer
from magnet.transport.utp.packet import MalformedPacket, Packet, decode_packet

A = parse_endpoint("9.9.9.1:6881")
B = parse_endpoint("9.9.9.2:6881")

TRIP_S = 0.05


class Ends:
    """A, who dials, and B, who accepts; what each sends arrives at the other after a while.

    Attributes:
        sent: Every packet that was sent, with its sender.
        loses: Decides which are lost.
    """

    def __init__(self) -> None:
        self.now = 0.0
        rng = Random(1)
        self.machines = {at: Multiplexer(rng=rng, now=0.0) for at in (A, B)}
        self.machines[B].is_accepting = True
        self.sent: list[tuple[Endpoint, Packet]] = []
        self.accepted: list[Connection] = []
        self.loses: Callable[[Endpoint, Packet], bool] = lambda sender, packet: False
        self._on_the_way: list[tuple[float, Endpoint, bytes]] = []

    @property
    def a(self) -> Multiplexer:
        return self.machines[A]

    @property
    def b(self) -> Multiplexer:
        return self.machines[B]

    def dial(self) -> Connection:
        connection = self.a.connect(B, now=self.now)
        assert connection is not None
        return connection

    def connect(self) -> tuple[Connection, Connection]:
        """Open a connection from A to B, over which each has said one byte."""
        ours = self.dial()
        self.run()
        ours.write(b"a")
        self.run(ours)
        theirs = self.accepted[-1]
        theirs.write(b"b")
        self.run(theirs)
        assert (ours.read(9), theirs.read(9)) == (b"b", b"a")
        return ours, theirs

    def run(self, *touched: Connection, for_s: float = 1.0) -> None:
        """Let time pass, after something was done to some connections."""
        until = self.now + for_s
        self.touch(*touched)
        while (when := self._next()) <= until:
            self.now = max(self.now, when)
            due = [it for it in self._on_the_way if it[0] <= self.now]
            self._on_the_way = [it for it in self._on_the_way if it[0] > self.now]
            for _, sender, datagram in due:
                receiver = B if sender == A else A
                self.machines[receiver].receive(datagram, sender, now=self.now)
            for machine in self.machines.values():
                machine.handle_deadlines(now=self.now)
            self.settle()
        self.now = until

    def touch(self, *touched: Connection) -> None:
        for connection in touched:
            for machine in self.machines.values():
                machine.touch(connection)
        self.settle()

    def settle(self) -> None:
        """Send what is to be sent."""
        for at, machine in self.machines.items():
            output = machine.flush(now=self.now)
            self.accepted += output.accepted
            for datagram, to in output.datagrams:
                with suppress(MalformedPacket):
                    packet = decode_packet(datagram)
                    self.sent.append((at, packet))
                    if to in self.machines and not self.loses(at, packet):
                        self._on_the_way.append((self.now + TRIP_S, at, datagram))

    def sent_by(self, at: Endpoint) -> list[Packet]:
        return [packet for sender, packet in self.sent if sender == at]

    def types(self) -> str:
        """Return what was sent since the last time, in short: "A:SYN B:STATE"."""
        names = {A: "A", B: "B"}
        told = " ".join(f"{names[sender]}:{packet.type.name}" for sender, packet in self.sent)
        self.sent.clear()
        return told

    def _next(self) -> float:
        deadlines = [it.next_deadline() for it in self.machines.values()]
        return min([*deadlines, *(when for when, _, _ in self._on_the_way)])


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two ends; whatever a test does to them, both forget all connections in the end."""
    pair = Ends()
    yield pair
    for machine in pair.machines.values():
        machine.abort_all()
    pair.run()
    assert [len(it) for it in pair.machines.values()] == [0, 0]


@pytest.fixture
def make_packet() -> Callable[..., Packet]:
    """Makes a packet of which only some fields matter."""

    def make(**fields: Any) -> Packet:
        usual = {
            "connection_id": 0,
            "timestamp": 0,
            "timestamp_difference": 0,
            "window": 2**20,
            "seq": 0,
            "ack": 0,
        }
        return Packet(**(usual | fields))

    return make
