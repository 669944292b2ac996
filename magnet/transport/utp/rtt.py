"""How long an answer takes, and how long to wait for one before it counts as lost.

Spec: BEP 29 "timeouts", which is RFC 6298 with another lower bound.
"""

from typing import Final

TIMEOUT_MIN_S: Final = 0.5
"""Least wait; BEP 29's number. libutp has 1 s."""

TIMEOUT_START_S: Final = 1.0
"""Wait before anything was measured; as in BEP 29 and RFC 6298."""

TIMEOUT_MAX_S: Final = 30.0
"""Most that doubling leads to; no application of ours is more patient."""


class RoundTrip:
    """The round-trip time of a path.

    Attributes:
        least_s: The shortest so far, in seconds; 0 before the first sample.
        smoothed_s: Its running average, in seconds; None before the first sample.
        timeout_s: How long to wait for an answer now.
    """

    __slots__ = ("_variation", "least_s", "smoothed_s", "timeout_s")

    def __init__(self) -> None:
        """Know nothing yet."""
        self.least_s = 0.0
        self.smoothed_s: float | None = None
        self._variation = 0.0
        self.timeout_s = TIMEOUT_START_S

    def sample(self, seconds: float) -> None:
        """Take a measurement, of a packet that was sent once: of others nobody knows which time.

        It also ends the doubling.
        """
        if self.smoothed_s is None:
            self.least_s = self.smoothed_s = seconds
            self._variation = seconds / 2
        else:
            self.least_s = min(self.least_s, seconds)
            self._variation += (abs(self.smoothed_s - seconds) - self._variation) / 4
            self.smoothed_s += (seconds - self.smoothed_s) / 8
        waited_s = self.smoothed_s + 4 * self._variation
        self.timeout_s = min(max(waited_s, TIMEOUT_MIN_S), TIMEOUT_MAX_S)

    def back_off(self) -> None:
        """Wait twice as long from now on, since an answer did not come."""
        self.timeout_s = min(self.timeout_s * 2, TIMEOUT_MAX_S)
