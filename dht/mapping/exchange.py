"""One question to a router, and its answer; asked again until it comes, or for long enough.

Spec: RFC 6886, section 3.1 (the intervals; fewer, since a router on the same network that has not
answered the third request does not speak the protocol); RFC 6887, section 8.3.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from dht.contact import Endpoint, host_of, port_of
from dht.errors import MalformedReply, MappingFailed
from dht.mapping.pcp import MESSAGE_MAX

INTERVALS_S: Final = (0.25, 0.5, 1.0)
"""Seconds to wait after each request."""

ReplyT = TypeVar("ReplyT")


async def ask(router: Endpoint, request: bytes, read: Callable[[bytes], ReplyT | None]) -> ReplyT:
    """Ask a router, again and again until it answers.

    Args:
        router: IPv4. Datagrams from elsewhere are not seen.
        request: A datagram.
        read: Reads a datagram; raises `MalformedReply`, or returns None, if it answers something
            else.

    Raises:
        MappingFailed: It does not answer, or there is no way to it.
    """
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        try:
            await sock.connect((host_of(router), port_of(router)))
            for interval_s in INTERVALS_S:
                await sock.send(request)
                with trio.move_on_after(interval_s):
                    return await _receive(sock, read)
        except OSError as error:
            raise MappingFailed(error.strerror or str(error)) from error
    raise MappingFailed("the router does not answer")


async def _receive(sock: trio.socket.SocketType, read: Callable[[bytes], ReplyT | None]) -> ReplyT:
    while True:
        data = await sock.recv(MESSAGE_MAX)
        try:
            reply = read(data)
        except MalformedReply:
            continue
        if reply is not None:
            return reply
