"""The messages of the peer protocol, and the decoder that finds them in a stream of bytes.

On the wire a message is a four-byte length and that many bytes of body; the body is one byte of id
and a payload. An empty body is a keep-alive. All integers are unsigned and big-endian. Messages of
the same shape share a base class here: `_Signal` has no payload, `_PieceIndex` one integer,
`_BlockRange` three, `_HashMessage` a `HashRange`.

Ids this module does not know become `Unknown`, so that a newer peer is understood as far as
possible.

Spec: BEP 3 "peer protocol"; BEP 5 "BitTorrent Protocol Extension"; BEP 6; BEP 10; BEP 52 "new
messages".
"""

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from magnet.errors import RemoteProtocolError
from magnet.metainfo.merkle import HASH_BYTES

MESSAGE_BYTES_MAX: Final = 1_048_576 + 16_384
"""Longest body any connection reads: a bitfield of eight million pieces, or a block, with room to
spare. libtorrent stops at 1 MiB."""

RESOLVER_MESSAGE_BYTES_MAX: Final = 262_144
"""Longest body where only metadata is wanted: one metadata piece needs 17 KiB, the bitfield of a
million pieces 128 KiB."""

_LENGTH: Final = struct.Struct(">I")
_INDEX: Final = struct.Struct(">I")
_RANGE: Final = struct.Struct(">III")
_BLOCK_HEAD: Final = struct.Struct(">II")
_PORT: Final = struct.Struct(">H")
_HASH_RANGE: Final = struct.Struct(f">{HASH_BYTES}sIIII")


class Message(ABC):
    """Base of all messages."""

    __slots__ = ()

    @abstractmethod
    def body(self) -> bytes:
        """Return the id byte and the payload; nothing for a keep-alive."""

    def encode(self) -> bytes:
        """Return the message as it goes on the wire, length first."""
        body = self.body()
        return _LENGTH.pack(len(body)) + body


class _Known(Message):
    """A message with a known id, found through `code` when decoding."""

    __slots__ = ()
    code: ClassVar[int]

    @classmethod
    @abstractmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload.

        Raises:
            RemoteProtocolError: Its length does not fit the message.
        """

    def body(self) -> bytes:
        return bytes((self.code,)) + self.payload()

    def payload(self) -> bytes:
        """Return what follows the id byte."""
        return b""


class _Signal(_Known):
    __slots__ = ()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        _require(cls, not payload)
        return cls()


@dataclass(frozen=True, slots=True)
class _PieceIndex(_Known):
    index: int

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        _require(cls, len(payload) == _INDEX.size)
        return cls(*_INDEX.unpack(payload))

    def payload(self) -> bytes:
        return _INDEX.pack(self.index)


@dataclass(frozen=True, slots=True)
class _BlockRange(_Known):
    index: int
    begin: int
    length: int

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        _require(cls, len(payload) == _RANGE.size)
        return cls(*_RANGE.unpack(payload))

    def payload(self) -> bytes:
        return _RANGE.pack(self.index, self.begin, self.length)


@dataclass(frozen=True, slots=True)
class HashRange:
    """Which hashes of a file's tree a message is about.

    Attributes:
        pieces_root: The root of the tree, 32 bytes.
        base_layer: The level of the hashes: 0 for leaves.
        index: The first of them.
        length: How many: a power of two, of which `index` is a multiple.
        proof_layers: Levels above `base_layer` for which uncles are wanted too; those that follow
            from the hashes themselves count, but are left out.

    Spec: BEP 52 "hash request".
    """

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int

    def encode(self) -> bytes:
        """Return the 48 bytes with which every message about hashes begins."""
        counts = (self.base_layer, self.index, self.length, self.proof_layers)
        return _HASH_RANGE.pack(self.pieces_root, *counts)


@dataclass(frozen=True, slots=True)
class _HashMessage(_Known):
    range: HashRange

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        _require(cls, len(payload) == _HASH_RANGE.size)
        return cls(HashRange(*_HASH_RANGE.unpack(payload)))

    def payload(self) -> bytes:
        return self.range.encode()


@dataclass(frozen=True, slots=True)
class KeepAlive(Message):
    """Nothing to say, still here. Spec: BEP 3 "peer messages"."""

    def body(self) -> bytes:
        """Return no bytes at all: a keep-alive has no id."""
        return b""


@dataclass(frozen=True, slots=True)
class Choke(_Signal):
    """The sender will answer no requests. Spec: BEP 3 "peer messages"."""

    code = 0


@dataclass(frozen=True, slots=True)
class Unchoke(_Signal):
    """The sender will answer requests. Spec: BEP 3 "peer messages"."""

    code = 1


@dataclass(frozen=True, slots=True)
class Interested(_Signal):
    """The sender wants something we have. Spec: BEP 3 "peer messages"."""

    code = 2


@dataclass(frozen=True, slots=True)
class NotInterested(_Signal):
    """The sender wants nothing we have. Spec: BEP 3 "peer messages"."""

    code = 3


@dataclass(frozen=True, slots=True)
class Have(_PieceIndex):
    """The sender has got the piece `index`. Spec: BEP 3 "peer messages"."""

    code = 4


@dataclass(frozen=True, slots=True)
class Bitfield(_Known):
    """Which pieces the sender has; the high bit of the first byte is piece 0, spare bits are zero.

    Spec: BEP 3 "peer messages".
    """

    code = 5
    bits: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Take the payload as it is: only those who have the metadata know its length."""
        return cls(payload)

    def payload(self) -> bytes:
        """Return the bits."""
        return self.bits


@dataclass(frozen=True, slots=True)
class Request(_BlockRange):
    """The sender wants `length` bytes from offset `begin` of the piece `index`.

    Spec: BEP 3 "peer messages".
    """

    code = 6


@dataclass(frozen=True, slots=True)
class Piece(_Known):
    """The bytes of one block, from offset `begin` of the piece `index`.

    Spec: BEP 3 "peer messages".
    """

    code = 7
    index: int
    begin: int
    block: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload.

        Raises:
            RemoteProtocolError: It is too short for the two integers.
        """
        _require(cls, len(payload) >= _BLOCK_HEAD.size)
        index, begin = _BLOCK_HEAD.unpack_from(payload)
        return cls(index, begin, payload[_BLOCK_HEAD.size :])

    def payload(self) -> bytes:
        """Return index, begin, block."""
        return _BLOCK_HEAD.pack(self.index, self.begin) + self.block


@dataclass(frozen=True, slots=True)
class Cancel(_BlockRange):
    """The sender no longer wants what it requested. Spec: BEP 3 "peer messages"."""

    code = 8


@dataclass(frozen=True, slots=True)
class Port(_Known):
    """The UDP port of the sender's DHT node. Spec: BEP 5 "BitTorrent Protocol Extension"."""

    code = 9
    port: int

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload.

        Raises:
            RemoteProtocolError: It is not two bytes.
        """
        _require(cls, len(payload) == _PORT.size)
        return cls(*_PORT.unpack(payload))

    def payload(self) -> bytes:
        """Return the port as two bytes."""
        return _PORT.pack(self.port)


@dataclass(frozen=True, slots=True)
class Suggest(_PieceIndex):
    """A hint: the piece `index` would be cheap to send. Spec: BEP 6 "Suggest Piece"."""

    code = 13


@dataclass(frozen=True, slots=True)
class HaveAll(_Signal):
    """The sender has every piece. Spec: BEP 6 "Have All/Have None"."""

    code = 14


@dataclass(frozen=True, slots=True)
class HaveNone(_Signal):
    """The sender has no piece. Spec: BEP 6 "Have All/Have None"."""

    code = 15


@dataclass(frozen=True, slots=True)
class RejectRequest(_BlockRange):
    """The sender will not answer that request. Spec: BEP 6 "Reject Request"."""

    code = 16


@dataclass(frozen=True, slots=True)
class AllowedFast(_PieceIndex):
    """The sender answers requests for the piece `index` even while choking.

    Spec: BEP 6 "Allowed Fast".
    """

    code = 17


@dataclass(frozen=True, slots=True)
class Extended(_Known):
    """A message of the extension protocol.

    Attributes:
        extension_id: 0 for the extension handshake, otherwise the id that the receiver gave to an
            extension.
        content: The rest, in a form the extension defines.

    Spec: BEP 10 "extension message".
    """

    code = 20
    extension_id: int
    content: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload.

        Raises:
            RemoteProtocolError: It is empty.
        """
        _require(cls, len(payload) >= 1)
        return cls(payload[0], payload[1:])

    def payload(self) -> bytes:
        """Return the extension id and the content."""
        return bytes((self.extension_id,)) + self.content


@dataclass(frozen=True, slots=True)
class HashRequest(_HashMessage):
    """The sender wants hashes of a file's tree. Spec: BEP 52 "hash request"."""

    code = 21


@dataclass(frozen=True, slots=True)
class Hashes(_Known):
    """Hashes of a file's tree: those of the range, then their uncles, from the lowest up.

    Spec: BEP 52 "hashes".
    """

    code = 22
    range: HashRange
    hashes: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload.

        Raises:
            RemoteProtocolError: What follows the range is no whole number of hashes.
        """
        hashes = payload[_HASH_RANGE.size :]
        _require(cls, len(payload) >= _HASH_RANGE.size and not len(hashes) % HASH_BYTES)
        return cls(HashRange(*_HASH_RANGE.unpack_from(payload)), hashes)

    def payload(self) -> bytes:
        """Return the range and the hashes."""
        return self.range.encode() + self.hashes


@dataclass(frozen=True, slots=True)
class HashReject(_HashMessage):
    """The sender will not answer that hash request. Spec: BEP 52 "hash reject"."""

    code = 23


@dataclass(frozen=True, slots=True)
class Unknown(Message):
    """A message whose id we do not know; it is skipped.

    Attributes:
        code: The id.
        content: The payload as it came.
    """

    code: int
    content: bytes

    def body(self) -> bytes:
        """Return id and payload as they came."""
        return bytes((self.code,)) + self.content


_KNOWN: Final[tuple[type[_Known], ...]] = (
    *(Choke, Unchoke, Interested, NotInterested, Have, Bitfield, Request, Piece, Cancel, Port),
    *(Suggest, HaveAll, HaveNone, RejectRequest, AllowedFast, Extended),
    *(HashRequest, Hashes, HashReject),
)
_BY_CODE: Final[dict[int, type[_Known]]] = {message.code: message for message in _KNOWN}


def decode_body(body: bytes) -> Message:
    """Decode the body of one message, that is, without its length.

    Raises:
        RemoteProtocolError: The payload is too short or too long for its id.
    """
    if not body:
        return KeepAlive()
    known = _BY_CODE.get(body[0])
    return Unknown(body[0], body[1:]) if known is None else known.parse(body[1:])


class MessageDecoder:
    """Cuts a stream of bytes into messages.

    Holds the bytes of at most one unfinished message beyond what was fed; a length over the bound
    is refused as soon as its four bytes are there, so a declared length never sizes anything.
    """

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        """Start with nothing received.

        Args:
            message_bytes_max: Longest body accepted.
        """
        self._buffer = bytearray()
        self._message_bytes_max = message_bytes_max

    def feed(self, data: bytes) -> None:
        """Append bytes as they came from the stream, in portions of any size."""
        self._buffer += data

    def next_message(self) -> Message | None:
        """Take out the next complete message, or return None when more bytes are needed.

        Raises:
            RemoteProtocolError: The message is too long, or its payload does not fit its id. The
                stream cannot be read further.
        """
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._message_bytes_max:
            raise RemoteProtocolError("message too long")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return decode_body(body)


def _require(message: type[_Known], fits: bool) -> None:
    if not fits:
        raise RemoteProtocolError(f"wrong length of {message.__name__}")
