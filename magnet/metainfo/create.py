"""Info dictionaries for content of our own, of v1, v2 and both.

Content is taken as a stream of chunks of any size and hashed as it passes, so that nothing is held
but hashes: of v1 one for each piece, of v2 one for each block of 16 KiB.

Spec: BEP 3 "info dictionary"; BEP 47; BEP 52 "info dictionary", "Upgrade Path".
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from dht.bencode import BValue, encode
from magnet.metainfo.layout import BLOCK_BYTES, Fields
from magnet.metainfo.merkle import HashTree, piece_layer_height

PIECE_LENGTH_LEAST: Final = BLOCK_BYTES
PIECE_LENGTH_MOST: Final = 2**24
"""Longest piece we make: beyond 16 MiB a bad block costs too much to fetch again."""

Chunks = Iterable[bytes]
"""Content in pieces of any size, in order."""

Files = Iterable[tuple[Sequence[str], Chunks]]
"""For each file its path below the torrent's directory, and its content."""

_FILE: Final = b""
"""The key that marks a file in a v2 tree."""

_Path = tuple[bytes, ...]


class Created(NamedTuple):
    """A v2 or hybrid torrent.

    Attributes:
        raw_info: The info dictionary in canonical form.
        piece_layers: The layers that stand beside it, by pieces root.
    """

    raw_info: bytes
    piece_layers: dict[bytes, bytes]


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
    pieces = _pieces(piece_length)
    length = pieces.add(content)
    return _info(name, piece_length, length, {b"length": length, b"pieces": pieces.hashes()})


def create_directory_info(name: str, files: Files, piece_length: int) -> bytes:
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
    pieces = _pieces(piece_length)
    lengths = [(_checked_path(path), pieces.add(content)) for path, content in files]
    entries: list[BValue] = [_v1_file(path, length) for path, length in lengths]
    fields: Fields = {b"files": entries, b"pieces": pieces.hashes()}
    return _info(name, piece_length, sum(length for _, length in lengths), fields)


def create_v2(name: str, files: Files, piece_length: int, *, is_hybrid: bool = False) -> Created:
    """Make a v2 or hybrid torrent; it is one file if that is alone and has the torrent's name.

    Args:
        name: Name of the torrent.
        files: For each file its path below the torrent's directory and its bytes, in any order.
        piece_length: In bytes, a power of two from 16 KiB to 16 MiB.
        is_hybrid: Whether those who know nothing but v1 can use it too.

    Raises:
        ValueError: A name cannot be a file's, a path is empty or taken, the piece length is
            another, or there is no content.

    Spec: BEP 52 "info dictionary", "piece layers", "Upgrade Path".
    """
    pieces = _pieces(piece_length)
    ordered = sorted(((_checked_path(path), content) for path, content in files), key=itemgetter(0))
    tree: Fields = {}
    layers: dict[bytes, bytes] = {}
    lengths: list[int] = []
    stream: list[BValue] = []
    for path, content in ordered:
        if padding := pieces.missing():
            stream.append(_v1_padding(pieces.add([bytes(padding)])))
        blocks = _Parts(BLOCK_BYTES, hashlib.sha256)
        lengths.append(blocks.add(pieces.watch(content) if is_hybrid else content))
        stream.append(_v1_file(path, lengths[-1]))
        _plant(tree, path, _v2_file(lengths[-1], blocks.hashes(), piece_length, layers))
    fields: Fields = {b"file tree": tree, b"meta version": 2}
    if is_hybrid:
        is_single = [path for path, _ in ordered] == [(name.encode(),)]
        fields |= {b"length": lengths[0]} if is_single else {b"files": stream}
        fields[b"pieces"] = pieces.hashes()
    return Created(_info(name, piece_length, sum(lengths), fields), layers)


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Parts:
    """A stream of bytes, cut into parts of one length and hashed part by part."""

    def __init__(self, length: int, new_hash: Callable[[], _Hash]) -> None:
        self._length = length
        self._new_hash = new_hash
        self._hashes = bytearray()
        self._part = new_hash()
        self._filled = 0

    def add(self, content: Chunks) -> int:
        """Hash a file's content; return its length in bytes."""
        return sum(map(len, self.watch(content)))

    def watch(self, content: Chunks) -> Iterator[bytes]:
        """Hash a file's content while it passes."""
        for chunk in content:
            start = 0
            while start < len(chunk):
                start += self._fill(chunk[start : start + self._length - self._filled])
            yield chunk

    def hashes(self) -> bytes:
        """Return the hashes of all parts, the last of which may be short."""
        return bytes(self._hashes) + (self._part.digest() if self._filled else b"")

    def missing(self) -> int:
        """Return how many bytes would fill the part that is begun."""
        return -self._filled % self._length

    def _fill(self, fragment: bytes) -> int:
        self._part.update(fragment)
        self._filled += len(fragment)
        if self._filled == self._length:
            self._hashes += self._part.digest()
            self._part = self._new_hash()
            self._filled = 0
        return len(fragment)


def _pieces(piece_length: int) -> _Parts:
    """Return v1's stream of pieces."""
    power_of_two = piece_length & (piece_length - 1) == 0
    if not (PIECE_LENGTH_LEAST <= piece_length <= PIECE_LENGTH_MOST and power_of_two):
        raise ValueError(f"piece length {piece_length} is no power of two in 16 KiB to 16 MiB")
    return _Parts(piece_length, _sha1)


def _sha1() -> _Hash:
    # SHA-1 is what BEP 3 hashes pieces by, not a choice of ours.
    return hashlib.sha1(usedforsecurity=False)


def _info(name: str, piece_length: int, total: int, fields: Fields) -> bytes:
    if not total:
        raise ValueError("a torrent needs content")
    return encode({**fields, b"name": _checked_name(name), b"piece length": piece_length})


def _v1_file(path: _Path, length: int) -> Fields:
    return {b"length": length, b"path": list[BValue](path)}


def _v1_padding(length: int) -> Fields:
    """Return the file of zeros that lets the next one start a piece. Spec: BEP 47."""
    return {b"attr": b"p", **_v1_file((b".pad", b"%d" % length), length)}


def _v2_file(length: int, blocks: bytes, piece_length: int, layers: dict[bytes, bytes]) -> Fields:
    """Return what a v2 tree says of a file, and put its piece layer, if it has one, to the others.

    Args:
        length: In bytes.
        blocks: The hashes of its blocks.
        piece_length: In bytes.
        layers: Layers by pieces root.
    """
    if not length:
        return {b"length": 0}
    tree = HashTree(blocks)
    height = piece_layer_height(piece_length)
    if tree.height > height:
        layers[tree.root] = tree.level(height)
    return {b"length": length, b"pieces root": tree.root}


def _plant(tree: Fields, path: _Path, file: Fields) -> None:
    """Put a file into a v2 tree; paths come in order."""
    *directories, name = path
    for directory in directories:
        below = tree.setdefault(directory, {})
        if not isinstance(below, dict) or _FILE in below:
            raise ValueError(f"{directory.decode()!r} is a file and a directory")
        tree = below
    if name in tree:
        raise ValueError(f"two files are called {name.decode()!r}")
    tree[name] = {_FILE: file}


def _checked_path(path: Sequence[str]) -> _Path:
    if not path:
        raise ValueError("a file needs a path")
    return tuple(map(_checked_name, path))


def _checked_name(name: str) -> bytes:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file")
    return name.encode()
