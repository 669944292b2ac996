"""CPU for each query of a lookup, and memory for each contact that is kept.

Our node runs in this process, and a test network in another, whose CPU time is not counted. Many
lookups run at once, as in a batch of links; what is counted is all CPU time of this process, the
kernel's included, by the queries that were sent and answered. One lookup at a time is measured as
well, for the sake of comparison: then each wake-up serves a single answer.

Memory is what the allocator hands out for 100,000 contacts from the wire: kept in a list, kept in a
dictionary by endpoint as whoever walks the whole network needs it, and as candidates of lookups.

    scripts/bench lookup [--lookups 2000] [--at-once 100] [--nodes 200]
"""

import argparse
import os
import random
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Final, NamedTuple

import trio

from dht.bootstrap import BootstrapHost
from dht.contact import Contact, Family, decode_contacts
from dht.keyspace import NodeId, random_id
from dht.lookup import CANDIDATES_MAX, Lookup
from dht.node import Node, NodeSettings, open_node
from dht.ratelimit import Budget
from scripts.benchmarks.subjects import HOST, NETWORK, pin_to_core, started

CONTACTS: Final = 100_000
CONTACTS_PER_ANSWER: Final = 8

SEQUENTIAL_SHARE: Final = 0.05
"""Share of the lookups that is repeated one at a time."""


class Cost(NamedTuple):
    """What some lookups cost.

    Attributes:
        queries: Queries sent.
        answers: Answers received.
        cpu_s: CPU seconds.
        elapsed_s: Real seconds.
    """

    queries: int
    answers: int
    cpu_s: float
    elapsed_s: float

    def __str__(self) -> str:
        """Return the figures in a line."""
        return (
            f"{self.cpu_s / self.answers * 1e6:5.1f} us CPU a query "
            f"({self.queries:,} sent, {self.answers:,} answered, "
            f"{self.cpu_s / self.elapsed_s:.0%} of a core)"
        )


async def measure_lookups(entry_port: int, lookups: int, at_once: int) -> None:
    """Run lookups against a network, and print what they cost."""
    settings = NodeSettings(
        bind=[(HOST, 0)],
        bootstrap=[BootstrapHost(HOST, entry_port, is_router=False)],
        budget=Budget.SERVER,
        read_only=True,
    )
    async with open_node(settings) as node:
        await node.wait_joined()
        await run_lookups(node, at_once, at_once)
        together = await run_lookups(node, lookups, at_once)
        print(f"{at_once} lookups at once: {together}", flush=True)
        alone = await run_lookups(node, max(1, int(lookups * SEQUENTIAL_SHARE)), 1)
        print(f"one lookup at a time: {alone}", flush=True)


async def run_lookups(node: Node, number: int, at_once: int) -> Cost:
    """Search for the nodes nearest to random ids, so many at once."""
    rng = random.Random(1)
    targets = iter([random_id(rng) for _ in range(number)])

    async def work() -> None:
        for target in targets:
            await node.find_node(target)

    counts, cpu_s, began = query_counts(node), process_time(), perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work)
    cpu_s, elapsed_s = process_time() - cpu_s, perf_counter() - began
    sent, answered = (
        after - before for before, after in zip(counts, query_counts(node), strict=True)
    )
    return Cost(sent, answered, cpu_s, elapsed_s)


def query_counts(node: Node) -> tuple[int, int]:
    """Return how many queries the node has sent, and how many answers it got."""
    counts = node.statistics().engines[Family.IPV4].counts
    return counts.get("queries sent", 0), counts.get("answers received", 0)


def contacts_from_wire(rng: random.Random) -> list[Contact]:
    """Decode contacts as they come in answers."""
    size = Family.IPV4.contact_bytes * CONTACTS_PER_ANSWER
    answers = (rng.randbytes(size) for _ in range(CONTACTS // CONTACTS_PER_ANSWER))
    return [contact for answer in answers for contact in decode_contacts(answer, Family.IPV4)]


def in_list(rng: random.Random) -> object:
    """Keep contacts one after the other."""
    return contacts_from_wire(rng)


def in_dictionary(rng: random.Random) -> object:
    """Keep contacts by endpoint."""
    return {contact.endpoint: contact for contact in contacts_from_wire(rng)}


def in_lookups(rng: random.Random) -> object:
    """Keep contacts as candidates of lookups, as many in each as it takes."""
    return [
        Lookup(NodeId(rng.randbytes(20)), contacts)
        for contacts in chunks(contacts_from_wire(rng), CANDIDATES_MAX)
    ]


def chunks(contacts: list[Contact], size: int) -> list[list[Contact]]:
    """Cut a list into lists of `size`."""
    return [contacts[i : i + size] for i in range(0, len(contacts), size)]


def measure_memory(name: str, keep: Callable[[random.Random], object]) -> None:
    """Print what it takes to keep `CONTACTS` contacts."""
    tracemalloc.start()
    kept = keep(random.Random(1))
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    del kept
    print(f"{CONTACTS:,} contacts {name}: {megabytes:.1f} MB", flush=True)


def main(arguments: list[str]) -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lookups", type=int, default=2_000, help="how many (%(default)s)")
    parser.add_argument("--at-once", type=int, default=100, help="of them (%(default)s)")
    parser.add_argument("--nodes", type=int, default=200, help="of the network (%(default)s)")
    options = parser.parse_args(arguments)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", flush=True)
    measure_memory("in a list", in_list)
    measure_memory("in a dictionary", in_dictionary)
    measure_memory("in lookups", in_lookups)
    with started(NETWORK, options.nodes) as network:
        pin_to_core(0)
        trio.run(measure_lookups, network.port, options.lookups, options.at_once)


if __name__ == "__main__":
    main(sys.argv[1:])
