"""The peers that a link itself names, where it names them by address.

Spec: BEP 9 "magnet URI format", `x.pe`.
"""

import trio

from magnet.sources.source import LINK, Candidate, Findings, SourceRecord, Wanted


class LinkSource:
    """Reports the literal addresses of a link; names of hosts are another source's work."""

    @property
    def name(self) -> str:
        """What the source is called in reports."""
        return LINK

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Report all peers at once. Spec: BEP 9 "magnet URI format"."""
        literals = [it.literal for it in wanted.link.peers]
        for peer in (it for it in literals if it is not None):
            record.peers += 1
            found.peer(Candidate(peer, wanted.keys[0], LINK))
        await trio.lowlevel.checkpoint()
