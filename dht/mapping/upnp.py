"""A mapper for routers that speak UPnP, through `miniupnpc`, which knows their many dialects.

That library blocks, so it works in a thread; who stops waiting leaves the thread to end by itself,
which it does within seconds.

Spec: UPnP Forum, "WANIPConnection:1" and ":2", AddPortMapping, DeletePortMapping.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import miniupnpc
import trio

from dht.contact import endpoint, port_of
from dht.errors import MappingFailed
from dht.mapping.gateway import private_address
from dht.mapping.lease import LIFETIME_S, Lease, Wish

DISCOVERY_MS: Final = 2_000
"""Milliseconds that routers have to answer each of four searches by multicast; most take 100."""

DESCRIPTION: Final = "Trackerless"
"""What the router's own pages show beside the mapping."""

PERMANENT_ONLY: Final = "OnlyPermanentLeasesSupported"
"""What many routers of the first version say to a lease (error 725)."""

NOBODY: Final = "Success"
"""What `miniupnpc` says when its search went well and found nobody."""

_T = TypeVar("_T")


class UpnpMapper:
    """Maps ports with UPnP."""

    name = "UPnP"

    def __init__(self) -> None:
        """Know no router yet: one that was found is asked again before others are looked for."""
        self._router: miniupnpc.UPnP | None = None

    async def map(self, wish: Wish) -> Lease:
        """As `PortMapper.map`."""
        if self._router is not None:
            with suppress(MappingFailed):
                return await _in_thread(partial(_map, self._router, wish))
        self._router = await _in_thread(_find_router)
        return await _in_thread(partial(_map, self._router, wish))

    async def unmap(self, lease: Lease) -> None:
        """As `PortMapper.unmap`."""
        if self._router is not None:
            external_port, protocol = port_of(lease.external), lease.transport.name
            await _in_thread(partial(self._router.deleteportmapping, external_port, protocol))


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Do what blocks elsewhere; `miniupnpc` raises plain `Exception`s, with the router's words."""
    try:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    except Exception as error:
        if type(error) is not Exception:
            raise
        reason = str(error)
        raise MappingFailed("no router answers" if reason == NOBODY else reason) from error


def _find_router() -> miniupnpc.UPnP:
    ours = socket.inet_ntoa(private_address())
    router = miniupnpc.UPnP(multicastif=ours, discoverdelay=DISCOVERY_MS)
    router.discover()
    router.selectigd()
    return router


def _map(router: miniupnpc.UPnP, wish: Wish) -> Lease:
    external_port = wish.external_port or wish.port
    holder = router.getspecificportmapping(external_port, wish.transport.name)
    if holder is not None and holder[:2] != (router.lanaddr, wish.port):
        raise MappingFailed(f"the router maps port {external_port} to {holder[0]}")
    wanted = (external_port, wish.transport.name, router.lanaddr, wish.port, DESCRIPTION, "")
    lifetime_s = wish.lifetime_s
    try:
        router.addportmapping(*wanted, lifetime_s)
    except Exception as error:
        if str(error) != PERMANENT_ONLY:
            raise
        lifetime_s = LIFETIME_S
        router.addportmapping(*wanted, 0)
    external = endpoint(router.externalipaddress(), external_port)
    return Lease(wish.transport, wish.port, external, lifetime_s)
