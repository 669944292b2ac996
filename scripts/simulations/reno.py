"""A flow that behaves as TCP does, for others to share a bottleneck with.

It always has something to send, and what that is does not matter; so a lost packet is not sent
again but another in its place. The window is TCP's: it doubles in slow start, grows by a packet in
a round trip afterwards, and is halved when packets are lost.

Spec: RFC 5681.
"""

from functools import partial
from typing import Final

from scripts.simulations.paths import Clock, Way

PACKET_BYTES: Final = 1_472
"""A full packet without the headers that a way adds."""

ACK_BYTES: Final = 40
DUPLICATES: Final = 3
TIMEOUT_S: Final = 1.0


class Reno:
    """One flow.

    Attributes:
        delivered: Bytes that have arrived.
        window: Packets that may be on the way.
    """

    def __init__(self, clock: Clock, forth: Way, back: Way) -> None:
        """Take the ways for packets and for acknowledgements."""
        self._clock = clock
        self._forth = forth
        self._back = back
        self.delivered = 0
        self.window = 10.0
        self._threshold = float("inf")
        self._next = 0
        self._recovered_at = 0
        self._on_the_way: dict[int, None] = {}
        self._heard_at = 0.0
        self._is_running = False

    def start(self) -> None:
        """Begin to send."""
        self._is_running = True
        self._heard_at = self._clock.now
        self._send()
        self._watch()

    def stop(self) -> None:
        """Send nothing more."""
        self._is_running = False

    def _send(self) -> None:
        while self._is_running and len(self._on_the_way) < self.window:
            number, self._next = self._next, self._next + 1
            self._on_the_way[number] = None
            self._forth.send(PACKET_BYTES, partial(self._arrive, number))

    def _arrive(self, number: int) -> None:
        self.delivered += PACKET_BYTES
        self._back.send(ACK_BYTES, partial(self._acknowledged, number))

    def _acknowledged(self, number: int) -> None:
        self._heard_at = self._clock.now
        if number in self._on_the_way:
            del self._on_the_way[number]
            self.window += 1 if self.window < self._threshold else 1 / self.window
        # They are in the order in which they were sent.
        while (oldest := next(iter(self._on_the_way), number)) < number - DUPLICATES:
            del self._on_the_way[oldest]
            self._lost(oldest)
        self._send()

    def _lost(self, number: int) -> None:
        if number >= self._recovered_at:
            self._recovered_at = self._next
            self.window = self._threshold = max(self.window / 2, 2.0)

    def _watch(self) -> None:
        """Start over where nothing was heard for long."""
        if not self._is_running:
            return
        if self._on_the_way and self._clock.now - self._heard_at >= TIMEOUT_S:
            self._threshold, self.window = max(self.window / 2, 2.0), 1.0
            self._on_the_way.clear()
            self._heard_at = self._clock.now
            self._send()
        self._clock.at(self._clock.now + TIMEOUT_S / 10, self._watch)
