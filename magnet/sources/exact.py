"""A link's exact and acceptable sources: web servers that are said to have the .torrent.

What they give is believed only if the hash of its info dictionary is the link's. It brings the
metadata whole, and the piece layers of v2 with it.

Spec: none but custom for `xs` and `as` with http URLs; the file is that of BEP 3 and BEP 52.
"""

from collections.abc import Iterable
from typing import Final

import trio

from magnet.errors import InvalidMetainfo, SourceError, SourceFault
from magnet.metainfo.torrent import TORRENT_BYTES_MAX, parse_torrent
from magnet.sources.http_client import HttpClient
from magnet.sources.source import Findings, SourceRecord, Wanted
from magnet.urls import without_userinfo

TIMEOUT_S: Final = 120.0
"""Seconds for a whole .torrent: 32 MiB at 2 Mbit/s."""

PAUSE_MIN_S: Final = 30.0
PAUSE_MAX_S: Final = 600.0
"""Bounds of the pause before a server is tried again that could not be reached; doubles."""

STAGGER_S: Final = 1.0
"""Seconds between the first requests to the sources of a link: one good answer will do, and a link
may name forty, all of them at one host that it means to harm."""

_PASSING: Final = frozenset(
    [SourceFault.NO_ADDRESS, SourceFault.UNREACHABLE, SourceFault.TIMEOUT, SourceFault.REDIRECTS]
)
"""What may be better another time."""


def exact_sources(client: HttpClient, urls: Iterable[str]) -> list["ExactSource"]:
    """Return a source for each URL, to be asked one after the other.

    Args:
        client: Fetches.
        urls: Http or https URLs, in order.
    """
    return [
        ExactSource(client, url, delay_s=position * STAGGER_S)
        for position, url in enumerate(dict.fromkeys(urls))
    ]


class ExactSource:
    """Fetches the .torrent of one link from one URL."""

    def __init__(self, client: HttpClient, url: str, *, delay_s: float = 0.0) -> None:
        """Prepare.

        Args:
            client: Fetches.
            url: An http or https URL.
            delay_s: Seconds to wait at first.
        """
        self._client = client
        self._url = url
        self._delay_s = delay_s

    @property
    def name(self) -> str:
        """The URL, as it may be shown."""
        return without_userinfo(self._url)

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Fetch, check and report; try again only where that may help."""
        await trio.sleep(self._delay_s)
        pause_s = PAUSE_MIN_S
        while True:
            record.asked += 1
            try:
                await self._fetch(found)
            except SourceError as error:
                record.failed += 1
                record.error = str(error)
                if error.fault not in _PASSING:
                    return
            else:
                record.answered += 1
                record.error = None
                return
            record.next_at = trio.current_time() + pause_s
            await trio.sleep(pause_s)
            record.next_at = None
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _fetch(self, found: Findings) -> None:
        body = await self._client.get(self._url, bytes_max=TORRENT_BYTES_MAX, timeout_s=TIMEOUT_S)
        try:
            # In a thread, because a large file takes a second, in which nothing else would move.
            torrent = await trio.to_thread.run_sync(parse_torrent, body, abandon_on_cancel=True)
        except InvalidMetainfo as error:
            raise SourceError(SourceFault.MALFORMED, f"no .torrent: {error}") from error
        if not found.metadata(torrent.raw_info, torrent.piece_layers):
            raise SourceError(SourceFault.WRONG_HASH, "the .torrent of another torrent")
