"""What is asked of a router, and what it grants.

Spec: RFC 6886, section 3.3; RFC 6887, section 11.
"""

from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from dht.contact import Endpoint

LIFETIME_S: Final = 7_200
"""Seconds asked for. Spec: RFC 6886, section 3.3 (recommended)."""

RENEW_MIN_S: Final = 60.0
"""Seconds to the next renewal at least, however short the lease: routers are slow computers."""


class Transport(IntEnum):
    """A transport protocol, by its number at IANA."""

    TCP = 6
    UDP = 17


class Wish(NamedTuple):
    """What is asked for.

    Attributes:
        transport: Which of the two port spaces.
        port: Ours, 1 to 65535.
        external_port: The one that we would like outside; the router may choose another.
        lifetime_s: For how long.
    """

    transport: Transport
    port: int
    external_port: int
    lifetime_s: int = LIFETIME_S


class Lease(NamedTuple):
    """What is granted.

    Attributes:
        transport: Which of the two port spaces.
        port: Ours.
        external: Where strangers reach it.
        lifetime_s: For how long.
    """

    transport: Transport
    port: int
    external: Endpoint
    lifetime_s: int

    @property
    def renew_after_s(self) -> float:
        """Seconds after which to renew: half the lifetime. Spec: RFC 6886, section 3.3."""
        return max(self.lifetime_s / 2, RENEW_MIN_S)


class PortMapper(Protocol):
    """A way to have a port mapped.

    Attributes:
        name: Of the protocol, for people.
    """

    name: str

    async def map(self, wish: Wish) -> Lease:
        """Have a port mapped, or the lease of one renewed.

        Raises:
            MappingFailed: Nobody does it, or it was refused.
        """

    async def unmap(self, lease: Lease) -> None:
        """Give a port back.

        Raises:
            MappingFailed: Nobody took it.
        """
