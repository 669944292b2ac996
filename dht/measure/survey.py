"""Asking the network for measurements.

Spec: BEP 33 "Scheduling".
"""

from typing import Final, NamedTuple

import trio

from dht.contact import Contact
from dht.errors import QueryRefused
from dht.keyspace import InfoHash
from dht.krpc import GET_PEERS
from dht.measure.swarm import SwarmSize, estimate_swarm
from dht.node import Node
from dht.routing import K
from dht.scrape import ScrapeSwarm, Statement, read_statement
from dht.search import Search

ROUNDS: Final = 3
"""Times that nodes without filters are asked for more peers: some 50 more of each come to light."""

PAUSE_S: Final = 1.5
"""Seconds between two questions to a node; many answer five in ten seconds without a grudge."""

MANY: Final = 25
"""Peers in an answer that may be a selection; a node that knows fewer names them all."""


class Scrape(NamedTuple):
    """The outcome of a scrape.

    Attributes:
        info_hash: Of the swarm.
        size: How big it is.
        nodes_asked: Queries sent.
        nodes_answered: Nodes that answered.
    """

    info_hash: InfoHash
    size: SwarmSize
    nodes_asked: int
    nodes_answered: int


async def scrape(node: Node, info_hash: InfoHash) -> Scrape:
    """Measure a swarm: search for the nodes that store its peers, and ask them how many they know.

    The filters are dropped when they have been counted.

    Raises:
        NotBootstrapped: Nobody could be asked.
        NodeClosed: The node was closed meanwhile.
        QueryRefused: Too much is going on.

    Spec: BEP 33.
    """
    joint = await node.search(info_hash, ScrapeSwarm)
    sizes = [await _measure(node, info_hash, search) for search in joint.searches]
    progress = joint.progress
    whole = sizes[0]
    for size in sizes[1:]:
        whole = whole.plus(size)
    return Scrape(info_hash, whole, progress.asked, progress.answered)


async def _measure(node: Node, info_hash: InfoHash, search: Search[ScrapeSwarm]) -> SwarmSize:
    """Measure the part of a swarm in one family."""
    testimony = search.purpose.testimony
    nearest = [it for it in search.closest()[:K] if it in testimony]
    has_filters = any(testimony[it].has_filters for it in nearest)
    selective = [it for it in nearest if len(testimony[it].named) >= MANY]
    for _ in range(ROUNDS if selective and not has_filters else 0):
        await trio.sleep(PAUSE_S)
        async with trio.open_nursery() as nursery:
            for contact in selective:
                nursery.start_soon(_ask_for_more, node, info_hash, contact, testimony)
    return estimate_swarm([testimony[it] for it in nearest])


async def _ask_for_more(
    node: Node, info_hash: InfoHash, contact: Contact, testimony: dict[Contact, Statement]
) -> None:
    """Add to what a node said the peers that it names when asked once more."""
    try:
        call = await node.call(contact.endpoint, GET_PEERS, {b"info_hash": info_hash})
    except QueryRefused:
        return  # It has been asked too often, and what it has said must do.
    if call.sender == contact and call.answer is not None:
        more = read_statement(call.answer)
        if more is not None:
            before = testimony[contact]
            testimony[contact] = before._replace(named=before.named | more.named)
