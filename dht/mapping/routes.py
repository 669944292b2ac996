"""The system's table of IPv4 routes, as Linux writes it in `/proc/net/route`.

Spec: the kernel's `net/ipv4/fib_trie.c`: a line of names, then a line a route; addresses are
hexadecimal, in the byte order of the machine.
"""

from typing import Final, Literal

ROUTES_BYTES_MAX: Final = 1_048_576
"""Bytes read of the table: 8,000 routes, which a home does not have."""

_UP: Final = 1
_GATEWAY: Final = 2
_FIELDS: Final = 8


def default_gateway(table: str, byteorder: Literal["little", "big"]) -> bytes | None:
    """Return the router of the best default route, 4 bytes; None if there is none.

    Args:
        table: The whole text.
        byteorder: Of the machine.
    """
    best: tuple[int, bytes] | None = None
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < _FIELDS or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        try:
            gateway, flags = int(fields[2], 16).to_bytes(4, byteorder), int(fields[3], 16)
            metric = int(fields[6])
        except (ValueError, OverflowError):
            continue
        is_usable = flags & (_UP | _GATEWAY) == _UP | _GATEWAY
        if is_usable and (best is None or metric < best[0]):
            best = metric, gateway
    return None if best is None else best[1]
