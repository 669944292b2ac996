"""Membership in the multicast group of local service discovery, on one interface.

It hears only what comes in there, sends only there and from the address it was given, and not
beyond the next router. Other programs on this machine may listen to the same group and port.

Spec: BEP 14 "Protocol"; ip(7) and ipv6(7) of Linux.
"""

import socket
import struct
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trio

from dht.contact import Endpoint, Family, Scope, endpoint, family_of, host_of, port_of, scope_of
from dht.logs import get_logger
from magnet.sources.lsd.message import DATAGRAM_BYTES_MAX, GROUPS

_log = get_logger(__name__)

_LOCAL: Final = frozenset({Scope.PRIVATE, Scope.LINK_LOCAL, Scope.LOOPBACK})

_HOPS: Final = 1
"""Networks a message reaches. libtorrent sends 32, but neighbours are in the same one."""

_PAUSE_S: Final = 1.0
"""Seconds without reading after an error, which as a rule concerns one datagram only."""

_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
"""Options of Linux that Python does not name: by default a socket hears groups that other sockets
have joined on other interfaces."""

_INTERFACES: Final = Path("/proc/net/if_inet6")
"""Where Linux lists IPv6 addresses, each in hexadecimal, with the index of its interface."""


def is_local(host: str) -> bool:
    """Tell whether there are neighbours to one of our addresses: whether it is not a global one.

    Raises:
        ValueError: It is no literal address.
    """
    return scope_of(endpoint(host, 0)) in _LOCAL


class MulticastSocket:
    """A member of the group on one interface; a context manager that leaves it.

    Attributes:
        at: Our address on the interface; the port has no meaning.
        group: The group and its port.
    """

    def __init__(self, host: str) -> None:
        """Join the group.

        Args:
            host: A literal address of ours, with a zone (`%eth0`) if it is link-local IPv6.

        Raises:
            OSError: The address is not ours, or its interface has no multicast.
            ValueError: It is no literal address.
        """
        self.at = endpoint(host, 0)
        self.group = GROUPS[family_of(self.at)]
        join = _join_ipv4 if family_of(self.at) is Family.IPV4 else _join_ipv6
        with ExitStack() as stack:
            hearing, speaking = (stack.enter_context(_udp_socket(self.at)) for _ in range(2))
            join(hearing, speaking, host)
            stack.pop_all()
        self._hearing = trio.socket.from_stdlib_socket(hearing)
        self._speaking = trio.socket.from_stdlib_socket(speaking)

    @classmethod
    def try_open(cls, host: str) -> Self | None:
        """Join the group, or return None if that cannot be done with this address."""
        try:
            return cls(host)
        except OSError as error:
            _log.info("no local discovery", host=host, error=str(error))
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hearing.close()
        self._speaking.close()

    async def receive(self) -> tuple[bytes, Endpoint]:
        """Return the next datagram and where it comes from; of a long one just enough to see it.

        Raises:
            trio.ClosedResourceError: The group was left.
        """
        while True:
            try:
                datagram, (host, port, *_) = await self._hearing.recvfrom(DATAGRAM_BYTES_MAX + 1)
            except OSError as error:
                if self._hearing.fileno() == -1:
                    raise trio.ClosedResourceError from error
                _log.debug("local discovery hears nothing", error=str(error))
                await trio.sleep(_PAUSE_S)
                continue
            return datagram, endpoint(host, port)

    async def send(self, datagram: bytes) -> None:
        """Send a datagram to the group; what goes wrong with it is not worth more than a line."""
        try:
            await self._speaking.sendto(datagram, (host_of(self.group), port_of(self.group)))
        except OSError as error:
            _log.debug("local discovery cannot send", error=str(error))


def _udp_socket(at: Endpoint) -> socket.socket:
    family = socket.AF_INET if family_of(at) is Family.IPV4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock


def _join_ipv4(hearing: socket.socket, speaking: socket.socket, host: str) -> None:
    group, interface = GROUPS[Family.IPV4], socket.inet_aton(host)
    speaking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
    speaking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
    speaking.bind((host, 0))
    hearing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        hearing.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    hearing.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group[:4] + interface)
    hearing.bind((host_of(group), port_of(group)))


def _join_ipv6(hearing: socket.socket, speaking: socket.socket, host: str) -> None:
    group, index = GROUPS[Family.IPV6], _interface_index(host)
    speaking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    speaking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
    speaking.bind((host.partition("%")[0], 0, 0, index))
    hearing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        hearing.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    membership = group[:16] + struct.pack("@I", index)
    hearing.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    hearing.bind((host_of(group), port_of(group), 0, index))


def _interface_index(host: str) -> int:
    """Return the index of the interface that has an IPv6 address.

    Raises:
        OSError: No interface has it, or this system does not say which.
    """
    address, _, zone = host.partition("%")
    if zone:
        return socket.if_nametoindex(zone)
    packed = socket.inet_pton(socket.AF_INET6, address).hex()
    for line in _INTERFACES.read_text().splitlines():
        listed, index, *_ = line.split()
        if listed == packed:
            return int(index, 16)
    raise OSError(f"no interface has the address {host}")
