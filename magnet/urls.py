"""URLs of trackers, web seeds and other sources, as links and torrents name them.

Here it is decided whether a URL is kept as data. Nothing is fetched or resolved: that a host name
does not lead into a private network is for whoever connects to see, after resolving it and again
after every redirect.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from dht.contact import Scope
from magnet.hosts import host_port

URL_BYTES_MAX: Final = 2_048
"""Length of a URL; the longest in real torrents carry a passkey and stay under 300."""

TRACKER_SCHEMES: Final = frozenset(["http", "https", "udp", "ws", "wss"])
"""Kept in `tr` and `announce`; `ws` and `wss`, which are WebTorrent's, are kept but not used."""

WEB_SEED_SCHEMES: Final = frozenset(["http", "https", "ftp"])
"""Kept in `ws` and `url-list`; `ftp` is kept but not used. Spec: BEP 19."""

SOURCE_SCHEMES: Final = frozenset(["http", "https"])
"""Kept in `xs` and `as`."""

PRIVILEGED_PORTS: Final = frozenset([80, 443])
"""The only ports below `PORT_MIN` to which a URL may lead us: behind the others are mail, names and
other services, to which a stranger must not make us write."""

PORT_MIN: Final = 1_024
"""The first port that needs no privilege."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}


def check_url(text: str, schemes: frozenset[str], bound: Scope) -> str:
    """Check a URL that a stranger named, and drop its fragment.

    Args:
        text: The URL, percent-encoded as it is to be requested.
        schemes: The schemes to accept, in lower case.
        bound: Scope of our own address; decides on literal addresses and `localhost` (see
            `magnet.hosts.host_port`).

    Raises:
        ValueError: The URL is too long, has another scheme, spaces or control characters, no usable
            host, or no port where the scheme has no default (udp).
    """
    if len(text.encode("utf-8", "replace")) > URL_BYTES_MAX:
        raise ValueError(f"longer than {URL_BYTES_MAX} bytes")
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("space, backslash or control character")
    parts = urlsplit(text)
    if parts.scheme not in schemes:
        raise ValueError("scheme is not supported")
    if parts.netloc.count("@") > 1:
        raise ValueError("host is not clear")
    host_port(parts.hostname or "", _port(parts), bound)
    return text.partition("#")[0]


def check_port(port: int) -> None:
    """Check that a port is one to which a stranger's URL may lead us.

    Raises:
        ValueError: It is not.
    """
    if port < PORT_MIN and port not in PRIVILEGED_PORTS:
        raise ValueError(f"port {port}")


def without_userinfo(url: str) -> str:
    """Return a checked URL without the name and password it may carry, for displays and logs."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def without_duplicates(urls: Iterable[str]) -> list[str]:
    """Return checked URLs in their order, each place once.

    Two URLs are the same when scheme and host agree regardless of case, and port, path and query
    agree.
    """
    first: dict[_Place, str] = {}
    for url in urls:
        first.setdefault(_place(url), url)
    return list(first.values())


class _Place(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    query: str
    userinfo: str


def _place(url: str) -> _Place:
    parts = urlsplit(url)
    userinfo = parts.netloc.rpartition("@")[0]
    return _Place(
        parts.scheme, parts.hostname or "", _port(parts), parts.path or "/", parts.query, userinfo
    )


def _port(parts: SplitResult) -> int:
    port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    if port is None:
        raise ValueError(f"{parts.scheme} needs a port")
    return port
