"""What a queue of links means: lines with and without a priority, and the ladder."""

from dataclasses import replace

import pytest

from dht.bencode import encode
from dht.keyspace import ID_BYTES, InfoHash
from magnet.metainfo.info import parse_info
from magnet.resolve.queue import (
    DAILY_S,
    NewLink,
    aliases_of,
    identity_of,
    next_try_at,
    split_priority,
)
from magnet.uri import MagnetLink

HASH = "ab" * 20


@pytest.mark.parametrize(
    ("line", "priority", "uri"),
    [
        (HASH, 7, HASH),
        (f"  {HASH} ", 7, HASH),
        (f"5 {HASH}", 5, HASH),
        (f"-3\t{HASH}", -3, HASH),
        (f"+999  {HASH}", 999, HASH),
        (f"1000 {HASH}", 7, f"1000 {HASH}"),
        ("12", 7, "12"),
        ("5 ", 7, "5"),
        ("", 7, ""),
        ("1" * 40, 7, "1" * 40),
    ],
)
def test_line_may_begin_with_a_priority(line: str, priority: int, uri: str) -> None:
    assert split_priority(line, 7) == (priority, uri)


def test_ladder_is_climbed_and_then_it_is_tried_daily() -> None:
    minutes = [(next_try_at(tries, now=1e9) - 1e9) / 60 for tries in range(1, 8)]
    assert minutes == [5, 10, 20, 40, 80, DAILY_S / 60, DAILY_S / 60]


def test_links_of_one_torrent_are_the_same_however_they_are_written() -> None:
    info_hash = InfoHash(b"\1" * ID_BYTES)
    plain = MagnetLink(info_hash=info_hash)
    rich = MagnetLink(info_hash=info_hash, name="x", trackers=("udp://t.example:1/announce",))
    assert identity_of(plain) == identity_of(rich) == "01" * 20


def test_links_of_other_torrents_are_not() -> None:
    links = [
        MagnetLink(info_hash=InfoHash(b"\1" * ID_BYTES)),
        MagnetLink(info_hash_v2=b"\1" * 32),
        MagnetLink(public_key=b"\1" * 32),
        MagnetLink(public_key=b"\1" * 32, salt=b"s"),
    ]
    assert len({identity_of(it) for it in links}) == len(links)


def test_torrent_has_a_link_for_each_of_its_hashes_but_the_one_it_was_found_by() -> None:
    raw = encode({b"length": 5, b"name": b"x", b"piece length": 16_384, b"pieces": bytes(20)})
    v1 = replace(parse_info(raw), info_hash=InfoHash(b"\1" * ID_BYTES))
    hybrid = replace(v1, info_hash_v2=b"\2" * 32)
    v1_link = NewLink("01" * 20, f"magnet:?xt=urn:btih:{'01' * 20}", 5)
    v2_link = NewLink("02" * 32, f"magnet:?xt=urn:btmh:1220{'02' * 32}", 5)
    assert aliases_of(v1_link.identity, v1, 5) == []
    assert aliases_of(v1_link.identity, hybrid, 5) == [v2_link]
    assert aliases_of(v2_link.identity, hybrid, 5) == [v1_link]
    assert aliases_of("a key:", hybrid, 5) == [v1_link, v2_link]
