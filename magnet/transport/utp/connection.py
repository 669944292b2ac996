r"""One connection: packets in, packets out, a stream of bytes each way.

The initiator chooses a number; packets to it carry that, packets from it the next one. The acceptor
answers a SYN with a STATE and says nothing more until the initiator has acknowledged the random
number in that, which shows that it is where it says it is.

    SYN_SENT ------- STATE or DATA that acknowledges the SYN ---+
                                                                v
                                                            CONNECTED --- RESET, silence ---> CLOSED
                                                                ^    \                        ^
    SYN_RECEIVED --- DATA or FIN that acknowledges our number --+     `-- a FIN each way ------'

Each direction ends by itself, with a FIN behind its last byte, and the other may go on. An owner
who closes wants neither: what is buffered still goes out, what still comes in is thrown away. After
both ends the connection lingers to acknowledge repeats of the last packets.

Every packet that brings something is acknowledged, all of one turn together.

Spec: BEP 29 "connection setup", "ST_FIN", "ST_RESET".
"""

from enum import Enum
from typing import Final

from dht.contact import Endpoint
from magnet.transport.utp.delay import QueueDelay
from magnet.transport.utp.incoming import Incoming
from magnet.transport.utp.loss import NEVER
from magnet.transport.utp.mtu import PathMtu
from magnet.transport.utp.outgoing import Outgoing
from magnet.transport.utp.packet import MICROSECONDS, Packet, PacketType
from magnet.transport.utp.segment import Segment
from magnet.transport.utp.sequence import after

SYNS_MAX: Final = 3
"""SYNs sent, 1, 2 and 4 s apart; as many as libutp and libtorrent send."""

TIMEOUTS_MAX: Final = 6
"""Timeouts in a row that end a connection, after at least 30 s. libutp has four; where one packet
in ten is lost each way, that ends one connection in some thousand timeouts for nothing."""

FINS_MAX: Final = 3
"""Timeouts in a row that end a connection whose owner has closed it; he is no longer interested."""

HALF_OPEN_S: Final = 10.0
"""Seconds an initiator has to say something after its SYN; three repeats of its first packet."""

LINGER_S: Final = 3.0
"""Seconds for which the last packets of a finished connection are acknowledged again."""

CLOSING_S: Final = 60.0
"""Seconds for what is still buffered when the owner closes; a reader who stands still is no reason
to keep it for longer."""

UNREAD_FIN_S: Final = 30.0
"""Seconds that a peer has to end its direction after the owner has closed."""

KEEPALIVE_S: Final = 29.0
"""Seconds of our silence after which the path is kept open; routers forget flows after 30."""

_NO_DELAY: Final = frozenset({0, 0x7FFF_FFFF})
"""Reports of delay that mean there is none; the second is libutp's."""


class State(Enum):
    """Where a connection is in its life."""

    SYN_SENT = "SYN sent"
    SYN_RECEIVED = "SYN received"
    CONNECTED = "connected"
    CLOSED = "closed"


class Failure(Enum):
    """Why a connection broke."""

    REFUSED = "connection refused"
    RESET = "connection reset by peer"
    TIMED_OUT = "connection timed out"
    ABORTED = "connection aborted"


class Connection:
    """One end of a connection; made by a `Multiplexer`.

    Attributes:
        remote: The other end.
        receive_id: The number on packets to us.
        send_id: The number on packets from us, other than a SYN.
        state: Where it is in its life.
        failure: Why it broke; None as long as it did not, or if it ended in order.
        outgoing: What is sent, and how fast.
        incoming: What was received.
    """

    def __init__(
        self, remote: Endpoint, state: State, receive_id: int, send_id: int, seq: int, now: float
    ) -> None:
        """Use `initiate` or `accept`."""
        self.remote = remote
        self.receive_id = receive_id
        self.send_id = send_id
        self.state = state
        self.failure: Failure | None = None
        self.outgoing = Outgoing(seq, PathMtu(remote))
        self.incoming = Incoming(0)
        self._delay = QueueDelay()
        self._difference = 0
        self._deadline = NEVER
        self._sent_at = now
        self._is_ack_due = False
        self._is_keepalive_due = False
        self._is_reset_due = False
        self._is_abandoned = False

    @classmethod
    def initiate(cls, remote: Endpoint, id: int, seq: int, *, now: float) -> "Connection":
        """Begin a connection to somebody.

        Args:
            remote: Whom.
            id: The number on packets to us; random.
            seq: The number of the first packet; random.
            now: Monotonic seconds.
        """
        connection = cls(remote, State.SYN_SENT, id, after(id), seq, now)
        connection.outgoing.open()
        return connection

    @classmethod
    def accept(cls, remote: Endpoint, syn: Packet, seq: int, *, now: float) -> "Connection":
        """Answer a SYN.

        Args:
            remote: Who sent it.
            syn: The packet.
            seq: The number of our first packet; random, for it has to be acknowledged.
            now: Monotonic seconds.
        """
        id = syn.connection_id
        connection = cls(remote, State.SYN_RECEIVED, after(id), id, seq, now)
        connection.incoming.ack = syn.seq
        connection._note_times(syn, now)
        connection.outgoing.allow(syn.window)
        connection._is_ack_due = True
        connection._deadline = now + HALF_OPEN_S
        return connection

    # For the owner

    @property
    def is_eof(self) -> bool:
        """Whether everything that will ever come was read."""
        return self.incoming.is_ended and not self.incoming.readable

    @property
    def is_accepted(self) -> bool:
        """Whether the other end began it."""
        return self.receive_id == after(self.send_id)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over and may be forgotten."""
        return self.state is State.CLOSED and not self._is_reset_due

    def write(self, data: bytes | memoryview) -> int:
        """Take bytes to be sent, as far as there is room; return how many."""
        return self.outgoing.write(data)

    def read(self, size: int) -> bytes:
        """Take up to so many received bytes; b"" if there are none at the moment."""
        return self.incoming.read(size)

    @property
    def has_news(self) -> bool:
        """Whether the peer should be told how much was read."""
        return self.incoming.has_news and self.state is State.CONNECTED

    def finish(self) -> None:
        """End our direction once all that was written has gone out."""
        self.outgoing.finish()

    def close(self, *, now: float) -> None:
        """Give the connection up in good order: finish, and care for nothing that comes in."""
        if self._is_abandoned or self.state is State.CLOSED:
            return
        if self.state is not State.CONNECTED:
            self.abort()
            return
        self._is_abandoned = True
        self._deadline = min(self._deadline, now + CLOSING_S)
        self.incoming.discard()
        self.outgoing.finish()
        self._settle_end(now)

    def abort(self) -> None:
        """Give the connection up at once, and tell the peer so."""
        if self.state is not State.CLOSED:
            self._fail(Failure.ABORTED)
            self._is_reset_due = True

    # What arrives

    def receive(self, packet: Packet, *, now: float) -> None:
        """Take a packet from the other end; forged and absurd ones change nothing."""
        if self.state is State.CLOSED:
            return
        if packet.type is PacketType.RESET:
            refused = self.state is State.SYN_SENT
            self._fail(Failure.REFUSED if refused else Failure.RESET)
        elif packet.type is PacketType.SYN:
            self._is_ack_due |= self.state is State.SYN_RECEIVED
        elif self.outgoing.expects(packet.ack) and self._is_introduced(packet):
            self._take(packet, now)

    def _is_introduced(self, packet: Packet) -> bool:
        """Tell whether the other end is known to be there; the first good packet shows it."""
        if self.state is State.CONNECTED:
            return True
        if packet.ack != after(self.outgoing.next_seq, -1):
            return False
        if self.state is State.SYN_SENT:
            # A STATE has the number of the packet to come next.
            self.incoming.ack = after(packet.seq, -1)
        elif packet.type is PacketType.STATE:
            return False
        self.state = State.CONNECTED
        self._deadline = NEVER
        return True

    def _take(self, packet: Packet, now: float) -> None:
        is_state = packet.type is PacketType.STATE
        outgoing = self.outgoing
        is_repeat = is_state and packet.window == outgoing.peer_window
        self._note_times(packet, now)
        size = outgoing.acknowledge(packet.ack, packet.selective_ack, is_repeat=is_repeat, now=now)
        outgoing.allow(packet.window)
        if size:
            self._adapt(packet.timestamp_difference, size, now)
        if not is_state:
            is_last = packet.type is PacketType.FIN
            self.incoming.receive(packet.seq, packet.payload, is_last=is_last)
            self._is_ack_due = True
            if self._is_abandoned:
                self._turn_down(packet)
        if outgoing.is_finished:
            self._settle_end(now)

    def _turn_down(self, packet: Packet) -> None:
        """Throw away what nobody will read; who goes on after our last byte is told to stop."""
        self.incoming.discard()
        if packet.payload and self.outgoing.is_finished:
            self.abort()

    def _note_times(self, packet: Packet, now: float) -> None:
        self._difference = (_clock(now) - packet.timestamp) & MICROSECONDS
        self._delay.received(self._difference, now=now)

    def _adapt(self, reported_us: int, size: int, now: float) -> None:
        """Let the window follow the queue; a queue is never longer than the whole way."""
        queue_us = 0
        if reported_us not in _NO_DELAY:
            queue_us = self._delay.reported(reported_us, now=now)
        rtt_s = self.outgoing.rtt.smoothed_s
        if rtt_s is not None:
            queue_us = min(queue_us, int(rtt_s * 1e6))
        self.outgoing.congestion.acknowledged(size, queue_us, now=now)

    # Time

    def next_deadline(self) -> float:
        """Return when `handle_deadline` is due, in monotonic seconds."""
        if self.state is State.CLOSED:
            return NEVER
        keepalive = NEVER if self.state is not State.CONNECTED else self._sent_at + KEEPALIVE_S
        return min(self._deadline, self.outgoing.deadline, keepalive)

    def handle_deadline(self, *, now: float) -> None:
        """Do what is due: send again, keep the path open, or give up."""
        if self.state is State.CLOSED:
            return
        if now >= self._deadline:
            self._expire()
            return
        self.outgoing.handle_deadline(now=now)
        if self.outgoing.timeouts >= self._timeouts_max:
            self._fail(Failure.TIMED_OUT)
        else:
            self._is_keepalive_due = now >= self._sent_at + KEEPALIVE_S

    @property
    def _timeouts_max(self) -> int:
        if self.state is State.SYN_SENT:
            return SYNS_MAX
        return FINS_MAX if self._is_abandoned else TIMEOUTS_MAX

    def _expire(self) -> None:
        """End by the deadline of the whole: in order if all was said, silently if nothing was."""
        if self.state is State.SYN_RECEIVED:
            self.failure = Failure.TIMED_OUT
        self.state = State.CLOSED

    def _settle_end(self, now: float) -> None:
        """See whether both directions have ended, or the owner waits for the peer to end its own.

        After that nobody is to be heard any more but repeats.
        """
        if self.outgoing.is_finished and self.incoming.is_ended:
            self._deadline = min(self._deadline, now + LINGER_S)
        elif self.outgoing.is_finished and self._is_abandoned:
            self._deadline = min(self._deadline, now + UNREAD_FIN_S)

    def _fail(self, failure: Failure) -> None:
        self.state = State.CLOSED
        self.failure = failure

    # What is to be sent

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return what has to go out now."""
        if self.state is State.CLOSED:
            return self._farewell(now)
        segments = self.outgoing.take(now=now)
        if segments:
            self._sent_at = now
        datagrams = [self._encode(segment, now) for segment in segments]
        # Only a STATE tells what is here beyond a gap.
        if (self._is_ack_due and (not segments or self.incoming.held)) or self.has_news:
            datagrams.append(self._encode_state(self.incoming.ack, now))
        elif self._is_keepalive_due and not segments:
            # One that acknowledges less than before is what others send to keep a path open.
            datagrams.append(self._encode_state(after(self.incoming.ack, -1), now))
        self._is_ack_due = self._is_keepalive_due = False
        return datagrams

    def _farewell(self, now: float) -> list[bytes]:
        if not self._is_reset_due:
            return []
        self._is_reset_due = False
        seq, ack = self.outgoing.next_seq, self.incoming.ack
        return [Packet(PacketType.RESET, self.send_id, _clock(now), 0, 0, seq, ack).encode()]

    def _encode(self, segment: Segment, now: float) -> bytes:
        is_syn = segment.type is PacketType.SYN
        packet = Packet(
            segment.type,
            self.receive_id if is_syn else self.send_id,
            _clock(now),
            self._difference,
            self.incoming.offer(),
            segment.seq,
            self.incoming.ack,
            0,
            segment.payload,
        )
        return packet.encode(segment.padding)

    def _encode_state(self, ack: int, now: float) -> bytes:
        self._sent_at = now
        packet = Packet(
            PacketType.STATE,
            self.send_id,
            _clock(now),
            self._difference,
            self.incoming.offer(),
            self.outgoing.next_seq,
            ack,
            self.incoming.held,
        )
        return packet.encode()


def _clock(now: float) -> int:
    return int(now * 1e6) & MICROSECONDS
