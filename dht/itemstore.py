"""The items that others stored here: bounded, expiring, and few of any one source.

Whoever puts an item has been verified by then; this is about room and order. Under one target the
higher sequence number stays. When the store is full, the item furthest from our own id makes way
for a nearer one, since it is the one that others are least likely to look for here.

A dictionary keeps insertion order and a repeated put moves its entry to the end, so the oldest is
always in front and expiry looks at nothing else.

Spec: BEP 44 "put", "Expiration".
"""

from collections import Counter
from enum import Enum, auto
from typing import Final, NamedTuple

from dht.items import ImmutableItem, Item, MutableItem
from dht.keyspace import NodeId, distance

ITEMS_MAX: Final = 700
"""Items of one node, as many as libtorrent keeps: about a megabyte at their largest."""

ITEMS_PER_SOURCE_MAX: Final = 10
"""Items of one source: a hundred addresses are needed to fill a store, and gain little by it."""

ITEM_LIFETIME_S: Final = 7_200.0
"""Seconds an item lasts that nobody puts again; owners do so every hour. Spec: BEP 44."""


class Verdict(Enum):
    """What became of a put."""

    STORED = auto()
    CAS_MISMATCH = auto()
    SEQUENCE_TOO_LOW = auto()
    NO_ROOM = auto()


class _Entry(NamedTuple):
    item: Item
    source: bytes
    expires_at: float


class ItemStore:
    """Items by target.

    Attributes:
        own_id: What nearness is measured from.
    """

    def __init__(self, own_id: NodeId, *, items_max: int = ITEMS_MAX) -> None:
        """Create an empty store."""
        self.own_id = own_id
        self._items_max = items_max
        self._entries: dict[bytes, _Entry] = {}
        self._of_source: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Return the number of items held."""
        return len(self._entries)

    def get(self, target: bytes, *, now: float) -> Item | None:
        """Return the item under a target, if there is one."""
        self.expire(now=now)
        entry = self._entries.get(target)
        return entry.item if entry is not None else None

    def put(self, item: Item, source: bytes, *, now: float, cas: int | None = None) -> Verdict:
        """Keep a verified item for `ITEM_LIFETIME_S`.

        Args:
            item: A mutable one must be authentic.
            source: Whose quota it counts against, unless it is held already.
            now: Monotonic seconds.
            cas: The sequence number that the item to be replaced must have, if there is one.

        Spec: BEP 44 "put", "CAS".
        """
        self.expire(now=now)
        target = item.target
        held = self._entries.get(target)
        if held is None:
            return self._admit(target, _Entry(item, source, now + ITEM_LIFETIME_S))
        verdict, kept = _compare(held.item, item, cas)
        if verdict is Verdict.STORED:
            del self._entries[target]
            self._entries[target] = _Entry(kept, held.source, now + ITEM_LIFETIME_S)
        return verdict

    def expire(self, *, now: float) -> None:
        """Forget what nobody has put for `ITEM_LIFETIME_S`."""
        while self._entries:
            target, entry = next(iter(self._entries.items()))
            if entry.expires_at > now:
                return
            self._remove(target)

    def _admit(self, target: bytes, entry: _Entry) -> Verdict:
        if self._of_source[entry.source] >= ITEMS_PER_SOURCE_MAX:
            return Verdict.NO_ROOM
        if len(self._entries) >= self._items_max:
            furthest = max(self._entries, key=self._distance)
            if self._distance(target) >= self._distance(furthest):
                return Verdict.NO_ROOM
            self._remove(furthest)
        self._entries[target] = entry
        self._of_source[entry.source] += 1
        return Verdict.STORED

    def _remove(self, target: bytes) -> None:
        source = self._entries.pop(target).source
        self._of_source[source] -= 1
        if not self._of_source[source]:
            del self._of_source[source]

    def _distance(self, target: bytes) -> int:
        return distance(self.own_id, target)


def _compare(held: Item, fresh: Item, cas: int | None) -> tuple[Verdict, Item]:
    """Decide between the item held and another under the same target; return the one to keep."""
    if isinstance(held, ImmutableItem) and isinstance(fresh, ImmutableItem):
        return Verdict.STORED, held
    if not isinstance(held, MutableItem) or not isinstance(fresh, MutableItem):
        # An odd key can be chosen so that it is a bencoded value at the same time.
        return Verdict.NO_ROOM, held
    if cas is not None and cas != held.seq:
        return Verdict.CAS_MISMATCH, held
    if fresh.seq == held.seq and fresh.value == held.value:
        return Verdict.STORED, held
    if fresh.seq <= held.seq:
        return Verdict.SEQUENCE_TOO_LOW, held
    return Verdict.STORED, fresh
