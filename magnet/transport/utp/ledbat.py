"""Congestion control that makes way: LEDBAT.

The window grows while packets queue for less than a tenth of a second, and shrinks when they queue
for longer. TCP fills queues until they overflow, so in its company the delay is above the target
and uTP gives way: by a share of the window, at most a half in a round trip, as in LEDBAT++, for
BEP 29's few bytes would take minutes where the window is large. Where packets are lost before a
queue shows, the window is halved as TCP's is; should the loss turn out to be none, that is undone.

With few losses a connection thus uses what others leave. With a share p of packets lost at random,
the window grows by g packets a round trip and is halved at a loss, and so it stays around
sqrt(3 g / 2 p) packets: that, per round-trip time, is what LEDBAT allows.

At the start, and after a timeout, the window doubles each round trip until the queue is nearly as
long as the target, half the last good window is reached, or a packet is lost.

A peer that lies about the delay gains a window that is halved at each loss, like TCP's. Beyond the
round-trip time no report of delay is believed, for a queue is a part of the way.

Spec: BEP 29 "congestion control"; RFC 6817 section 2.4; draft-irtf-iccrg-ledbat-plus-plus
for the decrease; libtorrent for the slow start.
"""

from typing import Final

TARGET_US: Final = 100_000
"""Queueing that is aimed at, in microseconds: BEP 29's number, and the most RFC 6817 allows."""

GAIN_BYTES: Final = 3_000
"""Most that the window grows in one round trip outside slow start; BEP 29's number."""

WINDOW_MAX: Final = 1_048_576
"""Largest window, in bytes: 10 MB/s over 100 ms."""

INITIAL_PACKETS: Final = 4
"""Window at the start, in packets: between RFC 6817's two and the ten of TCP nowadays."""

FULL_S: Final = 1.0
"""The window grows only if it was full so shortly ago; else nothing is learnt about it. As in
libutp."""

_SLOW_START_EXIT_US: Final = TARGET_US * 9 // 10


class Ledbat:
    """The congestion window of one direction.

    Attributes:
        window: Bytes that may be on the way.
        packet: Size of a full packet in bytes, the least window there is.
        in_slow_start: Whether it doubles each round trip.
    """

    __slots__ = (
        "_before",
        "_full_at",
        "_losses",
        "_reduced_at",
        "_threshold",
        "in_slow_start",
        "packet",
        "window",
    )

    def __init__(self, packet: int) -> None:
        """Begin with a few packets."""
        self.packet = packet
        self.window = float(INITIAL_PACKETS * packet)
        self.in_slow_start = True
        self._threshold = float(WINDOW_MAX)
        self._full_at = float("-inf")
        self._reduced_at = float("-inf")
        self._losses = 0
        self._before = (self.window, self._threshold, self.in_slow_start)

    def filled(self, *, now: float) -> None:
        """Note that there was more to send than the window let go."""
        self._full_at = now

    def acknowledged(self, size: int, queue_us: int, *, now: float) -> None:
        """Grow or shrink as bytes have arrived.

        Args:
            size: How many, at least one.
            queue_us: How long they queued, in microseconds.
            now: Monotonic seconds.
        """
        if self.in_slow_start and queue_us > _SLOW_START_EXIT_US:
            self.in_slow_start = False
            self._threshold = self.window
        share = min(size, self.window) / max(size, self.window)
        off_target = 1 - queue_us / TARGET_US
        gain = max(off_target, -0.5) * self.window * share
        if off_target > 0:
            gain = GAIN_BYTES * off_target * share
            if now - self._full_at > FULL_S:
                return
            if self.in_slow_start:
                gain = max(gain, size)
                self.in_slow_start = self.window + gain < self._threshold
        self.window = min(max(self.window + gain, self.packet), WINDOW_MAX)

    def lost(self, *, sent_at: float, now: float) -> None:
        """Halve the window; losses of packets sent before the last such time are the same loss."""
        if sent_at <= self._reduced_at:
            self._losses += 1
            return
        self._losses = 1
        self._before = (self.window, self._threshold, self.in_slow_start)
        self._reduced_at = now
        self.window = max(self.window / 2, self.packet)
        self._threshold = self.window
        self.in_slow_start = False

    def not_lost(self) -> None:
        """Note that a loss was none; if all that halved the window were like it, undo that."""
        self._losses -= 1
        if not self._losses:
            window, self._threshold, self.in_slow_start = self._before
            self.window = max(self.window, window)

    def timed_out(self, *, now: float) -> None:
        """Start again with one packet, since nothing came back at all."""
        self._threshold = max(min(self._threshold, self.window / 2), 2 * self.packet)
        self.window = float(self.packet)
        self.in_slow_start = True
        self._reduced_at = now
        self._losses = 0
