"""TCP, the carrier that every peer understands."""

import sys
from collections.abc import Mapping
from typing import Final

import trio
from trio.socket import AF_INET, AF_INET6, IPPROTO_IP, SOCK_STREAM

from dht.contact import Endpoint, Family, family_of, host_of, port_of
from magnet.errors import PeerDisconnected
from magnet.sources.reach import Reach
from magnet.transport.stages import CONNECTING, stage

CONNECT_TIMEOUT_S: Final = 5.0
"""Seconds for a TCP connection: time for the first packet and two repeats of it."""

_IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Option of Linux: a port is chosen when we connect and not when we bind, so that connections to
different peers can share one."""


class TcpCarrier:
    """Opens TCP connections, without detours."""

    def __init__(self, bound: Mapping[Family, Endpoint] | None = None) -> None:
        """Take from where connections are made.

        Args:
            bound: Our own address in each family that we have, such as `dht.node.Node.endpoints`:
                connections are made from there, and to nowhere that these must not lead. If None,
                from wherever the system likes, to anywhere.
        """
        self._reach = None if bound is None else Reach(bound)

    async def connect(self, to: Endpoint) -> trio.SocketStream:
        """Open a TCP connection.

        Raises:
            PeerTimeout: It was not there within `CONNECT_TIMEOUT_S`.
            PeerDisconnected: It was refused, or the peer cannot or must not be reached.
        """
        if self._reach is not None and not self._reach.allows(to):
            raise PeerDisconnected(CONNECTING, "out of our reach")
        family = AF_INET if family_of(to) is Family.IPV4 else AF_INET6
        with stage(CONNECTING, CONNECT_TIMEOUT_S):
            sock = trio.socket.socket(family, SOCK_STREAM)
            try:
                if self._reach is not None:
                    await _bind(sock, self._reach.host(family_of(to)))
                await sock.connect((host_of(to), port_of(to)))
            except BaseException:
                sock.close()
                raise
        return trio.SocketStream(sock)


async def _bind(sock: trio.socket.SocketType, host: str) -> None:
    if sys.platform == "linux":
        sock.setsockopt(IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    await sock.bind((host, 0))
