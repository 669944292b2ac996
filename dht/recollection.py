"""What was noted lately, of whom: bounded in number, and forgotten in time.

Everything that a node remembers of strangers comes from strangers, so it must neither fill the
memory nor stay for ever. A recollection keeps one value a key, for so many seconds since it was
noted last. Entries stand in the order in which they were noted, so those that have become too old
are in front, and are swept out now and then as others are noted; nothing is ever searched through.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

SWEEPS: Final = 16
"""Sweeps in a lifetime: by so much of it an entry may stay longer, though it is not recalled."""

_NEVER: Final = float("-inf")


class Recollection(Generic[Key, Value]):
    """A mapping that forgets: the oldest entry when it is full, and every entry in time."""

    __slots__ = ("_entries", "_entries_max", "_lifetime_s", "_sweep_at")

    def __init__(self, *, lifetime_s: float, entries_max: int) -> None:
        """Begin with nothing.

        Args:
            lifetime_s: Seconds for which an entry is remembered after it was noted last.
            entries_max: Entries at once; the one noted longest ago is forgotten first.
        """
        self._entries: OrderedDict[Key, tuple[Value, float]] = OrderedDict()
        self._entries_max = entries_max
        self._lifetime_s = lifetime_s
        self._sweep_at = _NEVER

    def __len__(self) -> int:
        """Return how many entries there are, those included that are to be swept out."""
        return len(self._entries)

    def note(self, key: Key, value: Value, *, now: float) -> None:
        """Remember a value, in place of the one noted before."""
        entries = self._entries
        entries[key] = (value, now)
        entries.move_to_end(key)
        if len(entries) > self._entries_max:
            entries.popitem(last=False)
        if now >= self._sweep_at:
            self._sweep_at = now + self._lifetime_s / SWEEPS
            self.forget_old(now=now)

    def recall(self, key: Key, *, now: float) -> Value | None:
        """Return what was noted, or None if there is nothing or it is too old."""
        entry = self._entries.get(key)
        if entry is None or entry[1] + self._lifetime_s <= now:
            return None
        return entry[0]

    def noted_at(self, key: Key) -> float:
        """Return when something was noted last, in monotonic seconds; minus infinity if never.

        What is too old may count as never.
        """
        entry = self._entries.get(key)
        return _NEVER if entry is None else entry[1]

    def values(self, *, now: float) -> Iterator[Value]:
        """Iterate over what is remembered, noted longest ago first."""
        self.forget_old(now=now)
        return (value for value, _ in self._entries.values())

    def forget_old(self, *, now: float) -> None:
        """Forget what is too old, without waiting for the next sweep."""
        entries, lifetime_s = self._entries, self._lifetime_s
        while entries and next(iter(entries.values()))[1] + lifetime_s <= now:
            entries.popitem(last=False)
