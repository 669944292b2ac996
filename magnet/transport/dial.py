"""Opens a stream to a peer: plain TCP for now."""

import os
from typing import Final

import trio
from trio.socket import AF_INET, AF_INET6, SOCK_STREAM

from dht.contact import Endpoint, Family, family_of, host_of, port_of
from magnet.errors import PeerDisconnected, PeerTimeout

CONNECT_TIMEOUT_S: Final = 5.0
"""Seconds for a TCP connection: time for the first packet and two repeats of it."""

_STAGE: Final = "connecting"


async def dial(to: Endpoint) -> trio.SocketStream:
    """Open a TCP connection.

    Raises:
        PeerTimeout: It was not there within `CONNECT_TIMEOUT_S`.
        PeerDisconnected: It was refused, or the peer cannot be reached.
    """
    sock = trio.socket.socket(AF_INET if family_of(to) is Family.IPV4 else AF_INET6, SOCK_STREAM)
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            await sock.connect((host_of(to), port_of(to)))
        return trio.SocketStream(sock)
    except BaseException as error:
        sock.close()
        if isinstance(error, trio.TooSlowError):
            raise PeerTimeout(_STAGE, CONNECT_TIMEOUT_S) from error
        if isinstance(error, OSError):
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise PeerDisconnected(_STAGE, reason) from error
        raise
