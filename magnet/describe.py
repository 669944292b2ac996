"""Links and torrents in words, for people, and as plain data, for programs.

Names and comments come from strangers and were cleaned when they were read; what is shown of a
tracker never includes a user name or password.
"""

from collections.abc import Sequence
from typing import Final

from magnet.metainfo.info import File, Info
from magnet.metainfo.torrent import Torrent
from magnet.uri import MagnetLink, format_magnet
from magnet.urls import without_userinfo

FILES_SHOWN_MAX: Final = 20
"""Files listed for people; programs get all of them."""

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size: int) -> str:
    """Return a number of bytes with a unit that keeps it short, such as `1.5 MiB`."""
    if size < 1_024:
        return f"{size} bytes" if size != 1 else "1 byte"
    power = min((size.bit_length() - 1) // 10, len(_UNITS))
    return f"{size / 1_024**power:.1f} {_UNITS[power - 1]}"


def content_text(info: Info) -> str:
    """Return name, size and number of files in one line."""
    files = len(_real_files(info))
    count = "1 file" if files == 1 else f"{files} files"
    return f"{info.name}: {size_text(info.total_length)} in {count}"


def hash_text(info: Info | MagnetLink) -> str:
    """Return the hashes in hexadecimal, named where there are two."""
    v1, v2 = _hex(info.info_hash), _hex(info.info_hash_v2)
    if v1 and v2:
        return f"{v1} (v1), {v2} (v2)"
    return v1 or v2 or ""


def info_as_json(info: Info) -> dict[str, object]:
    """Return what an info dictionary says: hashes, name, size in bytes, and files."""
    return {
        "info_hash": _hex(info.info_hash),
        "info_hash_v2": _hex(info.info_hash_v2),
        "name": info.name,
        "size": info.total_length,
        "files": [{"path": "/".join(it.path), "length": it.length} for it in _real_files(info)],
    }


def torrent_as_json(torrent: Torrent) -> dict[str, object]:
    """Return what a .torrent file says."""
    return {
        **info_as_json(torrent.info),
        "piece_length": torrent.info.piece_length,
        "pieces": torrent.info.piece_count,
        "private": torrent.info.private,
        "trackers": [[without_userinfo(url) for url in tier] for tier in torrent.trackers],
        "web_seeds": [without_userinfo(url) for url in torrent.web_seeds],
        "nodes": [str(it) for it in torrent.nodes],
        "comment": torrent.comment,
        "created_by": torrent.created_by,
        "creation_date": torrent.creation_date,
        "warnings": list(torrent.warnings),
    }


def link_as_json(link: MagnetLink) -> dict[str, object]:
    """Return what a magnet link says."""
    return {
        "info_hash": _hex(link.info_hash),
        "info_hash_v2": _hex(link.info_hash_v2),
        "public_key": _hex(link.public_key),
        "salt": _hex(link.salt),
        "name": link.name,
        "size": link.length,
        "trackers": [without_userinfo(url) for url in link.trackers],
        "peers": [str(it) for it in link.peers],
        "web_seeds": [without_userinfo(url) for url in link.web_seeds],
        "exact_sources": [without_userinfo(url) for url in link.exact_sources],
        "select": list(link.select),
        "uri": format_magnet(link),
        "warnings": list(link.warnings),
    }


def torrent_lines(torrent: Torrent) -> list[str]:
    """Return what a .torrent file says, for people."""
    info = torrent.info
    pieces = f"{info.piece_count} of {size_text(info.piece_length)}"
    trackers = [without_userinfo(url) for tier in torrent.trackers for url in tier]
    return [
        *_line("name", info.name),
        *_line("hash", hash_text(info)),
        *_line("size", f"{size_text(info.total_length)} ({info.total_length} bytes)"),
        *_line("pieces", pieces),
        *_line("private", "yes" if info.private else ""),
        *_lines("tracker", trackers),
        *_lines("web seed", [without_userinfo(url) for url in torrent.web_seeds]),
        *_line("comment", torrent.comment or ""),
        *_line("made by", torrent.created_by or ""),
        *file_lines(info),
        *_lines("note", torrent.warnings),
    ]


def link_lines(link: MagnetLink) -> list[str]:
    """Return what a magnet link says, for people."""
    return [
        *_line("name", link.name or ""),
        *_line("hash", hash_text(link)),
        *_line("public key", _hex(link.public_key) or ""),
        *_line("size", size_text(link.length) if link.length is not None else ""),
        *_lines("tracker", [without_userinfo(url) for url in link.trackers]),
        *_lines("peer", [str(it) for it in link.peers]),
        *_lines("web seed", [without_userinfo(url) for url in link.web_seeds]),
        *_lines("source", [without_userinfo(url) for url in link.exact_sources]),
        *_line("files", ", ".join(map(str, link.select[:FILES_SHOWN_MAX]))),
        *_lines("note", link.warnings),
    ]


def file_lines(info: Info) -> list[str]:
    """Return the files with their sizes, the first `FILES_SHOWN_MAX` of them."""
    files = _real_files(info)
    shown = [f"{'/'.join(it.path)} ({size_text(it.length)})" for it in files[:FILES_SHOWN_MAX]]
    more = len(files) - len(shown)
    return _lines("file", [*shown, f"and {more} more"] if more else shown)


def _line(label: str, text: str) -> list[str]:
    return [f"{label:>10}  {text}"] if text else []


def _lines(label: str, texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in _line(label, text)]


def _real_files(info: Info) -> list[File]:
    return [it for it in info.files if not it.is_padding]


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
