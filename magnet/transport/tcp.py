"""TCP, the carrier that every peer understands."""

from typing import Final

import trio
from trio.socket import AF_INET, AF_INET6, SOCK_STREAM

from dht.contact import Endpoint, Family, family_of, host_of, port_of
from magnet.transport.stages import CONNECTING, stage

CONNECT_TIMEOUT_S: Final = 5.0
"""Seconds for a TCP connection: time for the first packet and two repeats of it."""


class TcpCarrier:
    """Opens TCP connections, without detours."""

    async def connect(self, to: Endpoint) -> trio.SocketStream:
        """Open a TCP connection.

        Raises:
            PeerTimeout: It was not there within `CONNECT_TIMEOUT_S`.
            PeerDisconnected: It was refused, or the peer cannot be reached.
        """
        family = AF_INET if family_of(to) is Family.IPV4 else AF_INET6
        with stage(CONNECTING, CONNECT_TIMEOUT_S):
            sock = trio.socket.socket(family, SOCK_STREAM)
            try:
                await sock.connect((host_of(to), port_of(to)))
            except BaseException:
                sock.close()
                raise
        return trio.SocketStream(sock)
