"""Writing a .torrent: hostile names and unwritable folders first."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from dht.bencode import encode
from dht.keyspace import InfoHash
from magnet.errors import DiskError, NameTaken
from magnet.metainfo.info import Info, parse_info
from magnet.metainfo.merkle import HashTree
from magnet.metainfo.torrent import build_torrent
from magnet.resolve.output import read_torrent_of, write_torrent
from magnet.uri import MagnetLink
from tests.magnet.resolve.cutting import cancel_after

LONGEST_NAME_BYTES = 255
"""What common file systems allow."""


def raw_named(name: bytes, pieces: bytes = bytes(20)) -> bytes:
    return encode({b"length": 5, b"name": name, b"piece length": 16_384, b"pieces": pieces})


def failing(code: int) -> Callable[[int], None]:
    """Return what stands in for `os.fsync` where it always fails."""

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def info_named(name: bytes, pieces: bytes = bytes(20)) -> Info:
    return parse_info(raw_named(name, pieces))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        b"../../etc/passwd",
        b"/etc/passwd",
        b"..",
        b".",
        b"...",
        b"",
        b"C:\\evil",
        b"CON",
        b"a\0b",
        b"line\nbreak",
        b"\x1b[31mred",
        b"not \xff UTF-8",
        "‮gnp.exe".encode(),
        "長い名前".encode() * 100,
        b"x" * 10_000,
    ],
)
async def test_file_stays_in_its_folder_under_a_harmless_name(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / "inner" / "out"
    path = await write_torrent(folder, info_named(name), b"torrent")
    assert path.parent == folder
    assert names_in(folder) == [path.name]
    assert names_in(tmp_path) == ["inner"]
    assert path.name.isprintable()
    assert path.suffix == ".torrent"
    assert len(os.fsencode(path.name)) <= LONGEST_NAME_BYTES


async def test_longest_name_still_leaves_room_for_hash_and_part(tmp_path: Path) -> None:
    name = "\U0001f9c0".encode() * 100
    await write_torrent(tmp_path, info_named(name), b"one")
    path = await write_torrent(tmp_path, info_named(name, b"\1" * 20), b"two")
    assert len(os.fsencode(f".{path.name}.part")) <= LONGEST_NAME_BYTES
    assert len(names_in(tmp_path)) == 2


async def test_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    await trio.Path(blocked).write_bytes(b"")
    with pytest.raises(DiskError) as caught:
        await write_torrent(blocked, info_named(b"name"), b"torrent")
    assert str(blocked) in caught.value.path
    assert caught.value.reason
    assert caught.value.__cause__ is not None


async def test_folder_in_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    """A folder of that name is somebody else's; the file goes beside it."""
    await trio.Path(tmp_path / "name.torrent").mkdir()
    info = info_named(b"name")
    path = await write_torrent(tmp_path, info, b"torrent")
    assert info.info_hash is not None
    assert path.name == f"name.{info.info_hash.hex()}.torrent"


async def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(DiskError, match="No space left on device"):
        await write_torrent(tmp_path, info_named(b"name"), b"torrent")
    assert names_in(tmp_path) == []


async def test_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = info_named(b"name")
    taken = await write_torrent(tmp_path, info, b"another's")
    path = await write_torrent(tmp_path, info, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EIO))
        with pytest.raises(DiskError):
            await write_torrent(tmp_path, info, b"new")
    assert await trio.Path(path).read_bytes() == b"old"
    assert sorted(names_in(tmp_path)) == sorted([taken.name, path.name])


async def test_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a loss of power leaves cannot be tried here; the order of the calls can."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        synced = os.fstat(descriptor)
        steps.append("names" if stat.S_ISDIR(synced.st_mode) else f"{synced.st_size} bytes")
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    await write_torrent(tmp_path, info_named(b"name"), b"torrent")
    assert steps == ["7 bytes", "rename", "names"]


async def test_folder_that_cannot_be_synced_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every file system can do it."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            failing(errno.EINVAL)(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await write_torrent(tmp_path, info_named(b"name"), b"torrent")
    assert names_in(tmp_path) == ["name.torrent"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EFBIG, errno.EBUSY])
async def test_file_that_the_disk_does_not_like_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing(code))
    with pytest.raises(NameTaken):
        await write_torrent(tmp_path, info_named(b"name"), b"torrent")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
async def test_disk_that_takes_nothing_is_not_the_fault_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing(code))
    with pytest.raises(DiskError) as caught:
        await write_torrent(tmp_path, info_named(b"name"), b"torrent")
    assert not isinstance(caught.value, NameTaken)


async def test_folder_that_cannot_be_written_is_not_the_fault_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EACCES))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DiskError) as caught:
        await write_torrent(tmp_path, info_named(b"name"), b"torrent")
    assert not isinstance(caught.value, NameTaken)
    assert caught.value.path == str(tmp_path)


async def test_file_in_place_of_a_folder_of_the_template_is_left_alone(tmp_path: Path) -> None:
    """The torrent's name is a stranger's, and may be that of any file in the output folder."""
    there = trio.Path(tmp_path / "README")
    await there.write_bytes(b"somebody's")
    info = info_named(b"README")
    path = await write_torrent(tmp_path, info, b"torrent", "{name}/{hash}")
    assert info.info_hash is not None
    assert path == tmp_path / f"README.{info.info_hash.hex()}.torrent"
    assert await there.read_bytes() == b"somebody's"
    assert await write_torrent(tmp_path, info, b"torrent", "{name}/{hash}") == path


async def test_file_that_cannot_be_read_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "name.torrent"
    await trio.Path(there).write_bytes(b"somebody's")
    open_file = Path.open

    def closed(self: Path, mode: str = "r") -> Any:
        if self == there:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_file(self, mode)

    monkeypatch.setattr(Path, "open", closed)
    path = await write_torrent(tmp_path, info_named(b"name"), b"torrent")
    assert path != there
    assert await read_torrent_of(there, MagnetLink(info_hash=InfoHash(bytes(20)))) is None
    monkeypatch.undo()
    assert await trio.Path(there).read_bytes() == b"somebody's"


async def test_torrent_whose_names_are_all_taken_is_told_apart(tmp_path: Path) -> None:
    info = info_named(b"name")
    assert info.info_hash is not None
    for name in ("name.torrent", f"name.{info.info_hash.hex()}.torrent"):
        await trio.Path(tmp_path / name).mkdir()
    with pytest.raises(NameTaken, match=r"name\.[0-9a-f]{40}\.torrent: Is a directory"):
        await write_torrent(tmp_path, info, b"torrent")
    assert len(names_in(tmp_path)) == 2


LAYER = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(3))
ROOT = HashTree(LAYER).root
RAW_V2 = encode(
    {
        b"file tree": {b"data": {b"": {b"length": 3 * 16_384, b"pieces root": ROOT}}},
        b"meta version": 2,
        b"name": b"data",
        b"piece length": 16_384,
    }
)


async def test_torrent_gives_way_to_a_more_complete_one_and_to_no_other(tmp_path: Path) -> None:
    info = parse_info(RAW_V2)
    bare, whole = build_torrent(RAW_V2), build_torrent(RAW_V2, piece_layers={ROOT: LAYER})
    wrong = build_torrent(RAW_V2, piece_layers={ROOT: LAYER[::-1]})
    for given, kept in [(wrong, wrong), (bare, bare), (whole, whole), (bare, whole)]:
        path = await write_torrent(tmp_path, info, given)
        assert await trio.Path(path).read_bytes() == kept
    assert names_in(tmp_path) == ["data.torrent"]


async def test_cancelling_anywhere_leaves_no_partial_file(tmp_path: Path) -> None:
    """Cut at once, then after ever more steps until the write is through before that."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await write_torrent(tmp_path, info_named(b"name"), b"whole")
    assert names_in(tmp_path) == []
    for steps in range(1, 100):
        with cancel_after(steps) as scope:
            await write_torrent(tmp_path, info_named(b"name"), b"whole")
        assert names_in(tmp_path) in ([], ["name.torrent"])
        if not scope.cancelled_caught:
            break
    assert await trio.Path(tmp_path / "name.torrent").read_bytes() == b"whole"


async def test_same_torrent_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    info, raw = info_named(b"name"), raw_named(b"name")
    there = b"d8:announce16:http://a.example4:info" + raw + b"e"
    await trio.Path(tmp_path / "name.torrent").write_bytes(there)
    path = await write_torrent(tmp_path, info, b"d4:info" + raw + b"e")
    assert path == tmp_path / "name.torrent"
    assert names_in(tmp_path) == ["name.torrent"]
    assert await trio.Path(path).read_bytes() == there


async def test_template_may_lead_into_folders(tmp_path: Path) -> None:
    info = info_named(b"a/name")
    path = await write_torrent(tmp_path, info, b"torrent", "kept/{name}-{hash}")
    assert info.info_hash is not None
    assert path == tmp_path / "kept" / f"a_name-{info.info_hash.hex()}.torrent"
    assert await trio.Path(path).is_file()


@pytest.mark.parametrize("content", [b"", b"d4:info5:hallee", b"d4:infode", b"x", None])
async def test_another_file_is_not_taken_for_the_torrent(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "name.torrent"
    if content is not None:
        await trio.Path(path).write_bytes(content)
    assert not await read_torrent_of(path, MagnetLink(info_hash=InfoHash(bytes(20))))
    assert not await read_torrent_of(tmp_path, MagnetLink(info_hash=InfoHash(bytes(20))))
    assert not await read_torrent_of(path, MagnetLink(public_key=bytes(32)))


async def test_torrent_is_known_by_its_hash(tmp_path: Path) -> None:
    path, raw = tmp_path / "whatever", raw_named(b"name")
    await trio.Path(path).write_bytes(b"d4:info" + raw + b"e")
    info_hash = InfoHash(hashlib.sha1(raw).digest())
    assert await read_torrent_of(path, MagnetLink(info_hash=info_hash)) == info_named(b"name")
    assert not await read_torrent_of(path, MagnetLink(info_hash=info_hash, info_hash_v2=bytes(32)))


async def test_two_torrents_of_one_name_both_stay(tmp_path: Path) -> None:
    one, two = info_named(b"name"), info_named(b"name", b"\1" * 20)
    first = await write_torrent(tmp_path, one, b"one")
    second = await write_torrent(tmp_path, two, b"two")
    assert first.name == "name.torrent"
    assert two.info_hash is not None
    assert second.name == f"name.{two.info_hash.hex()}.torrent"
    assert await trio.Path(first).read_bytes() == b"one"
    assert await trio.Path(second).read_bytes() == b"two"


async def test_torrents_of_one_name_written_at_once_both_stay(tmp_path: Path) -> None:
    written: dict[Path, bytes] = {}

    async def write(number: int) -> None:
        info = info_named(b"name", bytes([number]) * 20)
        written[await write_torrent(tmp_path, info, b"%d" % number)] = b"%d" % number

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(write, number)
    assert len(written) == 10
    for path, torrent in written.items():
        assert await trio.Path(path).read_bytes() == torrent


async def test_same_torrent_again_is_the_same_file(tmp_path: Path) -> None:
    info = info_named(b"name")
    first = await write_torrent(tmp_path, info, b"torrent")
    assert await write_torrent(tmp_path, info, b"torrent") == first
    assert names_in(tmp_path) == ["name.torrent"]


async def test_better_torrent_of_the_same_hash_replaces_the_one_with_the_hash(
    tmp_path: Path,
) -> None:
    info = info_named(b"name")
    await write_torrent(tmp_path, info, b"first")
    second = await write_torrent(tmp_path, info, b"second")
    assert await write_torrent(tmp_path, info, b"third") == second
    assert await trio.Path(second).read_bytes() == b"third"
