"""Whom to ask: the router that the default route leads to, and our own address on the way there."""

import socket
import sys
from pathlib import Path
from typing import Final, NamedTuple

from dht.contact import Endpoint, Scope, address_of, endpoint, host_of, port_of, scope_of
from dht.errors import MappingFailed
from dht.mapping.natpmp import PORT
from dht.mapping.routes import ROUTES_BYTES_MAX, default_gateway

ROUTES: Final = Path("/proc/net/route")


class Gateway(NamedTuple):
    """A router on our network.

    Attributes:
        at: Where it takes requests of NAT-PMP and PCP.
        client: The 4 bytes of our address, as the router sees it.
    """

    at: Endpoint
    client: bytes


def find_gateway() -> Gateway:
    """Find the router.

    Raises:
        MappingFailed: There is no default route, this system does not tell it as Linux does, or no
            router is in between.
    """
    try:
        with ROUTES.open(encoding="ascii", errors="replace") as file:
            address = default_gateway(file.read(ROUTES_BYTES_MAX), sys.byteorder)
    except OSError as error:
        raise MappingFailed(f"the routes of this system cannot be read: {error}") from error
    if address is None:
        raise MappingFailed("there is no default route")
    at = Endpoint(address + PORT.to_bytes(2))
    return Gateway(at, private_address(at))


ANYWHERE: Final = endpoint("192.0.2.1", 9)
"""Where no host is, and where the same route leads as to most of the world."""


def private_address(towards: Endpoint = ANYWHERE) -> bytes:
    """Return the 4 bytes of our address towards another; connecting a UDP socket sends nothing.

    Raises:
        MappingFailed: There is no route, or our address is public: strangers need no router's help.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((host_of(towards), port_of(towards)))
        except OSError as error:
            raise MappingFailed(f"there is no route: {error.strerror}") from error
        own = endpoint(sock.getsockname()[0], 0)
    if scope_of(own) is not Scope.PRIVATE:
        raise MappingFailed("no router is in between: our address is not private")
    return address_of(own)
