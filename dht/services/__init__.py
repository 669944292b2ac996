"""What a node does for others: one module for each group of methods it answers.

A service has a table of methods. A method takes a query, its source and the time, and returns the
values of the answer, our id apart; it refuses by raising `dht.krpc.BadQuery`. Services share a
`Directory`, which names the nodes that an answer may hold.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from dht.bencode import BValue
from dht.contact import Endpoint
from dht.krpc import Query

Method: TypeAlias = Callable[[Query, Endpoint, float], dict[bytes, BValue]]
"""Answers one method: query, source and monotonic seconds to values."""


def bytes_of(values: Mapping[bytes, BValue]) -> int:
    """Return how many bytes the strings among the values of an answer have together."""
    total = 0
    for value in values.values():
        if isinstance(value, bytes):
            total += len(value)
    return total


class Service(Protocol):
    """A group of methods."""

    @property
    def methods(self) -> Mapping[bytes, Method]:
        """The methods by their names on the wire."""
