"""The peers that a link names by host name: looked up, in both address families.

Spec: BEP 9 "magnet URI format", `x.pe`.
"""

from typing import Final

import trio

from magnet.errors import SourceError
from magnet.hosts import HostPort
from magnet.sources.hostnames import HostNames
from magnet.sources.source import LINK, Candidate, Findings, SourceRecord, Wanted

NAME: Final = f"{LINK} names"


class NamedPeersSource:
    """Looks up the host names of a link's peers; its literal addresses need no look-up."""

    def __init__(self, names: HostNames) -> None:
        """Prepare.

        Args:
            names: Resolves, within our reach.
        """
        self._names = names

    @property
    def name(self) -> str:
        """What the source is called in reports."""
        return NAME

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Look all names up at once, and report each peer when its name is resolved."""

        async def look_up(host: HostPort) -> None:
            record.asked += 1
            try:
                ends = await self._names.look_up(host)
            except SourceError as error:
                record.failed += 1
                record.error = str(error)
                return
            record.answered += 1
            for end in (it for family in ends.values() for it in family):
                record.peers += 1
                found.peer(Candidate(end, wanted.keys[0], NAME))

        async with trio.open_nursery() as nursery:
            for host in wanted.link.peers:
                if host.literal is None:
                    nursery.start_soon(look_up, host)
