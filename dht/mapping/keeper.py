"""Keeps one port mapped for as long as it runs.

The mappers are tried in turn, the one that succeeded last first. A lease is renewed at half its
lifetime; after a failure of all, which costs nothing but a line in the log, another attempt follows
later, since the machine may have come into another network. At the end the port is given back.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import trio

from dht.contact import format_endpoint, port_of
from dht.errors import MappingFailed
from dht.logs import get_logger
from dht.mapping.lease import Lease, PortMapper, Transport, Wish
from dht.mapping.status import MappingStatus, Phase
from dht.mapping.unicast import NatPmpMapper, PcpMapper
from dht.mapping.upnp import UpnpMapper

_log = get_logger(__name__)

RETRY_S: Final = 600.0
"""Seconds after a failure of all mappers until they are tried again."""

UNMAP_TIMEOUT_S: Final = 2.0
"""Seconds for giving the port back while everything is being closed; else the lease runs out."""


def default_mappers() -> list[PortMapper]:
    """Return all that there are, the one that asks least of the router first."""
    return [PcpMapper(), NatPmpMapper(), UpnpMapper()]


class MappingKeeper:
    """Keeps a port mapped.

    Attributes:
        status: How it goes.
    """

    def __init__(
        self, transport: Transport, port: int, mappers: Sequence[PortMapper] | None = None
    ) -> None:
        """Say what is to be mapped; nothing happens until `run`.

        Args:
            transport: Which of the two port spaces.
            port: Ours, on which somebody listens at every address.
            mappers: Tried in this order; None for `default_mappers`.
        """
        self.status = MappingStatus(Phase.TRYING)
        self._wish = Wish(transport, port, port)
        self._mappers = list(mappers) if mappers is not None else default_mappers()
        self._held: tuple[PortMapper, Lease] | None = None

    async def run(self) -> None:
        """Keep the port mapped until cancelled, and then give it back; never fails."""
        try:
            while True:
                lease = await self._obtain()
                await trio.sleep(lease.renew_after_s if lease is not None else RETRY_S)
        finally:
            with trio.move_on_after(UNMAP_TIMEOUT_S, shield=True):
                await self._give_back()

    async def _obtain(self) -> Lease | None:
        """Try one mapper after the other; the one that succeeds is tried first the next time."""
        reasons: list[str] = []
        for mapper in self._mappers:
            try:
                lease = await mapper.map(self._wish)
            except MappingFailed as error:
                reasons.append(f"{mapper.name}: {error}")
                self.status = replace(self.status, failures=self.status.failures + 1)
                continue
            self._take(mapper, lease)
            return lease
        self._held = None
        self.status = replace(
            self.status, phase=Phase.FAILED, external=None, reasons=tuple(reasons)
        )
        _log.info("the port is not mapped", port=self._wish.port, reasons=reasons)
        return None

    def _take(self, mapper: PortMapper, lease: Lease) -> None:
        if self._held is None or self._held[1].external != lease.external:
            _log.info("port mapped", by=mapper.name, external=format_endpoint(lease.external))
        self._held = mapper, lease
        self._mappers.sort(key=lambda it: it is not mapper)
        self._wish = self._wish._replace(external_port=port_of(lease.external))
        self.status = replace(
            self.status,
            phase=Phase.MAPPED,
            method=mapper.name,
            external=lease.external,
            grants=self.status.grants + 1,
            reasons=(),
        )

    async def _give_back(self) -> None:
        if self._held is None:
            return
        mapper, lease = self._held
        self._held = None
        try:
            await mapper.unmap(lease)
        except MappingFailed as error:
            _log.info("the mapped port is left to its lease", reason=str(error))
