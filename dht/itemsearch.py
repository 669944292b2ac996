"""Searches for items: who holds what, and who would take it.

A search for an immutable item is settled by the first copy, for its hash proves it. One for a
mutable item has to hear the nodes nearest to its target, since any copy may be out of date. Writing
is left to the caller, because what is written depends on what both families' searches found.

Spec: BEP 44 "get".
"""

from collections.abc import Callable, Iterable, Sequence

from dht.bencode import BValue, raw_value
from dht.contact import Contact, Endpoint
from dht.errors import QueryError
from dht.inquiry import PeersNamed, Request
from dht.items import GET, ImmutableItem, Item, MutableItem, read_item
from dht.krpc import Answer
from dht.search import Holder, Question


class FindItem:
    """To find the item under a target, and the nodes that may be asked to keep it.

    Attributes:
        copies: The verified items, by the endpoint of the node that returned each.
        holders: The nearest nodes that gave a token, once the walk is over.
    """

    def __init__(
        self,
        target: bytes,
        salt: bytes = b"",
        *,
        newer_than: int | None = None,
        settled: Callable[[], None] | None = None,
    ) -> None:
        """Say what to look for.

        Args:
            target: 20 bytes.
            salt: What the target was made with, if it is that of a mutable item with a salt.
            newer_than: A known sequence number; items up to it are not sent again.
            settled: Called when an immutable item is found, after which no answer can matter.
        """
        self.copies: dict[Endpoint, Item] = {}
        self.holders: Sequence[Holder] = ()
        self._target = target
        self._salt = salt
        self._newer_than = newer_than
        self._settled = settled

    def question(self, target: bytes) -> Question:
        """Ask for the item."""
        arguments: dict[bytes, BValue] = {b"target": target}
        if self._newer_than is not None:
            arguments[b"seq"] = self._newer_than
        return Question(GET, arguments)

    def take(self, sender: Contact, answer: Answer) -> None:
        """Verify what an answer holds, and keep it if it is the item."""
        response = answer.response
        if b"v" not in response.values:
            return
        value = raw_value(response.raw, b"r", b"v")
        item = read_item(value, response.values, self._target, self._salt)
        if item is None or self._is_known(item):
            return
        self.copies[sender.endpoint] = item
        if isinstance(item, ImmutableItem) and self._settled is not None:
            self._settled()

    def writes(self, target: bytes, holders: Sequence[Holder]) -> list[Request]:
        """Write nothing yet, but note who may be written to."""
        self.holders = holders
        return []

    def accepted(self, sender: Contact) -> None:
        """Never happens: nothing is written."""

    def refused(self, endpoint: Endpoint, error: QueryError) -> None:
        """Never happens: nothing is written."""

    def take_findings(self) -> list[PeersNamed]:
        """Return nothing: the result is for the end."""
        return []

    def _is_known(self, item: Item) -> bool:
        return (
            isinstance(item, MutableItem)
            and self._newer_than is not None
            and item.seq <= self._newer_than
        )


def newest(items: Iterable[Item]) -> Item | None:
    """Return the item to believe among several under one target, or None of none."""
    best: Item | None = None
    for item in items:
        if not isinstance(item, MutableItem):
            return item
        if not isinstance(best, MutableItem) or item.supersedes(best):
            best = item
    return best
