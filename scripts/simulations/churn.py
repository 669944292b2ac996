"""Nodes come and go, and those that stay still find each other and each other's announces.

A network joins through three routers, a fifth of it dies at once, as many new nodes join, and after
a minute of rest searches are compared with the truth.
"""

import sys
from statistics import mean
from typing import Final, NamedTuple

from dht.contact import Endpoint
from dht.keyspace import InfoHash, random_id
from dht.routing import K
from dht.search import Announcement, FindNodes, Search
from scripts.options import exit_after, read_options
from scripts.simulations.network import VirtualNetwork

ROUTERS: Final = 3
JOINING_S: Final = 60.0
REST_S: Final = 60.0
TURNOVER: Final = 0.2
"""Share of the nodes that die, and of new ones that come."""

LOOKUPS: Final = 200
ANNOUNCES: Final = 50
READERS: Final = 4
"""Nodes that look for each announce."""

SEARCH_LIMIT_S: Final = 120.0
"""Virtual seconds; a search has at most 200 queries of 10 s each, but an honest one takes 5."""

PEER_PORT: Final = 51_413
"""What is announced: another port than the node's own."""


class Figures(NamedTuple):
    """What came of it.

    Attributes:
        recall: Share of the true K closest living nodes that a search found, on average.
        announces_found: Share of searches for an announced peer that found it.
        queries: Queries in a search for nodes, on average.
        seconds: Virtual seconds that it took, on average.
        datagrams: Datagrams sent in the whole run.
        digest: SHA-256 over all of them.
    """

    recall: float
    announces_found: float
    queries: float
    seconds: float
    datagrams: int
    digest: str


def simulate(seed: int, nodes: int) -> Figures:
    """Run the whole story; the same arguments give the same figures, digest included."""
    network = VirtualNetwork(seed)
    network.add_routers(ROUTERS)
    network.add_nodes(nodes, over_s=JOINING_S)
    network.run(REST_S)
    renew(network, int(nodes * TURNOVER))
    network.run(REST_S)
    began = network.now
    searches = search_everywhere(network)
    found = announces_found(network)
    return Figures(
        recall=mean(network.recall_of(search) for search in searches),
        announces_found=found,
        queries=mean(search.lookup.asked_count for search in searches),
        seconds=mean(network.ended_at[search] - began for search in searches),
        datagrams=network.datagrams_sent,
        digest=network.digest(),
    )


def renew(network: VirtualNetwork, number: int) -> None:
    """Let so many nodes die at once, and as many join."""
    network.remove_nodes(network.some_nodes(number))
    network.add_nodes(number, over_s=JOINING_S)


def search_everywhere(network: VirtualNetwork) -> list[Search[FindNodes]]:
    """Search for `LOOKUPS` random targets, each from a random node."""
    searches = [
        network.find_node(network.some_node(), random_id(network.rng)) for _ in range(LOOKUPS)
    ]
    network.run_until_ended(limit_s=SEARCH_LIMIT_S)
    return searches


def announces_found(network: VirtualNetwork) -> float:
    """Let nodes announce a peer each, and others look for it; return the share that found it."""
    announced = []
    for _ in range(ANNOUNCES):
        writer, *readers = network.some_nodes(1 + READERS)
        info_hash = InfoHash(random_id(network.rng))
        network.get_peers(writer, info_hash, Announcement(PEER_PORT))
        announced.append((writer, readers, info_hash))
    network.run_until_ended(limit_s=SEARCH_LIMIT_S)
    attempts = [
        (Endpoint(writer[:-2] + PEER_PORT.to_bytes(2)), network.get_peers(reader, info_hash))
        for writer, readers, info_hash in announced
        for reader in readers
    ]
    network.run_until_ended(limit_s=SEARCH_LIMIT_S)
    return mean(peer in search.purpose.peers for peer, search in attempts)


def main(arguments: list[str]) -> None:
    """Run it and print the figures."""
    options = read_options(__doc__, size_flag="--nodes", size=3_000, arguments=arguments)
    print(f"seed {options.seed}, {options.size} nodes", flush=True)
    exit_after(options.time_limit_s)
    figures = simulate(options.seed, options.size)
    print(f"the true {K} closest found: {figures.recall:.2%} of {LOOKUPS} x {K}")
    print(f"announces found:          {figures.announces_found:.2%} of {ANNOUNCES * READERS}")
    print(f"a search:                 {figures.queries:.0f} queries, {figures.seconds:.1f} s")
    print(f"datagrams:                {figures.datagrams}")
    print(f"digest:                   {figures.digest}")


if __name__ == "__main__":
    main(sys.argv[1:])
