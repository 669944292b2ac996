"""Many connections on one socket: datagrams in, datagrams out, and when to come back.

A connection is known by the other end and by the number on packets to us. A SYN from a stranger
opens one half, if connections are taken at all and he has not too many already; it costs us some
hundred bytes and brings him twenty, and when too many are half open, the oldest is forgotten. What
belongs to no connection is answered with a RESET, at a bounded rate.

Spec: BEP 29 "connection setup", "ST_RESET".
"""

import heapq
from collections import Counter, OrderedDict
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final, NamedTuple

from dht.contact import Endpoint, Family, address_of, family_of, network_of
from dht.ratelimit import TokenBucket
from magnet.transport.utp.connection import Connection, State
from magnet.transport.utp.loss import NEVER
from magnet.transport.utp.packet import MalformedPacket, Packet, PacketType, decode_packet
from magnet.transport.utp.sequence import after

ACCEPTED_MAX: Final = 200
"""Accepted connections at once; as many as a seeder serves."""

ACCEPTED_PER_ADDRESS_MAX: Final = 20
"""Accepted connections at once from one IPv4 address or IPv6 /64, those that linger among them."""

HALF_OPEN_MAX: Final = 100
"""Connections at once of whose initiator we only have a SYN, which may be forged; ten a second."""

RESETS_PER_S: Final = 50.0
"""RESETs to strangers: some for everybody who is left over from an earlier run, none for a flood.
"""

_ID_TRIES: Final = 16

_Key = tuple[Endpoint, int]
"""The other end, and the number on packets to us."""


@dataclass(slots=True)
class Counts:
    """What a multiplexer has done.

    Attributes:
        connected: Connections of ours that were begun.
        accepted: Connections of others that were begun in earnest.
        refused: SYNs turned away because of a bound.
        malformed: Datagrams that were no packets.
        stray: Packets that belonged to no connection.
    """

    connected: int = 0
    accepted: int = 0
    refused: int = 0
    malformed: int = 0
    stray: int = 0


class Output(NamedTuple):
    """What came of it.

    Attributes:
        datagrams: What has to be sent, and where.
        changed: Connections of which there may be something new for their owners.
        accepted: Those of them that are new, and want an owner.
    """

    datagrams: list[tuple[bytes, Endpoint]]
    changed: list[Connection]
    accepted: list[Connection]


class Multiplexer:
    """All connections of a socket, or of several that share their connections' numbers.

    Attributes:
        is_accepting: Whether SYNs of strangers are answered.
        counts: What it has done.
    """

    def __init__(self, *, rng: Random, now: float) -> None:
        """Start with no connection.

        Args:
            rng: Chooses numbers that others should not guess: let it be the system's randomness.
            now: Monotonic seconds.
        """
        self.is_accepting = False
        self.counts = Counts()
        self._rng = rng
        self._connections: dict[_Key, Connection] = {}
        self._half_open: OrderedDict[Connection, None] = OrderedDict()
        self._accepted: Counter[bytes] = Counter()
        self._changed: dict[Connection, None] = {}
        self._resets: list[tuple[bytes, Endpoint]] = []
        self._reset_rate = TokenBucket(RESETS_PER_S, RESETS_PER_S, now=now)
        self._serial = count()
        self._alarms: list[tuple[float, int, _Key]] = []
        self._alarm_of: dict[_Key, float] = {}

    def __len__(self) -> int:
        """Return how many connections there are, half-open and lingering ones among them."""
        return len(self._connections)

    # Changes

    def connect(self, to: Endpoint, *, now: float) -> Connection | None:
        """Begin a connection; None if there are too many to this endpoint to tell another apart."""
        for _ in range(_ID_TRIES):
            id = self._rng.getrandbits(16)
            if (to, id) not in self._connections:
                break
        else:
            return None
        connection = Connection.initiate(to, id, self._rng.getrandbits(16), now=now)
        self._connections[to, id] = connection
        self._changed[connection] = None
        self.counts.connected += 1
        return connection

    def touch(self, connection: Connection) -> None:
        """Look after a connection with the next `flush`, since its owner did something to it."""
        if self._connections.get((connection.remote, connection.receive_id)) is connection:
            self._changed[connection] = None

    def receive(self, datagram: bytes, source: Endpoint, *, now: float) -> None:
        """Take a datagram from anybody."""
        try:
            packet = decode_packet(datagram)
        except MalformedPacket:
            self.counts.malformed += 1
            return
        id = packet.connection_id
        if packet.type is PacketType.SYN:
            id = after(id)
        connection = self._connections.get((source, id))
        if connection is None and packet.type is PacketType.RESET:
            connection = self._with_send_id(source, id)
        if connection is not None:
            connection.receive(packet, now=now)
            self._changed[connection] = None
        elif packet.type is PacketType.SYN and self.is_accepting:
            self._open_half(packet, source, now)
        elif packet.type is not PacketType.RESET:
            self._reset(packet, source, now)

    def handle_deadlines(self, *, now: float) -> None:
        """Let time pass for every connection whose deadline has come."""
        while self._alarms and self._alarms[0][0] <= now:
            at, _, key = heapq.heappop(self._alarms)
            if self._alarm_of.get(key) != at:
                continue
            del self._alarm_of[key]
            connection = self._connections[key]
            if connection.next_deadline() <= now:
                connection.handle_deadline(now=now)
                self._changed[connection] = None
            else:
                self._set_alarm(connection)

    def next_deadline(self) -> float:
        """Return when `handle_deadlines` is due, in monotonic seconds; it may be for nothing."""
        return self._alarms[0][0] if self._alarms else NEVER

    def flush(self, *, now: float) -> Output:
        """Return what came of all changes since the last time."""
        datagrams, self._resets = self._resets, []
        changed, self._changed = list(self._changed), {}
        accepted = []
        for connection in changed:
            to = connection.remote
            datagrams += [(data, to) for data in connection.datagrams_to_send(now=now)]
            if connection in self._half_open and connection.state is State.CONNECTED:
                del self._half_open[connection]
                accepted.append(connection)
            if connection.is_closed:
                self._forget(connection)
            else:
                self._set_alarm(connection)
        self.counts.accepted += len(accepted)
        return Output(datagrams, changed, accepted)

    def abort_all(self) -> None:
        """Give every connection up, and tell those at the other ends."""
        for connection in self._connections.values():
            connection.abort()
            self._changed[connection] = None

    # Strangers

    def _open_half(self, syn: Packet, source: Endpoint, now: float) -> None:
        place = _place(source)
        if self._accepted[place] >= ACCEPTED_PER_ADDRESS_MAX or not self._make_room():
            self.counts.refused += 1
            return
        connection = Connection.accept(source, syn, self._rng.getrandbits(16), now=now)
        self._connections[source, connection.receive_id] = connection
        self._half_open[connection] = None
        self._accepted[place] += 1
        self._changed[connection] = None

    def _make_room(self) -> bool:
        """Forget the oldest half-open connection if there are too many; tell whether that helps."""
        is_full = self._accepted.total() >= ACCEPTED_MAX
        if is_full or len(self._half_open) >= HALF_OPEN_MAX:
            if not self._half_open:
                return False
            self._forget(next(iter(self._half_open)))
        return True

    def _with_send_id(self, source: Endpoint, id: int) -> Connection | None:
        """Return the connection on which we send with an id: what some put into their RESETs."""
        for receive_id in (after(id), after(id, -1)):
            connection = self._connections.get((source, receive_id))
            if connection is not None and connection.send_id == id:
                return connection
        return None

    def _reset(self, packet: Packet, source: Endpoint, now: float) -> None:
        self.counts.stray += 1
        if self._reset_rate.take(now=now):
            clock, seq = packet.timestamp, self._rng.getrandbits(16)
            answer = Packet(PacketType.RESET, packet.connection_id, clock, 0, 0, seq, packet.seq)
            self._resets.append((answer.encode(), source))

    # Bookkeeping

    def _set_alarm(self, connection: Connection) -> None:
        key = (connection.remote, connection.receive_id)
        at = connection.next_deadline()
        # Most deadlines move away; only one that comes nearer needs another alarm.
        if at < self._alarm_of.get(key, NEVER):
            self._alarm_of[key] = at
            heapq.heappush(self._alarms, (at, next(self._serial), key))

    def _forget(self, connection: Connection) -> None:
        key = (connection.remote, connection.receive_id)
        del self._connections[key]
        self._alarm_of.pop(key, None)
        self._half_open.pop(connection, None)
        self._changed.pop(connection, None)
        if connection.is_accepted:
            place = _place(connection.remote)
            self._accepted[place] -= 1
            # A counter keeps its zeros, and strangers choose the keys.
            self._accepted += Counter()


def _place(remote: Endpoint) -> bytes:
    """Return what counts as one address: an IPv4 address, or an IPv6 /64."""
    return address_of(remote) if family_of(remote) is Family.IPV4 else network_of(remote)
