"""What the peers of a torrent have brought together of its piece layers, and whom to ask next.

A v2 info dictionary has the root of each file's hash tree; the .torrent file beside it also holds
the piece layers, and only with them is it complete. Peers give them run by run, and each run is
checked against its root as it comes: who gives a false one is known at once.

A run is requested from one peer, and given to another when that one rejects it, leaves, or keeps
silent for `REQUEST_TIMEOUT_S`. When all runs are given out, some are requested a second time, so
that one sleeper delays nobody.

The pool sends nothing. Its users tell it what arrived, ask for the next request, and leave when
`standing` says that no more will come. Whoever has nothing to request may `wait_for_news`, as with
`magnet.peer.metadata_pool`.

Spec: BEP 52 "piece layers", "hash request", "hashes", "hash reject".
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from dht.bencode import FILE_LIMITS
from dht.contact import Endpoint
from dht.keyspace import ID_BYTES, InfoHash
from magnet.errors import InvalidMetainfo, MetainfoFault
from magnet.metainfo.info import Info
from magnet.metainfo.layers import layered_files
from magnet.metainfo.merkle import HASH_BYTES
from magnet.peer.hashes import are_proven, layer_ranges
from magnet.peer.metadata_pool import Standing
from magnet.peer.wire import Hashes, HashRange

LAYERS_BYTES_MAX: Final = FILE_LIMITS.size // 2
"""Bytes of all layers of a torrent: half of what a .torrent file may have, which is 16 MiB, enough
for half a million pieces."""

OUTSTANDING_MAX: Final = 16
"""Requests outstanding at one peer: hides the round trip of a torrent with many small files, and
holds at most 256 KiB on its way."""

ASKED_AT_ONCE_MAX: Final = 2
"""Peers asked for the same run at the same time, once there is nothing else to ask for."""

REQUEST_TIMEOUT_S: Final = 5.0
"""Seconds after which a request counts as unanswered; a late answer is still taken. Hashes are in
memory where they are known at all."""

STALL_S: Final = 15.0
"""Seconds without a single run from a peer that owes us some, after which it is given up: it may
have never heard of hash requests."""

REJECTS_MAX: Final = 64
"""Runs that one peer may reject before it is given up. Honest ones reject the files they have not
begun; who asks them on and on is a nuisance."""

UNASKED_MAX: Final = 10
"""Answers that nobody asked for, after which a peer is given up."""


@dataclass(slots=True)
class _Membership:
    """One peer's part: when each outstanding run was requested, and what not to request again."""

    progress_at: float
    asked: dict[HashRange, float] = field(default_factory=dict)
    overdue: set[HashRange] = field(default_factory=set)
    rejected: set[HashRange] = field(default_factory=set)
    unasked: int = 0

    def may_be_asked(self, wanted: HashRange) -> bool:
        return not any(wanted in past for past in (self.asked, self.overdue, self.rejected))

    def first_late(self, *, now: float) -> HashRange | None:
        """Return the oldest request if it is older than `REQUEST_TIMEOUT_S`."""
        wanted, at = next(iter(self.asked.items()), (None, now))
        return wanted if now - at >= REQUEST_TIMEOUT_S else None

    def expires_at(self) -> float:
        """Return when the oldest request will be late."""
        return next(iter(self.asked.values()), float("inf")) + REQUEST_TIMEOUT_S

    def stalls_at(self) -> float:
        """Return when it is to be given up, unless it gives something before."""
        return self.progress_at + STALL_S if self.asked or self.overdue else float("inf")


class LayerPool:
    """The common work of a torrent's peers on its piece layers; peers are known by endpoints.

    Attributes:
        info_hash: The truncated v2 info-hash: only peers that call the torrent so answer.
    """

    def __init__(self, info_hash: InfoHash, files: Mapping[bytes, int], piece_length: int) -> None:
        """Start without peers.

        Args:
            info_hash: The truncated v2 info-hash, 20 bytes.
            files: How many pieces there are under each pieces root; at least two.
            piece_length: In bytes.
        """
        self.info_hash = info_hash
        self._files = dict(files)
        ranges = [
            wanted
            for root, count in self._files.items()
            for wanted in layer_ranges(root, count, piece_length)
        ]
        self._runs: dict[bytes, dict[int, bytes]] = {root: {} for root in self._files}
        self._waiting = deque(ranges)
        self._missing = set(ranges)
        self._needed = len(ranges)
        self._demand: Counter[HashRange] = Counter()
        self._members: dict[Endpoint, _Membership] = {}
        self._liars: set[Endpoint] = set()
        self._sleepers: dict[Endpoint, Callable[[], None]] = {}

    @classmethod
    def of(cls, info: Info) -> Self | None:
        """Start without peers, for all the layers that a torrent has; None for a v1 torrent.

        Raises:
            InvalidMetainfo: `TOO_LARGE`: they have more than `LAYERS_BYTES_MAX`.
        """
        if info.info_hash_v2 is None:
            return None
        files = layered_files(info)
        if sum(files.values()) * HASH_BYTES > LAYERS_BYTES_MAX:
            raise InvalidMetainfo(
                MetainfoFault.TOO_LARGE, f"piece layers of more than {LAYERS_BYTES_MAX} bytes"
            )
        return cls(InfoHash(info.info_hash_v2[:ID_BYTES]), files, info.piece_length)

    @property
    def is_complete(self) -> bool:
        """Whether every layer is there."""
        return not self._missing

    @property
    def missing_layers(self) -> int:
        """How many layers are not complete."""
        return len({wanted.pieces_root for wanted in self._missing})

    @property
    def liars(self) -> frozenset[Endpoint]:
        """Peers that gave false hashes; they cannot join again."""
        return frozenset(self._liars)

    def layers(self) -> dict[bytes, bytes]:
        """Return the layers that are complete, by pieces root, each proven."""
        unfinished = {wanted.pieces_root for wanted in self._missing}
        return {
            root: b"".join(runs[index] for index in sorted(runs))[: self._files[root] * HASH_BYTES]
            for root, runs in self._runs.items()
            if root not in unfinished
        }

    def progress(self) -> tuple[int, int]:
        """Return how many runs are there, and how many are needed."""
        return self._needed - len(self._missing), self._needed

    def offer(self, layers: Mapping[bytes, bytes]) -> None:
        """Take the layers that somebody else brought, as far as they are missing.

        Nothing is hashed here: that takes half a second for the largest, in which the event loop
        would stand still.

        Args:
            layers: By pieces root, each proven: `magnet.metainfo.layers.check_layers`.
        """
        missing = {wanted.pieces_root for wanted in self._missing}
        proven = missing & layers.keys()
        self._runs |= {root: {0: layers[root]} for root in proven}
        self._missing = {it for it in self._missing if it.pieces_root not in proven}
        self._wake_if(self.is_complete)

    def join(self, peer: Endpoint, *, now: float) -> bool:
        """Add a peer.

        Args:
            peer: The peer, which is believed to know hashes of this torrent.
            now: Monotonic seconds.

        Returns:
            Whether it was added: a proven liar is not, nor one that is here already.
        """
        if peer in self._liars or peer in self._members:
            return False
        self._members[peer] = _Membership(progress_at=now)
        return True

    def leave(self, peer: Endpoint) -> None:
        """Forget a peer and what it owes; what it gave is proven, and stays."""
        self._sleepers.pop(peer, None)
        member = self._members.pop(peer, None)
        if member is not None:
            owed = list(member.asked)
            for wanted in owed:
                self._release(member, wanted)
            self._wake_if(bool(owed))

    def wait_for_news(self, peer: Endpoint, wake: Callable[[], None]) -> None:
        """Have a peer's user woken, once, when there may be something new to request or to know.

        Args:
            peer: A peer that has joined; a later call for it replaces an earlier one.
            wake: Is called from within whatever call brings the news, so it must only take note.
        """
        if self.is_complete:
            wake()
        elif peer in self._members:
            self._sleepers[peer] = wake

    def next_deadline(self, peer: Endpoint) -> float:
        """Return when next a request to anybody is late, or our patience with this peer ends.

        Args:
            peer: A peer that has joined.
        """
        expiries = [it.expires_at() for it in self._members.values()]
        return min([self._members[peer].stalls_at(), *expiries])

    def next_request(self, peer: Endpoint, *, now: float) -> HashRange | None:
        """Choose a run to request from a peer now, and note it as requested.

        Returns:
            What to request, or None when there is nothing for this peer at the moment.
        """
        self._expire(now)
        member = self._members.get(peer)
        if member is None or len(member.asked) + len(member.overdue) >= OUTSTANDING_MAX:
            return None
        wanted = self._take_waiting(member) or self._choose_again(member)
        if wanted is not None:
            if not member.asked and not member.overdue:
                member.progress_at = now
            member.asked[wanted] = now
            self._demand[wanted] += 1
        return wanted

    def received(self, peer: Endpoint, message: Hashes, *, now: float) -> bool:
        """Take in hashes; return whether they were asked for, missing, and true.

        Spec: BEP 52 "hashes".
        """
        member = self._members.get(peer)
        wanted = message.range
        if member is None or not self._settle(member, wanted):
            return False
        if not are_proven(message):
            self._liars.add(peer)
            self.leave(peer)
            return False
        member.progress_at = now
        if wanted not in self._missing:
            return False
        self._missing.remove(wanted)
        self._runs[wanted.pieces_root][wanted.index] = message.hashes[: wanted.length * HASH_BYTES]
        self._wake_if(self.is_complete)
        return True

    def rejected(self, peer: Endpoint, wanted: HashRange) -> None:
        """Take in a rejection. Spec: BEP 52 "hash reject"."""
        member = self._members.get(peer)
        if member is not None and self._settle(member, wanted):
            member.rejected.add(wanted)
            self._wake_if(True)

    def standing(self, peer: Endpoint, *, now: float) -> Standing:
        """Tell what may still be expected of a peer; whoever is not `USEFUL` should leave."""
        member = self._members.get(peer)
        if member is None:
            return Standing.LIAR if peer in self._liars else Standing.ABSENT
        if member.unasked >= UNASKED_MAX:
            return Standing.FAULTY
        if member.stalls_at() <= now:
            return Standing.STALLED
        refuses = len(member.rejected) >= REJECTS_MAX or self._missing <= member.rejected
        return Standing.REFUSING if refuses else Standing.USEFUL

    def _take_waiting(self, member: _Membership) -> HashRange | None:
        """Take the first run that nobody is asked for and this peer may be."""
        while self._waiting and self._waiting[0] not in self._missing:
            self._waiting.popleft()
        # What a peer may not be asked for is little, so that this ends soon.
        for position, wanted in enumerate(self._waiting):
            if wanted in self._missing and member.may_be_asked(wanted):
                del self._waiting[position]
                return wanted
        return None

    def _choose_again(self, member: _Membership) -> HashRange | None:
        """Choose a run that others are asked for already."""
        return next(
            (
                wanted
                for wanted, asked in self._demand.items()
                if asked < ASKED_AT_ONCE_MAX
                and wanted in self._missing
                and member.may_be_asked(wanted)
            ),
            None,
        )

    def _settle(self, member: _Membership, wanted: HashRange) -> bool:
        """Strike out a request, outstanding or overdue; return whether there was one."""
        if wanted in member.overdue:
            member.overdue.remove(wanted)
        elif wanted in member.asked:
            self._release(member, wanted)
        else:
            member.unasked += 1
            return False
        return True

    def _release(self, member: _Membership, wanted: HashRange) -> None:
        """Note that a peer is no longer asked for a run; the last such lets it wait again."""
        del member.asked[wanted]
        self._demand[wanted] -= 1
        if not self._demand[wanted]:
            del self._demand[wanted]
            self._waiting.appendleft(wanted)

    def _expire(self, now: float) -> None:
        """Count requests older than `REQUEST_TIMEOUT_S` as overdue, so that others are asked."""
        released = False
        for member in self._members.values():
            while (wanted := member.first_late(now=now)) is not None:
                self._release(member, wanted)
                member.overdue.add(wanted)
                released = True
        self._wake_if(released)

    def _wake_if(self, is_news: bool) -> None:
        """Wake all who wait, if there is something to wake them for."""
        if is_news:
            sleepers, self._sleepers = self._sleepers, {}
            for wake in sleepers.values():
                wake()
