"""The work on metadata of one size: attempts at the whole, and what each peer owes.

An `Attempt` collects pieces. An `Assembly` has one attempt that all its peers share or, once that
has failed and nobody knows whose fault it was, one attempt for each peer that may work alone. A
`Membership` is one peer's part in an assembly: its outstanding requests and what it refused.

`magnet.peer.metadata_pool` decides when to go from one to the other.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dht.contact import Endpoint
from magnet.peer.ut_metadata import piece_count

ASKED_AT_ONCE_MAX: Final = 3
"""Peers asked for the same piece at the same time: spares a sleeper's timeout, and costs at most
twice the traffic of a small thing."""

HESITATION_S: Final = 1.0
"""Seconds after which a request no longer keeps others from being asked for the same piece: several
round trips, so that a crowd of sleepers holds up an honest peer no longer than this."""

PIECE_TIMEOUT_S: Final = 10.0
"""Seconds after which a requested piece counts as unanswered; a late answer is still taken."""

STALL_S: Final = 30.0
"""Seconds without a single piece from a peer that owes us some, after which it is given up."""

REFUSAL_S: Final = 60.0
"""Seconds for which a peer is not asked again for a piece it rejected or spoiled."""

ALONE_MIN: Final = 3
"""Peers that may work alone at the same time, however large the metadata: one sleeper, or two, hold
up nobody."""

ALONE_BYTES: Final = 1_048_576
"""While what peers do alone is less than this, more than `ALONE_MIN` may: most metadata is smaller
than 100 kB, and asking everybody at once is the fastest way to an honest peer."""


class Attempt:
    """One try at the whole.

    Attributes:
        pieces: The pieces so far, by index.
        givers: Who gave them.
        total_bytes: Their bytes.
    """

    __slots__ = ("givers", "pieces", "total_bytes")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Drop everything."""
        self.pieces: dict[int, bytes] = {}
        self.givers: set[Endpoint] = set()
        self.total_bytes = 0

    def add(self, piece: int, data: bytes, giver: Endpoint) -> None:
        """Take a piece that was missing."""
        self.pieces[piece] = data
        self.givers.add(giver)
        self.total_bytes += len(data)

    def joined(self) -> bytes:
        """Return the whole, once every piece is there."""
        return b"".join(self.pieces[piece] for piece in range(len(self.pieces)))


class Assembly:
    """All work on metadata of one size.

    Attributes:
        size: Bytes of the whole, as its peers announced.
        count: Pieces of the whole.
        members: How many peers take part.
        demand: How many peers each piece is outstanding at.
        shared: The common attempt; None once it has failed.
        alone: The attempts of those who work alone.
    """

    __slots__ = ("alone", "count", "demand", "members", "shared", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = piece_count(size)
        self.members = 0
        self.demand: Counter[int] = Counter()
        self.shared: Attempt | None = Attempt()
        self.alone: dict[Endpoint, Attempt] = {}

    def attempt_of(self, peer: Endpoint) -> Attempt | None:
        """Return the attempt a peer's pieces belong to; None while it waits to work alone."""
        return self.shared or self.alone.get(peer)

    def admit(self, peer: Endpoint) -> Attempt | None:
        """Return the attempt a peer may work on, opening one where all work alone."""
        places = max(ALONE_MIN, ALONE_BYTES // self.size)
        if self.shared is None and peer not in self.alone and len(self.alone) < places:
            self.alone[peer] = Attempt()
        return self.attempt_of(peer)

    def attempts(self) -> Iterator[Attempt]:
        """Yield every attempt there is."""
        if self.shared is not None:
            yield self.shared
        yield from self.alone.values()


@dataclass(slots=True)
class Membership:
    """One peer's part in an assembly.

    Attributes:
        peer: Who it is.
        assembly: What it works on.
        progress_at: When it last gave something, or began to owe something; monotonic seconds.
        asked: When each outstanding piece was requested.
        tardy: Which of them have been so for `HESITATION_S`.
        overdue: Pieces requested too long ago to wait for, but still welcome.
        refused: Until when each piece is not to be requested again.
        failures: How many pieces it spoiled.
    """

    peer: Endpoint
    assembly: Assembly
    progress_at: float
    asked: dict[int, float] = field(default_factory=dict)
    tardy: set[int] = field(default_factory=set)
    overdue: set[int] = field(default_factory=set)
    refused: dict[int, float] = field(default_factory=dict)
    failures: int = 0

    def choose(self, attempt: Attempt, *, now: float) -> int | None:
        """Choose what to request: what fewest others are asked for, rather not what is overdue."""
        # Whoever works alone has no help from others' requests.
        demand = self.assembly.demand if self.assembly.shared is not None else Counter[int]()
        wanted = (
            (demand[piece], piece in self.overdue, piece)
            for piece in range(self.assembly.count)
            if piece not in attempt.pieces
            and piece not in self.asked
            and demand[piece] < ASKED_AT_ONCE_MAX
            and not self.refuses(piece, now=now)
        )
        best = min(wanted, default=None)
        return None if best is None else best[2]

    def ask(self, piece: int, *, now: float) -> None:
        """Note a request."""
        if not self.asked and not self.overdue:
            self.progress_at = now
        self.overdue.discard(piece)
        self.asked[piece] = now
        self.assembly.demand[piece] += 1

    def settle(self, piece: int) -> bool:
        """Strike out a request, outstanding or overdue; return whether there was one."""
        late = piece in self.overdue
        self.overdue.discard(piece)
        return self._release(piece) or late

    def refuse(self, piece: int, *, now: float) -> None:
        """Note that there is no point in requesting a piece for a while."""
        self.refused[piece] = now + REFUSAL_S

    def refuses(self, piece: int, *, now: float) -> bool:
        """Tell whether there is no point in requesting a piece now."""
        return self.refused.get(piece, now) > now

    def refuses_all(self, *, now: float) -> bool:
        """Tell whether there is no point in requesting any piece that is still missing."""
        attempt = self.assembly.attempt_of(self.peer)
        held = attempt.pieces if attempt is not None else {}
        missing = (piece for piece in range(self.assembly.count) if piece not in held)
        return all(self.refuses(piece, now=now) for piece in missing)

    def expire(self, *, now: float) -> None:
        """Count old requests as tardy, and older ones as overdue, so that others are asked."""
        for piece, at in self.asked.items():
            if now >= at + HESITATION_S and piece not in self.tardy:
                self.tardy.add(piece)
                self.assembly.demand[piece] -= 1
        for piece in [piece for piece, at in self.asked.items() if now >= at + PIECE_TIMEOUT_S]:
            self._release(piece)
            self.overdue.add(piece)

    def forgive(self) -> None:
        """Forget all requests."""
        for piece in list(self.asked):
            self._release(piece)
        self.overdue.clear()

    def is_stalled(self, *, now: float) -> bool:
        """Tell whether it owes pieces and has given none for `STALL_S`."""
        return bool(self.asked or self.overdue) and now >= self.progress_at + STALL_S

    def next_deadline(self, *, now: float) -> float:
        """Return when next a request expires, a refusal ends, or it is given up; after `now`."""
        ends = [at + PIECE_TIMEOUT_S for at in self.asked.values()]
        ends += (at + HESITATION_S for piece, at in self.asked.items() if piece not in self.tardy)
        ends += self.refused.values()
        if self.asked or self.overdue:
            ends.append(self.progress_at + STALL_S)
        return min((end for end in ends if end > now), default=float("inf"))

    def _release(self, piece: int) -> bool:
        if self.asked.pop(piece, None) is None:
            return False
        if piece in self.tardy:
            self.tardy.discard(piece)
        else:
            self.assembly.demand[piece] -= 1
        return True
