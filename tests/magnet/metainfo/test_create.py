from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import encode, is_canonical
from magnet.metainfo.create import create_directory_info, create_file_info, create_v2
from magnet.metainfo.info import Version, parse_info
from magnet.metainfo.layers import has_all_layers
from magnet.metainfo.torrent import build_torrent, parse_torrent

CONTENT = bytes(i % 251 for i in range(81_920))


@pytest.mark.parametrize("piece_length", [0, -16_384, 8_192, 24_576, 2**25])
def test_a_piece_length_we_do_not_make_is_refused(piece_length: int) -> None:
    with pytest.raises(ValueError, match="piece length"):
        create_file_info("a", [b"x"], piece_length)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0"])
def test_a_name_that_no_file_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a file"):
        create_file_info(name, [b"x"], 16_384)
    with pytest.raises(ValueError, match="name of a file"):
        create_directory_info("d", [([name], [b"x"])], 16_384)


def test_a_torrent_without_content_or_path_is_refused() -> None:
    with pytest.raises(ValueError, match="content"):
        create_file_info("a", [b""], 16_384)
    with pytest.raises(ValueError, match="content"):
        create_directory_info("a", [], 16_384)
    with pytest.raises(ValueError, match="path"):
        create_directory_info("a", [([], [b"x"])], 16_384)


@pytest.mark.parametrize("chunk", [1_000, 16_384, 40_000])
def test_v1_vector(vectors: dict[str, Any], v1: dict[bytes, Any], chunk: int) -> None:
    """BEP 3, one file, in chunks of any size."""
    chunks = [CONTENT[:40_000][i : i + chunk] for i in range(0, 40_000, chunk)]
    raw = create_file_info("a.bin", chunks, 16_384)
    assert raw == encode(v1)
    assert parse_info(raw).info_hash == bytes.fromhex(vectors["v1_single"]["info_hash"])


def test_a_directory_is_one_stream(vectors: dict[str, Any]) -> None:
    """BEP 52, the padded stream of the directory: the hashes of its pieces."""
    files = [
        (["a.bin"], [CONTENT[:20_000]]),
        ([".pad", "12768"], [bytes(12_768)]),
        (["sub", "b.bin"], [CONTENT[:40_000]]),
        ([".pad", "25536"], [bytes(25_536)]),
        (["z.txt"], []),
    ]
    raw = create_directory_info("t", files, 32_768)
    info = parse_info(raw)
    assert is_canonical(raw)
    assert info.pieces.hex() == "".join(vectors["hybrid_directory"]["pieces"])
    assert info.files[2].path == ("t", "sub", "b.bin")


@given(st.lists(st.binary(max_size=40_000), max_size=4), st.sampled_from([16_384, 32_768]))
def test_how_content_is_chunked_does_not_matter(chunks: list[bytes], piece_length: int) -> None:
    content = b"".join(chunks) + b"."
    whole = create_file_info("a", [content], piece_length)
    assert create_file_info("a", [*chunks, b"."], piece_length) == whole
    assert parse_info(whole).total_length == len(content)


@pytest.mark.parametrize("is_hybrid", [False, True], ids=["v2", "hybrid"])
@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ([], "content"),
        ([(["a"], []), (["b"], [b""])], "content"),
        ([([], [b"x"])], "path"),
        ([(["a", ".."], [b"x"])], "name of a file"),
        ([(["a"], [b"x"]), (["a"], [b"y"])], "two files"),
        ([(["a", "b"], [b"x"]), (["a"], [b"y"])], "a file and a directory"),
    ],
)
def test_files_that_make_no_tree_are_refused(
    files: list[tuple[list[str], list[bytes]]], fault: str, is_hybrid: bool
) -> None:
    with pytest.raises(ValueError, match=fault):
        create_v2("t", files, 16_384, is_hybrid=is_hybrid)
    with pytest.raises(ValueError, match="piece length"):
        create_v2("t", files, 16_385, is_hybrid=is_hybrid)


@pytest.mark.parametrize("is_hybrid", [False, True], ids=["v2_single", "hybrid_single"])
def test_v2_and_hybrid_vectors_of_one_file(vectors: dict[str, Any], is_hybrid: bool) -> None:
    """BEP 52, one file of three pieces."""
    vector = vectors["hybrid_single" if is_hybrid else "v2_single"]
    created = create_v2("a.bin", [(["a.bin"], [CONTENT])], 32_768, is_hybrid=is_hybrid)
    info = parse_info(created.raw_info)
    assert len(created.raw_info) == vector["info_bytes"]
    assert info.info_hash_v2 is not None
    assert info.info_hash_v2.hex() == vector["info_hash_v2"]
    if is_hybrid:
        assert info.info_hash == bytes.fromhex(vector["info_hash"])
    single = vectors["v2_single"]
    layer = bytes.fromhex("".join(single["layer"]))
    assert created.piece_layers == {bytes.fromhex(single["root"]): layer}


@pytest.mark.parametrize("is_hybrid", [False, True], ids=["v2", "hybrid"])
def test_v2_and_hybrid_vectors_of_a_directory(vectors: dict[str, Any], is_hybrid: bool) -> None:
    """BEP 52, three files given in another order, of which one is empty and one has a layer."""
    directory = vectors["hybrid_directory"]
    files = [(path.split("/"), [CONTENT[:length]]) for path, length in directory["files"]]
    created = create_v2("t", reversed(files), 32_768, is_hybrid=is_hybrid)
    vector = directory if is_hybrid else directory["v2_only"]
    info = parse_info(created.raw_info)
    assert len(created.raw_info) == vector["info_bytes"]
    assert info.info_hash_v2 is not None
    assert info.info_hash_v2.hex() == vector["info_hash_v2"]
    if is_hybrid:
        assert info.info_hash == bytes.fromhex(vector["info_hash"])
    layer = bytes.fromhex("".join(directory["layer"]))
    assert created.piece_layers == {bytes.fromhex(directory["roots"]["sub/b.bin"]): layer}


@given(
    lengths=st.lists(st.integers(0, 70_000), min_size=1, max_size=4).filter(any),
    chunk=st.integers(1_000, 40_000),
    piece_length=st.sampled_from([16_384, 32_768]),
    is_hybrid=st.booleans(),
)
def test_what_is_created_is_read_and_complete(
    lengths: list[int], chunk: int, piece_length: int, is_hybrid: bool
) -> None:
    content = [CONTENT[:length] for length in lengths]
    files = [
        (["d", str(number)], [one[start : start + chunk] for start in range(0, len(one), chunk)])
        for number, one in enumerate(content)
    ]
    created = create_v2("t", files, piece_length, is_hybrid=is_hybrid)
    torrent = parse_torrent(build_torrent(created.raw_info, piece_layers=created.piece_layers))
    assert torrent.warnings == ()
    assert torrent.info.version is (Version.HYBRID if is_hybrid else Version.V2)
    assert [it.length for it in torrent.info.files if not it.is_padding] == lengths
    assert has_all_layers(torrent.info, torrent.piece_layers)
    whole = create_v2("t", [(path, [b"".join(it)]) for path, it in files], piece_length)
    assert whole.piece_layers == created.piece_layers
