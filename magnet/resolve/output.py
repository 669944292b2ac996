"""Puts a .torrent into a folder: whole or not at all, and never over somebody else's file.

`magnet.resolve.naming` says how it is called. The file is written beside its name and then renamed;
whoever looks finds the old file, the new one, or none. Whoever is killed in between finds, when the
work is taken up again, either nothing or the torrent, and knows it by its hash.

What touches the disk runs in a thread, from beginning to end, even when the caller is cancelled.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from dht.bencode import FILE_LIMITS, raw_value
from dht.errors import MalformedBencode
from magnet.errors import DiskError, InvalidMetainfo
from magnet.metainfo.info import Info, parse_info, verify_info
from magnet.metainfo.torrent import TORRENT_BYTES_MAX
from magnet.resolve.naming import DEFAULT_TEMPLATE, file_path
from magnet.uri import MagnetLink

_one_at_a_time: Final = trio.CapacityLimiter(1)
"""Held from the choice of a name until there is a file of that name, or else two torrents that are
written at once might choose the same."""


async def write_torrent(
    folder: Path, info: Info, torrent: bytes, template: str = DEFAULT_TEMPLATE
) -> Path:
    """Write a .torrent under the name that a template gives it, in a thread.

    Arguments, result and errors are those of `place_torrent`.
    """
    return await trio.to_thread.run_sync(
        place_torrent, folder, info, torrent, template, limiter=_one_at_a_time
    )


def place_torrent(
    folder: Path, info: Info, torrent: bytes, template: str = DEFAULT_TEMPLATE
) -> Path:
    """Write a .torrent under the name that a template gives it, and block meanwhile.

    If the name is taken, the hash is added to it; if it is taken by the same torrent, that is left
    as it is. Two calls at once might choose the same name.

    Args:
        folder: Where to; made if it does not exist.
        info: Gives name and hash.
        torrent: The file's content.
        template: As of `magnet.resolve.naming`.

    Returns:
        Where it is.

    Raises:
        DiskError: The folder cannot be made or the file not written.
    """
    path = folder.joinpath(*file_path(info, template))
    with _disk_errors(path):
        there = _content_of(path)
        if there is not None and _is_torrent_of(there, info.info_hash, info.info_hash_v2):
            return path
        if there not in (None, torrent):
            path = folder.joinpath(*file_path(info, template, marked=True))
        _write(path, torrent)
    return path


async def write_whole(path: Path, content: bytes) -> None:
    """Write a file such that it appears under its name only when it is complete.

    Raises:
        DiskError: It cannot be written; nothing is left behind.
    """
    with _disk_errors(path):
        await trio.to_thread.run_sync(_write, path, content)


async def read_torrent_of(path: Path, link: MagnetLink) -> Info | None:
    """Read the .torrent of a link; None if there is none at that path, going by the hash."""

    def read() -> Info | None:
        content = _content_of(path)
        if content is None or not _is_torrent_of(content, link.info_hash, link.info_hash_v2):
            return None
        try:
            return parse_info(raw_value(content, b"info", limits=FILE_LIMITS) or b"")
        except InvalidMetainfo:
            return None

    return await trio.to_thread.run_sync(read)


def _content_of(path: Path) -> bytes | None:
    """Return what a path holds; nothing at all for what is no .torrent at all; None if free."""
    try:
        with path.open("rb") as file:
            return file.read(TORRENT_BYTES_MAX)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return b""


def _is_torrent_of(content: bytes, info_hash: bytes | None, info_hash_v2: bytes | None) -> bool:
    if info_hash is None and info_hash_v2 is None:
        return False
    try:
        raw_info = raw_value(content, b"info", limits=FILE_LIMITS)
    except MalformedBencode:
        return False
    return raw_info is not None and verify_info(raw_info, info_hash, info_hash_v2).verified


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        try:
            beside.write_bytes(content)
        except FileNotFoundError:
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(str(path), error.strerror or str(error)) from error
