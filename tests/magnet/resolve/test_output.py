"""Writing a .torrent: hostile names and unwritable folders first."""

import hashlib
import os
from pathlib import Path

import pytest
import trio

from dht.bencode import encode
from dht.keyspace import InfoHash
from magnet.errors import DiskError
from magnet.metainfo.info import Info, parse_info
from magnet.resolve.output import read_torrent_of, write_torrent, write_whole
from magnet.uri import MagnetLink
from tests.magnet.resolve.cutting import cancel_after

LONGEST_NAME_BYTES = 255
"""What common file systems allow."""


def raw_named(name: bytes, pieces: bytes = bytes(20)) -> bytes:
    return encode({b"length": 5, b"name": name, b"piece length": 16_384, b"pieces": pieces})


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
    write_bytes = Path.write_bytes

    def disk_full(self: Path, data: bytes) -> int:
        write_bytes(self, data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(DiskError, match="No space left on device"):
        await write_whole(tmp_path / "name.torrent", b"torrent")
    assert names_in(tmp_path) == []


async def test_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_whole(tmp_path / "name", b"old")

    def fail(self: Path, data: bytes) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(DiskError):
            await write_whole(tmp_path / "name", b"new")
    assert await trio.Path(tmp_path / "name").read_bytes() == b"old"
    assert names_in(tmp_path) == ["name"]


async def test_cancelling_anywhere_leaves_no_partial_file(tmp_path: Path) -> None:
    """Cut at once, then after ever more steps until the write is through before that."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await write_whole(tmp_path / "name", b"whole")
    assert names_in(tmp_path) == []
    for steps in range(1, 100):
        with cancel_after(steps) as scope:
            await write_whole(tmp_path / "name", b"whole")
        assert names_in(tmp_path) in ([], ["name"])
        if not scope.cancelled_caught:
            break
    assert await trio.Path(tmp_path / "name").read_bytes() == b"whole"


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
