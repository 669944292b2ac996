"""The 68 bytes that open a conversation between peers.

The protocol's name (20 bytes), reserved bits (8), the info-hash (20) and the sender's peer id (20).
The first 48 bytes, called the opening here, are enough for the responder to answer: some initiators
hold their peer id back until it has.

Spec: BEP 3 "peer protocol"; BEP 4 for the reserved bits; BEP 20 for peer ids.
"""

from enum import IntFlag
from random import Random
from typing import Final, NamedTuple, NewType

from dht.keyspace import InfoHash
from magnet.errors import RemoteProtocolError

PROTOCOL: Final = b"\x13BitTorrent protocol"
"""The length of the protocol's name, and the name."""

OPENING_BYTES: Final = 48
"""Name, reserved bits and info-hash."""

PEER_ID_BYTES: Final = 20
HANDSHAKE_BYTES: Final = OPENING_BYTES + PEER_ID_BYTES

PEER_ID_PREFIX: Final = b"-TK0001-"
"""Client and version in the form `-XX0000-`. Spec: BEP 20 "Azureus-style"."""

PeerId = NewType("PeerId", bytes)
"""What a peer calls itself: 20 bytes, of which only the prefix means something."""

_RESERVED_BYTES: Final = 8


class Reserved(IntFlag):
    """The reserved bits as one big-endian number; bits without a name are kept and ignored.

    Spec: BEP 4 "reserved bits".
    """

    DHT = 1
    XBT_PEER_EXCHANGE = 1 << 1
    FAST = 1 << 2
    NAT_TRAVERSAL = 1 << 3
    V2_UPGRADE = 1 << 4
    EXTENSION_PROTOCOL = 0x10 << 16
    AZUREUS_MESSAGING = 0x80 << 56


class Opening(NamedTuple):
    """The first 48 bytes of a handshake.

    Attributes:
        reserved: What the sender can do.
        info_hash: Which torrent it is about; for v2 the truncated SHA-256.
    """

    reserved: Reserved
    info_hash: InfoHash


def generate_peer_id(rng: Random) -> PeerId:
    """Make a peer id: our prefix and 12 random bytes, new for every torrent, to identify nobody.

    Spec: BEP 20.
    """
    return PeerId(PEER_ID_PREFIX + rng.randbytes(PEER_ID_BYTES - len(PEER_ID_PREFIX)))


def encode_handshake(reserved: Reserved, info_hash: InfoHash, peer_id: PeerId) -> bytes:
    """Return the 68 bytes of a handshake. Spec: BEP 3 "peer protocol"."""
    return PROTOCOL + reserved.to_bytes(_RESERVED_BYTES) + info_hash + peer_id


def decode_opening(data: bytes | bytearray) -> Opening | None:
    """Read the opening from the bytes received so far.

    Args:
        data: The start of the stream, of any length; bytes after the opening are ignored.

    Returns:
        The opening, or None while bytes are missing.

    Raises:
        RemoteProtocolError: Another protocol is spoken. A single byte can be enough to tell.

    Spec: BEP 3 "peer protocol".
    """
    if not PROTOCOL.startswith(data[: len(PROTOCOL)]):
        raise RemoteProtocolError("not the BitTorrent protocol")
    if len(data) < OPENING_BYTES:
        return None
    hash_start = len(PROTOCOL) + _RESERVED_BYTES
    reserved = Reserved(int.from_bytes(data[len(PROTOCOL) : hash_start]))
    return Opening(reserved, InfoHash(bytes(data[hash_start:OPENING_BYTES])))
