"""How long packets queue on their way, told from clocks that do not agree.

The receiver of a packet reports by how much its clock was ahead of the timestamp. That number is
the difference of the clocks plus the time on the way. The first does not change, or slowly, so the
smallest number of the last minutes stands for an empty queue; what is above it was queueing.

Clocks drift, though. Seen from both ends a drift has opposite signs: where the smallest number in
one direction sinks, that in the other direction has to rise, and its memory of the past is wrong.

Spec: BEP 29 "congestion control"; RFC 6817 section 3.4.2 "base delay".
"""

from collections import deque
from typing import Final

from magnet.transport.utp.packet import MICROSECONDS

BASE_MINUTES: Final = 10
"""Minutes of which the smallest delay is known; RFC 6817's number. libutp has 13, BEP 29 two."""

FILTERED: Final = 3
"""Samples of which the smallest counts, so that one late packet is not yet a queue; as in libutp.
"""

DRIFT_STEP_MAX_US: Final = 10_000
"""Largest step that passes for drift, in microseconds; more is a change of the path. As in libutp.
"""

_MINUTE_S: Final = 60.0
_HALF: Final = 0x8000_0000


class BaseDelay:
    """The smallest delay of the last minutes.

    Attributes:
        base_us: That delay, in microseconds of 32 bits; None before the first sample.
    """

    __slots__ = ("_minima", "_minute_ends", "base_us")

    def __init__(self) -> None:
        """Know nothing yet."""
        self.base_us: int | None = None
        self._minima: deque[int] = deque(maxlen=BASE_MINUTES)
        self._minute_ends = float("-inf")

    def sample(self, delay_us: int, *, now: float) -> int:
        """Take a sample, in microseconds of 32 bits; return by how much it is above the base."""
        if self.base_us is None or now >= self._minute_ends:
            self._minute_ends = now + _MINUTE_S
            self._minima.append(delay_us)
            self.base_us = _smallest(self._minima)
        above = (delay_us - self.base_us) & MICROSECONDS
        if above < _HALF:
            if _is_below(delay_us, self._minima[-1]):
                self._minima[-1] = delay_us
            return above
        self._minima[-1] = self.base_us = delay_us
        return 0

    def shift(self, by_us: int) -> None:
        """Raise the memory of the past, because the other clock turned out to run slower."""
        for place, value in enumerate(self._minima):
            self._minima[place] = (value + by_us) & MICROSECONDS
        if self.base_us is not None:
            self.base_us = (self.base_us + by_us) & MICROSECONDS


class QueueDelay:
    """How long our packets queue now."""

    __slots__ = ("_ours", "_recent", "_theirs")

    def __init__(self) -> None:
        """Know nothing yet."""
        self._ours = BaseDelay()
        self._theirs = BaseDelay()
        self._recent: deque[int] = deque(maxlen=FILTERED)

    def received(self, delay_us: int, *, now: float) -> None:
        """Note how late a packet of the peer seemed to us: this shows the drift of the clocks."""
        before = self._theirs.base_us
        self._theirs.sample(delay_us, now=now)
        after = self._theirs.base_us
        if before is not None and after is not None and _is_below(after, before):
            sunk = (before - after) & MICROSECONDS
            if sunk <= DRIFT_STEP_MAX_US:
                self._ours.shift(sunk)

    def reported(self, delay_us: int, *, now: float) -> int:
        """Note how late a packet of ours seemed to the peer; return the queueing, in microseconds.

        Args:
            delay_us: The `timestamp_difference` of a packet, not zero.
            now: Monotonic seconds.
        """
        self._recent.append(self._ours.sample(delay_us, now=now))
        return min(self._recent)


def _is_below(first: int, second: int) -> bool:
    return 0 < (second - first) & MICROSECONDS < _HALF


def _smallest(values: deque[int]) -> int:
    smallest = values[0]
    for value in values:
        if _is_below(value, smallest):
            smallest = value
    return smallest
