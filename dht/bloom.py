"""The filter in which a node tells how many peers it knows without naming them.

A Bloom filter of 2048 bits, in which each address sets two: what is in it can be recognised, and
counted roughly, but not listed. Filters of several nodes are joined before counting, since most
peers are in many of them. The count becomes coarser as the filter fills, and means nothing beyond
`SIZE_MAX`.

Spec: BEP 33 "Bloom filters".
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from typing import Final, Self

FILTER_BYTES: Final = 256
"""A filter on the wire. Spec: BEP 33 (m = 2048)."""

SIZE_MAX: Final = 6_000
"""Entries that can still be told from more: BEP 33 has the error reach 1 near 8,000."""

_BITS: Final = FILTER_BYTES * 8
_BITS_PER_ENTRY: Final = 2
_LOG_KEPT: Final = math.log1p(-1 / _BITS)


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """A set of addresses of which only the size is known, and that roughly.

    Attributes:
        bits: Bit i of the filter is bit i of this number.
    """

    bits: int = 0

    @classmethod
    def of(cls, addresses: Iterable[bytes]) -> Self:
        """Make the filter of addresses of 4 or 16 bytes."""
        bits = 0
        for address in addresses:
            bits |= _mask(address)
        return cls(bits)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a filter as it travels.

        Raises:
            ValueError: It has not `FILTER_BYTES`.
        """
        if len(data) != FILTER_BYTES:
            raise ValueError(f"{len(data)} bytes are no filter")
        return cls(int.from_bytes(data, "little"))

    def to_bytes(self) -> bytes:
        """Return the filter as it travels. Spec: BEP 33 (bit i is in byte i / 8, lowest first)."""
        return self.bits.to_bytes(FILTER_BYTES, "little")

    def __contains__(self, address: bytes) -> bool:
        """Tell whether an address may be in it; False is certain."""
        mask = _mask(address)
        return self.bits & mask == mask

    def __or__(self, other: Self) -> Self:
        """Return the filter of all that is in either."""
        return type(self)(self.bits | other.bits)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return not self.bits

    @property
    def size(self) -> float:
        """How many addresses it holds, roughly; 0 when empty.

        A full filter has the size of one that is almost full, 7,806; `is_saturated` tells before.

        Spec: BEP 33 "Estimating size".
        """
        if self.is_empty:
            return 0.0
        zeros = max(1, _BITS - self.bits.bit_count())
        return math.log(zeros / _BITS) / (_BITS_PER_ENTRY * _LOG_KEPT)

    @property
    def is_saturated(self) -> bool:
        """Whether it holds too much for its size to be told."""
        return self.size > SIZE_MAX

    @property
    def deviation(self) -> float:
        """The standard error of `size`, in addresses.

        Spec: Whang, Vander-Zanden and Taylor, "A linear-time probabilistic counting algorithm"
        (1990), theorem on the standard error.
        """
        load = self.size * _BITS_PER_ENTRY / _BITS
        # Close to nothing the difference would be lost to rounding, and go below zero.
        variance = _BITS * max(0.0, math.expm1(load) - load)
        return math.sqrt(variance) / _BITS_PER_ENTRY


def _mask(address: bytes) -> int:
    """Return the bits of an address. Spec: BEP 33 (the first two pairs of bytes of its SHA-1)."""
    digest = sha1(address, usedforsecurity=False).digest()
    first = (digest[0] | digest[1] << 8) % _BITS
    second = (digest[2] | digest[3] << 8) % _BITS
    return 1 << first | 1 << second
