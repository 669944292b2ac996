"""What searches for random targets find and cost, and how a simulation reports such figures."""

from collections.abc import Callable
from statistics import mean
from typing import Final, NamedTuple, Protocol

from dht.keyspace import random_id
from dht.routing import K
from dht.search import FindNodes, Search
from scripts.options import exit_after, read_options
from scripts.simulations.network import VirtualNetwork

LOOKUPS: Final = 200
"""Searches, each for a random target from a random node."""

SEARCH_LIMIT_S: Final = 120.0
"""Virtual seconds; a search has at most 200 queries of 10 s each, but an honest one takes 5."""


class Outcome(NamedTuple):
    """What searches came to, on average.

    Attributes:
        recall: Share of the true K closest living nodes that was found.
        queries: Queries in a search.
        seconds: Virtual seconds that it took.
    """

    recall: float
    queries: float
    seconds: float

    def lines(self) -> list[tuple[str, str]]:
        """Return name and value of each figure."""
        return [
            (f"the true {K} closest found", f"{self.recall:.2%} of {LOOKUPS} x {K}"),
            ("a search", f"{self.queries:.0f} queries, {self.seconds:.1f} s"),
        ]


class Figures(Protocol):
    """What came of a simulation."""

    def lines(self) -> list[tuple[str, str]]:
        """Return name and value of each figure."""


def search_everywhere(network: VirtualNetwork) -> tuple[list[Search[FindNodes]], Outcome]:
    """Search for `LOOKUPS` random targets at once; return the searches, and what they came to."""
    began = network.now
    searches = [
        network.find_node(network.some_node(), random_id(network.rng)) for _ in range(LOOKUPS)
    ]
    network.run_until_ended(limit_s=SEARCH_LIMIT_S)
    outcome = Outcome(
        recall=mean(network.recall_of(search) for search in searches),
        queries=mean(search.lookup.asked_count for search in searches),
        seconds=mean(network.ended_at[search] - began for search in searches),
    )
    return searches, outcome


def run(about: str, simulate: Callable[[int, int], Figures], arguments: list[str]) -> None:
    """Run a simulation as the command line says, and print its figures.

    Args:
        about: The program's docstring.
        simulate: Takes a seed and a number of nodes.
        arguments: The command line, without the program's name.
    """
    options = read_options(about, size_flag="--nodes", size=3_000, arguments=arguments)
    print(f"seed {options.seed}, {options.size} nodes", flush=True)
    exit_after(options.time_limit_s)
    for name, value in simulate(options.seed, options.size).lines():
        print(f"{name + ':':28}{value}")
