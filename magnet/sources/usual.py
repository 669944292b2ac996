"""Which sources a link is given: all that it has.

Some sources need something that all links share, such as a socket; it is opened here, once.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import TypeAlias

from dht.contact import host_of
from dht.node import Node
from magnet.sources.dht import DhtSource
from magnet.sources.http_client import Admission
from magnet.sources.link import LinkSource
from magnet.sources.lsd.source import open_neighbourhood
from magnet.sources.named import open_named_sources
from magnet.sources.source import DHT, DHT_V2, PeerSource, Wanted

SourceChoice: TypeAlias = Callable[[Wanted], list[PeerSource]]
"""Decides which sources a link is given."""


def relayed_sources(node: Node) -> SourceChoice:
    """Return the choice of sources that send nothing but by the node's own sockets.

    These are the DHT and the addresses in the link itself: what may be used where all traffic has
    to go by way of a proxy.
    """

    def choose(wanted: Wanted) -> list[PeerSource]:
        names = (DHT, DHT_V2)
        searches = [
            DhtSource(node, key, name) for key, name in zip(wanted.keys, names, strict=False)
        ]
        own = [LinkSource()] if wanted.link.peers else []
        return [*own, *searches]

    return choose


@asynccontextmanager
async def open_usual_sources(node: Node, admission: Admission) -> AsyncIterator[SourceChoice]:
    """Open what sources share, for the time of the block.

    Args:
        node: Searches the DHT. Where it has an address in a local network, neighbours are heard.
        admission: Is waited for before each flow to a tracker or web server.

    Raises:
        CannotListen: A UDP socket for trackers cannot be bound.
    """
    hosts = [host_of(at) for at in node.endpoints.values()]
    relayed = relayed_sources(node)

    def choose(wanted: Wanted) -> list[PeerSource]:
        return [*relayed(wanted), *local, *named.sources(wanted)]

    async with (
        open_named_sources(node.endpoints, admission) as named,
        open_neighbourhood(hosts, rng=SystemRandom()) as neighbourhood,
    ):
        local = [neighbourhood] if neighbourhood.is_populated else []
        yield choose
