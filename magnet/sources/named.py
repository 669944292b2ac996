"""Everything beyond the DHT that links name: trackers, web servers with the .torrent, host names.

    async with open_named_sources(node.endpoints, admission.pass_budget) as named:
        sources = named.sources(wanted)

Opened once for all links of a resolver, which share sockets and what is learnt of the servers.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import SystemRandom

from dht.contact import Endpoint, Family
from magnet.sources.exact import exact_sources
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import Admission, HttpClient, open_http_client
from magnet.sources.named_peers import NamedPeersSource
from magnet.sources.reach import Reach
from magnet.sources.source import PeerSource, Wanted
from magnet.sources.trackers.announce import PORT_CLOSED
from magnet.sources.trackers.pool import TrackerPool, open_tracker_pool
from magnet.sources.trackers.source import tracker_sources


class NamedSources:
    """Made by `open_named_sources`."""

    def __init__(self, names: HostNames, http: HttpClient, pool: TrackerPool) -> None:
        """Made by `open_named_sources`."""
        self._names = names
        self._http = http
        self._pool = pool

    def sources(self, wanted: Wanted) -> list[PeerSource]:
        """Return a source for everything that a link names."""
        link = wanted.link
        sources: list[PeerSource] = []
        if any(it.literal is None for it in link.peers):
            sources.append(NamedPeersSource(self._names))
        sources += tracker_sources(self._pool, link.trackers)
        sources += exact_sources(self._http, (*link.exact_sources, *link.acceptable_sources))
        return sources


@asynccontextmanager
async def open_named_sources(
    bound: Mapping[Family, Endpoint],
    admission: Admission,
    *,
    port: int = PORT_CLOSED,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[NamedSources]:
    """Speak to what links name, for the time of the block.

    Args:
        bound: Our own address in each family that we have, such as `dht.node.Node.endpoints`.
            Everything is sent from there, and nothing to where these must not lead.
        admission: Is waited for before each flow; it passes the node's flow budget.
        port: TCP port on which we accept peers, as trackers are told; `PORT_CLOSED` if we do not.
        tls: Decides on certificates; those of the usual authorities if None.

    Raises:
        CannotListen: A UDP socket cannot be bound.
    """
    reach, rng = Reach(bound), SystemRandom()
    names = HostNames(reach)
    async with (
        open_http_client(reach, names, admission, tls=tls) as http,
        open_tracker_pool(reach, names, http, admission, rng, port=port) as pool,
    ):
        yield NamedSources(names, http, pool)
