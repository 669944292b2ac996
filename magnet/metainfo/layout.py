"""The files of a torrent as its info dictionary lists them, and the rules their lengths obey.

A v1 torrent is one stream: its files laid end to end, padding files included, and cut into pieces.
A v2 torrent is a tree of files, each of which starts a piece of its own. A hybrid torrent says the
same twice, and the two must agree.

Names here are still the stranger's bytes; `magnet.metainfo.paths` makes them safe.

Spec: BEP 3 "info dictionary"; BEP 47; BEP 52 "info dictionary", "Upgrade Path".
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from dht.bencode import BValue
from magnet.errors import InvalidMetainfo, MetainfoFault
from magnet.text import is_utf8

BLOCK_BYTES: Final = 16_384
"""The unit of requests and the leaf of v2's hash trees. Spec: BEP 3, BEP 52."""

FILE_LENGTH_MAX: Final = (2**30 - 1) * BLOCK_BYTES
"""Length of one file, as in libtorrent: just under 16 TiB, so that block numbers fit 30 bits."""

TOTAL_LENGTH_MAX: Final = 2**48 - 1
"""Length of all files, padding included, as in libtorrent."""

PIECES_MAX: Final = 0x20_0000
"""Pieces of a torrent, as in libtorrent: bounds bitfields to 256 KiB."""

ROOT_BYTES: Final = 32

_BITCOMET_PADDING: Final = b"_____padding_file_"
_FILE: Final = b""
"""The key that marks a file in a v2 tree."""

Fields = dict[bytes, BValue]
"""A decoded bencoded dictionary."""


class FileEntry(NamedTuple):
    """A file as the info dictionary has it.

    Attributes:
        path: Elements as received; empty for a padding file without a path.
        length: In bytes; 0 for a symbolic link, whose target is not looked at.
        is_padding: It is zeros that exist only in the stream of pieces. Spec: BEP 47.
        pieces_root: Root of the file's hash tree, 32 bytes; None in v1 and for empty files.
    """

    path: tuple[bytes, ...]
    length: int
    is_padding: bool = False
    pieces_root: bytes | None = None


def is_single_file(info: Fields, files: Sequence[FileEntry]) -> bool:
    """Tell whether a torrent is one file, named by `name`, and not a directory of that name.

    Spec: BEP 3 "info dictionary", `name`; BEP 52 "info dictionary", `name`.
    """
    if b"pieces" in info:
        return b"length" in info
    return len(files) == 1 and files[0].path == (info[b"name"],)


def v1_files(info: Fields) -> list[FileEntry]:
    """Read `length` or `files`.

    Args:
        info: A v1 or hybrid info dictionary whose `name` is a string.

    Returns:
        The files in the order of the stream; the path of a single file is the torrent's name.

    Raises:
        InvalidMetainfo: `BAD_FILE`.

    Spec: BEP 3 "info dictionary".
    """
    match info:
        case {b"length": _, b"files": _}:
            raise _bad_file("both length and files")
        case {b"length": length, b"name": bytes(name)}:
            return [FileEntry((name,), _checked_length(length))]
        case {b"files": [*entries]} if entries:
            return [_v1_file(entry) for entry in entries]
        case _:
            raise _bad_file("no files")


def v2_files(tree: BValue) -> list[FileEntry]:
    """Read a `file tree`.

    Returns:
        The files in the order of the tree, which is that of the raw bytes of their names.

    Raises:
        InvalidMetainfo: `BAD_FILE`.

    Spec: BEP 52 "info dictionary", `file tree`.
    """
    files = [_v2_file(path, file) for path, file in _walk(tree)]
    if not files:
        raise _bad_file("no files")
    lengths: dict[bytes, int] = {}
    for file in files:
        root = file.pieces_root
        if root is not None and lengths.setdefault(root, file.length) != file.length:
            raise _bad_file("files of different lengths have the same pieces root")
    return files


def check_agreement(v1: Sequence[FileEntry], v2: Sequence[FileEntry], piece_length: int) -> None:
    """Check that both halves of a hybrid torrent describe the same files at the same places.

    Args:
        v1: Files of the stream, padding included.
        v2: Files of the tree.
        piece_length: In bytes.

    Raises:
        InvalidMetainfo: `INCONSISTENT_HYBRID`.

    Spec: BEP 52 "Upgrade Path".
    """
    real = [(file.path, file.length) for file in v1 if not file.is_padding]
    if real != [(file.path, file.length) for file in v2]:
        raise InvalidMetainfo(MetainfoFault.INCONSISTENT_HYBRID, "files differ between v1 and v2")
    offset = 0
    for file in v1:
        if file.length and not file.is_padding and offset % piece_length:
            raise InvalidMetainfo(
                MetainfoFault.INCONSISTENT_HYBRID, "a file does not start a piece"
            )
        offset += file.length


def v1_piece_count(files: Iterable[FileEntry], piece_length: int) -> int:
    """Return how many pieces the stream of files has.

    Raises:
        InvalidMetainfo: As for `v2_piece_count`.
    """
    return _piece_count([sum(file.length for file in files)], piece_length)


def v2_piece_count(files: Iterable[FileEntry], piece_length: int) -> int:
    """Return how many pieces the files have, each starting one of its own.

    Raises:
        InvalidMetainfo: `BAD_FILE` when there is no content at all, `TOO_LARGE` when there is too
            much or in too many pieces.
    """
    return _piece_count([file.length for file in files], piece_length)


def _piece_count(lengths: Sequence[int], piece_length: int) -> int:
    total = sum(lengths)
    if total == 0:
        raise _bad_file("no content")
    if total > TOTAL_LENGTH_MAX:
        raise InvalidMetainfo(MetainfoFault.TOO_LARGE, f"{total} bytes of content")
    count = sum(-(-length // piece_length) for length in lengths)
    if count > PIECES_MAX:
        raise InvalidMetainfo(MetainfoFault.TOO_LARGE, f"{count} pieces")
    return count


def _v1_file(entry: BValue) -> FileEntry:
    if not isinstance(entry, dict):
        raise _bad_file("a file is no dictionary")
    attributes = _attributes(entry)
    path = _v1_path(entry)
    is_padding = b"p" in attributes or b"".join(path[-1:]).startswith(_BITCOMET_PADDING)
    if not path and not is_padding:
        raise _bad_file("a file has no path")
    if b"l" in attributes:
        return FileEntry(path, 0)
    return FileEntry(path, _checked_length(entry.get(b"length")), is_padding)


def _v1_path(entry: Fields) -> tuple[bytes, ...]:
    preferred = _elements(entry.get(b"path.utf-8"))
    if preferred and all(map(is_utf8, preferred)):
        return preferred
    return _elements(entry.get(b"path", []))


def _elements(path: BValue | None) -> tuple[bytes, ...]:
    if path is None:
        return ()
    if not isinstance(path, list):
        raise _bad_file("a path is no list")
    elements = tuple(element for element in path if isinstance(element, bytes))
    if len(elements) != len(path):
        raise _bad_file("an element of a path is no string")
    return elements


def _walk(tree: BValue) -> Iterator[tuple[tuple[bytes, ...], Fields]]:
    """Yield the files of a tree: path, and the dictionary that describes each."""
    stack: list[tuple[tuple[bytes, ...], BValue]] = [((), tree)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            raise _bad_file("an entry of the file tree is no dictionary")
        if _FILE not in node:
            stack += [((*path, name), node[name]) for name in sorted(node, reverse=True)]
            continue
        file = node[_FILE]
        if not path or len(node) != 1 or not isinstance(file, dict):
            raise _bad_file("a file of the tree is also a directory, or the root, or no dictionary")
        yield path, file


def _v2_file(path: tuple[bytes, ...], file: Fields) -> FileEntry:
    attributes = _attributes(file)
    if b"p" in attributes:
        raise _bad_file("a padding file in the file tree")
    length = 0 if b"l" in attributes else _checked_length(file.get(b"length"))
    if length == 0:
        return FileEntry(path, 0)
    match file.get(b"pieces root"):
        case bytes(root) if len(root) == ROOT_BYTES and any(root):
            return FileEntry(path, length, pieces_root=root)
        case _:
            raise _bad_file(f"a pieces root is not {ROOT_BYTES} bytes, or all zero")


def _attributes(file: Fields) -> bytes:
    attributes = file.get(b"attr", b"")
    if not isinstance(attributes, bytes):
        raise _bad_file("attr is no string")
    return attributes


def _checked_length(length: BValue | None) -> int:
    if not isinstance(length, int) or not 0 <= length <= FILE_LENGTH_MAX:
        raise _bad_file("a length is missing, no number, negative or too large")
    return length


def _bad_file(detail: str) -> InvalidMetainfo:
    return InvalidMetainfo(MetainfoFault.BAD_FILE, detail)
