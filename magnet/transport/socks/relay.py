"""A UDP socket whose datagrams go through a proxy.

To the protocols on it, the DHT or trackers, it is a socket like others: the header of each datagram
is put on and taken off here. What does not come from the proxy is dropped. When the proxy ends the
association, the socket falls silent: nothing goes out by another way.

Spec: RFC 1928 section 7.
"""

import socket
from collections.abc import Sequence

import trio

from dht.contact import Endpoint, Scope
from dht.udp import Datagram, DatagramProtocol, UdpSocket
from magnet.errors import ProxyError
from magnet.transport.socks.messages import decode_datagram, encode_datagram


class RelayedSocket(UdpSocket):
    """A UDP socket that speaks to its proxy only; made by `SocksProxy.open_relay`.

    Attributes:
        endpoint: Where it is bound, which nobody but the proxy sees.
        family: The address family of the proxy, and of those who are spoken to.
    """

    def __init__(self, sock: socket.socket, relay: Endpoint, scope: Scope) -> None:
        """Take over a socket.

        Args:
            sock: Bound and not blocking.
            relay: Where the proxy takes datagrams.
            scope: How far the proxy reaches.
        """
        super().__init__(sock)
        self._relay = relay
        self._scope = scope
        self._lost = trio.Event()
        self._is_closed = False

    @property
    def is_unspecified(self) -> bool:
        """Always True: what address others see is not known."""
        return True

    @property
    def scope(self) -> Scope:
        """How far the proxy reaches."""
        return self._scope

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams by way of the proxy, as `UdpSocket.send` does; without it, drop them."""
        if self._is_closed or self._lost.is_set():
            return
        super().send([(encode_datagram(to, data), self._relay) for data, to in datagrams])

    async def serve(self, protocols: Sequence[DatagramProtocol]) -> None:
        """Deliver what comes by way of the proxy, until cancelled or closed."""
        await super().serve([_Unwrapped(self._relay, protocols)])

    async def wait_lost(self) -> None:
        """Wait until the proxy has ended the association; what is sent from then on is dropped."""
        await self._lost.wait()

    def close(self) -> None:
        """Close the socket, as often as one likes."""
        if not self._is_closed:
            self._is_closed = True
            super().close()

    def lose(self) -> None:
        """Say nothing more: the proxy has ended the association."""
        self._lost.set()


class _Unwrapped:
    """Takes every datagram, and hands on what was in it."""

    def __init__(self, relay: Endpoint, protocols: Sequence[DatagramProtocol]) -> None:
        self._relay = relay
        self._protocols = protocols

    def recognises(self, data: bytes) -> bool:
        """Take it."""
        return True

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        """Hand on what the proxy has relayed."""
        rest = [it for data, source in batch if (it := self._unwrap(data, source)) is not None]
        for protocol in self._protocols:
            mine = [it for it in rest if protocol.recognises(it[0])]
            rest = [it for it in rest if not protocol.recognises(it[0])]
            if mine:
                protocol.receive_batch(mine)

    def _unwrap(self, data: bytes, source: Endpoint) -> Datagram | None:
        if source != self._relay:
            return None
        try:
            return decode_datagram(data)
        except ProxyError:
            return None
