import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, encode
from magnet.errors import InvalidMetainfo
from magnet.metainfo.info import HashCheck, Version, parse_info, verify_info

Fields = dict[bytes, Any]
Change = Callable[[Fields], object]

ROOT = b"r" * 32


def fault_of(raw_info: bytes) -> str:
    with pytest.raises(InvalidMetainfo) as caught:
        parse_info(raw_info)
    assert caught.value.fault.value in str(caught.value)
    return caught.value.fault.value


def nested(depth: int) -> Fields:
    tree: Fields = {b"f": {b"": {b"length": 1, b"pieces root": ROOT}}}
    for _ in range(depth - 1):
        tree = {b"d": tree}
    return tree


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda info: info.pop(b"name"), "bad-name"),
        (lambda info: info.update({b"name": 7}), "bad-name"),
        (lambda info: info.pop(b"piece length"), "bad-piece-length"),
        (lambda info: info.update({b"piece length": 0}), "bad-piece-length"),
        (lambda info: info.update({b"piece length": -1}), "bad-piece-length"),
        (lambda info: info.update({b"piece length": b"16384"}), "bad-piece-length"),
        (lambda info: info.update({b"piece length": 536_854_529}), "bad-piece-length"),
        (lambda info: info.pop(b"pieces"), "bad-pieces"),
        (lambda info: info.update({b"pieces": 5}), "bad-pieces"),
        (lambda info: info.update({b"pieces": bytes(19)}), "bad-pieces"),
        (lambda info: info.update({b"pieces": bytes(21)}), "bad-pieces"),
        (lambda info: info.update({b"pieces": bytes(40)}), "bad-pieces"),
        (lambda info: info.update({b"pieces": bytes(80)}), "bad-pieces"),
        (lambda info: info.pop(b"length"), "bad-file"),
        (lambda info: info.update({b"length": -1}), "bad-file"),
        (lambda info: info.update({b"length": 0, b"pieces": b""}), "bad-file"),
        (lambda info: info.update({b"length": 2**48}), "bad-file"),
        (lambda info: info.update({b"length": b"5"}), "bad-file"),
        (lambda info: info.update({b"files": []}), "bad-file"),
        (lambda info: info.update({b"length": 16_384 * 2_097_153}), "too-large"),
        (lambda info: info.update({b"meta version": 3}), "unsupported-version"),
        (lambda info: info.update({b"meta version": 1}), "bad-file"),
        (lambda info: info.update({b"meta version": 2}), "bad-file"),
        (lambda info: info.update({b"meta version": b"2"}), "bad-file"),
        (lambda info: info.update({b"file tree": {}}), "bad-file"),
    ],
)
def test_a_v1_dictionary_with_a_defect_is_refused(v1: Fields, change: Change, fault: str) -> None:
    change(v1)
    assert fault_of(encode(v1)) == fault


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ([], "bad-file"),
        (b"files", "bad-file"),
        ([b"file"], "bad-file"),
        ([{b"path": [b"a"]}], "bad-file"),
        ([{b"length": 40_000}], "bad-file"),
        ([{b"length": 40_000, b"path": []}], "bad-file"),
        ([{b"length": 40_000, b"path": b"a"}], "bad-file"),
        ([{b"length": 40_000, b"path": [7]}], "bad-file"),
        ([{b"length": -1, b"path": [b"a"]}, {b"length": 40_001, b"path": [b"b"]}], "bad-file"),
        ([{b"length": 40_000, b"path": [b"a"], b"attr": 7}], "bad-file"),
        ([{b"length": 40_000, b"path": [b"d"] * 101}], "too-deep"),
        ([{b"length": 40_000, b"path": [b"a" * 200] * 30}], "unsafe-path"),
        ([{b"length": 2**44 - 2**14, b"path": [b"%d" % i]} for i in range(17)], "too-large"),
    ],
)
def test_files_with_a_defect_are_refused(v1: Fields, files: BValue, fault: str) -> None:
    del v1[b"length"]
    assert fault_of(encode({**v1, b"files": files})) == fault


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda info: info.update({b"piece length": 8_192}), "bad-piece-length"),
        (lambda info: info.update({b"piece length": 24_576}), "bad-piece-length"),
        (lambda info: info.pop(b"meta version"), "bad-file"),
        (lambda info: info.pop(b"file tree"), "bad-file"),
        (lambda info: info.update({b"file tree": {}}), "bad-file"),
        (lambda info: info.update({b"file tree": []}), "bad-file"),
        (lambda info: info.update({b"file tree": {b"a": b"b"}}), "bad-file"),
        (lambda info: info.update({b"file tree": {b"": {b"length": 1}}}), "bad-file"),
        (lambda info: info.update({b"file tree": nested(80)}), "too-deep"),
        (lambda info: info.update({b"file tree": nested(101)}), "bad-bencoding"),
    ],
)
def test_a_v2_dictionary_with_a_defect_is_refused(v2: Fields, change: Change, fault: str) -> None:
    change(v2)
    assert fault_of(encode_deep(v2)) == fault


def encode_deep(value: BValue) -> bytes:
    """Encode without the encoder's own bound on depth."""
    if isinstance(value, dict):
        return (
            b"d" + b"".join(encode(key) + encode_deep(value[key]) for key in sorted(value)) + b"e"
        )
    return encode(value)


@pytest.mark.parametrize(
    "entry",
    [
        {b"": {b"length": 1}},
        {b"": {b"length": 1, b"pieces root": ROOT[1:]}},
        {b"": {b"length": 1, b"pieces root": bytes(32)}},
        {b"": {b"pieces root": ROOT}},
        {b"": {b"length": -1, b"pieces root": ROOT}},
        {b"": {b"length": 0}},
        {b"": {b"length": 1, b"pieces root": ROOT, b"attr": b"p"}},
        {b"": {b"length": 1, b"pieces root": ROOT}, b"b": {}},
        {b"": b"file"},
    ],
)
def test_a_file_of_the_tree_with_a_defect_is_refused(v2: Fields, entry: BValue) -> None:
    assert fault_of(encode({**v2, b"file tree": {b"a": entry}})) == "bad-file"


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files[0].update({b"length": 20_001}),
        lambda files: files[0].update({b"path": [b"b.bin"]}),
        lambda files: files.reverse(),
        lambda files: files[1].update({b"length": 12_767}),
        lambda files: files.pop(1),
        lambda files: files.append({b"length": 1, b"path": [b"zz"]}),
    ],
)
def test_a_hybrid_that_contradicts_itself_is_refused(
    hybrid: Fields, change: Callable[[list[Fields]], object]
) -> None:
    change(hybrid[b"files"])
    length = sum(file[b"length"] for file in hybrid[b"files"])
    hybrid[b"pieces"] = bytes(20 * -(-length // hybrid[b"piece length"]))
    assert fault_of(encode(hybrid)) == "inconsistent-hybrid"


@pytest.mark.parametrize("raw", [b"", b"i1e", b"le", b"d", b"d4:name1:ai", b"d1:a0:1:a0:e", b"dee"])
def test_bytes_that_are_no_dictionary_are_refused(raw: bytes) -> None:
    assert fault_of(raw) == "bad-bencoding"


def test_keys_out_of_order_are_an_error_in_v2_only(v1: Fields, v2: Fields) -> None:
    def unsorted(fields: Fields) -> bytes:
        items = sorted(fields.items(), reverse=True)
        return b"d" + b"".join(encode(key) + encode(value) for key, value in items) + b"e"

    assert fault_of(unsorted(v2)) == "unsorted"
    info = parse_info(unsorted(v1))
    assert info.warnings == ("keys of the info dictionary are out of order",)
    assert verify_info(unsorted(v1), info.info_hash, None).verified


def test_a_dictionary_that_is_too_long_is_refused_at_once() -> None:
    assert fault_of(b"d" * (32 * 1024 * 1024 + 1)) == "too-large"


@pytest.mark.slow
@pytest.mark.parametrize(
    "raw",
    [
        b"l" * 1_000_000,
        b"le" * 400_000,
        b"d4:name" + b"9" * 20_000_000,
        b"d5:filesl"
        + b"d6:lengthi1e4:pathl1:aee" * 40_000
        + b"e4:name1:a12:piece lengthi16384e6:pieces0:e",
    ],
)
def test_hostile_input_is_refused_soon(raw: bytes) -> None:
    start = time.perf_counter()
    fault_of(raw)
    assert time.perf_counter() - start < 3


def test_v1_vector(vectors: dict[str, Any], v1: Fields) -> None:
    """BEP 3, one file."""
    vector = vectors["v1_single"]
    raw = encode(v1)
    info = parse_info(raw)
    assert len(raw) == vector["info_bytes"]
    assert info.info_hash == bytes.fromhex(vector["info_hash"])
    assert (info.version, info.info_hash_v2, info.warnings) == (Version.V1, None, ())
    assert [(file.path, file.length) for file in info.files] == [(("a.bin",), 40_000)]
    assert (info.piece_count, info.total_length, info.private) == (3, 40_000, False)


def test_v2_vector(vectors: dict[str, Any], v2: Fields) -> None:
    """BEP 52, one file."""
    vector = vectors["v2_single"]
    raw = encode(v2)
    info = parse_info(raw)
    assert len(raw) == vector["info_bytes"]
    assert info.info_hash_v2 == bytes.fromhex(vector["info_hash_v2"])
    assert (info.version, info.info_hash, info.pieces) == (Version.V2, None, b"")
    assert [(file.path, file.length) for file in info.files] == [(("a.bin",), 81_920)]
    assert info.piece_count == 3


def test_hybrid_vector(vectors: dict[str, Any], hybrid: Fields) -> None:
    """BEP 52, a directory in both forms and in the newer alone."""
    vector = vectors["hybrid_directory"]
    raw = encode(hybrid)
    info = parse_info(raw)
    assert len(raw) == vector["info_bytes"]
    assert info.info_hash == bytes.fromhex(vector["info_hash"])
    assert info.info_hash_v2 == bytes.fromhex(vector["info_hash_v2"])
    assert info.version is Version.HYBRID
    real = [file for file in info.files if not file.is_padding]
    assert [["/".join(file.path[1:]), file.length] for file in real] == vector["files"]
    assert [file.length for file in info.files if file.is_padding] == vector["padding"]
    assert info.total_length == 60_000
    roots = {"/".join(file.path[1:]): file.pieces_root.hex() for file in real if file.pieces_root}
    assert roots == vector["roots"]

    del hybrid[b"files"], hybrid[b"pieces"]
    raw = encode(hybrid)
    info = parse_info(raw)
    assert len(raw) == vector["v2_only"]["info_bytes"]
    assert info.info_hash_v2 == bytes.fromhex(vector["v2_only"]["info_hash_v2"])
    assert (info.version, info.piece_count) == (Version.V2, 3)


def test_hybrid_single_file_vector(vectors: dict[str, Any], v2: Fields) -> None:
    """BEP 52, one file in both forms; the hashes of its pieces are not part of the vector."""
    info = parse_info(encode({**v2, b"length": 81_920, b"pieces": bytes(60)}))
    assert (info.version, info.files[0].path) == (Version.HYBRID, ("a.bin",))
    assert info.files[0].pieces_root == bytes.fromhex(vectors["v2_single"]["root"])
    assert (
        fault_of(encode({**v2, b"length": 81_919, b"pieces": bytes(60)})) == "inconsistent-hybrid"
    )
    assert len(encode({**v2, b"length": 81_920, b"pieces": bytes(60)})) == 231


def test_unknown_keys_change_nothing_but_the_hash(v1: Fields) -> None:
    info = parse_info(encode({**v1, b"x_cross_seed": [b"a", {b"b": 1}], b"source": 5}))
    assert info.files == parse_info(encode(v1)).files


def test_padding_links_and_preferred_names(v1: Fields) -> None:
    del v1[b"length"]
    files: list[BValue] = [
        {b"length": 10_000, b"path": [b"\xff"], b"path.utf-8": ["é".encode()]},
        {b"length": 6_384, b"attr": b"xp"},
        {b"length": 5, b"attr": b"l", b"path": [b"link"], b"symlink path": [b"..", b"x"]},
        {b"length": 3_616, b"path": [b"_____padding_file_0_if you see this"]},
        {b"length": 20_000, b"path": [b"a"], b"path.utf-8": [b"\xff"]},
    ]
    info = parse_info(encode({**v1, b"files": files, b"name": b"\xff", b"name.utf-8": b"n"}))
    assert [(file.path, file.length, file.is_padding) for file in info.files] == [
        (("n", "é"), 10_000, False),
        (("n", ".pad", "6384"), 6_384, True),
        (("n", "link"), 0, False),
        (("n", ".pad", "3616"), 3_616, True),
        (("n", "a"), 20_000, False),
    ]
    assert info.total_length == 30_000


def test_an_empty_name_becomes_the_hash(v1: Fields) -> None:
    info = parse_info(encode({**v1, b"name": b""}))
    assert info.info_hash is not None
    assert info.name == info.info_hash.hex()


def test_names_that_had_to_change_are_told(v1: Fields) -> None:
    info = parse_info(encode({**v1, b"name": b"../\xff"}))
    assert (info.name, info.warnings) == ("..__", ("names were changed to be safe",))


@pytest.mark.parametrize(("value", "private"), [(1, True), (-1, True), (0, False), (b"1", False)])
def test_private(v1: Fields, value: BValue, private: bool) -> None:
    assert parse_info(encode({**v1, b"private": value})).private is private


def test_which_hashes_match(vectors: dict[str, Any], hybrid: Fields) -> None:
    raw = encode(hybrid)
    v1 = bytes.fromhex(vectors["hybrid_directory"]["info_hash"])
    v2 = bytes.fromhex(vectors["hybrid_directory"]["info_hash_v2"])
    assert verify_info(raw, v1, v2) == HashCheck(True, True)
    assert verify_info(raw, v1, None).verified
    assert verify_info(raw, None, v2[:20]).verified
    assert not verify_info(raw, v1, bytes(32)).verified
    assert not verify_info(raw, bytes(20), v2).verified
    assert not verify_info(raw, None, None).verified
    for lengths in ((19, None), (None, 21), (None, 0)):
        hashes = [None if length is None else bytes(length) for length in lengths]
        with pytest.raises(ValueError, match="info-hash has"):
            verify_info(raw, *hashes)


bencoded: st.SearchStrategy[BValue] = st.recursive(
    st.binary(max_size=40) | st.integers(-(2**63), 2**63),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([b"", b"length", b"path", b"attr", b"a", b"pieces root"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                b"name",
                b"name.utf-8",
                b"length",
                b"files",
                b"file tree",
                b"pieces",
                b"meta version",
                b"private",
            ]
        ),
        bencoded,
    )
)
def test_any_dictionary_is_read_or_refused(fields: Fields) -> None:
    with suppress(InvalidMetainfo):
        parse_info(encode({b"name": b"a", b"piece length": 2**20, b"pieces": bytes(20), **fields}))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(InvalidMetainfo):
        parse_info(raw)
