"""File names from templates: what a user may mistype, and what a stranger may try."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import encode
from magnet.metainfo.info import Info, parse_info
from magnet.resolve.naming import check_template, file_path, file_paths


def info_named(name: bytes) -> Info:
    return parse_info(
        encode({b"length": 5, b"name": name, b"piece length": 16_384, b"pieces": bytes(20)})
    )


PLAIN = info_named(b"name")
assert PLAIN.info_hash is not None
HASH = PLAIN.info_hash.hex()


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("", "not a relative path"),
        ("  ", "not a relative path"),
        ("/{name}", "not a relative path"),
        ("a//b", "not a relative path"),
        ("a/", "not a relative path"),
        ("../{name}", "not a relative path"),
        ("a/./b", "not a relative path"),
        ("/".join("a" * 65), "deeper than 64"),
        ("{size}", "has {size}"),
        ("{}", "has {}"),
        ("{name", "a brace alone"),
        ("name}", "a brace alone"),
        ("{{name}}", "a brace alone"),
        ("{name!r}", "has {name!r}"),
        ("{name.__class__}", "has {name.__class__}"),
    ],
)
def test_mistyped_template_is_refused(template: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        check_template(template)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{name}", "name.torrent"),
        ("{hash}", f"{HASH}.torrent"),
        ("{hash2}", f"{HASH}.torrent"),
        ("{name} {hash}", f"name {HASH}.torrent"),
        ("by-hash/{hash}/{name}", f"by-hash/{HASH}/name.torrent"),
        ("fixed", "fixed.torrent"),
        ("a:b?/c", "a_b_/c.torrent"),
    ],
)
def test_template_is_filled(template: str, path: str) -> None:
    check_template(template)
    assert file_path(PLAIN, template) == tuple(path.split("/"))


def test_taken_name_gets_the_hash() -> None:
    assert file_path(PLAIN, "a/{name}", marked=True) == ("a", f"name.{HASH}.torrent")


@given(st.binary(min_size=1, max_size=400))
def test_no_name_leaves_its_folder(name: bytes) -> None:
    path = file_path(info_named(name), "in/{name}", marked=True)
    assert len(path) == 2
    assert path[0] == "in"
    assert path[1] not in (".", "..")
    assert "/" not in path[1]
    assert len(f".{path[1]}.part".encode()) <= 255


@pytest.mark.parametrize(
    ("template", "paths"),
    [
        ("{name}", ["name.torrent", f"name.{HASH}.torrent"]),
        (
            "{name}/{hash}",
            [f"name/{HASH}.torrent", f"name/{HASH}.{HASH}.torrent", f"name.{HASH}.torrent"],
        ),
    ],
)
def test_there_are_other_names_where_one_is_taken(template: str, paths: list[str]) -> None:
    assert ["/".join(it) for it in file_paths(PLAIN, template)] == paths
