"""Text that strangers wrote, made fit to be shown.

Names of links and torrents, comments and client names go to terminals, logs and pages. What could
move a cursor, hide a character or turn the reading direction round is taken out; what is left says
nothing about truth, and is no path (see `magnet.metainfo.paths`).
"""

from typing import Final

INVISIBLE: Final = frozenset(
    [
        *(0x061C, 0xFEFF),
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x2065),
        *range(0x2066, 0x206A),
    ]
)
"""Code points of bidirectional controls, zero-width characters, line and paragraph separators."""

CONTROL: Final = frozenset([*range(0x20), *range(0x7F, 0xA0)])
"""Code points of the C0 and C1 controls and DEL."""

_REMOVED: Final = dict.fromkeys(INVISIBLE | CONTROL)


def printable(text: str, bytes_max: int) -> str:
    """Return `text` without control and invisible characters, trimmed and cut.

    The result is a fixed point: applied to it again, the function changes nothing.

    Args:
        text: Any text; lone surrogates become U+FFFD.
        bytes_max: Where to cut, in bytes of UTF-8 and between two characters.
    """
    clean = (
        text.translate(_REMOVED).encode("utf-8", "surrogatepass").decode("utf-8", "replace").strip()
    )
    return clean.encode()[:bytes_max].decode("utf-8", "ignore").strip()


def printable_bytes(data: bytes, bytes_max: int) -> str:
    """Return `printable` of bytes that should be UTF-8; what is not becomes U+FFFD."""
    return printable(data.decode("utf-8", "replace"), bytes_max)


def is_utf8(text: bytes) -> bool:
    """Tell whether bytes are UTF-8, overlong forms not among it."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def quoted(text: str) -> str:
    """Return the beginning of `text` in quotation marks, for an error message or a warning."""
    shown = printable(text, _QUOTED_BYTES)
    return f'"{shown}"' if shown == text else f'"{shown}…"'


_QUOTED_BYTES: Final = 80
"""A message stays one line on a terminal."""
