"""What became of the links of a batch, one by one and all together."""

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from magnet.metainfo.info import Info
from magnet.resolve.report import Report
from magnet.uri import MagnetLink

RATE_WINDOW_S: Final = 10.0
"""Seconds over which the rate is taken."""

RATE_SAMPLES_MAX: Final = 10_000
"""Ends of links remembered for the rate: a thousand a second over the window."""

_BAR_WIDTH: Final = 20
_REASONS_SHOWN_MAX: Final = 3


class Status(Enum):
    """How a link ended. The values are stable: they appear in JSON output."""

    RESOLVED = "resolved"
    FAILED = "failed"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one link.

    Attributes:
        uri: Its text.
        status: How it ended, for now.
        link: What it says; None if it is invalid.
        info: What the torrent says; None if it was not resolved.
        path: Where the torrent was written; None likewise.
        reason: Why it failed, or what the torrent lacks nevertheless, and why; None if neither.
        cause: The same in a word or two, by which failures are counted.
        report: The story; empty where nothing was asked.
        elapsed_s: Seconds it took.
        is_cached: Whether the queue knew the result from before.
        next_try_at: When it is tried again, in seconds since the epoch; None if it is not.
    """

    uri: str
    status: Status
    link: MagnetLink | None = None
    info: Info | None = None
    path: str | None = None
    reason: str | None = None
    cause: str | None = None
    report: Report | None = None
    elapsed_s: float = 0.0
    is_cached: bool = False
    next_try_at: float | None = None


class Tally:
    """The links of a batch, counted.

    Attributes:
        expected: How many links are known of.
        ended: How many ended in which way.
        causes: Why links failed.
        under_way: The reports of those being worked on.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.expected = 0
        self.ended: Counter[Status] = Counter()
        self.causes: Counter[str] = Counter()
        self.under_way: dict[str, Report] = {}
        self._ends: deque[float] = deque(maxlen=RATE_SAMPLES_MAX)

    def add(self, outcome: Outcome, *, now: float) -> None:
        """Count the end of a link."""
        self.ended[outcome.status] += 1
        self._ends.append(now)
        if outcome.cause is not None:
            self.causes[outcome.cause] += 1

    def rate(self, *, now: float) -> float:
        """Return how many links ended per second, lately."""
        while self._ends and self._ends[0] <= now - RATE_WINDOW_S:
            self._ends.popleft()
        return len(self._ends) / RATE_WINDOW_S

    @property
    def success_share(self) -> float:
        """Share of the links that ended which were resolved; 0 while none has."""
        total = self.ended.total()
        return self.ended[Status.RESOLVED] / total if total else 0.0

    def describe(self, *, now: float) -> str:
        """Return how it goes in one line: a bar, rate, share of successes and causes of failure."""
        if not self.ended and len(self.under_way) == 1 >= self.expected:
            return describe_report(next(iter(self.under_way.values())))
        total, expected = self.ended.total(), max(self.expected, self.ended.total())
        filled = _BAR_WIDTH * total // max(expected, 1)
        bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
        parts = [
            f"[{bar}] {total} of {expected}",
            f"{self.rate(now=now):.1f}/s",
            f"{self.success_share:.0%} resolved",
            f"{len(self.under_way)} under way",
        ]
        causes = self.causes.most_common(_REASONS_SHOWN_MAX)
        return ", ".join([*parts, *(f"{count} {cause}" for cause, count in causes)])

    def summary(self) -> str:
        """Return what came of it all in one line."""
        counts = ", ".join(f"{self.ended[it]} {it.value}" for it in Status)
        causes = ", ".join(f"{count} {cause}" for cause, count in self.causes.most_common())
        return f"{counts} ({causes})" if causes else counts


def describe_report(report: Report) -> str:
    """Return how far one resolve has come, in one line."""
    pieces = f", {report.pieces} of {report.pieces_needed} pieces" if report.pieces_needed else ""
    return (
        f"{report.nodes_answered} of {report.nodes_asked} nodes answered, "
        f"{report.peers_found} peers found, {len(report.attempts)} tried, "
        f"{report.trying} being tried{pieces}"
    )
