"""Many nodes die at one moment, and searches right afterwards have to get past the dead.

Every table is as full as can be when three tenths of the nodes it holds fall silent. Nobody has
noticed yet, and no datagram is lost besides, so what a search misses is the fault of the dead.
"""

import sys
from collections import Counter
from statistics import mean
from typing import Final, NamedTuple

from dht.contact import Endpoint
from dht.keyspace import random_id
from dht.krpc import FIND_NODE, Query, decode_message
from dht.routing import K
from dht.search import FindNodes, Search
from scripts.options import exit_after, read_options
from scripts.simulations.network import Datagram, VirtualNetwork, Weather

DEAD: Final = 0.3
"""Share of the nodes that die."""

LOOKUPS: Final = 200
SEARCH_LIMIT_S: Final = 120.0
"""Virtual seconds, as in `churn`."""


class Figures(NamedTuple):
    """What came of it.

    Attributes:
        recall: Share of the true K closest living nodes that a search found, on average.
        queries_max: Most queries that one search sent.
        repeats_max: Most queries that one search sent to one endpoint.
        seconds: Virtual seconds that a search took, on average.
    """

    recall: float
    queries_max: int
    repeats_max: int
    seconds: float


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
    log, began = QueryLog(), network.now
    network.tap = log.note
    searches = [
        network.find_node(network.some_node(), random_id(network.rng)) for _ in range(LOOKUPS)
    ]
    network.run_until_ended(limit_s=SEARCH_LIMIT_S)
    queries = [log.queries_of(search) for search in searches]
    return Figures(
        recall=mean(network.recall_of(search) for search in searches),
        queries_max=max(sum(numbers) for numbers in queries),
        repeats_max=max(max(numbers) for numbers in queries),
        seconds=mean(network.ended_at[search] - began for search in searches),
    )


def main(arguments: list[str]) -> None:
    """Run it and print the figures."""
    options = read_options(__doc__, size_flag="--nodes", size=3_000, arguments=arguments)
    print(f"seed {options.seed}, {options.size} nodes, {DEAD:.0%} of them dead", flush=True)
    exit_after(options.time_limit_s)
    figures = simulate(options.seed, options.size)
    print(f"the true {K} closest found: {figures.recall:.2%} of {LOOKUPS} x {K}")
    print(f"queries in a search:      {figures.queries_max} at most")
    print(f"queries to one endpoint:  {figures.repeats_max} at most")
    print(f"a search:                 {figures.seconds:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
