"""The URL of a tracker, taken apart, and whether it is one that we speak to."""

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from magnet.errors import SourceError, SourceFault
from magnet.hosts import HostPort, host_port
from magnet.sources.reach import Reach
from magnet.text import printable
from magnet.urls import check_port, check_url, without_userinfo

SCHEMES: Final = frozenset(["http", "https", "udp"])
"""Those that we speak; WebTorrent's `ws` and `wss` lead to browsers only."""

OUR_PARAMETERS: Final = frozenset(
    [
        "compact",
        "downloaded",
        "event",
        "info_hash",
        "key",
        "left",
        "no_peer_id",
        "numwant",
        "peer_id",
        "port",
        "trackerid",
        "uploaded",
    ]
)
"""Parameters of an announce. A URL that has one already was made to have us say something to a
server that is no tracker."""

WORDS_BYTES_MAX: Final = 200
"""Of the reason why a URL is refused."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class TrackerUrl(NamedTuple):
    """A tracker as a link or torrent names it.

    Attributes:
        url: As it is to be requested.
        scheme: One of `SCHEMES`.
        host: Where it is, not resolved.
    """

    url: str
    scheme: str
    host: HostPort

    @property
    def label(self) -> str:
        """The URL as it may be shown."""
        return without_userinfo(self.url)


def parse_tracker_url(url: str, reach: Reach) -> TrackerUrl:
    """Read the URL of a tracker.

    Raises:
        SourceError: `NOT_ALLOWED`: it is none that we speak to.

    Spec: BEP 3; BEP 15; BEP 41 for paths of UDP trackers.
    """
    try:
        parts = urlsplit(url)
        scope = reach.scope_towards(parts.hostname or "")
        checked = check_url(url, SCHEMES, scope)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        check_port(port)
        host = host_port(parts.hostname or "", port, scope)
    except ValueError as error:
        raise _refusal(str(error)) from error
    if OUR_PARAMETERS & {part.partition("=")[0].lower() for part in parts.query.split("&")}:
        raise _refusal("its URL has parameters that are ours to set")
    return TrackerUrl(checked, parts.scheme, host)


def _refusal(reason: str) -> SourceError:
    words = printable(reason, WORDS_BYTES_MAX)
    return SourceError(SourceFault.NOT_ALLOWED, f"no tracker for us: {words}")
