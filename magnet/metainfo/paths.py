"""File names from strangers, made safe to create on any system.

Names pass through here before they are shown as paths or reach a disk. Each element of a path is
made harmless by itself, so that no combination can climb out of the download folder, and then paths
that would meet on a file system that ignores case or normalises Unicode are told apart. The rules
are the same everywhere: a torrent has the same files on every machine.

What remains for whoever writes: to follow no link, and to overwrite nothing that is not the
torrent's.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from magnet.errors import InvalidMetainfo, MetainfoFault
from magnet.text import CONTROL, INVISIBLE

ELEMENT_BYTES_MAX: Final = 240
"""Length of one element: file systems allow 255 bytes, and a partial file wants a suffix."""

PATH_BYTES_MAX: Final = 4_096
"""Length of a whole path: PATH_MAX of Linux."""

DEPTH_MAX: Final = 64
"""Elements of a path; real torrents stay under 20."""

RENAMES_MAX: Final = 500
"""Files renamed to keep them apart, as in libtorrent; honest torrents need none."""

_EXTENSION_BYTES_MAX: Final = 10
_LONE_SURROGATES: Final = range(0xDC80, 0xDD00)
"""What undecodable bytes become under `surrogateescape`."""

_TRANSLATION: Final[dict[int, str | None]] = {
    **dict.fromkeys(CONTROL | frozenset(_LONE_SURROGATES), "_"),
    **dict.fromkeys(map(ord, '/\\<>:"|?*'), "_"),
    **dict.fromkeys(INVISIBLE, None),
}

_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"]
    + [f"{device}{digit}" for device in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"]
)
"""Names that mean a device on Windows, whatever their extension."""

_SAFE: Final = "".join(chr(code) for code in range(128) if code not in _TRANSLATION)
_LAST: Final = _SAFE.replace(".", "").replace(" ", "")
_HARMLESS: Final = re.compile(
    "(?!(?i:{devices}) *(?:[.]|$))[{safe}]{{0,{most}}}[{last}]".format(
        devices="|".join(map(re.escape, filter(str.isascii, _DEVICES))),
        safe=re.escape(_SAFE),
        last=re.escape(_LAST),
        most=ELEMENT_BYTES_MAX - 1,
    ).encode()
)
"""Elements in ASCII that need no change, as nearly all do."""

Path = tuple[str, ...]


def safe_element(raw: bytes) -> str:
    """Return a harmless name for one element of a path.

    Bytes that are no UTF-8, separators, control characters and what Windows forbids become `_`;
    invisible characters, and dots and spaces at the end, go; device names get a `_` in front. What
    is empty then, as `..` is, becomes `_`.

    Args:
        raw: The element as it stands in the torrent.

    Returns:
        1 to `ELEMENT_BYTES_MAX` bytes of UTF-8; an extension survives the cut.
    """
    if _HARMLESS.fullmatch(raw):
        return raw.decode("ascii")
    text = raw.decode("utf-8", "surrogateescape").translate(_TRANSLATION).rstrip(". ")
    if text.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        text = f"_{text}"
    return _fit(text, "") or "_"


def safe_paths(paths: Sequence[Sequence[bytes]]) -> list[Path]:
    """Return harmless and distinct paths for the files of one torrent, in their order.

    A file that would meet another file, or stand where another needs a directory, gets ` (1)` and
    so on before its extension.

    Args:
        paths: For each file its elements, at least one.

    Raises:
        InvalidMetainfo: `TOO_DEEP` or `UNSAFE_PATH`: a path is too deep or too long, or too many
            would have to be renamed.
    """
    safe = [_safe_path(path) for path in paths]
    directories: dict[_Entry, int] = {}
    parents = [_directory(path[:-1], directories) for path in safe]
    taken: set[_Entry] = set(directories)
    return _distinct(safe, parents, taken)


_Entry = tuple[int, str]
"""A name in its directory: the directory's number and the folded name."""


def _safe_path(path: Sequence[bytes]) -> Path:
    if len(path) > DEPTH_MAX:
        raise InvalidMetainfo(MetainfoFault.TOO_DEEP, f"a path is deeper than {DEPTH_MAX}")
    safe = tuple(map(safe_element, path))
    if len("/".join(safe).encode()) > PATH_BYTES_MAX:
        raise InvalidMetainfo(
            MetainfoFault.UNSAFE_PATH, f"a path is longer than {PATH_BYTES_MAX} bytes"
        )
    return safe


def _directory(elements: Path, directories: dict[_Entry, int]) -> int:
    """Return the number of a directory, numbering those on the way that are new; the root is 0."""
    number = 0
    for element in elements:
        number = directories.setdefault((number, _fold(element)), len(directories) + 1)
    return number


def _distinct(paths: Sequence[Path], parents: Sequence[int], taken: set[_Entry]) -> list[Path]:
    result: list[Path] = []
    renames = 0
    for path, parent in zip(paths, parents, strict=True):
        element, attempt = path[-1], 0
        while (parent, _fold(element)) in taken:
            attempt += 1
            element = _numbered(path[-1], attempt)
        renames += attempt > 0
        if renames > RENAMES_MAX:
            raise InvalidMetainfo(
                MetainfoFault.UNSAFE_PATH, f"more than {RENAMES_MAX} paths collide"
            )
        taken.add((parent, _fold(element)))
        result.append((*path[:-1], element))
    return result


def _fold(element: str) -> str:
    """Return a form in which names are equal when some file system takes them for the same."""
    if element.isascii():
        return element.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", element).casefold())


def _numbered(element: str, number: int) -> str:
    stem, extension = _split(element)
    return _fit(stem, f" ({number}){extension}")


def _split(element: str) -> tuple[str, str]:
    """Split off an extension, dot included, if it is short enough to be one."""
    stem, dot, extension = element.rpartition(".")
    if not stem or len(f"{dot}{extension}".encode()) > _EXTENSION_BYTES_MAX:
        return element, ""
    return stem, f"{dot}{extension}"


def _fit(stem: str, tail: str) -> str:
    """Return stem and tail, the stem cut between characters so that both fit."""
    room = ELEMENT_BYTES_MAX - len(tail.encode())
    encoded = stem.encode()
    if len(encoded) <= room:
        return stem + tail
    if not tail:
        stem, tail = _split(stem)
        room -= len(tail.encode())
    return encoded[:room].decode("utf-8", "ignore").rstrip(". ") + tail
