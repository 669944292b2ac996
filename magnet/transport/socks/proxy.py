"""A SOCKS5 proxy, as the carrier of streams and of datagrams.

Spec: RFC 1928; RFC 1929.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from dht.background import open_background
from dht.contact import Endpoint, Scope, address_of, endpoint, port_of
from dht.logs import get_logger
from magnet.errors import ProxyError
from magnet.hosts import HostPort
from magnet.transport.socks.messages import (
    CHOICE_BYTES,
    REPLY_HEAD_BYTES,
    Command,
    Credentials,
    Method,
    check_verdict,
    decode_choice,
    decode_reply,
    encode_credentials,
    encode_greeting,
    encode_request,
    reply_length,
)
from magnet.transport.socks.relay import RelayedSocket
from magnet.transport.stages import CONNECTING, stage

_log = get_logger(__name__)

PROXY_TIMEOUT_S: Final = 20.0
"""Seconds until the proxy has a connection; it may have a long chain of others behind it."""

_NOBODY: Final = Endpoint(bytes(6))
"""Where our datagrams will come from is not known before."""


class SocksProxy:
    """Opens streams by way of a proxy."""

    def __init__(self, at: HostPort, credentials: Credentials | None = None) -> None:
        """Take where the proxy is; nothing is sent yet.

        Args:
            at: Its own name is looked up by this machine.
            credentials: Who we are, if it wants to know.
        """
        self._at = at
        self._credentials = credentials

    async def connect(self, to: Endpoint | HostPort) -> trio.SocketStream:
        """Open a stream.

        Args:
            to: The other party; a name is looked up by the proxy.

        Raises:
            PeerTimeout: It was not there within `PROXY_TIMEOUT_S`.
            PeerDisconnected: The proxy could not reach the other party.
            ProxyError: The proxy cannot be used.
        """
        with stage(CONNECTING, PROXY_TIMEOUT_S):
            stream, _ = await self._request(Command.CONNECT, to)
        return stream

    @asynccontextmanager
    async def open_relay(self, *, scope: Scope = Scope.GLOBAL) -> AsyncIterator[RelayedSocket]:
        """Send and receive datagrams by way of the proxy, for the time of the block.

        Args:
            scope: How far the proxy reaches; for one in front of a local network, that network.

        Raises:
            PeerTimeout: The proxy took longer than `PROXY_TIMEOUT_S`.
            PeerDisconnected: It hung up in the middle, or we can bind no socket towards it.
            ProxyError: It cannot be used, or not for datagrams.
        """
        with stage(CONNECTING, PROXY_TIMEOUT_S):
            control, sock = await self._associate(scope)
        async with control, open_background() as background:
            try:
                background.start_soon(_watch, control, sock)
                yield sock
            finally:
                sock.close()

    async def _associate(self, scope: Scope) -> tuple[trio.SocketStream, RelayedSocket]:
        """Ask for a relay; return the stream that it hangs on, and a socket that speaks to it."""
        control, bound = await self._request(Command.UDP_ASSOCIATE, _NOBODY)
        try:
            relay = _relay_endpoint(control, bound)
            return control, RelayedSocket(_bind_towards(control), relay, scope)
        except BaseException:
            await trio.aclose_forcefully(control)
            raise

    async def _request(
        self, command: Command, to: Endpoint | HostPort
    ) -> tuple[trio.SocketStream, Endpoint | HostPort]:
        """Ask for something; return the stream to the proxy, and the address in its reply."""
        stream = await self._reach()
        try:
            await self._introduce(stream)
            await stream.send_all(encode_request(command, to))
            head = await _read(stream, REPLY_HEAD_BYTES)
            rest = await _read(stream, reply_length(head) - len(head))
            return stream, decode_reply(head + rest)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _reach(self) -> trio.SocketStream:
        try:
            return await trio.open_tcp_stream(*self._at)
        except OSError as error:
            raise ProxyError("cannot be reached") from error

    async def _introduce(self, stream: trio.SocketStream) -> None:
        await stream.send_all(encode_greeting(self._credentials))
        method = decode_choice(await _read(stream, CHOICE_BYTES))
        if method is Method.NONE:
            return
        if self._credentials is None:
            raise ProxyError("wants a password")
        await stream.send_all(encode_credentials(self._credentials))
        check_verdict(await _read(stream, CHOICE_BYTES))


async def _watch(control: trio.SocketStream, sock: RelayedSocket) -> None:
    """Silence the socket when the proxy closes the stream that the association hangs on."""
    with suppress(trio.BrokenResourceError):
        while await control.receive_some():
            pass
    _log.warning("the proxy has ended the association; no more datagrams go out")
    sock.lose()


def _relay_endpoint(control: trio.SocketStream, bound: Endpoint | HostPort) -> Endpoint:
    """Return where the proxy takes datagrams: by default at the address it is known by."""
    if isinstance(bound, HostPort):
        raise ProxyError("names its relay")
    if any(address_of(bound)):
        return bound
    return endpoint(control.socket.getpeername()[0], port_of(bound))


def _bind_towards(control: trio.SocketStream) -> socket.socket:
    """Bind a UDP socket to the address from which the proxy is reached, and to no other."""
    sock = socket.socket(control.socket.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((control.socket.getsockname()[0], 0))
    except OSError:
        sock.close()
        raise
    return sock


async def _read(stream: trio.SocketStream, count: int) -> bytes:
    """Read so many bytes and no more: what follows may be the other party's."""
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            raise ProxyError("hangs up")
        data += more
    return data
