"""How many connections there may be, and when the next may be opened, over all links of a node.

Thousands of links share one router, one table of open files and one flow budget. A place is taken
for each connection; links queue for places, so each gets its turn. Before a dial the budget is
asked, by one at a time, or else all who wait would wake whenever it admits one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from dht.contact import Endpoint
from dht.ratelimit import FlowBudget

CONNECTIONS_MAX: Final = 200
"""Connections over all links: what libtorrent allows itself, and far below what a router holds."""

CONNECTIONS_UNLIMITED_MAX: Final = 800
"""The same where no router has to be spared: the usual limit is 1,024 open files."""

CONNECTIONS_PER_LINK_MAX: Final = 30
"""Connections for one link: enough that the dead among its peers do not hold up the living."""

CONNECTIONS_PER_LINK_MIN: Final = 4
"""Connections a link may have however many links there are: one honest peer among four is common.
"""


class Admission:
    """The places for connections and the way to them, shared by all links.

    Attributes:
        places: One is to be held for each connection.
    """

    def __init__(self, budget: FlowBudget, connections_max: int | None = None) -> None:
        """Begin with all places free.

        Args:
            budget: Of the node, shared with its datagrams.
            connections_max: How many places; by default as many as fit the budget.
        """
        if connections_max is None:
            unlimited = budget.endpoints_per_s == float("inf")
            connections_max = CONNECTIONS_UNLIMITED_MAX if unlimited else CONNECTIONS_MAX
        self.places = trio.CapacityLimiter(connections_max)
        self._budget = budget
        self._turn = trio.Lock()
        self._links = 0

    @property
    def is_crowded(self) -> bool:
        """Whether links wait for places, so that nobody should keep one without need."""
        return bool(self.places.statistics().tasks_waiting)

    @property
    def share(self) -> int:
        """How many connections one link may have at present."""
        fair = int(self.places.total_tokens) // max(self._links, 1)
        return max(CONNECTIONS_PER_LINK_MIN, min(fair, CONNECTIONS_PER_LINK_MAX))

    @contextmanager
    def link(self) -> Iterator[None]:
        """Count a link for the time of the block."""
        self._links += 1
        try:
            yield
        finally:
            self._links -= 1

    async def pass_budget(self, to: Endpoint) -> None:
        """Wait until the flow budget admits a dial."""
        now = trio.current_time()
        if not self._turn.locked() and self._budget.admits(to, now=now):
            return
        async with self._turn:
            while not self._budget.admits(to, now=trio.current_time()):  # noqa: ASYNC110
                await trio.sleep_until(self._budget.ready_at(now=trio.current_time()))
