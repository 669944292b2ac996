"""A network whose nodes keep coming and going, at a rate that does not change."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from dht.bencode import BValue
from dht.contact import Endpoint
from dht.engine import Engine
from dht.inquiry import Call
from scripts.simulations.network import VirtualNetwork

ROUTERS: Final = 3
JOINING_S: Final = 60.0
SETTLED_S: Final = 300.0
"""Age in virtual seconds from which a node's table is judged; also the rest before the first hour.
"""

SESSION_MEDIAN_S: Final = 7_200.0
SESSION_SIGMA: Final = 1.2
"""A session is lognormal, four hours on average: half last under two, one in fifty a day."""


class RevolvingNetwork(VirtualNetwork):
    """A network whose nodes leave after a session each, and are replaced."""

    def __init__(self, seed: int, nodes: int) -> None:
        """Let all nodes join, and settle."""
        super().__init__(seed)
        self._joined_at: dict[Endpoint, float] = {}
        self._departures: list[tuple[float, Endpoint]] = []
        self.add_routers(ROUTERS)
        for _ in range(nodes):
            self._admit(over_s=JOINING_S / nodes)
        self.revolve(SETTLED_S)

    def revolve(self, seconds: float) -> None:
        """Let time pass, and nodes come and go."""
        until = self.now + seconds
        while self._departures[0][0] <= until:
            leaves_at, leaver = heappop(self._departures)
            self.run(max(leaves_at - self.now, 0.0))
            self.remove_nodes([leaver])
            del self._joined_at[leaver]
            self._admit(over_s=0.0)
        self.run(max(until - self.now, 0.0))

    def settled(self) -> Iterator[Engine]:
        """Iterate over the nodes that have been here for a while, routers apart."""
        for at, joined_at in self._joined_at.items():
            if joined_at + SETTLED_S <= self.now:
                yield self.engines[at]

    def ask(
        self, asker: Endpoint, to: Endpoint, method: bytes, arguments: dict[bytes, BValue]
    ) -> Call:
        """Send one query from one node to another; the outcome is known some seconds later."""
        call = self.engines[asker].call(to, method, arguments, now=self.now)
        self._attend(asker)
        return call

    def _admit(self, *, over_s: float) -> None:
        self.add_nodes(1, over_s=over_s)
        newcomer = next(reversed(self.engines))
        self._joined_at[newcomer] = self.now
        stays_s = SESSION_MEDIAN_S * self.rng.lognormvariate(0.0, SESSION_SIGMA)
        heappush(self._departures, (self.now + stays_s, newcomer))
