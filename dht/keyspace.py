"""The 160-bit key space: ids, XOR distance, prefixes, and ids tied to an address (BEP 42).

An id is its 20 bytes, big-endian, as on the wire; distances are integers, smaller is closer. BEP 42
departs here from its own prose in two places where code, vectors and every client agree: 4 bytes
(not 8) are hashed for IPv4, and what has to match in the last byte of the id is only its low three
bits.
"""

import random
from typing import Final, NewType

import crc32c

NodeId = NewType("NodeId", bytes)
"""A node's 20-byte id. Spec: BEP 5 "Overview"."""

InfoHash = NewType("InfoHash", bytes)
"""A torrent's 20-byte key in the DHT: the SHA-1 of a v1 info dictionary, or a v2 hash cut to 20
bytes (BEP 52)."""

ID_BYTES: Final = 20
ID_BITS: Final = 160

_SECURE_MASK_IPV4: Final = 0x030F3FFF
_SECURE_MASK_IPV6: Final = 0x0103070F1F3F7FFF


def distance(a: bytes, b: bytes) -> int:
    """Return the XOR distance of two ids as an unsigned integer. Spec: BEP 5 "Overview"."""
    return int.from_bytes(a) ^ int.from_bytes(b)


def shared_prefix(a: bytes, b: bytes) -> int:
    """Return how many leading bits two ids have in common, 0 to 160."""
    return ID_BITS - distance(a, b).bit_length()


def random_id(rng: random.Random) -> NodeId:
    """Draw an id uniformly from the whole key space."""
    return NodeId(rng.randbytes(ID_BYTES))


def random_id_sharing(prefix_of: bytes, bits: int, rng: random.Random) -> NodeId:
    """Draw an id that shares exactly the first `bits` bits with `prefix_of`.

    Args:
        prefix_of: A 20-byte id.
        bits: Length of the common prefix, 0 to 160; at 160 the id itself comes back.
        rng: Where the remaining bits come from.
    """
    if bits >= ID_BITS:
        return NodeId(prefix_of)
    below = ID_BITS - bits - 1
    flipped = (int.from_bytes(prefix_of) >> below) ^ 1
    return NodeId(
        ((flipped << below) | rng.getrandbits(below or 1) % (1 << below)).to_bytes(ID_BYTES)
    )


def random_id_with_prefix(prefix_of: bytes, bits: int, rng: random.Random) -> NodeId:
    """Draw an id uniformly from those that share at least the first `bits` bits."""
    below = ID_BITS - bits
    kept = (int.from_bytes(prefix_of) >> below) << below
    return NodeId((kept | (rng.getrandbits(below) if below else 0)).to_bytes(ID_BYTES))


def secure_id(address: bytes, rng: random.Random) -> NodeId:
    """Draw an id that is valid for an external address.

    Args:
        address: 4 bytes (IPv4) or 16 bytes (IPv6).
        rng: Chooses the 139 bits that the address leaves free.

    Spec: BEP 42 "Node ID restriction".
    """
    tail = rng.randbytes(17)
    checksum = _address_checksum(address, tail[-1])
    head = ((checksum >> 8) & 0xFFFFF8) | rng.getrandbits(3)
    return NodeId(head.to_bytes(3) + tail)


def is_secure(node_id: bytes, address: bytes) -> bool:
    """Tell whether the 21 bits of an id that BEP 42 ties to an address are right for `address`.

    Args:
        node_id: 20 bytes.
        address: 4 or 16 bytes. Local addresses are exempt, but that is the caller's knowledge, not
            this function's.

    Spec: BEP 42 "Node ID restriction".
    """
    checksum = _address_checksum(address, node_id[-1])
    return int.from_bytes(node_id[:3]) >> 3 == checksum >> 11


def _address_checksum(address: bytes, last_byte: int) -> int:
    if len(address) == 4:
        masked = int.from_bytes(address) & _SECURE_MASK_IPV4 | (last_byte & 7) << 29
        return int(crc32c.crc32c(masked.to_bytes(4)))
    masked = int.from_bytes(address[:8]) & _SECURE_MASK_IPV6 | (last_byte & 7) << 61
    return int(crc32c.crc32c(masked.to_bytes(8)))
