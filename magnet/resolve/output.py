"""Puts a .torrent into a folder: whole or not at all, and never over somebody else's file.

`magnet.resolve.naming` says how it is called. The file is written beside its name, brought to the
disk and then renamed; whoever looks, after a loss of power too, finds the old file, the new one, or
none. Whoever is killed in between finds, when the work is taken up again, either nothing or the
torrent, and knows it by its hash.

Names are strangers' choice, so a name that cannot be used is no reason to stop: the next one is
taken. A full disk or a folder that cannot be written is.

What touches the disk runs in a thread, from beginning to end, even when the caller is cancelled.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from dht.bencode import FILE_LIMITS, raw_value
from dht.errors import MalformedBencode
from magnet.errors import DiskError, InvalidMetainfo, NameTaken
from magnet.metainfo.info import Info, parse_info, verify_info
from magnet.metainfo.torrent import TORRENT_BYTES_MAX, parse_torrent
from magnet.resolve.naming import DEFAULT_TEMPLATE, file_paths
from magnet.uri import MagnetLink

_one_at_a_time: Final = trio.CapacityLimiter(1)
"""Held from the choice of a name until there is a file of that name, or else two torrents that are
written at once might choose the same."""

_OF_THE_DISK: Final = frozenset(
    [errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EROFS]
)
"""What the system says where no other name would help."""


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

    If the name is taken or cannot be used, the next of `file_paths` is. If it is taken by the same
    torrent, that is left as it is, unless it has fewer piece layers. Two calls at once might choose
    the same name.

    Args:
        folder: Where to; made if it does not exist.
        info: Gives name and hash.
        torrent: The file's content.
        template: As of `magnet.resolve.naming`.

    Returns:
        Where it is.

    Raises:
        NameTaken: No name can be used, but others could.
        DiskError: The folder cannot be made or the file not written.
    """
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    obstacle = ""
    for number, elements in enumerate(file_paths(info, template)):
        path = folder.joinpath(*elements)
        try:
            if _place(path, info, torrent, is_ours=number > 0):
                return path
        except OSError as error:
            obstacle = error.strerror or str(error)
            if error.errno in _OF_THE_DISK:
                raise DiskError(str(path), obstacle) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DiskError(str(folder), obstacle)
    raise NameTaken(str(path), obstacle)


def _place(path: Path, info: Info, torrent: bytes, *, is_ours: bool) -> bool:
    """Have a torrent under a name, written or found there; False if another file is there.

    Args:
        path: The name.
        info: What the torrent says.
        torrent: The file's content.
        is_ours: Whether what is there is older work of ours, whatever it holds.

    Raises:
        OSError: The name cannot be used.
    """
    there = _content_of(path)
    if there is not None and _is_torrent_of(there, info.info_hash, info.info_hash_v2):
        if _layer_count(there) >= _layer_count(torrent):
            return True
    elif there not in (None, torrent) and not is_ours:
        return False
    _write(path, torrent)
    return True


async def read_torrent_of(path: Path, link: MagnetLink) -> Info | None:
    """Read the .torrent of a link; None if that path does not hold it, going by the hash."""

    def read() -> Info | None:
        try:
            content = _content_of(path)
        except OSError:
            return None
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


def _layer_count(torrent: bytes) -> int:
    """Return how many piece layers a .torrent has; fewer than none if nobody can use it."""
    try:
        return len(parse_torrent(torrent).piece_layers)
    except InvalidMetainfo:
        return -1


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, as far as its file system and its owner let us."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(str(path), error.strerror or str(error)) from error
