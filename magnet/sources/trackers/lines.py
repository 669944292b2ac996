"""The two ways to speak to a tracker, UDP and HTTP, as one.

Each line leads to one tracker in one address family. It knows the wire and the way there; when to
speak is decided above.

Spec: BEP 3; BEP 15; BEP 48.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from dht.contact import Endpoint, Family
from dht.keyspace import InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import Admission, HttpClient
from magnet.sources.trackers import http, udp
from magnet.sources.trackers.announce import Announce, Announced, Counts
from magnet.sources.trackers.udp_client import UdpClient
from magnet.sources.trackers.url import TrackerUrl

HTTP_TIMEOUT_S: Final = 30.0
"""Seconds for an HTTP tracker's whole answer, redirects included."""

FAREWELL_TIMEOUT_S: Final = 5.0
"""Seconds for a farewell, which nobody waits for."""


Asking: TypeAlias = Callable[[], None]
"""Is told that a request goes out: what passed before was spent in queues of our own."""


def _care_not() -> None:
    """Let it go out without taking note."""


class Line(Protocol):
    """A way to a tracker.

    Attributes:
        scraped_max: Swarms of one scrape; 0 if the tracker cannot be scraped.
    """

    @property
    def scraped_max(self) -> int:
        """Return how many swarms one scrape may have."""

    async def announce(self, announce: Announce, asking: Asking) -> Announced:
        """Announce.

        Args:
            announce: What to say.
            asking: Called whenever the request goes out, after our own queues.

        Raises:
            SourceError: It came to nothing.
        """

    async def scrape(self, info_hashes: Sequence[InfoHash]) -> dict[InfoHash, Counts]:
        """Scrape up to `scraped_max` swarms; those that the tracker does not know may be missing.

        Raises:
            SourceError: It came to nothing.
        """

    async def farewell(self, announce: Announce) -> None:
        """Say that we stop, if that can be done without trouble.

        Raises:
            SourceError: It came to nothing.
        """


class UdpLine:
    """A way to a UDP tracker. Spec: BEP 15."""

    scraped_max = udp.SCRAPED_MAX

    def __init__(
        self,
        tracker: TrackerUrl,
        family: Family,
        names: HostNames,
        client: UdpClient,
        admission: Admission,
    ) -> None:
        """Prepare; nothing is resolved or sent yet."""
        self._host = tracker.host
        self._options = udp.url_data(tracker.url)
        self._family = family
        self._names = names
        self._client = client
        self._admission = admission
        self._address = 0
        self._spoken_to: Endpoint | None = None

    async def announce(self, announce: Announce, asking: Asking) -> Announced:
        """Announce. Spec: BEP 15 "announce request"; BEP 41."""
        answer = await self._ask(announce, self._options, asking)
        assert isinstance(answer, Announced)
        return answer

    async def scrape(self, info_hashes: Sequence[InfoHash]) -> dict[InfoHash, Counts]:
        """Scrape. Spec: BEP 15 "scrape request"."""
        answer = await self._ask(udp.Scrape(tuple(info_hashes)), b"")
        assert isinstance(answer, udp.Scraped)
        return dict(zip(info_hashes, answer.counts, strict=False))

    async def farewell(self, announce: Announce) -> None:
        """Send one datagram, if the connection id is still good."""
        if self._spoken_to is not None:
            self._client.tell(self._spoken_to, announce, self._options)

    async def _ask(
        self, request: Announce | udp.Scrape, options: bytes, asking: Asking = _care_not
    ) -> udp.Answer:
        ends = (await self._names.look_up(self._host)).get(self._family, [])
        if not ends:
            raise SourceError(SourceFault.NO_ADDRESS, f"no address found for {self._host.host}")
        to = self._spoken_to = ends[self._address % len(ends)]
        await self._admission(to)
        asking()
        try:
            return await self._client.ask(to, request, options)
        except SourceError as error:
            if error.fault is SourceFault.TIMEOUT:
                self._address += 1
            raise


class HttpLine:
    """A way to an HTTP tracker. Spec: BEP 3 "trackers"."""

    def __init__(self, tracker: TrackerUrl, family: Family, client: HttpClient) -> None:
        """Prepare; nothing is resolved or sent yet."""
        self._url = tracker.url
        self._family = family
        self._client = client

    @property
    def scraped_max(self) -> int:
        """How many swarms one scrape may have."""
        can_scrape = http.scrape_url(self._url, ()) is not None
        return http.SCRAPED_MAX if can_scrape else 0

    async def announce(self, announce: Announce, asking: Asking) -> Announced:
        """Announce. Spec: BEP 3 "trackers"; BEP 23; BEP 7."""
        url = http.announce_url(self._url, announce)
        return http.decode_announced(await self._get(url, HTTP_TIMEOUT_S, asking))

    async def scrape(self, info_hashes: Sequence[InfoHash]) -> dict[InfoHash, Counts]:
        """Scrape. Spec: BEP 48."""
        url = http.scrape_url(self._url, info_hashes)
        if url is None:
            raise SourceError(SourceFault.NOT_ALLOWED, "its URL has no place for a scrape")
        return http.decode_scraped(await self._get(url, HTTP_TIMEOUT_S))

    async def farewell(self, announce: Announce) -> None:
        """Announce within `FAREWELL_TIMEOUT_S`."""
        await self._get(http.announce_url(self._url, announce), FAREWELL_TIMEOUT_S)

    async def _get(self, url: str, timeout_s: float, asking: Asking = _care_not) -> bytes:
        return await self._client.get(
            url,
            bytes_max=http.RESPONSE_BYTES_MAX,
            timeout_s=timeout_s,
            family=self._family,
            asking=asking,
        )
