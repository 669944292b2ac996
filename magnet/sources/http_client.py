"""Fetches what a URL names that a stranger wrote, without being led astray.

A name is resolved here and the connection made to the very address that was checked, so that the
name service cannot give one answer to the check and another to the connection; certificates are
still checked against the name. Redirects are followed by hand, each through the same checks (of the
port, too, or one would lead us to somebody's mail server), and never from the wide world to a local
address or from https to http. Everything is bounded: time, length of the body before and after it
is unpacked, and the number of redirects. No cookies are kept, no proxy is taken from the
environment, and a connection serves one request.

Spec: RFC 9110; RFC 9112.
"""

import os
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
import trio

from dht.contact import Endpoint, Family, family_of, host_of, is_global, port_of
from magnet.errors import SourceError, SourceFault
from magnet.hosts import HostPort, host_port
from magnet.sources.hostnames import HostNames
from magnet.sources.reach import Reach
from magnet.text import printable
from magnet.urls import SOURCE_SCHEMES, check_port, check_url

REDIRECTS_MAX: Final = 5
"""Redirects followed; more is a loop."""

CONNECT_TIMEOUT_S: Final = 10.0
"""Seconds for a connection, TLS included, and for each wait of a request after that."""

CLOSING_S: Final = 1.0
"""Seconds for connections to be closed at the end."""

CONNECTIONS_MAX: Final = 32
"""Connections at once for short bodies, over all servers, and as many for long ones: web servers
that take their time for a .torrent must not keep us from the trackers."""

SHORT_BYTES: Final = 1_048_576
"""Bytes of a body that count as short: whatever a tracker says, and most .torrent files."""

LONG_BODIES_MAX: Final = 4
"""Bodies that have grown longer, at the same time: in memory each takes up to thrice its length,
and a .torrent may have 32 MiB."""

WORDS_BYTES_MAX: Final = 200
"""Of an error that names what a server sent."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset([301, 302, 303, 307, 308])
_TIMEOUT: Final = httpx.Timeout(CONNECT_TIMEOUT_S)
_GZIP: Final = 16 + zlib.MAX_WBITS

Admission = Callable[[Endpoint], Awaitable[None]]
"""Waits until we may open a flow to an endpoint."""


class _Target(NamedTuple):
    """A checked URL, and its parts that matter."""

    url: str
    scheme: str
    host: HostPort

    @property
    def authority(self) -> str:
        """What goes into the `Host` header."""
        if self.host.port != _DEFAULT_PORTS[self.scheme]:
            return str(self.host)
        return f"[{self.host.host}]" if ":" in self.host.host else self.host.host

    def at(self, address: Endpoint) -> str:
        """Return the URL with an address in place of the name."""
        host = host_of(address)
        literal = f"[{host}]" if ":" in host else host
        parts = urlsplit(self.url)
        return urlunsplit(
            (self.scheme, f"{literal}:{port_of(address)}", parts.path, parts.query, "")
        )


class _Patience:
    """How long a fetch may take; while it waits for our own leave to go on, no time passes.

    Attributes:
        scope: Is cancelled when the time is over.
        asking: Called whenever a request goes out.
    """

    def __init__(self, timeout_s: float, asking: Callable[[], None]) -> None:
        self.scope = trio.CancelScope(deadline=trio.current_time() + timeout_s)
        self.asking = asking

    async def wait(self, leave: Awaitable[None]) -> None:
        left_s = self.scope.deadline - trio.current_time()
        self.scope.deadline = float("inf")
        await leave
        self.scope.deadline = trio.current_time() + left_s


class _Demand(NamedTuple):
    """What is wanted of a fetch, as the arguments of `HttpClient.get`."""

    bytes_max: int
    family: Family | None
    patience: _Patience


class HttpClient:
    """Made by `open_http_client`."""

    def __init__(
        self,
        reach: Reach,
        names: HostNames,
        admission: Admission,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Made by `open_http_client`."""
        self._reach = reach
        self._names = names
        self._admission = admission
        self._tls = tls
        self._transports: dict[Family, httpx.AsyncHTTPTransport] = {}
        self._for_short = trio.CapacityLimiter(CONNECTIONS_MAX)
        self._for_long = trio.CapacityLimiter(CONNECTIONS_MAX)
        self._long_bodies = trio.Semaphore(LONG_BODIES_MAX)

    async def get(
        self,
        url: str,
        *,
        bytes_max: int,
        timeout_s: float,
        family: Family | None = None,
        asking: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Fetch a body.

        Args:
            url: An http or https URL.
            bytes_max: How long the body may be, unpacked too.
            timeout_s: Seconds for everything but our own queues: the wait for a place among the
                connections, and for admission.
            family: The address family to go by; either if None.
            asking: Called whenever a request goes out, after our own queues.

        Raises:
            SourceError: It could not be had; the fault says why.
        """
        async with self._for_short if bytes_max <= SHORT_BYTES else self._for_long:
            patience = _Patience(timeout_s, asking)
            with patience.scope:
                return await self._follow(url, _Demand(bytes_max, family, patience))
        raise SourceError(SourceFault.TIMEOUT, f"no whole answer in {timeout_s:.0f} s")

    async def aclose(self) -> None:
        """Close what is open."""
        for transport in self._transports.values():
            await transport.aclose()

    async def _follow(self, url: str, demand: _Demand) -> bytes:
        target = self._checked(url)
        has_been_global = False
        for _ in range(REDIRECTS_MAX + 1):
            ends = await self._ends(target.host, demand.family)
            if has_been_global:
                ends = [it for it in ends if is_global(it)]
            if not ends:
                raise SourceError(SourceFault.NOT_ALLOWED, "led from the wide world to here")
            has_been_global = is_global(ends[0])
            body = await self._exchange(target, ends, demand)
            if isinstance(body, bytes):
                return body
            target = self._redirected(target, body)
        raise SourceError(SourceFault.REDIRECTS, f"more than {REDIRECTS_MAX} redirects")

    async def _ends(self, host: HostPort, family: Family | None) -> list[Endpoint]:
        found = await self._names.look_up(host)
        ends = [it for key in found if family in (None, key) for it in found[key]]
        if not ends:
            raise SourceError(SourceFault.NO_ADDRESS, f"no address of the family: {host.host}")
        return ends

    async def _exchange(
        self, target: _Target, ends: list[Endpoint], demand: _Demand
    ) -> bytes | str:
        """Ask at the first address that can be connected to; return the body or where to go."""
        *others, last = ends
        for end in others:
            try:
                return await self._ask(target, end, demand)
            except SourceError as error:
                if error.fault is not SourceFault.UNREACHABLE:
                    raise
        return await self._ask(target, last, demand)

    async def _ask(self, target: _Target, end: Endpoint, demand: _Demand) -> bytes | str:
        await demand.patience.wait(self._admission(end))
        demand.patience.asking()
        with _translated_errors():
            return await self._converse(target, end, demand.bytes_max)

    async def _converse(self, target: _Target, end: Endpoint, bytes_max: int) -> bytes | str:
        response = await self._transport(family_of(end)).handle_async_request(_request(target, end))
        length = _Length(bytes_max, self._long_bodies)
        try:
            location: str | None = response.headers.get("location")
            if response.status_code in _REDIRECTS and location is not None:
                return location
            if response.status_code != httpx.codes.OK:
                raise SourceError(SourceFault.STATUS, f"HTTP status {response.status_code}")
            return _unpacked(response, await _read(response, length), bytes_max)
        finally:
            length.release()
            await response.aclose()

    def _transport(self, family: Family) -> httpx.AsyncHTTPTransport:
        if family not in self._transports:
            tls = self._tls if self._tls is not None else _usual_authorities()
            self._transports[family] = _open_transport(self._reach.host(family), tls)
        return self._transports[family]

    def _redirected(self, source: _Target, location: str) -> _Target:
        target = self._checked(location, source.url)
        if source.scheme == "https" and target.scheme == "http":
            raise SourceError(SourceFault.INSECURE, "redirected from https to http")
        return target

    def _checked(self, url: str, base: str = "") -> _Target:
        try:
            url = urljoin(base, url)
            parts = urlsplit(url)
            scope = self._reach.scope_towards(parts.hostname or "")
            checked = check_url(url, SOURCE_SCHEMES, scope)
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
            check_port(port)
            return _Target(checked, parts.scheme, host_port(parts.hostname or "", port, scope))
        except ValueError as error:
            words = printable(str(error), WORDS_BYTES_MAX)
            raise SourceError(SourceFault.NOT_ALLOWED, f"not a URL to go to: {words}") from error


@asynccontextmanager
async def open_http_client(
    reach: Reach,
    names: HostNames,
    admission: Admission,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[HttpClient]:
    """Fetch by HTTP for the time of the block.

    Args:
        reach: Our own addresses, from which connections are made.
        names: Resolves host names.
        admission: Is waited for before every connection.
        tls: Decides on certificates; those of the usual authorities if None.
    """
    client = HttpClient(reach, names, admission, tls)
    try:
        yield client
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_S):
            await client.aclose()


@cache
def _usual_authorities() -> ssl.SSLContext:
    # Made once, and when it is needed: to read all the certificates takes a while.
    return httpx.create_ssl_context(trust_env=False)


def _open_transport(host: str, tls: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    # A connection that is kept would be used again by address, and so perhaps for another name
    # than the one its certificate was checked against.
    limits = httpx.Limits(max_connections=2 * CONNECTIONS_MAX, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits, local_address=host)


def _request(target: _Target, end: Endpoint) -> httpx.Request:
    headers = {
        "Host": target.authority,
        "User-Agent": "trackerless",
        "Accept-Encoding": "gzip",
        "Connection": "close",
    }
    extensions: dict[str, object] = {"timeout": _TIMEOUT.as_dict()}
    if target.host.literal is None:
        extensions["sni_hostname"] = target.host.host
    return httpx.Request("GET", target.at(end), headers=headers, extensions=extensions)


class _Length:
    """How long a body may become; a long one takes one of the few places for such."""

    def __init__(self, bytes_max: int, places: trio.Semaphore) -> None:
        self._bytes_max = bytes_max
        self._places = places
        self._has_place = False

    def fault(self, count: int) -> SourceError | None:
        """Return what is wrong with a body that has so many bytes by now."""
        if count > self._bytes_max:
            return _too_large(self._bytes_max)
        if count <= SHORT_BYTES or self._has_place:
            return None
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            return SourceError(SourceFault.UNREACHABLE, "too many long answers at the same time")
        self._has_place = True
        return None

    def release(self) -> None:
        """Give the place back, if there is one."""
        if self._has_place:
            self._has_place = False
            self._places.release()


async def _read(response: httpx.Response, length: _Length) -> bytes:
    body = bytearray()
    fault: SourceError | None = None
    try:
        async for chunk in response.aiter_raw():
            if fault is None:
                body += chunk
                fault = length.fault(len(body))
            if fault is not None:
                # Leaving the loop would leave unfinished generators of httpx behind. Once the
                # connection is closed, the loop ends by itself.
                await response.aclose()
    except httpx.TransportError:
        if fault is None:
            raise
    if fault is not None:
        raise fault
    return bytes(body)


def _unpacked(response: httpx.Response, body: bytes, bytes_max: int) -> bytes:
    match response.headers.get("content-encoding", "identity").lower():
        case "identity" | "":
            return body
        case "gzip" | "x-gzip":
            return _gunzipped(body, bytes_max)
    raise SourceError(SourceFault.MALFORMED, "packed in a way that was not asked for")


def _gunzipped(body: bytes, bytes_max: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        unpacked = unpacker.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise SourceError(SourceFault.MALFORMED, "not the gzip that it says") from error
    if len(unpacked) > bytes_max:
        raise _too_large(bytes_max)
    if not unpacker.eof:
        raise SourceError(SourceFault.MALFORMED, "gzip that ends too early")
    return unpacked


def _too_large(bytes_max: int) -> SourceError:
    return SourceError(SourceFault.TOO_LARGE, f"longer than {bytes_max} bytes")


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn what httpx raises into our error, with the cause in words that say what to do."""
    try:
        yield
    except httpx.TimeoutException as error:
        stage = "connection" if isinstance(error, httpx.ConnectTimeout) else "answer"
        fault = SourceFault.UNREACHABLE if stage == "connection" else SourceFault.TIMEOUT
        raise SourceError(fault, f"no {stage} in {CONNECT_TIMEOUT_S:.0f} s") from error
    except httpx.ConnectError as error:
        raise _connect_error(error) from error
    except (httpx.TransportError, httpx.InvalidURL, httpx.StreamError) as error:
        words = printable(str(error), WORDS_BYTES_MAX) or "connection broken"
        raise SourceError(SourceFault.MALFORMED, f"no proper HTTP: {words}") from error


def _connect_error(error: httpx.ConnectError) -> SourceError:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            words = f"certificate not accepted: {cause.verify_message}"
            return SourceError(SourceFault.INSECURE, words)
        if isinstance(cause, ssl.SSLError):
            return SourceError(SourceFault.INSECURE, f"no TLS: {cause.reason or cause}")
        if isinstance(cause, OSError) and cause.errno:
            return SourceError(SourceFault.UNREACHABLE, os.strerror(cause.errno).lower())
    return SourceError(SourceFault.UNREACHABLE, "cannot be connected to")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it; of several at once the first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        if isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        else:
            found = found.__cause__ or found.__context__
