"""The story of one resolve: what was asked, who was tried, how each attempt ended, and when.

A report is written while things happen, so that progress can be shown from it, and read at the end,
so that a failure can be explained. It is filled by the resolver and decides nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from dht.contact import Endpoint, format_endpoint
from dht.keyspace import InfoHash
from magnet.errors import (
    Attempt,
    MetadataRejected,
    PeerDisconnected,
    PeerError,
    PeerTimeout,
    RemoteProtocolError,
)

DELIVERED: Final = "delivered"
NOT_NEEDED: Final = "not needed"
UNFINISHED: Final = "unfinished"
"""How an attempt ends that no error ended: it brought the metadata, another was faster, or the
resolve was over."""


@dataclass(slots=True)
class SearchRecord:
    """One search of the DHT for peers.

    Attributes:
        key: What was searched for: the info-hash, of a v2 torrent the truncated one.
        asked: Queries sent.
        answered: Nodes that answered.
        failed: Nodes that refused or stayed silent.
        peers: Distinct peers found.
        error: Why the search could not be made; None if it could.
    """

    key: InfoHash
    asked: int = 0
    answered: int = 0
    failed: int = 0
    peers: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try at one peer.

    Attributes:
        peer: Who was dialled.
        source: Who named it: "dht" or "link".
        outcome: How it ended, in a few stable words.
        detail: The same in full.
        elapsed_s: Seconds it took.
        error: What ended it, if an error did.
    """

    peer: Endpoint
    source: str
    outcome: str
    detail: str
    elapsed_s: float
    error: PeerError | None


@dataclass(slots=True)
class Report:
    """What is known of a resolve, at any moment of it.

    Attributes:
        searches: Searches of the DHT, in order.
        attempts: Attempts that have ended, in order.
        trying: Attempts that are under way.
        pieces: Metadata pieces that the best attempt has.
        pieces_needed: Metadata pieces that it needs; 0 while no peer has told the size.
        peers_found: Distinct peers found, whether or not they were tried.
        first_peer_s: Seconds until the first peer was found.
        elapsed_s: Seconds in all, once it is over.
    """

    searches: list[SearchRecord] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    trying: int = 0
    pieces: int = 0
    pieces_needed: int = 0
    peers_found: int = 0
    first_peer_s: float | None = None
    elapsed_s: float | None = None

    @property
    def nodes_asked(self) -> int:
        """Queries sent to DHT nodes."""
        return sum(search.asked for search in self.searches)

    @property
    def nodes_answered(self) -> int:
        """Answers from DHT nodes."""
        return sum(search.answered for search in self.searches)

    def add_attempt(
        self, peer: Endpoint, source: str, ending: PeerError | str, *, elapsed_s: float
    ) -> None:
        """Note how an attempt ended.

        Args:
            peer: Who was dialled.
            source: Who named it.
            ending: The error that ended it; or `DELIVERED`, `NOT_NEEDED` or `UNFINISHED`.
            elapsed_s: Seconds it took.
        """
        error = ending if isinstance(ending, PeerError) else None
        outcome = outcome_of(ending) if isinstance(ending, PeerError) else ending
        record = AttemptRecord(peer, source, outcome, str(ending), elapsed_s, error)
        self.attempts.append(record)

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

    def reason(self) -> str:
        """Say in one line why there is no metadata."""
        if not self.nodes_asked and not self.peers_found:
            errors = [it.error for it in self.searches if it.error is not None]
            return f"the DHT was not reached: {errors[-1] if errors else 'no answer yet'}"
        if not self.peers_found:
            return (
                f"no peers found: {self.nodes_asked} nodes asked, {self.nodes_answered} answered, "
                "none of them knows a peer"
            )
        ends = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes().items())
        found = "1 peer" if self.peers_found == 1 else f"{self.peers_found} peers"
        return f"{found} found, none gave the metadata: {ends or 'none answered in time'}"

    def attempt_lines(self) -> list[str]:
        """Return a line for each attempt that has ended: who, how, and after how many seconds."""
        return [
            f"{format_endpoint(it.peer)} {it.detail} ({it.elapsed_s:.1f} s)" for it in self.attempts
        ]

    def as_json(self) -> dict[str, object]:
        """Return the report as plain data for JSON output."""
        return {
            "nodes_asked": self.nodes_asked,
            "nodes_answered": self.nodes_answered,
            "peers_found": self.peers_found,
            "peers_tried": len(self.attempts),
            "outcomes": self.outcomes(),
            "first_peer_s": _rounded(self.first_peer_s),
            "searches": [_search_as_json(it) for it in self.searches],
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
        case RemoteProtocolError():
            return "breaking the protocol"
        case _:
            return "failed"


def _search_as_json(search: SearchRecord) -> dict[str, object]:
    return {
        "key": search.key.hex(),
        "asked": search.asked,
        "answered": search.answered,
        "failed": search.failed,
        "peers": search.peers,
        "error": search.error,
    }


def _attempt_as_json(attempt: AttemptRecord) -> dict[str, object]:
    return {
        "peer": format_endpoint(attempt.peer),
        "source": attempt.source,
        "outcome": attempt.outcome,
        "detail": attempt.detail,
        "elapsed_s": _rounded(attempt.elapsed_s),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
