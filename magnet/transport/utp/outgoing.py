"""What is sent on a connection: cut into packets, within the windows, and again where it was lost.

What is lost is for `loss` to say, which counts what has overtaken it. Of a peer that sends no
selective acknowledgements, three equal ones say the same. When nothing arrives for two round trips,
the last packet is sent once more, for nothing is there to overtake the last ones, and an answer to
it shows the fate of all. Failing that as well, after a timeout everything on the way is lost.

Spec: BEP 29 "Selective ACK", "packet loss", "timeouts"; RFC 8985 section 7 on the last packets.
"""

from collections import deque
from typing import Final

from magnet.transport.utp.ledbat import Ledbat
from magnet.transport.utp.loss import NEVER, OVERTAKEN, LossDetector
from magnet.transport.utp.mtu import PathMtu
from magnet.transport.utp.packet import HEADER_BYTES, PADDING_MAX, PacketType
from magnet.transport.utp.rtt import RoundTrip
from magnet.transport.utp.segment import Segment
from magnet.transport.utp.sequence import SEQUENCE_MASK, after

BUFFER_BYTES: Final = 256 * 1_024
"""Bytes that wait to be sent for the first time; then the writer has to wait."""

UNACKNOWLEDGED_MAX: Final = 1_000
"""Packets on the way. libutp keeps 1,024 beyond a gap and drops the rest."""

ACK_SLACK: Final = 3
"""By how many numbers an acknowledgement may be older than all that is on the way; one that is
older still, or ahead of us, is forged. As in libutp."""

CLOSED_WINDOW_S: Final = 15.0
"""Seconds until a window of zero is asked about; as in libutp."""

TAIL_MIN_S: Final = 0.005
"""Least silence after which the last packet is sent once more: what a computer that is not too busy
takes to answer. It is two round trips otherwise, and at most once between two acknowledgements."""

PROBE_FOLLOWERS: Final = 2 * OVERTAKEN
"""Full packets to come that a probe needs, so that its loss shows without a timeout."""


class Outgoing:
    """The sending half.

    Attributes:
        next_seq: The number of the next new packet.
        buffered: Bytes that were never sent yet.
        in_flight: Bytes on the way.
        peer_window: Bytes that the peer has room for.
        timeouts: How many timeouts there were in a row.
        retransmissions: Packets that were sent again, in all.
        mtu: How large packets may be.
        rtt: How long answers take.
        congestion: How much may be on the way.
    """

    __slots__ = (
        "_buffer",
        "_is_finish_sent",
        "_is_finishing",
        "_is_tail_due",
        "_losses",
        "_lost",
        "_oldest",
        "_probe",
        "_repeats",
        "_sacked",
        "_segments",
        "_tail_at",
        "_timeout_at",
        "_urgent",
        "buffered",
        "congestion",
        "in_flight",
        "mtu",
        "next_seq",
        "peer_window",
        "retransmissions",
        "rtt",
        "timeouts",
    )

    def __init__(self, seq: int, mtu: PathMtu) -> None:
        """Start.

        Args:
            seq: The number of the first packet.
            mtu: What the path takes.
        """
        self.next_seq = self._oldest = seq
        self.mtu = mtu
        self.rtt = RoundTrip()
        self.congestion = Ledbat(mtu.payload)
        self.peer_window = 0
        self._tail_at = NEVER
        self._is_tail_due = False
        self.buffered = self.in_flight = self.timeouts = self.retransmissions = 0
        self._timeout_at = NEVER
        self._buffer: deque[memoryview] = deque()
        self._segments: dict[int, Segment] = {}
        self._losses = LossDetector(self.rtt)
        self._lost: deque[Segment] = deque()
        self._sacked = 0
        self._repeats = 0
        self._urgent = False
        self._probe: Segment | None = None
        self._is_finishing = self._is_finish_sent = False

    @property
    def room(self) -> int:
        """Bytes that `write` takes now."""
        return max(BUFFER_BYTES - self.buffered, 0)

    @property
    def deadline(self) -> float:
        """When `handle_deadline` is due, in monotonic seconds; `NEVER` if it is not."""
        return min(self._timeout_at, self._tail_at, self._losses.recheck_at)

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing more to come, and all has arrived."""
        return self._is_finish_sent and not self._segments

    @property
    def unacknowledged(self) -> int:
        """How many numbers are not acknowledged up to."""
        return (self.next_seq - self._oldest) & SEQUENCE_MASK

    def open(self) -> None:
        """Send a SYN before anything else."""
        self._lost.append(self._next_segment(PacketType.SYN))

    def allow(self, window: int) -> None:
        """Note how many bytes the peer has room for; one that has none is alive all the same."""
        if window and not self.peer_window:
            # It has thrown away what was sent meanwhile.
            self._give_up()
        self.peer_window = window
        if not window:
            self.timeouts = 0

    def write(self, data: bytes | memoryview) -> int:
        """Take bytes to be sent, as far as there is room; return how many."""
        taken = bytes(memoryview(data)[: self.room])
        if taken:
            self._buffer.append(memoryview(taken))
            self.buffered += len(taken)
        return len(taken)

    def finish(self) -> None:
        """Send a FIN after everything else; nothing may be written any more."""
        self._is_finishing = True

    # What the peer has received

    def expects(self, ack: int) -> bool:
        """Tell whether an acknowledgement is possible, and not forged."""
        behind = (self.next_seq - 1 - ack) & SEQUENCE_MASK
        return behind <= self.unacknowledged + ACK_SLACK

    def acknowledge(self, ack: int, mask: int, *, is_repeat: bool, now: float) -> int:
        """Take an acknowledgement that was expected.

        Args:
            ack: The last number up to which the peer has everything.
            mask: What it has beyond, as in `Packet`.
            is_repeat: Whether it came for its own sake, and says nothing new but that something
                arrived out of order.
            now: Monotonic seconds.

        Returns:
            How many bytes are acknowledged that were not before.
        """
        count = (ack + 1 - self._oldest) & SEQUENCE_MASK
        if count > self.unacknowledged:
            return 0
        segments = self._newly_acknowledged(count, mask)
        for segment in segments:
            self._arrived(segment, now)
        if segments:
            self._progress(segments[-1], now)
        elif is_repeat and not count and not mask:
            self._repeat(now)
        self._find_lost(now)
        return sum([len(it.payload) for it in segments])

    def _newly_acknowledged(self, count: int, mask: int) -> list[Segment]:
        """Return what is acknowledged now and was not before, in the order of the numbers."""
        segments, oldest = self._segments, self._oldest
        found = [
            segment
            for step in range(count)
            if (segment := segments.pop(after(oldest, step), None)) is not None
        ]
        self._oldest = oldest = after(oldest, count)
        self._sacked >>= count
        # Bit 0 of the mask stands for the second packet that is missing.
        fresh = mask << 1 & ~self._sacked & (1 << self.unacknowledged) - 1
        self._sacked |= fresh
        while fresh:
            step = (fresh & -fresh).bit_length() - 1
            fresh &= fresh - 1
            found.append(segments.pop(after(oldest, step)))
        return found

    def _arrived(self, segment: Segment, now: float) -> None:
        if self._losses.arrived(segment, now=now):
            self.congestion.not_lost()
        if not segment.is_lost:
            self.in_flight -= len(segment.payload)
        segment.is_acknowledged = True
        if segment is self._probe:
            self._probe = None
            self.mtu.arrived(HEADER_BYTES + segment.padding + len(segment.payload))
            self.congestion.packet = self.mtu.payload

    def _progress(self, newest: Segment, now: float) -> None:
        if newest.sendings == 1:
            self.rtt.sample(now - newest.sent_at)
        self.timeouts = self._repeats = 0
        self._timeout_at = self._tail_at = NEVER
        if self._segments:
            self._timeout_at = now + self.rtt.timeout_s
            self._watch_tail(now)

    def _repeat(self, now: float) -> None:
        """Count acknowledgements that repeat the last; at the third the next packet is lost."""
        self._repeats += 1
        segment = self._segments.get(self._oldest)
        if self._repeats < OVERTAKEN or segment is None or segment.is_lost:
            return
        # On a path that duplicates, repeats are no sign of loss; they come as early as the first.
        if self._losses.is_old(segment, now=now):
            self._repeats = 0
            self._lose(segment, now)

    # Loss

    def _find_lost(self, now: float) -> None:
        for segment in self._losses.find_lost(now=now):
            self._lose(segment, now)

    def _lose(self, segment: Segment, now: float) -> None:
        segment.lose()
        self.in_flight -= len(segment.payload)
        self._lost.append(segment)
        if segment is self._probe:
            self._drop_probe(now)
            return
        self._urgent = True
        self.congestion.lost(sent_at=segment.sent_at, now=now)

    def handle_deadline(self, *, now: float) -> None:
        """Look whether something is lost by now; after a timeout, all that is on the way is."""
        self._find_lost(now)
        if now >= self._tail_at:
            self._tail_at = NEVER
            self._urgent = bool(self._lost)
            self._is_tail_due = not self._lost
        if now < self._timeout_at:
            return
        # Where nothing is on the way, the peer's window is closed, and is to be asked about.
        self._urgent = True
        self._timeout_at = NEVER
        if self._segments:
            self._time_out(now)

    def _watch_tail(self, now: float) -> None:
        if self.rtt.smoothed_s is not None:
            self._tail_at = now + max(2 * self.rtt.smoothed_s, TAIL_MIN_S)

    def _time_out(self, now: float) -> None:
        self.timeouts += 1
        self.rtt.back_off()
        # Nothing else is to be expected where there is no room.
        if self.peer_window:
            self.congestion.timed_out(now=now)
        self._drop_probe(now)
        self._give_up()
        self._timeout_at = now + self.rtt.timeout_s

    def _give_up(self) -> None:
        """Take all that is on the way for lost."""
        self._losses.give_up()
        for segment in self._segments.values():
            segment.lose()
        self._lost.clear()
        self._lost += self._segments.values()
        self._tail_at = NEVER
        self.in_flight = self._repeats = 0

    def _drop_probe(self, now: float) -> None:
        """Give up the probe under way, if there is one: what it carries goes again unpadded."""
        if self._probe is not None:
            self._probe.padding = 0
            self._probe = None
            self.mtu.lost(now=now)

    # What is to be sent

    def take(self, *, now: float) -> list[Segment]:
        """Return the packets that are to be sent now, lost ones first."""
        taken = self._take_lost(now)
        if not self._lost:
            self._take_new(taken, now)
            if self._is_tail_due and self._segments and not taken:
                self._take_tail(taken, now)
        self._urgent = self._is_tail_due = False
        return taken

    def _take_tail(self, taken: list[Segment], now: float) -> None:
        """Send the last packet once more, whatever the windows say; it is on the way already."""
        segment = next(reversed(self._segments.values()))
        self.retransmissions += 1
        self._losses.sent(segment, now=now)
        taken.append(segment)

    def _take_lost(self, now: float) -> list[Segment]:
        taken: list[Segment] = []
        while self._lost:
            segment = self._lost[0]
            if not segment.is_acknowledged:
                if not self._fits(len(segment.payload)) and not self._urgent:
                    self.congestion.filled(now=now)
                    break
                self._urgent = False
                self.retransmissions += segment.sendings > 0
                self._launch(segment, taken, now)
            self._lost.popleft()
        return taken

    def _take_new(self, taken: list[Segment], now: float) -> None:
        while self.buffered:
            if self.unacknowledged >= UNACKNOWLEDGED_MAX:
                return
            size = min(self.mtu.payload, self.buffered)
            if not self._fits(size):
                size = self._squeeze(size, now)
                if not size:
                    return
            payload = self._cut(size)
            segment = self._next_segment(PacketType.DATA, payload)
            if size == self.mtu.payload and self._probe is None:
                self._pad(segment, now)
            self._launch(segment, taken, now)
        if self._is_finishing and not self._is_finish_sent:
            self._is_finish_sent = True
            self._launch(self._next_segment(PacketType.FIN), taken, now)

    def _fits(self, size: int) -> bool:
        """Tell whether a packet may go; the congestion window always lets one out."""
        total = self.in_flight + size
        return total <= self.peer_window and (total <= self.congestion.window or not self.in_flight)

    def _squeeze(self, size: int, now: float) -> int:
        """Return how much of a packet may go although it does not fit as a whole; 0 to wait."""
        if self._segments:
            self.congestion.filled(now=now)
            return 0
        # Nothing is on the way whose acknowledgement could open the peer's window.
        if not self.peer_window and not self._urgent:
            self._timeout_at = min(self._timeout_at, now + CLOSED_WINDOW_S)
            return 0
        return min(size, max(self.peer_window, 1))

    def _cut(self, size: int) -> bytes:
        """Take bytes off the front of what is buffered, which has so many."""
        self.buffered -= size
        front = self._buffer[0]
        if len(front) > size:
            self._buffer[0] = front[size:]
            return bytes(front[:size])
        parts = []
        while size:
            front = self._buffer.popleft()
            if len(front) > size:
                self._buffer.appendleft(front[size:])
                front = front[:size]
            size -= len(front)
            parts.append(front)
        return b"".join(parts)

    def _pad(self, segment: Segment, now: float) -> None:
        """Make a packet a probe, if there is a size to try and enough follows to show its loss."""
        probe = self.mtu.next_probe(now=now)
        if probe is not None and self.buffered > PROBE_FOLLOWERS * self.mtu.payload:
            segment.padding = min(probe - self.mtu.size, PADDING_MAX)
            self._probe = segment

    def _next_segment(self, type: PacketType, payload: bytes = b"") -> Segment:
        segment = Segment(type, self.next_seq, payload)
        self.next_seq = after(self.next_seq)
        return segment

    def _launch(self, segment: Segment, taken: list[Segment], now: float) -> None:
        if not self._segments:
            self._timeout_at = now + self.rtt.timeout_s
            self._watch_tail(now)
        self._segments[segment.seq] = segment
        self._losses.sent(segment, now=now)
        self.in_flight += len(segment.payload)
        taken.append(segment)
