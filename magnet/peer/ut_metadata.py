"""Metadata exchange: the messages by which peers hand over an info dictionary in pieces.

A message is a small bencoded dictionary; in a `data` message the bytes of the piece follow the
dictionary directly. Where the dictionary ends is found by decoding it and in no other way, since
the piece may contain anything.

What we write has exactly the keys the BEP names, in canonical order: some clients look for the
first `ee`, others read no more than 128 bytes. What we read may have more keys, in any order.

Spec: BEP 9 "metadata extension".
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from dht import bencode
from dht.errors import MalformedBencode
from magnet.errors import RemoteProtocolError

METADATA_PIECE_BYTES: Final = 16_384
"""Length of every piece but the last. Spec: BEP 9 "metadata extension"."""

METADATA_SIZE_MAX: Final = 33_554_432
"""Largest info dictionary we ask for or serve: 32 MiB, as much as we would parse; libtorrent's
default is 4 MiB, anacrolix's 16."""

_HEAD_BYTES_MAX: Final = 1_024
"""The dictionary has to end within this: ours have at most 45 bytes, and other clients add a key or
two."""

_HEAD_LIMITS: Final = bencode.Limits(size=_HEAD_BYTES_MAX, depth=4, tokens=128)

_REQUEST, _DATA, _REJECT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class MetadataRequest:
    """The sender wants a piece. Spec: BEP 9 "request"."""

    piece: int


@dataclass(frozen=True, slots=True)
class MetadataPiece:
    """The sender gives a piece.

    Attributes:
        piece: Which one, as the sender says.
        total_size: Size of the whole info dictionary, as the sender says; None when it says nothing
            usable.
        data: The bytes of the piece.

    Spec: BEP 9 "data".
    """

    piece: int
    total_size: int | None
    data: bytes


@dataclass(frozen=True, slots=True)
class MetadataReject:
    """The sender has not got, or will not give, a piece. Spec: BEP 9 "reject"."""

    piece: int


MetadataMessage: TypeAlias = MetadataRequest | MetadataPiece | MetadataReject


def piece_count(size: int) -> int:
    """Return how many pieces metadata of `size` bytes has."""
    return -(-size // METADATA_PIECE_BYTES)


def piece_length(size: int, piece: int) -> int:
    """Return how long the piece `piece`, which must exist, of metadata of `size` bytes is."""
    return min(METADATA_PIECE_BYTES, size - piece * METADATA_PIECE_BYTES)


def encode_metadata_message(message: MetadataMessage) -> bytes:
    """Return the content of the extended message that carries `message`.

    Spec: BEP 9 "metadata extension".
    """
    if isinstance(message, MetadataRequest):
        return bencode.encode({b"msg_type": _REQUEST, b"piece": message.piece})
    if isinstance(message, MetadataReject):
        return bencode.encode({b"msg_type": _REJECT, b"piece": message.piece})
    head: dict[bytes, bencode.BValue] = {b"msg_type": _DATA, b"piece": message.piece}
    if message.total_size is not None:
        head[b"total_size"] = message.total_size
    return bencode.encode(head) + message.data


def decode_metadata_message(content: bytes) -> MetadataMessage | None:
    """Decode the content of an extended message.

    The piece is not checked against anything: it may be negative or far out of range.

    Returns:
        The message, or None for one to be ignored: its type is unknown, or its piece is no integer.

    Raises:
        RemoteProtocolError: It does not start with a bencoded dictionary.

    Spec: BEP 9 "metadata extension".
    """
    head, end = _decode_head(content)
    piece = head.get(b"piece")
    if not isinstance(piece, int):
        return None
    kind, total_size = head.get(b"msg_type"), head.get(b"total_size")
    if kind == _REQUEST:
        return MetadataRequest(piece)
    if kind == _REJECT:
        return MetadataReject(piece)
    if kind == _DATA:
        stated = total_size if isinstance(total_size, int) else None
        return MetadataPiece(piece, stated, content[end:])
    return None


def _decode_head(content: bytes) -> tuple[dict[bytes, bencode.BValue], int]:
    try:
        head, end = bencode.decode_prefix(content[:_HEAD_BYTES_MAX], _HEAD_LIMITS)
    except MalformedBencode as error:
        raise RemoteProtocolError("malformed metadata message") from error
    if not isinstance(head, dict):
        raise RemoteProtocolError("metadata message is no dictionary")
    return head, end
