"""Many nodes die at one moment, and searches right afterwards have to get past the dead.

Every table is as full as can be when three tenths of the nodes it holds fall silent. Nobody has
noticed yet, and no datagram is lost besides, so what a search misses is the fault of the dead.
"""

import sys
from collections import Counter
from typing import Final, NamedTuple

from dht.contact import Endpoint
from dht.krpc import FIND_NODE, Query, decode_message
from dht.search import FindNodes, Search
from scripts.simulations.lookups import Outcome, run, search_everywhere
from scripts.simulations.network import Datagram, VirtualNetwork, Weather

DEAD: Final = 0.3
"""Share of the nodes that die."""


class Figures(NamedTuple):
    """What came of it.

    Attributes:
        searches: What searches for nodes found and cost.
        queries_max: Most queries that one search sent.
        repeats_max: Most queries that one search sent to one endpoint.
    """

    searches: Outcome
    queries_max: int
    repeats_max: int

    def lines(self) -> list[tuple[str, str]]:
        """Return name and value of each figure."""
        return [
            ("dead", f"{DEAD:.0%}"),
            *self.searches.lines(),
            ("queries in a search", f"{self.queries_max} at most"),
            ("queries to one endpoint", f"{self.repeats_max} at most"),
        ]


class QueryLog:
    """Counts find_node queries by target and by whom they went to."""

    def __init__(self) -> None:
        """Start with none."""
        self._sent: Counter[tuple[bytes, Endpoint]] = Counter()

    def note(self, datagram: Datagram) -> None:
        """Look at a datagram that is being sent."""
        message = decode_message(datagram.data)
        if isinstance(message, Query) and message.method == FIND_NODE:
            target = (message.arguments or {}).get(b"target")
            assert isinstance(target, bytes)
            self._sent[target, datagram.to] += 1

    def queries_of(self, search: Search[FindNodes]) -> list[int]:
        """Return how many queries each endpoint got from a search, whose target is its own."""
        return [number for (target, _), number in self._sent.items() if target == search.target]


def simulate(seed: int, nodes: int) -> Figures:
    """Run the whole story."""
    network = VirtualNetwork(seed, Weather(loss=0.0))
    network.add_acquainted_nodes(nodes)
    network.remove_nodes(network.some_nodes(int(nodes * DEAD)))
    log = QueryLog()
    network.tap = log.note
    searches, outcome = search_everywhere(network)
    queries = [log.queries_of(search) for search in searches]
    return Figures(
        searches=outcome,
        queries_max=max(sum(numbers) for numbers in queries),
        repeats_max=max(max(numbers) for numbers in queries),
    )


if __name__ == "__main__":
    run(__doc__, simulate, sys.argv[1:])
