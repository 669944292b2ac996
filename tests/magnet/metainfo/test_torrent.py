from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, encode
from dht.contact import Scope
from magnet.errors import InvalidMetainfo
from magnet.hosts import HostPort
from magnet.metainfo.merkle import padding_hash
from magnet.metainfo.torrent import TORRENT_BYTES_MAX, build_torrent, parse_torrent

Fields = dict[bytes, Any]
Build = Callable[..., bytes]


def fault_of(data: bytes) -> str:
    with pytest.raises(InvalidMetainfo) as caught:
        parse_torrent(data)
    return caught.value.fault.value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i1e",
        b"le",
        b"de",
        b"d4:infoi1ee",
        b"d4:infolee",
        b"d4:infode4:infodee",
        b"d4:infodee trailing",
        b"d4:infod4:name1:aee"[:-1],
        b"d4:infod6:lengthi03eee",
    ],
)
def test_a_file_that_is_no_torrent_is_refused(data: bytes) -> None:
    assert fault_of(data) == "bad-bencoding"


def test_a_file_that_is_too_long_is_refused() -> None:
    assert fault_of(bytes(TORRENT_BYTES_MAX + 1)) == "too-large"


def test_the_info_dictionary_is_checked(v1: Fields, torrent: Build) -> None:
    assert fault_of(torrent({**v1, b"pieces": b""})) == "bad-pieces"


def test_the_hash_is_over_the_bytes_received(v1: Fields) -> None:
    raw_info = (
        b"d" + b"".join(encode(key) + encode(v1[key]) for key in sorted(v1, reverse=True)) + b"e"
    )
    read = parse_torrent(b"d4:info" + raw_info + b"e")
    assert read.raw_info == raw_info
    assert parse_torrent(build_torrent(raw_info)).info.info_hash == read.info.info_hash


T = "http://{}.example/announce".format


@pytest.mark.parametrize(
    ("announce", "announce_list", "tiers"),
    [
        (None, None, ()),
        (T("a"), None, ((T("a"),),)),
        (T("a"), [], ((T("a"),),)),
        (T("a"), [[]], ((T("a"),),)),
        (T("a"), [[T("b"), T("a")], [T("c")]], ((T("b"), T("a")), (T("c"),))),
        (T("a"), [[T("b")]], ((T("b"),), (T("a"),))),
        (None, [T("a"), [[T("b")], "", 7, T("c")], 5], ((T("a"),), (T("b"), T("c")))),
        (None, [[T("a"), T("A"), T("a")], [T("a")]], ((T("a"),),)),
        (7, "x", ()),
        ("http://127.0.0.1/announce", [["ftp://a/", "http://a b/", "http://"]], ()),
    ],
)
def test_trackers(
    v1: Fields, announce: object, announce_list: object, tiers: tuple[tuple[str, ...], ...]
) -> None:
    fields = {b"announce": announce, b"announce-list": announce_list}
    kept = {key: as_bytes(value) for key, value in fields.items() if value is not None}
    assert parse_torrent(encode({**kept, b"info": v1})).trackers == tiers


def as_bytes(value: object) -> BValue:
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    assert isinstance(value, (str, int))
    return value.encode() if isinstance(value, str) else value


def test_too_many_trackers_are_cut_off(v1: Fields) -> None:
    tiers: BValue = [[T(f"a{i}-{j}").encode() for j in range(10)] for i in range(200)]
    read = parse_torrent(encode({b"announce-list": tiers, b"info": v1})).trackers
    assert sum(map(len, read)) == 200


def test_hints_that_cannot_be_used_are_left_out(v1: Fields) -> None:
    data = encode(
        {
            b"comment": b"a\x1b[31m\xff",
            b"created by": 7,
            b"creation date": -1,
            b"info": v1,
            b"nodes": [[b"n.example", 1], [b"n", 0], [b"10.0.0.1", 1], [7, 7], b"n", [b"\xff", 1]],
            b"url-list": [b"http://w.example/", b"", b"http://\xff/", b"gopher://w/", 5],
        }
    )
    read = parse_torrent(data)
    assert (read.comment, read.created_by, read.creation_date) == ("a[31m\ufffd", None, None)
    assert read.nodes == (HostPort("n.example", 1),)
    assert read.web_seeds == ("http://w.example/",)
    assert len(read.warnings) == 7


def test_local_mode_keeps_local_addresses(v1: Fields) -> None:
    data = encode({b"announce": b"http://127.0.0.1:1/announce", b"info": v1})
    assert parse_torrent(data).trackers == ()
    assert parse_torrent(data, bound=Scope.LOOPBACK).trackers != ()


def test_one_web_seed_as_a_string(v1: Fields) -> None:
    read = parse_torrent(encode({b"info": v1, b"url-list": b"http://w.example/"}))
    assert read.web_seeds == ("http://w.example/",)


@pytest.fixture
def layers(v2: Fields, vectors: dict[str, Any]) -> dict[bytes, bytes]:
    """BEP 52: the piece layers of the single file."""
    vector = vectors["v2_single"]
    return {bytes.fromhex(vector["root"]): bytes.fromhex("".join(vector["layer"]))}


def test_piece_layers(v2: Fields, layers: dict[bytes, bytes], torrent: Build) -> None:
    read = parse_torrent(torrent(v2, piece_layers=layers))
    assert read.piece_layers == layers
    assert parse_torrent(torrent(v2)).piece_layers == {}
    extra = parse_torrent(torrent(v2, piece_layers={**layers, b"x" * 32: b"y" * 32}))
    assert extra.piece_layers == layers
    assert extra.warnings == ("piece layers that belong to no file ignored",)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer[:-32],
        lambda layer: layer + bytes(32),
        lambda layer: layer + padding_hash(1),
        lambda layer: layer + layer[-32:],
        lambda layer: layer[:-1],
        lambda layer: b"",
        lambda layer: bytes([layer[0] ^ 1]) + layer[1:],
        lambda layer: 7,
    ],
)
def test_a_wrong_piece_layer_is_refused(
    v2: Fields,
    layers: dict[bytes, bytes],
    torrent: Build,
    change: Callable[[bytes], BValue],
) -> None:
    wrong = {root: change(layer) for root, layer in layers.items()}
    assert fault_of(torrent(v2, piece_layers=wrong)) == "bad-piece-layer"
    assert fault_of(torrent(v2, piece_layers=[])) == "bad-piece-layer"


def test_reading_undoes_writing(hybrid: Fields, vectors: dict[str, Any]) -> None:
    directory = vectors["hybrid_directory"]
    root, layer = directory["roots"]["sub/b.bin"], "".join(directory["layer"])
    fields: dict[str, Any] = {
        "trackers": ((T("a"), T("b")), (T("c"),)),
        "web_seeds": ("http://w.example/",),
        "nodes": (HostPort("n.example", 6881), HostPort("2a00:1450::1", 1)),
        "comment": "für alle",
        "created_by": "Trackerless",
        "creation_date": 1,
        "piece_layers": {bytes.fromhex(root): bytes.fromhex(layer)},
    }
    read = parse_torrent(build_torrent(encode(hybrid), **fields))
    assert {name: getattr(read, name) for name in fields} == fields
    assert read.warnings == ()


def test_the_plainest_file_is_only_the_info_dictionary(v1: Fields) -> None:
    assert build_torrent(encode(v1)) == b"d4:info" + encode(v1) + b"e"
    one = build_torrent(encode(v1), trackers=[[T("a")]])
    assert b"announce-list" not in one
    assert parse_torrent(one).trackers == ((T("a"),),)


values: st.SearchStrategy[BValue] = st.recursive(
    st.binary(max_size=30) | st.integers(-(2**63), 2**63) | st.just(b"http://a/"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=32), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                b"announce",
                b"announce-list",
                b"url-list",
                b"nodes",
                b"comment",
                b"creation date",
                b"piece layers",
            ]
        ),
        values,
    )
)
def test_any_hints_are_read_or_refused(hints: dict[bytes, BValue]) -> None:
    info: BValue = {b"length": 1, b"name": b"a", b"piece length": 1, b"pieces": bytes(20)}
    try:
        read = parse_torrent(encode({**hints, b"info": info}))
    except InvalidMetainfo:
        return
    again = build_torrent(
        read.raw_info, trackers=read.trackers, web_seeds=read.web_seeds, nodes=read.nodes
    )
    assert parse_torrent(again).trackers == read.trackers
