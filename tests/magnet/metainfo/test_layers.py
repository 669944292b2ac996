"""Which layers a torrent has; that wrong ones are refused is tested with the whole .torrent."""

from typing import Any

import pytest

from dht.bencode import BValue, encode
from magnet.errors import InvalidMetainfo
from magnet.metainfo.info import Info, parse_info
from magnet.metainfo.layers import check_layers, has_all_layers, layered_files


def tree(*files: tuple[int, bytes]) -> Info:
    entries: dict[bytes, BValue] = {
        b"%d" % number: {b"": {b"length": length, **({b"pieces root": root} if root else {})}}
        for number, (length, root) in enumerate(files)
    }
    raw: dict[bytes, BValue] = {
        b"file tree": entries,
        b"meta version": 2,
        b"name": b"t",
        b"piece length": 32_768,
    }
    return parse_info(encode(raw))


@pytest.mark.parametrize("value", [[], b"", 7])
def test_layers_that_are_no_dictionary(value: BValue, v2: dict[bytes, Any]) -> None:
    with pytest.raises(InvalidMetainfo, match="no dictionary"):
        check_layers(parse_info(encode(v2)), value)


def test_files_of_one_root_have_one_length() -> None:
    with pytest.raises(InvalidMetainfo, match="different lengths"):
        tree((40_000, b"r" * 32), (50_000, b"r" * 32))


def test_files_up_to_one_piece_have_no_layer() -> None:
    info = tree((0, b""), (1, b"a" * 32), (32_768, b"b" * 32))
    assert layered_files(info) == {}
    assert check_layers(info, {}) == {}
    assert has_all_layers(info, {})


def test_files_of_several_pieces_have_one() -> None:
    info = tree((32_769, b"a" * 32), (65_537, b"b" * 32), (65_537, b"b" * 32), (5, b"c" * 32))
    assert layered_files(info) == {b"a" * 32: 2, b"b" * 32: 3}
    assert not has_all_layers(info, {})
    assert not has_all_layers(info, {b"a" * 32: b""})
    assert has_all_layers(info, {b"a" * 32: b"", b"b" * 32: b""})


def test_v1_has_none(v1: dict[bytes, Any]) -> None:
    info = parse_info(encode(v1))
    assert layered_files(info) == {}
    assert has_all_layers(info, {})


def test_hybrid_has_those_of_its_v2_half(hybrid: dict[bytes, Any], vectors: dict[str, Any]) -> None:
    """BEP 52: of three files one has two pieces; padding has no tree."""
    directory = vectors["hybrid_directory"]
    info = parse_info(encode(hybrid))
    root = bytes.fromhex(directory["roots"]["sub/b.bin"])
    layer = bytes.fromhex("".join(directory["layer"]))
    assert layered_files(info) == {root: 2}
    assert check_layers(info, {root: layer, b"x" * 32: b""}) == {root: layer}
