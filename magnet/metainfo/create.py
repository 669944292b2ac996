"""Info dictionaries for content of our own.

Content is taken as a stream of chunks of any size and hashed as it passes, so that nothing is held
but one piece's hash.

Spec: BEP 3 "info dictionary".
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from dht.bencode import BValue, encode
from magnet.metainfo.layout import BLOCK_BYTES

PIECE_LENGTH_LEAST: Final = BLOCK_BYTES
PIECE_LENGTH_MOST: Final = 2**24
"""Longest piece we make: beyond 16 MiB a bad block costs too much to fetch again."""

Chunks = Iterable[bytes]
"""Content in pieces of any size, in order."""


def create_file_info(name: str, content: Chunks, piece_length: int) -> bytes:
    """Make a v1 info dictionary for one file.

    Args:
        name: Name of the file.
        content: Its bytes, at least one.
        piece_length: In bytes, a power of two from 16 KiB to 16 MiB.

    Returns:
        The info dictionary in canonical form.

    Raises:
        ValueError: The name cannot be a file's, the piece length is another, or there is no
            content.

    Spec: BEP 3 "info dictionary".
    """
    pieces = _Pieces(piece_length)
    length = pieces.add(content)
    return _info(name, pieces, {b"length": length})


def create_directory_info(
    name: str, files: Iterable[tuple[Sequence[str], Chunks]], piece_length: int
) -> bytes:
    """Make a v1 info dictionary for a directory of files.

    Args:
        name: Name of the directory.
        files: For each file its path below the directory and its bytes, in the order of the
            torrent.
        piece_length: In bytes, a power of two from 16 KiB to 16 MiB.

    Returns:
        The info dictionary in canonical form.

    Raises:
        ValueError: A name cannot be a file's, a path is empty, the piece length is another, or
            there is no content.

    Spec: BEP 3 "info dictionary".
    """
    pieces = _Pieces(piece_length)
    entries: list[BValue] = []
    for path, content in files:
        elements: list[BValue] = [_checked_name(element) for element in path]
        if not elements:
            raise ValueError("a file needs a path")
        entries.append({b"length": pieces.add(content), b"path": elements})
    return _info(name, pieces, {b"files": entries})


class _Pieces:
    """A stream of bytes, hashed piece by piece."""

    def __init__(self, piece_length: int) -> None:
        power_of_two = piece_length & (piece_length - 1) == 0
        if not (PIECE_LENGTH_LEAST <= piece_length <= PIECE_LENGTH_MOST and power_of_two):
            raise ValueError(f"piece length {piece_length} is no power of two in 16 KiB to 16 MiB")
        self.length = piece_length
        self._hashes = bytearray()
        self._piece = hashlib.sha1(usedforsecurity=False)
        self._filled = 0

    def add(self, content: Chunks) -> int:
        """Hash a file's content; return its length in bytes."""
        length = 0
        for chunk in content:
            length += len(chunk)
            start = 0
            while start < len(chunk):
                start += self._fill(chunk[start : start + self.length - self._filled])
        return length

    def hashes(self) -> bytes:
        """Return the hashes of all pieces, the last of which may be short."""
        return bytes(self._hashes) + (self._piece.digest() if self._filled else b"")

    def _fill(self, part: bytes) -> int:
        self._piece.update(part)
        self._filled += len(part)
        if self._filled == self.length:
            self._hashes += self._piece.digest()
            self._piece = hashlib.sha1(usedforsecurity=False)
            self._filled = 0
        return len(part)


def _info(name: str, pieces: _Pieces, files: dict[bytes, BValue]) -> bytes:
    hashes = pieces.hashes()
    if not hashes:
        raise ValueError("a torrent needs content")
    return encode(
        {
            **files,
            b"name": _checked_name(name),
            b"piece length": pieces.length,
            b"pieces": hashes,
        }
    )


def _checked_name(name: str) -> bytes:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file")
    return name.encode()
