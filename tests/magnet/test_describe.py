import pytest

from dht.keyspace import InfoHash
from magnet.describe import (
    FILES_SHOWN_MAX,
    content_text,
    file_lines,
    hash_text,
    link_as_json,
    link_lines,
    size_text,
    torrent_lines,
)
from magnet.metainfo.create import create_directory_info, create_file_info
from magnet.metainfo.info import parse_info
from magnet.metainfo.torrent import build_torrent, parse_torrent
from magnet.uri import MagnetLink, parse_magnet

HASH = InfoHash(bytes(range(20)))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1_023, "1023 bytes"),
        (1_024, "1.0 KiB"),
        (1_536, "1.5 KiB"),
        (2**20, "1.0 MiB"),
        (2**30 * 3, "3.0 GiB"),
        (2**50, "1.0 PiB"),
        (2**63, "8192.0 PiB"),
    ],
)
def test_a_size_has_a_unit_that_keeps_it_short(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_password_in_a_tracker_is_never_shown() -> None:
    link = parse_magnet(
        f"magnet:?xt=urn:btih:{HASH.hex()}&tr=http%3A%2F%2Fu%3Asecret%40t.example%2F"
    )
    assert link.trackers == ("http://u:secret@t.example/",)
    assert "secret" not in "".join(link_lines(link))
    assert link_as_json(link)["trackers"] == ["http://t.example/"]


def test_two_hashes_are_named_and_one_is_not() -> None:
    assert hash_text(MagnetLink(info_hash=HASH)) == HASH.hex()
    both = MagnetLink(info_hash=HASH, info_hash_v2=bytes(32))
    assert hash_text(both) == f"{HASH.hex()} (v1), {'00' * 32} (v2)"
    assert hash_text(MagnetLink(public_key=bytes(32))) == ""


def test_only_so_many_files_are_listed() -> None:
    files = [((f"{number:03}",), [b"x"]) for number in range(FILES_SHOWN_MAX + 5)]
    info = parse_info(create_directory_info("many", files, 16_384))
    lines = file_lines(info)
    assert len(lines) == FILES_SHOWN_MAX + 1
    assert lines[-1].strip() == "file  and 5 more"
    assert content_text(info) == f"many: 25 bytes in {FILES_SHOWN_MAX + 5} files"


def test_a_torrent_is_told_without_what_it_does_not_say() -> None:
    raw_info = create_file_info("a.bin", [b"x" * 20_000], 16_384)
    lines = torrent_lines(parse_torrent(build_torrent(raw_info, comment="hi")))
    assert [line.split()[0] for line in lines] == [
        "name",
        "hash",
        "size",
        "pieces",
        "comment",
        "file",
    ]
