"""Which of the packets on the way are lost.

A packet that three later ones have overtaken is lost, most of the time; and one that a single later
one has overtaken, when it is clearly more than a round trip old. Where packets often come late, the
first rule takes many for lost that are not; so whenever one arrives that was given up, the detector
learns how late packets may be here, and waits for so long besides.

Each sending has a number, not only each packet. So a repeat can be seen to be lost as well.

Spec: BEP 29 "packet loss"; RFC 9002 section 6.1 for both rules, and for numbering sendings;
RFC 8985 (RACK) for learning how late packets may be.
"""

from collections import deque
from typing import Final

from magnet.transport.utp.rtt import RoundTrip
from magnet.transport.utp.segment import Segment

OVERTAKEN: Final = 3
"""Packets that arrive before an earlier one counts as lost."""

NEVER: Final = float("inf")

_OLD: Final = 1.125
"""Round trips after which a packet that was overtaken at all is lost; RFC 9002's 9/8."""

_ALLOWANCE: Final = 1.25
"""How much later than the latest so far the next may be."""

_SOONEST: Final = 0.75
"""Share of the shortest round trip within which nothing sent can have been acknowledged."""


class LossDetector:
    """Watches the packets on the way.

    Attributes:
        recheck_at: When to look again although nothing arrives, in monotonic seconds.
        tolerance_s: How late packets have been; 0 before one was. At most a round trip counts.
    """

    __slots__ = ("_marks", "_on_the_way", "_rtt", "_sendings", "recheck_at", "tolerance_s")

    def __init__(self, rtt: RoundTrip) -> None:
        """Start with nothing on the way.

        Args:
            rtt: How long answers take.
        """
        self._rtt = rtt
        self._on_the_way: deque[tuple[int, Segment]] = deque()
        self._sendings = 0
        # The numbers of the newest sendings that have arrived, in order.
        self._marks = [0] * OVERTAKEN
        self.recheck_at = NEVER
        self.tolerance_s = 0.0

    def sent(self, segment: Segment, *, now: float) -> None:
        """Watch a packet that is being sent."""
        self._sendings += 1
        segment.send(self._sendings, now=now)
        self._on_the_way.append((self._sendings, segment))

    def arrived(self, segment: Segment, *, now: float) -> bool:
        """Note that a packet has arrived; return whether it was given up too early."""
        marks, is_due = self._marks, now - segment.sent_at >= self._rtt.least_s * _SOONEST
        # Which sending of several it was can only be told from the time.
        number = segment.latest if is_due else segment.first
        if number > marks[0]:
            marks[0] = number
            marks.sort()
        if not segment.was_lost or (is_due and not segment.is_lost):
            return False
        self._learn(now - segment.began_at)
        return True

    def find_lost(self, *, now: float) -> list[Segment]:
        """Return the packets that are lost by now, and watch them no longer."""
        lost: list[Segment] = []
        self.recheck_at = NEVER
        watched, newest = self._on_the_way, self._marks[-1]
        while watched:
            number, segment = watched[0]
            if not (segment.is_acknowledged or segment.is_lost or segment.latest != number):
                if number >= newest:
                    break
                lost_at = self._lost_at(segment)
                if lost_at > now:
                    self.recheck_at = lost_at
                    break
                lost.append(segment)
            watched.popleft()
        return lost

    def is_old(self, segment: Segment, *, now: float) -> bool:
        """Tell whether a packet on the way is clearly more than a round trip old."""
        usual_s = self._rtt.smoothed_s
        return usual_s is None or now >= segment.sent_at + usual_s * _OLD

    def give_up(self) -> None:
        """Watch nothing any more."""
        self._on_the_way.clear()
        self.recheck_at = NEVER

    def _lost_at(self, segment: Segment) -> float:
        """Return from when on a packet that was overtaken counts as lost."""
        usual_s = self._rtt.smoothed_s
        if segment.latest < self._marks[0] and not self.tolerance_s:
            return segment.sent_at
        if usual_s is None:
            return NEVER
        # What was learnt when round trips took longer is no measure for now.
        return segment.sent_at + usual_s * _OLD + min(self.tolerance_s, usual_s)

    def _learn(self, took_s: float) -> None:
        usual_s = self._rtt.smoothed_s
        if usual_s is not None:
            self.tolerance_s = max(self.tolerance_s, (took_s - usual_s) * _ALLOWANCE)
