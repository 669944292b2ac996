"""The packets of uTP on the wire: a header of twenty bytes, extensions, and what they carry.

Extensions form a chain: each names the kind and the length of the next. One is understood, the
selective acknowledgement; of all others only the length is, so that whatever a later client adds
does not get in the way. This also gives a sender a way to make a packet longer without saying more,
which is how the size that a path takes is found out.

Spec: BEP 29 "header format", "Selective ACK".
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from magnet.errors import RemoteProtocolError

HEADER_BYTES: Final = 20

EXTENSIONS_MAX: Final = 16
"""Extensions of one packet: there are three kinds in the field, and padding repeats one of ours."""

PADDING_MAX: Final = EXTENSIONS_MAX * 257
"""Bytes that the longest chain adds to a packet."""

MASK_BYTES_MAX: Final = 128
"""Longest selective acknowledgement of ours: a bit for each packet that a receiver may keep."""

MICROSECONDS: Final = 0xFFFF_FFFF
"""Clocks are of 32 bits, and turn over after 71 minutes."""

_SELECTIVE_ACK: Final = 1
_PADDING: Final = 0x70


_header = Struct(">BBHIIIHH")


class PacketType(IntEnum):
    """What a packet is for; the value is its first byte, type and version in one."""

    DATA = 0x01
    FIN = 0x11
    STATE = 0x21
    RESET = 0x31
    SYN = 0x41


_TYPES: Final = {kind.value: kind for kind in PacketType}


class MalformedPacket(RemoteProtocolError):
    """A datagram that is no uTP packet of version 1."""


class Packet(NamedTuple):
    """A packet.

    Attributes:
        type: What it is for.
        connection_id: Whom it is for; see `connection`.
        timestamp: The sender's clock when it was sent, in microseconds of 32 bits.
        timestamp_difference: How late the last packet from us seemed to arrive by the sender's
            clock, in microseconds of 32 bits; 0 before there was one.
        window: Bytes that the sender has room for.
        seq: The packet's number; a STATE has that of the next packet to come.
        ack: The last number up to which the sender has everything.
        selective_ack: What it has beyond: bit n stands for `ack + 2 + n`. Zero for nothing.
        payload: What it carries.
    """

    type: PacketType
    connection_id: int
    timestamp: int
    timestamp_difference: int
    window: int
    seq: int
    ack: int
    selective_ack: int = 0
    payload: bytes = b""

    def encode(self, padding: int = 0) -> bytes:
        """Return the packet as it goes out.

        Args:
            padding: So many bytes are added that mean nothing, 2 to `PADDING_MAX`; 0 for none. Not
                together with a selective acknowledgement.
        """
        kind, extension = 0, b""
        if self.selective_ack:
            kind, extension = _SELECTIVE_ACK, _encode_mask(self.selective_ack)
        elif padding:
            kind, extension = _PADDING, _encode_padding(padding)
        header = _header.pack(
            self.type,
            kind,
            self.connection_id,
            self.timestamp,
            self.timestamp_difference,
            self.window,
            self.seq,
            self.ack,
        )
        return header + extension + self.payload


def is_utp(datagram: bytes) -> bool:
    """Tell by its first byte and its length whether a datagram may be of uTP.

    None of the five first bytes begins a bencoded dictionary, so the DHT can share the port.
    """
    return len(datagram) >= HEADER_BYTES and datagram[0] in _TYPES


def decode_packet(datagram: bytes) -> Packet:
    """Read a datagram.

    Raises:
        MalformedPacket: It is too short, of another version or of no known type, or its extensions
            run past its end or are too many.

    Spec: BEP 29 "header format".
    """
    if len(datagram) < HEADER_BYTES:
        raise MalformedPacket("uTP packet too short")
    first, extension, id, sent_at, difference, window, seq, ack = _header.unpack_from(datagram)
    kind = _TYPES.get(first)
    if kind is None:
        raise MalformedPacket("not a uTP packet of version 1")
    if not extension:
        payload = datagram[HEADER_BYTES:]
        return Packet(kind, id, sent_at, difference, window, seq, ack, 0, payload)
    mask, begin = _decode_extensions(datagram, extension)
    return Packet(kind, id, sent_at, difference, window, seq, ack, mask, datagram[begin:])


def _decode_extensions(datagram: bytes, kind: int) -> tuple[int, int]:
    """Return the selective acknowledgement, and where the payload begins."""
    mask, at = 0, HEADER_BYTES
    for _ in range(EXTENSIONS_MAX):
        following, length = datagram[at : at + 2].ljust(2, b"\0")
        end = at + 2 + length
        if end > len(datagram):
            raise MalformedPacket("uTP extension past the end")
        # The length should be a multiple of four, but libtorrent sends whatever is long enough.
        if kind == _SELECTIVE_ACK:
            mask = int.from_bytes(datagram[at + 2 : end], "little")
        if not following:
            return mask, end
        kind, at = following, end
    raise MalformedPacket("too many uTP extensions")


def _encode_mask(mask: int) -> bytes:
    length = min((mask.bit_length() + 31) // 32 * 4, MASK_BYTES_MAX)
    cut = mask & ((1 << length * 8) - 1)
    return bytes([0, length]) + cut.to_bytes(length, "little")


def _encode_padding(size: int) -> bytes:
    """Return a chain of `size` bytes in all; none of its parts may be shorter than its head."""
    chain = b""
    while size:
        part = size if size <= 257 else min(257, size - 2)
        size -= part
        chain += bytes([_PADDING if size else 0, part - 2]) + bytes(part - 2)
    return chain
