"""What the peers of one swarm have brought together of its metadata, and whom to ask for what next.

Peers join with the size they announce. Peers of one size work on one assembly: the piece with the
fewest outstanding requests goes to the next peer that asks for work, and towards the end a piece is
requested from several, so that one sleeper delays nobody. Peers of different sizes never mix, since
at most one of the sizes is true.

The whole is checked against the hash, for pieces have none of their own. When the check fails and
one peer gave everything, that peer lied. When several gave, nobody knows who lied: from then on
each peer builds an attempt of its own, and the honest one wins while liars expose themselves one by
one.

Departure: other clients wait 20 s and more after a failed check. Here the peers asked again either
gave nothing to what failed or are asked alone for the first time, so waiting would help nobody.

The pool sends nothing. Its users tell it what arrived, ask for the next request, and leave when
`standing` says that no more will come. Whoever has nothing to request may `wait_for_news`: it is
woken when others leave work behind, or when everything is done. What only time brings has its
moment in `next_deadline`.

Spec: BEP 9 "metadata extension".
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

from dht.contact import Endpoint
from dht.keyspace import InfoHash
from magnet.metainfo.info import verify_info
from magnet.peer.allowance import Allowance
from magnet.peer.assembly import Assembly, Attempt, Membership
from magnet.peer.ut_metadata import (
    METADATA_PIECE_BYTES,
    METADATA_SIZE_MAX,
    MetadataPiece,
    piece_count,
    piece_length,
)

OUTSTANDING_MAX: Final = 2
"""Requests outstanding at one peer; libtorrent's number, and clients answer metadata requests one
after the other anyway."""

FAILURES_MAX: Final = 3
"""Spoiled pieces (wrong length, wrong total size) after which a peer is given up; one may be an
honest client's bug."""

BUFFERED_BYTES_MAX: Final = 2 * METADATA_SIZE_MAX
"""Bytes of pieces held over all attempts: the largest metadata allowed still has room for two
attempts."""


class Verdict(Enum):
    """What became of a piece that arrived.

    STORED: taken. IGNORED: it was not asked for, or another peer was faster. SPOILED: its length or
    the total size it states is wrong. COMPLETED: it was the last one, and the whole has the right
    hash. MISMATCHED: it was the last one, and the whole has the wrong hash.
    """

    STORED = "stored"
    IGNORED = "ignored"
    SPOILED = "spoiled"
    COMPLETED = "completed"
    MISMATCHED = "mismatched"


class Standing(Enum):
    """What may still be expected of a peer.

    USEFUL: something. REFUSING: it rejected every piece that is still missing. STALLED: it owes
    pieces and gives none. FAULTY: it spoiled `FAILURES_MAX` pieces. LIAR: it gave a whole that has
    the wrong hash. ABSENT: it never joined, or has left.
    """

    USEFUL = "useful"
    REFUSING = "refusing"
    STALLED = "stalled"
    FAULTY = "faulty"
    LIAR = "liar"
    ABSENT = "absent"


class MetadataPool:
    """The common work of a swarm's peers on its metadata; peers are known by their endpoints."""

    def __init__(
        self,
        *,
        info_hash: InfoHash | None = None,
        info_hash_v2: bytes | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        """Start without peers.

        Args:
            info_hash: The SHA-1 that the metadata must have, 20 bytes.
            info_hash_v2: The SHA-256 that it must have, 32 bytes, or its first 20. Of a hybrid
                torrent give both hashes.
            allowance: What it may hold together with other pools; if None, it is alone.

        Raises:
            ValueError: There is no hash, or one has another length.
        """
        if info_hash is None and info_hash_v2 is None:
            raise ValueError("metadata can only be checked against a hash")
        verify_info(b"", info_hash, info_hash_v2)
        self._info_hash = info_hash
        self._info_hash_v2 = info_hash_v2
        self._allowance = allowance if allowance is not None else Allowance()
        self._assemblies: dict[int, Assembly] = {}
        self._members: dict[Endpoint, Membership] = {}
        self._liars: set[Endpoint] = set()
        self._sleepers: dict[Endpoint, Callable[[], None]] = {}
        self._metadata: bytes | None = None

    @property
    def metadata(self) -> bytes | None:
        """The complete info dictionary, as received and with the right hash; None until then."""
        return self._metadata

    @property
    def liars(self) -> frozenset[Endpoint]:
        """Peers that gave a whole with the wrong hash; they cannot join again."""
        return frozenset(self._liars)

    @property
    def buffered_bytes(self) -> int:
        """Bytes of pieces held now."""
        return sum(attempt.total_bytes for _, attempt in self.attempts())

    def progress(self) -> tuple[int, int]:
        """Return how many pieces the best attempt has, and needs; (0, 0) while there is none."""
        return max(
            ((len(attempt.pieces), piece_count(size)) for size, attempt in self.attempts()),
            default=(0, 0),
        )

    def offer(self, raw_info: bytes) -> bool:
        """Take a whole that somebody else brought; return whether its hash is right."""
        if (
            self._metadata is None
            and verify_info(raw_info, self._info_hash, self._info_hash_v2).verified
        ):
            self._complete(raw_info)
        return self._metadata == raw_info

    def join(self, peer: Endpoint, size: int, *, now: float) -> bool:
        """Add a peer that offers metadata.

        Args:
            peer: The peer.
            size: The `metadata_size` it announced.
            now: Monotonic seconds.

        Returns:
            Whether it was added: a proven liar is not, nor one with an impossible size, nor one
            that is here already.
        """
        if peer in self._liars or peer in self._members or not 1 <= size <= METADATA_SIZE_MAX:
            return False
        assembly = self._assemblies.setdefault(size, Assembly(size))
        assembly.members += 1
        self._members[peer] = Membership(peer, assembly, progress_at=now)
        return True

    def leave(self, peer: Endpoint) -> None:
        """Forget a peer and what it owes.

        What it gave to the common work stays as long as other peers of its size do.
        """
        self._sleepers.pop(peer, None)
        member = self._members.pop(peer, None)
        if member is None:
            return
        member.forgive()
        assembly = member.assembly
        assembly.alone.pop(peer, None)
        assembly.members -= 1
        if not assembly.members:
            del self._assemblies[assembly.size]
        self._note_held()
        self._wake()

    def wait_for_news(self, peer: Endpoint, wake: Callable[[], None]) -> None:
        """Have a peer's user woken, once, when there may be something new to request or to know.

        Args:
            peer: A peer that has joined; a later call for it replaces an earlier one.
            wake: Is called from within whatever call brings the news, so it must only take note.
        """
        if self._metadata is not None:
            wake()
        elif peer in self._members:
            self._sleepers[peer] = wake

    def next_deadline(self, *, now: float) -> float:
        """Return when a request, a refusal or our patience runs out next, in monotonic seconds."""
        ends = (it.next_deadline(now=now) for it in self._members.values())
        return min(ends, default=float("inf"))

    def next_request(self, peer: Endpoint, *, now: float) -> int | None:
        """Choose a piece to request from a peer now, and note it as requested.

        Returns:
            The piece, or None when there is nothing to request from this peer at the moment.
        """
        self._expire(now)
        member = self._members.get(peer)
        if member is None or self._metadata is not None or len(member.asked) >= OUTSTANDING_MAX:
            return None
        attempt = member.assembly.admit(peer)
        piece = None if attempt is None else member.choose(attempt, now=now)
        if piece is not None:
            member.ask(piece, now=now)
        return piece

    def received(self, peer: Endpoint, message: MetadataPiece, *, now: float) -> Verdict:
        """Take in a piece. Spec: BEP 9 "data"."""
        member = self._members.get(peer)
        if member is None or self._metadata is not None or not member.settle(message.piece):
            return Verdict.IGNORED
        if not _is_sound(message, member.assembly.size):
            self._refuse(member, message.piece, now)
            # An empty last piece is a known bug of a client that is otherwise honest.
            member.failures += 1 if message.data else 0
            return Verdict.SPOILED
        member.progress_at = now
        return self._store(member, message)

    def rejected(self, peer: Endpoint, piece: int, *, now: float) -> None:
        """Take in a rejection; one that answers no request is ignored. Spec: BEP 9 "reject"."""
        member = self._members.get(peer)
        if member is not None and member.settle(piece):
            self._refuse(member, piece, now)

    def standing(self, peer: Endpoint, *, now: float) -> Standing:
        """Tell what may still be expected of a peer; whoever is not `USEFUL` should leave."""
        member = self._members.get(peer)
        if member is None:
            return Standing.LIAR if peer in self._liars else Standing.ABSENT
        if member.failures >= FAILURES_MAX:
            return Standing.FAULTY
        if member.is_stalled(now=now):
            return Standing.STALLED
        return Standing.REFUSING if member.refuses_all(now=now) else Standing.USEFUL

    def _refuse(self, member: Membership, piece: int, now: float) -> None:
        member.refuse(piece, now=now)
        self._wake()

    def _wake(self) -> None:
        """Wake all who wait for news."""
        sleepers, self._sleepers = self._sleepers, {}
        for wake in sleepers.values():
            wake()

    def close(self) -> None:
        """Drop what is unfinished; nobody works on it any more."""
        self._assemblies.clear()
        self._members.clear()
        self._note_held()

    def attempts(self) -> Iterator[tuple[int, Attempt]]:
        """Yield the attempts at a whole, each with the size that the whole is said to have."""
        for assembly in self._assemblies.values():
            for attempt in assembly.attempts():
                yield assembly.size, attempt

    def drop(self, attempt: Attempt) -> None:
        """Let an attempt begin again without pieces."""
        attempt.reset()
        self._note_held()
        self._wake()

    def _note_held(self) -> None:
        self._allowance.note(self, self.buffered_bytes)

    def _complete(self, whole: bytes) -> None:
        self._metadata = whole
        self._wake()

    def _expire(self, now: float) -> None:
        """Free what sleepers hold: pieces others may be asked for, and places to work alone."""
        for peer, member in self._members.items():
            member.expire(now=now)
            if member.is_stalled(now=now):
                member.assembly.alone.pop(peer, None)

    def _store(self, member: Membership, message: MetadataPiece) -> Verdict:
        attempt = member.assembly.attempt_of(member.peer)
        if attempt is None or message.piece in attempt.pieces:
            return Verdict.IGNORED
        attempt.add(message.piece, message.data, member.peer)
        if len(attempt.pieces) == member.assembly.count:
            return self._check(member, attempt)
        self._make_room(attempt)
        return Verdict.STORED

    def _check(self, last: Membership, attempt: Attempt) -> Verdict:
        """Check a whole, of which `last` gave the last piece."""
        whole = attempt.joined()
        if verify_info(whole, self._info_hash, self._info_hash_v2).verified:
            self._complete(whole)
            return Verdict.COMPLETED
        if len(attempt.givers) > 1:
            self._part(last.assembly)
            return Verdict.MISMATCHED
        attempt.reset()
        self._liars.add(last.peer)
        self.leave(last.peer)
        return Verdict.MISMATCHED

    def _part(self, assembly: Assembly) -> None:
        """Let all work alone from now on; what they owed to the common work they owe no more."""
        assembly.shared = None
        for member in self._members.values():
            if member.assembly is assembly:
                member.forgive()
        self._wake()

    def _make_room(self, growing: Attempt) -> None:
        """Drop pieces of the largest claim, beginning with its least advanced attempt.

        Large claims go first because they are what makes memory scarce, and true metadata is mostly
        small.
        """
        while self.buffered_bytes > BUFFERED_BYTES_MAX:
            _, _, victim = max(
                (
                    (size, -attempt.total_bytes, attempt)
                    for size, attempt in self.attempts()
                    if attempt is not growing and attempt.pieces
                ),
                key=lambda candidate: candidate[:2],
            )
            self.drop(victim)
        self._note_held()
        self._allowance.make_room(growing)


def _is_sound(message: MetadataPiece, size: int) -> bool:
    """Tell whether length and stated size fit.

    Some clients state the size of the block as the total size; as the total is known anyway, that
    does no harm.
    """
    stated = (None, size, METADATA_PIECE_BYTES, len(message.data))
    return message.total_size in stated and len(message.data) == piece_length(size, message.piece)
