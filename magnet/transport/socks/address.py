"""A proxy as users write it: `socks5://user:password@host:port`."""

from typing import Final
from urllib.parse import unquote, urlsplit

from dht.contact import Scope
from magnet.hosts import HostPort, host_port
from magnet.transport.socks.messages import Credentials

PORT: Final = 1080
"""Where a SOCKS proxy listens by convention. Spec: RFC 1928 section 3."""

SCHEMES: Final = frozenset({"socks5", "socks5h"})
"""Both mean the same here: names are always looked up by the proxy."""


def parse_proxy(text: str) -> tuple[HostPort, Credentials | None]:
    """Read where a proxy is, and who we are to it.

    Raises:
        ValueError: The text has another form, or names no SOCKS5 proxy.
    """
    url = urlsplit(text)
    if url.scheme not in SCHEMES or url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError("a proxy is written as socks5://HOST:PORT")
    at = HostPort(url.hostname or "", url.port or PORT)
    if at.literal is None:
        at = host_port(*at, Scope.LOOPBACK)
    if url.username is None:
        return at, None
    return at, Credentials(unquote(url.username), unquote(url.password or ""))
