"""How large a packet the path takes.

A connection begins with a size that every path takes, and climbs: now and then a data packet is
made longer by padding to the next of a few usual sizes, and when it is acknowledged, that is the
size of packets. What a probe carries fits into a packet of the size known to be safe; so a lost
probe is simply sent again without its padding, and no knowledge of fragments or of ICMP is needed.
A loss of a probe says nothing of congestion. Two in a row end the climb for a while.

On loopback there are larger sizes than Ethernet's to try.

Spec: RFC 8899 for the search, RFC 1191 section 7 for plateaus; BEP 29 "packet size".
"""

from collections.abc import Sequence
from typing import Final

from dht.contact import Endpoint, Scope, scope_of
from magnet.transport.utp.packet import HEADER_BYTES

PROBES_MAX: Final = 2
"""Probes lost in a row after which a size counts as too large; one may be plain bad luck."""

RAISE_S: Final = 600.0
"""Seconds after which a size that was too large is tried once more; RFC 8899's PMTU_RAISE_TIMER."""

PLATEAUS: Final = (1_280, 1_400, 1_492, 1_500)
"""Sizes of IP packets: the least of IPv6, through tunnels, PPPoE, Ethernet."""

LOOPBACK_PLATEAUS: Final = (*PLATEAUS, 5_600, 9_700, 13_800, 16_384)
"""On loopback, where a system call costs more than what it carries. The steps are what padding can
bridge."""

_OVERHEAD_V4: Final = 28
_OVERHEAD_V6: Final = 48
"""Bytes of the IP and UDP headers."""


class PathMtu:
    """The climb.

    Attributes:
        size: Bytes of a full packet with its uTP header, known to arrive.
    """

    __slots__ = ("_failures", "_higher", "_resting_until", "size")

    def __init__(self, to: Endpoint) -> None:
        """Start at the lowest size for the address family."""
        overhead = _OVERHEAD_V4 if len(to) == 6 else _OVERHEAD_V6
        is_local = scope_of(to) is Scope.LOOPBACK
        plateaus = LOOPBACK_PLATEAUS if is_local else PLATEAUS
        self.size, *higher = (plateau - overhead for plateau in plateaus)
        self._higher: Sequence[int] = higher
        self._failures = 0
        self._resting_until = float("-inf")

    @property
    def payload(self) -> int:
        """Bytes that a full packet carries."""
        return self.size - HEADER_BYTES

    def next_probe(self, *, now: float) -> int | None:
        """Return how long the next probe should be, in bytes; None if there should be none."""
        if not self._higher or now < self._resting_until:
            return None
        return self._higher[0]

    def arrived(self, size: int) -> None:
        """Note that a probe was acknowledged."""
        self.size = size
        self._higher = [it for it in self._higher if it > size]
        self._failures = 0

    def lost(self, *, now: float) -> None:
        """Note that a probe was not."""
        self._failures += 1
        if self._failures >= PROBES_MAX:
            self._failures = 0
            self._resting_until = now + RAISE_S
