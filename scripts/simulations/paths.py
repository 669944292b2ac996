"""A path between two ends in virtual time: what it loses, delays, repeats, and how much it takes.

Each direction has a bottleneck, which sends so many bytes a second and has a queue before it that
drops what does not fit, and behind it a way with its delay and its faults. Several senders may
share a bottleneck.
"""

import heapq
import random
from collections.abc import Callable
from typing import Final, NamedTuple

OVERHEAD_BYTES: Final = 28
"""Bytes that IP and UDP add to a datagram."""


class Faults(NamedTuple):
    """What happens on the way.

    Attributes:
        delay_s: Seconds from end to end, without queueing.
        loss: Share of the datagrams that are lost.
        duplication: Share that arrive twice.
        reordering: Share that are overtaken.
        lateness_s: Most seconds that those come late.
    """

    delay_s: float = 0.05
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    lateness_s: float = 0.0


class Clock:
    """Virtual time, and what is to happen in it.

    Attributes:
        now: Seconds since the beginning.
    """

    def __init__(self) -> None:
        """Begin."""
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Let something happen at a time, or now if that has passed."""
        self._serial += 1
        heapq.heappush(self._agenda, (max(when, self.now), self._serial, act))

    def run_until(self, is_done: Callable[[], bool], *, limit_s: float) -> bool:
        """Let time pass until something is so; return whether it was before the limit."""
        while not is_done():
            if not self._agenda or self._agenda[0][0] > limit_s:
                return False
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        return True

    def run_for(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        self.run_until(lambda: False, limit_s=end)
        self.now = end


class Bottleneck:
    """The narrowest place of a way.

    Attributes:
        drops: Datagrams that did not fit into the queue.
        longest_s: Most seconds that one has queued.
    """

    def __init__(self, clock: Clock, bytes_per_s: float, queue_s: float) -> None:
        """Open one.

        Args:
            clock: What time it is.
            bytes_per_s: How much gets through.
            queue_s: How long the queue may be, in seconds of that.
        """
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._queue_s = queue_s
        self._free_at = 0.0
        self.drops = 0
        self.longest_s = 0.0

    def pass_through(self, size: int) -> float | None:
        """Return when a datagram of so many bytes leaves; None if it is dropped."""
        queued_s = max(self._free_at - self._clock.now, 0.0)
        if queued_s > self._queue_s:
            self.drops += 1
            return None
        self.longest_s = max(self.longest_s, queued_s)
        self._free_at = self._clock.now + queued_s + size / self._bytes_per_s
        return self._free_at


class Way:
    """One direction between two ends."""

    def __init__(
        self, clock: Clock, bottleneck: Bottleneck, faults: Faults, rng: random.Random
    ) -> None:
        """Build one; bottlenecks may be shared."""
        self._clock = clock
        self._bottleneck = bottleneck
        self._faults = faults
        self._rng = rng

    def send(self, size: int, deliver: Callable[[], None]) -> None:
        """Send a datagram of so many bytes; `deliver` is called when it arrives, if it does."""
        left_at = self._bottleneck.pass_through(size + OVERHEAD_BYTES)
        faults, rng = self._faults, self._rng
        if left_at is None or rng.random() < faults.loss:
            return
        copies = 2 if rng.random() < faults.duplication else 1
        for _ in range(copies):
            is_late = rng.random() < faults.reordering
            lateness_s = rng.uniform(0.0, faults.lateness_s) if is_late else 0.0
            self._clock.at(left_at + faults.delay_s + lateness_s, deliver)
