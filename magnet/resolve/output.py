"""Puts a .torrent into a folder: whole or not at all, and never over somebody else's file.

The name is a stranger's, so it passes the same cleaning as every path of a torrent. The file is
written beside its name and then renamed; whoever looks finds the old file, the new one, or none.
"""

from pathlib import Path
from typing import Final

import trio

from magnet.errors import DiskError
from magnet.metainfo.info import Info
from magnet.metainfo.paths import safe_element

SUFFIX: Final = ".torrent"

_NAME_BYTES_MAX: Final = 200
"""Bytes of the torrent's name that go into the file name: with the hash, the suffix, and what marks
an unfinished file, that fits into 255, which is what common file systems allow."""

_one_at_a_time: Final = trio.Lock()
"""Held from the choice of a name until there is a file of that name, or else two torrents that are
written at once might choose the same."""


async def write_torrent(folder: Path, info: Info, torrent: bytes) -> Path:
    """Write a .torrent under the torrent's name, or under name and hash if that name is taken.

    Args:
        folder: Where to; made if it does not exist.
        info: Gives name and hash.
        torrent: The file's content.

    Returns:
        Where it was written.

    Raises:
        DiskError: The folder cannot be made or the file not written.
    """
    name = safe_element(info.name.encode()).encode()[:_NAME_BYTES_MAX].decode(errors="ignore")
    path = folder / f"{name}{SUFFIX}"
    async with _one_at_a_time:
        if not await _is_free_for(path, torrent):
            path = folder / f"{name}.{_hash_of(info)}{SUFFIX}"
        await write_whole(path, torrent)
    return path


async def write_whole(path: Path, content: bytes) -> None:
    """Write a file such that it appears under its name only when it is complete.

    Raises:
        DiskError: It cannot be written; nothing is left behind.
    """
    beside = trio.Path(path.with_name(f".{path.name}.part"))
    try:
        await beside.parent.mkdir(parents=True, exist_ok=True)
        try:
            await beside.write_bytes(content)
            await beside.replace(path)
        finally:
            with trio.CancelScope(shield=True):
                await beside.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(str(path), error.strerror or str(error)) from error


async def _is_free_for(path: Path, content: bytes) -> bool:
    """Tell whether a path holds nothing, or what is to be written anyway."""
    at = trio.Path(path)
    try:
        return not await at.exists() or (
            (await at.stat()).st_size == len(content) and await at.read_bytes() == content
        )
    except OSError as error:
        raise DiskError(str(path), error.strerror or str(error)) from error


def _hash_of(info: Info) -> str:
    return (info.info_hash or info.info_hash_v2 or b"").hex()[:40]
