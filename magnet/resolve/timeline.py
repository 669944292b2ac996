"""The report of a resolve in sentences, stage by stage, for people.

joined the DHT in 0.4 s
dht: 14 asked, 9 answered, 5 failed; 37 peers, the first after 0.5 s; next try in 2 s
tried 24 of 37 peers: 12 refused, 9 timed out connecting, 2 without metadata, 1 delivered
first peer reached after 0.7 s; 3 by TCP, 1 by uTP, encrypted
whole metadata after 0.9 s, from 192.0.2.1:6881
"""

from collections import Counter

from dht.contact import format_endpoint
from magnet.resolve.report import DELIVERED, Report
from magnet.sources.source import SourceRecord


def timeline(report: Report, *, now: float) -> list[str]:
    """Return what happened, a line for each stage.

    Args:
        report: Of a resolve that is over, or under way.
        now: Monotonic seconds, from which on to count the time until sources try again.
    """
    return [
        _joining(report),
        *(_source(it, now) for it in report.sources),
        *_attempts(report),
        *_reached(report),
        _end(report),
        *([] if report.shortfall is None else [report.shortfall]),
    ]


def _joining(report: Report) -> str:
    if report.joined_s is None:
        return "has not joined the DHT"
    if not report.joined_s:
        return "had joined the DHT before"
    return f"joined the DHT in {_seconds(report.joined_s)}"


def _source(source: SourceRecord, now: float) -> str:
    parts = []
    if source.asked:
        parts.append(f"{source.asked} asked, {source.answered} answered, {source.failed} failed")
    found = _count(source.peers, "peer") if source.peers else "no peers"
    if source.first_peer_s is not None:
        found += f", the first after {_seconds(source.first_peer_s)}"
    parts.append(found)
    if source.error is not None:
        parts.append(source.error)
    if source.next_at is not None:
        parts.append(f"next try in {_seconds(max(source.next_at - now, 0.0))}")
    return f"{source.name}: {'; '.join(parts)}"


def _attempts(report: Report) -> list[str]:
    tried = len({it.peer for it in report.attempts})
    if not tried:
        return []
    ends = ", ".join(f"{count} {outcome}" for outcome, count in report.outcomes().items())
    return [f"tried {tried} of {_count(report.peers_found, 'peer')}: {ends}"]


def _reached(report: Report) -> list[str]:
    if report.first_connection_s is None:
        return []
    ways = Counter(it.way for it in report.attempts if it.way is not None).most_common()
    by = "; ".join(f"{count} by {way}" for way, count in ways)
    return [f"first peer reached after {_seconds(report.first_connection_s)}; {by}"]


def _end(report: Report) -> str:
    if report.metadata_s is None:
        elapsed = _seconds(report.elapsed_s or 0.0)
        return f"no metadata after {elapsed}: {report.reason()}"
    givers = [format_endpoint(it.peer) for it in report.attempts if it.outcome == DELIVERED]
    whole = f"whole metadata after {_seconds(report.metadata_s)}"
    return f"{whole}, from {givers[0]}" if givers else whole


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
