"""The info dictionary: what a torrent is, and the hashes that are its name.

`verify_info` tells whether bytes are the info dictionary that a link asked for; `parse_info` tells
what they say, or which rule they break. A v1 dictionary with keys out of order is read, since its
hash is over the bytes as they are; in v2 that is an error.

Spec: BEP 3 "info dictionary"; BEP 27; BEP 52 "info dictionary".
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from dht.bencode import FILE_LIMITS, decode, encode_trusted
from dht.errors import MalformedBencode
from dht.keyspace import ID_BYTES, InfoHash
from magnet.errors import InvalidMetainfo, MetainfoFault
from magnet.metainfo.layout import (
    BLOCK_BYTES,
    Fields,
    FileEntry,
    check_agreement,
    is_single_file,
    v1_files,
    v1_piece_count,
    v2_files,
    v2_piece_count,
)
from magnet.metainfo.paths import Path, safe_element, safe_paths
from magnet.text import is_utf8

INFO_BYTES_MAX: Final = FILE_LIMITS.size
"""Length of an info dictionary: 32 MiB, room for 1.6 million v1 pieces."""

PIECE_LENGTH_MAX: Final = 536_854_528
"""Length of a piece, as in libtorrent."""

_META_VERSION: Final = 2

PIECE_HASH_BYTES: Final = 20
V2_HASH_BYTES: Final = 32


class Version(Enum):
    """Which of the two formats an info dictionary has. Spec: BEP 52 "Upgrade Path"."""

    V1 = "v1"
    V2 = "v2"
    HYBRID = "hybrid"


class File(NamedTuple):
    """A file of a torrent.

    Attributes:
        path: Safe elements from the download folder down, so that in a torrent of several files the
            first is the torrent's name.
        length: In bytes.
        is_padding: It is zeros that exist only in the stream of pieces, never on disk. Spec: BEP
            47.
        pieces_root: Root of the file's hash tree, 32 bytes; None in v1 and for empty files. Spec:
            BEP 52.
    """

    path: Path
    length: int
    is_padding: bool = False
    pieces_root: bytes | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """What an info dictionary says, checked.

    Attributes:
        name: Safe name of the file, or of the directory that holds the files.
        version: Which format it has.
        info_hash: SHA-1 over the bytes received; None for v2 alone.
        info_hash_v2: SHA-256 over the bytes received; None for v1 alone.
        files: In the order of the torrent, padding included.
        piece_length: In bytes.
        pieces: SHA-1 hashes of the pieces, 20 bytes each; empty for v2 alone.
        piece_count: How many pieces there are.
        private: Its peers come from its tracker only: no DHT, no peer exchange. Spec: BEP 27.
        warnings: Oddities that were tolerated.
    """

    name: str
    version: Version
    info_hash: InfoHash | None
    info_hash_v2: bytes | None
    files: tuple[File, ...]
    piece_length: int
    pieces: bytes = field(repr=False)
    piece_count: int
    private: bool
    warnings: tuple[str, ...]

    @property
    def total_length(self) -> int:
        """Bytes of content, padding not counted."""
        return sum(file.length for file in self.files if not file.is_padding)


class HashCheck(NamedTuple):
    """Which of the hashes asked for an info dictionary has; None where none was asked for.

    Attributes:
        v1: The SHA-1 is the one asked for.
        v2: The SHA-256 is, or begins with, the one asked for.
    """

    v1: bool | None
    v2: bool | None

    @property
    def verified(self) -> bool:
        """A hash was asked for, and every one asked for is right: a hybrid link needs both."""
        return False not in self and True in self


def verify_info(raw_info: bytes, info_hash: bytes | None, info_hash_v2: bytes | None) -> HashCheck:
    """Check the bytes of an info dictionary against the hashes of a link.

    Args:
        raw_info: The bytes as received.
        info_hash: SHA-1, 20 bytes, or None.
        info_hash_v2: SHA-256, 32 bytes, or its first 20 bytes where only a swarm's key is known, or
            None.

    Raises:
        ValueError: A hash has another length.

    Spec: BEP 9 "metadata"; BEP 52 "infohash".
    """
    if info_hash is not None and len(info_hash) != ID_BYTES:
        raise ValueError(f"a v1 info-hash has {ID_BYTES} bytes, not {len(info_hash)}")
    if info_hash_v2 is not None and len(info_hash_v2) not in (ID_BYTES, V2_HASH_BYTES):
        raise ValueError(f"a v2 info-hash has {V2_HASH_BYTES} bytes, not {len(info_hash_v2)}")
    return HashCheck(
        None if info_hash is None else _sha1(raw_info) == info_hash,
        None if info_hash_v2 is None else _sha256(raw_info).startswith(info_hash_v2),
    )


def parse_info(raw_info: bytes) -> Info:
    """Read an info dictionary.

    Args:
        raw_info: The bencoded dictionary, exactly as received.

    Raises:
        InvalidMetainfo: It breaks a rule or passes a bound; the fault says which.

    Spec: BEP 3 "info dictionary"; BEP 52 "info dictionary".
    """
    fields = _decode(raw_info)
    version = _version(fields)
    canonical = encode_trusted(fields) == raw_info
    if not canonical and version is not Version.V1:
        raise InvalidMetainfo(
            MetainfoFault.UNSORTED, "keys of a v2 info dictionary are out of order"
        )
    name = _name(fields, raw_info)
    piece_length = _piece_length(fields, version)
    content = _content(fields, version, piece_length)
    raw_paths = _raw_paths(fields, name, content.files)
    files = _files(content.files, raw_paths, safe_element(name))
    private = fields.get(b"private")
    return Info(
        name=safe_element(name),
        version=version,
        info_hash=None if version is Version.V2 else InfoHash(_sha1(raw_info)),
        info_hash_v2=None if version is Version.V1 else _sha256(raw_info),
        files=files,
        piece_length=piece_length,
        pieces=content.pieces,
        piece_count=content.piece_count,
        private=isinstance(private, int) and private != 0,
        warnings=tuple(_warnings(canonical, raw_paths, files)),
    )


class _Content(NamedTuple):
    files: list[FileEntry]
    pieces: bytes
    piece_count: int


def _decode(raw_info: bytes) -> Fields:
    if len(raw_info) > INFO_BYTES_MAX:
        raise InvalidMetainfo(MetainfoFault.TOO_LARGE, f"info passes {INFO_BYTES_MAX} bytes")
    try:
        fields = decode(raw_info, FILE_LIMITS)
    except MalformedBencode as error:
        raise InvalidMetainfo(MetainfoFault.BAD_BENCODING, f"info: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidMetainfo(MetainfoFault.BAD_BENCODING, "info is no dictionary")
    return fields


def _version(fields: Fields) -> Version:
    version = fields.get(b"meta version")
    if version is None and b"file tree" not in fields:
        return Version.V1
    if isinstance(version, int) and version > _META_VERSION:
        raise InvalidMetainfo(
            MetainfoFault.UNSUPPORTED_VERSION, f"meta version {version} is newer than we know"
        )
    if version != _META_VERSION or b"file tree" not in fields:
        raise InvalidMetainfo(MetainfoFault.BAD_FILE, "meta version and file tree do not agree")
    return Version.HYBRID if b"pieces" in fields else Version.V2


def _name(fields: Fields, raw_info: bytes) -> bytes:
    """Return the name as received, in UTF-8 where there is a choice; the info-hash if empty."""
    preferred, name = fields.get(b"name.utf-8"), fields.get(b"name")
    if not isinstance(name, bytes):
        raise InvalidMetainfo(MetainfoFault.BAD_NAME, "name is missing or no string")
    if isinstance(preferred, bytes) and preferred and is_utf8(preferred):
        name = preferred
    return name or _sha1(raw_info).hex().encode()


def _piece_length(fields: Fields, version: Version) -> int:
    length = fields.get(b"piece length")
    if not isinstance(length, int) or not 1 <= length <= PIECE_LENGTH_MAX:
        raise InvalidMetainfo(
            MetainfoFault.BAD_PIECE_LENGTH, "piece length is missing or out of range"
        )
    if version is not Version.V1 and (length < BLOCK_BYTES or length & (length - 1)):
        raise InvalidMetainfo(
            MetainfoFault.BAD_PIECE_LENGTH, f"piece length {length} is not 2**n, n at least 14"
        )
    return length


def _content(fields: Fields, version: Version, piece_length: int) -> _Content:
    if version is Version.V2:
        files = v2_files(fields[b"file tree"])
        return _Content(files, b"", v2_piece_count(files, piece_length))
    files = v1_files(fields)
    count = v1_piece_count(files, piece_length)
    pieces = fields.get(b"pieces")
    if not isinstance(pieces, bytes) or len(pieces) != count * PIECE_HASH_BYTES:
        raise InvalidMetainfo(MetainfoFault.BAD_PIECES, f"pieces does not hold {count} hashes")
    if version is Version.HYBRID:
        tree = v2_files(fields[b"file tree"])
        check_agreement(files, tree, piece_length)
        roots = iter(tree)
        files = [
            file if file.is_padding else file._replace(pieces_root=next(roots).pieces_root)
            for file in files
        ]
    return _Content(files, pieces, count)


def _raw_paths(fields: Fields, name: bytes, files: Sequence[FileEntry]) -> list[Sequence[bytes]]:
    """Return the paths of the files that are not padding, from the download folder down."""
    if is_single_file(fields, files):
        return [(name,)]
    return [(name, *file.path) for file in files if not file.is_padding]


def _files(
    entries: Sequence[FileEntry], raw_paths: Sequence[Sequence[bytes]], directory: str
) -> tuple[File, ...]:
    paths = iter(safe_paths(raw_paths))
    return tuple(
        File(
            (directory, ".pad", str(entry.length)) if entry.is_padding else next(paths),
            entry.length,
            entry.is_padding,
            entry.pieces_root,
        )
        for entry in entries
    )


def _warnings(
    canonical: bool, raw_paths: Sequence[Sequence[bytes]], files: Sequence[File]
) -> Iterator[str]:
    if not canonical:
        yield "keys of the info dictionary are out of order"
    plain = [tuple(element.decode("utf-8", "replace") for element in path) for path in raw_paths]
    if plain != [file.path for file in files if not file.is_padding]:
        yield "names were changed to be safe"


def _sha1(data: bytes) -> bytes:
    # SHA-1 is what BEP 3 names torrents by, not a choice of ours.
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
