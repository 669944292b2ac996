"""Answers to peers who ask for metadata.

One `MetadataServer` stands for one torrent and is shared by its connections; each connection gets a
`MetadataSession`, which counts what it has given. A peer that asks for everything several times
over is refused from then on, so that a flood of small requests cannot draw a flood of large
answers.

Spec: BEP 9 "reject"; BEP 27 for private torrents.
"""

from typing import Final

from dht import bencode
from magnet.peer.ut_metadata import (
    METADATA_PIECE_BYTES,
    METADATA_SIZE_MAX,
    MetadataPiece,
    MetadataReject,
    MetadataRequest,
    piece_count,
)

SERVINGS_MAX: Final = 3
"""How often one connection may draw the whole metadata: once, once more after a mismatch, and once
for luck."""


class MetadataServer:
    """The info dictionary of one torrent, ready to be handed out, or the lack of it."""

    def __init__(self, raw_info: bytes | None) -> None:
        """Take the metadata.

        Args:
            raw_info: The complete info dictionary, already checked against its hash; None while it
                is unknown.

        Raises:
            MalformedBencode: `raw_info` is not bencoded.
            ValueError: `raw_info` is larger than peers accept.
        """
        self._raw_info = None if raw_info is None or _is_private(raw_info) else raw_info

    @property
    def metadata_size(self) -> int | None:
        """What to announce: bytes; None when there is nothing to give or the torrent is private."""
        return None if self._raw_info is None else len(self._raw_info)

    def open_session(self) -> "MetadataSession":
        """Return the answers for one connection."""
        return MetadataSession(self._raw_info)


class MetadataSession:
    """What one connection may draw from a `MetadataServer`.

    Attributes:
        served: Pieces given.
        rejected: Requests refused.
    """

    def __init__(self, raw_info: bytes | None) -> None:
        """Start with nothing given."""
        self._raw_info = raw_info
        self._pieces = piece_count(len(raw_info)) if raw_info is not None else 0
        self.served = 0
        self.rejected = 0

    def answer(self, request: MetadataRequest) -> MetadataPiece | MetadataReject:
        """Return the piece, or a rejection: there is no such piece, or the peer had its share.

        Spec: BEP 9 "request", "reject".
        """
        in_range = 0 <= request.piece < self._pieces
        if self._raw_info is None or not in_range or self.served >= SERVINGS_MAX * self._pieces:
            self.rejected += 1
            return MetadataReject(request.piece)
        self.served += 1
        start = request.piece * METADATA_PIECE_BYTES
        data = self._raw_info[start : start + METADATA_PIECE_BYTES]
        return MetadataPiece(request.piece, len(self._raw_info), data)


def _is_private(raw_info: bytes) -> bool:
    """Tell whether the torrent forbids handing out its metadata; any number but 0 does.

    Spec: BEP 27.
    """
    if len(raw_info) > METADATA_SIZE_MAX:
        raise ValueError(f"an info dictionary of {len(raw_info)} bytes is more than peers accept")
    private = bencode.raw_value(raw_info, b"private", limits=bencode.FILE_LIMITS)
    return private is not None and private.startswith(b"i") and private != b"i0e"
