"""The story of one resolve: what was asked, who was tried, how each attempt ended, and when.

A report is written while things happen, so that progress can be shown from it, and read at the end,
so that a failure can be explained. It is filled by the resolver and decides nothing;
`magnet.resolve.timeline` puts it into sentences.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dht.contact import Endpoint, format_endpoint
from magnet.errors import (
    Attempt,
    LayersRejected,
    MetadataRejected,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    ProxyError,
    RemoteProtocolError,
)
from magnet.sources.source import DHT, DHT_KEY, SourceRecord

DELIVERED: Final = "delivered"
NOT_NEEDED: Final = "not needed"
UNFINISHED: Final = "unfinished"
"""How an attempt ends that no error ended: it brought the metadata, another was faster, or the
resolve was over."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try at one peer.

    Attributes:
        peer: Who was dialled.
        source: Who named it first, as `SourceRecord.name`.
        outcome: How it ended, in a few stable words.
        detail: The same in full.
        began_s: Seconds from the start of the resolve until it was dialled.
        elapsed_s: Seconds it took.
        error: What ended it, if an error did.
        way: How it was reached, such as "TCP" or "uTP, encrypted"; None if it was not.
    """

    peer: Endpoint
    source: str
    outcome: str
    detail: str
    began_s: float
    elapsed_s: float
    error: PeerError | None
    way: str | None = None


@dataclass(slots=True)
class Report:
    """What is known of a resolve, at any moment of it.

    Moments are seconds since it began, None for what has not happened.

    Attributes:
        sources: What each source did, in the order in which they were started.
        attempts: Attempts that have ended, in order.
        trying: Attempts that are under way.
        peers_found: Distinct peers found, whether or not they were tried.
        began_at: When it began, in monotonic seconds.
        joined_s: When the node had joined the DHT; 0 if it had before.
        first_peer_s: When the first peer was found.
        first_connection_s: When the first peer was reached.
        metadata_s: When the whole metadata was there.
        shortfall: What the torrent lacks nevertheless, and why: piece layers that nobody gave.
        elapsed_s: Seconds in all, once it is over.
        measure: Tells how many metadata pieces the best attempt has, and needs.
    """

    sources: list[SourceRecord] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    trying: int = 0
    peers_found: int = 0
    began_at: float = 0.0
    joined_s: float | None = None
    first_peer_s: float | None = None
    first_connection_s: float | None = None
    metadata_s: float | None = None
    shortfall: str | None = None
    elapsed_s: float | None = None
    measure: Callable[[], tuple[int, int]] | None = None

    @property
    def dht(self) -> list[SourceRecord]:
        """The records of the DHT searches, one for each swarm."""
        return [it for it in self.sources if it.name.partition(" ")[0] == DHT]

    @property
    def nodes_asked(self) -> int:
        """Queries sent to DHT nodes."""
        return sum(it.asked for it in self.dht)

    @property
    def nodes_answered(self) -> int:
        """Answers from DHT nodes."""
        return sum(it.answered for it in self.dht)

    @property
    def pieces(self) -> int:
        """Metadata pieces that the best attempt has."""
        return self.measure()[0] if self.measure is not None else 0

    @property
    def pieces_needed(self) -> int:
        """Metadata pieces that it needs; 0 while no peer has told the size."""
        return self.measure()[1] if self.measure is not None else 0

    def add_attempt(
        self,
        peer: Endpoint,
        source: str,
        ending: PeerError | str,
        *,
        began_s: float = 0.0,
        elapsed_s: float,
        way: str | None = None,
    ) -> None:
        """Note how an attempt ended.

        Args:
            peer: Who was dialled.
            source: Who named it.
            ending: The error that ended it; or `DELIVERED`, `NOT_NEEDED` or `UNFINISHED`.
            began_s: Seconds from the start of the resolve until it began.
            elapsed_s: Seconds it took.
            way: How the peer was reached.
        """
        error = ending if isinstance(ending, PeerError) else None
        outcome = outcome_of(ending) if isinstance(ending, PeerError) else ending
        self.attempts.append(
            AttemptRecord(peer, source, outcome, str(ending), began_s, elapsed_s, error, way)
        )

    def failures(self) -> tuple[Attempt, ...]:
        """Return the attempts that an error ended, as `ResolveError` carries them."""
        return tuple(
            Attempt(format_endpoint(it.peer), it.error, it.elapsed_s)
            for it in self.attempts
            if it.error is not None
        )

    def outcomes(self) -> dict[str, int]:
        """Return how often attempts ended in which way, the commonest first."""
        return dict(Counter(it.outcome for it in self.attempts).most_common())

    @property
    def _is_lost(self) -> bool:
        """Whether the search for what a public key leads to was the last that was begun."""
        return bool(self.sources) and self.sources[-1].name == DHT_KEY

    def reason(self) -> str:
        """Say in one line why there is no metadata."""
        if self._is_lost:
            return f"the public key leads to no torrent: {self.sources[-1].error}"
        if not self.nodes_asked and not self.peers_found:
            errors = [it.error for it in self.dht if it.error is not None]
            return f"the DHT was not reached: {errors[-1] if errors else 'no answer yet'}"
        if not self.peers_found:
            return (
                f"no peers found: {self.nodes_asked} nodes asked, {self.nodes_answered} answered, "
                "none of them knows a peer"
            )
        ends = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes().items())
        found = "1 peer" if self.peers_found == 1 else f"{self.peers_found} peers"
        return f"{found} found, none gave the metadata: {ends or 'none answered in time'}"

    def cause(self) -> str:
        """Say in a word or two why there is no metadata: the last stage that was reached."""
        if self._is_lost:
            return "no torrent"
        if not self.nodes_answered and not self.peers_found:
            return "DHT not reached"
        if not self.peers_found:
            return "no peers"
        return "no peer reached" if self.first_connection_s is None else "no metadata"

    def attempt_lines(self) -> list[str]:
        """Return a line for each attempt that has ended: who, how, and after how many seconds."""
        return [
            f"{format_endpoint(it.peer)} {it.detail} ({it.elapsed_s:.1f} s)" for it in self.attempts
        ]

    def as_json(self, *, now: float | None = None) -> dict[str, object]:
        """Return the report as plain data for JSON output.

        Args:
            now: Monotonic seconds, from which on to count the time until a source tries again; by
                default no such time is told.
        """
        return {
            "nodes_asked": self.nodes_asked,
            "nodes_answered": self.nodes_answered,
            "peers_found": self.peers_found,
            "peers_tried": len({it.peer for it in self.attempts}),
            "outcomes": self.outcomes(),
            "joined_s": _rounded(self.joined_s),
            "first_peer_s": _rounded(self.first_peer_s),
            "first_connection_s": _rounded(self.first_connection_s),
            "metadata_s": _rounded(self.metadata_s),
            "shortfall": self.shortfall,
            "sources": [_source_as_json(it, now) for it in self.sources],
            "attempts": [_attempt_as_json(it) for it in self.attempts],
        }


def outcome_of(error: PeerError) -> str:
    """Name the end of an attempt in a few stable words, for counting."""
    match error:
        case PeerTimeout(stage=stage):
            return f"timed out {stage}"
        case PeerDisconnected(stage="connecting", reason=reason):
            return "refused" if "refused" in reason.lower() else "unreachable"
        case PeerDisconnected(stage=stage):
            return f"hung up {stage}"
        case MetadataRejected(piece=None):
            return "without metadata"
        case MetadataRejected():
            return "rejecting requests"
        case LayersRejected(speaks_v2=False):
            return "without piece layers"
        case LayersRejected():
            return "rejecting hash requests"
        case RemoteProtocolError():
            return "breaking the protocol"
        case ProxyError():
            return "not reached by the proxy"
        case _:
            return "failed"


def _source_as_json(source: SourceRecord, now: float | None) -> dict[str, object]:
    next_try_s = None
    if now is not None and source.next_at is not None:
        next_try_s = max(source.next_at - now, 0.0)
    return {
        "name": source.name,
        "asked": source.asked,
        "answered": source.answered,
        "failed": source.failed,
        "peers": source.peers,
        "error": source.error,
        "first_peer_s": _rounded(source.first_peer_s),
        "elapsed_s": _rounded(source.elapsed_s),
        "next_try_s": _rounded(next_try_s),
    }


def _attempt_as_json(attempt: AttemptRecord) -> dict[str, object]:
    return {
        "peer": format_endpoint(attempt.peer),
        "source": attempt.source,
        "outcome": attempt.outcome,
        "detail": attempt.detail,
        "way": attempt.way,
        "began_s": _rounded(attempt.began_s),
        "elapsed_s": _rounded(attempt.elapsed_s),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
