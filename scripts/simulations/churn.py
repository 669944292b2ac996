"""Nodes come and go, and those that stay still find each other and each other's announces.

A network joins through three routers, a fifth of it dies at once, as many new nodes join, and after
a minute of rest searches are compared with the truth.
"""

import sys
from statistics import mean
from typing import Final, NamedTuple

from dht.contact import Endpoint
from dht.keyspace import InfoHash, random_id
from dht.search import Announcement
from scripts.simulations.lookups import SEARCH_LIMIT_S, Outcome, run, search_everywhere
from scripts.simulations.network import VirtualNetwork

ROUTERS: Final = 3
JOINING_S: Final = 60.0
REST_S: Final = 60.0
TURNOVER: Final = 0.2
"""Share of the nodes that die, and of new ones that come."""

ANNOUNCES: Final = 50
READERS: Final = 4
"""Nodes that look for each announce."""

PEER_PORT: Final = 51_413
"""What is announced: another port than the node's own."""


class Figures(NamedTuple):
    """What came of it.

    Attributes:
        searches: What searches for nodes found and cost.
        announces_found: Share of searches for an announced peer that found it.
        datagrams: Datagrams sent in the whole run.
        digest: SHA-256 over all of them.
    """

    searches: Outcome
    announces_found: float
    datagrams: int
    digest: str

    def lines(self) -> list[tuple[str, str]]:
        """Return name and value of each figure."""
        return [
            *self.searches.lines(),
            ("announces found", f"{self.announces_found:.2%} of {ANNOUNCES * READERS}"),
            ("datagrams", f"{self.datagrams}"),
            ("digest", self.digest),
        ]


def simulate(seed: int, nodes: int) -> Figures:
    """Run the whole story; the same arguments give the same figures, digest included."""
    network = VirtualNetwork(seed)
    network.add_routers(ROUTERS)
    network.add_nodes(nodes, over_s=JOINING_S)
    network.run(REST_S)
    renew(network, int(nodes * TURNOVER))
    network.run(REST_S)
    _, outcome = search_everywhere(network)
    return Figures(outcome, announces_found(network), network.datagrams_sent, network.digest())


def renew(network: VirtualNetwork, number: int) -> None:
    """Let so many nodes die at once, and as many join."""
    network.remove_nodes(network.some_nodes(number))
    network.add_nodes(number, over_s=JOINING_S)


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


if __name__ == "__main__":
    run(__doc__, simulate, sys.argv[1:])
