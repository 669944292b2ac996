"""Whether strangers can reach us, judged from whether they do.

A node behind a NAT is reached by those to whom it has just sent something, and by nobody else. So
what counts is a query from an address that was left alone for longer than a NAT remembers. Whoever
is in many routing tables gets several a minute; if none comes for a quarter of an hour, we are not
reachable, and had better say so than stand in tables where we help nobody.

Once we say so nodes no longer enter us, so nobody would come even if they could: from time to time
it has to be tried again.

Spec: BEP 43.
"""

from typing import Final

LATELY_S: Final = 300.0
"""Seconds for which an address that we sent to counts as invited: as long as NATs usually let its
answers in (RFC 4787, REQ-5)."""

PATIENCE_S: Final = 900.0
"""Seconds without an uninvited query after which we count as unreachable."""

ANSWERS_MIN: Final = 64
"""Answers to us meanwhile: with fewer it may be us who were offline, or a network of a few."""

TRIAL_AFTER_S: Final = 3_600.0
"""Seconds of silence after which we show ourselves again, for a trial of `PATIENCE_S`."""

GUESTS_TO_OPEN: Final = 2
"""Addresses that must reach us before a trial is due: one may be a stray."""


class Reachability:
    """Whether to count as reachable: a machine with two states, open and shut.

    Attributes:
        uninvited: Queries so far from addresses that we had left alone.
    """

    def __init__(self, *, now: float) -> None:
        """Begin open, with the benefit of the doubt."""
        self.uninvited = 0
        self._is_open = True
        self._since = now
        self._answers = 0
        self._guests: set[bytes] = set()

    def answered(self) -> None:
        """Note that a query of ours was answered: we are online."""
        self._answers += 1

    def queried(self, address: bytes, *, invited_at: float, now: float) -> None:
        """Note that somebody sent us a query.

        Args:
            address: 4 or 16 bytes.
            invited_at: When we last sent something there; minus infinity if never.
            now: Monotonic seconds.
        """
        if invited_at + LATELY_S > now:
            return
        self.uninvited += 1
        if self._is_open:
            self._begin(True, now)
        else:
            self._guests.add(address)
            if len(self._guests) >= GUESTS_TO_OPEN:
                self._begin(True, now)

    def is_open(self, *, now: float) -> bool:
        """Tell whether to count as reachable."""
        if self._is_open:
            if now >= self._since + PATIENCE_S and self._answers >= ANSWERS_MIN:
                self._begin(False, now)
        elif now >= self._since + TRIAL_AFTER_S:
            self._begin(True, now)
        return self._is_open

    def _begin(self, is_open: bool, now: float) -> None:
        self._is_open, self._since, self._answers = is_open, now, 0
        self._guests.clear()
